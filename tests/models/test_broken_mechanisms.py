"""The checks that guard private training catch mechanisms broken in the ways others were.

Each broken variant is a plausible mistake. One checker looks from outside only, at weights
before and after a round; it must pass the real path and catch every variant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from models.bags import Bags
from models.noise import SYSTEM_NOISE, Noise
from models.private_training import clip_people, train_round
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

Trainer = Callable[[Bags, Mechanism, Noise], npt.NDArray[np.floating]]
SHAPE = (6, 3)
FALSE_ALARM = 1e-6


def real(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.floating]:
    """Run the product's path from zero weights."""
    return train_round(
        np.zeros(SHAPE, dtype=np.float32),
        held,
        mechanism=m,
        labels=SHAPE[1],
        permit=training_permit(),
        now=NOW,
        noise=noise,
    )


def turn_gradients(held: Bags) -> npt.NDArray[np.float64]:
    """Return each turn's gradient `(turn, feature, label)` at zero weights."""
    errors = np.full((len(held.labels), SHAPE[1]), 1 / SHAPE[1])
    errors[np.arange(len(held.labels)), held.labels] -= 1
    return np.asarray(held.features[:, :, None].astype(np.float64) * errors[:, None, :])


def person_gradients(held: Bags, m: Mechanism) -> npt.NDArray[np.float64]:
    """Return each person's summed gradient `(person, feature, label)` at zero weights."""
    turns = turn_gradients(held)
    found = [
        turns[held.owners == owner][: m.max_turns].sum(axis=0) for owner in np.unique(held.owners)
    ]
    return np.stack(found) if found else np.zeros((0, *SHAPE))


def step(total: npt.NDArray[np.float64], m: Mechanism, divisor: float) -> npt.NDArray[np.float64]:
    """Return the weights after one step from zero."""
    return -m.learning_rate * total / divisor


def noise_of(m: Mechanism, noise: Noise, factor: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the noise of a step, times a factor."""
    return factor * noise.gaussian(SHAPE, std=m.noise_multiplier * m.clip)


def public(m: Mechanism) -> float:
    """Return the divisor the mechanism should use."""
    return m.sample_rate * m.nominal_people


def honest(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Do it right, by hand, so that the variants differ from something that passes."""
    clipped = clip_people(person_gradients(held, m), clip=m.clip).sum(axis=0)
    return step(clipped + noise_of(m, noise), m, public(m))


def noise_missing(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Forget the noise."""
    del noise
    return step(clip_people(person_gradients(held, m), clip=m.clip).sum(axis=0), m, public(m))


def noise_halved(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Take half the noise, as if the sensitivity were half the clip."""
    clipped = clip_people(person_gradients(held, m), clip=m.clip).sum(axis=0)
    return step(clipped + noise_of(m, noise, 0.5), m, public(m))


def noise_on_the_clipped_only(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Add no noise where nobody was sampled."""
    if not len(held.owners):
        return np.zeros(SHAPE)
    return honest(held, m, noise)


def clip_after_averaging(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Clip the sum of all people instead of each person's."""
    total = person_gradients(held, m).sum(axis=0, keepdims=True)
    return step(clip_people(total, clip=m.clip)[0] + noise_of(m, noise), m, public(m))


def clip_each_turn(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Protect a turn, not a person: a thousand turns weigh a thousand clips."""
    clipped = clip_people(turn_gradients(held), clip=m.clip).sum(axis=0)
    return step(clipped + noise_of(m, noise), m, public(m))


def clip_forgotten(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Clip nobody."""
    return step(person_gradients(held, m).sum(axis=0) + noise_of(m, noise), m, public(m))


def clip_by_label(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Clip each column to the clip, so that a person weighs up to root of labels times it."""
    people = person_gradients(held, m)
    columns = [
        clip_people(people[:, :, [label]], clip=m.clip).sum(axis=0) for label in range(SHAPE[1])
    ]
    return step(np.concatenate(columns, axis=1) + noise_of(m, noise), m, public(m))


def private_divisor(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Divide by the number of people that are really there."""
    people = person_gradients(held, m)
    clipped = clip_people(people, clip=m.clip).sum(axis=0)
    return step(clipped + noise_of(m, noise), m, m.sample_rate * max(1, len(people)))


def early_stop(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Send nothing new when too few people are there."""
    return np.zeros(SHAPE) if len(np.unique(held.owners)) < 2 else honest(held, m, noise)


def nan_raises(held: Bags, m: Mechanism, noise: Noise) -> npt.NDArray[np.float64]:
    """Refuse a round because of what one bag holds."""
    if not np.isfinite(held.features).all():
        raise ValueError("features are not finite")
    return honest(held, m, noise)


def check(train: Trainer) -> None:
    """Fail on any train function that breaks one of the module's promises."""
    check_noise(train)
    check_one_person(train)
    check_doubling(train)
    check_strange_bag(train)


def check_noise(train: Trainer) -> None:
    """What leaves a node with nobody, and with people, varies as the mechanism says."""
    m = mechanism(nominal_people=3)
    deviation = m.noise_multiplier * m.clip / public(m)
    for people in (0, 1, 4):
        held = bags(people=people)
        expected = honest(held, m, Silence())
        draws = np.stack([train(held, m, SYSTEM_NOISE) - expected for _ in range(50)])
        total = float(((draws / deviation) ** 2).sum())
        share = stats.chi2.cdf(total, draws.size)
        assert FALSE_ALARM / 2 < share < 1 - FALSE_ALARM / 2, "the noise is not as declared"


def check_one_person(train: Trainer) -> None:
    """One person, with one turn or a thousand, moves the step by at most the clip."""
    held = bags(people=20)
    for turns in (1, 1000):
        m = mechanism(nominal_people=1, max_turns=1000, clip=0.3)
        more = joined(held, one_person(turns=turns, owner=999, value=2.0))
        moved = np.linalg.norm(train(more, m, Silence()) - train(held, m, Silence()))
        assert moved <= m.clip * (1 + 1e-5), "a person moved the sum by more than the clip"


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


@pytest.mark.parametrize("train", [real, honest])
def test_checker_passes_the_real_mechanism(train: Trainer) -> None:
    """The product's path passes, and so does the same mechanism written by hand."""
    check(train)


@pytest.mark.parametrize(
    "train",
    [
        noise_missing,
        noise_halved,
        noise_on_the_clipped_only,
        clip_after_averaging,
        clip_each_turn,
        clip_forgotten,
        clip_by_label,
        private_divisor,
        early_stop,
        nan_raises,
    ],
)
def test_checker_catches_a_broken_mechanism(train: Trainer) -> None:
    """Each plausible mistake is caught by the checker that the product's path passes."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(train)
