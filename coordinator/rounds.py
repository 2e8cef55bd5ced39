"""A federated run, from the first reservation to its last round: the tour of the centre.

    permitted?     the rules let the organisation train and release: before 0 and each round
    0. enrol       nodes test their cohort floor once; who is ready is the cohort
    then, for each round of the plan:
    1. reserve     one round of the run's budget, durably, before anything is asked
    2. publish     the terms and weights, signed, and their digest in the log
    3. exchange    nodes answer at the deadline; who is late is absent
    4. check       signature, terms digest, shape, finiteness, once a node
    5. aggregate   the uniform mean, or discard the round when too few count
    6. record      the round in the log and the journal, whatever its end
    7. measure     at the start and after some rounds, if the plan says so; it may end the run

A release is made by hand, later (`coordinator.release`). Nothing here knows Flower, HTTP or
time: those are arguments, so a whole run is played in memory in milliseconds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from audit.events import Event, EventKind, Value
from audit.signing import SigningKey, VerifyKey
from coordinator.aggregation import Weights, average
from coordinator.announce import announce_enrolment, announce_terms
from coordinator.budget_ledger import CentralLedger
from coordinator.cohort import Cohort, enrol
from coordinator.courier import Courier
from coordinator.errors import RunStopped
from coordinator.evaluation import Measurements
from coordinator.journal import Journal, RoundRecord, RoundState, RunState
from coordinator.replies import Checked, check_replies
from policies.clock import Clock
from policies.errors import Refused, UndertoneError
from policies.terms import Plan
from policies.vocabulary import Digest, NodeId, ReleaseId, RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is fixed before a run starts."""

    run: RunId
    plan: Plan
    plan_digest: Digest
    fab_digest: Digest
    base_release: ReleaseId
    start: Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """What a run works with.

    `record` appends to the log, durably; `stop` is set by a person; `permitted` raises Refused
    when the rules do not let the run go on.
    """

    courier: Courier
    ledger: CentralLedger
    journal: Journal
    key: SigningKey
    record: Callable[[Event], object]
    clock: Clock
    permitted: Callable[[], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        """Return if neither a person nor the rules stopped the run.

        Raises:
            RunStopped: A person did.
            Refused: The rules did.
        """
        if self.stop.is_set():
            raise RunStopped("stopped between rounds")
        self.permitted()


def hold_run(centre: Centre, run: Run, nodes: Mapping[NodeId, VerifyKey]) -> RunState:
    """Hold a reserved run with these nodes and return its final state.

    Raises:
        EvidenceUnavailable: The end could not be logged; the journal has it all the same.
    """
    state, detail = RunState.FAILED, "the coordinator failed; see its own log"
    try:
        cohort = _enrol(centre, run, nodes)  # 0
        centre.journal.begin_rounds(run.run, cohort)
        state, detail = _hold_rounds(centre, run, cohort)  # 1 to 7
    except RunStopped as error:
        state, detail = RunState.STOPPED, str(error)
    except Refused as error:
        state, detail = RunState.STOPPED, refusal_line(error)
    except UndertoneError as error:
        state, detail = RunState.FAILED, str(error)
    finally:
        close_run(centre, run.run, state, detail)
    return state


def _hold_rounds(centre: Centre, run: Run, cohort: Cohort) -> tuple[RunState, str]:
    """Hold the run's rounds and evaluations; return its final state and why, in one line."""
    made: list[Weights] = []
    held, measured = 0, Measurements(centre, run, cohort)
    early = measured.measure(made, after_round=0)  # 7
    while held < run.plan.rounds and not early:
        held += 1
        centre.go_on()
        closed = hold_round(centre, run, held, made[-1] if made else run.start, cohort)
        if closed.weights is not None:
            made.append(closed.weights)
        early = measured.measure(made, after_round=held)  # 7
    if not made and run.plan.rounds:
        return RunState.FAILED, "no round had enough updates"
    if not made and not measured.counted:
        return RunState.FAILED, "no evaluation had enough tables"
    detail = f"{len(made)} of {run.plan.rounds} rounds counted{measured.summary}"
    return RunState.COMPLETED, detail


def hold_round(
    centre: Centre, run: Run, number: int, weights: Weights, cohort: Cohort
) -> RoundRecord:
    """Hold one round and return how it ended.

    Raises:
        BudgetRefused: The ledger does not cover it; nothing was asked.
        RunStopped: A person stopped the run; the round counts as spent.
        EvidenceUnavailable: The log cannot record.
    """
    started_at = centre.clock()
    centre.ledger.reserve_round(run.run, number, run.plan)  # 1
    terms, digest, envelope = announce_terms(  # 2
        run, number, weights, key=centre.key, now=centre.clock()
    )
    published: dict[str, Value] = {"run": run.run, "round": number, "terms_digest": digest}
    centre.record(Event(kind=EventKind.TERMS_PUBLISHED, at=centre.clock(), fields=published))
    try:
        replies = centre.courier.exchange(  # 3
            dict.fromkeys(cohort, envelope), deadline_s=run.plan.deadline_s
        )
    except RunStopped:
        _record_round(centre, run.run, _discarded(number, seconds=centre.clock() - started_at))
        raise
    checked = check_replies(replies, cohort=cohort, terms=terms, terms_digest=digest)  # 4
    closed = _close(run.plan, number, checked, seconds=centre.clock() - started_at)  # 5
    _record_round(centre, run.run, closed)  # 6
    return closed


def close_run(centre: Centre, run: RunId, state: RunState, detail: str) -> None:
    """Bring a run to its final state, in the journal first: it must not depend on the log."""
    centre.journal.close_run(run, state, detail)
    fields: dict[str, Value] = {"run": run, "state": state.value}
    centre.record(Event(kind=EventKind.RUN_ENDED, at=centre.clock(), fields=fields))


def _enrol(centre: Centre, run: Run, nodes: Mapping[NodeId, VerifyKey]) -> Cohort:
    centre.go_on()
    digest, envelope = announce_enrolment(run, run.start, key=centre.key, now=centre.clock())
    replies = centre.courier.exchange(
        dict.fromkeys(nodes, envelope), deadline_s=run.plan.deadline_s
    )
    return enrol(replies, nodes=nodes, terms_digest=digest, minimum=run.plan.minimum_nodes)


def _close(plan: Plan, number: int, checked: Checked, *, seconds: float) -> RoundRecord:
    enough = len(checked.updates) >= plan.minimum_nodes
    return RoundRecord(
        number=number,
        state=RoundState.AGGREGATED if enough else RoundState.DISCARDED,
        seconds=seconds,
        replies=len(checked.updates),
        rejected=Counter(reason.value for reason in checked.rejected.values()),
        weights=average(list(checked.updates.values())) if enough else None,
    )


def _discarded(number: int, *, seconds: float) -> RoundRecord:
    return RoundRecord(
        number=number, state=RoundState.DISCARDED, seconds=seconds, replies=0, rejected={}
    )


def _record_round(centre: Centre, run: RunId, closed: RoundRecord) -> None:
    fields: dict[str, Value] = {
        "run": run,
        "round": closed.number,
        "state": closed.state.value,
        "replies": closed.replies,
        "weights_digest": closed.weights_digest,
    }
    centre.record(Event(kind=EventKind.ROUND_CLOSED, at=centre.clock(), fields=fields))
    centre.journal.close_round(run, closed)


def refusal_line(refusal: Refused) -> str:
    """Return the rules that refused, each with its reason, as one line."""
    decision = refusal.decision
    reasons = zip(decision.rules, decision.reasons, strict=True)
    return "; ".join(f"{rule}: {reason}" for rule, reason in reasons)
