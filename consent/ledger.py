"""The store of the trust service: acts are added, never changed; a person can be erased.

It stores and finds; what the acts mean is computed in `consent.records` and `consent.notice`.
The database is one of `audit.database`.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, delete, func, or_, select

from audit.database import BROKEN, is_text_refused, open_database
from audit.together import Together
from consent.errors import Conflict, LedgerUnavailable, RequestInvalid
from consent.notice import DECREE_KINDS, Decree, decree_from_body
from consent.records import Record, act_from_dict
from consent.tables import CapturedRow, ChallengeRow, CheckpointRow, LedgerRow, NodeRow
from policies.vocabulary import NodeId, SubjectId

_MIGRATIONS = Path(__file__).parent / "migrations"
_IN_ONE_QUERY = 500  # SQLite bounds the variables of a statement
_UNINFORMED = '"informed": false'


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A record with its entry in the log, and its receipt without salt where one is kept."""

    record: Record
    log_index: int
    receipt: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The people of a company whose standing changed, up to and with `sequence`.

    `records` are all records of those people; `changes` only those in the page, in order.
    """

    sequence: int
    more: bool
    records: dict[SubjectId, list[Record]]
    changes: tuple[Record, ...]


class Ledger:
    """All rows of the service, one transaction for each call; safe to share among threads."""

    def __init__(self, url: str) -> None:
        """Open the database and bring its tables up to date.

        Raises:
            LedgerUnavailable: It cannot be opened or migrated.
        """
        self._writing = threading.Lock()  # sequences become visible in their order
        self._checkpoints = Together[CheckpointRow, None](self._add_checkpoints)
        try:
            self._engine = open_database(url, _MIGRATIONS)
        except (*BROKEN, ImportError, UnicodeError) as error:
            raise LedgerUnavailable(
                f"the consent ledger cannot be opened ({type(error).__name__}): "
                "check the folder, its rights and the database URL"
            ) from error

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    @contextmanager
    def _writing_session(self) -> Iterator[Session]:
        with self._writing, self._session() as session:
            yield session
            session.commit()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                yield session
        except BROKEN as error:
            if is_text_refused(error):
                raise RequestInvalid("a text holds a character that cannot be kept") from error
            raise LedgerUnavailable(
                f"the consent ledger did not answer ({type(error).__name__}): try again"
            ) from error

    def reading(self) -> AbstractContextManager[Session]:
        """Return a session for the stores that share this database."""
        return self._session()

    def writing(self) -> AbstractContextManager[Session]:
        """Return a session that commits at its end, one writer at a time."""
        return self._writing_session()

    # -- acts ---------------------------------------------------------------------------

    def add(self, rows: Sequence[LedgerRow], captured: Sequence[CapturedRow] = ()) -> None:
        """Add acts in their order with their proofs of capture, all or none.

        Raises:
            LedgerUnavailable: Nothing was added.
        """
        with self._writing_session() as session:
            session.add_all(rows)
            session.add_all(captured)

    def captured(self, company: str, evidence: Sequence[str]) -> set[tuple[str, str]]:
        """Return which of these proofs a company has used, each with its purpose."""
        found: set[tuple[str, str]] = set()
        with self._session() as session:
            for start in range(0, len(evidence), _IN_ONE_QUERY):
                query = select(CapturedRow.evidence, CapturedRow.purpose).where(
                    CapturedRow.company == company,
                    col(CapturedRow.evidence).in_(evidence[start : start + _IN_ONE_QUERY]),
                )
                found |= set(session.exec(query))
        return found

    def erase(self, row: LedgerRow) -> None:
        """Put one erasure record in the place of all records of its subject.

        Raises:
            LedgerUnavailable: Nothing was changed.
        """
        with self._writing_session() as session:
            session.add(row)
            session.flush()
            session.exec(
                delete(LedgerRow).where(
                    col(LedgerRow.subject) == row.subject,
                    col(LedgerRow.sequence) < row.sequence,
                )
            )
        self._forget_the_journal()

    def _forget_the_journal(self) -> None:
        # secure_delete zeroes the pages of the file; the write-ahead log still holds the old.
        if self._engine.dialect.name == "sqlite":
            with self._session() as session:
                session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def records_of(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, list[Record]]:
        """Return all records of these people; who has none is left out."""
        found: dict[SubjectId, list[Record]] = defaultdict(list)
        with self._session() as session:
            for start in range(0, len(subjects), _IN_ONE_QUERY):
                chunk = subjects[start : start + _IN_ONE_QUERY]
                query = select(LedgerRow).where(col(LedgerRow.subject).in_(chunk))
                for row in session.exec(query):
                    found[SubjectId(row.subject or "")].append(_record(row))
        return dict(found)

    def places_of(self, subject: SubjectId) -> dict[str, int]:
        """Return where in the log each record of a person stands."""
        query = select(LedgerRow.record_id, LedgerRow.log_index).where(LedgerRow.subject == subject)
        with self._session() as session:
            return dict(session.exec(query).all())

    def owners(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, str]:
        """Return the company of each of these people who is known."""
        found: dict[SubjectId, str] = {}
        with self._session() as session:
            for start in range(0, len(subjects), _IN_ONE_QUERY):
                chunk = subjects[start : start + _IN_ONE_QUERY]
                query = (
                    select(LedgerRow.subject, LedgerRow.company)
                    .where(col(LedgerRow.subject).in_(chunk))
                    .distinct()
                )
                found |= {SubjectId(s or ""): c or "" for s, c in session.exec(query)}
        return found

    def recorded(self, record_id: str) -> Recorded | None:
        """Return the record of that name, or None."""
        query = select(LedgerRow).where(LedgerRow.record_id == record_id)
        with self._session() as session:
            row = session.exec(query).first()
        if row is None or row.subject is None:
            return None
        kept = None if row.receipt is None else json.loads(row.receipt)
        return Recorded(record=_record(row), log_index=row.log_index, receipt=kept)

    def people(self, company: str) -> list[SubjectId]:
        """Return everybody whom a company has recorded."""
        with self._session() as session:
            query = select(LedgerRow.subject).where(LedgerRow.company == company).distinct()
            return [SubjectId(subject or "") for subject in session.exec(query)]

    def uninformed(self) -> list[SubjectId]:
        """Return everyone of whom an earlier version took a yes without having told them."""
        with self._session() as session:
            query = (
                select(LedgerRow.subject)
                .where(LedgerRow.kind == "grant", col(LedgerRow.body).contains(_UNINFORMED))
                .distinct()
            )
            return [SubjectId(subject or "") for subject in session.exec(query)]

    def erased(self) -> dict[SubjectId, str]:
        """Return everyone who was erased, each with the name of that record."""
        with self._session() as session:
            query = select(LedgerRow.subject, LedgerRow.record_id).where(
                LedgerRow.kind == "erasure"
            )
            return {SubjectId(subject or ""): record for subject, record in session.exec(query)}

    def holder(self, token_hash: str) -> tuple[str, SubjectId] | None:
        """Return company and subject of a manage token's hash, or None."""
        record = self.by_token(token_hash, kind="grant")
        return None if record is None else (record.company, record.subject)

    def by_token(self, token_hash: str, *, kind: str) -> Record | None:
        """Return the record of that kind that came with a token, or None."""
        query = select(LedgerRow).where(LedgerRow.token_hash == token_hash, LedgerRow.kind == kind)
        with self._session() as session:
            row = session.exec(query).first()
        return None if row is None else _record(row)

    def envelopes(self, *, until: float | None = None) -> list[tuple[float, str]]:
        """Return the officer's sealed envelopes with the time of recording, oldest first."""
        query = select(LedgerRow).where(col(LedgerRow.company).is_(None))
        if until is not None:
            query = query.where(LedgerRow.at <= until)
        with self._session() as session:
            rows = session.exec(query.order_by(col(LedgerRow.sequence))).all()
        return [(row.at, row.body) for row in rows]

    def logged(self) -> list[tuple[str, int]]:
        """Return the envelopes behind `decrees` with their log entries, oldest first."""
        query = select(LedgerRow).where(
            col(LedgerRow.company).is_(None), col(LedgerRow.kind).in_(DECREE_KINDS)
        )
        with self._session() as session:
            rows = session.exec(query.order_by(col(LedgerRow.sequence))).all()
        return [(row.body, row.log_index) for row in rows]

    def decrees(self, *, until: float | None = None) -> list[tuple[float, Decree]]:
        """Return what the officer's envelopes say, with the time of recording, oldest first."""
        return [
            (at, decree_from_body(value["kind"], value["body"]))
            for at, value in ((at, json.loads(text)) for at, text in self.envelopes(until=until))
            if value["kind"] in DECREE_KINDS
        ]

    def head(self, company: str) -> int:
        """Return the sequence of the last act that this company's nodes must hear of."""
        with self._session() as session:
            query = select(func.max(LedgerRow.sequence)).where(_heard_by(company))
            return session.exec(query).one() or 0

    def page(self, company: str, *, after: int, most: int) -> Page:
        """Return whose standing changed after a sequence, at most `most` acts at a time."""
        with self._session() as session:
            query = (
                select(LedgerRow)
                .where(_heard_by(company), col(LedgerRow.sequence) > after)
                .order_by(col(LedgerRow.sequence))
                .limit(most + 1)
            )
            rows = session.exec(query).all()
        page = rows[:most]
        changes = tuple(_record(row) for row in page if row.subject is not None)
        return Page(
            sequence=(page[-1].sequence or after) if page else after,
            more=len(rows) > most,
            records=self.records_of(sorted({record.subject for record in changes})),
            changes=changes,
        )

    # -- nodes --------------------------------------------------------------------------

    def add_node(self, row: NodeRow) -> None:
        """Add one enrolled node.

        Raises:
            LedgerUnavailable: Nothing was added.
        """
        with self._writing_session() as session:
            session.add(row)

    def nodes(self) -> list[NodeRow]:
        """Return all enrolled nodes."""
        with self._session() as session:
            return list(session.exec(select(NodeRow)))

    def add_checkpoint(self, row: CheckpointRow) -> None:
        """Keep one checkpoint that a node sent; those that come together, in one transaction.

        Raises:
            LedgerUnavailable: It was not kept.
        """
        self._checkpoints.ask(row)

    def _add_checkpoints(self, rows: Sequence[CheckpointRow]) -> list[None]:
        with self._writing_session() as session:
            session.add_all(rows)
        return [None] * len(rows)

    def last_size(self, node: NodeId) -> int:
        """Return the greatest log size the node ever acknowledged, 0 at first."""
        with self._session() as session:
            query = select(func.max(CheckpointRow.size)).where(CheckpointRow.node == node)
            return session.exec(query).one() or 0

    def last_note(self, node: NodeId) -> str | None:
        """Return the newest checkpoint the node sent, as it sent it."""
        query = (
            select(CheckpointRow.note)
            .where(CheckpointRow.node == node)
            .order_by(col(CheckpointRow.number).desc())
        )
        with self._session() as session:
            return session.exec(query).first()

    def last_received(self, node: NodeId) -> float | None:
        """Return when the node's newest checkpoint came."""
        query = (
            select(CheckpointRow.received_at)
            .where(CheckpointRow.node == node)
            .order_by(col(CheckpointRow.number).desc())
        )
        with self._session() as session:
            return session.exec(query).first()

    def last_challenge(self, node: NodeId) -> list[ChallengeRow]:
        """Return the newest set of entries the node was asked about."""
        newest = (
            select(func.max(ChallengeRow.asked_at))
            .where(ChallengeRow.node == node)
            .scalar_subquery()
        )
        with self._session() as session:
            query = select(ChallengeRow).where(
                ChallengeRow.node == node, ChallengeRow.asked_at == newest
            )
            return list(session.exec(query))

    def add_challenge(self, rows: Sequence[ChallengeRow]) -> None:
        """Keep what a node was asked."""
        with self._writing_session() as session:
            session.add_all(rows)

    def open_challenges(self, node: NodeId) -> list[ChallengeRow]:
        """Return every entry the node was asked about and has not answered."""
        with self._session() as session:
            query = select(ChallengeRow).where(
                ChallengeRow.node == node, col(ChallengeRow.agrees).is_(None)
            )
            return list(session.exec(query))

    def close_challenge(self, row: ChallengeRow, *, agrees: bool) -> None:
        """Keep whether the node's answer agreed with ours."""
        with self._writing_session() as session:
            row.agrees = agrees
            session.add(row)

    def alarms(self) -> int:
        """Return how many answers disagreed and how many logs shrank, together."""
        with self._session() as session:
            disagreed = select(func.count()).where(col(ChallengeRow.agrees).is_(False))
            shrunk = select(func.count()).where(col(CheckpointRow.shrunk).is_(True))
            return session.exec(disagreed).one() + session.exec(shrunk).one()


def _heard_by(company: str) -> Any:
    return or_(col(LedgerRow.company) == company, col(LedgerRow.company).is_(None))


def _record(row: LedgerRow) -> Record:
    if row.sequence is None or row.subject is None or row.company is None:
        raise Conflict(f"record {row.record_id} is not one of a person")
    return Record(
        sequence=row.sequence,
        record_id=row.record_id,
        company=row.company,
        subject=SubjectId(row.subject),
        node=None if row.node is None else NodeId(row.node),
        at=row.at,
        act=act_from_dict(json.loads(row.body)),
    )
