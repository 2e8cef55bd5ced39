"""The rows of requests: their steps, who may follow them, and nodes' sealed answers."""

from __future__ import annotations

from sqlmodel import Field

from consent.tables import Row


class RequestRow(Row, table=True):
    """One request. `token_hash` is the SHA-256 of the token by which the person follows it."""

    __tablename__ = "rights_request"

    request: str = Field(primary_key=True)
    subject: str = Field(index=True)
    token_hash: str = Field(unique=True)
    is_open: bool = Field(index=True)


class RequestStepRow(Row, table=True):
    """One step of a request; steps are added, never changed."""

    __tablename__ = "rights_step"

    number: int | None = Field(default=None, primary_key=True)
    request: str = Field(foreign_key="rights_request.request", index=True)
    kind: str
    at: float
    by: str
    details: str
    log_index: int


class RequestAnswerRow(Row, table=True):
    """What one source answered, sealed under a key of the request alone."""

    __tablename__ = "rights_answer"

    request: str = Field(foreign_key="rights_request.request", primary_key=True)
    source: str = Field(primary_key=True)
    sealed: bytes
