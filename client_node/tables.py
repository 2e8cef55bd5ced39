"""The rows a node keeps, as SQLModel tables in SQLite files, one for each owner.

`records.db` (vault), `standing.db`, `budget.db`, `releases.db`, `approvals.db`, `reviews.db`,
`withdrawals.db`, `webhooks.db`, `replays.db`, `things.db`, `calls.db`,
`owed.db`, `destroyed.db`. No row holds a customer's
words, names or ids: people stand under their pseudonym, and everything about them is sealed bytes,
or says what they withdrew.
Not here: keys (`audit.keystore`) and evidence (`audit.log`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, create_engine


class Row(SQLModel, registry=registry()):
    """Stand at the root of this service's tables: a registry, and so a metadata, of its own."""


class SealedRecord(Row, table=True):
    """One sealed copy of one turn, for one purpose; `label` is sealed under the same key."""

    __tablename__ = "sealed_record"

    turn: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)
    subject: str = Field(index=True)
    created_at: float = Field(index=True)
    sealed: bytes
    label: bytes | None = None
    provenance: str | None = None


class StandingEnvelope(Row, table=True):
    """One verified envelope of standing that somebody's standing still rests on."""

    __tablename__ = "standing_envelope"

    digest: str = Field(primary_key=True)
    sequence: int
    issued_at: int
    data: bytes


class StandingEntry(Row, table=True):
    """Which envelope holds a person's latest standing."""

    __tablename__ = "standing_entry"

    subject: str = Field(primary_key=True)
    digest: str = Field(index=True)


class BudgetEntry(Row, table=True):
    """One spending or reservation of privacy budget; `head` chains it to all before it."""

    __tablename__ = "budget_entry"

    number: int = Field(primary_key=True)
    kind: str
    purpose: str
    run: str
    round_number: int
    curve: str
    terms_digest: str
    spent_at: float
    previous: str
    head: str


class RoundAnswer(Row, table=True):
    """What this node answered to one spending: the update it signed, or readiness."""

    __tablename__ = "round_answer"

    number: int = Field(primary_key=True)
    run: str = Field(index=True)
    round_number: int
    terms_digest: str
    log_index: int
    answer: str | None = None


class LoadedRelease(Row, table=True):
    """A release that was verified and loaded; the newest row is in force."""

    __tablename__ = "loaded_release"

    number: int | None = Field(default=None, primary_key=True)
    release: str
    digest: str
    log_index: int
    loaded_at: float
    bundle: bytes


class ApprovalRow(Row, table=True):
    """One thing that waits for a person's yes; what a reply says is sealed."""

    __tablename__ = "approval"

    approval: str = Field(primary_key=True)
    use: str
    turn: str
    subject: str = Field(index=True)
    topic: str
    reason: str | None
    offer_value: int | None
    baseline_value: int | None
    sealed: bytes
    state: str = Field(index=True)
    created_at: float
    expires_at: float = Field(index=True)
    shown_to: str | None = None
    shown_at: float | None = None
    decided_by: str | None = None
    decided_at: float | None = None
    hasty: bool = False


class CampaignRow(Row, table=True):
    """The company's own text that waits for a yes; `definition` is the digest of its cohort's."""

    __tablename__ = "campaign"

    approval: str = Field(primary_key=True, foreign_key="approval.approval", ondelete="CASCADE")
    definition: str
    decision: str
    wording: str
    text: str


class ReviewRow(Row, table=True):
    """What a person decided on review of one decision of this node's, and what that was about."""

    __tablename__ = "review"

    request: str = Field(primary_key=True)
    subject: str = Field(index=True)
    decision: str
    outcome: str
    decided_at: float
    action: str
    use: str | None = None
    allowed: bool
    read_at: int | None = None
    made_at: float
    turn: str | None = None


class WithdrawalRow(Row, table=True):
    """One withdrawal given here; `record` and `salt` are what the trust service makes of it."""

    __tablename__ = "withdrawal"

    number: int | None = Field(default=None, primary_key=True)
    record: str = Field(unique=True)
    salt: str
    subject: str = Field(index=True)
    purpose: str | None
    state: str = Field(index=True)
    given_at: float
    heard: bool = False
    receipt: str | None = None


class WebhookRow(Row, table=True):
    """One webhook to one target, by ids alone."""

    __tablename__ = "webhook"

    number: int | None = Field(default=None, primary_key=True)
    delivery: str = Field(unique=True)
    target: str
    type: str
    alert: str = Field(index=True)
    state: str = Field(index=True)
    tries: int = 0
    next_at: float
    created_at: float
    reason: str | None = None


class TelephoneEventRow(Row, table=True):
    """One event of a telephone system that was taken; it names nobody."""

    __tablename__ = "telephone_event"

    event: str = Field(primary_key=True)
    at: int = Field(index=True)


class ReplayRow(Row, table=True):
    """One answer by idempotency key: keyed digests, and the answer sealed."""

    __tablename__ = "replay"

    place: str = Field(primary_key=True)
    body: bytes
    began_at: float = Field(index=True)
    sealed: bytes


class ThingRow(Row, table=True):
    """One event of a thing around a customer: digests, times, and what it told, sealed."""

    __tablename__ = "thing"

    subject: str = Field(primary_key=True)
    event: str = Field(primary_key=True)
    conversation: str
    at: int = Field(index=True)
    came_at: float
    sealed: bytes


class OwedRow(Row, table=True):
    """One thing that the trust service is to be told of: so many keys, or one person's erasure."""

    __tablename__ = "owed"
    __table_args__ = {"sqlite_autoincrement": True}

    number: int | None = Field(default=None, primary_key=True)
    keys_destroyed: int = 0
    erased: str | None = None


class DestroyedRow(Row, table=True):
    """Which entry of our log tells that an erased person's keys are destroyed."""

    __tablename__ = "destroyed"

    subject: str = Field(primary_key=True)
    entry: int


class CallHourRow(Row, table=True):
    """Finished calls of one queue in one hour (Unix seconds over 3600), in totals."""

    __tablename__ = "call_hour"

    queue: str = Field(primary_key=True)
    hour: int = Field(primary_key=True, index=True)
    calls: int = 0
    waited_s: float = 0.0
    abandoned: int = 0
    handled: int = 0
    handled_s: float = 0.0


class CalmPassRow(Row, table=True):
    """One passing of the test over calm customers (rule 14), and who brought the figures."""

    __tablename__ = "calm_pass"

    number: int | None = Field(default=None, primary_key=True)
    passed_at: float
    by: str


def open_store(path: Path, tables: Sequence[type[SQLModel]]) -> Engine:
    """Open or make a SQLite file with these tables; every commit is on disk on return.

    Mode 0600, write-ahead log, synchronous=FULL (promise 6 rests on it), and deleted rows
    are overwritten.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError: The file cannot be opened or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _configure)
    Row.metadata.create_all(engine, tables=[t.__table__ for t in tables])  # type: ignore[attr-defined]
    return engine


def _configure(connection: Any, _: Any) -> None:
    for pragma in (
        "foreign_keys=ON",
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "busy_timeout=5000",
    ):
        connection.execute(f"PRAGMA {pragma}")
