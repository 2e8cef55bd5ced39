"""The public base that ships with us: an adapter for the encoder, and heads to begin with.

Trained by `models.train_base` on GoEmotions (Demszky et al. 2020; Apache-2.0), on no customer of
anybody. Low-rank adaptation (Hu et al. 2022): beside each matrix W of the encoder stand A and B
of rank 16, and the adapted matrix is W + 2 B A. `base_model/card.json` says how good it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.card import CALIBRATION_ERROR, ERROR, MACRO_F1
from models.errors import EncoderRejected
from models.features import ADAPTER_DIGEST, HEADS_DIGEST
from models.label_sets import label_sets
from policies.vocabulary import Digest

FOLDER = Path(__file__).with_name("base_model")
ADAPTER, HEADS, CARD = "adapter.safetensors", "heads.safetensors", "card.json"
BASIS = "basis.safetensors"
SCALE = 2.0
"""What multiplies B A: alpha / rank of the training."""

_FIGURES = {"calibration_error": CALIBRATION_ERROR, "error": ERROR, "macro_f1": MACRO_F1}

Tensors = Mapping[str, npt.NDArray[Any]]


def adapted(weights: Tensors, adapter: Tensors) -> dict[str, npt.NDArray[np.float32]]:
    """Return the encoder's weights with the adapter added; summed in 64 bits, kept in 32.

    Raises:
        EncoderRejected: The adapter does not fit these weights.
    """
    merged = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    try:
        for name in sorted(adapter):
            if name.endswith(".B"):
                whole, low = f"{name[:-2]}.weight", adapter[f"{name[:-2]}.A"]
                change = adapter[name].astype(np.float64) @ low.astype(np.float64)
                merged[whole] = (merged[whole] + SCALE * change).astype(np.float32)
    except (KeyError, ValueError) as error:
        raise EncoderRejected(f"the adapter does not fit the encoder: {error}") from error
    return merged


@cache
def load_adapter() -> Tensors:
    """Return the shipped adapter.

    Raises:
        EncoderRejected: The file is not the one that was shipped.
    """
    return load_tensors(FOLDER / ADAPTER, ADAPTER_DIGEST)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublicHead:
    """A shipped head: weights `(feature, label)`, and the confidence below which it abstains.

    `figures` are those of its card: a name of `models.card` and a value each, of public texts.
    """

    labels: tuple[str, ...]
    weights: npt.NDArray[np.float32]
    abstain_below: float
    figures: tuple[tuple[str, float], ...] = ()


def public_head(labels: tuple[str, ...]) -> PublicHead | None:
    """Return the shipped head for exactly these labels, its columns in their order.

    None where no shipped set has these labels: such a plan begins from nothing.

    Raises:
        EncoderRejected: The file is not the one that was shipped.
    """
    for head in _public_heads():
        if sorted(head.labels) == sorted(labels):
            order = [head.labels.index(label) for label in labels]
            weights = np.ascontiguousarray(head.weights[:, order])
            return replace(head, labels=labels, weights=weights)
    return None


@cache
def _public_heads() -> tuple[PublicHead, ...]:
    """Return the shipped heads whose labels exclude each other."""
    tensors = load_tensors(FOLDER / HEADS, HEADS_DIGEST)
    stated = json.loads((FOLDER / CARD).read_text(encoding="utf-8"))["figures"]
    return tuple(
        PublicHead(
            labels=labels.names,
            weights=tensors[name].astype(np.float32),
            abstain_below=float(tensors[f"{name}.abstain_below"][0]),
            figures=tuple((said, stated[name][key]) for key, said in _FIGURES.items()),
        )
        for name, labels in label_sets().items()
        if f"{name}.abstain_below" in tensors
    )


def checked_bytes(path: Path, expected: Digest, *, what: str) -> bytes:
    """Return the file's bytes if they are those of that SHA-256.

    Raises:
        EncoderRejected: They are not, or cannot be read; `what` says what was expected there.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EncoderRejected(f"cannot read {path}: {error.strerror}") from error
    if (got := hashlib.sha256(data).hexdigest()) != expected:
        raise EncoderRejected(f"{path} is not {what}: expected sha256 {expected}, got {got}")
    return data


def load_tensors(path: Path, expected: Digest) -> Tensors:
    """Return the tensors of a shipped file.

    Raises:
        EncoderRejected: The file is not the one that was shipped.
    """
    from safetensors.numpy import load  # noqa: PLC0415 (only who needs the base pays for it)

    tensors: Tensors = load(checked_bytes(path, expected, what="what was shipped"))
    return tensors
