"""Open alerts of the desk, in memory, and those who watch them.

A watcher first gets every alert that is open, then each change; there is no history to replay,
so what a person withdrew is never sent again. A watcher that does not keep up is ended with a
word, and connects again: nothing waits for it, and memory is bounded.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum

from client_node.errors import TooManyWatchers
from client_node.uses.use import AskedUse
from models.conversation import Outlook
from policies.vocabulary import DecisionId, Digest, SubjectId

MOST_WATCHERS = 64
MOST_UNREAD = 6_000
"""Changes that a watcher may be behind; more than may be open, so that a first look fits."""

Place = tuple[SubjectId, Digest]
"""A person, and the digest of the conversation's name."""


class AlertState(StrEnum):
    """What became of an alert."""

    RAISED = "raised"
    LOWERED = "lowered"  # the cues eased below the lower level
    ENDED = "ended"  # the person, the gate or the clock took it back


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert about one conversation; `outlook` is what it rests on, as it was when raised.

    `asked` is what the gate was asked then, to ask again before anybody else is told.
    """

    alert: str
    state: AlertState
    subject: SubjectId
    conversation: str
    decision: DecisionId
    raised_at: float
    outlook: Outlook
    asked: AskedUse | None = field(default=None, repr=False, compare=False)


class Alerts:
    """Holds what is open and tells the watchers; thread-safe.

    How many may be open is bounded by the conversations that are followed, whose owner
    (`client_node.conversations`) closes what is over.
    """

    def __init__(self, *, most_unread: int = MOST_UNREAD) -> None:
        """Begin with none.

        Args:
            most_unread: How many changes a watcher may be behind.
        """
        self._lock = threading.Lock()
        self._open: dict[Place, Alert] = {}
        self._watchers: set[queue.Queue[Alert | None]] = set()
        self._most_unread = most_unread

    def is_open(self, place: Place) -> bool:
        """Return whether the conversation has an open alert."""
        with self._lock:
            return place in self._open

    def open(self, place: Place, alert: Alert) -> None:
        """Open an alert where none is open, and tell."""
        with self._lock:
            if place not in self._open:
                self._open[place] = alert
                self._tell(alert)

    def close(self, state: AlertState, which: Callable[[Place], bool]) -> None:
        """Close the open alerts of these places, and tell."""
        with self._lock:
            for place in [place for place in self._open if which(place)]:
                self._tell(replace(self._open.pop(place), state=state))

    def opened(self) -> list[Alert]:
        """Return the open alerts, oldest first."""
        with self._lock:
            return list(self._open.values())

    @contextmanager
    def watch(self) -> Iterator[queue.Queue[Alert | None]]:
        """Give a queue that has what is open and gets each change; None ends it.

        Raises:
            TooManyWatchers: As many watch already as may.
        """
        told: queue.Queue[Alert | None] = queue.Queue()
        with self._lock:
            if len(self._watchers) >= MOST_WATCHERS:
                raise TooManyWatchers(f"{MOST_WATCHERS} watch the alerts already: close one first")
            for alert in self._open.values():
                told.put(alert)
            self._watchers.add(told)
        try:
            yield told
        finally:
            with self._lock:
                self._watchers.discard(told)

    def _tell(self, alert: Alert) -> None:
        for told in tuple(self._watchers):
            if told.qsize() >= self._most_unread:
                self._watchers.discard(told)
                told.put(None)
            else:
                told.put(alert)
