"""Making good: never below what everybody gets, and only by a named person's approval.

The baseline is the organisation's own table, by the reason of the complaint alone
(`client_node.redress`); the cue can only be why somebody looks. Rule 14's test over calm
customers must have passed within its days, or nobody is compensated by a feeling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from client_node.errors import TurnInvalid
from client_node.uses.use import AskedUse, Described, Outcome, cue_facts
from policies.decision import Facts
from policies.permit import Permit
from policies.vocabulary import Objective, Purpose, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """Gives what a person approved."""

    currency: str
    calm_passed_at: Callable[[], int | None]

    described = Described(
        name="compensation",
        use=Use.COMPENSATION,
        purpose=Purpose.SERVICE,
        objective="what went wrong is made good, at least as everybody's would be",
        serves=Objective.REDRESS,
        rules=(12, 14, 16, 17, 22, 23, 24),
        abstains="below the baseline, without a named approval, and while no test says that calm "
        "customers get theirs",
    )

    def facts(self, asked: AskedUse) -> Facts:
        """Return the reading, both values, who approved, and when the calm test passed."""
        facts = replace(
            cue_facts(asked), approved_by=asked.approved_by, calm_passed_at=self.calm_passed_at()
        )
        if asked.redress is None:
            return facts
        return replace(
            facts,
            offer_value=asked.redress.offer_value,
            baseline_value=asked.redress.baseline_value,
        )

    def act(self, asked: AskedUse, *, permit: Permit, now: float) -> Outcome:
        """Return what is given.

        Raises:
            PermitInvalid: Not a permit for this compensation now.
            TurnInvalid: It is not said what for.
        """
        self.described.show(permit, asked, now=now)
        if asked.redress is None:
            raise TurnInvalid("a compensation needs the reason of the complaint")
        return {
            "action": "compensate",
            "reason": asked.redress.reason,
            "value": asked.redress.offer_value,
            "currency": self.currency,
        }
