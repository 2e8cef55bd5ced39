"""Claims about a round's private steps: right gradients, and nothing private but through noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bags import Bags
from models.errors import TrainingInvalid
from models.private_training import train_round
from policies.errors import PermitInvalid
from policies.terms import Mechanism
from policies.vocabulary import Action, Purpose
from tests.models.fakes import (
    NOW,
    Replayed,
    Silence,
    bags,
    joined,
    mechanism,
    one_person,
    permit,
    training_permit,
)

FloatArray = npt.NDArray[np.floating]
START = np.linspace(-0.5, 0.5, 18, dtype=np.float32).reshape(6, 3)


def trained(
    held: Bags, m: Mechanism, noise: Silence | Replayed, start: FloatArray = START
) -> npt.NDArray[np.float32]:
    """Run a round with a permit for everybody."""
    return train_round(
        start,
        held,
        mechanism=m,
        labels=start.shape[1],
        permit=training_permit(),
        now=NOW,
        noise=noise,
    )


def slow_person_gradient(weights: FloatArray, held: Bags, owner: int, m: Mechanism) -> FloatArray:
    """Sum one person's gradients turn by turn, then clip: the obvious way, in float64."""
    total = np.zeros(weights.shape)
    for turn in np.flatnonzero(held.owners == owner)[: m.max_turns]:
        x = held.features[turn].astype(np.float64)
        scores = np.exp(x @ weights)
        error = scores / scores.sum()
        error[held.labels[turn]] -= 1
        total += np.outer(x, error)
    norm = np.sqrt((total**2).sum())
    return total if norm <= m.clip else total * (m.clip / norm)


def slow_round(held: Bags, m: Mechanism, noise: Replayed) -> FloatArray:
    """Train person by person, drawing from the noise in the same order."""
    weights, velocity = START.astype(np.float64), np.zeros(START.shape)
    people = np.unique(held.owners)
    for _ in range(m.steps):
        sampled = people[noise.poisson_sample(len(people), rate=m.sample_rate)]
        total = sum(
            (slow_person_gradient(weights, held, owner, m) for owner in sampled),
            start=np.zeros(START.shape),
        )
        total = total + noise.gaussian(START.shape, std=m.noise_multiplier * m.clip)
        velocity = m.momentum * velocity + total / (m.sample_rate * m.nominal_people)
        weights = weights - m.learning_rate * velocity
    return weights


@pytest.mark.parametrize("people", [1, 5, 63, 64, 65, 200])
@pytest.mark.parametrize("clip", [0.01, 0.7, 100.0])
def test_training_agrees_with_the_slow_loop(people: int, clip: float) -> None:
    """The closed form equals a loop over persons and turns to 1e-5, clipped or not."""
    held = bags(people=people)
    m = mechanism(clip=clip, steps=4, sample_rate=0.5, momentum=0.8, max_turns=3, nominal_people=50)
    fast, slow = trained(held, m, Replayed()), slow_round(held, m, Replayed())
    assert np.abs(fast - slow).max() <= 1e-5 * max(1.0, np.abs(slow).max())


def test_training_does_not_depend_on_the_names_of_people() -> None:
    """Owners are only told apart: any distinct numbers in the same order give the same bytes."""
    held = bags(people=30)
    renamed = dataclasses.replace(held, owners=held.owners * 7 - 100)
    m = mechanism(steps=3, sample_rate=0.5)
    assert trained(held, m, Replayed()).tobytes() == trained(renamed, m, Replayed()).tobytes()


def test_a_person_who_is_not_sampled_changes_no_byte() -> None:
    """Neighbours: with noise and sample held fixed, one more unsampled person shows nowhere."""
    held = bags(people=100)
    m = mechanism(steps=5, sample_rate=0.3, momentum=0.9)
    without = trained(held, m, Replayed(people=100))
    more = joined(held, one_person(turns=8, owner=10_000, value=3.0))
    assert trained(more, m, Replayed(people=100)).tobytes() == without.tobytes()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf, 1e30])
def test_a_person_without_a_usable_gradient_changes_no_byte(value: float) -> None:
    """Features that are zero, not finite or beyond squaring neither raise nor show."""
    held = bags(people=100)
    m = mechanism(steps=5, momentum=0.9, clip=0.2)
    more = joined(held, one_person(turns=8, owner=10_000, value=value))
    with np.errstate(over="ignore"):
        moved = trained(more, m, Silence()) - trained(held, m, Silence())
    if value == 1e30:  # finite: a huge gradient is clipped like any other
        assert 0 < np.linalg.norm(moved) <= 5 * 5 * m.clip
    else:
        assert not moved.any()


@pytest.mark.parametrize("label", [-1, -100, 3, 2**40])
def test_a_label_outside_the_plan_changes_no_byte(label: int) -> None:
    """A turn with such a label counts as no turn; a refusal would tell that it is there."""
    held, strange = bags(people=10), one_person(turns=4, owner=99)
    strange = dataclasses.replace(strange, labels=np.full(4, label))
    m = mechanism(steps=2)
    assert trained(joined(held, strange), m, Silence()).tobytes() == (
        trained(held, m, Silence()).tobytes()
    )


@pytest.mark.parametrize("copies", [1, 1000])
def test_copies_in_a_bag_move_the_sum_by_at_most_the_clip(copies: int) -> None:
    """One person's thousand turns count for no more than the clip, and for that exactly."""
    held = bags(people=20)
    m = mechanism(max_turns=1000, clip=0.3, nominal_people=1)
    more = joined(held, one_person(turns=copies, owner=99))
    moved = trained(more, m, Silence()).astype(float) - trained(held, m, Silence())
    assert np.linalg.norm(moved) == pytest.approx(m.clip, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 10), st.integers(1, 40), st.floats(1e-3, 1e6))
def test_one_more_person_moves_a_step_by_at_most_the_clip(
    seed: int, clip: float, turns: int, scale: float
) -> None:
    """Sensitivity: whatever a person says, the step moves by at most clip over the divisor."""
    random = np.random.default_rng(seed)
    held = bags(people=5, seed=seed)
    person = Bags(
        features=random.normal(scale=scale, size=(turns, 6)),
        labels=random.integers(0, 3, turns),
        owners=np.full(turns, 999),
    )
    m = mechanism(clip=clip, nominal_people=8, max_turns=50)
    start = random.normal(size=(6, 3)).astype(np.float32)
    with_person = trained(joined(held, person), m, Silence(), start).astype(np.float64)
    moved = np.linalg.norm(with_person - trained(held, m, Silence(), start))
    assert moved <= clip / 8 + 1e-5


def test_only_the_first_turns_of_a_bag_are_read() -> None:
    """Beyond `max_turns` a bag may hold anything: it is not read."""
    first, rest = one_person(turns=4, owner=1), one_person(turns=50, owner=1, value=-2.0)
    m = mechanism(max_turns=4, steps=3)
    assert trained(joined(first, rest), m, Silence()).tobytes() == (
        trained(first, m, Silence()).tobytes()
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_nobody_gives_pure_noise(steps: int) -> None:
    """A node without people trains, and what leaves is the noise alone."""
    nobody = bags(people=0)
    m = mechanism(steps=steps, sample_rate=0.5, nominal_people=10)
    noise = Replayed()
    drawn = sum(noise.gaussian(START.shape, std=1.0) for _ in range(steps))
    expected = START - m.learning_rate * drawn * (m.noise_multiplier * m.clip / 5)
    assert trained(nobody, m, Replayed()) == pytest.approx(expected, abs=1e-5)


def test_an_empty_sample_gives_pure_noise() -> None:
    """A step that samples nobody is noise alone, and does not fail."""
    m = mechanism(sample_rate=0.5)
    full, empty = bags(people=9), bags(people=0)
    assert trained(full, m, Replayed(people=0)).tobytes() == (
        trained(empty, m, Replayed(people=0)).tobytes()
    )


def test_noise_is_asked_for_at_every_step_with_the_right_deviation() -> None:
    """Each step draws once, at noise_multiplier times clip, and samples at the public rate."""
    asked: list[tuple[str, float]] = []

    class Listening(Silence):
        def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
            asked.append(("noise", std))
            return super().gaussian(shape, std=std)

        def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
            asked.append(("sample", rate))
            return super().poisson_sample(count, rate=rate)

    m = mechanism(steps=3, clip=0.25, noise_multiplier=4.0, sample_rate=0.5)
    trained(bags(people=7), m, Listening())
    assert asked == [("sample", 0.5), ("noise", 1.0)] * 3


def test_the_product_default_is_the_system_noise() -> None:
    """Two rounds on the same bags never give the same weights."""
    first, second = (
        train_round(
            START,
            bags(people=3),
            mechanism=mechanism(),
            labels=3,
            permit=training_permit(),
            now=NOW,
        )
        for _ in range(2)
    )
    assert not (first == second).any()


@pytest.mark.parametrize(
    ("action", "purpose", "now"),
    [
        (Action.INFER, Purpose.TRAINING, NOW),
        (Action.TRAIN, Purpose.SERVICE, NOW),
        (Action.TRAIN, Purpose.TRAINING, NOW + 60),
        (Action.TRAIN, Purpose.TRAINING, NOW - 60),
    ],
)
def test_training_refuses_a_permit_for_something_else(
    action: Action, purpose: Purpose, now: float
) -> None:
    """Another action or purpose, or another time, opens nothing."""
    with pytest.raises(PermitInvalid):
        train_round(
            START,
            bags(people=1),
            mechanism=mechanism(),
            labels=3,
            permit=permit("person-0", action=action, purpose=purpose),
            now=now,
        )


def test_training_refuses_more_people_than_the_permit_names() -> None:
    """Bags of people whom the gate did not allow are noticed where they outnumber the permit."""
    with pytest.raises(PermitInvalid, match="fewer people"):
        train_round(
            START,
            bags(people=3),
            mechanism=mechanism(),
            labels=3,
            permit=training_permit(2),
            now=NOW,
        )


@pytest.mark.parametrize("wrong", [np.zeros((5, 3)), np.zeros((6, 4)), np.full((6, 3), np.nan)])
def test_training_refuses_public_weights_that_do_not_fit(wrong: FloatArray) -> None:
    """Weights of another shape, or not finite, are the coordinator's fault and refused."""
    with pytest.raises(TrainingInvalid):
        train_round(
            wrong,
            bags(people=1),
            mechanism=mechanism(),
            labels=3,
            permit=training_permit(),
            now=NOW,
        )


@pytest.mark.parametrize(("turns", "labels", "owners"), [(3, 2, 3), (3, 3, 2)])
def test_bags_refuse_columns_of_unequal_length(turns: int, labels: int, owners: int) -> None:
    """Features, labels and owners have one entry for each turn."""
    with pytest.raises(TrainingInvalid):
        Bags(
            features=np.zeros((turns, 6)),
            labels=np.zeros(labels, dtype=np.int64),
            owners=np.zeros(owners, dtype=np.int64),
        )
