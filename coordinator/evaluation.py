"""Measure at the nodes what a run would release: asked, added up, kept; and when to end early.

    1. reserve     one evaluation of the run's budget, durably, before anything is asked
    2. publish     terms of their own kind, with the weights, signed, their digest in the log
    3. exchange    nodes answer at the deadline with a table of noisy counts
    4. check       signature, terms digest, shape, finiteness, once a node
    5. add         the sum of the tables, or discard when too few count
    6. record      the evaluation in the log and the journal, whatever its end

All that is decided here comes from the noisy sum alone, and so costs nothing further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit.events import Event, EventKind, Value
from coordinator.aggregation import Weights, candidate
from coordinator.announce import announce_terms
from coordinator.cohort import Cohort
from coordinator.errors import RunStopped
from coordinator.journal import EvaluationRecord, RoundState
from coordinator.replies import Checked, check_replies
from models.private_evaluation import added, figures_of, stalled
from models.update import weights_digest
from policies.terms import Plan, RoundKind
from policies.vocabulary import RunId

if TYPE_CHECKING:
    from coordinator.rounds import Centre, Run


class Measurements:
    """The evaluations of one run as it goes on."""

    def __init__(self, centre: Centre, run: Run, cohort: Cohort) -> None:
        """Begin with none."""
        self._centre, self._run, self._cohort = centre, run, cohort
        self._ended: list[EvaluationRecord] = []
        self._early = False

    @property
    def counted(self) -> int:
        """How many were answered by enough nodes."""
        return len(self._values())

    @property
    def summary(self) -> str:
        """Return how many counted, and whether they ended the run, for its last line."""
        plan = self._run.plan
        if plan.evaluation is None:
            return ""
        told = f", {self.counted} of {plan.evaluations} evaluations"
        if self._early:
            told += f"; ended early: none better in the last {plan.evaluation.patience}"
        return told

    def measure(self, made: Sequence[Weights], *, after_round: int) -> bool:
        """Measure what would be released now, if the plan says so; return whether to end early.

        `made` are the aggregates so far; before the first, the start is measured.
        """
        plan = self._run.plan
        if plan.evaluation is None:
            return False
        if after_round % plan.evaluation.every and after_round != plan.rounds:
            return False
        self._centre.go_on()
        weights = candidate(made) if made else self._run.start
        closed = hold_evaluation(
            self._centre,
            self._run,
            len(self._ended) + 1,
            weights,
            self._cohort,
            after_round=after_round,
        )
        self._ended.append(closed)
        # A discarded evaluation says nothing, neither that it got better nor that it did not.
        self._early = closed.table is not None and stalled(
            self._values(), patience=plan.evaluation.patience
        )
        return self._early

    def _values(self) -> list[float]:
        return [
            figures_of(e.table, self._run.plan, nodes=e.replies).macro_f1.value
            for e in self._ended
            if e.table is not None
        ]


def hold_evaluation(
    centre: Centre, run: Run, number: int, weights: Weights, cohort: Cohort, *, after_round: int
) -> EvaluationRecord:
    """Hold one evaluation and return how it ended.

    Raises:
        BudgetRefused: The ledger does not cover it; nothing was asked.
        RunStopped: A person stopped the run; the evaluation counts as spent.
        EvidenceUnavailable: The log cannot record.
    """
    started_at = centre.clock()
    centre.ledger.reserve_evaluation(run.run, number, run.plan)  # 1
    terms, digest, envelope = announce_terms(  # 2
        run, number, weights, key=centre.key, now=centre.clock(), kind=RoundKind.EVALUATE
    )
    published: dict[str, Value] = {
        "run": run.run,
        "round": number,
        "terms_digest": digest,
        "asks": RoundKind.EVALUATE.value,
    }
    centre.record(Event(kind=EventKind.TERMS_PUBLISHED, at=centre.clock(), fields=published))
    checked, stopped = Checked(), None
    try:
        replies = centre.courier.exchange(  # 3
            dict.fromkeys(cohort, envelope), deadline_s=run.plan.deadline_s
        )
        checked = check_replies(replies, cohort=cohort, terms=terms, terms_digest=digest)  # 4
    except RunStopped as error:
        stopped = error
    closed = _close(  # 5
        run.plan, number, checked, after_round=after_round, seconds=centre.clock() - started_at
    )
    _record(centre, run.run, closed)  # 6
    if stopped is not None:
        raise stopped
    return closed


def _close(
    plan: Plan, number: int, checked: Checked, *, after_round: int, seconds: float
) -> EvaluationRecord:
    enough = len(checked.updates) >= plan.minimum_nodes
    return EvaluationRecord(
        number=number,
        after_round=after_round,
        state=RoundState.AGGREGATED if enough else RoundState.DISCARDED,
        seconds=seconds,
        replies=len(checked.updates),
        rejected=Counter(reason.value for reason in checked.rejected.values()),
        table=added(list(checked.updates.values())) if enough else None,
    )


def _record(centre: Centre, run: RunId, closed: EvaluationRecord) -> None:
    table = closed.table
    fields: dict[str, Value] = {
        "run": run,
        "evaluation": closed.number,
        "state": closed.state.value,
        "replies": closed.replies,
        "table_digest": None
        if table is None
        else weights_digest(table.reshape(-1, table.shape[-1])),
    }
    centre.record(Event(kind=EventKind.EVALUATION_CLOSED, at=centre.clock(), fields=fields))
    centre.journal.close_evaluation(run, closed)
