"""Offline verification: read a log's file, recompute everything, name what was done to it.

Needs the file and the log's first verify key, no service. It is opened read-only (a copy does as
well; copy `-wal` with it) and streamed, so memory does not grow with the log. In this order:

1. every leaf stands in its place and hashes to its stored node;
2. every complete node above follows from those below, none is missing, none too many;
3. every change of the log's key follows from the keys before it, and every stored checkpoint is
   signed by the keys of its size and has the root the leaves give there;
4. the newest checkpoint covers the whole log;
5. every payload that can be read is the one its leaf committed to;
6. a checkpoint known from elsewhere (a receipt, a witness) lies on this history;
7. where an archive is given, its manifests are by the log's own keys, each of its size.

Whoever owns both file and key can write another history; step 6 is what finds that out.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.archive import Archive
from audit.checked_run import (
    CheckedRun,
    Moment,
    check_node,
    checked_runs,
    foreign,
    open_to_read,
    read_rows,
)
from audit.checkpoint import Checkpoint, open_checkpoint, unverified_checkpoint
from audit.errors import (
    CheckpointInvalid,
    LogTampered,
    SignatureInvalid,
    Tampering,
)
from audit.events import Event, EventKind
from audit.key_chain import KeyChain
from audit.keys import VerifyKey
from audit.leaf import decode_leaf
from audit.log_sqlite import NEWEST_OF_KIND
from audit.replay import RUN, Bookmark, Levels, Position, carry_on, nodes_within
from audit.tree import EMPTY_ROOT, HASH_BYTES, Frontier, frontier_at, root_of

Progress = Callable[[int, int], None]
"""Called with entries done and entries in all."""

_Stored = tuple[int, str]

CLOCK_SKEW_S = 60.0
_MOST_NAMED = 100
_PAUSE = 16 * RUN
"""Entries between two words on how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """What was verified: entries, the root over them, stored checkpoints, and the newest's note.

    `clock_back` are the first entries whose time lies more than a minute before an earlier one's:
    nobody changed the log, its clock went back. `keys` are the log's, followed from its first.
    """

    size: int
    root: bytes
    checkpoints: int
    note: str
    keys: KeyChain
    clock_back: tuple[int, ...] = ()


def verify_log(
    path: Path,
    key: VerifyKey,
    *,
    progress: Progress | None = None,
    known_checkpoint: str | None = None,
    bookmark: Path | None = None,
    workers: int = 1,
    archive: Archive | None = None,
) -> VerifiedLog:
    """Verify a log's file from its first entry to its last.

    Args:
        path: The log's file, or a copy.
        key: The log's first verify key; later ones are followed from its entries.
        progress: Told how far it is.
        known_checkpoint: A signed checkpoint of this log that came from elsewhere.
        bookmark: A file in which to remember how far it is: an interrupted verification of the
            same file, unchanged, goes on from there. Whoever can write it is believed.
        workers: Processes that read and hash a long log. More than one is for programs whose
            main module may be imported again, as `multiprocessing` needs.
        archive: Where entries are that the file has dropped after they were sealed.

    Raises:
        ArchiveOffline: Entries are in an archive, and it is not at hand.
        LogTampered: Something does not hold; says what (`Tampering`) and where.
        EvidenceUnavailable: The file cannot be read.
        CheckpointInvalid, SignatureInvalid: `known_checkpoint` is not one of this log.
    """
    known = None if known_checkpoint is None else unverified_checkpoint(known_checkpoint)
    with reading(path) as database:
        place = None if bookmark is None else Bookmark(bookmark, path, f"{key} {known}")
        verification = _Verification(database, key, known_checkpoint, archive)
        return verification.run(path, progress, place, workers)


def read_last(path: Path, kind: EventKind) -> Event | None:
    """Return the newest event of a kind as the file has it; whether it holds is `verify_log`'s.

    Raises:
        EvidenceUnavailable: The file cannot be read.
        LogTampered: It is no log.
    """
    with reading(path) as database:
        row = database.execute(NEWEST_OF_KIND, (kind.value, 1)).fetchone()
    return None if row is None else decode_leaf(row[1])[0]


def read_leaves(
    path: Path, size: int, *, archive: Archive | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield `(index, leaf)` of the first entries; whether they hold is `verify_log`'s.

    Raises:
        EvidenceUnavailable: The file cannot be read, or the archive is not at hand.
        LogTampered: It is no log.
    """
    with reading(path) as database:
        for start in range(0, size, RUN):
            yield from read_rows(database, start, min(start + RUN, size), archive)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a log's file to read; what SQLite finds wrong with it is tampering."""
    try:
        with closing(open_to_read(path)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise LogTampered(Tampering.FORMAT, f"{path.name} is not a sound log: {error}") from error


class _Verification:
    """One pass over one log."""

    def __init__(
        self,
        database: sqlite3.Connection,
        key: VerifyKey,
        known_note: str | None,
        archive: Archive | None,
    ) -> None:
        self._database = database
        self._archive = archive
        self._key = key
        self._keys = KeyChain.begin(key)
        self._known_note = known_note
        self._known = None if known_note is None else unverified_checkpoint(known_note)
        self._origin: str | None = None
        self._size = self._nodes = self._seen = 0
        self._frontier: Frontier = ()
        self._known_root: bytes | None = None
        self._latest = -math.inf
        self._clock_back: list[int] = []

    def run(
        self, path: Path, progress: Progress | None, bookmark: Bookmark | None, workers: int
    ) -> VerifiedLog:
        """Stream the log and compare, step by step."""
        self._resume(bookmark)
        end = self._database.execute("SELECT COALESCE(MAX(idx) + 1, 0) FROM entry").fetchone()[0]
        stored = self._checkpoints()
        pending = next(stored, None)
        if pending is not None and pending[0] == 0:
            self._check_root(*pending, EMPTY_ROOT)
            pending = next(stored, None)
        for run in checked_runs(
            path, self._database, self._size, end, workers=workers, archive=self._archive
        ):
            pending = self._take(run, stored, pending)
            if self._size // _PAUSE != (self._size - 1) // _PAUSE or self._size == end:
                self._pause(progress, bookmark, end)
        self._check_end(pending)  # 4
        self._check_known()  # 6
        if self._archive is not None and self._archive.folder.is_dir():
            Archive(self._archive.folder, self._keys).segments()  # 7
        if progress is not None:
            progress(self._size, end)
        return VerifiedLog(
            size=self._size,
            root=root_of(self._frontier),
            checkpoints=self._seen,
            note=self._note(),
            keys=self._keys,
            clock_back=tuple(self._clock_back),
        )

    def _take(
        self, run: CheckedRun, stored: Iterator[_Stored], pending: _Stored | None
    ) -> _Stored | None:
        """Take the next run of entries; return the first checkpoint beyond it."""
        levels, before = run.levels, self._frontier  # 1, and 2 within the run
        self._nodes += sum(map(len, levels.hashes)) // HASH_BYTES
        self._grow(levels, run.count)  # 2 above it
        nodes = nodes_within(levels, before, self._frontier)
        self._follow_keys(run.key_changes)  # 3
        while pending is not None and pending[0] <= self._size:
            self._check_root(*pending, root_of(frontier_at(pending[0], nodes)))
            pending = next(stored, None)
        if self._known is not None and levels.start < self._known.size <= self._size:
            self._known_root = root_of(frontier_at(self._known.size, nodes))
        if run.late is not None:  # 5
            raise run.late
        self._watch_clock(run.moments)
        return pending

    def _grow(self, levels: Levels, count: int) -> None:
        """Go on beyond a run: above a whole one nodes are completed, and compared."""
        self._size += count
        if count < RUN:
            self._frontier = frontier_at(self._size, nodes_within(levels, self._frontier))
            return
        self._frontier, made = carry_on(self._frontier, levels)
        for node in made:
            row = self._database.execute(
                "SELECT hash FROM node WHERE level = ? AND idx = ?", (node.level, node.place)
            ).fetchone()
            check_node(self._database, node.level, node.place, row and row[0], node.hash)
            self._nodes += 1

    def _follow_keys(self, changes: Sequence[tuple[int, bytes]]) -> None:
        for index, leaf in changes:
            try:
                self._keys = self._keys.after(index, leaf)
            except SignatureInvalid as error:
                raise LogTampered(Tampering.SIGNATURE, str(error), index=index) from error

    def _check_root(self, size: int, note: str, root: bytes) -> None:
        """Open a stored checkpoint, and compare its root with what the leaves give at its size."""
        if self._open(size, note).root != root:
            raise LogTampered(
                Tampering.FORKED,
                f"the entries give another root than the one signed at {size}: "
                "history was rewritten below that size",
                index=size,
            )
        self._seen += 1

    def _open(self, size: int, note: str) -> Checkpoint:
        try:
            checkpoint = open_checkpoint(note, self._keys, origin=self._origin)
        except (CheckpointInvalid, SignatureInvalid) as error:
            text = f"the checkpoint at {size} is not signed by {self._key.name} for this log"
            raise LogTampered(Tampering.SIGNATURE, f"{text}: {error}", index=size) from error
        if checkpoint.size != size:
            text = f"the checkpoint filed at {size} is for {checkpoint.size}"
            raise LogTampered(Tampering.SIGNATURE, text, index=size)
        self._origin = checkpoint.origin
        return checkpoint

    def _check_end(self, pending: _Stored | None) -> None:
        if pending is not None:
            beyond = self._open(*pending)
            raise LogTampered(
                Tampering.TRUNCATED,
                f"the log ends at {self._size}, a checkpoint was signed at {beyond.size}",
                index=self._size,
            )
        last = self._database.execute("SELECT MAX(size) FROM checkpoint").fetchone()[0]
        if not self._seen or last != self._size:
            raise LogTampered(
                Tampering.SIGNATURE,
                f"entries up to {self._size} are not covered by a checkpoint",
                index=0 if last is None else last,
            )
        if self._database.execute("SELECT COUNT(*) FROM node").fetchone()[0] != self._nodes:
            raise LogTampered(Tampering.NODE, "there are tree nodes that no entry made")
        extra = self._database.execute(
            "SELECT MIN(idx) FROM payload WHERE idx < 0 OR idx >= ?", (self._size,)
        ).fetchone()[0]
        if extra is not None:
            raise foreign(extra)

    def _watch_clock(self, moments: Sequence[Moment]) -> None:
        """Note where time goes back, once for each time that it does."""
        for index, at in moments:
            if at < self._latest - CLOCK_SKEW_S:
                if len(self._clock_back) < _MOST_NAMED:
                    self._clock_back.append(index)
                self._latest = at
            elif at > self._latest:
                self._latest = at

    def _check_known(self) -> None:
        if self._known_note is None:
            return
        known = open_checkpoint(self._known_note, self._keys, origin=self._origin)
        expected = self._known_root
        if known.size > self._size:
            raise LogTampered(
                Tampering.TRUNCATED,
                f"the log ends at {self._size}, a known checkpoint says {known.size}",
                index=self._size,
            )
        if known.root != (EMPTY_ROOT if known.size == 0 else expected):
            raise LogTampered(
                Tampering.FORKED,
                f"a known checkpoint has another root at size {known.size}: two histories",
                index=known.size,
            )

    def _checkpoints(self) -> Iterator[_Stored]:
        """Return size and note of the stored checkpoints, by size; nothing is verified yet."""
        query = "SELECT size, note FROM checkpoint WHERE size > ? ORDER BY size"
        return iter(self._database.execute(query, (self._size or -1,)))

    def _resume(self, bookmark: Bookmark | None) -> None:
        """Go on where an interrupted pass over this very file got to."""
        at = Position() if bookmark is None else bookmark.read()
        self._size, self._frontier = at.size, at.frontier
        self._nodes, self._seen = at.nodes, at.checkpoints
        self._known_root = None if at.known_root is None else bytes.fromhex(at.known_root)
        self._latest, self._clock_back = at.latest, list(at.clock_back)
        self._follow_keys([(index, bytes.fromhex(leaf)) for index, leaf in at.key_changes])

    def _pause(self, progress: Progress | None, bookmark: Bookmark | None, end: int) -> None:
        """Tell how far it is; remember it where it can be gone on from, at a whole run."""
        if progress is not None:
            progress(self._size, end)
        if bookmark is not None and self._size % RUN == 0:
            known = None if self._known_root is None else self._known_root.hex()
            bookmark.write(
                Position(
                    size=self._size,
                    frontier=self._frontier,
                    nodes=self._nodes,
                    checkpoints=self._seen,
                    known_root=known,
                    latest=self._latest,
                    clock_back=tuple(self._clock_back),
                    key_changes=tuple((at, leaf.hex()) for at, leaf in self._keys.events),
                )
            )

    def _note(self) -> str:
        """Return the newest checkpoint, which `_check_end` found to cover all."""
        row = self._database.execute(
            "SELECT note FROM checkpoint WHERE size = ?", (self._size,)
        ).fetchone()
        return str(row[0])
