"""The rows of the trust service, as SQLModel tables; `consent.migrations` creates them.

`LedgerRow` holds both the acts of people (with company and subject) and those of the
compliance officer (without either; `body` is then the sealed envelope), so that one sequence
orders everything a node must hear.
"""

from __future__ import annotations

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Row(SQLModel, registry=registry()):
    """Stand at the root of this service's tables: a registry, and so a metadata, of its own."""


class LedgerRow(Row, table=True):
    """One act. `token_hash` is the SHA-256 of its token (`consent.recorder`), which is not kept.

    `receipt` is that of a record which its sender named and may ask for again, without its salt.
    """

    __tablename__ = "ledger"

    sequence: int | None = Field(default=None, primary_key=True)
    record_id: str = Field(unique=True)
    kind: str
    company: str | None = None
    subject: str | None = Field(default=None, index=True)
    node: str | None = None
    at: float
    body: str
    token_hash: str | None = Field(default=None, unique=True)
    log_index: int
    receipt: str | None = None


class CapturedRow(Row, table=True):
    """One proof of capture, which counts once for a purpose; it names nobody."""

    __tablename__ = "captured"

    company: str = Field(primary_key=True)
    evidence: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)


class NodeRow(Row, table=True):
    """One enrolled node: whose it is, and the key that signs its requests and log."""

    __tablename__ = "node"

    node: str = Field(primary_key=True)
    key_name: str = Field(unique=True)
    vkey: str
    company: str
    enrolled_at: float
    log_index: int


class CheckpointRow(Row, table=True):
    """One checkpoint that a node acknowledged; `shrunk` if its log had been longer before."""

    __tablename__ = "checkpoint"

    number: int | None = Field(default=None, primary_key=True)
    node: str = Field(foreign_key="node.node", index=True)
    sequence: int
    size: int
    note: str
    received_at: float
    shrunk: bool


class ChallengeRow(Row, table=True):
    """One entry of a node's log that it was asked about; `agrees` is None until answered."""

    __tablename__ = "challenge"

    number: int | None = Field(default=None, primary_key=True)
    node: str = Field(foreign_key="node.node", index=True)
    entry: int
    asked_at: float
    agrees: bool | None = None


METADATA = Row.metadata
