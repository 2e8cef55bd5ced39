"""Claims about the benchmark of private learning: honest about its cost and its choices."""

from __future__ import annotations

import pytest

from models.accounting import epsilon, gaussian_curve, round_curve, within
from models.private_counts import counts_curve
from tests.bench.federate import DELTA, HEAD_COUNT_NOISE, table_noise
from tests.bench.learning_tasks import TASKS
from tests.bench.private_learning import EPSILONS, setting_at
from tests.bench.tuning import CENTRE, GRID, choose


@pytest.mark.parametrize("budget", EPSILONS)
@pytest.mark.parametrize("name", TASKS)
def test_a_run_with_both_its_counts_costs_at_most_its_epsilon(name: str, budget: float) -> None:
    """Head count, table and all rounds together stay within the epsilon that is reported."""
    setting = setting_at(name, budget)
    m = setting.mechanism(epsilon=budget, nominal_people=100)
    head_count = gaussian_curve(noise_multiplier=HEAD_COUNT_NOISE, sample_rate=1.0, steps=1)
    total = round_curve(m) * setting.rounds + head_count + counts_curve(table_noise(budget))
    assert epsilon(total, delta=DELTA) <= budget * (1 + 1e-9)
    assert within(total, epsilon=budget * (1 + 1e-9), delta=DELTA)


def test_a_set_is_not_tuned_on_itself() -> None:
    """However well a setting does on the set kept apart, it is chosen on the others alone."""
    other = GRID[1]
    ratios = {
        CENTRE: {"airlines": [0.9], "meld": [0.9], "isear": [0.0]},
        other: {"airlines": [0.8], "meld": [0.8], "isear": [1.0]},
    }
    assert choose(ratios, apart="isear") is CENTRE
    assert choose(ratios, apart="meld") is other
