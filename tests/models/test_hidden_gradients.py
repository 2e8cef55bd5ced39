"""A head with a hidden layer is trained person by person, with the bound and noise of any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bags import Bags
from models.errors import TrainingInvalid, WeightsInvalid
from models.heads import HiddenHead, LinearHead, head_of, packed, shape_of
from models.hidden_gradients import HiddenPeople
from models.private_training import train_round
from tests.models.fakes import NOW, Silence, bags, joined, mechanism, one_person, training_permit

LABELS, WIDTH = 5, 3
PERMIT = training_permit(2000)
FloatArray = npt.NDArray[np.float64]


def start(features: int, *, seed: int = 1) -> FloatArray:
    """Return a head's weights, drawn once."""
    shape = shape_of(features=features, labels=LABELS, width=WIDTH)
    return np.random.default_rng(seed).normal(size=shape)


def by_hand(weights: FloatArray, held: Bags, owner: int) -> FloatArray:
    """Return one person's summed gradient, by the chain rule written out."""
    head = head_of(tuple("abcde"), weights, width=WIDTH)
    assert isinstance(head, HiddenHead)
    first, second = np.zeros(head.first.shape), np.zeros(head.second.shape)
    for x, label in zip(
        held.features[held.owners == owner], held.labels[held.owners == owner], strict=True
    ):
        hidden = np.tanh(x @ head.first)
        error = head.probabilities(x) - np.eye(LABELS)[label]
        second += np.outer(np.append(hidden, 1.0), error)
        first += np.outer(x, (head.second[:-1] @ error) * (1 - hidden**2))
    return packed(first, second)


def clipped_sum(weights: FloatArray, held: Bags, *, clip: float) -> FloatArray:
    """Return the clipped sum over everybody."""
    people = HiddenPeople(held, labels=LABELS, max_turns=10_000, width=WIDTH)
    return people.clipped_sum(weights, np.ones(people.count, np.bool_), clip=clip)


def train(held: Bags, noise: Any, **changed: Any) -> npt.NDArray[np.float32]:
    """Run a round of the product's path."""
    return train_round(
        start(held.features.shape[1]).astype(np.float32),
        held,
        mechanism=mechanism(**changed),
        labels=LABELS,
        permit=PERMIT,
        now=NOW,
        width=WIDTH,
        noise=noise,
    )


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_hooks_compute_the_chain_rule_person_by_person(clip: float) -> None:
    """What the engine adds up is each person's own gradient, summed and then clipped."""
    held = bags(people=7)
    weights = start(held.features.shape[1])
    expected = np.zeros_like(weights)
    for owner in np.unique(held.owners):
        person = by_hand(weights, held, int(owner))
        expected += person * min(1.0, clip / float(np.linalg.norm(person)))
    assert np.allclose(clipped_sum(weights, held, clip=clip), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("copies", [1, 1000])
def test_copies_in_a_bag_move_a_hidden_heads_sum_by_at_most_the_clip(copies: int) -> None:
    """A thousand copies of a turn are one person, who moves the sum by at most the clip."""
    held = one_person(turns=1, owner=99)
    many = Bags(
        features=np.repeat(held.features[:1], copies, axis=0),
        labels=np.repeat(held.labels[:1], copies),
        owners=np.zeros(copies, np.int64),
    )
    weights = start(held.features.shape[1])
    assert np.linalg.norm(clipped_sum(weights, many, clip=0.5)) <= 0.5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), people=st.integers(1, 6))
def test_one_more_person_moves_the_hidden_sum_by_at_most_the_clip(seed: int, people: int) -> None:
    """As computed, over neighbouring data sets, whoever the others are."""
    without = bags(people=people, seed=seed)
    other = one_person(turns=3, owner=99)
    weights = start(without.features.shape[1], seed=seed)
    moved = clipped_sum(weights, joined(without, other), clip=0.7) - clipped_sum(
        weights, without, clip=0.7
    )
    assert np.linalg.norm(moved) <= 0.7


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_what_cannot_be_learnt_from_changes_no_byte_of_a_hidden_head(value: float) -> None:
    """A person whose gradient is no number adds zero; nothing fails, nothing tells."""
    held, sick = bags(people=4), one_person(turns=1, owner=99)
    bad = Bags(features=np.full_like(sick.features, value), labels=sick.labels, owners=sick.owners)
    assert np.isfinite(train(joined(held, bad), Silence(), sample_rate=1.0)).all()
    weights = start(held.features.shape[1])
    if not np.isfinite(value):
        whole = clipped_sum(weights, joined(held, bad), clip=1.0)
        assert whole.tobytes() == clipped_sum(weights, held, clip=1.0).tobytes()


def test_nobody_gives_a_hidden_head_of_the_same_shape() -> None:
    """An empty node answers like any other: with its weights, moved by noise alone."""
    nobody = Bags(features=np.zeros((0, 6)), labels=np.zeros(0, int), owners=np.zeros(0, int))
    quiet = train(nobody, Silence(), steps=1)
    assert np.array_equal(quiet, start(6).astype(np.float32))


def test_hidden_weights_of_another_size_are_refused() -> None:
    """Public weights that do not fit features, labels and width are refused before any step."""
    held = bags(people=2)
    with pytest.raises(TrainingInvalid):
        train_round(
            np.zeros((held.features.shape[1], LABELS), np.float32),
            held,
            mechanism=mechanism(),
            labels=LABELS,
            permit=PERMIT,
            now=NOW,
            width=WIDTH,
            noise=Silence(),
        )


@pytest.mark.parametrize("shape", [(19, 2), (20, 1), (1, 1), (13, 1)])
def test_head_of_other_weights_is_refused(shape: tuple[int, int]) -> None:
    """A column that is no whole number of features, or of none, makes no head."""
    with pytest.raises(WeightsInvalid):
        head_of(("a", "b"), np.zeros(shape), width=4)


def test_head_without_width_is_linear() -> None:
    """Width 0 is the linear head, whose weights are its shape."""
    assert isinstance(head_of(("a", "b"), np.zeros((4, 2)), width=0), LinearHead)
