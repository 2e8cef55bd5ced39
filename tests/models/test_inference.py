"""Claims about reading a turn and explaining the reading."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from models.encoder import Encoder
from models.errors import ReleaseInvalid, WeightsInvalid
from models.heads import LinearHead
from models.inference import explain, infer
from models.label_sets import valences
from models.release import Release, VerifiedRelease, abstaining_release
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.redacted import RedactedText
from policies.vocabulary import Action, Emotion, Purpose, ReleaseId, SubjectId
from tests.models.fakes import DIGEST, LABELS, NOW, permit

ANNA = SubjectId("anna")
LEAVE = permit(ANNA, action=Action.INFER, purpose=Purpose.SERVICE)
EYE = np.eye(3, dtype=np.float32) * 4


def verified(
    *, weights: npt.NDArray[np.float32] | None = EYE, abstain_below: float = 0.5
) -> VerifiedRelease:
    """Return a release as it is after its proof was checked."""
    zero = abstaining_release(LABELS, DIGEST)
    made = Release(
        release_id=ReleaseId("release-1"),
        run=None,
        labels=LABELS,
        weights=weights,
        abstain_below=abstain_below,
        encoder_digest=DIGEST,
        card=zero.card,
    )
    return VerifiedRelease(release=made, digest=DIGEST, log_index=0)


class CountingWords:
    """An encoder whose features count three words; masks count as nothing."""

    digest = DIGEST

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: list[RedactedText]) -> npt.NDArray[np.float32]:
        """Return the counts of the words angry, calm and happy."""
        self.encoded += len(texts)
        words = [text.text.split() for text in texts]
        return np.array(
            [[w.count(x) for x in ("angry", "calm", "happy")] for w in words], dtype=np.float32
        )

    def encode_without(
        self, text: RedactedText, spans: list[tuple[int, int]]
    ) -> npt.NDArray[np.float32]:
        """Return the counts with a span masked."""
        return self.encode(
            [RedactedText(text=f"{text.text[:a]} [MASK] {text.text[b:]}") for a, b in spans]
        )


def test_reading_names_label_family_and_probabilities() -> None:
    """The most likely label is read with its regulated family and all probabilities."""
    reading = infer(verified(), np.array([1.0, 0, 0]), permit=LEAVE, subject=ANNA, now=NOW)
    assert (reading.label, reading.emotion) == ("frustration", Emotion.ANGER)
    assert sum(p for _, p in reading.probabilities) == pytest.approx(1)
    assert reading.confidence == max(p for _, p in reading.probabilities)
    assert not reading.abstained


def test_reading_says_how_pleasant_its_probabilities_are() -> None:
    """Valence is expected under the probabilities; the cue is what weighs most against it."""
    angry, happy = (
        infer(verified(), np.array(row), permit=LEAVE, subject=ANNA, now=NOW)
        for row in ([2.0, 0, 0], [0, 0, 2.0])
    )
    places = dict(zip((name for name, _ in LABELS), valences(LABELS), strict=True))
    for reading in (angry, happy):
        assert reading.valence == pytest.approx(
            sum(p * places[n] for n, p in reading.probabilities)
        )
    assert angry.valence is not None
    assert happy.valence is not None
    assert angry.valence < 0 < happy.valence
    assert angry.cue == "frustration"


@pytest.mark.parametrize(("threshold", "abstained"), [(0.0, False), (0.34, True), (1.0, True)])
def test_reading_abstains_below_the_threshold(threshold: float, abstained: bool) -> None:  # noqa: FBT001
    """Under the release's threshold there is no label and no family, only "not sure"."""
    reading = infer(
        verified(abstain_below=threshold), np.zeros(3), permit=LEAVE, subject=ANNA, now=NOW
    )
    assert reading.abstained is abstained
    assert (reading.label is None) is (reading.emotion is None) is abstained


UNSURE = (("angry", Emotion.ANGER), ("sad", Emotion.SADNESS), ("calm", Emotion.NEUTRAL))


@pytest.mark.parametrize(
    ("likely", "threshold", "sure"),
    [
        ((0.45, 0.40, 0.15), 0.5, Emotion.ANGER),  # unsure which of two, sure that it is one
        ((0.35, 0.45, 0.20), 0.5, Emotion.SADNESS),
        ((0.60, 0.05, 0.35), 0.5, None),  # the label is sure enough, this is not
        ((0.45, 0.40, 0.15), 0.9, None),  # a release that asks for more is not undercut
        ((0.05, 0.05, 0.90), 0.5, None),
    ],
)
def test_reading_is_sure_of_the_negative_families_together(
    likely: tuple[float, ...], threshold: float, sure: Emotion | None
) -> None:
    """Whether one is expressed is judged by their sum, from .7 on or what the release asks."""
    weights = np.log(np.array([likely], np.float32))
    made = replace(verified(abstain_below=threshold).release, labels=UNSURE, weights=weights)
    reading = infer(
        VerifiedRelease(release=made, digest=DIGEST, log_index=0),
        np.ones(1),
        permit=LEAVE,
        subject=ANNA,
        now=NOW,
    )
    assert reading.negative == pytest.approx(likely[0] + likely[1], abs=1e-6)
    assert reading.surely_negative is sure


def test_release_without_negative_labels_says_nothing_of_them() -> None:
    """Nothing is said of families that no label has."""
    labels = (("happy", Emotion.JOY), ("calm", Emotion.NEUTRAL), ("oh", Emotion.SURPRISE))
    made = replace(verified().release, labels=labels)
    found = VerifiedRelease(release=made, digest=DIGEST, log_index=0)
    reading = infer(found, np.zeros(3), permit=LEAVE, subject=ANNA, now=NOW)
    assert (reading.negative, reading.surely_negative) == (None, None)


def test_release_without_weights_always_abstains() -> None:
    """Release 0 reads nothing from anything."""
    reading = infer(verified(weights=None), np.ones(385), permit=LEAVE, subject=ANNA, now=NOW)
    assert reading.abstained
    assert (reading.probabilities, reading.valence, reading.cue) == ((), None, None)
    text, encoder = RedactedText(text="I am angry"), cast("Encoder", CountingWords())
    assert explain(encoder, verified(weights=None), text, permit=LEAVE, subject=ANNA, now=NOW) == ()


@pytest.mark.parametrize(
    "features", [np.zeros(4), np.zeros((2, 2)), np.array([np.nan, 0, 0]), np.array([np.inf, 0, 0])]
)
def test_reading_refuses_features_that_do_not_fit(features: npt.NDArray[np.float64]) -> None:
    """Features of another number, or not finite, are refused, not guessed at."""
    with pytest.raises(WeightsInvalid):
        infer(verified(), features, permit=LEAVE, subject=ANNA, now=NOW)


@pytest.mark.parametrize(
    ("shown", "subject", "now"),
    [
        (permit(ANNA, action=Action.STORE, purpose=Purpose.SERVICE), ANNA, NOW),
        (permit(ANNA, action=Action.INFER, purpose=Purpose.OFFERS), ANNA, NOW),
        (LEAVE, SubjectId("ben"), NOW),
        (LEAVE, ANNA, NOW + 100),
    ],
)
def test_reading_and_explaining_refuse_another_permit(
    shown: Permit, subject: SubjectId, now: float
) -> None:
    """Another action, purpose, person or time opens neither, and nothing is encoded."""
    encoder = CountingWords()
    with pytest.raises(PermitInvalid):
        infer(verified(), np.zeros(3), permit=shown, subject=subject, now=now)
    with pytest.raises(PermitInvalid):
        explain(
            cast("Encoder", encoder),
            verified(),
            RedactedText(text="angry"),
            permit=shown,
            subject=subject,
            now=now,
        )
    assert encoder.encoded == 0


def test_explanation_finds_the_word_that_carries_the_reading() -> None:
    """Masking "angry" costs the reading most; the spans are those of the text."""
    text = RedactedText(text="Well,  I am very angry today")
    weights = explain(
        cast("Encoder", CountingWords()), verified(), text, permit=LEAVE, subject=ANNA, now=NOW
    )
    assert max(weights, key=lambda w: w.weight).words == "angry"
    assert all(text.text[w.start : w.end] == w.words for w in weights)
    assert " ".join(w.words for w in weights).split() == text.text.split()


@pytest.mark.parametrize("words", [1, 2, 15, 16, 17, 1000])
def test_explanation_costs_a_bounded_number_of_readings(words: int) -> None:
    """However long the text, at most sixteen parts and seventeen readings, all words covered."""
    encoder = CountingWords()
    text = RedactedText(text=" ".join(["calm"] * words))
    weights = explain(
        cast("Encoder", encoder), verified(), text, permit=LEAVE, subject=ANNA, now=NOW
    )
    assert encoder.encoded == 1 + min(16, words) == 1 + len(weights)
    assert sum(len(w.words.split()) for w in weights) == words


def test_explanation_refuses_another_encoder() -> None:
    """A release made for another encoder is not explained with this one."""
    encoder = CountingWords()
    encoder.digest = type(DIGEST)("0" * 64)
    with pytest.raises(ReleaseInvalid, match="encoder"):
        explain(
            cast("Encoder", encoder),
            verified(),
            RedactedText(text="calm"),
            permit=LEAVE,
            subject=ANNA,
            now=NOW,
        )


def test_head_probabilities_survive_large_scores() -> None:
    """Scores of a thousand do not overflow the softmax."""
    head = LinearHead(labels=("a", "b"), weights=np.array([[1000.0, -1000.0]], dtype=np.float32))
    assert head.probabilities(np.ones((5, 1)))[0] == pytest.approx([1.0, 0.0])


def test_head_refuses_weights_without_a_column_for_each_label() -> None:
    """Two labels need two columns."""
    with pytest.raises(WeightsInvalid):
        LinearHead(labels=("a", "b"), weights=np.zeros((4, 3), dtype=np.float32))
