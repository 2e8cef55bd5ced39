"""Finished calls of a queue, in totals by hour: what the twin plays, recorded by the node itself.

The telephone system tells each finished call by times alone; it is added to its hour and gone. No
call, customer, agent or emotion has a place here. What is told is pooled over the days by hour of
the day, and only from `K_CALLS` calls on. How long calls took is added only while at least
`LEAST_AGENTS` take calls, so that no mean is one agent's (promise 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, delete, select

from client_node.errors import RecordRefused, TurnInvalid
from client_node.store import Store
from client_node.tables import CallHourRow
from policies.clock import Clock
from policies.law import LAW

K_CALLS = 20
LEAST_AGENTS = 3
KEPT_DAYS = 35
HOUR_S, DAY_HOURS = 3600, 24
MOST_QUEUES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """One call that is over: Unix second of its coming, and seconds; not handled is abandoned."""

    arrived_at: int
    waited_s: float
    handled_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedHour:
    """One hour of the day over all recorded days; None where too little was recorded to tell."""

    hour: int
    calls_a_day: float | None
    handling_s: float | None
    waited_s: float | None
    abandoned_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A queue's days: how many there are, each hour of the day in UTC, and handling over all."""

    queue: str
    days: int
    hours: tuple[RecordedHour, ...]
    handling_s: float | None

    def day(self) -> tuple[tuple[float, float], ...]:
        """Return calls and handling, in seconds, of each hour of a day, to be played.

        An hour that cannot be told has no calls; one whose handling cannot takes the day's mean.

        Raises:
            RecordRefused: No hour can be told, or handling of none.
        """
        overall = self.handling_s
        if overall is None or not any(hour.calls_a_day for hour in self.hours):
            raise RecordRefused(
                f"of this queue too little is recorded: an hour is told from {K_CALLS} calls on, "
                f"and handling while {LEAST_AGENTS} agents take calls: tell calls and the queue's "
                "state for longer"
            )
        return tuple(
            (hour.calls_a_day or 0.0, overall if hour.handling_s is None else hour.handling_s)
            for hour in self.hours
        )


class CallRecord:
    """The totals on disk; thread-safe."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._store, self._clock = Store(path, [CallHourRow]), clock

    def add(self, queue: str, call: FinishedCall, *, agents: int) -> None:
        """Add a finished call to its hour; `agents` is how many take this queue's calls now.

        Raises:
            TurnInvalid: It is from the future or too old, or of one queue too many.
            VaultError: The disk refuses.
        """
        now = self._clock()
        if call.arrived_at > now + LAW.clocks.clock_skew_s:
            raise TurnInvalid("the call is from the future: set the telephone system's clock")
        if call.arrived_at < now - KEPT_DAYS * DAY_HOURS * HOUR_S:
            raise TurnInvalid(f"the call is older than {KEPT_DAYS} days: it is not kept")
        with self._store.write() as session:
            row = _row(session, queue, call.arrived_at // HOUR_S)
            row.calls += 1
            row.waited_s += call.waited_s
            row.abandoned += call.handled_s is None
            if call.handled_s is not None and agents >= LEAST_AGENTS:
                row.handled += 1
                row.handled_s += call.handled_s
            session.add(row)

    def recorded(self, queue: str) -> Recorded:
        """Return what may be told of a queue.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.read() as session:
            rows = session.exec(select(CallHourRow).where(CallHourRow.queue == queue)).all()
        days = len({row.hour // DAY_HOURS for row in rows})
        hours = [[row for row in rows if row.hour % DAY_HOURS == at] for at in range(DAY_HOURS)]
        return Recorded(
            queue=queue,
            days=days,
            hours=tuple(_told(at, found, days) for at, found in enumerate(hours)),
            handling_s=_handling_s(rows),
        )

    def expire(self) -> None:
        """Delete hours that are too old."""
        oldest = int(self._clock()) // HOUR_S - KEPT_DAYS * DAY_HOURS
        with self._store.write() as session:
            session.exec(delete(CallHourRow).where(col(CallHourRow.hour) < oldest))

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def recorded_to_dict(recorded: Recorded) -> dict[str, Any]:
    """Return what may be told as JSON values."""
    return asdict(recorded)


def _row(session: Session, queue: str, hour: int) -> CallHourRow:
    row = session.get(CallHourRow, (queue, hour))
    if row is None:
        queues = set(session.exec(select(CallHourRow.queue).distinct()))
        if len(queues | {queue}) > MOST_QUEUES:
            raise TurnInvalid(f"at most {MOST_QUEUES} queues are recorded")
        row = CallHourRow(queue=queue, hour=hour)
    return row


def _told(at: int, rows: Sequence[CallHourRow], days: int) -> RecordedHour:
    calls = sum(row.calls for row in rows)
    enough = calls >= K_CALLS
    return RecordedHour(
        hour=at,
        calls_a_day=calls / days if enough else None,
        handling_s=_handling_s(rows),
        waited_s=sum(row.waited_s for row in rows) / calls if enough else None,
        abandoned_share=sum(row.abandoned for row in rows) / calls if enough else None,
    )


def _handling_s(rows: Sequence[CallHourRow]) -> float | None:
    handled = sum(row.handled for row in rows)
    return sum(row.handled_s for row in rows) / handled if handled >= K_CALLS else None
