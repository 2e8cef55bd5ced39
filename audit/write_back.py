"""SQLite's write-ahead log, copied back into the database file beside the commits.

A commit is durable once the write-ahead log is on disk. Copying that back is SQLite's own affair,
which it does within every tenth commit or so: everybody who waits for that one waits longer. Here
a thread does it between them. What it has not done a commit still does, far more seldom, and
begins the file again: nothing grows without end.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PAGES_LEFT_TO_COMMITS = 4_000
"""`wal_autocheckpoint` of the writing connection: 16 MB, of which most is copied by then."""


class WriteBack:
    """Copies back after each so many entries; its thread begins with the first of them."""

    def __init__(self, database: sqlite3.Connection, *, every: int) -> None:
        """Prepare.

        Args:
            database: A connection of its own, closed with it.
            every: Number of entries after which there is something to copy.
        """
        self._database, self._every = database, every
        self._written, self._open = 0, True
        self._copying, self._due = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def wrote(self, entries: int) -> None:
        """Note what was committed; for the writer alone."""
        self._written += entries
        if self._written < self._every:
            return
        self._written = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)
            self._thread.start()
        self._due.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing be copied meanwhile: only one at a time may, and a second is turned away."""
        with self._copying:
            yield

    def close(self) -> None:
        """Finish and close the connection; more than once does nothing."""
        self._open = False
        self._due.set()
        if self._thread is not None:
            self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while self._due.wait() and self._open:
            self._due.clear()
            # What fails here is left to a commit, whose caller hears of it.
            with self._copying, suppress(sqlite3.Error):
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
