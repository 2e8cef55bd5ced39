"""Which decisions are about one person, asked of every branch of theirs, for a named request.

No leaf says whom a decision was about, and no page of ours can: the branches alone can tell, by
the keys that seal what they considered. Each answers for itself when it hears of it; what it names
is looked for among the decisions that it handed over and that were proven. Whom it is about is the
branch's word; that it took the decision is not. Nobody is in an address, in the log, or on disk.

A first answer can be looked at for an hour, each look logged. What was answered before the person
did anything new (withdrew, objected, was erased) is not shown: it is asked again, or over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from audit.considered import COMPLETE, KEPT_SHUT, NOTHING_HERE
from audit.decisions_about import MOST
from audit.portal.decision_index import Found
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.ledger import Ledger
from consent.officer_asks import Answer, Ask, DeskParts, Named, OfficerAsks
from consent.records import standing_of
from consent.tables import NodeRow
from policies.vocabulary import SubjectId

_LONGEST_ID = 200


class Recorded(NamedTuple):
    """A person whom the ledger knows: at which company, and the number of their newest act."""

    company: str
    newest: int


@dataclass(slots=True, kw_only=True)
class SearchAsk(Ask):
    """One search, and what was recorded of the person when it was asked."""

    subject: SubjectId
    recorded: Recorded

    def task(self) -> dict[str, Any]:
        """Return whom it is about."""
        return {"subject": self.subject, "about": {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one branch told, as it stands now.

    `found` were handed over and proven. `awaited` are named by the branch and not handed over yet,
    `gone` are past their period here, `wrong` are named and something else in the branch's log.
    """

    node: str
    answer: Answer
    found: Sequence[Found]
    awaited: int
    gone: int
    wrong: int


class SearchDesk(OfficerAsks[SearchAsk]):
    """Asks the branches, takes answers in, and shows them; thread-safe."""

    right = "decisions"

    def __init__(
        self,
        parts: DeskParts,
        *,
        recorded: Callable[[SubjectId], Recorded | None],
        branches: Callable[[], Sequence[NodeRow]],
    ) -> None:
        """Join the parts: what the ledger knows of a person, and which branches are enrolled."""
        super().__init__(parts)
        self._recorded, self._branches = recorded, branches

    def ask(self, subject: SubjectId, named: Named) -> SearchAsk:
        """Ask every branch of the person's company.

        Raises:
            NotFound: Nobody of that pseudonym is recorded, or they were erased.
            Conflict: No branch is enrolled, or too many asks are open.
            RequestInvalid: The reference, which is logged, is the pseudonym.
            EvidenceUnavailable: It could not be logged; nobody was asked.
        """
        if str(subject).casefold() in named.reference.casefold():
            raise RequestInvalid("a reference is logged and names nobody", field="reference")
        recorded = self._recorded(subject)
        if recorded is None:
            raise NotFound("no company has recorded such a person")
        nodes = {row.node for row in self._branches() if row.company == recorded.company}
        if not nodes:
            raise Conflict("no branch of this company is enrolled: there is nobody to ask")
        made = SearchAsk(
            named=named,
            asked_at=self._clock(),
            nodes=frozenset(nodes),
            subject=subject,
            recorded=recorded,
        )
        self._open(made)
        return made

    def show(self, ask: str, *, by: str) -> tuple[SearchAsk, list[Told]]:
        """Return what the branches have told so far, by name; it is logged that it is shown.

        Raises:
            NotFound: As for `of`, or the person was erased since.
            Conflict: No branch has answered yet.
            EvidenceUnavailable: It could not be logged; nothing is shown.
        """
        with self._lock:
            made = self.of(ask, by=by)
            if not made.answers:
                raise Conflict("there is nothing to show: no branch has answered yet")
            self._record(made, "shown")
            answers = sorted(made.answers.items())
        return made, [self._told_by(node, answer) for node, answer in answers]

    def end(self, ask: str, *, by: str) -> None:
        """Forget a search before its time.

        Raises:
            NotFound: As for `of`.
        """
        self._forget(self.of(ask, by=by))

    def _expire(self) -> None:
        super()._expire()
        for one in list(self._asks.values()):
            self._keep_up(one)

    def _keep_up(self, made: SearchAsk) -> None:
        """Ask again about who did something new since; end what is about who was erased."""
        recorded = self._recorded(made.subject)
        if recorded is None:
            self._forget(made)
        elif recorded != made.recorded:
            made.recorded = recorded
            made.answers.clear()
            self._told -= {(made.ask, node) for node in made.nodes}
            self._bell.ring(None)

    def _checked(
        self, made: SearchAsk, node: str, outcome: str, report: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return places and ids; those that were handed over are the decisions they are named."""
        del made  # held against the branch's own decisions, whoever they are about
        named, rules = _named(report), report.get("kept_shut_by", [])
        worded = isinstance(rules, list) and all(isinstance(rule, str) for rule in rules)
        fits = bool(named) == (outcome == COMPLETE) and worded
        if outcome not in {COMPLETE, KEPT_SHUT, NOTHING_HERE} or not fits:
            raise RequestInvalid("the answer does not say which decisions, or why not")
        if self._looked_up(node, named)[1]:
            raise RequestInvalid("the answer names what is another entry in this node's log")
        return {"named": named, "cut": report.get("cut") is True, "kept_shut_by": rules}

    def _told_by(self, node: str, answer: Answer) -> Told:
        named: Mapping[int, str] = answer.report["named"]
        found, wrong = self._looked_up(node, named)
        reached = self._index.reached(node)
        missing = set(named) - {one.idx for one in found}
        awaited = sum(place >= reached for place in missing)
        return Told(
            node=node,
            answer=answer,
            found=found,
            awaited=awaited,
            gone=len(missing) - awaited - wrong,
            wrong=wrong,
        )

    def _looked_up(self, node: str, named: Mapping[int, str]) -> tuple[list[Found], int]:
        """Return the decisions that were handed over, newest first, and how many are others."""
        here = self._index.at(node, named)
        right = [one for one in here if named[one.idx] == one.decision_id and not one.batch]
        return right, len(here) - len(right)


def recorded_in(ledger: Ledger, subject: SubjectId, *, now: float) -> Recorded | None:
    """Return what a ledger knows of a person; None as well of who was erased."""
    records = ledger.records_of([subject]).get(subject, [])
    if not records or standing_of(records, subject=subject, as_of=int(now)).erased:
        return None
    return Recorded(records[0].company, max(record.sequence for record in records))


def _named(report: Mapping[str, Any]) -> dict[int, str]:
    """Return the ids that an answer names, by their place.

    Raises:
        RequestInvalid: They are not places and ids, too many, or twice the same.
    """
    told = report.get("decisions")
    if not isinstance(told, list) or len(told) > MOST:
        raise RequestInvalid(f"the answer is no list of at most {MOST} decisions")
    named: dict[int, str] = {}
    for one in told:
        place, decision = (one.get("entry"), one.get("decision")) if isinstance(one, dict) else _NO
        if type(place) is not int or place < 0 or not isinstance(decision, str):
            raise RequestInvalid("the answer names no places and ids")
        if not 0 < len(decision) <= _LONGEST_ID or place in named:
            raise RequestInvalid("the answer names an entry twice, or no id")
        named[place] = decision
    return named


_NO = (None, None)
