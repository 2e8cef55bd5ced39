"""Answers by idempotency key, so that a request that is sent again is done once.

In memory, for minutes, and forgotten whole when anybody withdraws: an answer may hold a reading.
Whose key it was is part of the place, so nobody is answered with another integration's.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass

from policies.clock import Clock

LASTS_S = 600.0
MOST = 4_096
LARGEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer as it was given."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A request that is done or under way; `said` is None until it is answered."""

    body: bytes
    began_at: float
    said: Said | None = None


class Replays:
    """Keeps what was answered; thread-safe."""

    def __init__(self, *, clock: Clock) -> None:
        """Begin with none."""
        self._clock, self._lock = clock, threading.Lock()
        self._places: OrderedDict[bytes, Place] = OrderedDict()

    def begin(self, place: bytes, body: bytes) -> Place | None:
        """Return what is known of this place; None where it is new, and then it is taken."""
        now = self._clock()
        with self._lock:
            found = self._places.get(place)
            if found is not None and now - found.began_at < LASTS_S:
                return found
            self._places.pop(place, None)
            self._places[place] = Place(body=digest_of(body), began_at=now)
            if len(self._places) > MOST:
                self._places.popitem(last=False)
            return None

    def end(self, place: bytes, said: Said | None) -> None:
        """Keep the answer; None, or one that is too large, frees the place."""
        with self._lock:
            begun = self._places.pop(place, None)
            if begun is not None and said is not None and len(said.body) <= LARGEST_BYTES:
                self._places[place] = Place(body=begun.body, began_at=begun.began_at, said=said)

    def forget(self) -> None:
        """Forget every answer."""
        with self._lock:
            self._places.clear()


def meaning_of(body: bytes) -> bytes:
    """Return a JSON body in one form, so that it is known again whoever wrote it down."""
    try:
        return json.dumps(json.loads(body), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return body


def digest_of(*parts: bytes) -> bytes:
    """Return one digest of parts, each with its length."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.digest()
