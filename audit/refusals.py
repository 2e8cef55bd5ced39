"""Bad input that was refused, as entries of the log: the reason and the field, never the input.

An attacker can send more bad input than a disk holds, so refusals are counted: the first of its
kind in a window is recorded at once, the others as one number, with the first refusal after the
window or when the service closes. A kind is a reason with a field; after `MOST_KINDS` in one
window all others are one kind. That is at most 34 entries in ten minutes, whatever is sent.

A decision against a use is no bad input: the gate records each of those. Not here: what is
refused, and how it is answered (`audit.http`).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from typing import NamedTuple

from audit.errors import EvidenceUnavailable
from audit.events import Event, EventKind, Value
from audit.log import Draft, EvidenceLog
from policies.clock import Clock

WINDOW_S = 600.0
MOST_KINDS = 16

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_NAMES = 6
_UNKNOWN_FIELD = "extra_forbidden"
_log = logging.getLogger("undertone")


class Kind(NamedTuple):
    """Why input was refused, and which field was wrong."""

    reason: str
    field: str


OTHER = Kind("other", "")
"""All kinds beyond the first `MOST_KINDS` of a window."""


class Refusals:
    """Counts refusals and records them; thread-safe."""

    def __init__(self, log: EvidenceLog, *, clock: Clock) -> None:
        self._evidence, self._clock = log, clock
        self._lock = threading.Lock()
        self._since = clock()
        self._further: dict[Kind, int] = {}

    def note(self, kind: Kind) -> None:
        """Count one refusal; record it if it is the first of its kind in this window.

        It was refused whether or not that can be recorded, so a failure is told to the operator.
        """
        with self._lock:
            now = self._clock()
            drafts = [] if 0 <= now - self._since < WINDOW_S else self._turn(now)
            if kind not in self._further and len(self._further) >= MOST_KINDS:
                kind = OTHER
            if kind in self._further:
                self._further[kind] += 1
            else:
                self._further[kind] = 0
                drafts.append(_draft(kind, 1, now))
            self._record(drafts)

    def close(self) -> None:
        """Record what was only counted so far."""
        with self._lock:
            self._record(self._turn(self._clock()))

    def _turn(self, now: float) -> list[Draft]:
        """Begin a window; return what the last one only counted."""
        drafts = [_draft(kind, count, now) for kind, count in self._further.items() if count]
        self._since, self._further = now, {}
        return drafts

    def _record(self, drafts: Sequence[Draft]) -> None:
        try:
            self._evidence.append_many(drafts)
        except EvidenceUnavailable:
            _log.error("%d kinds of refused input could not be recorded", len(drafts))


def field_at(location: Sequence[int | str], problem: str) -> str:
    """Return the name of the field at a place in a body, as words joined by dots.

    A field that is not known here was named by the caller, so its parent stands for it. Places
    in a list are `-`, and so is any name that none of our fields could have.
    """
    known = location[:-1] if problem == _UNKNOWN_FIELD else location
    names = [str(part) if _NAME.fullmatch(str(part)) else "-" for part in known[:_MOST_NAMES]]
    return ".".join(names) or "body"


def _draft(kind: Kind, count: int, now: float) -> Draft:
    fields: dict[str, Value] = {"reason": kind.reason, "field": kind.field, "count": count}
    return Draft(Event(kind=EventKind.INPUT_REFUSED, at=now, fields=fields))
