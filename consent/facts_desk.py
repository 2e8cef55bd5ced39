"""The facts of one decision, for a named request: asked of who decided, shown once, not kept.

A branch's answer is held against the digests of the decision's own leaf; what this service decided
itself is opened at once, by its own gate. Shown to who asked, it is gone (`consent.officer_asks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE, considered
from audit.events import Value
from audit.gate import Gate
from audit.leaf import decode_leaf
from audit.portal.decision_index import Found
from consent.errors import Conflict, RequestInvalid
from consent.officer_asks import Answer, Ask, DeskParts, Named, OfficerAsks
from policies.canonical import digest
from policies.decision import UseRequest
from policies.permit import Permit
from policies.standing import Governance, Standing
from policies.vocabulary import Action, NodeId, Purpose, SubjectId


@dataclass(slots=True, kw_only=True)
class FactsAsk(Ask):
    """One ask for the facts of a decision; of our own nobody else is asked."""

    found: Found

    @property
    def answer(self) -> Answer | None:
        """Return what came back, from who decided."""
        return self.answers.get(self.found.log)

    def task(self) -> dict[str, Any]:
        """Return where the decision is; whom it is about the branch alone knows."""
        about = {"decision": self.found.decision_id, "entry": self.found.idx}
        return {"subject": "", "about": about}

    def logged(self) -> dict[str, Value]:
        """Return which decision it is, and whose."""
        return {"node": self.found.node, "decision": self.found.decision_id}


class FactsDesk(OfficerAsks[FactsAsk]):
    """Asks for facts, takes answers in, and shows each once; thread-safe."""

    right = "facts"

    def __init__(
        self,
        parts: DeskParts,
        *,
        gate: Gate,
        standing: Callable[[Found, SubjectId], Standing | None],
        governance: Callable[[], Governance],
    ) -> None:
        """Join the parts; gate, standing and governance are for decisions of this service's own."""
        super().__init__(parts)
        self._gate, self._standing, self._governance = gate, standing, governance

    def ask(self, found: Found, named: Named) -> FactsAsk:
        """Ask for the facts of a decision; our own are opened at once.

        Raises:
            Conflict: It is a batch, or this person has too many asks open.
            EvidenceUnavailable, PolicyUnavailable: It could not be logged or opened.
        """
        if found.batch:
            raise Conflict("a batch considered nobody alone: ask for a decision about one person")
        nodes = frozenset({found.log} - {""})
        made = FactsAsk(named=named, asked_at=self._clock(), nodes=nodes, found=found)
        self._open(made)
        if not found.log:
            self._open_own(made)
        return made

    def open_of(self, found: Found, *, by: str) -> FactsAsk | None:
        """Return this person's open ask about a decision."""
        same = (found.decision_id, found.log)
        mine = self.open_by(by)
        return next((a for a in mine if (a.found.decision_id, a.found.log) == same), None)

    def show(self, ask: str, *, by: str) -> tuple[FactsAsk, Answer]:
        """Return an answer, once: it is logged that it is shown, and then it is gone.

        Raises:
            NotFound: As for `of`.
            Conflict: It was not answered yet.
            EvidenceUnavailable: It could not be logged; nothing is shown.
        """
        with self._lock:
            made = self.of(ask, by=by)
            answer = made.answer
            if answer is None:
                raise Conflict("there is nothing to show: it was not answered yet")
            self._record(made, "shown")
            self._forget(made)
        return made, answer

    def _checked(
        self, made: FactsAsk, node: str, outcome: str, report: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the facts if they are those that the decision's leaf has digests of."""
        if outcome == NOTHING_HERE:
            return _nothing(report)
        facts, rules = report.get("facts"), report.get("kept_shut_by", [])
        whole = isinstance(facts, dict) and {"request", "standing", "governance"} <= set(facts)
        worded = isinstance(rules, list) and all(isinstance(rule, str) for rule in rules)
        if not (whole and worded and outcome in {COMPLETE, KEPT_SHUT}):
            raise RequestInvalid("the answer holds no facts")
        if outcome == COMPLETE:
            self._hold_against_leaf(node, made.found.idx, report["facts"])
        return report

    def _hold_against_leaf(self, log: str, index: int, facts: Mapping[str, Any]) -> None:
        leaf = decode_leaf(self._index.leaf(log, index))[0].fields
        asked, standing = facts["request"], facts["standing"]
        if digest(asked) != leaf["request_digest"]:
            raise RequestInvalid("these are not the facts that the decision considered")
        if standing is not None and digest(standing) != leaf["standing_digest"]:
            raise RequestInvalid("this is not the standing that the decision considered")

    def _open_own(self, made: FactsAsk) -> None:
        found = made.found

        def permit_for(subject: SubjectId) -> Permit:
            request = UseRequest(
                node=NodeId(found.node),
                action=Action.INFER,
                purpose=Purpose.SERVICE,
                subject=subject,
            )
            return self._gate.open(request, self._standing(found, subject), self._governance())

        outcome, report = considered(self._log, found.idx, found.decision_id, permit_for)
        kept = _nothing(report) if outcome == NOTHING_HERE else report
        self._answer(made, "", outcome, kept)


def _nothing(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"why": str(report.get("why", ""))}
