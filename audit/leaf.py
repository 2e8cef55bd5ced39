"""A leaf: the canonical bytes of one event, with a salted commitment to what lies beside it.

The private payload (what a decision considered) is not in the tree. The leaf holds only
SHA-256 over 32 random bytes and the payload's canonical JSON, so that the payload can be
shown later and cannot be guessed; once salt and payload are gone the commitment says nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from audit.errors import EventInvalid, LogTampered, Tampering
from audit.events import Event, event_from_dict, event_to_dict
from policies.canonical import Canonical, canonical

MAX_LEAF_BYTES = 65_535
"""tlog-tiles: an entry's length is written in two bytes."""

_SALT_BYTES = 32
_VERSION = 1
_TIME = b'{"at":'
_KIND = re.compile(rb'"kind":"([a-z-]+)","v":[0-9]+}\Z')
_MOST_DIGITS = 32
"""More than canonical JSON needs for a number: 17 digits, sign, point and exponent."""


def commit_payload(private: Mapping[str, Any] | Canonical) -> tuple[bytes, bytes]:
    """Return the commitment to a payload, and the body (salt and JSON) to keep outside.

    Raises:
        EventInvalid: The payload is not JSON.
    """
    try:
        data = private if isinstance(private, bytes) else canonical(dict(private))
    except (ValueError, RecursionError) as error:
        raise EventInvalid("a private payload must be JSON") from error
    body = os.urandom(_SALT_BYTES) + data
    return _commitment(body), body


def read_payload(body: bytes, commitment: bytes) -> dict[str, Any]:
    """Return the payload that a commitment stands for.

    Raises:
        LogTampered: The body is not the one that was committed to.
    """
    if not hmac.compare_digest(_commitment(body), commitment):
        raise LogTampered(Tampering.PAYLOAD, "a payload is not the one its leaf committed to")
    payload: dict[str, Any] = json.loads(body[_SALT_BYTES:])
    return payload


def encode_leaf(event: Event, commitment: bytes | None) -> bytes:
    """Return the leaf of an event.

    Raises:
        EventInvalid: It is longer than a leaf may be.
    """
    committed = None if commitment is None else commitment.hex()
    leaf = canonical(event_to_dict(event) | {"v": _VERSION, "commitment": committed})
    if len(leaf) > MAX_LEAF_BYTES:
        raise EventInvalid(f"{event.kind} takes {len(leaf)} bytes, at most {MAX_LEAF_BYTES}")
    return leaf


def commitment_of(leaf: bytes) -> bytes | None:
    """Return what a leaf commits to, without reading its event.

    Raises:
        EventInvalid: Not a leaf.
    """
    try:
        committed = json.loads(leaf)["commitment"]
        return None if committed is None else bytes.fromhex(committed)
    except (ValueError, KeyError, TypeError) as error:
        raise EventInvalid("not a leaf of an evidence log") from error


def kind_of(leaf: bytes) -> str:
    """Return the kind of a leaf's event, which its canonical bytes end with.

    Raises:
        EventInvalid: Not a leaf.
    """
    found = _KIND.search(leaf)
    if found is None:
        raise EventInvalid("not a leaf of an evidence log")
    return found[1].decode()


def times_of(leaves: Sequence[bytes]) -> list[float]:
    """Return the Unix second of each leaf's event, which its canonical bytes begin with.

    Raises:
        EventInvalid: One is not a leaf.
    """
    first, last = len(_TIME), len(_TIME) + _MOST_DIGITS
    if b"".join([leaf[:first] for leaf in leaves]) != _TIME * len(leaves):
        raise EventInvalid("not a leaf of an evidence log")
    try:
        times = [float(leaf[first:last].partition(b",")[0]) for leaf in leaves]
    except ValueError as error:
        raise EventInvalid("not a leaf of an evidence log") from error
    if not math.isfinite(sum(times)):
        raise EventInvalid("a leaf's time is not a number")
    return times


def decode_leaf(leaf: bytes) -> tuple[Event, bytes | None]:
    """Return event and commitment of a leaf.

    Raises:
        EventInvalid: Not a leaf of this version.
    """
    try:
        value = json.loads(leaf)
        committed, version = value["commitment"], value["v"]
        commitment = None if committed is None else bytes.fromhex(committed)
    except (ValueError, KeyError, TypeError) as error:
        raise EventInvalid("not a leaf of an evidence log") from error
    if version != _VERSION:
        raise EventInvalid(f"a leaf of version {_VERSION} was expected")
    return event_from_dict(value), commitment


def _commitment(body: bytes) -> bytes:
    return hashlib.sha256(b"undertone/commitment/v1\n" + body).digest()
