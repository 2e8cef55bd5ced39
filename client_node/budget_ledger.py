"""What this node has spent of each person's privacy, and what it still may (promise 6).

One bound for everybody at the node: whoever took part in everything has spent this much, and
nobody more. It holds over all runs, models, metrics and analytics together, in any stretch of
one period; entries name their purpose so that people can be told what for.

    reserve   a whole run, at its enrolment, so that no later run can strand it half way
    spend     one computation, before any record is opened for it; a retry spends again
    confirm   one answer for each spending (`client_node.round_answers`)

An entry is on disk on return; a crash can waste budget, never forget it. Entries are chained by
digest, and the head of the chain goes to the log with each spending: a ledger put back from
yesterday's copy no longer contains what the log says was spent, and the node stops training.
A clock that is set back does not bring budget back: time in the ledger never runs backwards. A
clock set forward makes standing stale, and the gate closes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from client_node.errors import LedgerRolledBack
from client_node.tables import BudgetEntry, open_store
from models.accounting import NOTHING_SPENT, RdpCurve, epsilon, filter_order, within
from policies.canonical import digest
from policies.clock import Clock
from policies.errors import BudgetExhausted
from policies.vocabulary import Digest, Purpose, RunId

GENESIS = "0" * 64
RESERVED_S = 86_400
"""How long a run may keep what it reserved and did not spend."""
ENROLMENT = 0
"""The round number under which a run's head count is charged."""


class EntryKind(StrEnum):
    """What an entry says."""

    RESERVED = "reserved"
    SPENT = "spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a person may lose in one period, by the operator's signed policy.

    `caps` bound what one purpose may take of `epsilon`, at the same delta.

    Raises:
        AccountingInvalid: A cap is so small that nothing could ever be computed under it.
    """

    epsilon: float
    delta: float
    period_s: int
    caps: Mapping[Purpose, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse at the start what would be refused at every spending."""
        for cap in self.caps.values():
            filter_order(epsilon=cap, delta=self.delta)

    def cap_of(self, purpose: Purpose) -> float:
        """Return what one purpose may take: the whole, where it has no cap of its own."""
        return min(self.epsilon, self.caps.get(purpose, self.epsilon))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One durable entry."""

    number: int
    head: Digest
    epsilon_after: float


class BudgetLedger:
    """Spends, and refuses before it spends; thread-safe."""

    def __init__(self, path: Path, *, limits: Limits, clock: Clock) -> None:
        """Open the ledger; nothing can be spent before `verify` found it whole.

        A file that cannot be opened is a fault like any other: the node serves, and does not
        train.
        """
        self._limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._fault: str | None = "the budget ledger was not verified yet"
        self._known: tuple[int, str] | None = None
        try:
            self._engine = open_store(path, [BudgetEntry])
        except (SQLAlchemyError, OSError) as error:
            self._fault = str(_unreadable(error))

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
            LedgerRolledBack: A changed entry, a file that is cut, or a ledger put back to an
                earlier state; from here on nothing can be spent.
        """
        try:
            entries = self._all()
            _verify_chain(entries)
            _verify_head(entries, logged_head)
        except LedgerRolledBack as error:
            self._fault = str(error)
            raise
        self._fault = None
        self._known = (entries[-1].number, entries[-1].head) if entries else None

    def entries(self) -> list[BudgetEntry]:
        """Return all spendings, oldest first.

        Raises:
            LedgerRolledBack: The file cannot be read.
        """
        return [entry for entry in self._all() if entry.kind == EntryKind.SPENT]

    def spent(self, purpose: Purpose | None = None) -> RdpCurve:
        """Return what the current period holds, for one purpose or for all together.

        Raises:
            LedgerRolledBack: The file cannot be read.
        """
        entries = self._all()
        since = self._now(entries) - self._limits.period_s
        curves = (
            _curve(entry)
            for entry in entries
            if entry.kind == EntryKind.SPENT
            and entry.spent_at > since
            and purpose in (None, entry.purpose)
        )
        return sum(curves, start=NOTHING_SPENT)

    def epsilon_spent(self, purpose: Purpose | None = None) -> float:
        """Return the epsilon of the current period at the policy's delta.

        Raises:
            LedgerRolledBack: The file cannot be read.
        """
        spent = self.spent(purpose)
        return 0.0 if spent == NOTHING_SPENT else epsilon(spent, delta=self._limits.delta)

    def head(self) -> str:
        """Return the head of the chain: another after each entry.

        Reads the last entry and the one that this process knows, however long the ledger is.

        Raises:
            LedgerRolledBack: The file cannot be read, or was put back while it was open.
        """
        newest = self._read(select(BudgetEntry).order_by(col(BudgetEntry.number).desc()).limit(1))
        if (known := self._known) is not None:
            self._contain(
                self._read(select(BudgetEntry).where(BudgetEntry.number == known[0])), known
            )
        return newest[0].head if newest else GENESIS

    @staticmethod
    def curve_of(entry: BudgetEntry) -> RdpCurve:
        """Return what an entry cost."""
        return _curve(entry)

    def covers(self, curve: RdpCurve, *, run: RunId, purpose: Purpose = Purpose.TRAINING) -> bool:
        """Say whether the budget would cover one more computation of a run; spends nothing.

        Raises:
            LedgerRolledBack: The ledger cannot be trusted.
        """
        return self.passed(curve, run=run, purpose=purpose) is None

    def passed(
        self, curve: RdpCurve, *, run: RunId, purpose: Purpose = Purpose.TRAINING
    ) -> str | None:
        """Return in words which limit one more computation of a run would pass; None for none.

        Raises:
            LedgerRolledBack: The ledger cannot be trusted.
        """
        self._check()
        return self._passed(self._all(), purpose, run, curve)

    def reserve(self, curve: RdpCurve, *, run: RunId, terms_digest: Digest) -> Spending:
        """Set a whole run aside, so that its last round fits if its first does.

        Raises:
            BudgetExhausted: It does not fit beside what is spent and set aside already.
            LedgerRolledBack: The ledger cannot be trusted.
        """
        return self._enter(
            EntryKind.RESERVED,
            curve,
            run=run,
            round_number=ENROLMENT,
            terms_digest=terms_digest,
            purpose=Purpose.TRAINING,
        )

    def spend(
        self,
        curve: RdpCurve,
        *,
        run: RunId,
        round_number: int,
        terms_digest: Digest,
        purpose: Purpose = Purpose.TRAINING,
    ) -> Spending:
        """Record one spending; it is on disk on return. A retry spends again.

        Raises:
            BudgetExhausted: It does not fit, or cannot be written; nothing may be computed.
            LedgerRolledBack: The ledger cannot be trusted.
        """
        return self._enter(
            EntryKind.SPENT,
            curve,
            run=run,
            round_number=round_number,
            terms_digest=terms_digest,
            purpose=purpose,
        )

    def close(self) -> None:
        """Close the file."""
        if self._engine is not None:
            self._engine.dispose()

    def _enter(
        self,
        kind: EntryKind,
        curve: RdpCurve,
        *,
        run: RunId,
        round_number: int,
        terms_digest: Digest,
        purpose: Purpose,
    ) -> Spending:
        """Add an entry if all that would then be spent or set aside stays within the limits."""
        self._check()
        with self._lock:
            entries = self._all()
            entry = BudgetEntry(
                number=len(entries),
                kind=kind.value,
                purpose=purpose.value,
                run=run,
                round_number=round_number,
                curve=json.dumps(curve.values),
                terms_digest=terms_digest,
                spent_at=self._now(entries),
                previous=entries[-1].head if entries else GENESIS,
                head="",
            )
            passed = self._passed([*entries, entry], purpose)
            if passed is not None:
                raise BudgetExhausted(
                    f"round {round_number} of {run} would pass {passed}: wait for the period to end"
                )
            entry.head = _head(entry)
            try:
                with Session(self._engine, expire_on_commit=False) as session:
                    session.add(entry)
                    session.commit()
            except SQLAlchemyError as error:
                raise BudgetExhausted(
                    f"the spending cannot be written: {type(error).__name__}"
                ) from error
            self._known = (entry.number, entry.head)
        return Spending(
            number=entry.number, head=Digest(entry.head), epsilon_after=self.epsilon_spent()
        )

    def _held(
        self,
        entries: Sequence[BudgetEntry],
        run: RunId | None = None,
        more: RdpCurve | None = None,
        *,
        now: float,
    ) -> RdpCurve:
        """Return what is spent or set aside in the period: of each run the larger of the two.

        `more` is a spending of `run` that is thought of and not yet entered.
        """
        spent: dict[str, RdpCurve] = {} if run is None or more is None else {run: more}
        reserved: dict[str, RdpCurve] = {}
        for entry in entries:
            if entry.kind == EntryKind.SPENT and entry.spent_at > now - self._limits.period_s:
                spent[entry.run] = spent.get(entry.run, NOTHING_SPENT) + _curve(entry)
            elif entry.kind == EntryKind.RESERVED and entry.spent_at > now - RESERVED_S:
                reserved[entry.run] = _curve(entry)
        runs = {*spent, *reserved}
        return sum(
            (_larger(spent.get(r, NOTHING_SPENT), reserved.get(r, NOTHING_SPENT)) for r in runs),
            start=NOTHING_SPENT,
        )

    def _passed(
        self,
        entries: Sequence[BudgetEntry],
        purpose: Purpose,
        run: RunId | None = None,
        more: RdpCurve | None = None,
    ) -> str | None:
        """Return which limit these entries and `more` pass: the whole, or the purpose's cap."""
        delta, now = self._limits.delta, self._now(entries)
        held = self._held(entries, run, more, now=now)
        if not within(held, epsilon=self._limits.epsilon, delta=delta):
            return f"the node's privacy budget (epsilon {self._limits.epsilon:g} for all purposes)"
        cap = self._limits.caps.get(purpose)
        if cap is None:
            return None
        mine = [entry for entry in entries if entry.purpose == purpose]
        if not within(self._held(mine, run, more, now=now), epsilon=cap, delta=delta):
            return f"the node's cap for the purpose {purpose.value} (epsilon {cap:g})"
        return None

    def _now(self, entries: Sequence[BudgetEntry]) -> float:
        """Return the time, never before that of the last entry."""
        return max(self._clock(), entries[-1].spent_at) if entries else self._clock()

    def _all(self) -> list[BudgetEntry]:
        known = self._known  # before reading: another thread may add an entry meanwhile
        entries = self._read(select(BudgetEntry).order_by(col(BudgetEntry.number)))
        self._contain(entries, known)
        return entries

    def _contain(self, entries: Sequence[BudgetEntry], known: tuple[int, str] | None) -> None:
        """Raise, and spend no more, unless the entry that this process knows is among them."""
        if known is not None and known not in ((entry.number, entry.head) for entry in entries):
            self._fault = (
                "the budget ledger was put back to an earlier state while it was open: "
                "restore the newest ledger; until then no training"
            )
            raise LedgerRolledBack(self._fault)

    def _read(self, query: SelectOfScalar[BudgetEntry]) -> list[BudgetEntry]:
        if self._engine is None:
            raise LedgerRolledBack(self._fault)
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                return list(session.exec(query))
        except SQLAlchemyError as error:
            self._fault = str(_unreadable(error))
            raise _unreadable(error) from error

    def _check(self) -> None:
        if self._fault is not None:
            raise LedgerRolledBack(self._fault)


def _unreadable(error: Exception) -> LedgerRolledBack:
    return LedgerRolledBack(
        f"the budget ledger cannot be read ({type(error).__name__}): "
        "restore the newest ledger; until then no training"
    )


def _larger(one: RdpCurve, other: RdpCurve) -> RdpCurve:
    """Return the larger at each order."""
    return RdpCurve(values=tuple(map(max, one.values, other.values)))


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
