"""The evidence log: what was done, in order, provable offline, durable before it counts.

An append returns when its entry, the tree nodes it completes and a signed checkpoint over
the whole log are on disk, in one transaction (`audit.log_store`). Private payloads lie beside
the tree, sealed with the person's own key, so that erasing them leaves every root as it was.
No pseudonym is in this database: a sealed payload carries the id of the key that sealed it,
and only the keystore knows whose it is.

Not here: how it grows (`audit.log_head`), the tree (`audit.tree`), offline verification
(`audit.verify`), witnesses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.archive import Archive
from audit.drafts import MOST_AHEAD_S, Draft, Payloads, check_drafts, traced
from audit.errors import (
    EntryMissing,
    EvidenceUnavailable,
    LogTampered,
)
from audit.events import Event, EventKind
from audit.group_commit import GroupCommit
from audit.keys import SigningKey
from audit.keystore import Keystore
from audit.leaf import decode_leaf, read_payload
from audit.log_head import grow, open_head, same_event
from audit.log_keys import FOLDER, SigningKeys
from audit.log_store import LogStore, NameTaken, open_store
from audit.once import Work, check_submission_id
from audit.receipt import make_receipt
from audit.sealed_leaves import SealedLeaves
from audit.tree import (
    frontier_at,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
)
from policies.clock import Clock
from policies.vocabulary import SubjectId

__all__ = ["MOST_AHEAD_S", "Draft", "Entry", "EvidenceLog"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its place, its leaf to the byte, and the event the leaf says."""

    index: int
    leaf: bytes
    event: Event


class EvidenceLog:
    """An append-only Merkle log with one writer; thread-safe."""

    def __init__(
        self,
        place: Path | str,
        key: SigningKey,
        *,
        origin: str,
        clock: Clock,
        keystore: Keystore | None = None,
        archive: Archive | None = None,
        key_folder: Path | None = None,
    ) -> None:
        """Open or begin a log, and check that it ends as it was last signed.

        Args:
            place: A SQLite file, or a `postgresql://` URL.
            key: The log's first key, its identity; it signs until a rotation retires it.
            origin: The log's name in its checkpoints, one word.
            clock: Time of the events that the log itself needs.
            keystore: Seals the payloads of people. Without one, a person's payload is not
                kept at all: the leaf has the commitment, and `payload` returns None.
            archive: Where sealed entries are read that the live store has dropped.
            key_folder: Where later keys lie; beside a file in `log-keys` where none is said.

        Raises:
            EvidenceUnavailable: Another owner holds it, the disk refuses, or a key is not there.
            LogTampered: Its end is not what its keys last signed for this origin.
        """
        self.key = key
        self.origin = origin
        self.clock = clock
        self._payloads = Payloads(keystore)
        self._shut: LogTampered | None = None
        self._submitting, self._last = threading.Lock(), Future[list[int | Exception]]()
        self._last.set_result([])
        self._store = open_store(place)
        self._leaves = SealedLeaves(self._store, archive)
        if key_folder is None and isinstance(place, Path):
            key_folder = place.with_name(FOLDER)
        try:
            self._head = open_head(self._store, key, origin=origin, key_folder=key_folder)
        except BaseException:
            self._store.close()
            raise
        self._writer = GroupCommit[Sequence[Work], list[int | Exception]](
            self._write_all, name=f"log-{origin}"
        )

    def append(
        self,
        event: Event,
        *,
        private: Mapping[str, Any] | None = None,
        subject: SubjectId | None = None,
    ) -> int:
        """Record an event; return its index once it is durable.

        Args:
            event: What happened.
            private: What to commit to and keep beside the tree; JSON.
            subject: Whose payload it is; it is sealed with their key.

        Raises:
            EvidenceUnavailable: It could not be made durable: closed, disk full, keystore gone.
            EventInvalid: The payload is not JSON, or the event's time lies ahead of the clock.
            EntryRepeated: It is a decision whose id the log has already.
        """
        return self.append_many([Draft(event, private, subject)])[0]

    def append_many(self, drafts: Sequence[Draft], *, submission: str | None = None) -> range:
        """Record events together, all or none; return their indices.

        Args:
            drafts: What to record.
            submission: The id under which these same events are recorded once, however often they
                are submitted.

        Raises:
            EvidenceUnavailable: They could not be made durable.
            EventInvalid: A payload is not JSON, or an event's time lies ahead of the clock.
            EntryRepeated: A decision's id is in the log already, or other events are under this
                submission's.
        """
        if not drafts:
            return range(0)
        (said,) = self.append_works([self.prepare(drafts, submission=submission)])
        if isinstance(said, Exception):
            raise said
        return said

    def prepare(self, drafts: Sequence[Draft], *, submission: str | None = None) -> Work:
        """Return the bytes of events that are to be recorded together, for `append_works`.

        Raises:
            EvidenceUnavailable: Nothing is recorded any more, or a payload cannot be sealed.
            EventInvalid: A payload is not JSON, or an event's time lies ahead of the clock.
        """
        if self._shut is not None:
            raise EvidenceUnavailable(f"nothing is recorded any more: {self._shut}") from self._shut
        check_drafts(drafts, now=self.clock())
        known = None if submission is None else check_submission_id(submission)
        return Work(self._payloads.prepare(traced(drafts)), known)

    def append_works(self, works: Sequence[Work]) -> list[range | Exception]:
        """Record what several callers prepared, each all or none; return indices or an error each.

        Raises:
            EvidenceUnavailable: The log is closed, or nothing could be made durable.
        """
        if self._shut is not None:
            raise EvidenceUnavailable(f"nothing is recorded any more: {self._shut}") from self._shut
        with self._submitting:
            self._last = self._writer.submit(works)
            done = self._last
        return [
            first if isinstance(first, Exception) else range(first, first + len(work.pending))
            for work, first in zip(works, done.result(), strict=True)
        ]

    def change_keys(self, make: Callable[[int], Event]) -> int:
        """Record a change of the log's own keys; return its index once it is durable.

        Nothing else is submitted meanwhile: the event is signed for its very place.

        Args:
            make: Makes the event for an index.

        Raises:
            EvidenceUnavailable: It could not be made durable.
            KeyChangeInvalid: The event does not follow from the keys; nothing is recorded.
        """
        if self._shut is not None:
            raise EvidenceUnavailable(f"nothing is recorded any more: {self._shut}") from self._shut
        with self._submitting:
            wait([self._last])
            (pending,) = self._payloads.prepare([Draft(make(self.size))])
            self.keys.after([(self.size, pending.leaf)])
            self._last = self._writer.submit([Work([pending], None)])
            (first,) = self._last.result()
        if isinstance(first, Exception):
            raise first
        return first

    def forget(self, subject: SubjectId) -> int:
        """Delete a person's payloads, and those whose key is already destroyed; return how many.

        Before or after `Keystore.destroy`: either way nothing of the person stays. The tree
        keeps every leaf, and every root.

        Raises:
            EvidenceUnavailable: The keystore cannot say whose is whose, or the disk refuses.
        """
        doomed = self._payloads.doomed(subject, self._store.payload_key_ids())
        return self._store.delete_payloads(doomed) if doomed else 0

    def shut(self, why: LogTampered) -> LogTampered:
        """Record nothing more: somebody holds a later history of ours; return the reason.

        To go on would fork the log for good. Reading and proving go on.
        """
        self._shut = why
        return why

    @property
    def store(self) -> LogStore:
        """The tables, for what keeps, seals and drops (`audit.retention`, `audit.sealing`)."""
        return self._store

    @property
    def keys(self) -> SigningKeys:
        """The keys that the log signs with now, and its chain."""
        return self._head.keys

    @property
    def size(self) -> int:
        """Number of durable entries."""
        return self._head.size

    def root(self, size: int | None = None) -> bytes:
        """Return the 32-byte root now, or when the log had `size` entries.

        Raises:
            EntryMissing: The log never had that size.
        """
        head = self._head
        if size is None or size == head.size:
            return root_of(head.frontier)
        self._check_size(size)
        return root_of(frontier_at(size, self._store.node))

    def checkpoint(self) -> str:
        """Return the newest checkpoint as a signed note; every commit stores one."""
        return self._head.note

    def checkpoint_at(self, size: int) -> str:
        """Return the checkpoint that was signed at a size.

        Raises:
            EntryMissing: None was; not every size has one.
        """
        note = self._store.checkpoint_at(size)
        if note is None:
            raise EntryMissing(f"no checkpoint was signed at size {size}")
        return note

    def entry(self, index: int) -> Entry:
        """Return one entry.

        Raises:
            EntryMissing: There is no such entry.
        """
        found = self.entries(index, index + 1) if 0 <= index < self.size else []
        if not found:
            raise EntryMissing(f"entry {index} is not in the log of {self.size} entries")
        return found[0]

    def entries(self, start: int, end: int) -> list[Entry]:
        """Return the entries from `start` up to `end`, as far as there are any.

        Raises:
            ArchiveOffline: Some are in an archive that is not at hand.
        """
        rows = self._leaves.leaves(max(start, 0), min(end, self.size))
        return [Entry(index, leaf, decode_leaf(leaf)[0]) for index, leaf in rows]

    def find(self, kind: EventKind, limit: int = 100) -> list[Entry]:
        """Return the newest entries of one kind, newest first."""
        rows = self._leaves.newest(kind.value, limit)
        return [Entry(index, leaf, decode_leaf(leaf)[0]) for index, leaf in rows]

    def payload(self, index: int) -> dict[str, Any] | None:
        """Return what an entry committed to; None if there was nothing, or it was erased.

        Raises:
            EntryMissing: There is no such entry.
            LogTampered: The payload is not the one the leaf committed to.
            EvidenceUnavailable: The keystore cannot be read.
        """
        _, commitment = decode_leaf(self.entry(index).leaf)
        row = self._store.payload(index)
        if row is None or commitment is None:
            return None
        body = self._payloads.open(row, commitment)
        return None if body is None else read_payload(body, commitment)

    def sealed_for(self, subject: SubjectId) -> list[int]:
        """Return the entries whose payload is sealed with this person's own key, in order.

        Raises:
            EvidenceUnavailable: The keystore or the storage cannot be read.
        """
        return self._store.sealed_by(self._payloads.keys_of(subject))

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the audit path of an entry at a size.

        Raises:
            EntryMissing: The log never had that size.
            ProofInvalid: The entry is beyond that size.
        """
        self._check_size(size)
        return prove_inclusion(index, size, self._store.node)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the log of size `old` begins the one of size `new`.

        Raises:
            EntryMissing: The log never had the size `new`.
            ProofInvalid: `old` is 0 or beyond `new`.
        """
        self._check_size(new)
        return prove_consistency(old, new, self._store.node)

    def node(self, level: int, place: int) -> bytes:
        """Return the hash of a complete node of the tree.

        Raises:
            EntryMissing: The log has not got so far.
        """
        return self._store.node(level, place)

    def receipt(self, index: int) -> str:
        """Return the offline proof (tlog-proof) that an entry is in the log as it is now.

        Raises:
            EntryMissing: There is no such entry.
        """
        head = self._head
        if not 0 <= index < head.size:
            raise EntryMissing(f"entry {index} is not in the log of {head.size} entries")
        return make_receipt(index, prove_inclusion(index, head.size, self._store.node), head.note)

    def close(self) -> None:
        """Finish what was submitted and close; more than once does nothing."""
        self._writer.close()
        self._store.close()

    def _write_all(self, callers: Sequence[Sequence[Work]]) -> list[list[int | Exception]]:
        """Make the works of several callers durable together; return each caller's own."""
        firsts = iter(self._write([work for works in callers for work in works]))
        return [[next(firsts) for _ in works] for works in callers]

    def _write(self, works: Sequence[Work]) -> list[int | Exception]:
        """Make a group durable (writer thread only); return the first index of each work.

        A work that came before gets the index it has; one whose names are another's, its error.
        """
        try:
            return self._write_group(works, every=False)
        except NameTaken:
            return self._write_group(works, every=True)

    def _write_group(self, works: Sequence[Work], *, every: bool) -> list[int | Exception]:
        """Sign and write a group whose names, every one of them or submissions', are looked up.

        The head moves only after the commit. Should a commit succeed and report failure, the
        next one collides with it and fails too: the log stays shut until it is opened again.
        """
        growth = grow(self._head, works, find=self._store.taken, holds=self._holds, every=every)
        if growth.group is not None:
            self._store.write(growth.group)
            self._head = growth.head
        return growth.firsts

    def _holds(self, index: int, leaf: bytes) -> bool:
        """Say whether an entry has the event of a leaf; most can be told by the tree alone."""
        return self._store.node(0, index) == leaf_hash(leaf) or same_event(
            self.entry(index).leaf, leaf
        )

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise EntryMissing(f"the log has {self.size} entries, it never had {size}")
