"""The desk of people's requests: takes them in, puts them in force, asks the nodes, answers.

Each step is 1. checked, 2. logged, 3. recorded, and only then 4. acted on. What a request asks
of nodes goes to them with the standing they fetch anyway (`consent.feed`), again and again
until each has answered; a node that is away answers when it is back. Answers are sealed under a
key of the request alone, and that key is destroyed when the request is closed.

The log and the steps name a request by its id, never the person; the staff by one word.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from audit.errors import AuditError, ErasureHeld, KeyDestroyed
from audit.events import Event, EventKind, Value
from audit.keys import LogKeys
from audit.keystore import Keystore
from audit.leaf import decode_leaf
from audit.log import EvidenceLog
from audit.receipt import open_receipt
from audit.signing import VerifyKey
from consent.acts import Acts, Person
from consent.enrolment import NODE_ORIGIN
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.records import Erased, act_to_dict
from consent.rights import (
    COMPLETE,
    Case,
    EvidenceKind,
    Identity,
    Outcome,
    Right,
    Step,
    StepKind,
    after,
    due,
    missing,
)
from consent.rights_store import RightsStore
from consent.rights_tables import RequestRow
from consent.tables import NodeRow
from consent.tokens import Randomness, new_token, token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import NodeId, Purpose, SubjectId

_ANSWER = "answer"
OWN = "trust-service"
PERSON = "person"


class RightsDesk:
    """The one writer of requests; thread-safe."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        log: EvidenceLog,
        keystore: Keystore,
        acts: Acts,
        clock: Clock,
        randomness: Randomness,
        keys_of: Callable[[VerifyKey], LogKeys],
    ) -> None:
        self._ledger, self._keys_of = ledger, keys_of
        self._store = RightsStore(ledger)
        self._log = log
        self._keystore = keystore
        self._acts = acts
        self._clock = clock
        self._randomness = randomness
        self._lock = threading.RLock()
        self._told: set[tuple[str, str]] = set()

    # -- what people and staff do -------------------------------------------------------

    def open(
        self,
        right: Right,
        person: Person,
        *,
        by: str,
        about: Mapping[str, Any],
        jurisdiction: str,
        method: Identity | None,
    ) -> dict[str, Any]:
        """Take a request in; where the identity is known already, begin at once.

        Returns:
            The request's state, and `request_token`, by which the person follows it.

        Raises:
            RequestInvalid: What the right needs to know is missing.
            EvidenceUnavailable, LedgerUnavailable: It was not taken in.
        """
        _check_about(right, about)
        case_id, token = self._randomness(16).hex(), new_token(self._randomness)
        nodes = [n.node for n in self._ledger.nodes() if n.company == person.company]
        step = Step(
            kind=StepKind.OPENED,
            at=self._clock(),
            by=by,
            details={
                "case": case_id,
                "right": right.value,
                "company": person.company,
                "subject": person.subject,
                "nodes": sorted(nodes),
                "jurisdiction": jurisdiction,
                "about": dict(about),
                "method": None if method is None else method.value,
            },
        )
        with self._lock:
            case = after(None, step)  # 1
            index = self._log.append(_event(case, step))  # 2
            row = RequestRow(
                request=case_id,
                subject=person.subject,
                token_hash=token_hash(token),
                is_open=True,
            )
            self._store.add(row, step, index)  # 3
            if case.identity is not None:
                case = self._begin(case)  # 4
        return self.state(case) | {"request_token": token}

    def ask_identity(self, request: str, *, by: str) -> Case:
        """Ask who it is; from here the clock stands still. Errors as in `rights.after`."""
        return self._take(request, StepKind.IDENTITY_ASKED, by, {})

    def confirm_identity(self, request: str, method: Identity, *, by: str) -> Case:
        """Record how the person was known, never what they showed, and begin."""
        with self._lock:
            details = {"method": method.value}
            case = self._take(request, StepKind.IDENTITY_CONFIRMED, by, details)
            return self._begin(case)

    def extend(self, request: str, reason: str, *, by: str) -> Case:
        """Take the two further months, for a reason that the law knows."""
        return self._take(request, StepKind.EXTENDED, by, {"reason": reason})

    def decide(self, request: str, outcome: str, *, by: str) -> Case:
        """Record what a named person decided on review: upheld, changed or overturned.

        Raises:
            Conflict: Not a review, or the facts of the decision are not here yet.
        """
        case = self._store.case(request)
        if case.right is not Right.REVIEW or COMPLETE not in {e.outcome for e in case.evidence}:
            raise Conflict("a person decides a review, once a node has given the facts")
        return self._evidence(case, EvidenceKind.HUMAN_DECIDED, by=by, outcome=outcome)

    def deliver(self, request: str, *, by: str, way: str) -> Case:
        """Record that the person was answered, and by which way."""
        case = self._store.case(request)
        return self._evidence(case, EvidenceKind.DELIVERED, by=by, outcome=way)

    def close(self, request: str, outcome: Outcome, reason: str | None, *, by: str) -> Case:
        """Close a request and destroy what was gathered for it.

        Raises:
            EvidenceMissing: What must be shown is not there; the message lists it.
        """
        details = {"outcome": outcome.value, "reason": reason}
        case = self._take(request, StepKind.CLOSED, by, details)
        self._keystore.destroy(_holder(case))
        self._store.drop_answers(request)
        return case

    # -- what anybody allowed may see ---------------------------------------------------

    def case(self, request: str) -> Case:
        """Return a request; NotFound where there is none."""
        return self._store.case(request)

    def by_token(self, token: str) -> Case:
        """Return the request that a person's token follows; NotFound for nobody's."""
        return self._store.by_token(token_hash(token))

    def requests(self, *, only_open: bool = True) -> list[Case]:
        """Return the requests, oldest first."""
        return self._store.requests(only_open=only_open)

    def due(self) -> list[dict[str, Any]]:
        """Return the open requests with what each still lacks, the most urgent first."""
        return sorted((self.state(case) for case in self.requests()), key=lambda s: s["due"])

    def state(self, case: Case) -> dict[str, Any]:
        """Return a request as JSON values, without the person."""
        now = self._clock()
        last = due(case, now=now)
        days = (last - _day(now)).days
        return {
            "request": case.case,
            "right": case.right.value,
            "received_at": case.received_at,
            "due": last.isoformat(),
            "days_left": days,
            "overdue": days < 0 and case.outcome is None,
            "paused": case.asked_at is not None,
            "identity": None if case.identity is None else case.identity.value,
            "extension": None if case.extension is None else case.extension.value,
            "missing": list(missing(case)),
            "evidence": [
                {"kind": e.kind.value, "at": e.at, "node": e.node, "outcome": e.outcome}
                for e in case.evidence
            ],
            "outcome": None if case.outcome is None else case.outcome.value,
            "reason": None if case.refusal is None else case.refusal.value,
        } | self._held(case)

    def package(self, case: Case) -> dict[str, Any]:
        """Return all that was gathered, by source.

        Raises:
            Conflict: The request is closed, or not everything is here yet.
        """
        if case.outcome is not None:
            raise Conflict(f"request {case.case} is closed, and what was gathered is destroyed")
        lacking = [m for m in missing(case) if EvidenceKind.DELIVERED not in m]
        if lacking:
            raise Conflict(f"request {case.case} is not complete yet: {'; '.join(lacking)}")
        parts = {
            name: self._open_answer(case, name, data)
            for name, data in self._store.answers(case.case)
        }
        return {"request": case.case, "right": case.right.value, "by": parts}

    # -- what nodes do ------------------------------------------------------------------

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered, to go out with its standing."""
        if not self._pending(node):
            return []  # the rule by far: a hundred nodes do not wait for one another
        with self._lock:
            wanted = [case for case in self._pending(node) if not self._overtaken(case)]
            self._told |= {(case.case, node.node) for case in wanted}
        return [
            {
                "request": case.case,
                "right": case.right.value,
                "subject": case.subject,
                "about": dict(case.about),
            }
            for case in wanted
        ]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is a task that the node has not heard of yet."""
        return any((case.case, node.node) not in self._told for case in self._pending(node))

    def receive(self, node: NodeRow, request: str, said: Mapping[str, Any]) -> Case:
        """Take a node's answer, with the entry of its own log that it stands by.

        1. the entry is in the node's log, by its own key; 2. it is about this request and
        commits to this report; 3. an erasure left no key; 4. sealed and recorded.

        Raises:
            RequestInvalid: The entry does not show what the node says.
            Conflict: It was not asked, or has answered.
        """
        with self._lock:
            case = self._store.case(request)
            if NodeId(node.node) not in case.nodes:
                raise NotFound("no such request")
            report, fields = dict(said["report"]), _shown(node, said, self._keys_of)  # 1
            told = {"request": case.case, "right": case.right.value, "digest": digest(report)}
            if any(fields.get(name) != value for name, value in told.items()):  # 2
                raise RequestInvalid("the log entry is not of this request and this report")
            if case.right is Right.ERASURE and fields.get("keys_left") != 0:  # 3
                raise RequestInvalid("the log entry does not show that no key is left")
            self._keep(case, node.node, report | {"leaf": said["leaf"], "receipt": said["receipt"]})
            return self._evidence(  # 4
                case,
                EvidenceKind.NODE_ANSWERED,
                by=node.node,
                node=NodeId(node.node),
                outcome=str(fields["outcome"]),
                shown=str(fields["digest"]),
            )

    def _pending(self, node: NodeRow) -> list[Case]:
        mine = NodeId(node.node)
        return [
            case
            for case in self._store.requests()
            if case.identity is not None and mine in case.nodes and mine not in case.answered()
        ]

    def _overtaken(self, case: Case) -> bool:
        """Close a request whose person has since had everything erased; say whether it was."""
        if case.right is Right.ERASURE:
            return False
        records = self._ledger.records_of([case.subject]).get(case.subject, [])
        if not any(isinstance(record.act, Erased) for record in records):
            return False
        self.close(case.case, Outcome.OVERTAKEN, None, by=OWN)
        return True

    # -- inside -------------------------------------------------------------------------

    def _take(self, request: str, kind: StepKind, by: str, details: dict[str, Any]) -> Case:
        with self._lock:
            step = Step(kind=kind, at=self._clock(), by=by, details=details)
            case = after(self._store.case(request), step)  # 1
            index = self._log.append(_event(case, step))  # 2
            self._store.add_step(request, step, index)  # 3
            return case

    def _evidence(
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
        details: dict[str, Any] = {
            "evidence": kind.value,
            "node": node,
            "outcome": outcome,
            "digest": shown,
            "log_index": log_index,
        }
        return self._take(case.case, StepKind.EVIDENCE, by, details)

    def _begin(self, case: Case) -> Case:
        """Do what the trust service itself does for a request, and let the nodes be asked."""
        person = Person(company=case.company, subject=case.subject, node=None)
        match case.right:
            case Right.ERASURE:
                case = self._erase(case, person)
            case Right.RESTRICTION:
                done = self._acts.restrict(person, restricted=True)
                case = self._standing(case, done)
            case Right.OBJECTION:
                purposes = frozenset(Purpose(p) for p in case.about["purposes"])
                case = self._standing(case, self._acts.object_to(person, purposes))
            case Right.ACCESS | Right.PORTABILITY:
                own = self._own_records(case)
                self._keep(case, OWN, own)
                case = self._evidence(case, EvidenceKind.OWN_RECORDS, by=OWN, shown=digest(own))
            case Right.RECTIFICATION | Right.REVIEW:
                pass
        self._acts.wake(case.company)
        return case

    def _erase(self, case: Case, person: Person) -> Case:
        """Erase at once where that has not happened; destroyed keys are looked for, not taken."""
        records = self._ledger.records_of([case.subject]).get(case.subject, [])
        if not any(isinstance(record.act, Erased) for record in records):
            try:
                done = self._acts.withdraw(person, None)
            except ErasureHeld:
                return case  # `state` says why; `resume` goes on once the hold is lifted
            case = self._standing(case, done)
        else:
            case = self._evidence(case, EvidenceKind.STANDING_RECORDED, by=OWN)
        if self._keystore.labels(case.subject):
            return case
        found = self._log.find(EventKind.KEYS_DESTROYED, limit=1)
        index = found[0].index if found else None
        return self._evidence(case, EvidenceKind.KEYS_DESTROYED, by=OWN, log_index=index)

    def resume(self, subject: SubjectId) -> None:
        """Go on with the erasures of a person whom a legal hold no longer keeps."""
        with self._lock:
            for case in self._store.requests():
                waits = case.right is Right.ERASURE and case.subject == subject
                if waits and case.identity and not case.has(EvidenceKind.KEYS_DESTROYED):
                    self._begin(case)

    def _held(self, case: Case) -> dict[str, str]:
        """Return why an open erasure waits, as the person is told; nothing where none does."""
        open_erasure = case.right is Right.ERASURE and case.outcome is None
        why = self._acts.held(case.subject) if open_erasure else None
        return {} if why is None else {"held": why}

    def _standing(self, case: Case, receipt: Mapping[str, Any]) -> Case:
        index = int(receipt["log_index"])
        return self._evidence(case, EvidenceKind.STANDING_RECORDED, by=OWN, log_index=index)

    def _own_records(self, case: Case) -> dict[str, Any]:
        records = self._ledger.records_of([case.subject]).get(case.subject, [])
        return {
            "pseudonym": case.subject,
            "records": [
                {"record": r.record_id, "at": r.at, "through": r.node} | act_to_dict(r.act)
                for r in sorted(records, key=lambda record: record.sequence)
            ],
        }

    def _keep(self, case: Case, source: str, report: Mapping[str, Any]) -> None:
        body = json.dumps(report).encode()
        context = f"{case.case}/{source}".encode()
        sealed = self._keystore.seal(_holder(case), _ANSWER, body, context=context)
        self._store.keep_answer(case.case, source, sealed)

    def _open_answer(self, case: Case, source: str, sealed: bytes) -> Any:
        context = f"{case.case}/{source}".encode()
        try:
            return json.loads(self._keystore.open(_holder(case), _ANSWER, sealed, context=context))
        except KeyDestroyed as error:
            raise Conflict("what was gathered is destroyed: open a new request") from error


def _holder(case: Case) -> SubjectId:
    """Name whose key seals the answers: the request's own, no person's."""
    return SubjectId(f"request.{case.case}")


def _shown(
    node: NodeRow, said: Mapping[str, Any], keys_of: Callable[[VerifyKey], LogKeys]
) -> Mapping[str, Value]:
    """Return the fields of the node's log entry, once its own key has shown it to be there."""
    try:
        leaf = base64.b64decode(said["leaf"], validate=True)
        keys = keys_of(VerifyKey.parse(node.vkey))
        open_receipt(said["receipt"], leaf, keys, origin=NODE_ORIGIN + node.node)
        event, _ = decode_leaf(leaf)
    except (AuditError, ValueError) as error:
        raise RequestInvalid(f"node {node.node} shows no entry of its log") from error
    if event.kind is not EventKind.REQUEST_ANSWERED:
        raise RequestInvalid(f"node {node.node} shows an entry of another kind")
    return event.fields


def _check_about(right: Right, about: Mapping[str, Any]) -> None:
    needs = {
        Right.OBJECTION: {"purposes"},
        Right.RECTIFICATION: {"turn", "label"},
        Right.REVIEW: {"decision"},
    }.get(right, set())
    given = {name for name, value in about.items() if value}
    if given != needs:
        names = ", ".join(sorted(needs)) or "nothing more"
        raise RequestInvalid(f"{right}: expected {names}")


def _event(case: Case, step: Step) -> Event:
    told = step.details
    fields: dict[str, Value] = {
        "request": case.case,
        "right": case.right.value,
        "step": step.kind.value,
        "by": step.by,
    }
    for name in ("node", "digest", "reason", "outcome", "method", "evidence"):
        if told.get(name) is not None:
            fields[name] = str(told[name])
    return Event(kind=EventKind.REQUEST_STEP, at=step.at, fields=fields)


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, tz=UTC).date()
