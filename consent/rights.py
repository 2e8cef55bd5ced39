"""A person's request and its way to the end, as a pure state machine (GDPR 12, 15 to 22).

    opened → [identity asked → confirmed] → evidence … → closed
                 the clock stands still

A request is nothing but its steps; `after` adds one or refuses it. **Nothing is closed without
evidence**: `REQUIRED` says which kinds each right needs, one from every node where it is the
nodes that act, and `missing` says what is not there yet. A refusal needs a reason that the law
knows, and that the person was told. Not here: who may take a step, storage, time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from consent.errors import Conflict, EvidenceMissing, RequestInvalid
from consent.working_days import period_end
from policies.law import LAW
from policies.vocabulary import NodeId, SubjectId


class Right(StrEnum):
    """What a person may ask for."""

    ACCESS = "access"  # GDPR 15
    RECTIFICATION = "rectification"  # 16
    ERASURE = "erasure"  # 17
    RESTRICTION = "restriction"  # 18
    PORTABILITY = "portability"  # 20
    OBJECTION = "objection"  # 21
    REVIEW = "review"  # 22(3): human review, and a way to contest


class Identity(StrEnum):
    """How somebody was known to be who they say; what was shown is never kept (GDPR 12(6))."""

    MANAGE_TOKEN = "manage-token"  # noqa: S105 (a method, no secret): whoever holds it may
    BRANCH = "branch"  # the branch knows the customer, and its node signed
    ACCOUNT = "account"  # signed in to the company's own account
    DOCUMENT_SEEN = "document-seen"  # looked at, not copied
    CALL_BACK = "call-back"  # on the number that the company already had


class EvidenceKind(StrEnum):
    """What can show that something was done."""

    NODE_ANSWERED = "node-answered"  # by an entry in the node's own log
    OWN_RECORDS = "own-records"  # gathered from the trust service's own
    STANDING_RECORDED = "standing-recorded"  # the gate closes by it
    KEYS_DESTROYED = "keys-destroyed"  # the trust service's own
    HUMAN_DECIDED = "human-decided"  # by a named person
    VERDICT_APPLIED = "verdict-applied"  # what they decided is in force, by the node's own log
    DELIVERED = "delivered"  # the person has the answer


class Outcome(StrEnum):
    """How a request ends."""

    DONE = "done"
    REFUSED = "refused"
    OVERTAKEN = "overtaken-by-erasure"


class Refusal(StrEnum):
    """Why a request may be refused (GDPR 11(2), 12(2), 12(5), 17(3))."""

    NOT_IDENTIFIED = "not-identified"
    UNFOUNDED = "manifestly-unfounded"
    EXCESSIVE = "excessive"
    LEGAL_OBLIGATION = "legal-obligation"
    LEGAL_CLAIM = "legal-claim"
    NOTHING_HELD = "nothing-held"


class Extension(StrEnum):
    """Why the answer may take longer (GDPR 12(3))."""

    COMPLEXITY = "complexity"
    NUMBER = "number-of-requests"


class Way(StrEnum):
    """By which way the person was asked, told or answered."""

    LETTER = "letter"
    E_MAIL = "e-mail"
    IN_PERSON = "in-person"
    TELEPHONE = "telephone"


class StepKind(StrEnum):
    """What can happen to a request."""

    OPENED = "opened"
    IDENTITY_ASKED = "identity-asked"
    IDENTITY_CONFIRMED = "identity-confirmed"
    EXTENDED = "extended"
    EVIDENCE = "evidence"
    CLOSED = "closed"


_ALWAYS = frozenset({EvidenceKind.NODE_ANSWERED, EvidenceKind.DELIVERED})
REQUIRED: Mapping[Right, frozenset[EvidenceKind]] = MappingProxyType(
    {
        Right.ACCESS: _ALWAYS | {EvidenceKind.OWN_RECORDS},
        Right.PORTABILITY: _ALWAYS | {EvidenceKind.OWN_RECORDS},
        Right.RECTIFICATION: _ALWAYS,
        Right.ERASURE: _ALWAYS | {EvidenceKind.STANDING_RECORDED, EvidenceKind.KEYS_DESTROYED},
        Right.RESTRICTION: _ALWAYS | {EvidenceKind.STANDING_RECORDED},
        Right.OBJECTION: _ALWAYS | {EvidenceKind.STANDING_RECORDED},
        Right.REVIEW: _ALWAYS | {EvidenceKind.HUMAN_DECIDED},
    }
)
"""The evidence without which a request cannot be closed as done."""

ONE_NODE_DID_IT = frozenset({Right.RECTIFICATION, Right.REVIEW})
"""Where every node saying "nothing here" is not enough."""

UNRECORDED = "not-recorded"
"""What stands in steps of earlier versions that did not record it (migration 0005)."""

COMPLETE, NOTHING_HERE = "complete", "nothing-here"
"""The answers of a node that count; any other leaves it missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One thing that was shown; `digest` is of what was shown, `log_index` where it stands."""

    kind: EvidenceKind
    at: float
    by: str = ""
    node: NodeId | None = None
    outcome: str = COMPLETE
    digest: str | None = None
    log_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to a request: when, by whom, and its particulars as JSON values."""

    kind: StepKind
    at: float
    by: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request as its steps have made it. `about` is what it concerns, by id alone.

    `verdict_returns`: what is decided on review goes back to the node; requests of earlier
    versions ended at the desk. `told_last`: nobody has the answer before there is one; in requests
    of earlier versions a delivery counted whenever it was recorded.
    """

    case: str
    right: Right
    company: str
    subject: SubjectId
    nodes: tuple[NodeId, ...]
    jurisdiction: str
    received_at: float
    about: Mapping[str, Any]
    verdict_returns: bool = False
    told_last: bool = False
    identity: Identity | None = None
    asked_at: float | None = None
    paused_s: float = 0.0
    extension: Extension | None = None
    evidence: tuple[Evidence, ...] = ()
    outcome: Outcome | None = None
    refusal: Refusal | None = None
    closed_at: float | None = None

    def has(self, kind: EvidenceKind) -> bool:
        """Return whether there is evidence of a kind."""
        return any(shown.kind is kind for shown in self.evidence)

    def decided(self) -> dict[str, Any] | None:
        """Return what a named person decided, who and when; None where nobody has."""
        for shown in self.evidence:
            if shown.kind is EvidenceKind.HUMAN_DECIDED:
                return {"outcome": shown.outcome, "by": shown.by, "at": shown.at}
        return None

    def decided_by(self, name: str) -> bool:
        """Return whether it was this person who decided."""
        decided = self.decided()
        return decided is not None and str(decided["by"]).casefold() == name.casefold()

    def answered(self) -> frozenset[NodeId]:
        """Return the nodes that answered, completely or not."""
        return frozenset(shown.node for shown in self.evidence if shown.node is not None)

    def obeying(self) -> frozenset[NodeId]:
        """Return the nodes in which what was decided on review has still to be put in force."""
        if not self.verdict_returns or self.decided() is None:
            return frozenset()
        gave = {e.node for e in self.evidence if _is_answer(e) and e.outcome == COMPLETE}
        done = {e.node for e in self.evidence if e.kind is EvidenceKind.VERDICT_APPLIED}
        return frozenset(node for node in gave - done if node is not None)


def case_of(steps: Iterable[Step]) -> Case:
    """Fold the steps of one request, oldest first.

    Raises:
        Conflict, RequestInvalid: They are not the steps of a request.
    """
    found: Case | None = None
    for step in steps:
        found = after(found, step)
    if found is None:
        raise RequestInvalid("a request without a first step")
    return found


def after(case: Case | None, step: Step) -> Case:
    """Return the request with one more step.

    Raises:
        Conflict: The request does not take this step now.
        EvidenceMissing: It would be closed without what its right requires.
        RequestInvalid: A particular of the step is missing or wrong.
    """
    try:
        if case is None:
            return _opened(step)
        if case.outcome is not None:
            raise Conflict(f"request {case.case} is closed: open a new one")
        return _TAKERS[step.kind](case, step)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid(f"{step.kind} lacks a particular or has a wrong one") from error


def missing(case: Case) -> tuple[str, ...]:
    """Return in words what must be shown before the request can be closed as done."""
    told = () if person_answered(case) else (f"no evidence: {EvidenceKind.DELIVERED}",)
    waiting = (f"node {node}: the decision is not in force" for node in sorted(case.obeying()))
    return (*ungathered(case), *told, *waiting)


def ungathered(case: Case) -> tuple[str, ...]:
    """Return in words what must be there before the person can be answered."""
    answers = {e.node: e.outcome for e in case.evidence if _is_answer(e)}
    kinds = sorted(REQUIRED[case.right] - _ALWAYS)
    lacking = [
        *(["the identity is not confirmed"] if case.identity is None else []),
        *(f"no evidence: {kind}" for kind in kinds if not case.has(kind)),
        *(
            f"node {node}: {answers.get(node, 'no answer')}"
            for node in case.nodes
            if answers.get(node) not in {COMPLETE, NOTHING_HERE}
        ),
    ]
    if case.right in ONE_NODE_DID_IT and COMPLETE not in answers.values():
        lacking.append("no node holds what it concerns")
    return tuple(lacking)


def due(case: Case, *, now: float) -> date:
    """Return the last day on which the answer is in time (GDPR 12(3)).

    The clock stands still from the moment the identity was asked for until it is confirmed,
    and never otherwise.
    """
    waiting = 0.0 if case.asked_at is None else now - case.asked_at
    months = LAW.clocks.access_answer_months
    if case.extension is not None:
        months += LAW.clocks.access_extension_months
    start = case.received_at + case.paused_s + waiting
    return period_end(start, months=months, jurisdiction=case.jurisdiction)


def person_answered(case: Case) -> bool:
    """Return whether the person has the answer: a delivery counts once there was one to give."""
    places = [n for n, e in enumerate(case.evidence) if e.kind is EvidenceKind.DELIVERED]
    if not places or not case.told_last:
        return bool(places)
    return not ungathered(replace(case, evidence=case.evidence[: places[-1]]))


def _is_answer(shown: Evidence) -> bool:
    return shown.kind is EvidenceKind.NODE_ANSWERED


def _opened(step: Step) -> Case:
    if step.kind is not StepKind.OPENED:
        raise Conflict("a request begins by being opened")
    told = step.details
    identity = told.get("method")
    return Case(
        case=str(told["case"]),
        right=Right(told["right"]),
        company=str(told["company"]),
        subject=SubjectId(told["subject"]),
        nodes=tuple(NodeId(node) for node in told["nodes"]),
        jurisdiction=str(told["jurisdiction"]),
        received_at=step.at,
        about=dict(told.get("about", {})),
        verdict_returns=bool(told.get("verdict_returns", False)),
        told_last=bool(told.get("told_last", False)),
        identity=None if identity is None else Identity(identity),
    )


def _check_way(step: Step) -> None:
    way = step.details["way"]
    if way != UNRECORDED:
        Way(way)


def _identity_asked(case: Case, step: Step) -> Case:
    if case.identity is not None or case.asked_at is not None:
        raise Conflict("the identity is confirmed or asked for already: the clock is not paused")
    _check_way(step)  # the clock stands only once the person was asked
    return replace(case, asked_at=step.at)


def _identity_confirmed(case: Case, step: Step) -> Case:
    if case.identity is not None:
        raise Conflict("the identity is confirmed already")
    paused = 0.0 if case.asked_at is None else max(0.0, step.at - case.asked_at)
    method = Identity(step.details["method"])
    return replace(case, identity=method, asked_at=None, paused_s=case.paused_s + paused)


def _extended(case: Case, step: Step) -> Case:
    if case.extension is not None:
        raise Conflict("the time was extended already, and is so once at most (GDPR 12(3))")
    if datetime.fromtimestamp(step.at, tz=UTC).date() > due(case, now=step.at):
        raise Conflict("the first month is over: it can no longer be extended (GDPR 12(3))")
    _check_way(step)  # nobody's answer is put off before they were told why
    return replace(case, extension=Extension(step.details["reason"]))


def _evidence(case: Case, step: Step) -> Case:
    told = step.details
    shown = Evidence(
        kind=EvidenceKind(told["evidence"]),
        at=step.at,
        by=step.by,
        node=None if told.get("node") is None else NodeId(told["node"]),
        outcome=str(told.get("outcome", COMPLETE)),
        digest=told.get("digest"),
        log_index=told.get("log_index"),
    )
    if case.identity is None and shown.kind is not EvidenceKind.DELIVERED:
        raise Conflict("the identity is not confirmed: nothing is done before")
    if shown.node is not None and shown.node not in case.nodes:
        raise Conflict(f"node {shown.node} was not asked")
    if shown.kind is EvidenceKind.VERDICT_APPLIED and shown.node not in case.obeying():
        raise Conflict("nothing decided waits for that node")
    if _is_answer(shown) and shown.node in case.answered():
        raise Conflict(f"node {shown.node} has answered")
    if shown.kind is EvidenceKind.HUMAN_DECIDED:
        _check_decision(case, shown)
    return replace(case, evidence=(*case.evidence, shown))


def _check_decision(case: Case, shown: Evidence) -> None:
    if case.decided() is not None:
        raise Conflict(f"request {case.case} is decided: who contests it opens a new one")
    if not shown.by or shown.digest is None:
        raise EvidenceMissing("a decision on review has a named person and reasons (GDPR 22(3))")


def _closed(case: Case, step: Step) -> Case:
    outcome = Outcome(step.details["outcome"])
    reason = step.details.get("reason")
    refusal = Refusal(str(reason)) if outcome is Outcome.REFUSED else None
    lacking = missing(case) if outcome is Outcome.DONE else ()
    if outcome is Outcome.REFUSED and not case.has(EvidenceKind.DELIVERED):
        lacking = ("the person was not told: reasons, and the way to complain (GDPR 12(4))",)
    if lacking:
        raise EvidenceMissing(f"request {case.case} cannot be closed: {'; '.join(lacking)}")
    return replace(case, outcome=outcome, refusal=refusal, closed_at=step.at)


_TAKERS = MappingProxyType(
    {
        StepKind.IDENTITY_ASKED: _identity_asked,
        StepKind.IDENTITY_CONFIRMED: _identity_confirmed,
        StepKind.EXTENDED: _extended,
        StepKind.EVIDENCE: _evidence,
        StepKind.CLOSED: _closed,
    }
)
