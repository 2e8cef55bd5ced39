"""What the pages of both kinds of ask have in common: who may, why, and how it is shown."""

from __future__ import annotations

from datetime import tzinfo
from types import MappingProxyType

from audit.considered import KEPT_SHUT
from audit.portal.listing import Cell, plain, when
from audit.staff import StaffRole
from consent.officer_asks import Answer, Ask, Named, Why
from consent.wire import Reference, Shape
from policies.vocabulary import RuleId
from policies.words import Language, Reader, say

ASKERS = frozenset({StaffRole.OFFICER, StaffRole.DPO})
WHYS = MappingProxyType(
    {
        Why.AUTHORITY: "an authority asks",
        Why.PERSON: "the person asks",
        Why.REVIEW: "a review of the decision",
        Why.INCIDENT: "an incident is examined",
    }
)
CHOICES = tuple((why.value, words) for why, words in WHYS.items())


class NamedIn(Shape):
    """Why it is asked, and by which reference."""

    why: Why
    reference: Reference

    def by(self, staff: str) -> Named:
        """Return it with who asks."""
        return Named(why=self.why, reference=self.reference, by=staff)


def asked_because(made: Ask, zone: tzinfo) -> list[tuple[str, Cell]]:
    """Return the lines of a page that say why, for what and when it was asked."""
    return [
        ("Asked because", plain(WHYS[made.named.why])),
        ("Reference", plain(made.named.reference)),
        ("Asked", when(made.asked_at, zone)),
    ]


def rules_said(answer: Answer | None) -> list[str]:
    """Return in words by which rules a branch's gate kept an answer shut."""
    if answer is None or answer.outcome != KEPT_SHUT:
        return []
    rules = answer.report.get("kept_shut_by", ())
    return [say(RuleId(rule), Reader.OFFICER, Language.ENGLISH) for rule in rules]
