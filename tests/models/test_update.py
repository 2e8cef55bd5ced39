"""Claims about how weights and updates become bytes and come back."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from models.errors import UpdateInvalid, WeightsInvalid
from models.update import (
    Update,
    update_from_dict,
    update_to_dict,
    weights_bytes,
    weights_digest,
    weights_from_bytes,
    weights_from_dict,
    weights_to_dict,
)
from policies.canonical import canonical
from policies.vocabulary import NodeId, RunId
from tests.models.fakes import DIGEST

WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def update(weights: npt.NDArray[np.float32] = WEIGHTS) -> Update:
    """Return a made-up update."""
    return Update(
        run=RunId("run-1"),
        round_number=3,
        node=NodeId("node-1"),
        terms_digest=DIGEST,
        weights=weights,
    )


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_weights_come_back_bit_by_bit(weights: npt.NDArray[np.float32]) -> None:
    """Bytes, and JSON with base64, give back every bit, the sign of zero included."""
    rows, columns = weights.shape
    assert weights_from_bytes(weights_bytes(weights), shape=(rows, columns)).tobytes() == (
        weights.tobytes()
    )
    again = weights_from_dict(json.loads(canonical(weights_to_dict(weights))))
    assert again.tobytes() == weights.tobytes()
    assert weights_digest(again) == weights_digest(weights)


def test_weights_are_little_endian_float32_in_row_order() -> None:
    """The format is fixed: another machine or memory order gives the same bytes and digest."""
    expected = b"".join(np.float32(n).tobytes() for n in range(6))
    assert weights_bytes(WEIGHTS) == expected
    assert weights_bytes(WEIGHTS.astype(">f4")) == expected
    assert weights_bytes(np.asfortranarray(WEIGHTS)) == expected


def test_update_comes_back_whole() -> None:
    """An update survives canonical JSON."""
    again = update_from_dict(json.loads(canonical(update_to_dict(update()))), shape=(3, 2))
    assert update_to_dict(again) == update_to_dict(update())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_weights_that_are_not_finite_never_leave(number: float) -> None:
    """NaN, infinity and what overflows float32 are refused before they are sent."""
    with pytest.raises(WeightsInvalid, match="not finite"):
        weights_bytes(np.array([[0.0, number]]))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_never_enter(number: float) -> None:
    """NaN and infinity are refused when they arrive."""
    data = np.array([[0.0, number]], dtype="<f4").tobytes()
    with pytest.raises(WeightsInvalid, match="not finite"):
        weights_from_bytes(data, shape=(1, 2))


@pytest.mark.parametrize("size", [0, 7, 9, 4096])
def test_weights_of_another_size_are_refused(size: int) -> None:
    """Bytes that are too few or too many are refused; the message names both sizes."""
    with pytest.raises(WeightsInvalid, match="8 bytes"):
        weights_from_bytes(b"\0" * size, shape=(1, 2))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "weights",
        {},
        {"shape": [1, 1]},
        {"shape": [1, 1], "float32": "not base64!"},
        {"shape": [1, 1], "float32": 7},
        {"shape": [1], "float32": "AAAAAA=="},
        {"shape": [1, 1, 1], "float32": "AAAAAA=="},
        {"shape": [-1, -1], "float32": "AAAAAA=="},
        {"shape": [0, 1], "float32": ""},
        {"shape": [True, True], "float32": "AAAAAA=="},
        {"shape": [1.0, 1], "float32": "AAAAAA=="},
        {"shape": "11", "float32": "AAAAAA=="},
        {"shape": [10**9, 10**9], "float32": "AAAAAA=="},
        {"shape": [2, 1], "float32": "AAAAAA=="},
    ],
)
def test_corrupt_weights_are_refused(value: Any) -> None:
    """Anything but a bounded shape and its bytes is refused with one clear error."""
    with pytest.raises(WeightsInvalid):
        weights_from_dict(value)


def corrupted() -> list[Any]:
    """Return updates that lack a field, have one too many, or one of another type."""
    good = update_to_dict(update())
    lacking = [{k: v for k, v in good.items() if k != name} for name in good]
    others = [good | {name: 1.5} for name in good]
    nan = base64.b64encode(np.full((3, 2), np.nan, dtype="<f4").tobytes()).decode()
    return [
        None,
        7,
        [],
        {},
        "update",
        good | {"people": 41},
        good | {"round_number": True},
        good | {"weights": {"shape": [3, 2], "float32": nan}},
        *lacking,
        *others,
    ]


@pytest.mark.parametrize("value", corrupted())
def test_corrupt_updates_are_refused(value: Any) -> None:
    """A field missing, of another type, or not known (such as a head count) is refused."""
    with pytest.raises(UpdateInvalid):
        update_from_dict(value)


def test_update_of_another_shape_is_refused() -> None:
    """An update that does not fit the plan is refused; the message names both shapes."""
    with pytest.raises(UpdateInvalid, match=r"\(3, 2\).*\(385, 3\)"):
        update_from_dict(update_to_dict(update()), shape=(385, 3))
