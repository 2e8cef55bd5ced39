"""Where decisions are found: this service's own log, and what branches handed over of theirs.

Both are searched by one question and shown in one order. Each decision is proven where it was
taken: our own by our log's receipt, a branch's by the checkpoint of its log that we cosigned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from urllib.parse import quote

from audit.errors import EntryMissing
from audit.events import Event
from audit.leaf import decode_leaf
from audit.portal.branch_index import BranchIndex
from audit.portal.decision_index import Found, Key, Search
from audit.portal.evidence_desk import EvidenceDesk
from audit.portal.listing import Cell, Listing, badge, number, plain, when
from audit.portal.moments import moment
from audit.trace import Link, Proofs, trace

NODE_ORIGIN = "undertone/"
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchState:
    """What is known of one branch's decisions: `reached` of the `cosigned` entries are read.

    `heard` is the Unix second at which it last spoke of them; `silent` that it is too long ago.
    """

    node: str
    company: str
    reached: int
    cosigned: int
    heard: float | None
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchSource:
    """What branches handed over, how far each is, and the key of each one's log."""

    index: BranchIndex
    states: Callable[[], Sequence[BranchState]]
    key: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One decision, opened: the leaf to the byte, its event, the log's key, and the trace."""

    leaf: bytes
    event: Event
    key: str
    links: Sequence[Link]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Both, as one."""

    desk: EvidenceDesk
    branches: BranchSource | None = None

    def find(self, search: Search, *, limit: int, after: Key | None = None) -> list[Found]:
        """Return the newest decisions that fit, at most `limit`, after a row if one is named."""
        own = self.desk.index.find(search, limit=limit, after=after)
        if self.branches is None:
            return own
        theirs = self.branches.index.find(search, limit=limit, after=after)
        return sorted([*own, *theirs], key=lambda f: (f.at, f.log, f.idx), reverse=True)[:limit]

    def words(self, name: str) -> list[str]:
        """Return the values that decisions have of a field, in order."""
        theirs = [] if self.branches is None else self.branches.index.words(name)
        return sorted({*self.desk.index.words(name), *theirs})

    def states(self) -> Sequence[BranchState]:
        """Return how far each branch is."""
        return () if self.branches is None else self.branches.states()

    def known(self, decision: str, log: str | None) -> Found:
        """Return a decision by its id: of the branch that is named, else our own first.

        Raises:
            EntryMissing: There is none.
        """
        own = self.desk.index.one(decision[:200]) if log is None else None
        theirs = None
        if own is None and self.branches is not None:
            theirs = self.branches.index.one(decision[:200], log)
        found = own or theirs
        if found is None:
            raise EntryMissing(
                "no such decision is here: check the id, and how far each branch has handed over"
                if self.branches is not None
                else "this log has no such decision: check the id, and ask the log it is in"
            )
        return found

    def receipt(self, found: Found) -> str:
        """Return the proof of a decision, to verify offline."""
        branches = self.branches
        if not found.log or branches is None:
            return self.desk.witnessing.receipt(found.idx)
        return branches.index.receipt(found.log, found.idx)

    def open(self, found: Found) -> Opened:
        """Return a decision with all that is known of it."""
        branches = self.branches
        if not found.log or branches is None:
            return self._open_own(found)
        index, log = branches.index, found.log
        proofs = Proofs(
            NODE_ORIGIN + log,
            lambda place: index.receipt(log, place),
            elsewhere="what was done under it stays in the branch's own log: ask there",
        )
        leaf = index.leaf(log, found.idx)
        return Opened(
            leaf=leaf,
            event=decode_leaf(leaf)[0],
            key=branches.key(log),
            links=trace(index.around(found), found.decision_id, proofs),
        )

    def _open_own(self, found: Found) -> Opened:
        desk = self.desk
        entry = desk.log.entry(found.idx)
        entries = (desk.log.entry(place) for place in desk.index.around(found))
        leaves = ((entry.index, entry.leaf) for entry in entries)
        return Opened(
            leaf=entry.leaf,
            event=entry.event,
            key=str(desk.log.key.verify_key),
            links=trace(leaves, found.decision_id, Proofs(desk.log.origin, desk.log.receipt)),
        )


def branch_listing(states: Sequence[BranchState], zone: tzinfo) -> Listing:
    """Return how far each branch is, as a table."""
    return Listing(
        name="branches",
        caption="How far each branch has handed over",
        columns=("Branch", "Company", "State", "Last heard", "Entries read", "Entries cosigned"),
        rows=[
            (
                plain(one.node, href=f"/decisions?node={quote(one.node)}"),
                plain(one.company or "not enrolled any more"),
                _state(one),
                when(one.heard, zone),
                number(one.reached),
                number(one.cosigned),
            )
            for one in states
        ],
        empty="No branch is enrolled yet. A branch's node hands its decisions over by itself, page "
        "by page, as soon as its log was cosigned here.",
    )


def silence(states: Sequence[BranchState], zone: tzinfo, *, node: str | None) -> list[str]:
    """Return whose newest decisions may be missing, a line each; of one node where it is named.

    Who fell silent stands before who never spoke; of each a few are named, the others counted.
    """
    quiet = [one for one in states if one.silent and node in {None, one.node}]
    spoke = sorted((one.heard, one.node) for one in quiet if one.heard is not None)
    never = [one.node for one in quiet if one.heard is None]
    lines = [
        f"{name} has said nothing since {moment(heard, zone)}: what it decided after that is not "
        "here yet."
        for heard, name in spoke[:_NAMED]
    ]
    if len(spoke) > _NAMED:
        lines.append(f"{len(spoke) - _NAMED} more branches are silent: the last table names them.")
    if never:
        rest = f" and {len(never) - _NAMED} more" if len(never) > _NAMED else ""
        names = ", ".join(never[:_NAMED]) + rest
        lines.append(f"Nothing was handed over yet by {names}: it is in the branch's log alone.")
    return lines


def _state(one: BranchState) -> Cell:
    if one.heard is None:
        return badge("has never handed over", "warn")
    if one.silent:
        return badge("silent", "warn")
    behind = one.cosigned - one.reached
    return badge("up to date", "ok") if behind <= 0 else badge(f"{behind:,} to read", "quiet")
