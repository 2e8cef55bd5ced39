"""What officers ask of branches, each for a named request: logged, in memory alone, soon forgotten.

An officer or DPO says why they ask, and by which reference. 1. that is logged; 2. the ask goes to
the branches that it is for, with their standing, as people's requests do; 3. a branch answers,
under its own gate's permit, with an entry of its log that commits to the answer; 4. what it says is
held against what is proven here. That an answer is shown is logged as well, before it is. Asks and
answers are over when they waited for `KEPT_S` or `WAITS_S`, and when the service stops.
"""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from audit.events import Event, EventKind, Value
from audit.keys import LogKeys, VerifyKey
from audit.log import EvidenceLog
from audit.portal.branch_index import BranchIndex
from consent.bell import Bell
from consent.errors import Conflict, NotFound, RequestInvalid
from consent.rights_nodes import shown_entry
from consent.tables import NodeRow
from policies.canonical import digest
from policies.clock import Clock

KEPT_S, WAITS_S = 3600.0, 86_400.0
"""How long a first answer waits to be looked at, and an ask for one."""

MOST_OPEN = 20
"""Asks of a kind that one person may have open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What every desk of asks stands on; `keys_of` finds the keys of a node's log."""

    log: EvidenceLog
    index: BranchIndex
    bell: Bell
    keys_of: Callable[[VerifyKey], LogKeys]
    clock: Clock


class Why(StrEnum):
    """Why somebody may ask: a closed set, for it is logged."""

    AUTHORITY = "authority"
    PERSON = "person"
    REVIEW = "review"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Why it is asked, by which reference, and who asks."""

    why: Why
    reference: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one branch said, and at which Unix second."""

    outcome: str
    at: float
    report: Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Ask(ABC):
    """One ask: for whom it is (`nodes`), and what came back, by node."""

    ask: str = field(default_factory=lambda: secrets.token_hex(16))
    named: Named
    asked_at: float
    nodes: frozenset[str]
    answers: dict[str, Answer] = field(default_factory=dict)

    @abstractmethod
    def task(self) -> dict[str, Any]:
        """Return whom and what it is about, for the node."""

    def logged(self) -> dict[str, Value]:
        """Return what its entries say of it beside why, for what and by whom; never of whom."""
        return {}


_A = TypeVar("_A", bound=Ask)


class OfficerAsks(ABC, Generic[_A]):
    """Asks of one kind; thread-safe."""

    right: ClassVar[str]
    """The task, and the word in both logs."""

    def __init__(self, parts: DeskParts) -> None:
        self._log, self._index, self._bell = parts.log, parts.index, parts.bell
        self._keys_of, self._clock = parts.keys_of, parts.clock
        self._lock = threading.RLock()
        self._asks: dict[str, _A] = {}
        self._told: set[tuple[str, str]] = set()

    def of(self, ask: str, *, by: str) -> _A:
        """Return an ask of this person's.

        Raises:
            NotFound: There is none, it is over, or it is somebody else's.
        """
        with self._lock:
            self._expire()
            made = self._asks.get(ask)
        if made is None or made.named.by != by:
            raise NotFound(
                "no such question of yours is open: it was shown, took too long, or the service "
                "began anew; ask again where you asked it"
            )
        return made

    def open_by(self, by: str) -> list[_A]:
        """Return this person's open asks, the newest first."""
        with self._lock:
            self._expire()
            return [one for one in reversed(self._asks.values()) if one.named.by == by]

    # -- the branches' side -------------------------------------------------------------

    def tasks(self, node: NodeRow) -> list[dict[str, Any]]:
        """Return what is asked of a node and not answered, to go out with its standing."""
        waiting = self._waiting(node)
        self._told |= {(one.ask, node.node) for one in waiting}
        return [{"request": one.ask, "right": self.right} | one.task() for one in waiting]

    def has_news(self, node: NodeRow) -> bool:
        """Return whether there is an ask that the node has not heard of yet."""
        return any((one.ask, node.node) not in self._told for one in self._waiting(node))

    def knows(self, ask: str) -> bool:
        """Return whether an ask is open here."""
        with self._lock:
            return ask in self._asks

    def receive(self, node: NodeRow, ask: str, said: Mapping[str, Any]) -> None:
        """Take a branch's answer.

        Raises:
            NotFound: It was not asked of this node.
            Conflict: It has answered.
            RequestInvalid: Its log does not show the answer, or it cannot be of what was asked.
        """
        with self._lock:
            made = self._asks.get(ask)
            if made is None or node.node not in made.nodes:
                raise NotFound("no such request")
            if node.node in made.answers:
                raise Conflict("it was answered")
            report, fields = dict(said["report"]), shown_entry(node, said, self._keys_of)  # 3
            told = {"request": ask, "right": self.right, "digest": digest(report)}
            if any(fields.get(name) != value for name, value in told.items()):
                raise RequestInvalid("the log entry is not of this request and this report")
            outcome = str(fields["outcome"])
            kept = self._checked(made, node.node, outcome, report)  # 4
            self._answer(made, node.node, outcome, kept)

    # -- for each kind ------------------------------------------------------------------

    @abstractmethod
    def _checked(
        self, made: _A, node: str, outcome: str, report: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return what is kept of an answer that can be of what was asked.

        Raises:
            RequestInvalid: It cannot.
        """

    def _open(self, made: _A) -> None:
        """Log an ask and send it out.

        Raises:
            Conflict: This person has too many open.
            EvidenceUnavailable: It could not be logged.
        """
        with self._lock:
            if len(self.open_by(made.named.by)) >= MOST_OPEN:
                raise Conflict(f"{MOST_OPEN} asks of yours are open: look at those first")
            self._record(made, "asked")  # 1
            self._asks[made.ask] = made
        self._bell.ring(None)  # 2

    def _answer(self, made: _A, node: str, outcome: str, report: Mapping[str, Any]) -> None:
        made.answers[node] = Answer(outcome=outcome, at=self._clock(), report=report)

    def _forget(self, made: _A) -> None:
        """End an ask with all that came back."""
        with self._lock:
            made.answers.clear()
            self._asks.pop(made.ask, None)
            self._told -= {(made.ask, node) for node in made.nodes}

    def _waiting(self, node: NodeRow) -> list[_A]:
        with self._lock:
            if not self._asks:
                return []  # the rule by far
            self._expire()
            return [
                one
                for one in self._asks.values()
                if node.node in one.nodes and node.node not in one.answers
            ]

    def _expire(self) -> None:
        """Forget what waited too long to be looked at, or for an answer."""
        now = self._clock()
        for one in list(self._asks.values()):
            first = min((answer.at for answer in one.answers.values()), default=None)
            since, kept_s = (one.asked_at, WAITS_S) if first is None else (first, KEPT_S)
            if now - since > kept_s:
                self._forget(one)

    def _record(self, made: _A, step: str) -> None:
        fields: dict[str, Value] = {
            "request": made.ask,
            "right": self.right,
            "step": step,
            "by": made.named.by,
            "reason": made.named.why.value,
            "evidence": made.named.reference,
        }
        event = Event(kind=EventKind.REQUEST_STEP, at=self._clock(), fields=fields | made.logged())
        self._log.append(event)
