"""What a service remembers as a witness of others' logs, and what witnesses said of its own.

To the others' logs belong the entries that changed their keys: `keys_of` follows them again, from
the key that the caller knows, each time that it is asked.

A file beside the log, durable before a cosignature is given. Losing it makes a witness forget,
not lie: it begins again with the next checkpoint, and other witnesses still remember.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from audit.errors import EvidenceUnavailable
from audit.key_chain import KeyChain
from audit.keys import VerifyKey
from audit.transaction import transaction

_TABLES = """
CREATE TABLE IF NOT EXISTS seen (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,
    note TEXT NOT NULL, known_by REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS alarm (
    origin TEXT NOT NULL, what TEXT NOT NULL, size INTEGER NOT NULL, note TEXT NOT NULL,
    found_at REAL NOT NULL, PRIMARY KEY (origin, what, size)
);
CREATE TABLE IF NOT EXISTS cosignature (
    witness TEXT NOT NULL, size INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (size, witness)
);
CREATE TABLE IF NOT EXISTS key_change (
    first_key TEXT NOT NULL, idx INTEGER NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (first_key, idx)
);
"""


class Misdeed(StrEnum):
    """What a log was found out to have done."""

    FORKED = "forked"  # it has another history than the one that was cosigned
    ROLLED_BACK = "rolled-back"  # it ends below what was cosigned: an old backup


class Seen(NamedTuple):
    """The checkpoint of a log that was cosigned last, and when it was known to be signed."""

    origin: str
    size: int
    root: bytes
    note: str
    known_by: float


class Alarm(NamedTuple):
    """A log's misdeed, with the signed note that shows it beside what was cosigned before."""

    origin: str
    what: Misdeed
    size: int
    note: str
    found_at: float


class WitnessStore:
    """The three tables; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, with mode 0600.

        Raises:
            EvidenceUnavailable: It cannot be opened, or is something else.
        """
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise EvidenceUnavailable(f"{path.name} cannot be opened: {error}") from error

    def seen(self, origin: str) -> Seen | None:
        """Return what was cosigned last of a log."""
        rows = self._rows("SELECT * FROM seen WHERE origin = ?", (origin,))
        return Seen(*rows[0]) if rows else None

    def origins(self) -> list[str]:
        """Return the logs that were cosigned."""
        return [row[0] for row in self._rows("SELECT origin FROM seen ORDER BY origin")]

    def remember(self, seen: Seen) -> None:
        """Put a checkpoint in the place of the last, durably."""
        self._write("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", seen)

    def alarm(self, alarm: Alarm) -> bool:
        """Keep an alarm; return whether it is new."""
        return self._write("INSERT OR IGNORE INTO alarm VALUES (?, ?, ?, ?, ?)", alarm) == 1

    def alarms(self) -> list[Alarm]:
        """Return every alarm, oldest first."""
        rows = self._rows("SELECT * FROM alarm ORDER BY found_at, origin")
        return [Alarm(row[0], Misdeed(row[1]), *row[2:]) for row in rows]

    def keys_of(self, first: VerifyKey) -> KeyChain:
        """Return the keys of the log that began with this one, as far as they were learned.

        Raises:
            KeyChangeInvalid: What is here was changed since.
        """
        query = "SELECT idx, leaf FROM key_change WHERE first_key = ? ORDER BY idx"
        return KeyChain.follow(first, self._rows(query, (str(first),)))

    def learn(self, keys: KeyChain) -> None:
        """Keep the entries that a chain was followed through, durably."""
        with self._translating(), transaction(self._db):
            self._db.executemany(
                "INSERT OR IGNORE INTO key_change VALUES (?, ?, ?)",
                [(str(keys), index, leaf) for index, leaf in keys.events],
            )

    def add_cosignature(self, witness: str, size: int, line: str) -> None:
        """Keep a witness's line over our own checkpoint of that size."""
        values = (witness, size, line)
        self._write("INSERT OR REPLACE INTO cosignature VALUES (?, ?, ?)", values)

    def cosigned_by(self, witness: str) -> int:
        """Return the largest size of our own log that this witness cosigned; 0 for none."""
        rows = self._rows("SELECT MAX(size) FROM cosignature WHERE witness = ?", (witness,))
        return int(rows[0][0] or 0)

    def cosignatures(self, *, at_least: int) -> tuple[int, list[str]] | None:
        """Return the newest size of our own that is cosigned, from `at_least` on, and its lines."""
        sizes = self._rows("SELECT MAX(size) FROM cosignature WHERE size >= ?", (at_least,))
        if sizes[0][0] is None:
            return None
        size = int(sizes[0][0])
        rows = self._rows("SELECT line FROM cosignature WHERE size = ? ORDER BY witness", (size,))
        return size, [row[0] for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._translating():
            return self._db.execute(statement, values).fetchall()

    def _write(self, statement: str, values: tuple[Any, ...]) -> int:
        with self._translating(), transaction(self._db):
            return self._db.execute(statement, values).rowcount

    @contextmanager
    def _translating(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise EvidenceUnavailable(f"the witness's storage failed: {error}") from error
