"""Claims about noisy counts: bounded by person, rightly noised, and enough to judge a head by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.accounting import epsilon
from models.bags import Bags
from models.errors import EvaluationInvalid
from models.heads import softmax
from models.private_counts import (
    RIGHT,
    TOLD,
    TRUTH,
    balanced,
    counts_curve,
    noisy_counts,
    recall_estimates,
    shifted,
)
from tests.models.fakes import Silence, bags, joined, one_person

WEIGHTS = np.linspace(-2, 2, 18).reshape(6, 3)


def exact(held: Bags, **more: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the table without noise."""
    return noisy_counts(WEIGHTS, held, max_turns=8, std=1.0, noise=Silence(), **more)  # type: ignore[arg-type]


def test_table_counts_labels_shares_and_hits() -> None:
    """People with one turn each are counted whole: labels, probabilities, and hits."""
    held = bags(people=30)
    ones = Bags(features=held.features, labels=held.labels, owners=np.arange(len(held.labels)))
    small = noisy_counts(np.zeros((6, 3)), ones, max_turns=8, std=1.0, noise=Silence())[0]
    shares = np.bincount(held.labels, minlength=3)
    scale = small[TRUTH] / shares  # a person's table has norm one: all are shrunk alike but hits
    assert small[TOLD].sum() == pytest.approx(small[TRUTH].sum())
    assert small[RIGHT, 0] == small[TRUTH, 0]  # of equal scores the first label is told
    assert not small[RIGHT, 1:].any()
    assert (scale > 0.5).all()
    assert (scale < 1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(1e-3, 1e9), st.integers(1, 3))
def test_one_more_person_moves_the_table_by_at_most_one(
    seed: int, turns: int, scale: float, groups: int
) -> None:
    """Sensitivity: whatever a person says, and in whichever group, the table moves by at most 1."""
    random = np.random.default_rng(seed)
    held = bags(people=20, seed=seed)
    person = Bags(
        features=random.normal(scale=scale, size=(turns, 6)),
        labels=random.integers(0, 3, turns),
        owners=np.full(turns, 999),
    )
    more = joined(held, person)
    group = random.integers(0, groups, len(more.owners))
    moved = exact(more, groups=group, n_groups=groups) - exact(
        held, groups=group[: len(held.owners)], n_groups=groups
    )
    assert np.linalg.norm(moved) <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_turn_that_cannot_be_counted_shows_nowhere(value: float) -> None:
    """What is not finite, or has no label of the plan, neither raises nor counts."""
    held = bags(people=10)
    strange = joined(held, one_person(turns=3, owner=77, value=value))
    assert exact(strange).tobytes() == exact(held).tobytes()


def test_nobody_gives_noise_of_the_declared_size() -> None:
    """An empty node's table is pure noise with the deviation that is accounted for."""
    nobody = bags(people=0)
    draws = np.stack([noisy_counts(WEIGHTS, nobody, max_turns=8, std=20.0) for _ in range(500)])
    share = stats.chi2.cdf(float(((draws / 20) ** 2).sum()), draws.size)
    assert 5e-7 < share < 1 - 5e-7
    assert stats.kstest(draws.ravel() / 20, "norm").pvalue > 1e-6


def test_a_table_has_a_cost() -> None:
    """More noise costs less, and none is refused by the accounting."""
    costs = [epsilon(counts_curve(std), delta=1e-5) for std in (5.0, 20.0, 80.0)]
    assert costs == sorted(costs, reverse=True)
    assert 0.5 < costs[0] < 1.0


def test_recall_read_off_the_table_is_near_the_truth_and_says_how_near() -> None:
    """Estimates have the margin that the noise makes; a label too rare to tell has none."""
    table = np.array([[1000.0, 400.0, 10.0], [900.0, 480.0, 30.0], [800.0, 100.0, 9.0]])
    first, second, third = recall_estimates(table, std=20.0)
    assert first is not None
    assert second is not None
    assert third is None
    assert (first.value, second.value) == (0.8, 0.25)
    random = np.random.default_rng(0)
    seen = (800 + random.normal(scale=20, size=20_000)) / (
        1000 + random.normal(scale=20, size=20_000)
    )
    assert first.margin == pytest.approx(1.96 * seen.std(), rel=0.05)


def features_with_constant(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return made-up features whose last one is the constant of the encoder."""
    rows = np.random.default_rng(3).normal(size=(count, 5)) / 3
    return np.hstack([rows, np.full((count, 1), 2**-0.5)])


def test_shifted_head_says_labels_as_often_as_they_are_there() -> None:
    """Moved by the table of itself, a head that was far off is near these people's shares."""
    features, truth = features_with_constant(4000), np.repeat([0, 1, 2], [3000, 800, 200])
    held = Bags(features=features, labels=truth, owners=np.arange(4000))
    table = noisy_counts(WEIGHTS / 4, held, max_turns=1, std=1.0, noise=Silence())
    before = softmax(features @ (WEIGHTS / 4)).mean(axis=0)
    after = softmax(features @ shifted(WEIGHTS / 4, table)).mean(axis=0)
    there = np.array([0.75, 0.2, 0.05])
    assert np.abs(after - there).max() < 0.05 < np.abs(before - there).max()


def test_balanced_head_takes_the_shares_off() -> None:
    """The score of each label loses the logarithm of its share, and nothing else changes."""
    table = np.array([[[90.0, 9.0, -5.0], [0, 0, 0], [0, 0, 0]]])
    features = features_with_constant(5)
    moved = features @ balanced(WEIGHTS, table) - features @ WEIGHTS
    assert moved == pytest.approx(np.tile(-np.log([90 / 99, 9 / 99, 0.01]), (5, 1)), rel=1e-4)


def test_counts_refuse_a_head_that_does_not_fit() -> None:
    """Public numbers that do not fit are an error."""
    for wrong in (np.zeros((5, 3)), np.full((6, 3), np.nan)):
        with pytest.raises(EvaluationInvalid):
            noisy_counts(wrong, bags(people=2), max_turns=8, std=1.0)
    with pytest.raises(EvaluationInvalid):
        exact(bags(people=2), groups=np.zeros(1, dtype=np.int64))
