"""Offline verification: read a log's file, recompute everything, name what was done to it.

Needs the file and the log's verify key, no service. It is opened read-only (a copy does as
well; copy `-wal` with it) and streamed, so memory does not grow with the log. In this order:

1. every leaf stands in its place and hashes to its stored node;
2. every complete node above follows from those below, none is missing, none too many;
3. every stored checkpoint is signed by the key and has the root the leaves give at its size;
4. the newest checkpoint covers the whole log;
5. every payload that can be read is the one its leaf committed to;
6. a checkpoint known from elsewhere (a receipt, a witness) lies on this history.

Whoever owns both file and key can write another history; step 6 is what finds that out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.errors import (
    CheckpointInvalid,
    EventInvalid,
    EvidenceUnavailable,
    LogTampered,
    SignatureInvalid,
    Tampering,
)
from audit.events import Event, EventKind
from audit.keys import VerifyKey
from audit.leaf import decode_leaf, read_payload
from audit.log_store import NEWEST_OF_KIND
from audit.tree import EMPTY_ROOT, Frontier, extend, leaf_hash, root_of

Progress = Callable[[int, int], None]
"""Called with entries done and entries in all."""

_PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """What was verified: entries, the root over them, stored checkpoints, and the newest's note."""

    size: int
    root: bytes
    checkpoints: int
    note: str


def verify_log(
    path: Path,
    key: VerifyKey,
    *,
    progress: Progress | None = None,
    known_checkpoint: str | None = None,
) -> VerifiedLog:
    """Verify a log's file from its first entry to its last.

    Args:
        path: The log's file, or a copy.
        key: The log's verify key.
        progress: Told how far it is.
        known_checkpoint: A signed checkpoint of this log that came from elsewhere.

    Raises:
        LogTampered: Something does not hold; says what (`Tampering`) and where.
        EvidenceUnavailable: The file cannot be read.
        CheckpointInvalid, SignatureInvalid: `known_checkpoint` is not one of this log.
    """
    known = None if known_checkpoint is None else open_checkpoint(known_checkpoint, key)
    with _reading(path) as database:
        return _Verification(database, key, known).run(progress)


def read_last(path: Path, kind: EventKind) -> Event | None:
    """Return the newest event of a kind as the file has it; whether it holds is `verify_log`'s.

    Raises:
        EvidenceUnavailable: The file cannot be read.
        LogTampered: It is no log.
    """
    with _reading(path) as database:
        row = database.execute(NEWEST_OF_KIND, (kind.value, 1)).fetchone()
    return None if row is None else decode_leaf(row[1])[0]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a log's file to read; what SQLite finds wrong with it is tampering."""
    try:
        with closing(_open(path)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise LogTampered(Tampering.FORMAT, f"{path.name} is not a sound log: {error}") from error


class _Verification:
    """One pass over one log."""

    def __init__(
        self, database: sqlite3.Connection, key: VerifyKey, known: Checkpoint | None
    ) -> None:
        self._database = database
        self._key = key
        self._known = known
        self._size = 0
        self._frontier: Frontier = ()
        self._nodes = 0
        self._origin = None if known is None else known.origin

    def run(self, progress: Progress | None) -> VerifiedLog:
        """Stream the log and compare, step by step."""
        total = self._count("entry")
        stored = self._checkpoints()
        pending, seen, known_root = next(stored, None), 0, None
        for index, leaf, stored_hash in self._leaves():
            while pending is not None and pending.size == self._size:
                seen, pending = self._check_root(pending, seen), next(stored, None)
            known_root = self._root_if_known(known_root)
            self._grow(index, leaf, stored_hash)  # 1, 2
            if progress is not None and self._size % _PROGRESS_EVERY == 0:
                progress(self._size, total)
        while pending is not None:  # 3, 4
            seen, pending = self._check_root(pending, seen), next(stored, None)
        self._check_end(seen)
        self._check_payloads()  # 5
        self._check_known(self._root_if_known(known_root))  # 6
        if progress is not None:
            progress(self._size, total)
        return VerifiedLog(
            size=self._size, root=root_of(self._frontier), checkpoints=seen, note=self._note()
        )

    def _grow(self, index: int, leaf: bytes, stored_hash: bytes | None) -> None:
        """Add a leaf and compare every node that it completes."""
        if index != self._size:
            raise LogTampered(
                Tampering.MISSING, f"entry {self._size} is gone, next is {index}", index=self._size
            )
        computed = leaf_hash(leaf)
        if stored_hash is None:
            raise LogTampered(Tampering.NODE, f"entry {index} has no tree node", index=index)
        if computed != stored_hash:
            raise self._changed(index, computed)
        self._frontier, made = extend(self._frontier, index, computed)
        for node in made[1:]:
            self._check_node(node.level, node.place, node.hash)
        self._nodes += len(made)
        self._size += 1

    def _changed(self, index: int, computed: bytes) -> LogTampered:
        """Tell an edited leaf from one that another entry once was."""
        found = self._database.execute(
            "SELECT idx FROM node WHERE level = 0 AND hash = ?", (computed,)
        ).fetchone()
        if found is None:
            text = f"entry {index} is not the leaf that was hashed"
            return LogTampered(Tampering.EDITED, text, index=index)
        text = f"entry {index} holds the leaf that entry {found[0]} was"
        return LogTampered(Tampering.REORDERED, text, index=index)

    def _check_node(self, level: int, place: int, expected: bytes) -> None:
        found = self._database.execute(
            "SELECT hash FROM node WHERE level = ? AND idx = ?", (level, place)
        ).fetchone()
        if found is None or found[0] != expected:
            text = f"tree node ({level}, {place}) does not follow from its entries"
            raise LogTampered(Tampering.NODE, text, index=place << level)

    def _check_root(self, checkpoint: Checkpoint, seen: int) -> int:
        """Compare a stored checkpoint with the leaves so far; return how many were seen."""
        if checkpoint.size > self._size:
            raise LogTampered(
                Tampering.TRUNCATED,
                f"the log ends at {self._size}, a checkpoint was signed at {checkpoint.size}",
                index=self._size,
            )
        if checkpoint.root != root_of(self._frontier):
            raise LogTampered(
                Tampering.FORKED,
                f"the entries give another root than the one signed at {checkpoint.size}: "
                "history was rewritten below that size",
                index=checkpoint.size,
            )
        return seen + 1

    def _check_end(self, seen: int) -> None:
        last = self._database.execute("SELECT MAX(size) FROM checkpoint").fetchone()[0]
        if not seen or last != self._size:
            raise LogTampered(
                Tampering.SIGNATURE,
                f"entries up to {self._size} are not covered by a checkpoint",
                index=0 if last is None else last,
            )
        if self._count("node") != self._nodes:
            raise LogTampered(Tampering.NODE, "there are tree nodes that no entry made")

    def _check_payloads(self) -> None:
        """Compare the payloads that are not sealed, and look for ones that nothing made."""
        rows = self._database.execute(
            "SELECT p.idx, p.key_id, p.body, e.leaf FROM payload p "
            "LEFT JOIN entry e ON e.idx = p.idx ORDER BY p.idx"
        )
        for index, key_id, body, leaf in rows:
            try:
                commitment = None if leaf is None else decode_leaf(leaf)[1]
                if commitment is None:
                    raise LogTampered(Tampering.PAYLOAD, "nothing committed to it")  # noqa: TRY301
                if key_id is None:
                    read_payload(body, commitment)
            except (LogTampered, EventInvalid) as error:
                text = f"the payload of entry {index} is not the one committed to"
                raise LogTampered(Tampering.PAYLOAD, text, index=index) from error

    def _note(self) -> str:
        """Return the newest checkpoint, which `_check_end` found to cover all."""
        row = self._database.execute(
            "SELECT note FROM checkpoint WHERE size = ?", (self._size,)
        ).fetchone()
        return str(row[0])

    def _root_if_known(self, found: bytes | None) -> bytes | None:
        """Keep the root at the size of the known checkpoint when the pass comes by."""
        if self._known is not None and self._known.size == self._size:
            return root_of(self._frontier)
        return found

    def _check_known(self, root: bytes | None) -> None:
        if self._known is None:
            return
        known, expected = self._known, EMPTY_ROOT if self._known.size == 0 else root
        if known.size > self._size:
            raise LogTampered(
                Tampering.TRUNCATED,
                f"the log ends at {self._size}, a known checkpoint says {known.size}",
                index=self._size,
            )
        if known.root != expected:
            raise LogTampered(
                Tampering.FORKED,
                f"a known checkpoint has another root at size {known.size}: two histories",
                index=known.size,
            )

    def _leaves(self) -> Iterator[tuple[int, bytes, bytes | None]]:
        return self._database.execute(
            "SELECT e.idx, e.leaf, n.hash FROM entry e "
            "LEFT JOIN node n ON n.level = 0 AND n.idx = e.idx ORDER BY e.idx"
        )

    def _checkpoints(self) -> Iterator[Checkpoint]:
        """Return the stored checkpoints by size, signatures and origin checked."""
        for size, note in self._database.execute("SELECT size, note FROM checkpoint ORDER BY size"):
            try:
                checkpoint = open_checkpoint(note, self._key, origin=self._origin)
            except (CheckpointInvalid, SignatureInvalid) as error:
                text = f"the checkpoint at {size} is not signed by {self._key.name} for this log"
                raise LogTampered(Tampering.SIGNATURE, text, index=size) from error
            if checkpoint.size != size:
                text = f"the checkpoint filed at {size} is for {checkpoint.size}"
                raise LogTampered(Tampering.SIGNATURE, text, index=size)
            self._origin = checkpoint.origin
            yield checkpoint

    def _count(self, table: str) -> int:
        return int(self._database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608


def _open(path: Path) -> sqlite3.Connection:
    """Open read-only; a copy without its `-wal` and `-shm` is opened as one that never changes."""
    if not path.is_file():
        raise EvidenceUnavailable(f"{path.name} is not there")
    uri = path.resolve().as_uri()
    alone = not path.with_name(path.name + "-wal").exists()
    database = sqlite3.connect(f"{uri}?{'immutable=1' if alone else 'mode=ro'}", uri=True)
    try:
        database.execute("BEGIN")
        database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        database.close()
        raise EvidenceUnavailable(f"{path.name} cannot be read as a database: {error}") from error
    return database
