"""The desk of people's requests: takes them in, decides, extends, delivers, closes.

Beside it stand its steps (`rights_steps`), the trust service's own part (`rights_own`), the nodes'
(`rights_nodes`) and what is gathered (`rights_answers`), whose key is destroyed at closing.

The log and the steps name a request by its id, never the person; the staff by one word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from audit.keys import LogKeys
from audit.keystore import Keystore
from audit.log import EvidenceLog
from audit.signing import VerifyKey
from consent.acts import Acts, Person
from consent.errors import Conflict, RequestInvalid
from consent.ledger import Ledger
from consent.rights import (
    COMPLETE,
    Case,
    EvidenceKind,
    Identity,
    Outcome,
    Right,
    StepKind,
    due,
    missing,
    ungathered,
)
from consent.rights_answers import Answers
from consent.rights_nodes import NodeTasks
from consent.rights_own import OwnPart
from consent.rights_steps import Steps
from consent.rights_store import RightsStore
from consent.tokens import Randomness, new_token, token_hash
from policies.canonical import digest
from policies.clock import Clock
from policies.vocabulary import SubjectId

PERSON, DECISION = "person", "decision"
"""Names of the parts that a person and a reviewer add to what was gathered."""


class RightsDesk:
    """What staff and people do with requests; thread-safe."""

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
        self._ledger, self._clock, self._randomness = ledger, clock, randomness
        self._store = RightsStore(ledger)
        self._steps = Steps(store=self._store, log=log, clock=clock)
        self._answers = Answers(store=self._store, keystore=keystore)
        self.own = OwnPart(
            steps=self._steps,
            answers=self._answers,
            ledger=ledger,
            log=log,
            keystore=keystore,
            acts=acts,
        )
        self.nodes = NodeTasks(
            steps=self._steps, answers=self._answers, own=self.own, keys_of=keys_of
        )

    # -- steps --------------------------------------------------------------------------

    def open(
        self,
        right: Right,
        person: Person,
        *,
        by: str,
        about: Mapping[str, Any],
        jurisdiction: str,
        method: Identity | None,
        statement: str | None = None,
    ) -> dict[str, Any]:
        """Take a request in; where the identity is known already, begin at once.

        Args:
            right: Which right.
            person: Whose.
            by: Who takes it in, one word.
            about: What it concerns, by id alone.
            jurisdiction: Whose holidays count.
            method: How the person was known; None where that is still to be found out.
            statement: The person's own view (GDPR 22(3)), sealed like what is gathered.

        Returns:
            The request's state, and `request_token`, by which the person follows it.

        Raises:
            RequestInvalid: What the right needs to know is missing.
            EvidenceUnavailable, LedgerUnavailable: It was not taken in.
        """
        _check_about(right, about)
        token = new_token(self._randomness)
        nodes = [n.node for n in self._ledger.nodes() if n.company == person.company]
        details = {
            "case": self._randomness(16).hex(),
            "right": right.value,
            "company": person.company,
            "subject": person.subject,
            "nodes": sorted(nodes),
            "jurisdiction": jurisdiction,
            "about": dict(about),
            "verdict_returns": True,
            "told_last": True,
            "method": None if method is None else method.value,
        }
        with self._steps.lock:
            case = self._steps.open(details, by=by, token_hash=token_hash(token))
            if statement:
                self._answers.keep(case, PERSON, {"statement": statement})
            if case.identity is not None:
                case = self.own.begin(case)
        return self.state(case) | {"request_token": token}

    def ask_identity(self, request: str, *, by: str, way: str) -> Case:
        """Ask who it is, by that way; from here the clock stands still."""
        return self._steps.take(request, StepKind.IDENTITY_ASKED, by, {"way": way})

    def confirm_identity(self, request: str, method: Identity, *, by: str) -> Case:
        """Record how the person was known, never what they showed, and begin."""
        with self._steps.lock:
            details = {"method": method.value}
            case = self._steps.take(request, StepKind.IDENTITY_CONFIRMED, by, details)
            return self.own.begin(case)

    def extend(self, request: str, reason: str, *, by: str, way: str) -> Case:
        """Take the two further months, for a reason that the person was told, by that way."""
        details = {"reason": reason, "way": way}
        return self._steps.take(request, StepKind.EXTENDED, by, details)

    def decide(self, request: str, outcome: str, *, by: str, reasons: str) -> Case:
        """Record what a named person decided on review, with reasons that the person reads.

        Raises:
            Conflict: Not a review, the facts of the decision are not here yet, or who decides
                decided a review of the same decision before: a contest goes to another.
        """
        with self._steps.lock:
            case = self._store.case(request)
            if case.right is not Right.REVIEW or COMPLETE not in {e.outcome for e in case.evidence}:
                raise Conflict("a person decides a review, once a node has given the facts")
            self._check_another(case, by)
            said = {"outcome": outcome, "by": by, "reasons": reasons}
            kind = EvidenceKind.HUMAN_DECIDED
            case = self._steps.evidence(case, kind, by=by, outcome=outcome, shown=digest(said))
            self._answers.keep(case, DECISION, said)
            self.own.wake(case)
            return case

    def deliver(self, request: str, *, by: str, way: str) -> Case:
        """Record that the person was answered, and by which way."""
        case = self._store.case(request)
        return self._steps.evidence(case, EvidenceKind.DELIVERED, by=by, outcome=way)

    def close(self, request: str, outcome: Outcome, reason: str | None, *, by: str) -> Case:
        """Close a request and destroy what was gathered for it.

        Raises:
            EvidenceMissing: What must be shown is not there; the message lists it.
        """
        details = {"outcome": outcome.value, "reason": reason}
        case = self._steps.take(request, StepKind.CLOSED, by, details)
        self._answers.destroy(case)
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

    def closed(self, most: int) -> list[Case]:
        """Return the requests that were closed last, the newest first."""
        return self._store.closed(most)

    def of(self, subject: SubjectId) -> list[Case]:
        """Return a person's open requests."""
        return self._store.open_of(subject)

    def open_of(self, subject: SubjectId) -> list[Case]:
        """Return a person's open requests."""
        return self._store.open_of(subject)

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
                {
                    "kind": e.kind.value,
                    "at": e.at,
                    "node": e.node,
                    "outcome": e.outcome,
                    "log_index": e.log_index,
                }
                for e in case.evidence
            ],
            "decided": case.decided(),
            "outcome": None if case.outcome is None else case.outcome.value,
            "reason": None if case.refusal is None else case.refusal.value,
        } | self.own.held(case)

    def package(self, case: Case) -> dict[str, Any]:
        """Return all that was gathered, by source.

        Raises:
            Conflict: The request is closed, or not everything is here yet.
        """
        if case.outcome is not None:
            raise Conflict(f"request {case.case} is closed, and what was gathered is destroyed")
        lacking = ungathered(case)
        if lacking:
            raise Conflict(f"request {case.case} is not complete yet: {'; '.join(lacking)}")
        return self._package(case)

    def facts(self, case: Case) -> dict[str, Any]:
        """Return what is gathered so far, for whoever decides a review.

        Raises:
            Conflict: Not an open review.
        """
        if case.right is not Right.REVIEW or case.outcome is not None:
            raise Conflict("facts are shown of an open review alone")
        return self._package(case)

    def _package(self, case: Case) -> dict[str, Any]:
        return {
            "request": case.case,
            "right": case.right.value,
            "by": self._answers.every(case),
        }

    def _check_another(self, case: Case, by: str) -> None:
        for earlier in self.requests(only_open=False):
            same = earlier.right is Right.REVIEW and earlier.subject == case.subject
            if same and earlier.about == case.about and earlier.decided_by(by):
                raise Conflict("who decided this before cannot decide on its contest: ask another")


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


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, tz=UTC).date()
