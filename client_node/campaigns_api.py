"""Campaigns for cohorts that are defined without emotion, worded alike for all of one.

POST /campaigns                    choose the wording from a private count; it waits for a yes
POST /campaigns/{name}/audience    once approved: the text, and whom it may go to by standing now
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from client_node import wire
from client_node.cohort import MOST_CRITERIA, WORDS, Attribute, Criterion, check_word
from client_node.errors import CohortRefused
from client_node.people import People
from client_node.uses.segments import Campaign, Campaigns, Member
from client_node.wording import Wording

Word = Annotated[str, Field(min_length=1, max_length=64)]
Whole = Annotated[int, Field(ge=0, le=10**6, strict=True)]
Text = Annotated[str, Field(min_length=1, max_length=2_000)]
MOST_MEMBERS = 2_000


class CriterionIn(wire.Shape):
    """One attribute of the closed list; there is none for a feeling."""

    attribute: Attribute
    is_one_of: Annotated[frozenset[Word], Field(max_length=64)] = frozenset()
    at_least: Whole | None = None
    at_most: Whole | None = None


class MemberIn(wire.CustomerIn):
    """One customer, by ordinary attributes."""

    attributes: dict[Attribute, Word | Whole]


class TextsIn(wire.Shape):
    """The same campaign in three wordings."""

    plain: Text
    calming: Text
    lively: Text


class AudienceIn(wire.Shape):
    """A definition, and whom it is applied to."""

    criteria: Annotated[tuple[CriterionIn, ...], Field(min_length=1, max_length=MOST_CRITERIA)]
    members: Annotated[tuple[MemberIn, ...], Field(min_length=1, max_length=MOST_MEMBERS)]

    def campaign(self, people: People) -> Campaign:
        """Return it as the node's own value, people under their pseudonyms.

        Raises:
            CohortRefused: Somebody stands twice, or an attribute has a value of another kind.
        """
        if len({one.customer for one in self.members}) < len(self.members):
            raise CohortRefused("each customer is a member once")
        for one in self.members:
            for attribute, value in one.attributes.items():
                if isinstance(value, str) is not (attribute in WORDS):
                    raise CohortRefused(f"{attribute.value} of a member is of another kind")
                if isinstance(value, str):
                    check_word(value)
        return Campaign(
            criteria=tuple(Criterion(**one.model_dump()) for one in self.criteria),
            members=tuple(
                Member(
                    customer=one.customer,
                    subject=people.subject(one.customer),
                    attributes=one.attributes,
                )
                for one in self.members
            ),
            texts={},
        )


class CampaignIn(AudienceIn):
    """The same, and the three texts of which one is chosen."""

    texts: TextsIn

    def campaign(self, people: People) -> Campaign:
        """Return it with its texts; errors as of an audience's."""
        texts = {which: getattr(self.texts, which.value) for which in Wording}
        return replace(AudienceIn.campaign(self, people), texts=texts)


def campaigns_router(campaigns: Campaigns, people: People) -> APIRouter:
    """Return the routes."""
    router = APIRouter()

    @router.post("/campaigns")
    def word(said: CampaignIn) -> dict[str, Any]:
        return campaigns.word(said.campaign(people))

    @router.post("/campaigns/{name}/audience")
    def audience(name: str, said: AudienceIn) -> dict[str, Any]:
        return campaigns.audience(name, said.campaign(people))

    return router
