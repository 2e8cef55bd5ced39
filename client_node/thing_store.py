"""What things told, kept on disk for a session at most and sealed under the person's own key.

A row has a pseudonym, the digests of conversation and event, and times; what was told is sealed
for the one purpose that it may be shown for, so that a withdrawal makes it noise, in a backup too.
Whoever takes from here shows a permit for the modality `signals`.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlmodel import Session, col, delete, select
from sqlmodel.sql.expression import SelectOfScalar

from client_node.alerts import Place
from client_node.errors import Overloaded, TurnUnknown
from client_node.store import Store
from client_node.tables import ThingRow
from client_node.things import Device, Kind, ThingEvent
from client_node.vault import SESSION_S, Vault
from policies.canonical import digest_bytes
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.vocabulary import Action, Digest, Modality, Purpose, SubjectId

PURPOSE = Purpose.AGENT_HELP
"""The one purpose that events are kept and shown for."""
MOST_EVENTS = 64
"""Kept of one conversation: beyond it the earliest goes."""
MOST_A_MINUTE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event, and the conversation that it is context of."""

    conversation: str
    event: ThingEvent


class ThingStore:
    """The rows; each change is on disk on return. Thread-safe."""

    def __init__(self, path: Path, vault: Vault) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._store, self._vault = Store(path, [ThingRow]), vault

    def put(self, place: Place, told: Told, *, permit: Permit, now: float) -> bool:
        """Keep an event; False where one of that id is known in the conversation.

        Raises:
            PermitInvalid: Not a permit to keep this person's signals now, or its purpose was
                withdrawn since.
            Overloaded: Too many within a minute.
            VaultError: Disk or keystore refuse.
        """
        subject, conversation = place
        permit.cover(action=Action.STORE, purpose=PURPOSE, subject=subject, now=now)
        _check_signals(permit)
        name = digest_bytes(f"{conversation}/{told.event.event}".encode())
        copy = json.dumps({"conversation": told.conversation} | asdict(told.event)).encode()
        sealed = self._vault.enclose(name, copy, permit=permit, subject=subject, now=now)
        with self._store.write() as session:
            if session.get(ThingRow, (subject, name)) is not None:
                return False
            _check_rate(session, place, now=now)
            row = ThingRow(
                subject=subject,
                event=name,
                conversation=conversation,
                at=told.event.at,
                came_at=now,
                sealed=sealed,
            )
            session.add(row)
            session.flush()
            _bound(session, place, now=now)
        return True

    def has(self, subject: SubjectId, conversation: Digest | None, *, now: float) -> bool:
        """Return whether anything is kept, as in `told`; nothing is opened.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.read() as session:
            found = session.exec(_of(subject, conversation, now=now).limit(1)).first()
        return found is not None

    def told(
        self, subject: SubjectId, conversation: Digest | None, *, permit: Permit, now: float
    ) -> tuple[Told, ...]:
        """Return the session's events in the order of their times.

        Args:
            subject: Whose.
            conversation: The digest of its name; None is every one of theirs.
            permit: To use this person's signals.
            now: Unix seconds.

        Raises:
            PermitInvalid: Not a permit to use this person's signals now.
            VaultError: A row was changed, or disk or keystore refuse.
        """
        permit.cover(action=Action.USE, purpose=PURPOSE, subject=subject, now=now, use=permit.use)
        _check_signals(permit)
        query = _of(subject, conversation, now=now)
        with self._store.read() as session:
            rows = session.exec(query.order_by(col(ThingRow.at), col(ThingRow.event))).all()
        found = [self._open(row, permit, now=now) for row in rows]
        return tuple(told for told in found if told is not None)

    def drop(self, subjects: Collection[SubjectId]) -> None:
        """Delete everything of these people."""
        with self._store.write() as session:
            session.exec(delete(ThingRow).where(col(ThingRow.subject).in_(list(subjects))))

    def expire(self, *, now: float) -> None:
        """Delete what is older than a session."""
        with self._store.write() as session:
            session.exec(delete(ThingRow).where(col(ThingRow.at) < now - SESSION_S))

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _open(self, row: ThingRow, permit: Permit, *, now: float) -> Told | None:
        """Open a row; None where it was erased meanwhile."""
        subject = SubjectId(row.subject)
        try:
            copy = self._vault.disclose(
                row.event, row.sealed, permit=permit, subject=subject, now=now
            )
        except TurnUnknown:
            return None
        kept = json.loads(copy)
        device, kind = Device(kept.pop("device")), Kind(kept.pop("kind"))
        conversation = kept.pop("conversation")
        event = ThingEvent(device=device, kind=kind, **kept)
        return Told(conversation=conversation, event=event)


def _check_signals(permit: Permit) -> None:
    if permit.modality is not Modality.SIGNALS:
        raise PermitInvalid(f"permit {permit.decision_id} is not for signals: ask the gate")


def _of(subject: SubjectId, conversation: Digest | None, *, now: float) -> SelectOfScalar[ThingRow]:
    """Return the rows of the session."""
    query = select(ThingRow).where(ThingRow.subject == subject)
    query = query.where(col(ThingRow.at) >= now - SESSION_S)
    return query if conversation is None else query.where(ThingRow.conversation == conversation)


def _check_rate(session: Session, place: Place, *, now: float) -> None:
    came = _of(*place, now=now).where(col(ThingRow.came_at) > now - 60)
    if len(session.exec(came).all()) >= MOST_A_MINUTE:
        raise Overloaded(f"at most {MOST_A_MINUTE} events a minute of one conversation")


def _bound(session: Session, place: Place, *, now: float) -> None:
    newest = _of(*place, now=now).order_by(col(ThingRow.at).desc(), col(ThingRow.event))
    for row in session.exec(newest.offset(MOST_EVENTS)).all():
        session.delete(row)
