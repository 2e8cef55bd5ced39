"""Claims about what private computation costs."""

from __future__ import annotations

import math

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from models.accounting import (
    NOTHING_SPENT,
    ORDERS,
    RdpCurve,
    calibrate,
    count_curve,
    epsilon,
    epsilon_at_nodes,
    filter_order,
    gaussian_curve,
    plan_curve,
    plan_epsilon,
    prv_epsilon,
    round_curve,
    second_opinion,
    within,
)
from models.errors import AccountingInvalid
from tests.models.fakes import mechanism, plan

DELTA = 1e-5
SETTINGS = [(3.9, 0.1, 30), (2.1, 0.05, 30), (6.8, 1.0, 1), (1.6, 0.02, 100), (1.0, 0.01, 10)]


@pytest.mark.parametrize(("noise", "rate", "steps"), SETTINGS)
def test_curves_agree_with_dp_accounting(noise: float, rate: float, steps: int) -> None:
    """Epsilon from our curve is that of Google's Renyi accountant on the same orders."""
    accountant = RdpAccountant(list(ORDERS))
    step = PoissonSampledDpEvent(rate, GaussianDpEvent(noise))
    accountant.compose(SelfComposedDpEvent(step, steps))
    ours = epsilon(
        gaussian_curve(noise_multiplier=noise, sample_rate=rate, steps=steps), delta=DELTA
    )
    assert ours == pytest.approx(accountant.get_epsilon(DELTA), rel=0.002)


@pytest.mark.parametrize(("noise", "rate", "steps"), SETTINGS)
def test_tight_figures_agree_with_the_second_opinion(noise: float, rate: float, steps: int) -> None:
    """Two independent tight accountants agree within 2 % or their stated 0.02 error."""
    fixed = plan(noise_multiplier=noise, sample_rate=rate, steps=steps)
    other = second_opinion(fixed)
    assert prv_epsilon(fixed) == pytest.approx(other, rel=0.02, abs=0.02)
    assert prv_epsilon(fixed) > other - 1e-3
    assert plan_epsilon(fixed) > other


def test_one_gaussian_costs_what_the_closed_form_says() -> None:
    """The Renyi curve of an unsampled Gaussian is order / (2 sigma^2)."""
    curve = gaussian_curve(noise_multiplier=5.0, sample_rate=1.0, steps=3)
    assert curve.values == pytest.approx([3 * order / 50 for order in ORDERS])


def test_epsilon_is_not_below_the_exact_gaussian() -> None:
    """The bound for one Gaussian lies above the exact epsilon (Balle & Wang 2018)."""
    sigma = 4.0
    bound = epsilon(gaussian_curve(noise_multiplier=sigma, sample_rate=1, steps=1), delta=DELTA)

    def phi(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    half = 1 / (2 * sigma)
    spent = phi(half - bound * sigma) - math.exp(bound) * phi(-half - bound * sigma)
    assert spent <= DELTA


def test_curves_add_up() -> None:
    """Rounds compose: ten rounds and a head count are the sum of their curves."""
    fixed = plan()
    one = round_curve(fixed.mechanism)
    summed = count_curve(fixed.mechanism)
    for _ in range(10):
        summed = summed + one
    assert summed.values == pytest.approx(plan_curve(fixed).values)
    assert (3 * one).values == (one * 3).values
    assert (NOTHING_SPENT + one).values == one.values


def test_nothing_spent_costs_nothing() -> None:
    """An empty ledger's bound is next to zero, and exactly the conversion at the last order."""
    assert 0 <= epsilon(NOTHING_SPENT, delta=DELTA) < 0.01


@settings(max_examples=6, deadline=None)
@given(
    st.floats(0.8, 20),
    st.floats(0.01, 0.4),
    st.integers(1, 200),
)
def test_cost_is_monotone(noise: float, rate: float, steps: int) -> None:
    """More noise never costs more; a higher rate or more steps never costs less."""

    def cost(*, noise: float = noise, rate: float = rate, steps: int = steps) -> float:
        curve = gaussian_curve(noise_multiplier=noise, sample_rate=rate, steps=steps)
        return epsilon(curve, delta=DELTA)

    slack = 1 + 1e-6
    assert cost(noise=1.1 * noise) <= cost() * slack
    assert cost(rate=min(1.0, 1.1 * rate)) * slack >= cost()
    assert cost(steps=steps + 1) * slack >= cost()


@pytest.mark.parametrize("count_noise", [20.0, 50.0, 400.0])
@pytest.mark.parametrize("budget", [0.5, 2.0, 8.0])
@pytest.mark.parametrize(("rounds", "steps", "rate"), [(10, 30, 0.1), (1, 1, 1.0), (50, 5, 0.02)])
def test_calibrate_never_exceeds_and_never_wastes(
    count_noise: float, budget: float, rounds: int, steps: int, rate: float
) -> None:
    """The run fits the filter and the bound at the found noise; 2e-4 less does not fit."""
    found = calibrate(
        epsilon=budget,
        delta=DELTA,
        rounds=rounds,
        steps=steps,
        sample_rate=rate,
        count_noise=count_noise,
    )

    def total(noise: float) -> RdpCurve:
        m = mechanism(
            noise_multiplier=noise, sample_rate=rate, steps=steps, count_noise=count_noise
        )
        return round_curve(m) * rounds + count_curve(m)

    assert within(total(found), epsilon=budget, delta=DELTA)
    assert epsilon(total(found), delta=DELTA) <= budget
    assert not within(total(found - 2e-4), epsilon=budget, delta=DELTA)
    assert found == round(found, 4)


def test_calibrate_counts_the_head_count() -> None:
    """A less noisy head count leaves less for training, so training needs more noise."""
    coarse, fine = (
        calibrate(
            epsilon=2.0, delta=DELTA, rounds=10, steps=30, sample_rate=0.1, count_noise=count_noise
        )
        for count_noise in (1000.0, 5.0)
    )
    assert fine > 1.05 * coarse


def test_calibrate_refuses_a_head_count_that_breaks_the_budget() -> None:
    """Where the count alone costs more than epsilon, no noise is returned."""
    with pytest.raises(AccountingInvalid, match="count_noise"):
        calibrate(epsilon=1.0, delta=DELTA, rounds=1, steps=1, sample_rate=0.1, count_noise=0.5)


def test_filter_refuses_the_round_that_breaks_the_budget() -> None:
    """A ledger that asks before each round runs all ten rounds of the plan and no eleventh."""
    noise = calibrate(
        epsilon=2.0, delta=DELTA, rounds=10, steps=30, sample_rate=0.1, count_noise=50.0
    )
    m = mechanism(noise_multiplier=noise, sample_rate=0.1, steps=30)
    spent, rounds = count_curve(m), 0
    while within(spent + round_curve(m), epsilon=2.0, delta=DELTA):
        spent, rounds = spent + round_curve(m), rounds + 1
    assert rounds == 10


def test_filter_watches_one_order_whatever_is_spent() -> None:
    """A curve that is cheap at another order only is refused: hindsight buys nothing."""
    order = filter_order(epsilon=2.0, delta=DELTA)
    values = [100.0 if a == order else 0.0 for a in ORDERS]
    curve = RdpCurve(values=tuple(values))
    assert epsilon(curve, delta=DELTA) < 2.0
    assert not within(curve, epsilon=2.0, delta=DELTA)


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.0, 8.0])
def test_filter_order_is_nearly_the_best(budget: float) -> None:
    """Fixing the order beforehand wastes under 2 % of the budget on a subsampled Gaussian."""
    noise = calibrate(
        epsilon=budget, delta=DELTA, rounds=10, steps=30, sample_rate=0.1, count_noise=200.0
    )
    m = mechanism(noise_multiplier=noise, sample_rate=0.1, steps=30, count_noise=200.0)
    assert epsilon(round_curve(m) * 10 + count_curve(m), delta=DELTA) > 0.98 * budget


def test_cost_grows_with_the_nodes_that_hold_a_person() -> None:
    """A person at k nodes has a larger composed epsilon, and less than k times one node's."""
    fixed = plan()
    figures = [epsilon_at_nodes(fixed, nodes) for nodes in (1, 2, 5)]
    assert figures[0] == plan_epsilon(fixed)
    assert figures[0] < figures[1] < 2 * figures[0]
    assert figures[1] < figures[2] < 5 * figures[0]


@pytest.mark.parametrize(
    "values", [(), (0.0,), (math.nan,) * len(ORDERS), (-1.0,) * len(ORDERS), (math.inf,) * 85]
)
def test_curve_refuses_what_is_no_curve(values: tuple[float, ...]) -> None:
    """A curve read back with missing, negative or infinite numbers is refused."""
    with pytest.raises(AccountingInvalid):
        RdpCurve(values=values)


@pytest.mark.parametrize(("noise", "rate", "steps"), [(0.0, 0.1, 1), (1.0, 0.0, 1), (1.0, 2, 1)])
def test_gaussian_curve_refuses_numbers_out_of_range(noise: float, rate: float, steps: int) -> None:
    """No noise, a rate of zero or above one has no curve."""
    with pytest.raises(AccountingInvalid):
        gaussian_curve(noise_multiplier=noise, sample_rate=rate, steps=steps)


@pytest.mark.parametrize(("budget", "delta"), [(0.0, DELTA), (-1, DELTA), (1, 0.0), (1e-4, 1e-9)])
def test_filter_refuses_a_budget_that_is_none(budget: float, delta: float) -> None:
    """A budget no order can meet is an error, never a silent yes."""
    with pytest.raises(AccountingInvalid):
        within(NOTHING_SPENT, epsilon=budget, delta=delta)


@pytest.mark.parametrize("budget", [-1.0, 0.0, math.nan, math.inf])
def test_calibrate_refuses_an_epsilon_that_is_none(budget: float) -> None:
    """A negative, absent or boundless epsilon has no noise."""
    with pytest.raises(AccountingInvalid):
        calibrate(epsilon=budget, delta=DELTA, rounds=1, steps=1, sample_rate=0.1, count_noise=50.0)


def test_unknown_mechanism_has_no_curve() -> None:
    """What a node does not know how to account for is an error, never a free ride."""

    class Other:
        noise_multiplier, sample_rate, steps, count_noise = 1.0, 0.1, 1, 50.0

    for curve in (round_curve, count_curve):
        with pytest.raises(AccountingInvalid, match="unknown mechanism"):
            curve(Other())  # type: ignore[arg-type]
