"""Rule 14 over a month and many people: calm customers get what they should.

A request cannot show whether anger alone is rewarded; only cohorts can. The test compares,
for each reason of complaint, what calm customers were given with what the emotion-blind rules
would have given them. Its day goes into the facts of a compensation (`Facts.calm_passed_at`),
which the rules refuse once the last pass is too old.

Takes totals, not people. They stay where the compensations were paid: whatever of them leaves a
node needs a ledger entry like everything else (promise 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.errors import PolicyInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class CalmCohort:
    """Calm customers with one reason of complaint: how many, what they got, what they should have.

    `given` and `baseline` are totals over these people, in the smallest unit of one currency;
    who got nothing counts with 0.
    """

    reason: str
    people: int
    given: int
    baseline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalmTest:
    """What the test found: the reasons that fell short, and those with too few people to tell."""

    short: tuple[str, ...]
    too_few: tuple[str, ...]
    compared: int

    @property
    def passed(self) -> bool:
        """Whether calm customers got at least the baseline, wherever that can be told."""
        return not self.short and self.compared > 0


def examine_calm(cohorts: Sequence[CalmCohort], *, floor: int) -> CalmTest:
    """Compare each cohort of at least `floor` people; smaller ones are put together into one.

    Putting them together keeps a company from cutting its complaints into reasons so fine
    that none is ever compared.

    Raises:
        PolicyInvalid: A number is negative, a reason stands twice, or the floor is below 1.
    """
    _check(cohorts, floor)
    large = [c for c in cohorts if c.people >= floor]
    small = [c for c in cohorts if c.people < floor]
    rest = CalmCohort(
        reason="all others",
        people=sum(c.people for c in small),
        given=sum(c.given for c in small),
        baseline=sum(c.baseline for c in small),
    )
    compared = [*large, *([rest] if rest.people >= floor else [])]
    return CalmTest(
        short=tuple(c.reason for c in compared if c.given < c.baseline),
        too_few=() if rest.people >= floor else tuple(c.reason for c in small),
        compared=len(compared),
    )


def _check(cohorts: Sequence[CalmCohort], floor: int) -> None:
    negative = [c.reason for c in cohorts if min(c.people, c.given, c.baseline) < 0]
    if negative or floor < 1:
        raise PolicyInvalid(f"numbers of at least 0 and a floor of at least 1: {negative or floor}")
    if len({c.reason for c in cohorts}) < len(cohorts):
        raise PolicyInvalid("each reason of complaint is one cohort: put equal ones together")
