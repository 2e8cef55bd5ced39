"""Withdrawals that were given at this node, until the trust service's feed has told of them.

A row is on disk before anything else happens, so none is lost, and it names the record that the
trust service makes of it, so none is doubled: however often it is sent, it counts once. The
customer's receipt lies here for a week, for a branch that could not be answered at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import col, delete, select

from client_node.errors import WithdrawalUnknown
from client_node.store import Store
from client_node.tables import WithdrawalRow
from policies.clock import Clock
from policies.vocabulary import Purpose, SubjectId

KEPT_S = 7 * 86_400.0
"""How long a receipt waits to be fetched."""


class WithdrawalState(StrEnum):
    """Whether the trust service has it."""

    WAITING = "waiting"  # in force here, and not yet told
    TOLD = "told"
    REFUSED = "refused"  # it knows no such person, or has a legal hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One withdrawal; `purpose` None is an erasure. `heard`: the feed has told of it."""

    record: str
    salt: str
    subject: SubjectId
    purpose: Purpose | None
    state: WithdrawalState
    given_at: float
    heard: bool
    receipt: Mapping[str, Any] | None


class Withdrawals:
    """The rows on disk, in the order in which they were given; thread-safe."""

    def __init__(self, path: Path, *, clock: Clock, new_id: Callable[[], str]) -> None:
        """Open or make the file.

        Args:
            path: The database file.
            clock: Unix seconds.
            new_id: Gives 32 hexadecimal digits that nobody guesses.

        Raises:
            VaultError: It cannot be opened.
        """
        self._clock, self._new_id = clock, new_id
        self._store = Store(path, [WithdrawalRow])

    def take(self, subject: SubjectId, purpose: Purpose | None) -> Withdrawal:
        """Write one down; the same again, while the first waits, is the first.

        Raises:
            VaultError: The disk refuses: nothing was taken.
        """
        name = None if purpose is None else purpose.value
        waiting = (
            select(WithdrawalRow)
            .where(WithdrawalRow.subject == subject)
            .where(col(WithdrawalRow.purpose).is_(None) if name is None else _of(name))
            .where(WithdrawalRow.state == WithdrawalState.WAITING.value)
        )
        with self._store.write() as session:
            row = session.exec(waiting).first()
            if row is None:
                row = WithdrawalRow(
                    record=self._new_id(),
                    salt=self._new_id(),
                    subject=subject,
                    purpose=name,
                    state=WithdrawalState.WAITING.value,
                    given_at=self._clock(),
                )
                session.add(row)
            return _withdrawal(row)

    def waiting(self) -> list[Withdrawal]:
        """Return what the trust service has not been told, oldest first."""
        return self._find(WithdrawalRow.state == WithdrawalState.WAITING.value)

    def in_force(self) -> list[Withdrawal]:
        """Return what the feed has not told of, oldest first: this node knows it by itself."""
        return self._find(col(WithdrawalRow.heard).is_(False))

    def find(self, record: str) -> Withdrawal:
        """Return one.

        Raises:
            WithdrawalUnknown: None of that name, or its week is over.
        """
        found = self._find(WithdrawalRow.record == record)
        if not found:
            raise WithdrawalUnknown("no withdrawal of that name is kept here: its week is over")
        return found[0]

    def answered(
        self, record: str, state: WithdrawalState, receipt: Mapping[str, Any] | None = None
    ) -> None:
        """Note what the trust service answered."""
        with self._store.write() as session:
            row = session.exec(select(WithdrawalRow).where(WithdrawalRow.record == record)).one()
            row.state = state.value
            row.receipt = None if receipt is None else json.dumps(receipt)

    def heard(self, records: Sequence[str]) -> None:
        """Note that the feed has told of these."""
        with self._store.write() as session:
            query = select(WithdrawalRow).where(col(WithdrawalRow.record).in_(records))
            for row in session.exec(query):
                row.heard = True

    def expire(self) -> None:
        """Delete what is told, heard and a week old."""
        with self._store.write() as session:
            session.exec(
                delete(WithdrawalRow)
                .where(col(WithdrawalRow.heard).is_(True))
                .where(col(WithdrawalRow.given_at) <= self._clock() - KEPT_S)
            )

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _find(self, where: Any) -> list[Withdrawal]:
        query = select(WithdrawalRow).where(where).order_by(col(WithdrawalRow.number))
        with self._store.read() as session:
            return [_withdrawal(row) for row in session.exec(query)]


def _of(name: str) -> Any:
    return WithdrawalRow.purpose == name


def _withdrawal(row: WithdrawalRow) -> Withdrawal:
    return Withdrawal(
        record=row.record,
        salt=row.salt,
        subject=SubjectId(row.subject),
        purpose=None if row.purpose is None else Purpose(row.purpose),
        state=WithdrawalState(row.state),
        given_at=row.given_at,
        heard=row.heard,
        receipt=None if row.receipt is None else json.loads(row.receipt),
    )


def withdrawal_to_dict(one: Withdrawal) -> dict[str, Any]:
    """Return what a branch is told: the receipt as it came, or that there is none yet."""
    if one.receipt is not None:
        return dict(one.receipt)
    return {
        "record": one.record,
        "state": one.state.value,
        "in_force": True,
        "given_at": one.given_at,
    }
