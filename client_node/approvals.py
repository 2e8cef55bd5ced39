"""What waits for a person's yes (rule 23): kept on disk, each decided once, by somebody named.

An item waits until somebody approves or denies it, or its time is over. It is decided by whoever
looked at it last, so that the time between looking and deciding is known; under two seconds is
flagged, in the answer and in the log (`policies.approvals`). What a reply says lies sealed under
the person's own key; the row has ids, times and what a complaint would be given. A campaign is
about nobody: its row has the company's text and no person. Who decided is
on record with what they decided; no list or count by person is made of it (promise 4).

Deciding is one change of one row, so two people never both approve.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import col, delete, select, update

from client_node.errors import ApprovalRefused, ApprovalUnknown
from client_node.redress import Redress
from client_node.store import Store
from client_node.tables import ApprovalRow, CalmPassRow, CampaignRow
from policies.clock import Clock
from policies.vocabulary import DecisionId, Digest, SubjectId, Use

MOST_WAITING = 1_000


class ApprovalState(StrEnum):
    """Where an item is."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    REFUSED = "refused"  # approved by a person, and then the gate said no


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """A campaign's text, by which decision to count it was chosen, and for which definition."""

    definition: Digest
    decision: DecisionId
    wording: str
    text: str


NOBODY = SubjectId("")
"""Whom a campaign's item is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One item: a reply (`sealed`), a complaint's `redress`, or a campaign that was `worded`."""

    approval: str
    use: Use
    turn: str
    subject: SubjectId
    topic: str
    redress: Redress | None = None
    worded: Worded | None = None
    sealed: bytes = field(default=b"", repr=False)
    state: ApprovalState = ApprovalState.WAITING
    created_at: float = 0.0
    expires_at: float = 0.0
    shown_to: str | None = None
    shown_at: float | None = None
    decided_by: str | None = None
    decided_at: float | None = None
    hasty: bool = False

    @property
    def called(self) -> str:
        """What kind of thing waits, in a word."""
        if self.worded is not None:
            return "campaign"
        return "reply" if self.redress is None else self.use.value


class Approvals:
    """The queue on disk; thread-safe, and its rows are gone once their time is over."""

    def __init__(self, path: Path, *, clock: Clock, lasts_s: float) -> None:
        """Open or make the queue.

        Raises:
            VaultError: The file cannot be opened.
        """
        self._clock, self._lasts_s = clock, lasts_s
        self._store = Store(path, [ApprovalRow, CampaignRow, CalmPassRow])

    def put(self, item: Waiting) -> Waiting:
        """Let an item wait; its own times are set here.

        Raises:
            ApprovalRefused: As many wait already as may.
            VaultError: The disk refuses.
        """
        now = self._clock()
        self.check_room()
        redress, worded = item.redress, item.worded
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
        with self._store.write() as session:
            session.add(row)
            if worded is not None:
                session.flush()
                session.add(CampaignRow(approval=item.approval, **asdict(worded)))
        return self.find(item.approval)

    def check_room(self) -> None:
        """Return if one more may wait.

        Raises:
            ApprovalRefused: As many wait already as may.
        """
        self.expire()
        if len(self.waiting()) >= MOST_WAITING:
            raise ApprovalRefused(f"{MOST_WAITING} items wait for approval: decide some first")

    def waiting(self) -> list[Waiting]:
        """Return what waits, oldest first."""
        query = (
            select(ApprovalRow, CampaignRow)
            .join(CampaignRow, isouter=True)
            .where(ApprovalRow.state == ApprovalState.WAITING.value)
            .where(col(ApprovalRow.expires_at) > self._clock())
            .order_by(col(ApprovalRow.created_at), col(ApprovalRow.approval))
        )
        with self._store.read() as session:
            return [_item(*row) for row in session.exec(query)]

    def find(self, approval: str) -> Waiting:
        """Return an item, decided or not.

        Raises:
            ApprovalUnknown: It never was, or its time is over.
        """
        with self._store.read() as session:
            row = session.get(ApprovalRow, approval)
            campaign = session.get(CampaignRow, approval)
        if row is None or row.expires_at <= self._clock():
            raise ApprovalUnknown("nothing of that id waits: its time is over, or it never was")
        return _item(row, campaign)

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
        with self._store.write() as session:
            session.add(CalmPassRow(passed_at=self._clock(), by=by))

    def calm_passed_at(self) -> int | None:
        """Return the second at which the test over calm customers last passed."""
        query = select(CalmPassRow).order_by(col(CalmPassRow.passed_at).desc()).limit(1)
        with self._store.read() as session:
            row = session.exec(query).first()
        return None if row is None else int(row.passed_at)

    def fail_calm(self) -> None:
        """Forget every pass: the newest test found calm customers short."""
        self._run(delete(CalmPassRow))

    def close(self) -> None:
        """Close the file."""
        self._store.close()

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

    def _run(self, query: Any) -> int:
        with self._store.write() as session:
            return int(session.exec(query).rowcount)


def _item(row: ApprovalRow, campaign: CampaignRow | None = None) -> Waiting:
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
        worded=None if campaign is None else _worded(campaign),
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


def _worded(row: CampaignRow) -> Worded:
    return Worded(
        definition=Digest(row.definition),
        decision=DecisionId(row.decision),
        wording=row.wording,
        text=row.text,
    )


def waiting_to_dict(items: Sequence[Waiting]) -> list[dict[str, Any]]:
    """Return items as JSON values, without what they say."""
    return [
        {
            "approval": item.approval,
            "use": item.called,
            "turn": item.turn,
            "topic": item.topic,
            "state": item.state.value,
            "created_at": item.created_at,
            "expires_at": item.expires_at,
        }
        for item in items
    ]
