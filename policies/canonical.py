"""One byte string for one value: RFC 8785 canonical JSON, and digests over it.

Everything that is signed, logged or compared by digest goes through here, so two parties
that hold equal values always hold equal bytes.

The library `rfc8785` defines what is right; it is written in Python, and was the cost of every
decision. Python's own JSON encoder, written in C, gives the same bytes for all values but a few
kinds that `_plain` knows: those it changes or leaves to the library. A property test holds both
against each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NewType

import rfc8785

from policies.vocabulary import Digest

Canonical = NewType("Canonical", bytes)
"""Canonical bytes of a JSON value."""


class Encoded(NamedTuple):
    """A value's canonical bytes and their digest, made once."""

    data: Canonical
    digest: Digest


_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_LARGEST = 2**53 - 1
_EXACT = 1e15
"""Below it a float without a fraction is an integer of JSON's, digit for digit."""
_SMALLEST, _LONGEST = 1e-4, 1e15
"""Between them Python and ECMAScript write a fraction alike: shortest, without an exponent."""


class _LeftToLibrary(Exception):  # noqa: N818
    """A value of which only the library knows the bytes, or the error."""


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of a JSON value.

    Raises:
        ValueError: Not JSON: NaN, infinity, an integer beyond 2**53, a set. (The library's own
            error is one, so callers need not know the library.)
    """
    try:
        if type(value) is float:
            return repr(_plain_float(value)).encode()  # as the encoder writes it
        return _encode(_plain(value)).encode()
    except (_LeftToLibrary, UnicodeEncodeError):
        return rfc8785.dumps(value)


def encode(value: Any) -> Encoded:
    """Return the canonical bytes of a JSON value with their digest.

    Raises:
        ValueError: As in `canonical`.
    """
    data = Canonical(canonical(value))
    return Encoded(data, digest_bytes(data))


def canonical_object(members: Mapping[str, Canonical]) -> Canonical:
    """Return the canonical bytes of an object from those of its members.

    Args:
        members: Bytes by name; names of ASCII letters and `_` alone, whose order is plain and
            which need no escapes.

    Raises:
        ValueError: A name is of other signs.
    """
    if not all(name.isascii() and name.isidentifier() for name in members):
        raise ValueError("a member's name is ASCII letters and _")
    parts = (b'"%b":%b' % (name.encode(), members[name]) for name in sorted(members))
    return Canonical(b"{%b}" % b",".join(parts))


def digest(value: Any) -> Digest:
    """Return the SHA-256 of the canonical bytes of a JSON value."""
    return digest_bytes(canonical(value))


def digest_bytes(data: bytes) -> Digest:
    """Return the SHA-256 of the bytes."""
    return Digest(hashlib.sha256(data).hexdigest())


def _plain(value: Any) -> Any:
    """Return the value as the encoder writes it canonically.

    Raises:
        _LeftToLibrary: It may write it otherwise.
    """
    kind = type(value)
    if kind is dict:
        return _plain_object(value)
    if kind is list or kind is tuple:
        return [item if type(item) is str else _plain(item) for item in value]
    if value is None or kind is bool or isinstance(value, str):
        return value
    if kind is int and -_LARGEST <= value <= _LARGEST:
        return value
    if kind is float:
        return _plain_float(value)
    raise _LeftToLibrary


def _plain_object(value: dict[Any, Any]) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        # Beyond ASCII the order by code points is not the order by UTF-16 that the RFC wants
        if type(key) is not str or not key.isascii():
            raise _LeftToLibrary
        plain[key] = item if type(item) is str else _plain(item)
    return plain


def _plain_float(value: float) -> float:
    """Return an integer where ECMAScript writes one, and the fraction where both write it alike."""
    if value.is_integer() and -_EXACT < value < _EXACT:
        return int(value)
    if _SMALLEST <= abs(value) < _LONGEST:
        return value
    raise _LeftToLibrary
