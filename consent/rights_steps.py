"""Takes the steps of requests: each is 1. checked, 2. logged, 3. recorded, then acted on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from audit.events import Event, EventKind, Value
from audit.log import EvidenceLog
from consent.rights import COMPLETE, Case, EvidenceKind, Step, StepKind, after
from consent.rights_store import RightsStore
from consent.rights_tables import RequestRow
from policies.clock import Clock
from policies.vocabulary import NodeId

_LOGGED = ("node", "digest", "reason", "outcome", "method", "evidence", "way")


class Steps:
    """The one writer of requests' steps; whoever does several at once holds `lock`."""

    def __init__(self, *, store: RightsStore, log: EvidenceLog, clock: Clock) -> None:
        self.store, self._log, self.clock = store, log, clock
        self.lock = threading.RLock()

    def open(self, details: Mapping[str, Any], *, by: str, token_hash: str) -> Case:
        """Take the first step of a request. Errors as in `rights.after`."""
        step = Step(kind=StepKind.OPENED, at=self.clock(), by=by, details=details)
        with self.lock:
            case = after(None, step)  # 1
            index = self._log.append(_event(case, step))  # 2
            row = RequestRow(
                request=case.case, subject=case.subject, token_hash=token_hash, is_open=True
            )
            self.store.add(row, step, index)  # 3
        return case

    def take(self, request: str, kind: StepKind, by: str, details: Mapping[str, Any]) -> Case:
        """Take one more step. Errors as in `rights.after`."""
        with self.lock:
            step = Step(kind=kind, at=self.clock(), by=by, details=details)
            case = after(self.store.case(request), step)  # 1
            index = self._log.append(_event(case, step))  # 2
            self.store.add_step(request, step, index)  # 3
            return case

    def evidence(
        self,
        case: Case,
        kind: EvidenceKind,
        *,
        by: str,
        node: NodeId | None = None,
        outcome: str = COMPLETE,
        shown: str | None = None,
        log_index: int | None = None,
    ) -> Case:
        """Record that something was shown; `shown` is its digest."""
        details = {
            "evidence": kind.value,
            "node": node,
            "outcome": outcome,
            "digest": shown,
            "log_index": log_index,
        }
        return self.take(case.case, StepKind.EVIDENCE, by, details)


def _event(case: Case, step: Step) -> Event:
    fields: dict[str, Value] = {
        "request": case.case,
        "right": case.right.value,
        "step": step.kind.value,
        "by": step.by,
    }
    told = step.details
    fields |= {name: str(told[name]) for name in _LOGGED if told.get(name) is not None}
    return Event(kind=EventKind.REQUEST_STEP, at=step.at, fields=fields)
