"""The checks that guard private training catch mechanisms broken in the ways others were.

Each broken variant is a plausible mistake, written as one method changed of a mechanism that is
right. One checker looks from outside only, at weights before and after rounds; it must pass the
product's path and the right one by hand, and catch every variant. Statistical checks are on
100,000 draws and raise a false alarm less than once in a million runs.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from models.bags import Bags
from models.module_gradients import clip_people
from models.noise import SYSTEM_NOISE, Noise
from models.private_training import train_round
from policies.terms import Mechanism
from tests.models.fakes import (
    NOW,
    Silence,
    bags,
    joined,
    mechanism,
    one_person,
    training_permit,
)

FloatArray = npt.NDArray[np.float64]
Trainer = Callable[[Bags, Mechanism, Noise], npt.NDArray[np.floating]]
LABELS = 5
FALSE_ALARM = 1e-7  # each; a run of the checker asks fewer than ten such questions
PERMIT = training_permit(2000)


def real(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.floating]:
    """Run the product's path from zero weights."""
    return train_round(
        np.zeros((held.features.shape[1], LABELS), dtype=np.float32),
        held,
        mechanism=m,
        labels=LABELS,
        permit=PERMIT,
        now=NOW,
        noise=noise,
    )


class ByHand:
    """The mechanism, slowly and rightly; each broken variant changes one method."""

    def __call__(self, held: Bags, m: Mechanism, noise: Noise) -> FloatArray:
        """Return the weights after a round from zero."""
        owners = np.unique(held.owners)
        weights = np.zeros((held.features.shape[1], LABELS))
        velocity = np.zeros_like(weights)
        for step in range(m.steps):
            sampled = owners[self.sample(len(owners), m, noise, step)]
            total = self.noised(self.clipped(weights, held, sampled, m), m, noise, step)
            velocity = m.momentum * velocity + total / self.divisor(len(owners), m)
            weights = weights - m.learning_rate * velocity
        return weights

    def sample(self, count: int, m: Mechanism, noise: Noise, _step: int) -> npt.NDArray[np.bool_]:
        """Return who is sampled."""
        return noise.poisson_sample(count, rate=m.sample_rate)

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Return the sum of each one's clipped gradient."""
        people = person_gradients(weights, held, sampled, m)
        return np.asarray(clip_people(people, clip=m.clip).sum(axis=0))

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, _step: int) -> FloatArray:
        """Return the sum with noise."""
        return total + noise.gaussian(total.shape, std=m.noise_multiplier * m.clip)

    def divisor(self, _people: int, m: Mechanism) -> float:
        """Return what the noisy sum is divided by."""
        return m.sample_rate * m.nominal_people


def turn_gradients(weights: FloatArray, held: Bags) -> FloatArray:
    """Return each turn's gradient `(turn, feature, label)`."""
    features = held.features.astype(np.float64)
    scores = np.exp(features @ weights)
    errors = scores / scores.sum(axis=1, keepdims=True)
    errors[np.arange(len(held.labels)), held.labels] -= 1
    return np.asarray(features[:, :, None] * errors[:, None, :])


def person_gradients(
    weights: FloatArray, held: Bags, people: npt.NDArray[Any], m: Mechanism
) -> FloatArray:
    """Return each person's summed gradient `(person, feature, label)`."""
    turns = turn_gradients(weights, held)
    found = [turns[held.owners == owner][: m.max_turns].sum(axis=0) for owner in people]
    return np.stack(found) if found else np.zeros((0, *weights.shape))


# --- broken ways to add noise -----------------------------------------------------------------


class NoiseMissing(ByHand):
    """Forgets the noise."""

    def noised(self, total: FloatArray, *_: Any) -> FloatArray:
        """Add nothing."""
        return total


class NoiseHalved(ByHand):
    """Takes half the noise."""

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, _step: int) -> FloatArray:
        """Add half."""
        return total + noise.gaussian(total.shape, std=m.noise_multiplier * m.clip / 2)


class NoiseOfTheMultiplierAlone(ByHand):
    """Forgets that the noise is a multiple of the clip."""

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, _step: int) -> FloatArray:
        """Add noise as if the clip were one."""
        return total + noise.gaussian(total.shape, std=m.noise_multiplier)


class NoiseReusedInARound(ByHand):
    """Draws once a round and adds the same at each step."""

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, step: int) -> FloatArray:
        """Add what the first step drew."""
        if step == 0:
            self.kept = super().noised(np.zeros_like(total), m, noise, step)
        return total + self.kept


class NoiseReusedBetweenRounds(ByHand):
    """Draws once and for all."""

    kept: FloatArray | None = None

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, step: int) -> FloatArray:
        """Add what the first round drew, scaled."""
        if self.kept is None or self.kept.shape != total.shape:
            self.kept = super().noised(np.zeros_like(total), m, noise, step)
        return total + self.kept


class NoiseSeeded(ByHand):
    """Seeds a generator of its own, by the step."""

    def noised(self, total: FloatArray, m: Mechanism, _noise: Noise, step: int) -> FloatArray:
        """Add noise that anybody can compute."""
        drawn = np.random.default_rng(step).normal(size=total.shape)
        return total + m.noise_multiplier * m.clip * drawn


class NoiseOfTheGlobalGenerator(ByHand):
    """Uses the generator that any library may seed."""

    def noised(self, total: FloatArray, m: Mechanism, _noise: Noise, _step: int) -> FloatArray:
        """Add noise that whoever sets the seed can compute."""
        drawn = np.random.normal(size=total.shape)  # noqa: NPY002 (that is the mistake)
        return total + m.noise_multiplier * m.clip * drawn


class NoiseOneNumber(ByHand):
    """Draws one number and adds it everywhere."""

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, _step: int) -> FloatArray:
        """Add the same to all."""
        return total + noise.gaussian((1,), std=m.noise_multiplier * m.clip)


class NoiseOnlyWhereThereIsSomebody(ByHand):
    """Adds no noise to an empty sum."""

    def noised(self, total: FloatArray, m: Mechanism, noise: Noise, step: int) -> FloatArray:
        """Add noise unless the sum is zero."""
        return super().noised(total, m, noise, step) if total.any() else total


# --- broken ways to clip ----------------------------------------------------------------------


class SensitivityHalved(ByHand):
    """Clips at twice what the noise is for."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Clip at twice the clip."""
        return super().clipped(weights, held, sampled, dataclasses.replace(m, clip=2 * m.clip))


class ClipAfterSumming(ByHand):
    """Clips the sum of all people instead of each person's."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Clip once: people share the clip, which is what the doubling check sees."""
        total = person_gradients(weights, held, sampled, m).sum(axis=0, keepdims=True)
        return np.asarray(clip_people(total, clip=m.clip)[0])


class ClipAfterAveraging(ByHand):
    """Clips the mean over people, and multiplies it back."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Clip the mean: one extreme person moves it by more than their clip."""
        people = person_gradients(weights, held, sampled, m)
        if not len(people):
            return np.zeros_like(weights)
        mean = people.mean(axis=0, keepdims=True)
        return np.asarray(clip_people(mean, clip=m.clip)[0] * len(people))


class ClipEachTurn(ByHand):
    """Protects a turn, not a person: a thousand turns weigh a thousand clips."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Clip turns."""
        turns = turn_gradients(weights, held)[np.isin(held.owners, sampled)]
        return np.asarray(clip_people(turns, clip=m.clip).sum(axis=0))


class ClipForgotten(ByHand):
    """Clips nobody."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Sum as it is."""
        return np.asarray(person_gradients(weights, held, sampled, m).sum(axis=0))


class ClipByLabel(ByHand):
    """Clips each column, so that a person weighs up to the root of the labels times the clip."""

    def clipped(
        self, weights: FloatArray, held: Bags, sampled: npt.NDArray[Any], m: Mechanism
    ) -> FloatArray:
        """Clip column by column."""
        people = person_gradients(weights, held, sampled, m)
        columns = [clip_people(people[:, :, [n]], clip=m.clip).sum(axis=0) for n in range(LABELS)]
        return np.concatenate(columns, axis=1)


# --- broken ways to sample, to divide, and to fail --------------------------------------------


class SampleOfFixedSize(ByHand):
    """Draws a batch of fixed size, as a shuffled loader does."""

    def sample(self, count: int, m: Mechanism, _noise: Noise, _step: int) -> npt.NDArray[np.bool_]:
        """Take the first of a shuffled list."""
        order = np.random.default_rng().permutation(count)
        return np.asarray(order < round(m.sample_rate * count))


class SampleByEpoch(ByHand):
    """Shuffles once a round, then goes through everybody batch by batch."""

    def sample(self, count: int, m: Mechanism, _noise: Noise, step: int) -> npt.NDArray[np.bool_]:
        """Take the next batch."""
        if step == 0:
            self.batches = np.random.default_rng().integers(0, round(1 / m.sample_rate), count)
        return np.asarray(self.batches == step % round(1 / m.sample_rate))


class SampleAllOrNobody(ByHand):
    """Decides once for all people instead of for each."""

    def sample(self, count: int, m: Mechanism, noise: Noise, _step: int) -> npt.NDArray[np.bool_]:
        """Toss one coin."""
        return np.full(count, bool(noise.poisson_sample(1, rate=m.sample_rate)[0]))


class SampleTooOften(ByHand):
    """Samples at a higher rate than is accounted for."""

    def sample(self, count: int, m: Mechanism, noise: Noise, _step: int) -> npt.NDArray[np.bool_]:
        """Sample a quarter more."""
        return noise.poisson_sample(count, rate=min(1.0, 1.25 * m.sample_rate))


class PrivateDivisor(ByHand):
    """Divides by the number of people that are really there."""

    def divisor(self, people: int, m: Mechanism) -> float:
        """Return the private count."""
        return m.sample_rate * max(1, people)


class EarlyStop(ByHand):
    """Sends nothing new when too few people are there."""

    def __call__(self, held: Bags, m: Mechanism, noise: Noise) -> FloatArray:
        """Stop early."""
        if len(np.unique(held.owners)) < 2:
            return np.zeros((held.features.shape[1], LABELS))
        return super().__call__(held, m, noise)


class StrangeBagRaises(ByHand):
    """Refuses a round because of what one bag holds."""

    def __call__(self, held: Bags, m: Mechanism, noise: Noise) -> FloatArray:
        """Raise."""
        if not np.isfinite(held.features).all():
            raise ValueError("features are not finite")
        return super().__call__(held, m, noise)


# --- the checker ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnlySampling:
    """Noise of zero; people are sampled by the product's generator."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> FloatArray:
        """Return zeros."""
        del std
        return np.zeros(shape)

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return a real sample."""
        return SYSTEM_NOISE.poisson_sample(count, rate=rate)


def check(train: Trainer) -> None:
    """Fail on any train function that breaks one of the module's promises."""
    check_noise(train)
    check_generator(train)
    check_sampling(train)
    check_epochs(train)
    check_one_person(train)
    check_doubling(train)
    check_strange_bag(train)


def check_noise(train: Trainer) -> None:
    """With fixed gradients, what leaves is normal, fresh at each step, and of the right size."""
    for people, steps in ((0, 2), (4, 1)):
        m = mechanism(nominal_people=3, steps=steps, clip=0.25)
        held = bags(people=people, features=50, labels=LABELS)
        expected = ByHand()(held, m, Silence())
        deviation = np.sqrt(steps) * m.noise_multiplier * m.clip / 3
        rounds = [train(held, m, SYSTEM_NOISE) - expected for _ in range(200)]
        draws = np.stack(rounds).reshape(200, -1) / deviation
        assert draws.size == 50_000
        share = stats.chi2.cdf(float((draws**2).sum()), draws.size)
        assert FALSE_ALARM / 2 < share < 1 - FALSE_ALARM / 2, "the noise is not as declared"
        mean = 2 * stats.norm.sf(abs(draws.mean()) * np.sqrt(draws.size))
        assert mean > FALSE_ALARM, "the noise has a mean"
        assert stats.kstest(draws.ravel(), "norm").pvalue > FALSE_ALARM, "the noise is not normal"
        for first, second in ((draws[:-1], draws[1:]), (draws[:, :-1], draws[:, 1:])):
            alike = stats.pearsonr(first.ravel(), second.ravel()).pvalue
            assert alike > FALSE_ALARM, "noise is used more than once"


def check_generator(train: Trainer) -> None:
    """Whoever sets the seeds of the usual generators does not repeat the noise."""
    seen = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        seen.append(train(bags(people=0), mechanism(), SYSTEM_NOISE))
    assert not (seen[0] == seen[1]).any(), "the noise follows a seed"


def check_sampling(train: Trainer) -> None:
    """Each person is in a step with the public probability, whoever else is: 100,000 draws."""
    people, rate, rounds = 100, 0.3, 1000
    held = Bags(
        features=np.eye(people, dtype=np.float32),
        labels=np.zeros(people, dtype=np.int64),
        owners=np.arange(people),
    )
    m = mechanism(sample_rate=rate)
    seen = np.stack([train(held, m, OnlySampling()).any(axis=1) for _ in range(rounds)])
    total = stats.binomtest(int(seen.sum()), seen.size, rate).pvalue
    assert total > FALSE_ALARM, "the sampling rate is not as declared"
    spread = ((seen.sum(axis=1) - people * rate) ** 2).sum() / (people * rate * (1 - rate))
    share = stats.chi2.cdf(float(spread), rounds)
    assert FALSE_ALARM / 2 < share < 1 - FALSE_ALARM / 2, "people are not sampled independently"


def check_epochs(train: Trainer) -> None:
    """How often somebody is in a round's steps is binomial, not once an epoch."""
    people, steps = 100, 10
    held = Bags(
        features=np.eye(people, dtype=np.float32),
        labels=np.zeros(people, dtype=np.int64),
        owners=np.arange(people),
    )
    m = mechanism(sample_rate=0.1, steps=steps, clip=1e-3, learning_rate=1e-2)
    once = m.learning_rate * m.clip / (m.sample_rate * m.nominal_people)
    moved = np.stack([train(held, m, OnlySampling()) for _ in range(20)])
    times = np.rint(np.linalg.norm(moved, axis=2) / once).astype(int)
    absent, expected = int((times == 0).sum()), (1 - m.sample_rate) ** steps
    assert stats.binomtest(absent, times.size, expected).pvalue > FALSE_ALARM, "sampled by epochs"


def check_one_person(train: Trainer) -> None:
    """One person, with one turn or a thousand, moves the step by at most the clip."""
    held = bags(people=20)
    for turns in (1, 1000):
        m = mechanism(nominal_people=1, max_turns=1000, clip=0.3)
        more = joined(held, one_person(turns=turns, owner=999, value=2.0))
        moved = np.linalg.norm(train(more, m, Silence()) - train(held, m, Silence()))
        assert moved <= m.clip * (1 + 1e-6), "a person moved the sum by more than the clip"


def check_doubling(train: Trainer) -> None:
    """Twice the same people move the step twice as far: no private number divides it."""
    m = mechanism(clip=0.05)
    held = bags(people=10)
    twin = Bags(features=held.features, labels=held.labels, owners=held.owners + 100)
    one, two = train(held, m, Silence()), train(joined(held, twin), m, Silence())
    assert two == pytest.approx(2 * one, rel=1e-4, abs=1e-6), "something private divides the sum"


def check_strange_bag(train: Trainer) -> None:
    """A bag that cannot be learnt from shows nowhere."""
    m = mechanism()
    held = bags(people=10)
    strange = joined(held, one_person(turns=2, owner=99, value=np.nan))
    try:
        moved = train(strange, m, Silence()) - train(held, m, Silence())
    except ValueError:
        pytest.fail("a bag made the round fail")
    assert not moved.any(), "a bag that is not finite showed"


@pytest.mark.parametrize("train", [real, ByHand()], ids=["the product", "by hand"])
def test_checker_passes_the_real_mechanism(train: Trainer) -> None:
    """The product's path passes, and so does the same mechanism written by hand."""
    check(train)


@pytest.mark.parametrize(
    ("broken", "look"),
    [
        (NoiseMissing, check_noise),
        (NoiseHalved, check_noise),
        (NoiseOfTheMultiplierAlone, check_noise),
        (NoiseReusedInARound, check_noise),
        (NoiseReusedBetweenRounds, check_noise),
        (NoiseSeeded, check_noise),
        (NoiseOfTheGlobalGenerator, check_generator),
        (NoiseOneNumber, check_noise),
        (NoiseOnlyWhereThereIsSomebody, check_noise),
        (SensitivityHalved, check_one_person),
        (ClipAfterSumming, check_doubling),
        (ClipAfterAveraging, check_one_person),
        (ClipEachTurn, check_one_person),
        (ClipForgotten, check_one_person),
        (ClipByLabel, check_one_person),
        (SampleOfFixedSize, check_sampling),
        (SampleByEpoch, check_epochs),
        (SampleAllOrNobody, check_sampling),
        (SampleTooOften, check_sampling),
        (PrivateDivisor, check_doubling),
        (EarlyStop, check_noise),
        (StrangeBagRaises, check_strange_bag),
    ],
)
def test_checker_catches_a_broken_mechanism(
    broken: type[ByHand], look: Callable[[Trainer], None]
) -> None:
    """Each plausible mistake is caught by the part of the checker that is about it."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        look(broken())
