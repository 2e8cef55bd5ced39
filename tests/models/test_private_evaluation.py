"""Claims about what the centre reads off noisy counts: right, with bounds that hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.accounting import RdpCurve, evaluation_curve, plan_curve, prv_epsilon, second_opinion
from models.bags import Bags
from models.errors import AccountingInvalid, EvaluationInvalid
from models.evaluation import label_table, predict
from models.evaluation import macro_f1 as exact_macro_f1
from models.private_counts import ALL_ROWS
from models.private_evaluation import (
    Figures,
    added,
    evaluate_round,
    figures_of,
    groups_of,
    stalled,
)
from policies.errors import PermitInvalid
from policies.terms import Evaluation, Grouping
from policies.vocabulary import Emotion
from tests.coordinator.fleet import make_plan
from tests.models.fakes import NOW, Silence, bags, training_permit

WEIGHTS = np.linspace(-2, 2, 18).reshape(6, 3)
LABELS = (("a", Emotion.ANGER), ("b", Emotion.NEUTRAL), ("c", Emotion.JOY))
EVALUATION = Evaluation(noise=20.0, every=2, patience=2, groups=Grouping.NONE)
PLAN = make_plan(labels=LABELS, features=6, evaluation=EVALUATION, epsilon=3.0)


def people(count: int, seed: int = 0) -> Bags:
    """Return so many people of one turn each whom the head reads better than chance."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 6))
    labels = (features @ WEIGHTS + random.gumbel(size=(count, 3)) * 3).argmax(axis=1)
    return Bags(features=features, labels=labels, owners=np.arange(count))


def measure(held: Bags, evaluation: Evaluation = EVALUATION, **changed: Any) -> Any:
    """Return a node's table."""
    given: dict[str, Any] = {
        "evaluation": evaluation,
        "max_turns": 8,
        "permit": training_permit(20_000),
        "now": NOW,
    }
    return evaluate_round(WEIGHTS, held, **(given | changed))


def figures(tables: list[Any]) -> Figures:
    """Return what the centre reads."""
    return figures_of(added(tables), PLAN, nodes=len(tables))


def test_figures_without_noise_are_those_of_the_head() -> None:
    """Where everybody has one turn that was read alike, recall, precision and F1 are exact."""
    truth = np.repeat([0, 1, 2], 400)
    features = np.eye(6)[np.where(np.arange(1200) % 4 == 0, (truth + 1) % 3, truth)]
    weights = np.vstack([40 * np.eye(3), np.zeros((3, 3))])  # sure of itself: norms are two
    held = Bags(features=features, labels=truth, owners=np.arange(1200))
    table = evaluate_round(
        weights,
        held,
        evaluation=EVALUATION,
        max_turns=8,
        permit=training_permit(2000),
        now=NOW,
        noise=Silence(),
    )
    found = figures([table])
    told = predict(weights, features)
    for seen, right in zip(found.labels, label_table(truth, told, n_labels=3), strict=True):
        # A hit has five numbers of one, a miss four: what is missed weighs sqrt(5 / 4) times.
        assert seen.recall.value == pytest.approx(3 / (3 + np.sqrt(5 / 4)), rel=1e-5)
        assert seen.recall.value == pytest.approx(right.recall, abs=0.03)
        assert seen.oversure.value == pytest.approx(1 - seen.precision.value, abs=1e-5)
        assert seen.share == pytest.approx(1 / 3, abs=1e-6)
        assert seen.class_weight == pytest.approx(1.0, abs=1e-5)
    assert found.macro_f1.value == pytest.approx(exact_macro_f1(truth, told, n_labels=3), abs=0.03)


def test_bounds_hold_whatever_the_noise_was() -> None:
    """In a thousand draws the noiseless macro-F1 lies within the bounds nearly always."""
    held = people(2000)
    quiet = figures([measure(held, noise=Silence())]).macro_f1.value
    inside = 0
    table = measure(held, noise=Silence())
    random = np.random.default_rng(1)
    for _ in range(1000):
        noisy = table + random.normal(scale=EVALUATION.noise, size=table.shape)
        bounds = figures([noisy]).macro_f1
        inside += bounds.low <= quiet <= bounds.high
    assert inside >= 950


def test_bounds_narrow_with_people_and_say_nothing_of_nobody() -> None:
    """Nobody gives bounds of everything; ten thousand people give a useful figure."""
    nobody = figures([measure(bags(people=0)) for _ in range(3)]).macro_f1
    many = figures([measure(people(10_000, seed)) for seed in range(3)]).macro_f1
    assert nobody.high - nobody.low > 0.6
    assert many.high - many.low < 0.1
    assert many.low < many.value < many.high


def test_groups_are_decided_by_a_persons_own_turns() -> None:
    """One, two to four, five and more: each person in one group, whole."""
    owners = np.repeat([7, 3, 9], [1, 4, 5])
    held = Bags(features=np.zeros((10, 6)), labels=np.zeros(10, np.int64), owners=owners)
    assert list(groups_of(held, Grouping.TURNS)) == [0, *[1] * 4, *[2] * 5]
    assert not groups_of(held, Grouping.NONE).any()
    plan = replace(PLAN, evaluation=replace(EVALUATION, groups=Grouping.TURNS))
    table = measure(held, replace(EVALUATION, groups=Grouping.TURNS), noise=Silence())
    assert table.shape == (3 * ALL_ROWS, 3)
    assert set(figures_of(added([table]), plan, nodes=1).groups) == {
        "one turn",
        "two to four turns",
        "five turns or more",
    }


def test_evaluation_takes_a_permit_for_everybody_in_the_bags() -> None:
    """A permit of fewer people, or one that is over, counts nobody."""
    with pytest.raises(PermitInvalid):
        measure(people(3), permit=training_permit(2))
    with pytest.raises(PermitInvalid):
        measure(people(3), now=NOW + 10**6)


def test_run_ends_early_only_when_nothing_got_better() -> None:
    """The last so many are compared with the best before them; none so far is no reason."""
    assert not stalled([0.5], patience=2)
    assert not stalled([0.5, 0.4], patience=2)
    assert stalled([0.5, 0.4, 0.5], patience=2)
    assert not stalled([0.5, 0.4, 0.51], patience=2)
    assert stalled([0.5, 0.6, 0.6, 0.59], patience=2)
    assert not stalled([0.5, 0.4, 0.3, 0.2], patience=0)


def test_every_evaluation_is_in_the_cost_of_the_run() -> None:
    """The curve of a run holds each of them, and both other accountants see them too."""
    without = replace(PLAN, evaluation=None)
    assert PLAN.evaluations == 3
    expected = plan_curve(without) + 3 * evaluation_curve(EVALUATION)
    assert plan_curve(PLAN).values == pytest.approx(expected.values)
    costly = replace(PLAN, evaluation=replace(EVALUATION, noise=5.0))
    assert prv_epsilon(costly) > prv_epsilon(without) + 0.1
    assert second_opinion(costly) == pytest.approx(prv_epsilon(costly), abs=0.05)


def test_unknown_evaluation_has_no_cost() -> None:
    """What is not the one table that is accounted for raises."""

    class Median(Evaluation):
        """Another statistic."""

    odd = Median(noise=20.0, every=1, patience=0, groups=Grouping.NONE)
    with pytest.raises(AccountingInvalid, match="Median"):
        evaluation_curve(odd)
    assert isinstance(evaluation_curve(EVALUATION), RdpCurve)


def test_tables_that_do_not_fit_are_not_added() -> None:
    """None, or of two shapes, or not the plan's, is an error."""
    table = measure(people(3), noise=Silence())
    for wrong in ([], [table, table[:-1]]):
        with pytest.raises(EvaluationInvalid):
            added(wrong)
    with pytest.raises(EvaluationInvalid):
        figures_of(added([table]), replace(PLAN, evaluation=None), nodes=1)
