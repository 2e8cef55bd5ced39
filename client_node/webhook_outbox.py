"""What is to be told to whom by webhook, on disk: ids alone, no words, no cue.

A row that was tried may have arrived, whatever became of the answer: so what it told is taken
back by another one where the alert is over, and a row that was never tried is simply dropped.
Bounded: above `MOST_WAITING` the oldest is given up as dead, above `MOST_DEAD` forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from client_node.errors import DeliveryUnknown
from client_node.store import Store
from client_node.tables import WebhookRow
from policies.clock import Clock

MOST_WAITING = 10_000
MOST_DEAD = 1_000


class WebhookType(StrEnum):
    """What a webhook says; none says a cue."""

    RAISED = "alert.raised"
    CLOSED = "alert.closed"  # by whichever cause: take it back
    CORRECTED = "correction.made"  # a turn was put right: drop what rests on it


class DeliveryState(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"  # kept until the alert is over, to take it back then
    DEAD = "dead"  # tried as often as may be, or refused for good


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook to one target; `alert` is a turn's id where a correction is told."""

    delivery: str
    target: str
    type: WebhookType
    alert: str
    state: DeliveryState
    tries: int
    next_at: float
    created_at: float
    reason: str | None


class WebhookOutbox:
    """The rows; each change is on disk on return. Thread-safe."""

    def __init__(self, path: Path, *, clock: Clock, new_id: Callable[[], str]) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._clock, self._new_id = clock, new_id
        self._store = Store(path, [WebhookRow])

    def add(self, target: str, what: WebhookType, alert: str) -> None:
        """Add a delivery, unless the same is known."""
        with self._store.write() as session:
            known = (
                select(WebhookRow)
                .where(WebhookRow.target == target)
                .where(WebhookRow.type == what.value)
                .where(WebhookRow.alert == alert)
            )
            if session.exec(known).first() is None:
                now = self._clock()
                row = WebhookRow(
                    delivery=self._new_id(),
                    target=target,
                    type=what.value,
                    alert=alert,
                    state=DeliveryState.WAITING.value,
                    next_at=now,
                    created_at=now,
                )
                session.add(row)
                session.flush()
                self._bound(session)

    def raised(self) -> list[Delivery]:
        """Return every delivery that an alert was raised, whatever its state."""
        return self._find(WebhookRow.type == WebhookType.RAISED.value)

    def about(self, alert: str) -> list[Delivery]:
        """Return the deliveries that this alert was raised."""
        return [one for one in self.raised() if one.alert == alert]

    def due(self) -> list[Delivery]:
        """Return what is to be tried now, oldest first."""
        return self._find(
            WebhookRow.state == DeliveryState.WAITING.value,
            col(WebhookRow.next_at) <= self._clock(),
        )

    def listed(self) -> list[Delivery]:
        """Return what waits and what is dead, oldest first."""
        return self._find(WebhookRow.state != DeliveryState.DELIVERED.value)

    def change(self, delivery: str, **values: Any) -> None:
        """Change a row.

        Raises:
            DeliveryUnknown: There is none of that name.
        """
        with self._store.write() as session:
            row = _row(session, delivery)
            for name, value in values.items():
                setattr(row, name, value)

    def remove(self, delivery: str) -> None:
        """Delete a row.

        Raises:
            DeliveryUnknown: There is none of that name.
        """
        with self._store.write() as session:
            session.delete(_row(session, delivery))

    def find(self, delivery: str) -> Delivery:
        """Return one.

        Raises:
            DeliveryUnknown: There is none of that name.
        """
        with self._store.read() as session:
            return _delivery(_row(session, delivery))

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _bound(self, session: Session) -> None:
        for state, most in (
            (DeliveryState.WAITING, MOST_WAITING),
            (DeliveryState.DEAD, MOST_DEAD),
        ):
            query = select(WebhookRow).where(WebhookRow.state == state.value)
            rows = session.exec(query.order_by(col(WebhookRow.number).desc()).offset(most)).all()
            for row in rows:
                if state is DeliveryState.DEAD:
                    session.delete(row)
                else:
                    row.state, row.reason = DeliveryState.DEAD.value, "crowded-out"

    def _find(self, *where: Any) -> list[Delivery]:
        query = select(WebhookRow)
        for one in where:
            query = query.where(one)
        with self._store.read() as session:
            return [_delivery(row) for row in session.exec(query.order_by(col(WebhookRow.number)))]


def _row(session: Session, delivery: str) -> WebhookRow:
    row = session.exec(select(WebhookRow).where(WebhookRow.delivery == delivery)).first()
    if row is None:
        raise DeliveryUnknown("no webhook of that id is kept: it went, or its alert is over")
    return row


def _delivery(row: WebhookRow) -> Delivery:
    return Delivery(
        delivery=row.delivery,
        target=row.target,
        type=WebhookType(row.type),
        alert=row.alert,
        state=DeliveryState(row.state),
        tries=row.tries,
        next_at=row.next_at,
        created_at=row.created_at,
        reason=row.reason,
    )


def delivery_to_dict(one: Delivery) -> dict[str, Any]:
    """Return a delivery as JSON values."""
    return {
        "delivery": one.delivery,
        "target": one.target,
        "type": one.type.value,
        "alert": one.alert,
        "state": one.state.value,
        "tries": one.tries,
        "next_at": one.next_at,
        "created_at": one.created_at,
        "reason": one.reason,
    }
