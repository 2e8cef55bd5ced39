"""A fusion of modalities: what is missing is not read, and training holds whole people's bound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bags import Bags
from models.errors import TrainingInvalid, WeightsInvalid
from models.fusion import fused, probabilities, reading, row_width, rows_of, text_head
from models.heads import HiddenHead, LinearHead, head_of, packed, shape_of
from models.hidden_gradients import HiddenPeople
from models.private_training import train_round
from policies.vocabulary import Modality
from tests.models.fakes import NOW, Silence, joined, mechanism, training_permit

TEXT, VOICE = Modality.TEXT, Modality.VOICE
LAYOUT = ((TEXT, 4), (VOICE, 3))
LABELS, WIDTH = ("a", "b", "c"), 2
FloatArray = npt.NDArray[np.float64]


def weights(seed: int = 0) -> FloatArray:
    """Return a fusion head's column."""
    shape = shape_of(features=7, labels=len(LABELS), width=WIDTH)
    return np.random.default_rng(seed).normal(size=shape)


def head(seed: int = 0) -> HiddenHead:
    """Return the head that the column makes."""
    made = head_of(LABELS, weights(seed), width=WIDTH)
    assert isinstance(made, HiddenHead)
    return made


def turns(count: int, *, there: str, seed: int = 0, owner: int | None = None) -> Bags:
    """Return turns of several people; `there` is t, v or tv for each of them, in turn."""
    random = np.random.default_rng(seed)
    parts = []
    for place in range(count):
        given = {
            "t": {TEXT: random.normal(size=(1, 4))},
            "v": {VOICE: random.normal(size=(1, 3))},
            "b": {TEXT: random.normal(size=(1, 4)), VOICE: random.normal(size=(1, 3))},
        }[there[place % len(there)]]
        parts.append(rows_of(LAYOUT, given, turns=1))
    owners = random.integers(0, max(1, count // 2), count)
    return Bags(
        features=np.vstack(parts),
        labels=random.integers(0, len(LABELS), count),
        owners=owners if owner is None else np.full(count, owner),
    )


def by_hand(row: FloatArray) -> FloatArray:
    """Return a turn's scores: a loop over what is there, a mean, a tangent, a layer."""
    made, hidden, found = head(), np.zeros(WIDTH), 0
    for mark, (begin, end) in zip((7, 8), ((0, 4), (4, 7)), strict=True):
        if row[mark] == 1:
            hidden += sum(row[n] * made.first[n] for n in range(begin, end))
            found += 1
    return np.asarray(np.append(np.tanh(hidden / found), 1.0) @ made.second)


def gradient_by_hand(held: Bags, owner: int) -> FloatArray:
    """Return one person's summed gradient by differences of the loss, number by number."""
    mine = held.owners == owner

    def loss(column: FloatArray) -> float:
        made = head_of(LABELS, column, width=WIDTH)
        assert isinstance(made, HiddenHead)
        told = probabilities(LAYOUT, made, held.features[mine].astype(np.float64))
        return float(-np.log(told[np.arange(mine.sum()), held.labels[mine]]).sum())

    found, step = np.zeros(weights().shape), 1e-5
    for place in range(len(found)):
        moved = np.zeros_like(found)
        moved[place] = step
        found[place] = (loss(weights() + moved) - loss(weights() - moved)) / (2 * step)
    return found


def clipped_sum(held: Bags, *, clip: float) -> FloatArray:
    """Return the product's clipped sum over everybody."""
    seen = Bags(features=fused(LAYOUT, held.features), labels=held.labels, owners=held.owners)
    people = HiddenPeople(seen, labels=len(LABELS), max_turns=10_000, width=WIDTH)
    return people.clipped_sum(weights(), np.ones(people.count, np.bool_), clip=clip)


def trained(held: Bags) -> bytes:
    """Return a round's weights over the product's path, with noise of zero."""
    return train_round(
        weights().astype(np.float32),
        held,
        mechanism=mechanism(steps=2, learning_rate=0.1),
        labels=len(LABELS),
        permit=training_permit(),
        now=NOW,
        width=WIDTH,
        modalities=LAYOUT,
        noise=Silence(),
    ).tobytes()


def test_scores_are_the_loop_over_what_is_there() -> None:
    """Averaged over the modalities of each turn alone, whichever those are."""
    held = turns(12, there="tvb")
    told = probabilities(LAYOUT, head(), held.features)
    for row, said in zip(held.features.astype(np.float64), told, strict=True):
        scores = np.exp(by_hand(row))
        assert said == pytest.approx(scores / scores.sum())


@pytest.mark.parametrize("value", [0.0, 5.0, 1e30, np.inf, np.nan])
def test_what_is_missing_is_not_looked_at(value: float) -> None:
    """Whatever lies where a modality is missing, neither a reading nor a round moves by a byte."""
    held = turns(12, there="tv")
    filled = held.features.copy()
    filled[held.features[:, 8] == 0, 4:7] = value
    filled[held.features[:, 7] == 0, 0:4] = value
    other = Bags(features=filled, labels=held.labels, owners=held.owners)
    assert (
        probabilities(LAYOUT, head(), held.features).tobytes()
        == probabilities(LAYOUT, head(), filled).tobytes()
    )
    assert trained(held) == trained(other)


def test_a_modality_that_is_there_is_read() -> None:
    """The same numbers under a mark do move what is told: the mask hides nothing else."""
    held = turns(6, there="b")
    quiet = held.features.copy()
    quiet[:, 4:7] += 1.0
    other = Bags(features=quiet, labels=held.labels, owners=held.owners)
    assert not np.allclose(
        probabilities(LAYOUT, head(), held.features), probabilities(LAYOUT, head(), quiet)
    )
    assert trained(held) != trained(other)


@pytest.mark.parametrize("mark", [0.5, np.nan, 2.0, -1.0])
def test_a_mark_that_is_not_one_is_none(mark: float) -> None:
    """Only 1 says that a modality is there; anything else leaves it out."""
    held = turns(4, there="b")
    doubtful, without = held.features.copy(), held.features.copy()
    doubtful[:, 8], without[:, 8] = mark, 0.0
    assert fused(LAYOUT, doubtful).tobytes() == fused(LAYOUT, without).tobytes()


def test_a_turn_of_nothing_teaches_nothing_and_is_told_evenly() -> None:
    """It adds zero to a round, does not make it fail, and reads as if nothing were known."""
    held, nothing = turns(6, there="tvb"), turns(2, there="b", owner=99)
    nothing.features[:, 7:] = 0.0
    assert trained(joined(held, nothing)) == trained(held)
    assert probabilities(LAYOUT, head(), nothing.features) == pytest.approx(1 / 3)


@pytest.mark.parametrize("clip", [0.05, 100.0])
def test_gradients_are_differences_of_the_loss_person_by_person(clip: float) -> None:
    """Summed over a person's turns of any modalities, clipped, then added up."""
    held = turns(8, there="tvb")
    expected = np.zeros(weights().shape)
    for owner in np.unique(held.owners):
        person = gradient_by_hand(held, int(owner))
        expected += person * min(1.0, clip / float(np.linalg.norm(person)))
    assert clipped_sum(held, clip=clip) == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("there", ["t", "v", "b"])
@pytest.mark.parametrize("copies", [1, 1000])
def test_copies_in_a_bag_move_a_fusions_sum_by_at_most_the_clip(there: str, copies: int) -> None:
    """A thousand copies of a turn, whatever is there of it, are one person."""
    held, one = turns(5, there="tvb"), turns(1, there=there, owner=99, seed=4)
    many = Bags(
        features=np.repeat(one.features * 3, copies, axis=0),
        labels=np.repeat(one.labels, copies),
        owners=np.full(copies, 99),
    )
    many.features[:, 7:] = one.features[0, 7:]
    moved = clipped_sum(joined(held, many), clip=0.01) - clipped_sum(held, clip=0.01)
    assert 0 < np.linalg.norm(moved) <= 0.01


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), there=st.text("tvb", min_size=1, max_size=4))
def test_one_more_person_moves_a_fusions_sum_by_at_most_the_clip(seed: int, there: str) -> None:
    """As computed, over neighbouring data sets, whoever the others are."""
    held, more = turns(6, there="tvb", seed=seed), turns(4, there=there, seed=seed, owner=99)
    moved = clipped_sum(joined(held, more), clip=0.7) - clipped_sum(held, clip=0.7)
    assert np.linalg.norm(moved) <= 0.7


def test_a_node_of_texts_alone_reads_by_the_texts_layer() -> None:
    """The reading of one modality is the fusion of a turn with that alone, exactly."""
    held = turns(5, there="t")
    told = text_head(head(), LAYOUT).probabilities(held.features[:, :4])
    assert told == pytest.approx(probabilities(LAYOUT, head(), held.features))
    assert text_head(head(), ()) is not None


def test_a_text_teaches_nothing_of_a_voice() -> None:
    """Trained on texts alone, the voice's layer stays where it was, but for noise."""
    after = np.frombuffer(trained(turns(9, there="t")), np.float32).reshape(-1, 1)
    before = weights().astype(np.float32)
    assert np.array_equal(after[8:14], before[8:14])
    assert not np.array_equal(after[:8], before[:8])


def test_what_does_not_fit_the_layout_is_refused() -> None:
    """Rows, features, modalities and heads of another shape, each in one line."""
    with pytest.raises(TrainingInvalid, match=f"{row_width(LAYOUT)} numbers"):
        fused(LAYOUT, np.zeros((2, 7)))
    with pytest.raises(TrainingInvalid, match="voice has features"):
        rows_of(LAYOUT, {VOICE: np.zeros((2, 4))}, turns=2)
    with pytest.raises(TrainingInvalid, match="does not name face"):
        rows_of(LAYOUT, {Modality.FACE: np.zeros((2, 4))}, turns=2)
    with pytest.raises(WeightsInvalid, match="was not taught face"):
        reading(LAYOUT, head(), Modality.FACE)
    with pytest.raises(WeightsInvalid, match="does not fit"):
        reading(LAYOUT[:1], head(), TEXT)
    with pytest.raises(WeightsInvalid, match="linear"):
        text_head(LinearHead(labels=LABELS, weights=np.zeros((4, 3))), LAYOUT)


def test_layers_lie_one_under_another() -> None:
    """The packing is that of a hidden head, so that shapes and starts follow from the plan."""
    first, second = np.arange(14.0).reshape(7, 2), np.arange(9.0).reshape(3, 3)
    made = head_of(LABELS, packed(first, second), width=WIDTH)
    assert isinstance(made, HiddenHead)
    assert np.array_equal(reading(LAYOUT, made, VOICE).first, first[4:])
    assert np.array_equal(reading(LAYOUT, made, VOICE).second, second)
