"""Keeps the registers beside the consent ledger, in its database."""

from __future__ import annotations

import json

from sqlmodel import col, select

from consent.ledger import Ledger
from consent.register import Entry, Register
from consent.register_tables import RegisterStepRow


class RegisterStore:
    """Finds and adds; errors are the ledger's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, step: Entry, log_index: int) -> None:
        """Add one step."""
        row = RegisterStepRow(
            book=step.register.value,
            entry=step.entry,
            step=step.step,
            at=step.at,
            by=step.by,
            details=json.dumps(dict(step.details)),
            log_index=log_index,
        )
        with self._ledger.writing() as session:
            session.add(row)

    def last(self, register: Register) -> Entry | None:
        """Return the newest step of a register, None in an empty one."""
        query = select(RegisterStepRow).where(RegisterStepRow.book == register.value)
        with self._ledger.reading() as session:
            row = session.exec(query.order_by(col(RegisterStepRow.number).desc())).first()
        return None if row is None else _entry(row)

    def entries(self, register: Register) -> dict[str, list[Entry]]:
        """Return the steps of each entry of a register, oldest first."""
        query = select(RegisterStepRow).where(RegisterStepRow.book == register.value)
        with self._ledger.reading() as session:
            rows = session.exec(query.order_by(col(RegisterStepRow.number))).all()
        found: dict[str, list[Entry]] = {}
        for row in rows:
            found.setdefault(row.entry, []).append(_entry(row))
        return found


def _entry(row: RegisterStepRow) -> Entry:
    return Entry(
        register=Register(row.book),
        entry=row.entry,
        step=row.step,
        at=row.at,
        by=row.by,
        details=json.loads(row.details),
    )
