"""Selling, pricing and selecting by an emotion: asked of the gate, which refuses it.

They are here so that whoever asks gets the rule, the statute and plain words, and so that the
attempt is on record. The emotion is the node's own reading, never the caller's word. Nothing
is built behind them: should an organisation's own rules ever allow one, it is `NotBuilt`.
"""

from __future__ import annotations

from dataclasses import dataclass

from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.errors import NotBuilt
from policies.permit import Permit
from policies.vocabulary import Objective, Purpose, Use

REFUSED = (
    Use.UPSELL,
    Use.OFFER,
    Use.PRICE,
    Use.CREDIT,
    Use.INSURANCE,
    Use.ELIGIBILITY,
    Use.TIMING,
    Use.SEGMENT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusable:
    """A use that is asked so that it is refused."""

    described: Described

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, and nothing that would speak for the use."""
        return cue_facts(asked)

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Do nothing.

        Raises:
            PermitInvalid: Not a permit for this use now.
            NotBuilt: It is one.
        """
        self.described.show(permit, asked, now=now)
        raise NotBuilt(f"the use {asked.use.value!r} is not built yet")


def refusable(use: Use) -> Refusable:
    """Return one such use."""
    return Refusable(
        described=Described(
            name=use.value,
            use=use,
            purpose=Purpose.OFFERS,
            objective="none: it is refused, with the rules and statutes that refuse it",
            serves=Objective.CONVERSION,
            rules=(8, 9, 10, 11, 12, 15, 16, 17, 24),
            abstains="always",
        )
    )
