"""A node's update: the weights after its private steps, and how weights become bytes.

Weights travel as little-endian float32 in row order, base64 inside JSON: one flat array, no
pickle, nothing that runs when it is read. Signatures lie elsewhere (`audit.signing`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import UpdateInvalid, WeightsInvalid
from policies.vocabulary import Digest, NodeId, RunId

LARGEST_SIZE = 1 << 22
"""Most numbers that a set of weights may hold; bounds what a stranger can make us allocate."""

_RANK = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Update:
    """What a node answers to a round: weights `(feature, label)`, private before they leave."""

    run: RunId
    round_number: int
    node: NodeId
    terms_digest: Digest
    weights: npt.NDArray[np.float32]


def weights_bytes(weights: npt.NDArray[Any]) -> bytes:
    """Return the little-endian float32 bytes of the weights, in row order.

    Raises:
        WeightsInvalid: Not two-dimensional, too large, or a number that is not finite in
            float32.
    """
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(weights, dtype="<f4")
    _check_shape(flat.shape)
    _check_finite(flat)
    return flat.tobytes()


def weights_from_bytes(data: bytes, *, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Rebuild weights of the shape `(feature, label)` from `weights_bytes`.

    Raises:
        WeightsInvalid: Another size, or a number that is not finite.
    """
    _check_shape(shape)
    expected = 4 * math.prod(shape)
    if len(data) != expected:
        raise WeightsInvalid(
            f"weights of shape {shape} are {expected} bytes, got {len(data)}: send them whole"
        )
    weights = np.frombuffer(data, dtype="<f4").reshape(shape).astype(np.float32)
    _check_finite(weights)
    return weights


def weights_digest(weights: npt.NDArray[Any]) -> Digest:
    """Return the SHA-256 over `weights_bytes`."""
    return Digest(hashlib.sha256(weights_bytes(weights)).hexdigest())


def weights_to_dict(weights: npt.NDArray[Any]) -> dict[str, Any]:
    """Return the weights as JSON values: shape and base64."""
    data = weights_bytes(weights)
    return {"shape": list(weights.shape), "float32": base64.b64encode(data).decode("ascii")}


def weights_from_dict(value: Any) -> npt.NDArray[np.float32]:
    """Rebuild weights from `weights_to_dict`.

    Raises:
        WeightsInvalid: Not such a value, another size, or a number that is not finite.
    """
    try:
        shape, text = value["shape"], value["float32"]
        data = base64.b64decode(text, validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise WeightsInvalid(
            f"weights are an object with shape and base64 float32, got {type(value).__name__}"
        ) from error
    _check_shape(shape)
    return weights_from_bytes(data, shape=(shape[0], shape[1]))


def update_to_dict(update: Update) -> dict[str, Any]:
    """Return the update as JSON values, ready for signing."""
    return {
        "run": update.run,
        "round_number": update.round_number,
        "node": update.node,
        "terms_digest": update.terms_digest,
        "weights": weights_to_dict(update.weights),
    }


def update_from_dict(value: Any, *, shape: tuple[int, int] | None = None) -> Update:
    """Rebuild an update; with `shape` given, it must have that shape `(feature, label)`.

    Raises:
        UpdateInvalid: A field is missing, unknown or of another type, or the weights do not
            fit.
    """
    try:
        update = _parse(value)
    except (KeyError, TypeError, ValueError, WeightsInvalid) as error:
        raise UpdateInvalid(f"not an update: {type(error).__name__}: {error}") from error
    if shape is not None and update.weights.shape != shape:
        raise UpdateInvalid(
            f"update of {update.node} has shape {update.weights.shape}, the plan has {shape}"
        )
    return update


def _parse(value: Any) -> Update:
    """Read the fields; the caller translates what goes wrong."""
    fields = {"run", "round_number", "node", "terms_digest", "weights"}
    if set(value) != fields:
        raise ValueError(f"fields are {sorted(fields)}, got {sorted(map(str, value))}")
    texts = [value[name] for name in ("run", "node", "terms_digest")]
    number = value["round_number"]
    if not all(isinstance(text, str) for text in texts) or type(number) is not int:
        raise TypeError("run, node and terms_digest are text, round_number is an integer")
    return Update(
        run=RunId(texts[0]),
        round_number=number,
        node=NodeId(texts[1]),
        terms_digest=Digest(texts[2]),
        weights=weights_from_dict(value["weights"]),
    )


def _check_shape(shape: Any) -> None:
    """Raise unless the shape is two positive integers of a bounded size."""
    whole = isinstance(shape, list | tuple) and all(type(n) is int and n > 0 for n in shape)
    if not whole or len(shape) != _RANK or math.prod(shape) > LARGEST_SIZE:
        raise WeightsInvalid(
            f"weights have shape (feature, label) with at most {LARGEST_SIZE} numbers, got {shape}"
        )


def _check_finite(weights: npt.NDArray[np.float32]) -> None:
    """Raise if a number is NaN or infinite; a noisy sum never is by chance."""
    if not np.isfinite(weights).all():
        raise WeightsInvalid(
            f"{np.count_nonzero(~np.isfinite(weights))} of {weights.size} weights are not finite"
        )
