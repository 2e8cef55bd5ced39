"""What the log says of staff: names, roles and ids; never a password, code, token or address."""

from __future__ import annotations

from collections.abc import Iterable

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from audit.staff import StaffRole
from policies.clock import Clock

UNKNOWN = "unknown"
"""Stands for a name that no account has: what was typed may be a password."""


class Diary:
    """Writes the events of staff; nothing is done before its event is durable."""

    def __init__(self, log: EvidenceLog, *, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def write(self, kind: EventKind, **fields: Value) -> None:
        """Append one event.

        Raises:
            EvidenceUnavailable: It is not recorded, so it must not be done.
        """
        self._log.append(Event(kind=kind, at=self._clock(), fields=fields))

    def changed(self, staff: str, change: str, *, by: str, **more: Value) -> None:
        """Record that an account or token was made or changed."""
        self.write(EventKind.STAFF_CHANGED, staff=staff, change=change, by=by, **more)


def words(roles: Iterable[StaffRole]) -> list[str]:
    """Return roles as an event has them."""
    return sorted(role.value for role in roles)
