"""The head of a log: its size, frontier, newest checkpoint and keys, opened and grown.

Everything that one commit changes at once is here, so that whoever reads a log sees one commit or
the next, never a part of each. Not here: who may append (`audit.log`), the tables
(`audit.log_store`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.errors import CheckpointInvalid, LogTampered, SignatureInvalid, Tampering
from audit.events import EventKind, Value
from audit.key_chain import KEY_KINDS, is_key_change
from audit.keys import SigningKey
from audit.leaf import decode_leaf
from audit.log_keys import SigningKeys
from audit.log_store import Group, LogStore, PayloadRow, Taken
from audit.once import Names, Work
from audit.trace_context import TRACE_ID
from audit.tree import Frontier, Node, extend, frontier_at, leaf_hash, root_of

_MOST_CHANGES = 100_000


class Head(NamedTuple):
    """The log at its newest commit; replaced as a whole."""

    origin: str
    size: int
    frontier: Frontier
    note: str
    keys: SigningKeys


class Growth(NamedTuple):
    """What a group makes of a head: each work's first index or error, what to write, the head."""

    firsts: list[int | Exception]
    group: Group | None
    head: Head


def open_head(store: LogStore, key: SigningKey, *, origin: str, key_folder: Path | None) -> Head:
    """Return where a store's log ends, as its keys last signed it; sign a new one at size 0.

    Raises:
        EvidenceUnavailable: It cannot be read or written, or a key is not there.
        LogTampered: Its end is not what its keys last signed for this origin.
    """
    keys = _follow_keys(store, key, key_folder)
    size, last = store.size(), store.last_checkpoint()
    if last is None:
        if size:
            raise LogTampered(Tampering.SIGNATURE, "a log with entries has no checkpoint")
        head = _sign(origin, 0, (), keys)
        store.write(Group([], [], [], (0, head.note)))
        return head
    frontier, (_, note) = frontier_at(size, store.node), last
    try:
        signed = open_checkpoint(note, keys.chain, origin=origin)
    except (CheckpointInvalid, SignatureInvalid) as error:
        raise LogTampered(
            Tampering.SIGNATURE, f"the last checkpoint is not by {key.name} for {origin}"
        ) from error
    if (signed.size, signed.root) != (size, root_of(frontier)):
        raise LogTampered(
            Tampering.FORKED if signed.size <= size else Tampering.TRUNCATED,
            f"last signed at size {signed.size}, found {size} entries or another root: "
            "keep the file and verify it",
            index=signed.size,
        )
    return Head(origin, size, frontier, note, keys)


def grow(
    head: Head,
    works: Sequence[Work],
    *,
    find: Callable[[Sequence[str]], Iterable[Taken]],
    holds: Callable[[int, bytes], bool],
    every: bool,
) -> Growth:
    """Return what a group of works makes of a head; nothing is written yet.

    Args:
        head: The log at its newest commit.
        works: The group.
        find: Returns those of some names that the log has taken.
        holds: Says whether an entry of the log has the event of a leaf.
        every: Look up the ids of decisions too (`audit.once`).

    Raises:
        EvidenceUnavailable: The storage cannot be read.
        KeyChangeInvalid: An entry changes keys and does not follow from those before.
    """
    entries, nodes, payloads = list[tuple[int, bytes]](), list[Node](), list[PayloadRow]()
    firsts, size, frontier = list[int | Exception](), head.size, head.frontier

    def is_at(index: int, leaf: bytes) -> bool:
        beyond = index - head.size
        return same_event(entries[beyond][1], leaf) if beyond >= 0 else holds(index, leaf)

    names = Names(works, find=find, holds=is_at, every=every)
    for work in works:
        known = names.place(work, size)
        firsts.append(size if known is None else known)
        for pending in work.pending if known is None else ():
            frontier, made = extend(frontier, size, leaf_hash(pending.leaf))
            nodes += made
            entries.append((size, pending.leaf))
            if pending.body is not None:
                payloads.append(PayloadRow(size, pending.key_id, pending.body))
            size += 1
    if not entries:
        return Growth(firsts, None, head)
    keys = head.keys.after(entry for entry in entries if is_key_change(entry[1]))
    grown = _sign(head.origin, size, frontier, keys)
    return Growth(firsts, Group(entries, nodes, payloads, (size, grown.note), names.new), grown)


def same_event(leaf: bytes, other: bytes) -> bool:
    """Say whether two leaves say the same event, in whatever trace, whatever is committed to."""
    return _said(leaf) == _said(other)


def _said(leaf: bytes) -> tuple[EventKind, float, dict[str, Value]]:
    event = decode_leaf(leaf)[0]
    fields = {name: value for name, value in event.fields.items() if name != TRACE_ID}
    return event.kind, event.at, fields


def _follow_keys(store: LogStore, key: SigningKey, folder: Path | None) -> SigningKeys:
    """Load the keys that sign now, as the log's own entries say; these are never dropped."""
    rows = (row for kind in KEY_KINDS for row in store.newest(kind.value, _MOST_CHANGES))
    try:
        return SigningKeys.follow(key, folder, sorted(rows))
    except SignatureInvalid as error:
        raise LogTampered(Tampering.SIGNATURE, str(error)) from error


def _sign(origin: str, size: int, frontier: Frontier, keys: SigningKeys) -> Head:
    checkpoint = Checkpoint(origin=origin, size=size, root=root_of(frontier))
    return Head(origin, size, frontier, sign_checkpoint(checkpoint, *keys.signers), keys)
