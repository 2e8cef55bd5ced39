"""Rule 14: calm customers get the baseline, and cutting cohorts small does not hide otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.cohorts import CalmCohort, examine_calm
from policies.errors import PolicyInvalid

LATE = CalmCohort(reason="late", people=40, given=20_000, baseline=20_000)
BROKEN = CalmCohort(reason="broken", people=60, given=70_000, baseline=60_000)


def test_calm_test_passes_where_everybody_got_the_baseline() -> None:
    """At the baseline and above it, the test passes."""
    found = examine_calm([LATE, BROKEN], floor=30)
    assert (found.passed, found.compared, found.short) == (True, 2, ())


def test_calm_test_fails_where_one_reason_falls_short() -> None:
    """One cent below the baseline in one cohort fails it, whatever the others got."""
    found = examine_calm([replace(LATE, given=19_999), BROKEN], floor=30)
    assert (found.passed, found.short) == (False, ("late",))


def test_calm_test_over_nobody_is_not_passed() -> None:
    """What could not be compared proves nothing."""
    assert not examine_calm([], floor=30).passed
    few = examine_calm([replace(LATE, people=29)], floor=30)
    assert (few.passed, few.too_few) == (False, ("late",))


def test_calm_test_puts_small_cohorts_together() -> None:
    """Many reasons, each too small to tell, are compared as one and fail as one."""
    fine = [CalmCohort(reason=f"r{i}", people=10, given=0, baseline=5_000) for i in range(4)]
    found = examine_calm([*fine, BROKEN], floor=30)
    assert (found.passed, found.short, found.too_few) == (False, ("all others",), ())


@pytest.mark.parametrize(
    ("cohorts", "floor"),
    [([replace(LATE, given=-1)], 30), ([LATE, LATE], 30), ([LATE], 0)],
)
def test_calm_test_rejects_numbers_that_are_none(cohorts: list[CalmCohort], floor: int) -> None:
    """Negative totals, a reason that stands twice and a floor of nobody are refused."""
    with pytest.raises(PolicyInvalid):
        examine_calm(cohorts, floor=floor)
