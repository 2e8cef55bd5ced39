"""A clip that follows a quantile: by noisy counts that are paid for, and never by anything else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from models.accounting import (
    epsilon,
    gaussian_curve,
    gradient_noise,
    plan_epsilon,
    prv_epsilon,
    round_curve,
    second_opinion,
)
from models.bags import Bags
from models.errors import AccountingInvalid
from models.hidden_gradients import HiddenPeople
from models.noise import SYSTEM_NOISE, Noise
from models.person_gradients import People
from models.private_training import CLIP_RANGE, CLIP_RATE, next_clip, train_round
from policies.terms import Mechanism
from tests.models.fakes import (
    NOW,
    Replayed,
    Silence,
    bags,
    joined,
    mechanism,
    one_person,
    plan,
    training_permit,
)

ADAPTIVE = {"clip_quantile": 0.5, "quantile_noise": 3.0}


class Asked:
    """Noise of zero that writes down the deviations it was asked for."""

    def __init__(self) -> None:
        self.deviations: list[float] = []

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return everybody."""
        return Silence().poisson_sample(count, rate=rate)

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return zeros."""
        self.deviations.append(std)
        return np.zeros(shape)


def within(held: Bags, *, clip: float) -> float:
    """Return half of how many more people need no clip than do."""
    people = People(held, labels=3, max_turns=8)
    everybody = np.ones(people.count, np.bool_)
    return people.clipped(np.zeros((6, 3)), everybody, clip=clip)[1]


def trained(held: Bags, noise: Noise, **changed: float) -> bytes:
    """Return a round's weights as bytes."""
    weights = np.zeros((6, 3), np.float32)
    m = mechanism(**{"steps": 5, **ADAPTIVE, **changed})
    return train_round(
        weights, held, mechanism=m, labels=3, permit=training_permit(), now=NOW, noise=noise
    ).tobytes()


def test_a_person_is_half_a_unit_of_the_count() -> None:
    """Up or down, with one turn or a thousand: half a unit is the count's sensitivity."""
    held = bags(people=20)
    for turns in (1, 8, 1000):
        for clip in (1e-3, 0.5, 1e3):
            more = joined(held, one_person(turns=turns, owner=99, value=2.0))
            assert abs(within(more, clip=clip) - within(held, clip=clip)) == 0.5
    assert within(held, clip=1e3) == 10.0
    assert within(held, clip=1e-6) == -10.0


def test_a_person_without_a_gradient_is_not_in_the_count() -> None:
    """Neither up nor down: what cannot be learnt from shows nowhere."""
    held = bags(people=20)
    strange = joined(held, one_person(turns=2, owner=99, value=np.nan))
    assert within(strange, clip=0.5) == within(held, clip=0.5)
    assert trained(strange, Replayed(people=20)) == trained(held, Replayed(people=20))


def test_a_hidden_heads_engine_counts_alike() -> None:
    """Opacus' path tells the same count as the slow comparison of each one's norm."""
    held = bags(people=12)
    people = HiddenPeople(held, labels=3, max_turns=8, width=2)
    weights = np.random.default_rng(0).normal(size=(6 * 2 + 3 * 3, 1))
    each = [
        np.linalg.norm(people.clipped_sum(weights, np.arange(people.count) == place, clip=1e6))
        for place in range(people.count)
    ]
    clip = float(np.median(each)) * 1.001
    found = people.clipped(weights, np.ones(people.count, np.bool_), clip=clip)[1]
    assert found == sum(0.5 if norm <= clip else -0.5 for norm in each)


def test_the_clip_follows_the_quantile() -> None:
    """Without noise, by the published rule, from far above and far below to the same place."""
    held = bags(people=101)
    norms = [within(held, clip=c) for c in np.geomspace(0.01, 10, 400)]
    median = float(np.geomspace(0.01, 10, 400)[int(np.argmax(np.array(norms) >= 0))])
    for begin in (0.05, 5.0):
        m = mechanism(clip=begin, nominal_people=101, **ADAPTIVE)
        clip = begin
        for _ in range(300):
            clip = next_clip(clip, within(held, clip=clip), mechanism=m, noise=Silence())
        assert clip == pytest.approx(median, rel=0.05)


def test_a_fixed_clip_stays_and_draws_nothing() -> None:
    """Where the plan names no quantile, no count is made."""
    asked = Asked()
    assert next_clip(0.5, 100.0, mechanism=mechanism(), noise=asked) == 0.5
    assert not asked.deviations


def test_the_count_has_its_own_noise_and_a_public_divisor() -> None:
    """Of the declared deviation over public numbers: 10,000 draws."""
    m = mechanism(nominal_people=50, sample_rate=0.5, **ADAPTIVE)
    moves = [
        -math.log(next_clip(0.5, 0.0, mechanism=m, noise=SYSTEM_NOISE) / 0.5) / CLIP_RATE
        for _ in range(10_000)
    ]
    draws = np.array(moves) * 25 / 3.0
    assert stats.kstest(draws, "norm").pvalue > 1e-6
    assert 1e-6 < stats.chi2.cdf(float((draws**2).sum()), len(draws)) < 1 - 1e-6


def test_noise_alone_leads_no_clip_beyond_its_range() -> None:
    """A bound holds whatever the count says: no clip becomes zero or infinite."""
    m = mechanism(**ADAPTIVE)
    for count, bound in ((1e9, -CLIP_RANGE), (-1e9, CLIP_RANGE)):
        assert next_clip(0.5, count, mechanism=m, noise=Silence()) == 0.5 * math.exp(bound)


def test_noise_grows_with_the_clip() -> None:
    """The sum's noise is a multiple of the clip of that very step."""
    asked = Asked()
    trained(bags(people=30), asked, clip=1e-3, nominal_people=30)
    sums, counts = asked.deviations[::2], asked.deviations[1::2]
    assert counts == [3.0] * 5
    assert sums[0] == pytest.approx(2.0 * 1e-3)
    growth = np.array(sums[1:]) / sums[:-1]
    assert growth == pytest.approx(math.exp(CLIP_RATE * 0.5), rel=1e-6)


@pytest.mark.parametrize("noise", [2.0, 5.0, 20.0])
def test_the_count_is_in_the_price(noise: float) -> None:
    """Sum and count are one Gaussian whose precision is the sum of theirs, to every accountant."""
    fixed, paid = plan(), plan(clip_quantile=0.5, quantile_noise=noise)
    joint = (fixed.mechanism.noise_multiplier**-2 + (2 * noise) ** -2) ** -0.5
    same = plan(noise_multiplier=joint)
    assert paid.mechanism.joint_noise == pytest.approx(joint)
    for accountant in (plan_epsilon, prv_epsilon, second_opinion):
        assert accountant(paid) == pytest.approx(accountant(same), rel=1e-6)
        assert accountant(paid) > accountant(fixed)


def test_the_joint_price_is_that_of_both_composed() -> None:
    """Without sampling, two Gaussians on the same people cost their sum: nothing is lost."""
    m: Mechanism = replace(plan(sample_rate=1.0, **ADAPTIVE).mechanism, steps=1)
    apart = gaussian_curve(
        noise_multiplier=m.noise_multiplier, sample_rate=1.0, steps=1
    ) + gaussian_curve(noise_multiplier=2 * m.quantile_noise, sample_rate=1.0, steps=1)
    assert epsilon(round_curve(m), delta=1e-5) == pytest.approx(epsilon(apart, delta=1e-5))


def test_the_sums_noise_makes_room_for_the_count() -> None:
    """What is left for the sum after the count, never less noise than the joint needs."""
    for joint, count in ((1.0, 3.0), (3.9, 10.0), (0.7, 0.5)):
        alone = gradient_noise(joint, quantile_noise=count)
        found = mechanism(noise_multiplier=alone, clip_quantile=0.5, quantile_noise=count)
        assert joint <= found.joint_noise <= joint * 1.001
    with pytest.raises(AccountingInvalid, match="quantile_noise"):
        gradient_noise(2.0, quantile_noise=1.0)
