"""The rows of the registers."""

from __future__ import annotations

from sqlmodel import Field

from consent.tables import Row


class RegisterStepRow(Row, table=True):
    """One step of one entry; steps are added, never changed."""

    __tablename__ = "register_step"

    number: int | None = Field(default=None, primary_key=True)
    book: str = Field(index=True)
    entry: str = Field(index=True)
    step: str
    at: float
    by: str
    details: str
    log_index: int
