"""What this node has spent of each person's privacy, and what it still may (promise 6).

One bound for everybody at the node: whoever took part in everything has spent this much, and
nobody more. An entry is on disk before any record is opened for the computation it pays for;
a crash or retry can waste budget, never forget it. Entries are chained by digest, and the
head of the chain goes to the log with each spending: a ledger put back from yesterday's copy
no longer contains what the log says was spent, and the node stops training.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from client_node.errors import LedgerRolledBack
from client_node.tables import BudgetEntry, open_store
from models.accounting import NOTHING_SPENT, RdpCurve, epsilon, within
from policies.canonical import digest
from policies.clock import Clock
from policies.errors import BudgetExhausted
from policies.vocabulary import Digest, Purpose, RunId

GENESIS = "0" * 64
ENROLMENT = 0
"""The round number under which a run's head count is charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a person may lose in one period, by the operator's signed policy."""

    epsilon: float
    delta: float
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One durable entry."""

    number: int
    head: Digest
    epsilon_after: float


class BudgetLedger:
    """Spends, and refuses before it spends; thread-safe."""

    def __init__(
        self, path: Path, *, limits: Limits, clock: Clock, purpose: Purpose = Purpose.TRAINING
    ) -> None:
        """Open the ledger; nothing can be spent before `verify` found it whole.

        Raises:
            LedgerRolledBack: The file cannot be opened.
        """
        self._limits, self._clock, self._purpose = limits, clock, purpose
        self._lock = threading.Lock()
        try:
            self._engine = open_store(path, [BudgetEntry])
        except (SQLAlchemyError, OSError) as error:
            raise LedgerRolledBack(
                f"the budget ledger cannot be opened: {type(error).__name__}"
            ) from error
        self._fault: str | None = "the budget ledger was not verified yet"

    @property
    def fault(self) -> str | None:
        """Why nothing can be spent here, None where all is well."""
        return self._fault

    def verify(self, logged_head: str | None) -> None:
        """Verify the chain, and that it holds the last spending that the log recorded.

        The ledger may be ahead of the log (a crash between the two), never behind it.

        Args:
            logged_head: The head of the log's last BUDGET_SPENT, None where there is none.

        Raises:
            LedgerRolledBack: A changed entry, or a ledger put back to an earlier state; from
                here on nothing can be spent.
        """
        try:
            entries = self.entries()
            _verify_chain(entries)
            _verify_head(entries, logged_head)
        except SQLAlchemyError as error:
            self._fault = f"the budget ledger cannot be read: {type(error).__name__}"
            raise LedgerRolledBack(self._fault) from error
        except LedgerRolledBack as error:
            self._fault = str(error)
            raise
        self._fault = None

    def entries(self) -> list[BudgetEntry]:
        """Return all entries, oldest first."""
        with Session(self._engine, expire_on_commit=False) as session:
            return list(session.exec(select(BudgetEntry).order_by(col(BudgetEntry.number))))

    def spent(self) -> RdpCurve:
        """Return what the current period holds."""
        since = self._clock() - self._limits.period_s
        curves = (_curve(e) for e in self.entries() if e.spent_at > since)
        return sum(curves, start=NOTHING_SPENT)

    def epsilon_spent(self) -> float:
        """Return the epsilon of the current period at the policy's delta."""
        spent = self.spent()
        return 0.0 if spent == NOTHING_SPENT else epsilon(spent, delta=self._limits.delta)

    def covers(self, curve: RdpCurve) -> bool:
        """Say whether the budget would cover one more computation; spends nothing.

        Raises:
            LedgerRolledBack: The ledger cannot be trusted.
        """
        self._check()
        return within(self.spent() + curve, epsilon=self._limits.epsilon, delta=self._limits.delta)

    def spend(
        self, curve: RdpCurve, *, run: RunId, round_number: int, terms_digest: Digest
    ) -> Spending:
        """Record one spending; it is on disk on return. A retry spends again.

        Raises:
            BudgetExhausted: It does not fit, or cannot be written; nothing may be computed.
            LedgerRolledBack: The ledger cannot be trusted.
        """
        self._check()
        with self._lock:
            after = self.spent() + curve
            if not within(after, epsilon=self._limits.epsilon, delta=self._limits.delta):
                raise BudgetExhausted(
                    f"round {round_number} of {run} would pass the node's privacy budget: "
                    "wait for the period to end"
                )
            entry = self._next(curve, run, round_number, terms_digest)
            try:
                with Session(self._engine, expire_on_commit=False) as session:
                    session.add(entry)
                    session.commit()
            except SQLAlchemyError as error:
                raise BudgetExhausted(
                    f"the spending cannot be written: {type(error).__name__}"
                ) from error
        return Spending(
            number=entry.number,
            head=Digest(entry.head),
            epsilon_after=epsilon(after, delta=self._limits.delta),
        )

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()

    def _check(self) -> None:
        if self._fault is not None:
            raise LedgerRolledBack(self._fault)

    def _next(
        self, curve: RdpCurve, run: RunId, round_number: int, terms_digest: Digest
    ) -> BudgetEntry:
        entries = self.entries()
        entry = BudgetEntry(
            number=len(entries),
            purpose=self._purpose.value,
            run=run,
            round_number=round_number,
            curve=json.dumps(curve.values),
            terms_digest=terms_digest,
            spent_at=self._clock(),
            previous=entries[-1].head if entries else GENESIS,
            head="",
        )
        entry.head = _head(entry)
        return entry


def _curve(entry: BudgetEntry) -> RdpCurve:
    return RdpCurve(values=tuple(json.loads(entry.curve)))


def _head(entry: BudgetEntry) -> Digest:
    return digest(entry.model_dump(exclude={"head"}))


def _verify_chain(entries: list[BudgetEntry]) -> None:
    previous = GENESIS
    for number, entry in enumerate(entries):
        if (entry.number, entry.previous) != (number, previous) or entry.head != _head(entry):
            raise LedgerRolledBack(
                f"entry {number} of the budget ledger is not the one that was written: "
                "restore the newest ledger; until then no training"
            )
        previous = entry.head


def _verify_head(entries: list[BudgetEntry], logged: str | None) -> None:
    if logged is not None and logged not in {entry.head for entry in entries}:
        raise LedgerRolledBack(
            "the log names a spending that the budget ledger does not contain: it was put "
            "back to an earlier state. Restore the newest ledger; until then no training"
        )
