"""Canonical bytes: the RFC's own numbers, and the library that defines them as an oracle."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum, StrEnum
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from policies.canonical import Canonical, canonical, canonical_object, encode
from policies.decision import request_to_dict
from policies.standing import governance_to_dict, standing_to_dict
from tests.policies.cases import GOVERNANCE, INFER, STANDING


class Word(StrEnum):
    """A string that is more than a string."""

    YES = "yes"


class Count(IntEnum):
    """An integer that is more than an integer."""

    TWO = 2


class Real(float):
    """A float that is more than a float."""


# RFC 8785 appendix B
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**54), 2**54)
    | st.floats()
    | st.floats(width=16)
    | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(float)
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from([Word.YES, Count.TWO, Real(1.5), Real(2.0)])
)
KEYS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["a", "b", "\ue000", "\U0001f600"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(KEYS, inner).map(OrderedDict)
        | st.dictionaries(st.integers(0, 3), inner)
        | st.sets(st.integers(), max_size=1)
    ),
    max_leaves=12,
)


def outcome(write: Any, value: Any) -> bytes | type[ValueError]:
    """Return what a writer writes; ValueError where it refuses."""
    try:
        written: bytes = write(value)
    except ValueError:
        return ValueError
    return written


@given(VALUES)
@example({"b": -0.0, "a": 1e15, "c": 1e16, "d": 1e-5, "e": 1e-7, "f": 1e21})
@example({"\ue000": 1, "\U0001f600": 2})
@example({1: "a", "1": "b"})
@example(["\ud800", '\x7f\u2028\x1f"\\/\b'])
@example([2**53 - 1, 2**53, -(2**53), float("nan"), float("inf")])
@example({"a": True, "b": [Count.TWO, Word.YES, Real(2.0)]})
def test_canonical_is_what_the_library_writes(value: Any) -> None:
    """Byte for byte, and refusal for refusal, whatever the value."""
    assert outcome(canonical, value) == outcome(rfc8785.dumps, value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_canonical_float_is_what_the_library_writes(value: float) -> None:
    """So it is for every float, alone."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_canonical_number_is_the_rfcs(bits: str, text: str) -> None:
    """Each number of RFC 8785's appendix B is written as there."""
    [number] = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical([number]) == f"[{text}]".encode()


def test_canonical_does_not_change_its_argument() -> None:
    """What is written stays as it was."""
    value = {"b": [1.0, {"c": 2.0}], "a": (3.0,)}
    canonical(value)
    assert value == {"b": [1.0, {"c": 2.0}], "a": (3.0,)}
    assert type(value["b"][0]) is float


PLAIN = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text('a"\u00e9\n')


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True),
        PLAIN | st.lists(PLAIN) | st.dictionaries(st.text("ab"), PLAIN),
    )
)
def test_canonical_object_is_the_object_of_its_members(value: dict[str, Any]) -> None:
    """An object put together from its members' bytes has the bytes of the whole."""
    members = {name: Canonical(canonical(member)) for name, member in value.items()}
    assert canonical_object(members) == rfc8785.dumps(value)


@pytest.mark.parametrize("name", ["a b", 'a"', "", "\u00e9", "a\n"])
def test_canonical_object_takes_only_plain_names(name: str) -> None:
    """A name that would need an escape, or another order, is refused."""
    with pytest.raises(ValueError, match="letters"):
        canonical_object({name: Canonical(b"1")})


def test_what_is_encoded_once_is_what_would_be_encoded_now() -> None:
    """Request, standing and governance keep bytes that a changed copy does not inherit."""
    cases: list[tuple[Any, Callable[[Any], dict[str, Any]], dict[str, Any]]] = [
        (INFER, request_to_dict, {"subject": "p-9"}),
        (STANDING, standing_to_dict, {"restricted": True}),
        (GOVERNANCE, governance_to_dict, {"stopped": True}),
    ]
    for value, to_dict, change in cases:
        before = value.encoded
        changed = replace(value, **change)
        assert before == value.encoded == encode(to_dict(value))
        assert before != changed.encoded == encode(to_dict(changed))
