"""What private computation costs: Renyi curves, their sum, and the question "does it fit?".

The unit is one person at one node, added or removed with all their turns. Everything a node
spends is an `RdpCurve` on the fixed `ORDERS`; curves of adaptively chosen computations add up
(Mironov 2017, proposition 1). This module computes; ledgers remember.

Plans adapt to what earlier rounds showed, so a ledger may not take the best order in
hindsight: a Renyi filter is proven for an order fixed in advance (Feldman & Zrnic 2021,
theorem 4.3; Lecuyer 2021), and taking the best of several curves at the end is not free in
general. `filter_order` therefore fixes the order from epsilon and delta alone. For one plan
fixed beforehand `epsilon` takes the best order, and `prv_epsilon` is tighter still.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import AccountingInvalid
from policies.terms import Evaluation, Mechanism, Plan

ORDERS: tuple[float, ...] = (
    *(1 + step / 10 for step in range(1, 10)),
    *(2 + step / 4 for step in range(36)),
    *(float(order) for order in range(11, 64)),
    *(64.0, 72.0, 80.0, 96.0, 112.0, 128.0, 160.0, 192.0, 256.0, 320.0, 384.0, 512.0),
)
"""Orders at which every curve is kept; changing one changes the meaning of stored ledgers."""

_STEP = 1e-4
_LARGEST_NOISE = 1e5
_PRV_ERROR = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RdpCurve:
    """Renyi divergence spent at each of `ORDERS`, in nats.

    Raises:
        AccountingInvalid: Not one finite, non-negative number for each order.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(ORDERS) or not all(0 <= v < math.inf for v in self.values):
            raise AccountingInvalid(
                f"a curve has {len(ORDERS)} finite numbers of at least 0, got {len(self.values)}: "
                "keep curves as this version wrote them"
            )

    def __add__(self, other: RdpCurve) -> RdpCurve:
        return RdpCurve(values=tuple(a + b for a, b in zip(self.values, other.values, strict=True)))

    def __mul__(self, times: int) -> RdpCurve:
        return RdpCurve(values=tuple(times * value for value in self.values))

    __rmul__ = __mul__


NOTHING_SPENT = RdpCurve(values=(0.0,) * len(ORDERS))
"""The curve of a ledger that has no entry."""


def gaussian_curve(*, noise_multiplier: float, sample_rate: float, steps: int) -> RdpCurve:
    """Return the curve of `steps` Poisson-subsampled Gaussians (Mironov, Talwar, Zhang 2019).

    Raises:
        AccountingInvalid: A number is out of range, or so little noise that the curve overflows.
    """
    if not (0 < noise_multiplier < math.inf and 0 < sample_rate <= 1 and steps >= 0):
        raise AccountingInvalid(
            f"noise > 0, 0 < rate <= 1 and steps >= 0 are needed, got "
            f"{noise_multiplier:g}, {sample_rate:g}, {steps}"
        )
    return RdpCurve(values=_one_step(noise_multiplier, sample_rate, ORDERS)) * steps


def round_curve(mechanism: Mechanism) -> RdpCurve:
    """Return what one round costs a person: all its steps.

    Raises:
        AccountingInvalid: The mechanism is not one that this module knows the curve of.
    """
    _check_known(mechanism)
    return gaussian_curve(
        noise_multiplier=mechanism.joint_noise,
        sample_rate=mechanism.sample_rate,
        steps=mechanism.steps,
    )


def count_curve(mechanism: Mechanism) -> RdpCurve:
    """Return what the one noisy head count of a run costs a person.

    Raises:
        AccountingInvalid: As `round_curve`.
    """
    _check_known(mechanism)
    return gaussian_curve(noise_multiplier=mechanism.count_noise, sample_rate=1.0, steps=1)


def evaluation_curve(evaluation: Evaluation) -> RdpCurve:
    """Return what one table of noisy counts costs a person.

    Raises:
        AccountingInvalid: It is not the one kind of table that this module knows the curve of.
    """
    if type(evaluation) is not Evaluation:
        raise AccountingInvalid(
            f"unknown evaluation {type(evaluation).__name__}: its cost is not known, refuse it"
        )
    return gaussian_curve(noise_multiplier=evaluation.noise, sample_rate=1.0, steps=1)


def plan_curve(plan: Plan) -> RdpCurve:
    """Return what a whole run costs a person at one node.

    Every round, every evaluation and the head count; a run that ends early has spent less.
    """
    trained = round_curve(plan.mechanism) * plan.rounds + count_curve(plan.mechanism)
    if plan.evaluation is None:
        return trained
    return trained + evaluation_curve(plan.evaluation) * plan.evaluations


def epsilon(curve: RdpCurve, *, delta: float) -> float:
    """Return the smallest epsilon that the curve proves at `delta`, over all orders.

    For computations fixed beforehand; a ledger asks `within`.
    Conversion: Canonne, Kamath, Steinke 2020, proposition 12 (also Balle et al. 2020).
    """
    return max(
        0.0, min(v + _conversion(a, delta) for a, v in zip(ORDERS, curve.values, strict=True))
    )


@lru_cache(maxsize=256)
def filter_order(*, epsilon: float, delta: float) -> float:
    """Return the order a ledger of (epsilon, delta) watches, fixed before anything is spent.

    It is the order at which the most Gaussian noise budget (rho of zCDP, curve rho * order)
    fits below epsilon; the subsampled Gaussians of a plan have nearly that shape.

    Raises:
        AccountingInvalid: No order leaves any budget: epsilon is too small for this delta.
    """
    if not (0 < epsilon < math.inf and 0 < delta < 1):
        raise AccountingInvalid(f"0 < epsilon and 0 < delta < 1 are needed, got {epsilon}, {delta}")
    room = {order: (epsilon - _conversion(order, delta)) / order for order in ORDERS}
    best = max(room, key=room.__getitem__)
    if room[best] <= 0:
        raise AccountingInvalid(
            f"epsilon {epsilon:g} at delta {delta:g} leaves no budget at any order up to "
            f"{ORDERS[-1]:g}: raise epsilon or delta"
        )
    return best


def within(curve: RdpCurve, *, epsilon: float, delta: float) -> bool:
    """Return whether all that the curve holds stays within (epsilon, delta): the Renyi filter.

    Ask with the next computation added, before it runs; valid for any adaptive sequence as
    long as epsilon and delta stay the same (Feldman & Zrnic 2021, theorem 4.3).
    """
    order = filter_order(epsilon=epsilon, delta=delta)
    return curve.values[ORDERS.index(order)] + _conversion(order, delta) <= epsilon


def calibrate(
    *,
    epsilon: float,
    delta: float,
    rounds: int,
    steps: int,
    sample_rate: float,
    count_noise: float,
    also: RdpCurve = NOTHING_SPENT,
) -> float:
    """Return the least noise multiplier, rounded up to 1e-4, at which a run stays in budget.

    The run is `rounds * steps` subsampled Gaussians, one head count with standard deviation
    `count_noise` and what costs `also`; it passes `within`, and so also `epsilon`, at the given
    totals.

    Raises:
        AccountingInvalid: No noise is enough: the counts alone break the budget.
    """
    order = filter_order(epsilon=epsilon, delta=delta)
    counted = also + gaussian_curve(noise_multiplier=count_noise, sample_rate=1.0, steps=1)
    left = epsilon - _conversion(order, delta) - counted.values[ORDERS.index(order)]

    def fits(noise_multiplier: float) -> bool:
        return rounds * steps * _one_step(noise_multiplier, sample_rate, (order,))[0] <= left

    if not fits(_LARGEST_NOISE):
        raise AccountingInvalid(
            f"no noise keeps the run within epsilon {epsilon:g}: the counts, the head count at "
            f"standard deviation {count_noise:g}, leave {left:g} of it at order {order:g}; raise "
            "count_noise or the evaluation's noise"
        )
    # Search on the grid of multiples of 1e-4, so that the answer is rounded up by construction.
    low, high = 0, math.ceil(_LARGEST_NOISE / _STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle * _STEP) else (middle, high)
    found = round(high * _STEP, 4)
    return found if fits(found) else round(found + _STEP, 4)


def gradient_noise(joint: float, *, quantile_noise: float) -> float:
    """Return the multiplier of a sum's noise where a step's count has some, rounded up to 1e-4.

    Both together are one Gaussian of the multiplier `joint` (`policies.terms.Mechanism`).

    Raises:
        AccountingInvalid: The count alone costs as much as both may.
    """
    count = 2 * quantile_noise
    if not joint < count:
        raise AccountingInvalid(
            f"quantile_noise {quantile_noise:g} spends what a step may cost: above {joint / 2:.4g} "
            "is needed, and several times that leaves the sum its share"
        )
    alone = joint * count / math.sqrt(count * count - joint * joint)
    return math.ceil(alone / _STEP) * _STEP


def plan_epsilon(plan: Plan) -> float:
    """Return the run's epsilon for a person at one node, by Renyi curves."""
    return epsilon(plan_curve(plan), delta=plan.delta)


def epsilon_at_nodes(plan: Plan, nodes: int) -> float:
    """Return the composed epsilon for a person whose turns lie at `nodes` nodes.

    Each node noises on its own, so the person's cost is the sum of that many whole runs.
    """
    return epsilon(plan_curve(plan) * nodes, delta=plan.delta)


def prv_epsilon(plan: Plan) -> float:
    """Return an upper bound of the run's epsilon by privacy loss random variables.

    Tighter than `plan_epsilon`, and right only for a plan fixed beforehand (Gopi, Lee,
    Wutschitz 2021). Head count and evaluations enter as one unsampled Gaussian, whose precision
    is the sum of theirs.
    """
    from opacus.accountants import PRVAccountant  # noqa: PLC0415 (it loads torch)

    mechanism = plan.mechanism
    precision = mechanism.count_noise**-2
    if plan.evaluation is not None:
        precision += plan.evaluations * plan.evaluation.noise**-2
    accountant = PRVAccountant()
    accountant.history = [(precision**-0.5, 1.0, 1)]
    if plan.rounds:
        steps = plan.rounds * mechanism.steps
        accountant.history.insert(0, (mechanism.joint_noise, mechanism.sample_rate, steps))
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        # Harmless, both: at rate 1 Opacus takes log(1 - 1) and means minus infinity, and it
        # sizes its grid by a Renyi bound whose best order may be the last of its own list.
        warnings.filterwarnings("ignore", message="Optimal order is the")
        return float(accountant.get_epsilon(plan.delta, eps_error=_PRV_ERROR))


def second_opinion(plan: Plan) -> float:
    """Return the run's epsilon by Google's dp-accounting (privacy loss distributions)."""
    # Loaded here: only whoever costs a plan asks, and it brings half of SciPy along.
    from dp_accounting import (  # noqa: PLC0415
        GaussianDpEvent,
        PoissonSampledDpEvent,
        SelfComposedDpEvent,
    )
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415

    mechanism = plan.mechanism
    step = PoissonSampledDpEvent(mechanism.sample_rate, GaussianDpEvent(mechanism.joint_noise))
    accountant = PLDAccountant()
    if plan.rounds:
        accountant.compose(SelfComposedDpEvent(step, plan.rounds * mechanism.steps))
    accountant.compose(GaussianDpEvent(mechanism.count_noise))
    if plan.evaluation is not None:
        table = GaussianDpEvent(plan.evaluation.noise)
        accountant.compose(SelfComposedDpEvent(table, plan.evaluations))
    return float(accountant.get_epsilon(plan.delta))


def _check_known(mechanism: Mechanism) -> None:
    """Raise unless it is the one mechanism there is; a subclass may mean another one."""
    if type(mechanism) is not Mechanism:
        raise AccountingInvalid(
            f"unknown mechanism {type(mechanism).__name__}: its cost is not known, refuse it"
        )


def _conversion(order: float, delta: float) -> float:
    """Return what turning a curve's value at `order` into epsilon adds."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


@lru_cache(maxsize=4096)
def _one_step(
    noise_multiplier: float, sample_rate: float, orders: tuple[float, ...]
) -> tuple[float, ...]:
    """Return one subsampled Gaussian's divergence at the orders, from Opacus' analysis."""
    try:
        values = _opacus_analysis()(
            q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=list(orders)
        )
    except (ArithmeticError, ValueError) as error:
        raise AccountingInvalid(
            f"noise {noise_multiplier:g} at rate {sample_rate:g} is beyond what can be computed"
        ) from error
    return tuple(float(value) for value in np.maximum(values, 0.0))


@cache
def _opacus_analysis() -> Callable[..., Any]:
    """Return Opacus' Renyi analysis, a file of plain mathematics, without its package.

    The package imports torch, which a node's service has no other use for.
    """
    package = importlib.util.find_spec("opacus")
    if package is None or package.origin is None:
        raise AccountingInvalid("opacus is not installed: install what Undertone depends on")
    path = Path(package.origin).parent / "accountants" / "analysis" / "rdp.py"
    spec = importlib.util.spec_from_file_location("opacus_renyi_analysis", path)
    if spec is None or spec.loader is None:
        raise AccountingInvalid(f"{path} cannot be loaded: reinstall opacus")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    analysis: Callable[..., Any] = module.compute_rdp
    return analysis
