"""The legal holds that the trust service says are in force, for what this node would remove.

Each page of standing says all of them, so that the newest page is the whole truth. Until one was
heard nothing is known, and nothing is removed. Not here: placing and lifting, which two people
do at the trust service (`audit.hold_book`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from audit.hold import Hold
from policies.clock import Clock


class FeedHolds:
    """The newest holds heard; thread-safe."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._holds: tuple[Hold, ...] | None = None

    @property
    def heard(self) -> bool:
        """Whether the trust service has said what is held."""
        return self._holds is not None

    def hear(self, holds: Sequence[Hold] | None) -> None:
        """Take the holds of a page in place of those before; None says nothing."""
        if holds is not None:
            with self._lock:
                self._holds = tuple(holds)

    def in_force(self) -> list[Hold]:
        """Return the holds in force."""
        now = self._clock()
        return [hold for hold in self._holds or () if hold.holds(now)]

    @contextmanager
    def standing(self) -> Iterator[list[Hold]]:
        """Let no page change the holds until the block ends; yields those in force."""
        with self._lock:
            yield self.in_force()
