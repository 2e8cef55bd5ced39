"""Private steps in the shipped public directions: theirs by hash, bounded there, and free."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import basis as basis_module
from models.bags import Bags
from models.basis import NAME, RANK, basis_of, shipped_basis, whitened_basis
from models.errors import EncoderRejected
from models.features import BASIS_DIGEST, FEATURES
from models.noise import SYSTEM_NOISE
from models.person_gradients import SLACK, People
from models.pretrained import BASIS, FOLDER, load_tensors
from models.private_training import train_round
from policies.parts import Basis
from tests.models.fakes import (
    NOW,
    Silence,
    bags,
    joined,
    mechanism,
    one_person,
    training_permit,
)

LABELS = 3
MATRIX = np.random.default_rng(3).normal(size=(6, 2))
FloatArray = npt.NDArray[np.float64]


def summed(held: Bags, *, clip: float, weights: FloatArray | None = None) -> FloatArray:
    """Return the clipped sum over everybody in the small basis."""
    people = People(held, labels=LABELS, max_turns=10_000, basis=MATRIX)
    start = np.linspace(-1, 1, 18).reshape(6, 3) if weights is None else weights
    return people.clipped_sum(start, np.ones(people.count, np.bool_), clip=clip)


def test_the_shipped_basis_is_the_file_that_was_shipped() -> None:
    """Another file of that name is refused, and nothing can be written into the one in memory."""
    assert shipped_basis().shape == (FEATURES, RANK)
    assert np.isfinite(shipped_basis()).all()
    assert not shipped_basis().flags.writeable
    assert set(load_tensors(FOLDER / BASIS, BASIS_DIGEST)) == {NAME}


def test_a_changed_basis_is_refused(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit elsewhere, and no round is trained in it."""
    data = bytearray((FOLDER / BASIS).read_bytes())
    data[-1] ^= 1
    changed = FOLDER.__class__(str(tmp_path)) / BASIS
    changed.write_bytes(bytes(data))
    monkeypatch.setattr(basis_module, "FOLDER", changed.parent)
    with pytest.raises(EncoderRejected, match="sha256"):
        shipped_basis.__wrapped__()


def test_plain_features_have_no_basis() -> None:
    """A plan that names none takes its steps in the features as they are."""
    assert basis_of(Basis.PLAIN) is None
    assert basis_of(Basis.WHITENED) is shipped_basis()


def test_whitening_makes_leading_directions_more_alike() -> None:
    """Spread falls from s to s to the power of one half; a text has norm one on the mean."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(4000, 8)) * np.array([8.0, 4, 2, 1, 0.5, 0.2, 0.1, 0.05])
    seen = rows @ whitened_basis(rows, rank=4, power=0.25).astype(np.float64)
    spread = np.mean(seen**2, axis=0)
    assert spread.sum() == pytest.approx(1.0, rel=1e-5)
    assert spread / spread[-1] == pytest.approx([8.0, 4.0, 2.0, 1.0], rel=0.05)
    between = np.corrcoef(seen.T) - np.eye(4)
    assert np.abs(between).max() < 1e-3


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_a_persons_gradient_is_taken_into_the_basis_before_the_clip(clip: float) -> None:
    """By the slow way: each one's own gradient, multiplied with the basis, then clipped."""
    held, weights = bags(people=9), np.linspace(-1, 1, 18).reshape(6, 3)
    expected = np.zeros((2, 3))
    for owner in np.unique(held.owners):
        person = np.zeros((6, 3))
        for x, label in zip(
            held.features[held.owners == owner].astype(np.float64),
            held.labels[held.owners == owner],
            strict=True,
        ):
            scores = np.exp(x @ weights)
            person += np.outer(x, scores / scores.sum() - np.eye(3)[label])
        seen = MATRIX.T @ person
        expected += seen * min(1.0, clip * (1 - SLACK) / float(np.linalg.norm(seen)))
    assert summed(held, clip=clip) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), people=st.integers(1, 70), copies=st.integers(1, 1000))
def test_one_person_moves_the_sum_in_the_basis_by_at_most_the_clip(
    seed: int, people: int, copies: int
) -> None:
    """As computed, with one turn or a thousand, and to the last bit whoever else is there."""
    held, more = bags(people=people, seed=seed), one_person(turns=copies, owner=999, value=2.0)
    moved = summed(joined(held, more), clip=0.3) - summed(held, clip=0.3)
    assert np.linalg.norm(moved) <= 0.3


def test_a_round_moves_the_weights_along_the_basis_alone() -> None:
    """Noise too: what leaves differs from the public start by the basis times something."""
    random = np.random.default_rng(1)
    held = Bags(
        features=random.normal(size=(40, FEATURES)).astype(np.float32) / FEATURES**0.5,
        labels=random.integers(0, LABELS, 40),
        owners=np.arange(40),
    )
    start = random.normal(size=(FEATURES, LABELS)).astype(np.float32)
    for noise in (Silence(), SYSTEM_NOISE):
        moved = train_round(
            start,
            held,
            mechanism=mechanism(steps=2, basis=Basis.WHITENED),
            labels=LABELS,
            permit=training_permit(),
            now=NOW,
            noise=noise,
        ).astype(np.float64)
        moved -= start
        along = shipped_basis() @ np.linalg.lstsq(shipped_basis(), moved, rcond=None)[0]
        assert np.linalg.norm(moved) > 0.01
        assert np.linalg.norm(moved - along) <= 1e-5 * np.linalg.norm(moved) + 1e-5


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_what_cannot_be_learnt_from_adds_zero_in_the_basis(value: float) -> None:
    """A turn that is no number changes no byte."""
    held, strange = bags(people=5), one_person(turns=1, owner=99)
    wide = Bags(features=np.full((1, 6), value), labels=strange.labels, owners=strange.owners)
    assert summed(joined(held, wide), clip=1.0).tobytes() == summed(held, clip=1.0).tobytes()


def test_rows_in_the_basis_do_not_depend_on_who_is_beside_them() -> None:
    """A matrix product rounds differently in another shape: each row is of a fixed block."""
    random = np.random.default_rng(5)
    held = Bags(
        features=random.normal(size=(150, FEATURES)),
        labels=random.integers(0, LABELS, 150),
        owners=np.arange(150),
    )
    weights = random.normal(size=(FEATURES, LABELS))
    together = People(held, labels=LABELS, max_turns=8, basis=shipped_basis())
    for place in (0, 64, 149):
        mine = held.owners == place
        alone = Bags(
            features=held.features[mine], labels=held.labels[mine], owners=held.owners[mine]
        )
        one = People(alone, labels=LABELS, max_turns=8, basis=shipped_basis())
        first = one.clipped_sum(weights, np.ones(1, np.bool_), clip=0.5)
        assert first.tobytes() == together.clipped_sum(weights, mine, clip=0.5).tobytes()
