"""Claims about a node's own head: better on people it never saw, or the release's; calibrated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from models.bags import Bags
from models.calibration import expected_calibration_error
from models.encoder import Encoder
from models.errors import WeightsInvalid
from models.evaluation import macro_f1, predict
from models.heads import softmax
from models.inference import explain, infer
from models.personal import FEWEST_PEOPLE, Personal, difference_interval, personal_head, tables_of
from policies.redacted import RedactedText
from tests.models.fakes import NOW, bags, joined, one_person
from tests.models.test_inference import ANNA, EYE, LEAVE, CountingWords, verified


def branch(*, people: int, seed: int, turned: float, wide: int = 0) -> Bags:
    """Return people of a branch where words mean something else than elsewhere by an angle."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, 3 * people)
    points = np.array([[np.cos(turned), np.sin(turned)], [-np.cos(turned), -np.sin(turned)]])
    noise = random.normal(size=(len(truth), 2 + wide))
    rows = np.hstack([noise, np.ones((len(truth), 1))])
    rows[:, :2] += points[truth]
    return Bags(features=rows / 2, labels=truth, owners=np.repeat(np.arange(people), 3))


GLOBAL = np.array([[4.0, -4.0], [0.0, 0.0], [0.0, 0.0]])
"""A head for branches whose words are not turned."""


def f1(weights: np.ndarray[Any, Any], held: Bags) -> float:
    """Return the macro-F1 on other people of the branch."""
    return macro_f1(held.labels, predict(weights, held.features), n_labels=2)


def test_branch_that_differs_gains() -> None:
    """Where words mean something else, the local head is taken and reads new people better."""
    found = personal_head(GLOBAL, branch(people=150, seed=1, turned=1.2))
    new = branch(people=500, seed=2, turned=1.2)
    assert found.share > 0
    assert found.gain is not None
    assert found.gain.low > 0
    assert f1(found.weights, new) > f1(GLOBAL.astype(np.float32), new) + 0.1


def test_gain_is_what_new_people_see() -> None:
    """The interval that is shown holds the gain on many people who are in nothing."""
    new = branch(people=4000, seed=0, turned=0.7)
    for seed in range(1, 5):
        found = personal_head(GLOBAL, branch(people=150, seed=seed, turned=0.7))
        assert found.gain is not None
        true = f1(found.weights, new) - f1(GLOBAL, new)
        assert found.gain.low - 0.02 <= true <= found.gain.high + 0.02


def test_share_is_not_chosen_on_those_it_was_fitted_on() -> None:
    """Where there is nothing to learn but by heart, the release reads alone, and no gain is told.

    200 features tell 40 people apart, so that a head fitted on them reads those 40 without error.
    """
    for seed in range(4):
        held = branch(people=40, seed=seed, turned=0.0, wide=200)
        random = np.random.default_rng(seed + 50)
        guessed, start = random.integers(0, 2, len(held.labels)), random.normal(size=(203, 2))
        found = personal_head(start, replace(held, labels=guessed))
        assert found.gain is not None
        assert found.gain.low <= 0
        assert found.share == 0.0
        assert np.array_equal(found.weights, start.astype(np.float32))


def test_interpolation_keeps_its_word() -> None:
    """On new people its confidence is as often right as it says, and more so than the release.

    60 features of noise beside two that mean something: read by those whom it was fitted on, the
    head is sure of itself, and any pull looks best that learns them by heart.
    """
    start = np.vstack([4 * GLOBAL[:2], np.zeros((61, 2))])
    found = personal_head(start, branch(people=120, seed=1, turned=1.2, wide=60))
    new = branch(people=2000, seed=2, turned=1.2, wide=60)
    rows = new.features.astype(np.float64)
    ours = softmax(rows @ found.weights.astype(np.float64) / found.temperature)
    ece = expected_calibration_error(ours, new.labels)
    assert found.share > 0
    assert ece < 0.06
    assert ece < expected_calibration_error(softmax(rows @ start), new.labels)


@pytest.mark.parametrize("people", [0, 1, FEWEST_PEOPLE - 1])
def test_few_people_keep_the_federations_head(people: int) -> None:
    """Below the fewest people there is nothing to choose by, and the head is the federation's."""
    found = personal_head(np.zeros((6, 3)), bags(people=people))
    assert found.share == 0.0
    assert found.gain is None
    assert not found.weights.any()


def test_the_same_people_give_the_same_head() -> None:
    """Fitted anew from the vault it is the same: erasing somebody leaves nothing of them."""
    held = branch(people=60, seed=3, turned=1.2)
    more = joined(held, replace(one_person(turns=5, owner=999), features=np.ones((5, 3))))
    kept = more.owners != 999
    again = Bags(features=more.features[kept], labels=more.labels[kept], owners=more.owners[kept])
    first, second = personal_head(GLOBAL, held), personal_head(GLOBAL, again)
    assert first.share > 0
    assert first.weights.tobytes() == second.weights.tobytes()
    assert personal_head(GLOBAL, more).weights.tobytes() != first.weights.tobytes()


def test_strange_turns_do_not_break_it() -> None:
    """Turns that are not finite or of other labels are left out, and a label may be missing."""
    held = bags(people=30)
    strange = joined(held, one_person(turns=2, owner=999, value=np.nan))
    assert np.isfinite(personal_head(np.zeros((6, 3)), strange).weights).all()
    one_label = Bags(features=held.features, labels=np.zeros_like(held.labels), owners=held.owners)
    assert np.isfinite(personal_head(np.zeros((6, 3)), one_label).weights).all()


def test_interval_is_of_people_not_of_turns() -> None:
    """A person with many turns counts once: repeated turns make nobody surer."""
    random = np.random.default_rng(0)
    truth, before, after = random.integers(0, 2, (3, 60))
    person = np.arange(60)

    def width(times: int) -> float:
        was, now = (
            tables_of(
                np.repeat(truth, times), np.repeat(told, times), np.repeat(person, times), labels=2
            )
            for told in (before, after)
        )
        low, high = difference_interval(was, now)
        return high - low

    assert width(20) == pytest.approx(width(1))


def test_local_head_reads_in_place_of_the_release() -> None:
    """With a local head label and confidence are its own, and so are the words that weighed."""
    shown: dict[str, Any] = {"permit": LEAVE, "subject": ANNA, "now": NOW}
    turned = Personal(weights=np.roll(EYE, 1, axis=1), share=1.0, temperature=2.0)
    features = np.array([1.0, 0.5, 0.0])
    plain, ours = (
        infer(verified(), features, **shown),
        infer(verified(), features, local=turned, **shown),
    )
    assert plain.label == "frustration"
    assert ours.label == "calm"
    logits = features @ turned.weights.astype(np.float64) / 2.0
    assert [p for _, p in ours.probabilities] == pytest.approx(softmax(logits).tolist())
    text = RedactedText(text="angry angry calm")
    encoder = cast("Encoder", CountingWords())
    of_ours = {w.words: w.weight for w in explain(encoder, verified(), text, local=turned, **shown)}
    of_plain = {w.words: w.weight for w in explain(encoder, verified(), text, **shown)}
    assert of_ours["angry"] == pytest.approx(_fall(turned.weights / 2.0), abs=1e-9)
    assert of_plain["angry"] == pytest.approx(_fall(EYE), abs=1e-9)


def _fall(weights: np.ndarray[Any, Any]) -> float:
    """Return by how much the likeliest label of two angry words and a calm one falls with one."""
    whole, less = (softmax(np.array(row) @ weights) for row in ([2.0, 1, 0], [1.0, 1, 0]))
    return float(whole.max() - less[whole.argmax()])


def test_local_head_of_another_release_is_refused() -> None:
    """A head of another shape reads nothing."""
    other = Personal(weights=np.zeros((2, 3), np.float32), share=1.0)
    with pytest.raises(WeightsInvalid, match="another release's"):
        infer(verified(), np.ones(3), local=other, permit=LEAVE, subject=ANNA, now=NOW)
