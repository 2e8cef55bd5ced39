"""The keystore's table: wrapped keys by person and label, in SQLite.

`secure_delete` overwrites deleted rows with zeros; every row is wrapped under the wrapping
key of its generation, so that a stale copy of a page opens nothing either. Raw sqlite3: two
statements a key, where an object mapper would cost more than the cryptography.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from audit.errors import KeystoreUnavailable
from audit.transaction import transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS data_key (
    key_id BLOB NOT NULL UNIQUE, subject TEXT NOT NULL, label TEXT NOT NULL,
    wrapped BLOB NOT NULL, PRIMARY KEY (subject, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER);
INSERT OR IGNORE INTO generation VALUES (1, 0);
"""


class KeyRow(NamedTuple):
    """One wrapped data key; `key_id` is 8 random bytes that sealed data carries."""

    key_id: bytes
    subject: str
    label: str
    wrapped: bytes


class KeyRows:
    """The rows, for one owner at a time; the caller serialises the calls."""

    def __init__(self, path: Path) -> None:
        """Open or make the table.

        Raises:
            KeystoreUnavailable: The file cannot be opened or is not a keystore.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise KeystoreUnavailable(f"{path.name} cannot be opened as a keystore") from error

    @property
    def generation(self) -> int:
        """Number of the wrapping key that the rows are wrapped under; 0 before the first."""
        return int(self._db.execute("SELECT number FROM generation").fetchone()[0])

    def find(self, subject: str, label: str) -> KeyRow | None:
        """Return the row of one person and label, or None."""
        found = self._db.execute(
            "SELECT key_id, subject, label, wrapped FROM data_key WHERE subject = ? AND label = ?",
            (subject, label),
        ).fetchone()
        return None if found is None else KeyRow(*found)

    def find_id(self, key_id: bytes) -> KeyRow | None:
        """Return the row with that key id, or None."""
        found = self._db.execute(
            "SELECT key_id, subject, label, wrapped FROM data_key WHERE key_id = ?", (key_id,)
        ).fetchone()
        return None if found is None else KeyRow(*found)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read many rows under one lock of the file, which costs more than a row."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def labels(self, subject: str) -> frozenset[str]:
        """Return the labels under which a person has a key."""
        rows = self._db.execute("SELECT label FROM data_key WHERE subject = ?", (subject,))
        return frozenset(label for (label,) in rows)

    def all(self) -> list[KeyRow]:
        """Return every row."""
        rows = self._db.execute("SELECT key_id, subject, label, wrapped FROM data_key")
        return [KeyRow(*row) for row in rows]

    def add(self, rows: Sequence[KeyRow]) -> None:
        """Make rows durable, all or none."""
        with transaction(self._db):
            self._db.executemany("INSERT INTO data_key VALUES (?, ?, ?, ?)", rows)

    def replace(
        self,
        doomed: Iterable[KeyRow],
        rewrapped: Iterable[tuple[bytes, bytes]],
        *,
        generation: int,
    ) -> None:
        """Delete rows and re-wrap the others `(wrapped, key_id)`, in one durable transaction."""
        with transaction(self._db):
            self._db.executemany(
                "DELETE FROM data_key WHERE key_id = ?", ((row.key_id,) for row in doomed)
            )
            self._db.executemany("UPDATE data_key SET wrapped = ? WHERE key_id = ?", rewrapped)
            self._db.execute("UPDATE generation SET number = ?", (generation,))

    def flush(self) -> None:
        """Move the write-ahead log into the file and empty it, stale pages included."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
