"""What just came about, told to whoever looks on: in memory, once, with no history.

A watcher gets what comes after it came, so what a person withdrew is never told again. One that
does not keep up is ended with a word, as with alerts (`client_node.alerts`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from client_node.errors import TooManyWatchers

MOST_WATCHERS = 64
MOST_UNREAD = 2_000


class LiveKind(StrEnum):
    """What is told; the names of the events."""

    TURN = "turn"  # a turn was answered
    THING = "thing"  # a thing told something
    DRAFT = "draft"  # a reply was drafted, and waits for a yes


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event; `body` are JSON values, without a customer's words."""

    kind: LiveKind
    body: Mapping[str, Any]


class Live:
    """Tells the watchers; thread-safe, and nobody waits for them."""

    def __init__(self, *, most_unread: int = MOST_UNREAD) -> None:
        """Begin without watchers."""
        self._lock = threading.Lock()
        self._watchers: set[queue.Queue[Told | None]] = set()
        self._most_unread = most_unread

    def tell(self, told: Told) -> None:
        """Tell everybody who looks on now."""
        with self._lock:
            for watcher in tuple(self._watchers):
                if watcher.qsize() >= self._most_unread:
                    self._watchers.discard(watcher)
                    watcher.put(None)
                else:
                    watcher.put(told)

    @contextmanager
    def watch(self) -> Iterator[queue.Queue[Told | None]]:
        """Give a queue that gets each answer from now on; None ends it.

        Raises:
            TooManyWatchers: As many look on already as may.
        """
        watcher: queue.Queue[Told | None] = queue.Queue()
        with self._lock:
            if len(self._watchers) >= MOST_WATCHERS:
                raise TooManyWatchers(f"{MOST_WATCHERS} look on already: close a panel first")
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)
