"""A log's file, or a copy, read without its service: leaves in order, and receipts.

Whether the file holds is `audit.verify`'s to say first. Opened read-only, so that a service that
is running on it is not disturbed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.archive import Archive
from audit.checked_run import read_rows
from audit.checkpoint import open_checkpoint
from audit.errors import EntryMissing
from audit.keys import LogKeys
from audit.receipt import make_receipt
from audit.replay import RUN
from audit.tree import prove_inclusion
from audit.verify import reading


class CopiedLog:
    """Reads one log at the size of its newest checkpoint."""

    def __init__(
        self, database: sqlite3.Connection, keys: LogKeys, archive: Archive | None
    ) -> None:
        """Read where the log ends.

        Raises:
            EntryMissing: It has no checkpoint.
            CheckpointInvalid, SignatureInvalid: The keys did not sign it.
        """
        self._database, self._archive = database, archive
        row = database.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        if row is None:
            raise EntryMissing("the log has no checkpoint: nothing in it can be proven")
        self._note = str(row[0])
        self._checkpoint = open_checkpoint(self._note, keys)

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._checkpoint.origin

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(index, leaf)` of every entry below the checkpoint, in order.

        Raises:
            ArchiveOffline: Some are in an archive that is not at hand.
        """
        size = self._checkpoint.size
        for start in range(0, size, RUN):
            yield from read_rows(self._database, start, min(start + RUN, size), self._archive)

    def receipt(self, index: int) -> str:
        """Return the offline proof that an entry is in the log.

        Raises:
            EntryMissing: A node of the tree is gone.
        """
        proof = prove_inclusion(index, self._checkpoint.size, self._node)
        return make_receipt(index, proof, self._note)

    def _node(self, level: int, place: int) -> bytes:
        row = self._database.execute(
            "SELECT hash FROM node WHERE level = ? AND idx = ?", (level, place)
        ).fetchone()
        if row is None:
            raise EntryMissing(f"tree node ({level}, {place}) is not in the log")
        return bytes(row[0])


@contextmanager
def copied_log(path: Path, keys: LogKeys, *, archive: Archive | None = None) -> Iterator[CopiedLog]:
    """Open a log's file to read.

    Raises:
        EvidenceUnavailable: The file cannot be read.
        LogTampered: It is no log.
        EntryMissing, CheckpointInvalid, SignatureInvalid: Its end is not signed by those keys.
    """
    with reading(path) as database:
        yield CopiedLog(database, keys, archive)
