"""Answers by idempotency key, so that a request that is sent again is done once.

For minutes, in memory and sealed on disk (`client_node.replay_store`), and forgotten whole when
anybody withdraws: an answer may hold a reading. A request that a stop cut short is done anew.
Whose key it was is part of the place, so nobody is answered with another integration's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from client_node.errors import VaultError
from client_node.replay_store import ReplayStore
from policies.clock import Clock

LASTS_S = 600.0
MOST = 4_096
LARGEST_BYTES = 64 * 1024
TRIM_EVERY = 64


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
    """Keeps what was answered; thread-safe.

    With a store the answers outlive a restart: under digests of the node's own key, sealed.
    """

    def __init__(
        self, *, clock: Clock, store: ReplayStore | None = None, secret: bytes = b""
    ) -> None:
        """Begin with what the store has; none without one."""
        self._clock, self._lock = clock, threading.Lock()
        self._store, self._secret = store, secret
        self._places: OrderedDict[bytes, Place] = OrderedDict()
        self._kept = 0

    def begin(self, place: bytes, body: bytes) -> Place | None:
        """Return what is known of this place; None where it is new, and then it is taken."""
        now = self._clock()
        with self._lock:
            found = self._places.get(place) or self._stored(place, digest_of(body))
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
                self._keep(place, self._places[place], said)

    def forget(self) -> None:
        """Forget every answer, here and on disk.

        Raises:
            VaultError: Those in memory are gone; those on disk are not.
        """
        with self._lock:
            self._places.clear()
            if self._store is not None:
                self._store.forget()

    def _stored(self, place: bytes, body: bytes) -> Place | None:
        if self._store is None:
            return None
        with suppress(VaultError):
            if (found := self._store.find(self._keyed(place))) is not None:
                same = hmac.compare_digest(found[0], self._keyed(body))
                return Place(body=body if same else b"", began_at=found[1], said=_said(found[2]))
        return None

    def _keep(self, place: bytes, known: Place, said: Said) -> None:
        """Put an answer on disk; where that fails it is kept in memory alone."""
        if self._store is None:
            return
        with suppress(VaultError):
            keyed = self._keyed(place), self._keyed(known.body)
            self._store.put(*keyed, known.began_at, _to_bytes(said))
            self._kept += 1
            if self._kept % TRIM_EVERY == 0:
                self._store.trim(before=self._clock() - LASTS_S, most=MOST)

    def _keyed(self, digest: bytes) -> bytes:
        return hmac.digest(self._secret, digest, hashlib.sha256)


def _to_bytes(said: Said) -> bytes:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in said.headers]
    whole = [said.status, headers, base64.b64encode(said.body).decode()]
    return json.dumps(whole).encode()


def _said(data: bytes) -> Said:
    status, headers, body = json.loads(data)
    return Said(
        status=status,
        headers=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
        body=base64.b64decode(body),
    )


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
