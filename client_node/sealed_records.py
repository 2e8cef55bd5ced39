"""The table of sealed records: found, written and deleted; nothing here opens one.

Not here: keys and permits (`client_node.vault`, the only door to what a record holds).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, literal_column, tuple_
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, delete, select

from client_node.errors import TurnUnknown, VaultError
from client_node.tables import SealedRecord, open_store
from policies.vocabulary import Purpose, SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """That a copy is kept of a turn, and for what; nothing of what is in it."""

    turn: str
    purpose: str
    created_at: float
    provenance: str | None


class SealedRecords:
    """Rows by turn and purpose. Each method raises `VaultError` where the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open or make the table.

        Raises:
            VaultError: The file cannot be opened.
        """
        try:
            self._engine = open_store(path, [SealedRecord])
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"records {path.name}: {type(error).__name__}") from error

    def find(self, turn: str, purpose: Purpose) -> SealedRecord:
        """Return the turn's copy for a purpose.

        Raises:
            TurnUnknown: None is kept.
        """
        with self._session("read") as session:
            record = session.get(SealedRecord, (turn, purpose.value))
        if record is None:
            raise TurnUnknown(f"no copy of that turn is kept for {purpose.value}")
        return record

    def write(self, records: Sequence[SealedRecord]) -> None:
        """Write records together, each in the place of one that was."""
        with self._session("written") as session:
            for record in records:
                session.merge(record)
            session.commit()

    def delete(self, subjects: Collection[SubjectId], purposes: Sequence[str]) -> None:
        """Delete all copies of these people for these purposes."""
        with self._session("deleted") as session:
            session.exec(
                delete(SealedRecord)
                .where(col(SealedRecord.subject).in_(subjects))
                .where(col(SealedRecord.purpose).in_(purposes))
            )
            session.commit()

    def expire(self, purpose: Purpose, *, before: float) -> int:
        """Delete the copies for a purpose that are older than `before`; return how many."""
        with self._session("deleted") as session:
            query = (
                delete(SealedRecord)
                .where(col(SealedRecord.purpose) == purpose.value)
                .where(col(SealedRecord.created_at) < before)
            )
            count = session.exec(query).rowcount
            session.commit()
        return int(count)

    def kept(self, subject: SubjectId) -> list[Kept]:
        """Return which copies are kept of a person's turns, oldest first."""
        query = select(SealedRecord).where(SealedRecord.subject == subject)
        with self._session("read") as session:
            rows = session.exec(query.order_by(col(SealedRecord.created_at))).all()
        return [
            Kept(
                turn=row.turn,
                purpose=row.purpose,
                created_at=row.created_at,
                provenance=row.provenance,
            )
            for row in rows
        ]

    def trainable(self) -> frozenset[SubjectId]:
        """Return the people with at least one labelled training copy."""
        with self._session("read") as session:
            query = (
                select(SealedRecord.subject)
                .where(SealedRecord.purpose == Purpose.TRAINING.value)
                .where(col(SealedRecord.label).is_not(None))
                .distinct()
            )
            return frozenset(SubjectId(subject) for subject in session.exec(query))

    def newest(
        self, subject: SubjectId, *, before: str | None, since: float, limit: int
    ) -> list[tuple[str, bytes]]:
        """Return turn and service copy, newest first, of one moment the last that came.

        Args:
            subject: Whose.
            before: A turn of theirs: only older ones. None: to now.
            since: Unix seconds of the oldest.
            limit: At most so many.

        Raises:
            TurnUnknown: `before` is no turn of theirs that is kept.
        """
        created = col(SealedRecord.created_at)
        came: ColumnElement[int] = literal_column("sealed_record.rowid")
        theirs = (
            SealedRecord.subject == subject,
            SealedRecord.purpose == Purpose.SERVICE.value,
        )
        query = select(SealedRecord.turn, SealedRecord.sealed).where(*theirs, created >= since)
        with self._session("read") as session:
            if before is not None:
                at = select(created, came).where(*theirs, SealedRecord.turn == before)
                edge = session.exec(at).first()
                if edge is None:
                    raise TurnUnknown(
                        "`before` names no turn of theirs that is kept; it may have expired: "
                        "ask without it"
                    )
                query = query.where(tuple_(created, came) < tuple_(*edge))
            newest = query.order_by(created.desc(), came.desc()).limit(limit)
            return [(turn, sealed) for turn, sealed in session.exec(newest)]

    def newest_labelled(self, subjects: frozenset[SubjectId], max_turns: int) -> list[SealedRecord]:
        """Return each person's newest labelled training copies, at most `max_turns` of one."""
        query = (
            select(SealedRecord)
            .where(SealedRecord.purpose == Purpose.TRAINING.value)
            .where(col(SealedRecord.label).is_not(None))
            .order_by(col(SealedRecord.subject), col(SealedRecord.created_at).desc())
        )
        taken: dict[str, int] = {}
        rows = []
        with self._session("read") as session:
            for row in session.exec(query):
                if row.subject in subjects and taken.get(row.subject, 0) < max_turns:
                    taken[row.subject] = taken.get(row.subject, 0) + 1
                    rows.append(row)
        return rows

    def of_session(self, subjects: frozenset[SubjectId], *, since: float) -> list[SealedRecord]:
        """Return these people's service copies from `since` on."""
        query = (
            select(SealedRecord)
            .where(SealedRecord.purpose == Purpose.SERVICE.value)
            .where(col(SealedRecord.created_at) >= since)
        )
        with self._session("read") as session:
            return [row for row in session.exec(query) if row.subject in subjects]

    def close(self) -> None:
        """Close the table; more than once does nothing."""
        self._engine.dispose()

    @contextmanager
    def _session(self, done: str) -> Iterator[Session]:
        """Open a session; what the disk refuses says what was to be done and nothing of a row."""
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
        except SQLAlchemyError as error:
            raise VaultError(f"records cannot be {done}: {type(error).__name__}") from None
