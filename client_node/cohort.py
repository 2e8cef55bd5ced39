"""A cohort for a campaign: by a closed list of ordinary attributes, and no feeling among them.

An emotion cannot be written here: `Attribute` has no member for one, and a word that names one, or
a situation that may not be exploited, is refused (rules 8 and 16). What a company's own tags mean
cannot be seen from here: whoever defines a cohort answers for what lies behind a product's name.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from client_node.errors import CohortRefused

MOST_CRITERIA = 8
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")


class Attribute(StrEnum):
    """What a cohort may be cut by."""

    REGION = "region"
    LANGUAGE = "language"
    PRODUCT = "product"
    CONTRACT_MONTHS = "contract_months"
    ORDERS_LAST_YEAR = "orders_last_year"
    DAYS_SINCE_ORDER = "days_since_order"


WORDS = frozenset({Attribute.REGION, Attribute.LANGUAGE, Attribute.PRODUCT})
"""Attributes whose values are words; the others have whole numbers."""
EMOTIONAL = (
    *("anger", "angry", "fear", "sad", "distress", "disgust", "confus", "surpris", "joy", "happy"),
    *("emotion", "mood", "feeling", "sentiment", "frustrat", "upset", "anxi", "stress", "exhaust"),
    *("annoy", "irritat", "impatien", "calm", "pleas", "satisf", "escalat", "valence", "arous"),
    *(
        "wut",
        "trauer",
        "traurig",
        "gefuehl",
        "stimmung",
        "veraerg",
        "colere",
        "trist",
        "humeur",
        "peur",
    ),
)
"""Beginnings of words for feelings, and for what is derived from them."""
EXPLOITABLE = (
    *("debt", "arrear", "overdraft", "bankrupt", "disab", "bereav", "widow", "illness", "cancer"),
    *("crisis", "pension", "unemploy", "schulden", "krank", "behinder", "dette", "malad", "deuil"),
)
"""Beginnings of words for situations that may not be exploited (AI Act 5(1)(b))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One attribute, and which of its values are meant: words, or a range with both ends in it."""

    attribute: Attribute
    is_one_of: frozenset[str] = frozenset()
    at_least: int | None = None
    at_most: int | None = None

    def holds(self, attributes: Mapping[Attribute, str | int]) -> bool:
        """Whether somebody's attributes meet it; what is not known does not."""
        value = attributes.get(self.attribute)
        if isinstance(value, str):
            return value in self.is_one_of
        if value is None:
            return False
        low = value if self.at_least is None else self.at_least
        high = value if self.at_most is None else self.at_most
        return low <= value <= high


def check_definition(criteria: Sequence[Criterion]) -> None:
    """Return if the criteria define a cohort without an emotion.

    Raises:
        CohortRefused: There are none, a value does not go with its attribute, or a word names a
            feeling or a situation that may not be exploited.
    """
    if not 0 < len(criteria) <= MOST_CRITERIA:
        raise CohortRefused(f"a cohort has 1 to {MOST_CRITERIA} criteria")
    for criterion in criteria:
        name, ranged = criterion.attribute.value, (criterion.at_least, criterion.at_most)
        if criterion.attribute in WORDS:
            if not criterion.is_one_of or ranged != (None, None):
                raise CohortRefused(f"{name} takes words: send is_one_of")
        elif criterion.is_one_of or ranged == (None, None):
            raise CohortRefused(f"{name} takes whole numbers: send at_least, at_most, or both")
        for word in criterion.is_one_of:
            check_word(word)


def check_word(word: str) -> None:
    """Return if a word names nothing that a cohort may not be cut by.

    Raises:
        CohortRefused: It does, or it is no plain word; it is not repeated in the message.
    """
    if not _WORD.fullmatch(word):
        raise CohortRefused("words are 1 to 32 of a-z, 0-9, . and -")
    parts = re.split(r"[.0-9-]+", word)
    if any(part.startswith(EMOTIONAL) for part in parts):
        raise CohortRefused("a cohort is not cut by a feeling (rule 16): take that word out")
    if any(part.startswith(EXPLOITABLE) for part in parts):
        raise CohortRefused(
            "a cohort is not cut by a situation that may not be exploited (rule 8): "
            "take that word out"
        )
