"""Claims about gaps between groups: right, by people and not texts, and honest about chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import f1_score

from models.errors import EvaluationInvalid
from models.fairness import Groups, Judged, gap_doubts, group_gaps

IntArray = npt.NDArray[np.int64]


def draw(*, people: int = 120, texts_each: int = 6, worse: float = 0.0, seed: int = 1) -> Any:
    """Return what was judged, and people of two groups; those of the second are read worse."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(people), texts_each)
    places = (owners % 2).astype(np.int64)
    truth = random.integers(0, 3, len(owners))
    missed = random.random(len(owners)) < 0.2 + worse * places
    judged = Judged(
        truth=truth,
        predicted=np.where(missed, (truth + 1) % 3, truth),
        answered=random.random(len(owners)) < 0.9 - worse * places,
        owners=owners,
    )
    return judged, Groups(attribute="side", names=("left", "right"), places=places)


def test_figures_of_a_group_are_those_of_its_texts_alone() -> None:
    """Error, F1 and abstention agree with counting one group by itself."""
    judged, groups = draw(worse=0.2)
    found = group_gaps(judged, groups)
    for place, figures in enumerate(found.groups):
        mine = groups.places == place
        told = mine & judged.answered
        wrong = judged.truth[told] != judged.predicted[told]
        assert figures.error == pytest.approx(wrong.mean())
        expected = f1_score(judged.truth[told], judged.predicted[told], average="macro")
        assert figures.macro_f1 == pytest.approx(expected)
        assert figures.abstained == pytest.approx(1 - judged.answered[mine].mean())
        assert (figures.people, figures.texts) == (60, 360)
    errors = [figures.error for figures in found.groups]
    assert found.gaps["error"] == pytest.approx(max(errors) - min(errors))


def test_gap_made_on_purpose_stands_out_from_chance() -> None:
    """Where one group is read worse, the interval lies above the gap by lot; else it does not."""
    judged, groups = draw(worse=0.3)
    doubt = gap_doubts(judged, groups, draws=100)["error"]
    assert doubt.low > 3 * doubt.by_lot
    assert 0.05 < doubt.high - doubt.low < 0.3  # 720 texts: a standard error near .035
    assert doubt.low <= group_gaps(judged, groups).gaps["error"] <= doubt.high
    alike = gap_doubts(*draw(worse=0.0), draws=100)["error"]
    assert alike.low < 2 * alike.by_lot


def test_interval_is_by_people_and_not_by_texts() -> None:
    """The same texts, each said six times by its person, leave the interval as wide as it was."""
    judged, groups = draw(texts_each=1, worse=0.2)
    again = Judged(
        truth=np.repeat(judged.truth, 6),
        predicted=np.repeat(judged.predicted, 6),
        answered=np.repeat(judged.answered, 6),
        owners=np.repeat(judged.owners, 6),
    )
    more = Groups(attribute="side", names=groups.names, places=np.repeat(groups.places, 6))
    once = gap_doubts(judged, groups, draws=100)["error"]
    assert gap_doubts(again, more, draws=100)["error"] == once


def test_small_groups_are_left_out_and_named() -> None:
    """A group of few people makes no gap; people of unknown group belong to none."""
    judged, groups = draw()
    places = groups.places.copy()
    places[judged.owners < 3] = 2
    places[judged.owners == 3] = -1
    three = Groups(attribute="side", names=("left", "right", "odd"), places=places)
    found = group_gaps(judged, three, fewest_people=10)
    assert [figures.name for figures in found.groups] == ["left", "right"]
    assert found.left_out == ("odd",)
    assert sum(figures.people for figures in found.groups) == 116


def test_group_that_gets_no_answer_has_no_error_and_the_largest_gap_in_abstention() -> None:
    """Silence towards one group is not hidden behind the errors that it avoids."""
    judged, groups = draw()
    silent = Judged(
        truth=judged.truth,
        predicted=judged.predicted,
        answered=groups.places == 0,
        owners=judged.owners,
    )
    found = group_gaps(silent, groups)
    assert found.gaps["abstained"] == 1.0
    assert found.gaps["error"] == 0.0


@pytest.mark.parametrize("fewest_people", [61, 1000])
def test_gap_needs_two_groups(fewest_people: int) -> None:
    """Where fewer than two groups have people enough there is no gap to state."""
    judged, groups = draw()
    with pytest.raises(EvaluationInvalid, match="two are needed"):
        group_gaps(judged, groups, fewest_people=fewest_people)


def test_columns_that_do_not_fit_are_refused() -> None:
    """Columns of different lengths, none at all, and groups without a name, are refused."""
    judged, groups = draw()
    one, none = np.zeros(1, np.int64), np.zeros(0, np.int64)
    with pytest.raises(EvaluationInvalid):
        Judged(truth=one, predicted=none, answered=one > 0, owners=one)
    with pytest.raises(EvaluationInvalid):
        Judged(truth=none, predicted=none, answered=none > 0, owners=none)
    with pytest.raises(EvaluationInvalid, match="do not fit"):
        group_gaps(judged, Groups(attribute="side", names=("left",), places=groups.places))
