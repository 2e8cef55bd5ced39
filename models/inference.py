"""Reading an expressed cue from one turn, and saying which words it rests on.

Both take a permit and show it first. A reading is a probability over labels, and "not sure"
below the release's threshold; it is about the words, never a finding about the person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from models.encoder import Encoder
from models.errors import ReleaseInvalid, WeightsInvalid
from models.heads import LinearHead, softmax
from models.label_sets import valences
from models.personal import Personal
from models.release import Release, VerifiedRelease
from policies.permit import Permit
from policies.redacted import RedactedText, Unread
from policies.vocabulary import NEGATIVE, Action, Digest, Emotion, Purpose, ReleaseId, SubjectId

SURELY_NEGATIVE = 0.7
"""How likely the negative families together must be to say that one is expressed.

Fixed on the train parts of four sets, cross-fitted: there 80 % of texts are surer than .67 to .72
of whether one is (`tests.bench.abstention`).
"""
_WORD = re.compile(r"\S+")


class Abstention(StrEnum):
    """Why a release says nothing; what lies in the text is `policies.redacted.Unread`."""

    UNSURE = "unsure"  # less confident than the release asks for
    UNTRAINED = "untrained"  # no release, or one without weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a release says of one turn.

    `label` and `emotion` (its regulated family) are None when it abstained; `because` then says
    why, and is None where it did not. `confidence` is
    the largest of `probabilities`, which pair each label with its own; 0 and empty for a
    release without weights. `valence` in [-1, 1] is what these probabilities expect, None
    without any; `cue` is the unpleasant label that weighs most in it, if one weighs anything.
    `local_head` is the digest of the node's own head where one took part beside the release.
    `negative` is how likely the negative families of rule 10 are together, None where no label
    has one; `surely_negative` is the likeliest of them where it is sure that one is expressed. A
    reading can be unsure between disappointment and frustration, and still sure of that.
    """

    label: str | None
    emotion: Emotion | None
    confidence: float
    because: Abstention | Unread | None
    release_id: ReleaseId
    probabilities: tuple[tuple[str, float], ...]
    valence: float | None = None
    cue: str | None = None
    local_head: Digest | None = None
    negative: float | None = None
    surely_negative: Emotion | None = None

    @property
    def abstained(self) -> bool:
        """Whether nothing was said."""
        return self.because is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordWeight:
    """How much the probability of the most likely label falls when these words are masked.

    `start` and `end` are characters of the redacted text; the weight lies in [-1, 1].
    """

    words: str
    start: int
    end: int
    weight: float


def infer(
    verified: VerifiedRelease,
    features: npt.NDArray[Any],
    *,
    permit: Permit,
    subject: SubjectId,
    now: float,
    local: Personal | None = None,
) -> Reading:
    """Return the reading of one turn's features `(feature,)`, by the release or with a local head.

    Raises:
        PermitInvalid: The permit is not for reading this person's turn for service now.
        WeightsInvalid: The features are not finite, or not as many as the release takes.
    """
    permit.cover(action=Action.INFER, purpose=Purpose.SERVICE, subject=subject, now=now)
    release = verified.release
    if release.weights is None:
        return silent(release.release_id, Abstention.UNTRAINED)
    return _reading(release, _probabilities(release, features, local))


def explain(
    encoder: Encoder,
    verified: VerifiedRelease,
    text: RedactedText,
    *,
    permit: Permit,
    subject: SubjectId,
    now: float,
    most: int = 16,
    local: Personal | None = None,
) -> tuple[WordWeight, ...]:
    """Return the weight of each part of the text, by occlusion (Zeiler & Fergus 2014).

    The text is cut into at most `most` runs of words, so it costs at most `most + 1` readings
    of the encoder, however long the text. Empty for a release without weights.

    Raises:
        PermitInvalid: The permit is not for reading this person's turn for service now.
        ReleaseInvalid: The release was made for another encoder.
        TextRejected: The text has no word.
    """
    permit.cover(action=Action.INFER, purpose=Purpose.SERVICE, subject=subject, now=now)
    release = verified.release
    if release.encoder_digest != encoder.digest:
        raise ReleaseInvalid(
            f"release {release.release_id} is for encoder {release.encoder_digest}, "
            f"this one is {encoder.digest}"
        )
    if release.weights is None:
        return ()
    whole = _probabilities(release, encoder.encode([text])[0], local)
    spans = _spans(text.text, most=most)
    without = _probabilities(release, encoder.encode_without(text, spans), local)
    fall = whole.max() - without[:, whole.argmax()]
    return tuple(
        WordWeight(words=text.text[start:end], start=start, end=end, weight=float(weight))
        for (start, end), weight in zip(spans, fall, strict=True)
    )


def _probabilities(
    release: Release, features: npt.NDArray[Any], local: Personal | None
) -> npt.NDArray[np.float64]:
    """Return `(..., label)` for features `(..., feature)` of a release with weights."""
    head = release.head
    if head is None:
        raise ReleaseInvalid(f"release {release.release_id} has no weights")
    if local is not None and local.weights.shape != (head.features, len(head.labels)):
        raise WeightsInvalid(
            f"release {release.release_id} has another head than the local one, which is "
            f"{local.weights.shape}: it is another release's"
        )
    if features.shape[-1:] != (head.features,) or not np.isfinite(features).all():
        raise WeightsInvalid(
            f"release {release.release_id} takes {head.features} finite features, "
            f"got shape {features.shape}"
        )
    if local is None:
        return head.probabilities(features)
    logits = LinearHead(labels=head.labels, weights=local.weights).logits(features)
    return softmax(logits / local.temperature)


def _reading(release: Release, probabilities: npt.NDArray[np.float64]) -> Reading:
    """Turn probabilities `(label,)` into a reading, or "not sure" below the threshold."""
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    abstained = confidence < release.abstain_below
    label, emotion = release.labels[best]
    pleasant = np.array(valences(release.labels)) * probabilities
    worst = int(pleasant.argmin())
    negative, family = _negative(release, probabilities)
    return Reading(
        label=None if abstained else label,
        emotion=None if abstained else emotion,
        confidence=confidence,
        because=Abstention.UNSURE if abstained else None,
        release_id=release.release_id,
        probabilities=tuple(
            (name, float(p)) for (name, _), p in zip(release.labels, probabilities, strict=True)
        ),
        valence=float(pleasant.sum()),
        cue=release.labels[worst][0] if pleasant[worst] < 0 else None,
        negative=negative,
        surely_negative=family,
    )


def _negative(
    release: Release, probabilities: npt.NDArray[np.float64]
) -> tuple[float | None, Emotion | None]:
    """Return how likely the negative families are together, and the likeliest if that is sure.

    As sure as `SURELY_NEGATIVE` says, and no less than the release asks of any answer.
    """
    likely = dict[Emotion, float]()
    for (_, family), probability in zip(release.labels, probabilities, strict=True):
        if family in NEGATIVE:
            likely[family] = likely.get(family, 0.0) + float(probability)
    if not likely:
        return None, None
    together = sum(likely.values())
    sure = together >= max(SURELY_NEGATIVE, release.abstain_below)
    return together, max(likely, key=lambda family: likely[family]) if sure else None


def silent(release_id: ReleaseId, because: Abstention | Unread) -> Reading:
    """Return the reading that says nothing, and why."""
    return Reading(
        label=None,
        emotion=None,
        confidence=0.0,
        because=because,
        release_id=release_id,
        probabilities=(),
    )


def _spans(text: str, *, most: int) -> list[tuple[int, int]]:
    """Return at most `most` spans of characters, runs of whole words of nearly equal number."""
    words = [match.span() for match in _WORD.finditer(text)]
    parts = np.array_split(np.arange(len(words)), max(1, min(most, len(words))))
    return [(words[part[0]][0], words[part[-1]][1]) for part in parts if len(part)]
