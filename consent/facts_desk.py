"""The facts of one decision, for a named request: asked of who decided, shown once, not kept.

An officer or DPO says why they ask, and by which reference. 1. that is logged; 2. the ask goes to
the branch with its standing, as people's requests do; 3. the branch answers, under its own gate's
permit, with an entry of its log that commits to the answer; 4. what it says is held against the
digests of the decision's own leaf; 5. that it is shown is logged, with whom and for which request,
and then it is shown, once, to who asked. Asks and answers are in memory alone: an answer is gone
when it was shown, when it waited for `KEPT_S`, or when the service stops.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE, considered
from audit.events import Event, EventKind, Value
from audit.gate import Gate
from audit.keys import LogKeys, VerifyKey
from audit.leaf import decode_leaf
from audit.log import EvidenceLog
from audit.portal.branch_index import BranchIndex
from audit.portal.decision_index import Found
from consent.bell import Bell
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.rights_nodes import NodeTasks, shown_entry
from consent.tables import NodeRow
from policies.canonical import digest
from policies.clock import Clock
from policies.decision import UseRequest
from policies.permit import Permit
from policies.standing import Governance, Standing
from policies.vocabulary import Action, NodeId, Purpose, SubjectId

FACTS = "facts"
"""The task, and the word in both logs."""

KEPT_S, WAITS_S = 3600.0, 86_400.0
"""How long an answer waits to be looked at, and an ask for its answer."""

MOST_OPEN = 20
"""Asks that one person may have open."""


class Why(StrEnum):
    """Why facts may be asked for: a closed set, for it is logged."""

    AUTHORITY = "authority"
    PERSON = "person"
    REVIEW = "review"
    INCIDENT = "incident"


@dataclass(slots=True, kw_only=True)
class Ask:
    """One ask; `outcome` and `report` once it was answered, `report` None again once it is gone."""

    ask: str
    found: Found
    why: Why
    reference: str
    by: str
    asked_at: float
    outcome: str | None = None
    answered_at: float | None = None
    shown_at: float | None = None
    report: Mapping[str, Any] | None = None


class FactsDesk:
    """Asks, takes answers in, and shows each once; thread-safe."""

    def __init__(
        self,
        *,
        log: EvidenceLog,
        index: BranchIndex,
        bell: Bell,
        keys_of: Callable[[VerifyKey], LogKeys],
        gate: Gate,
        standing: Callable[[Found, SubjectId], Standing | None],
        governance: Callable[[], Governance],
        clock: Clock,
    ) -> None:
        """Join the parts; gate, standing and governance are for decisions of this service's own."""
        self._log, self._index, self._bell, self._clock = log, index, bell, clock
        self._keys_of = keys_of
        self._gate, self._standing, self._governance = gate, standing, governance
        self._lock = threading.RLock()
        self._asks: dict[str, Ask] = {}
        self._told: set[str] = set()

    def ask(self, found: Found, why: Why, reference: str, *, by: str) -> Ask:
        """Ask for the facts of a decision; our own are opened at once.

        Raises:
            Conflict: It is a batch, or this person has too many asks open.
            EvidenceUnavailable, PolicyUnavailable: It could not be logged or opened.
        """
        if found.batch:
            raise Conflict("a batch considered nobody alone: ask for a decision about one person")
        made = Ask(
            ask=secrets.token_hex(16),
            found=found,
            why=why,
            reference=reference,
            by=by,
            asked_at=self._clock(),
        )
        with self._lock:
            self._expire()
            if sum(one.by == by for one in self._asks.values()) >= MOST_OPEN:
                raise Conflict(f"{MOST_OPEN} asks of yours are open: look at those first")
            self._record(made, "asked")  # 1
            self._asks[made.ask] = made
        if not found.log:
            self._open_own(made)
        self._bell.ring(None)  # 2
        return made

    def of(self, ask: str, *, by: str) -> Ask:
        """Return an ask of this person's.

        Raises:
            NotFound: There is none, it is over, or it is somebody else's.
        """
        with self._lock:
            self._expire()
            made = self._asks.get(ask)
        if made is None or made.by != by:
            raise NotFound(
                "no such question of yours is open: it was shown, took too long, or the service "
                "began anew; ask again at the decision"
            )
        return made

    def open_of(self, found: Found, *, by: str) -> Ask | None:
        """Return this person's open ask about a decision."""
        with self._lock:
            self._expire()
            mine = [a for a in self._asks.values() if a.by == by and a.shown_at is None]
        same = (found.decision_id, found.log)
        return next((a for a in mine if (a.found.decision_id, a.found.log) == same), None)

    def show(self, ask: str, *, by: str) -> tuple[Ask, Mapping[str, Any]]:
        """Return an answer, once: it is logged that it is shown, and then it is gone.

        Raises:
            NotFound: As for `of`.
            Conflict: It was not answered yet, or was shown.
            EvidenceUnavailable: It could not be logged; nothing is shown.
        """
        with self._lock:
            made = self.of(ask, by=by)
            if made.report is None:
                raise Conflict("there is nothing to show: not answered yet, or shown before")
            self._record(made, "shown")  # 5
            report, made.report, made.shown_at = made.report, None, self._clock()
        return made, report

    # -- the branches' side -------------------------------------------------------------

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered, to go out with its standing."""
        waiting = self._waiting(node)
        self._told |= {one.ask for one in waiting}
        return [
            {
                "request": one.ask,
                "right": FACTS,
                "subject": "",
                "about": {"decision": one.found.decision_id, "entry": one.found.idx},
            }
            for one in waiting
        ]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is an ask that the node has not heard of yet."""
        return any(one.ask not in self._told for one in self._waiting(node))

    def knows(self, ask: str) -> bool:
        """Return whether an ask is open here."""
        with self._lock:
            return ask in self._asks

    def receive(self, node: NodeRow, ask: str, said: Mapping[str, Any]) -> None:
        """Take a branch's answer.

        Raises:
            NotFound: It was not asked of this node.
            Conflict: It has answered.
            RequestInvalid: Its log does not show the answer, or these are not the facts of the
                decision.
        """
        with self._lock:
            made = self._asks.get(ask)
            if made is None or made.found.log != node.node:
                raise NotFound("no such request")
            if made.outcome is not None:
                raise Conflict("it was answered")
            report, fields = dict(said["report"]), shown_entry(node, said, self._keys_of)  # 3
            told = {"request": ask, "right": FACTS, "digest": digest(report)}
            if any(fields.get(name) != value for name, value in told.items()):
                raise RequestInvalid("the log entry is not of this request and this report")
            outcome = str(fields["outcome"])
            self._check_facts(made, outcome, report)  # 4
            self._answer(made, outcome, report)

    def _check_facts(self, made: Ask, outcome: str, report: Mapping[str, Any]) -> None:
        """Return if the facts are those that the decision's leaf has digests of."""
        if outcome == NOTHING_HERE:
            return
        facts, rules = report.get("facts"), report.get("kept_shut_by", [])
        whole = isinstance(facts, dict) and {"request", "standing", "governance"} <= set(facts)
        worded = isinstance(rules, list) and all(isinstance(rule, str) for rule in rules)
        if not (whole and worded and outcome in {COMPLETE, KEPT_SHUT}):
            raise RequestInvalid("the answer holds no facts")
        if outcome == KEPT_SHUT:
            return
        leaf = decode_leaf(self._index.leaf(made.found.log, made.found.idx))[0].fields
        asked, standing = report["facts"]["request"], report["facts"]["standing"]
        if digest(asked) != leaf["request_digest"]:
            raise RequestInvalid("these are not the facts that the decision considered")
        if standing is not None and digest(standing) != leaf["standing_digest"]:
            raise RequestInvalid("this is not the standing that the decision considered")

    def _waiting(self, node: NodeRow) -> list[Ask]:
        with self._lock:
            if not self._asks:
                return []
            self._expire()
            return [
                one
                for one in self._asks.values()
                if one.found.log == node.node and one.outcome is None
            ]

    def _open_own(self, made: Ask) -> None:
        found = made.found

        def permit_for(subject: SubjectId) -> Permit:
            request = UseRequest(
                node=NodeId(found.node),
                action=Action.INFER,
                purpose=Purpose.SERVICE,
                subject=subject,
            )
            return self._gate.open(request, self._standing(found, subject), self._governance())

        self._answer(made, *considered(self._log, found.idx, found.decision_id, permit_for))

    def _answer(self, made: Ask, outcome: str, report: Mapping[str, Any]) -> None:
        made.outcome, made.answered_at = outcome, self._clock()
        made.report = report if outcome != NOTHING_HERE else {"why": str(report.get("why", ""))}

    def _expire(self) -> None:
        """Forget what was shown, what waited too long to be looked at, or for an answer."""
        now = self._clock()
        for one in list(self._asks.values()):
            since = one.answered_at or one.asked_at
            late = now - since > (WAITS_S if one.answered_at is None else KEPT_S)
            if late or one.shown_at is not None:
                one.report = None
                del self._asks[one.ask]
                self._told.discard(one.ask)

    def _record(self, made: Ask, step: str) -> None:
        fields: dict[str, Value] = {
            "request": made.ask,
            "right": FACTS,
            "step": step,
            "by": made.by,
            "node": made.found.node,
            "reason": made.why.value,
            "evidence": made.reference,
            "decision": made.found.decision_id,
        }
        self._log.append(Event(kind=EventKind.REQUEST_STEP, at=self._clock(), fields=fields))


class AllTasks:
    """Everything that nodes are asked with their standing: people's requests, then facts."""

    def __init__(self, requests: NodeTasks, facts: FactsDesk) -> None:
        self._parts = (requests, facts)

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered."""
        return [task for part in self._parts for task in part.tasks(node)]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is a task that the node has not heard of yet."""
        return any(part.has_news(node) for part in self._parts)
