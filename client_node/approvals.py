"""What waits for a person's yes (rule 23): kept on disk, each decided once, by somebody named.

An item waits until somebody approves or denies it, or its time is over. It is decided by whoever
looked at it last, so that the time between looking and deciding is known; under two seconds is
flagged, in the answer and in the log (`policies.approvals`). What a reply says lies sealed under
the person's own key; the row has ids, times and what a complaint would be given. Who decided is
on record with what they decided; no list or count by person is made of it (promise 4).

Deciding is one change of one row, so two people never both approve.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, SQLModel, col, delete, select, update

from client_node.errors import ApprovalRefused, ApprovalUnknown, VaultError
from client_node.redress import Redress
from client_node.tables import ApprovalRow, CalmPassRow, open_store
from policies.clock import Clock
from policies.vocabulary import SubjectId, Use

MOST_WAITING = 1_000


class ApprovalState(StrEnum):
    """Where an item is."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    REFUSED = "refused"  # approved by a person, and then the gate said no


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One item. `sealed` is a reply's text, `redress` what a complaint would be given."""

    approval: str
    use: Use
    turn: str
    subject: SubjectId
    topic: str
    redress: Redress | None
    sealed: bytes = field(repr=False)
    state: ApprovalState = ApprovalState.WAITING
    created_at: float
    expires_at: float
    shown_to: str | None = None
    shown_at: float | None = None
    decided_by: str | None = None
    decided_at: float | None = None
    hasty: bool = False


class Approvals:
    """The queue on disk; thread-safe, and its rows are gone once their time is over."""

    def __init__(self, path: Path, *, clock: Clock, lasts_s: float) -> None:
        """Open or make the queue.

        Raises:
            VaultError: The file cannot be opened.
        """
        self._clock, self._lasts_s = clock, lasts_s
        try:
            self._engine = open_store(path, [ApprovalRow, CalmPassRow])
        except (SQLAlchemyError, OSError) as error:
            raise VaultError(f"approvals {path.name}: {type(error).__name__}") from error

    def put(self, item: Waiting) -> Waiting:
        """Let an item wait; its own times are set here.

        Raises:
            ApprovalRefused: As many wait already as may.
            VaultError: The disk refuses.
        """
        now = self._clock()
        self.expire()
        if len(self.waiting()) >= MOST_WAITING:
            raise ApprovalRefused(f"{MOST_WAITING} items wait for approval: decide some first")
        redress = item.redress
        row = ApprovalRow(
            approval=item.approval,
            use=item.use.value,
            turn=item.turn,
            subject=item.subject,
            topic=item.topic,
            reason=None if redress is None else redress.reason,
            offer_value=None if redress is None else redress.offer_value,
            baseline_value=None if redress is None else redress.baseline_value,
            sealed=item.sealed,
            state=ApprovalState.WAITING.value,
            created_at=now,
            expires_at=now + self._lasts_s,
        )
        self._write(row)
        return _item(row)

    def waiting(self) -> list[Waiting]:
        """Return what waits, oldest first."""
        query = (
            select(ApprovalRow)
            .where(ApprovalRow.state == ApprovalState.WAITING.value)
            .where(col(ApprovalRow.expires_at) > self._clock())
            .order_by(col(ApprovalRow.created_at), col(ApprovalRow.approval))
        )
        with self._session() as session:
            return [_item(row) for row in session.exec(query)]

    def find(self, approval: str) -> Waiting:
        """Return an item, decided or not.

        Raises:
            ApprovalUnknown: It never was, or its time is over.
        """
        with self._session() as session:
            row = session.get(ApprovalRow, approval)
        if row is None or row.expires_at <= self._clock():
            raise ApprovalUnknown("nothing of that id waits: its time is over, or it never was")
        return _item(row)

    def show(self, approval: str, to: str) -> Waiting:
        """Note who looks at a waiting item now.

        Raises:
            ApprovalUnknown, ApprovalRefused: Nothing of that id waits.
        """
        self._change(approval, {"shown_to": to, "shown_at": self._clock()})
        return self.find(approval)

    def decide(self, approval: str, state: ApprovalState, *, hasty: bool) -> Waiting:
        """Decide a waiting item once, by the person who looked at it.

        Raises:
            ApprovalUnknown, ApprovalRefused: Nothing of that id waits.
        """
        item = self.find(approval)
        self._change(
            approval,
            {
                "state": state.value,
                "decided_by": item.shown_to,
                "decided_at": self._clock(),
                "hasty": hasty,
            },
            shown_to=item.shown_to,
        )
        return self.find(approval)

    def refuse(self, approval: str) -> None:
        """Note that the gate refused what a person had approved."""
        query = update(ApprovalRow).where(col(ApprovalRow.approval) == approval)
        self._run(query.values(state=ApprovalState.REFUSED.value))

    def drop(self, subjects: Collection[SubjectId]) -> None:
        """Delete everything of these people."""
        self._run(delete(ApprovalRow).where(col(ApprovalRow.subject).in_(list(subjects))))

    def expire(self) -> int:
        """Delete what is over, decided or not; return how many."""
        return self._run(delete(ApprovalRow).where(col(ApprovalRow.expires_at) <= self._clock()))

    def pass_calm(self, by: str) -> None:
        """Note that the test over calm customers passed now (rule 14)."""
        self._write(CalmPassRow(passed_at=self._clock(), by=by))

    def calm_passed_at(self) -> int | None:
        """Return the second at which the test over calm customers last passed."""
        query = select(CalmPassRow).order_by(col(CalmPassRow.passed_at).desc()).limit(1)
        with self._session() as session:
            row = session.exec(query).first()
        return None if row is None else int(row.passed_at)

    def fail_calm(self) -> None:
        """Forget every pass: the newest test found calm customers short."""
        self._run(delete(CalmPassRow))

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _change(self, approval: str, values: dict[str, Any], **where: Any) -> None:
        """Change a row that waits and has not been looked at by somebody else meanwhile."""
        query = (
            update(ApprovalRow)
            .where(col(ApprovalRow.approval) == approval)
            .where(col(ApprovalRow.state) == ApprovalState.WAITING.value)
            .where(col(ApprovalRow.expires_at) > self._clock())
        )
        for name, value in where.items():
            query = query.where(getattr(ApprovalRow, name) == value)
        if self._run(query.values(**values)) != 1:
            self.find(approval)
            raise ApprovalRefused("it is decided already, or somebody else looked at it since")

    def _session(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    def _write(self, row: SQLModel) -> None:
        try:
            with self._session() as session:
                session.add(row)
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"approvals cannot be written: {type(error).__name__}") from None

    def _run(self, query: Any) -> int:
        try:
            with self._session() as session:
                count = session.exec(query).rowcount
                session.commit()
        except SQLAlchemyError as error:
            raise VaultError(f"approvals cannot be written: {type(error).__name__}") from None
        return int(count)


def _item(row: ApprovalRow) -> Waiting:
    redress = None
    if row.reason is not None and row.offer_value is not None and row.baseline_value is not None:
        redress = Redress(
            reason=row.reason, offer_value=row.offer_value, baseline_value=row.baseline_value
        )
    return Waiting(
        approval=row.approval,
        use=Use(row.use),
        turn=row.turn,
        subject=SubjectId(row.subject),
        topic=row.topic,
        redress=redress,
        sealed=row.sealed,
        state=ApprovalState(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        shown_to=row.shown_to,
        shown_at=row.shown_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        hasty=row.hasty,
    )


def waiting_to_dict(items: Sequence[Waiting]) -> list[dict[str, Any]]:
    """Return items as JSON values, without what they say."""
    return [
        {
            "approval": item.approval,
            "use": "reply" if item.redress is None else item.use.value,
            "turn": item.turn,
            "topic": item.topic,
            "state": item.state.value,
            "created_at": item.created_at,
            "expires_at": item.expires_at,
        }
        for item in items
    ]
