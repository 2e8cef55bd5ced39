"""Branches' decisions at the trust service: taken in page by page, none on a branch's word.

A page counts when every leaf of it is in the branch's log at the size that this service's own
witness cosigned last (`audit.branch_leaves`), and when it begins where the one before ended. A page
that comes twice changes nothing. From where a branch goes on is kept here, so whoever was away
resumes; few pages are read at a time, and who comes meanwhile is asked to come again.

Not here: who was decided about, which no leaf says, and what was considered, which stays sealed at
the branch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from audit.branch_leaves import DECISIONS, MOST_LEAVES, open_page
from audit.errors import EventInvalid, ProofInvalid
from audit.events import EventKind
from audit.hold import Hold
from audit.portal.branch_index import BranchIndex, Reported
from audit.portal.decision_sources import BranchSource, BranchState
from audit.retention_policy import RetentionPolicy
from audit.witness_store import Seen, WitnessStore
from consent.enrolment import NODE_ORIGIN, Enrolment
from consent.errors import Busy, Conflict, RequestInvalid
from consent.ledger import Ledger
from consent.tables import NodeRow
from consent.wire import LeafPageIn
from policies.clock import Clock

SILENT_S = 900.0
"""After how long without a word a branch is said to be silent; it speaks once a minute."""

_AT_ONCE = 2
_FORGET_S = 3600.0


class Branches:
    """Takes pages in, and says how far each branch is; thread-safe."""

    def __init__(
        self,
        index: BranchIndex,
        *,
        witnessed: Callable[[], WitnessStore],
        nodes: Callable[[], list[NodeRow]],
        retention: RetentionPolicy,
        holds: Callable[[], list[Hold]],
        clock: Clock,
    ) -> None:
        """Join the parts.

        Args:
            index: Keeps what was verified.
            witnessed: What this service cosigned of each log.
            nodes: The enrolled nodes.
            retention: For how long decisions are kept.
            holds: The legal holds in force.
            clock: Unix seconds.
        """
        self.index = index
        self._witnessed, self._nodes, self._clock = witnessed, nodes, clock
        self._retention, self._holds = retention, holds
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._forgot_at = float("-inf")

    def state(self, node: NodeRow) -> dict[str, int]:
        """Return with which entry a node's next page begins, and the size to prove it at.

        Raises:
            EvidenceUnavailable: Not known now; later again.
        """
        self.index.hear(node.node, self._clock())
        self.forget()
        return self._state(node)

    def receive(self, node: NodeRow, said: LeafPageIn) -> dict[str, int]:
        """Take a page of a node's in; return its state after it.

        1. one of few at a time; 2. proven at the size cosigned last, and the node's next; one
        that was taken before changes nothing; 3. every leaf holds; 4. kept, all or none.

        Raises:
            Busy: Others are being read.
            Conflict: It is of another size, or does not begin where the last one ended.
            RequestInvalid: A leaf does not hold; nothing is kept.
            EvidenceUnavailable: Not kept; later again.
        """
        if not self._turns.acquire(blocking=False):  # 1
            raise Busy("pages of other branches are being read: send it again in a moment")
        try:
            return self._receive(node, said)
        finally:
            self._turns.release()

    def states(self) -> list[BranchState]:
        """Return every branch that is enrolled, and every one that is not any more, by name."""
        told = {one.log: one for one in self.index.reported()}
        rows = {row.node: row for row in self._nodes()}
        names = sorted({*rows, *told})
        return [self._of(name, rows.get(name), told.get(name)) for name in names]

    def forget(self) -> None:
        """Delete what has passed its period and no legal hold covers; at most once an hour.

        Raises:
            EvidenceUnavailable: It could not be deleted; later again.
        """
        now = self._clock()
        if 0 <= now - self._forgot_at < _FORGET_S:
            return
        held = [
            (_or(hold.scope.since, 0.0), _or(hold.scope.until, float("inf")))
            for hold in self._holds()
            if not hold.scope.kinds or hold.scope.kinds & DECISIONS
        ]
        self.index.forget(self._kept_from(now), held=held)
        self._forgot_at = now

    def _kept_from(self, now: float) -> dict[EventKind, float]:
        return {kind: now - self._retention.kept_s(kind) for kind in DECISIONS}

    def _receive(self, node: NodeRow, said: LeafPageIn) -> dict[str, int]:
        seen, reached = self._seen(node), self.index.reached(node.node)
        if said.end <= reached:
            return self._state(node)
        if seen is None or said.size != seen.size or said.start != reached:  # 2
            size = 0 if seen is None else seen.size
            raise Conflict(f"the next page begins at {reached}, proven at the cosigned size {size}")
        try:
            page = open_page(said.model_dump(), size=seen.size, root=seen.root, node=node.node)  # 3
        except (ProofInvalid, EventInvalid) as error:
            raise RequestInvalid(f"node {node.node}: {error}", field="leaves") from error
        self.index.take(node.node, page, seen.note, now=self._clock())  # 4
        return self._state(node)

    def _state(self, node: NodeRow) -> dict[str, int]:
        seen = self._seen(node)
        size = 0 if seen is None else seen.size
        return {"start": self.index.reached(node.node), "size": size, "most": MOST_LEAVES}

    def _seen(self, node: NodeRow) -> Seen | None:
        return self._witnessed().seen(NODE_ORIGIN + node.node)

    def _of(self, name: str, row: NodeRow | None, told: Reported | None) -> BranchState:
        seen = self._witnessed().seen(NODE_ORIGIN + name)
        heard = None if told is None else told.heard
        return BranchState(
            node=name,
            company="" if row is None else row.company,
            reached=0 if told is None else told.size,
            cosigned=0 if seen is None else seen.size,
            heard=heard,
            silent=heard is None or self._clock() - heard > SILENT_S,
        )


def source_of(branches: Branches, enrolment: Enrolment) -> BranchSource:
    """Return what the portal's pages search: no decision is on them that did not hold."""

    def key(node: str) -> str:
        found = enrolment.find_log(NODE_ORIGIN + node)
        return "" if found is None else str(found)

    return BranchSource(index=branches.index, states=branches.states, key=key)


def enrolled_branches(ledger: Ledger, coordinator: str | None) -> list[NodeRow]:
    """Return the nodes that people speak with; the coordinator, enrolled too, is none."""
    return [row for row in ledger.nodes() if row.node != coordinator]


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
