"""The coordinator's rows: plans, nodes, runs, rounds, releases, reservations.

Nothing here is about a person: plans are declarations, weights are private already. Opened
by `open_store`; written only by `registry`, `journal` and `budget_ledger`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import registry
from sqlalchemy.pool import ConnectionPoolEntry
from sqlmodel import Field, SQLModel, create_engine


class Row(SQLModel, registry=registry()):
    """Stand at the root of this service's tables: a registry, and so a metadata, of its own."""


class PlanRow(Row, table=True):
    """An accepted plan: its canonical JSON and the preview that was shown for it."""

    __tablename__ = "plan"
    digest: str = Field(primary_key=True)
    name: str
    body: str
    preview: str
    accepted_at: float


class NodeRow(Row, table=True):
    """A registered node: the key that signs its replies and its id in Flower."""

    __tablename__ = "node"
    node: str = Field(primary_key=True)
    vkey: str
    supernode_key: str
    flower_id: str  # an unsigned 64-bit number, beyond SQLite's integers
    registered_at: float


class RunRow(Row, table=True):
    """One run and its state; `detail` says in one line why it ended."""

    __tablename__ = "run"
    run: str = Field(primary_key=True)
    plan_digest: str
    state: str
    detail: str = ""
    cohort: str = "[]"
    started_at: float
    ended_at: float | None = None


class RoundRow(Row, table=True):
    """One round as it ended; `weights` is the aggregate (little-endian float32) or nothing."""

    __tablename__ = "round"
    run: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    state: str
    seconds: float
    replies: int
    rejected: str = "{}"
    weights: bytes | None = None
    weights_digest: str | None = None


class EvaluationRow(Row, table=True):
    """One evaluation as it ended; `tables` is the sum of the noisy tables (little-endian float64).

    The sum has the plan's shape `(group * row, label)`; `after_round` 0 is the start.
    """

    __tablename__ = "evaluation"
    run: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    after_round: int
    state: str
    seconds: float
    replies: int
    rejected: str = "{}"
    tables: bytes | None = None


class ReleaseRow(Row, table=True):
    """A published release with its log leaf and proof: what nodes are sent."""

    __tablename__ = "release"
    release: str = Field(primary_key=True)
    number: int = Field(unique=True)
    digest: str
    run: str | None
    approved_by: str
    body: str
    bundle: bytes
    published_at: float


class LoadedRow(Row, table=True):
    """A node's signed word that it loaded a release."""

    __tablename__ = "loaded"
    node: str = Field(primary_key=True)
    release: str = Field(primary_key=True)
    loaded_at: float


class ReservationRow(Row, table=True):
    """Budget set aside; `round_number` 0 is the whole run, minus k its k-th evaluation."""

    __tablename__ = "reservation"
    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True)
    round_number: int
    epsilon: float
    delta: float
    reserved_at: float


def open_store(path: Path | None) -> Engine:
    """Open the SQLite file, or a database in memory, and create what is missing."""
    if path is None:
        from sqlalchemy.pool import StaticPool  # noqa: PLC0415 (for tests only)

        engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
    else:
        path.touch(mode=0o600)
        engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _make_durable)
    Row.metadata.create_all(engine, tables=_tables())
    return engine


def _tables() -> list[Any]:
    rows = (
        PlanRow,
        NodeRow,
        RunRow,
        RoundRow,
        EvaluationRow,
        ReleaseRow,
        LoadedRow,
        ReservationRow,
    )
    return [Row.metadata.tables[str(row.__tablename__)] for row in rows]


def _make_durable(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
