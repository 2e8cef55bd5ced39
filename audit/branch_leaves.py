"""A page of a log's decisions for whoever cosigned that log, each proven where it stands.

Body of a page, JSON:

    start, end         which entries were read for it; the next page begins at `end`
    size               the size at which the reader cosigned the log: every proof leads to its root
    leaves             [{index, leaf, proof}], leaf and hashes in base64, in order

A page has decisions, and the few kinds of entry that say what was in force when they were made;
what was done under a decision (turns, labels, budgets) stays in its log. A reader takes no leaf on
anybody's word: it has the root itself. That no decision was left out, a page does not show.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.errors import EventInvalid, ProofInvalid
from audit.events import Event, EventKind
from audit.leaf import MAX_LEAF_BYTES, decode_leaf
from audit.log import EvidenceLog
from audit.tree import leaf_hash, verify_inclusion

DECISIONS = frozenset({EventKind.DECISION, EventKind.BATCH_DECISION})
IN_FORCE = frozenset(
    {
        EventKind.SERVICE_STARTED,
        EventKind.STANDING_APPLIED,
        EventKind.RELEASE_LOADED,
        EventKind.LOCAL_HEAD_FITTED,
    }
)
HANDED = DECISIONS | IN_FORCE
"""What leaves a log in pages; `docs/architecture.md` says why each does."""

MOST_LEAVES = 100
MOST_READ = 2_000
MOST_LEAF_BYTES = 256 * 1024
MOST_PAGE_BYTES = 1024 * 1024
"""A page's own limits: its leaves, the entries read for it, the bytes of its leaves, its body."""

_MOST_HASHES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenLeaf:
    """One leaf with its audit path; `event` is what the leaf says."""

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafPage:
    """Leaves among the entries from `start` up to `end`, proven at `size`."""

    start: int
    end: int
    size: int
    leaves: tuple[ProvenLeaf, ...]


def make_page(log: EvidenceLog, start: int, size: int) -> dict[str, Any]:
    """Return the next page of a log from an entry on, as JSON values.

    Raises:
        EntryMissing: The log never had that size.
        EvidenceUnavailable: It cannot be read.
    """
    end, bulk, leaves = start, 0, list[dict[str, Any]]()
    for entry in log.entries(start, min(size, start + MOST_READ)):
        if entry.event.kind in HANDED:
            bulk += len(entry.leaf)
            if leaves and (len(leaves) == MOST_LEAVES or bulk > MOST_LEAF_BYTES):
                break
            proof = [_text(part) for part in log.inclusion(entry.index, size)]
            leaves.append({"index": entry.index, "leaf": _text(entry.leaf), "proof": proof})
        end = entry.index + 1
    return {"start": start, "end": end, "size": size, "leaves": leaves}


def open_page(said: Mapping[str, Any], *, size: int, root: bytes, node: str) -> LeafPage:
    """Return a page whose every leaf is in the log of that root, and of that node.

    Args:
        said: The body, read as JSON.
        size: The size at which the reader cosigned the log.
        root: The root that it cosigned there.
        node: Whose log it is; a decision of it names no other.

    Raises:
        EventInvalid: Malformed, out of order, too many, of a kind that is not asked for, or a
            decision in another's name.
        ProofInvalid: A leaf is not in the log.
    """
    page = _read(said)
    if page.size != size:
        raise ProofInvalid(f"the page is proven at size {page.size}, cosigned is {size}")
    if not 0 <= page.start <= page.end <= size or len(page.leaves) > MOST_LEAVES:
        raise EventInvalid(f"a page has at most {MOST_LEAVES} leaves, of entries that are cosigned")
    places = [one.index for one in page.leaves]
    if places != sorted(set(places)) or any(not page.start <= p < page.end for p in places):
        raise EventInvalid("the leaves of a page stand in order, between its start and its end")
    for one in page.leaves:
        verify_inclusion(leaf_hash(one.leaf), one.index, size, one.proof, root)
        if one.event.kind not in HANDED:
            raise EventInvalid("a page has decisions and what was in force, and nothing else")
        if one.event.fields.get("node") not in {node, None}:
            raise EventInvalid("a page has decisions of its own node, and of no other")
    return page


def _read(said: Mapping[str, Any]) -> LeafPage:
    try:
        leaves = [_leaf(row) for row in said["leaves"]]
        start, end, size = (_number(said[name]) for name in ("start", "end", "size"))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EventInvalid("not a page of leaves", field="leaves") from error
    return LeafPage(start=start, end=end, size=size, leaves=tuple(leaves))


def _leaf(row: Mapping[str, Any]) -> ProvenLeaf:
    leaf = base64.b64decode(row["leaf"], validate=True)
    proof = tuple(base64.b64decode(part, validate=True) for part in row["proof"])
    if len(leaf) > MAX_LEAF_BYTES or len(proof) > _MOST_HASHES:
        raise ValueError("a leaf or its proof is too long")
    return ProvenLeaf(
        index=_number(row["index"]), leaf=leaf, proof=proof, event=decode_leaf(leaf)[0]
    )


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not a whole number")
    return value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
