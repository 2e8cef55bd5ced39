"""The run in progress: started within budget and rules, on a thread of its own, one at a time.

Not here: what a round is (`coordinator.rounds`), what becomes of a run (`coordinator.publishing`).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from audit.errors import AuditError
from audit.events import Event, EventKind, Value
from coordinator.courier import CourierQueue
from coordinator.delivery import Delivery
from coordinator.errors import CoordinatorError, RunConflict, RunStopped
from coordinator.federation import fab_digest
from coordinator.journal import Journal, RunRecord, RunState
from coordinator.permission import Permission
from coordinator.plan import Preview
from coordinator.publishing import Publisher
from coordinator.registry import Published, Registry
from coordinator.release import starting_weights
from coordinator.rounds import Centre, Run, close_run, hold_run, refusal_line
from policies.errors import Refused
from policies.vocabulary import Digest, NodeId, ReleaseId, RunId

STOP_S = 20.0
"""How long a run gets to end when it is told to."""

CentreOf = Callable[[threading.Event, Callable[[], None]], Centre]
"""Makes what a run's rounds work with, of what stops it and what asks the rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Active:
    """The run in progress; `permitted` raises Refused when the rules do not let it go on."""

    run: RunId
    stop: threading.Event
    thread: threading.Thread
    permitted: Callable[[], None]


class Running:
    """Starts, stops and ends the one run."""

    def __init__(
        self,
        *,
        registry: Registry,
        journal: Journal,
        queue: CourierQueue,
        delivery: Delivery,
        permission: Permission,
        publisher: Publisher,
        centre: CentreOf,
        online: Callable[[], frozenset[NodeId]],
    ) -> None:
        self._registry, self._journal = registry, journal
        self._queue, self._delivery = queue, delivery
        self._permission, self._publisher = permission, publisher
        self._centre, self._online = centre, online
        self._lock = threading.Lock()
        self._active: _Active | None = None
        self._closing = False

    @property
    def busy(self) -> bool:
        """Whether a run is in progress."""
        return self._active is not None and self._active.thread.is_alive()

    def start(
        self, plan_digest: Digest, *, approved_by: str, release: ReleaseId | None = None
    ) -> RunId:
        """Reserve the run's budget and start it at a release, or the newest; returns at once.

        Raises:
            ReleaseUnknown: There is no release of that name.
            ReleaseRejected: The release that was named, or is to be evaluated, does not fit.
            PlanUnknown: The plan was not accepted.
            RunConflict: Another run is in progress.
            BudgetRefused: The ceiling does not cover it.
            Refused: The rules do not let the organisation train and release now.
        """
        found = self._registry.plan(plan_digest)
        with self._lock:
            if self._active is not None and self.busy:
                raise RunConflict(f"run {self._active.run} is in progress: stop it, or wait")
            run = RunId(f"run-{secrets.token_hex(4)}")
            permitted = partial(self._permission.check_run, run, approved_by=approved_by)
            permitted()
            base = self._publisher.base_of(found.plan, approved_by, release)
            stop = threading.Event()
            centre = self._centre(stop, permitted)
            started = _started(run, found, base, approved_by, at=centre.clock())
            centre.ledger.reserve_run(run, found.plan)
            self._journal.open_run(run, plan_digest)
            for event in started:
                centre.record(event)
            thread = threading.Thread(
                target=self._hold, args=(run, found, base, centre), name=run, daemon=True
            )
            self._active = _Active(run=run, stop=stop, thread=thread, permitted=permitted)
            thread.start()
            return run

    def stop(self, run: RunId) -> RunRecord:
        """Stop a run between or within rounds; a final state stays as it is.

        Raises:
            RunUnknown: There is none of that name.
        """
        record = self._journal.run(run)
        active = self._active
        if active is not None and active.run == run and not record.state.final:
            active.stop.set()
            self._queue.cancel()
            active.thread.join(STOP_S)
        return self._journal.run(run)

    def heed_rules(self) -> None:
        """End the exchange at hand when the rules stop the run: a round may be long."""
        if self._active is None or not self.busy:
            return
        try:
            self._active.permitted()
        except Refused as refusal:
            self._queue.cancel(refusal_line(refusal))

    def close_unfinished(self) -> None:
        """Mark what a crash left open as failed."""
        for run in self._journal.unfinished():
            centre = self._centre(threading.Event(), lambda: None)  # only to close
            close_run(centre, run, RunState.FAILED, "the coordinator ended during the run")

    def close(self) -> None:
        """Tell the run to end and wait for it; the queue is closed with it."""
        self._closing = True
        active = self._active
        if active is not None:
            active.stop.set()
        self._queue.close()
        if active is not None:
            active.thread.join(STOP_S)

    def _hold(self, run: RunId, found: Preview, base: Published, centre: Centre) -> None:
        try:
            self._delivery.catch_up(patient=False)
            online = self._online()
            nodes = {n: x.key for n, x in self._registry.nodes().items() if n in online}
            terms = Run(
                run=run,
                plan=found.plan,
                plan_digest=found.digest,
                fab_digest=fab_digest(),
                base_release=base.release,
                start=starting_weights(base, found.plan),
            )
            hold_run(centre, terms, nodes)
        except CoordinatorError as error:
            stopped = centre.stop.is_set() or isinstance(error, RunStopped)
            state = RunState.STOPPED if stopped else RunState.FAILED
            close_run(centre, run, state, str(error))
        except AuditError:
            return  # the log cannot record; the journal has the final state already
        finally:
            if not self._closing:
                self._journal.close_run(run, RunState.FAILED, "the coordinator failed")


def _started(
    run: RunId, found: Preview, base: Published, approved_by: str, *, at: float
) -> tuple[Event, Event]:
    """Return what is recorded when a run starts, made first: an approver is one word."""
    started: dict[str, Value] = {
        "run": run,
        "plan_digest": found.digest,
        "approved_by": approved_by,
        "base_digest": base.digest,
    }
    reserved: dict[str, Value] = {
        "run": run,
        "epsilon": found.plan.epsilon,
        "delta": found.plan.delta,
        "plan_digest": found.digest,
    }
    return (
        Event(kind=EventKind.RUN_STARTED, at=at, fields=started),
        Event(kind=EventKind.BUDGET_RESERVED, at=at, fields=reserved),
    )
