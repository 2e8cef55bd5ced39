"""A release: a published head with its labels, threshold, encoder and card.

Until `client_node.releases` has checked the coordinator's signature and the proof that the
release is in its log, a `Release` is only a claim; `VerifiedRelease` is what inference takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import Card, Metric, card_from_dict, card_to_dict
from models.errors import ReleaseInvalid, WeightsInvalid
from models.features import FEATURES_DIGEST
from models.fusion import Layout, text_head
from models.heads import Head, head_of
from models.pretrained import public_head
from models.update import weights_from_dict, weights_to_dict
from policies.parts import LARGEST_WIDTH
from policies.vocabulary import Digest, Emotion, Modality, ReleaseId, RunId

_FIELDS = frozenset(
    ("release_id", "run", "labels", "weights", "abstain_below", "encoder_digest", "card")
)
_FEWEST_LABELS = 2
_DIGEST_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Release:
    """One published model.

    `labels` pairs each label with its regulated family. `weights` are those of a head with `width`
    hidden units (`models.heads`), or None for a release that always abstains. `abstain_below` is
    the probability under which the answer is "not sure". `run` is None where no run made it. A
    fusion's `modalities` are its plan's (`models.fusion`).
    """

    release_id: ReleaseId
    run: RunId | None
    labels: tuple[tuple[str, Emotion], ...]
    weights: npt.NDArray[np.float32] | None
    abstain_below: float
    encoder_digest: Digest
    card: Card
    width: int = 0
    modalities: Layout = ()

    @property
    def head(self) -> Head | None:
        """Return the network that reads a text by the weights, None without any."""
        if self.weights is None:
            return None
        whole = head_of(tuple(name for name, _ in self.labels), self.weights, width=self.width)
        return text_head(whole, self.modalities)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VerifiedRelease:
    """A release whose signature and log proof were checked.

    `client_node.releases` alone builds one (a test reads every module to see that). `digest`
    is over the release's canonical bytes; `log_index` is its entry in the coordinator's log.
    """

    release: Release
    digest: Digest
    log_index: int


def abstaining_release(labels: tuple[tuple[str, Emotion], ...], encoder_digest: Digest) -> Release:
    """Return release 0: it answers nothing, so that features are sealed before any training."""
    return Release(
        release_id=ReleaseId("release-0"),
        run=None,
        labels=labels,
        weights=None,
        abstain_below=1.0,
        encoder_digest=encoder_digest,
        card=Card(
            data="none",
            unit="nobody",
            epsilon=None,
            delta=None,
            plan_digest=None,
            rounds=0,
            intended_use="Starting a node before anything was trained.",
            limits=("It always abstains.",),
        ),
    )


def public_release(
    labels: tuple[tuple[str, Emotion], ...], encoder_digest: Digest
) -> Release | None:
    """Return release 0 with the shipped head, useful before any training; None where none fits.

    A head fits labels of a shipped set, for the features of this version.
    """
    head = public_head(tuple(name for name, _ in labels))
    if head is None or encoder_digest != FEATURES_DIGEST:
        return None
    return Release(
        release_id=ReleaseId("release-0"),
        run=None,
        labels=labels,
        weights=head.weights,
        abstain_below=head.abstain_below,
        encoder_digest=encoder_digest,
        card=Card(
            data="GoEmotions, public comments on Reddit (Apache-2.0); no customer of anybody.",
            unit="nobody",
            epsilon=None,
            delta=None,
            plan_digest=None,
            rounds=0,
            intended_use="Starting a node, and the private rounds that adapt it.",
            limits=(
                "It has never seen a customer of yours: read its answers with doubt.",
                "English only; irony is read by its surface.",
                "It reads people of different countries and sexes unlike: measure it on yours.",
            ),
            metrics=tuple(
                Metric(name=name, value=value, measured_by="the makers, on GoEmotions' dev part")
                for name, value in head.figures
            ),
        ),
    )


def release_to_dict(release: Release) -> dict[str, Any]:
    """Return the release as JSON values, ready for signing; a linear head goes without saying.

    Raises:
        WeightsInvalid: A weight is not finite.
    """
    return {
        "release_id": release.release_id,
        "run": release.run,
        "labels": [[name, family.value] for name, family in release.labels],
        "weights": None if release.weights is None else weights_to_dict(release.weights),
        "abstain_below": release.abstain_below,
        "encoder_digest": release.encoder_digest,
        "card": card_to_dict(release.card),
        **({"width": release.width} if release.width else {}),
        **(
            {"modalities": [[name.value, width] for name, width in release.modalities]}
            if release.modalities
            else {}
        ),
    }


def release_from_dict(value: Any) -> Release:
    """Rebuild and check a release.

    Raises:
        ReleaseInvalid: A field is missing, unknown or of another type, a label's family is
            unknown, or the weights are not finite or do not fit the labels.
    """
    try:
        return _parse(value)
    except ReleaseInvalid:
        raise
    except (KeyError, TypeError, ValueError, WeightsInvalid) as error:
        raise ReleaseInvalid(f"not a release: {type(error).__name__}: {error}") from error


def _parse(value: Mapping[str, Any]) -> Release:
    """Read the fields; the caller translates what goes wrong."""
    if set(value) - {"width", "modalities"} != _FIELDS:
        raise ValueError(f"fields are {sorted(_FIELDS)}, got {sorted(map(str, value))}")
    run = value["run"]
    labels, width = _labels(value["labels"]), _width(value.get("width", 0))
    layout = _modalities(value.get("modalities", []))
    return Release(
        release_id=ReleaseId(_text(value["release_id"])),
        run=None if run is None else RunId(_text(run)),
        labels=labels,
        weights=_weights(value["weights"], labels=labels, width=width, layout=layout),
        abstain_below=_probability(value["abstain_below"]),
        encoder_digest=_digest(value["encoder_digest"]),
        card=card_from_dict(value["card"]),
        width=width,
        modalities=layout,
    )


def _labels(value: Any) -> tuple[tuple[str, Emotion], ...]:
    """Return the labels; each is named once and has a family of the vocabulary."""
    if not isinstance(value, list):
        raise TypeError(f"labels are a list of pairs, got {type(value).__name__}")
    labels = tuple((_text(name), Emotion(family)) for name, family in value)
    if not len({name for name, _ in labels}) == len(labels) >= _FEWEST_LABELS:
        raise ValueError(f"two or more labels, each once, are needed, got {len(labels)}")
    return labels


def _weights(
    value: Any, *, labels: tuple[tuple[str, Emotion], ...], width: int, layout: Layout
) -> npt.NDArray[np.float32] | None:
    """Return the weights of a head for these labels."""
    if value is None:
        return None
    weights = weights_from_dict(value)
    text_head(head_of(tuple(name for name, _ in labels), weights, width=width), layout)
    return weights


def _modalities(value: Any) -> Layout:
    if not isinstance(value, list):
        raise TypeError(f"modalities are a list of pairs, got {type(value).__name__}")
    return tuple((Modality(name), _features(width)) for name, width in value)


def _features(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("a modality has a whole number of features")
    return value


def _width(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_WIDTH:
        raise ValueError(f"width is a number of hidden units, {LARGEST_WIDTH} at most")
    return value


def _probability(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("abstain_below is a probability")
    return float(value)


def _digest(value: Any) -> Digest:
    text = _text(value)
    if len(text) != _DIGEST_LENGTH or set(text) - set("0123456789abcdef"):
        raise ValueError("encoder_digest is 64 lower-case hexadecimal digits")
    return Digest(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value
