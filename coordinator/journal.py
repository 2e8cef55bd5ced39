"""What happened in each run and round, as it is told to people and survives a crash.

States are closed sets and every run ends in a final one: a run that was in progress when the
service died is marked failed when it starts again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from coordinator.aggregation import Weights
from coordinator.errors import RunUnknown
from coordinator.tables import EvaluationRow, RoundRow, RunRow
from models.private_counts import ALL_ROWS
from models.update import weights_bytes, weights_digest
from policies.clock import Clock
from policies.vocabulary import Digest, NodeId, RunId


class RunState(StrEnum):
    """Where a run is; the last three are final."""

    ENROLLING = "enrolling"  # nodes test their cohort floor once
    RUNNING = "running"  # rounds are under way
    COMPLETED = "completed"  # all rounds were held, or it ended early, and at least one counted
    STOPPED = "stopped"  # a person stopped it
    FAILED = "failed"  # it could not go on; the detail says why

    @property
    def final(self) -> bool:
        """Return whether a run stays in this state."""
        return self in (RunState.COMPLETED, RunState.STOPPED, RunState.FAILED)


class RoundState(StrEnum):
    """How a round ended."""

    AGGREGATED = "aggregated"  # enough updates counted
    DISCARDED = "discarded"  # too few did; the weights stay as they were


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One ended round. `rejected` counts replies by reason; `weights` None when discarded."""

    number: int
    state: RoundState
    seconds: float
    replies: int
    rejected: Mapping[str, int]
    weights: Weights | None = None

    @property
    def weights_digest(self) -> Digest | None:
        """Return the digest of the aggregate."""
        return None if self.weights is None else weights_digest(self.weights)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationRecord:
    """One ended evaluation of what the run would have released after `after_round`.

    `table` is the sum `(group, row, label)` of the nodes' noisy tables, None when too few came.
    """

    number: int
    after_round: int
    state: RoundState
    seconds: float
    replies: int
    rejected: Mapping[str, int]
    table: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as it stands."""

    run: RunId
    plan_digest: Digest
    state: RunState
    detail: str
    cohort: tuple[NodeId, ...]
    started_at: float
    ended_at: float | None


class Journal:
    """Write and read the story of runs."""

    def __init__(self, engine: Engine, *, clock: Clock) -> None:
        self._engine, self._clock = engine, clock

    def open_run(self, run: RunId, plan_digest: Digest) -> None:
        """Record that a run begins."""
        row = RunRow(
            run=run, plan_digest=plan_digest, state=RunState.ENROLLING, started_at=self._clock()
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()

    def begin_rounds(self, run: RunId, cohort: Iterable[NodeId]) -> None:
        """Record which nodes are ready."""
        with Session(self._engine) as session:
            row = _run_row(session, run)
            row.state, row.cohort = RunState.RUNNING, json.dumps(sorted(cohort))
            session.add(row)
            session.commit()

    def close_round(self, run: RunId, record: RoundRecord) -> None:
        """Record an ended round; an entry is never changed."""
        row = RoundRow(
            run=run,
            number=record.number,
            state=record.state,
            seconds=record.seconds,
            replies=record.replies,
            rejected=json.dumps(dict(record.rejected), sort_keys=True),
            weights=None if record.weights is None else weights_bytes(record.weights),
            weights_digest=record.weights_digest,
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()

    def close_evaluation(self, run: RunId, record: EvaluationRecord) -> None:
        """Record an ended evaluation; an entry is never changed."""
        row = EvaluationRow(
            run=run,
            number=record.number,
            after_round=record.after_round,
            state=record.state,
            seconds=record.seconds,
            replies=record.replies,
            rejected=json.dumps(dict(record.rejected), sort_keys=True),
            tables=None if record.table is None else record.table.astype("<f8").tobytes(),
        )
        with Session(self._engine) as session:
            session.add(row)
            session.commit()

    def evaluations(self, run: RunId, *, labels: int) -> tuple[EvaluationRecord, ...]:
        """Return a run's ended evaluations in order, of a plan with so many labels."""
        with Session(self._engine) as session:
            rows = session.exec(
                select(EvaluationRow)
                .where(EvaluationRow.run == run)
                .order_by(col(EvaluationRow.number))
            ).all()
            return tuple(_evaluation_record(row, labels) for row in rows)

    def close_run(self, run: RunId, state: RunState, detail: str = "") -> None:
        """Record a final state; the first one stands."""
        with Session(self._engine) as session:
            row = _run_row(session, run)
            if not RunState(row.state).final:
                row.state, row.detail, row.ended_at = state, detail, self._clock()
                session.add(row)
                session.commit()

    def unfinished(self) -> tuple[RunId, ...]:
        """Return the runs that are in no final state."""
        return tuple(r.run for r in self.runs() if not r.state.final)

    def run(self, run: RunId) -> RunRecord:
        """Return one run.

        Raises:
            RunUnknown: There is none of that name.
        """
        with Session(self._engine) as session:
            return _run_record(_run_row(session, run))

    def runs(self) -> tuple[RunRecord, ...]:
        """Return all runs, oldest first."""
        with Session(self._engine) as session:
            rows = session.exec(select(RunRow).order_by(col(RunRow.started_at))).all()
            return tuple(_run_record(row) for row in rows)

    def rounds(self, run: RunId, *, shape: tuple[int, int]) -> tuple[RoundRecord, ...]:
        """Return a run's ended rounds in order, with aggregates of that shape."""
        with Session(self._engine) as session:
            rows = session.exec(
                select(RoundRow).where(RoundRow.run == run).order_by(col(RoundRow.number))
            ).all()
            return tuple(_round_record(row, shape) for row in rows)


def aggregates(rounds: Sequence[RoundRecord]) -> list[Weights]:
    """Return the aggregates of the rounds that counted, in order."""
    return [record.weights for record in rounds if record.weights is not None]


def _run_row(session: Session, run: RunId) -> RunRow:
    row = session.get(RunRow, run)
    if row is None:
        raise RunUnknown(f"there is no run {run}")
    return row


def _run_record(row: RunRow) -> RunRecord:
    return RunRecord(
        run=RunId(row.run),
        plan_digest=Digest(row.plan_digest),
        state=RunState(row.state),
        detail=row.detail,
        cohort=tuple(NodeId(node) for node in json.loads(row.cohort)),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def _round_record(row: RoundRow, shape: tuple[int, int]) -> RoundRecord:
    weights = None
    if row.weights is not None:
        weights = np.frombuffer(row.weights, dtype="<f4").reshape(shape)
    return RoundRecord(
        number=row.number,
        state=RoundState(row.state),
        seconds=row.seconds,
        replies=row.replies,
        rejected=json.loads(row.rejected),
        weights=weights,
    )


def _evaluation_record(row: EvaluationRow, labels: int) -> EvaluationRecord:
    table = None
    if row.tables is not None:
        table = np.frombuffer(row.tables, dtype="<f8").reshape(-1, ALL_ROWS, labels)
    return EvaluationRecord(
        number=row.number,
        after_round=row.after_round,
        state=RoundState(row.state),
        seconds=row.seconds,
        replies=row.replies,
        rejected=json.loads(row.rejected),
        table=table,
    )
