"""What the centre has set aside of each person's privacy, before it asks for anything.

Nodes hold the ledgers that bind (they know what was computed). The centre reserves so that
it never publishes terms that honest nodes would have to refuse, and so that a crash leaves a
record: a whole run's (epsilon, delta) before its first terms, then one of its rounds before
each. A reservation is durable before the caller goes on, and is never given back: a retried
round counts again.

Runs are added up by basic composition, which also holds when a later plan depends on earlier
results (Rogers et al. 2016, section 3), and needs no RDP curve here: the curve of a run is
inside its epsilon.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session, col, func, select

from coordinator.errors import BudgetRefused
from coordinator.tables import ReservationRow
from policies.clock import Clock
from policies.terms import Plan
from policies.vocabulary import RunId

WHOLE_RUN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What all runs together have reserved, for a person at a node."""

    epsilon: float
    delta: float


class CentralLedger:
    """Reserve, durably, and refuse before anything is asked."""

    def __init__(
        self, engine: Engine, *, epsilon_ceiling: float, delta_ceiling: float, clock: Clock
    ) -> None:
        self._engine, self._clock = engine, clock
        self._ceiling = Spent(epsilon=epsilon_ceiling, delta=delta_ceiling)
        self._lock = threading.Lock()

    @property
    def ceiling(self) -> Spent:
        """What all runs together may reserve."""
        return self._ceiling

    def spent(self) -> Spent:
        """Return the sum over all runs."""
        with Session(self._engine) as session:
            return _spent(session)

    def reserve_run(self, run: RunId, plan: Plan) -> Spent:
        """Set aside the whole run and return the new sum.

        Raises:
            BudgetRefused: The sum would pass the ceiling.
        """
        with self._lock, Session(self._engine) as session:
            before = _spent(session)
            after = Spent(epsilon=before.epsilon + plan.epsilon, delta=before.delta + plan.delta)
            if after.epsilon > self._ceiling.epsilon or after.delta > self._ceiling.delta:
                raise BudgetRefused(
                    f"run {run} needs epsilon {plan.epsilon:g}, delta {plan.delta:g}; of "
                    f"{self._ceiling.epsilon:g}, {self._ceiling.delta:g} there are "
                    f"{before.epsilon:g}, {before.delta:g} reserved: "
                    "wait for the period to end, or have the ceiling raised"
                )
            self._write(session, run, WHOLE_RUN, plan.epsilon, plan.delta)
            return after

    def reserve_round(self, run: RunId, number: int, plan: Plan) -> None:
        """Set aside one more round of a reserved run.

        Raises:
            BudgetRefused: The run is not reserved, or has used all its rounds, retries too.
        """
        with self._lock, Session(self._engine) as session:
            rows = session.exec(select(ReservationRow).where(ReservationRow.run == run)).all()
            used = sum(row.round_number > WHOLE_RUN for row in rows)
            if not _begun(rows) or used >= plan.rounds:
                raise BudgetRefused(
                    f"run {run} has reserved {used} of {plan.rounds} rounds; "
                    f"round {number} is not covered"
                )
            self._write(session, run, number, 0.0, 0.0)

    def reserve_evaluation(self, run: RunId, number: int, plan: Plan) -> None:
        """Set aside one more evaluation of a reserved run; it is kept as minus its number.

        Raises:
            BudgetRefused: The run is not reserved, or has used all its evaluations.
        """
        with self._lock, Session(self._engine) as session:
            rows = session.exec(select(ReservationRow).where(ReservationRow.run == run)).all()
            used = sum(row.round_number < WHOLE_RUN for row in rows)
            if not _begun(rows) or used >= plan.evaluations:
                raise BudgetRefused(
                    f"run {run} has reserved {used} of {plan.evaluations} evaluations; "
                    f"evaluation {number} is not covered"
                )
            self._write(session, run, -number, 0.0, 0.0)

    def _write(
        self, session: Session, run: RunId, number: int, epsilon: float, delta: float
    ) -> None:
        session.add(
            ReservationRow(
                run=run,
                round_number=number,
                epsilon=epsilon,
                delta=delta,
                reserved_at=self._clock(),
            )
        )
        session.commit()


def _begun(rows: Iterable[ReservationRow]) -> bool:
    return any(row.round_number == WHOLE_RUN for row in rows)


def _spent(session: Session) -> Spent:
    total = select(
        func.coalesce(func.sum(col(ReservationRow.epsilon)), 0.0),
        func.coalesce(func.sum(col(ReservationRow.delta)), 0.0),
    )
    epsilon, delta = session.exec(total).one()
    return Spent(epsilon=float(epsilon), delta=float(delta))
