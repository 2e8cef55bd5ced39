"""Claims about how the benchmark of abstention counts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.abstention import AIM, Answers


def answers(sureness: np.ndarray, people: np.ndarray) -> Answers:
    """Return answers to ten texts, of which the last two are wrong."""
    yes = np.array([1.0] * 8 + [0.0] * 2)
    return Answers(
        what="made up",
        probabilities=np.stack([1 - yes, yes], axis=1),
        truth=np.ones(10, dtype=int),
        sureness=sureness,
        people=people,
        unit="person",
    )


@pytest.mark.parametrize(("sign", "fall", "held"), [(1, 1.0, True), (-1, -0.25, False)])
def test_row_holds_where_doubt_is_where_the_errors_are(
    sign: int,
    fall: float,
    held: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """Left out, the two errors cost everything; doubt elsewhere makes the answered ones worse."""
    row = answers(sign * np.linspace(1, 0, 10), np.arange(10)).row()
    assert (row.value, row.held) == (fall, held)
    assert row.aim == f">= {AIM:.3f}"


def test_interval_is_over_people_and_not_over_their_texts() -> None:
    """All texts of one person leave no doubt about others, since there are none."""
    one = answers(np.linspace(1, 0, 10), np.zeros(10, dtype=int)).row()
    many = answers(np.linspace(0, 1, 10), np.arange(10)).row()
    assert "95 % over persons 1.000 to 1.000" in one.unit
    assert "95 % over persons -0.250 to -0.250" not in many.unit
