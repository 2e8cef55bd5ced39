"""The log's tables in SQLite: entries, tree nodes, checkpoints, and payloads beside them.

Raw sqlite3 from the standard library: the writer's whole work is four `executemany` and one
fsync, and an object mapper would cost more than the log. Entries, nodes and checkpoints are
append-only by triggers; they stop a slip of our own, not the owner of the file, whom only
checkpoints held elsewhere stop (`audit.verify`). Payloads may be deleted; `secure_delete`
overwrites them. `PATH.lock` marks the one owner.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.errors import EntryMissing, EvidenceUnavailable
from audit.log_store import APPEND_ONLY, Group, NameTaken, PayloadRow, SealedRow, Taken
from audit.private_files import Ownership
from audit.transaction import transaction
from audit.write_back import PAGES_LEFT_TO_COMMITS, WriteBack

_TABLES = """
CREATE TABLE IF NOT EXISTS entry (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS entry_kind
    ON entry (json_extract(CAST(leaf AS TEXT), '$.kind'), idx);
CREATE TABLE IF NOT EXISTS node (
    level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS payload (idx INTEGER PRIMARY KEY, key_id BLOB, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS payload_key ON payload (key_id) WHERE key_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS sealed (
    first INTEGER PRIMARY KEY, beyond INTEGER NOT NULL, manifest TEXT NOT NULL,
    latest REAL NOT NULL, floor REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS once (
    name TEXT PRIMARY KEY, idx INTEGER NOT NULL, length INTEGER NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO once
    SELECT 'decision/' || json_extract(CAST(leaf AS TEXT), '$.fields.decision_id'), idx, 1
    FROM entry
    WHERE json_extract(CAST(leaf AS TEXT), '$.kind') IN ('decision', 'batch-decision')
        AND NOT EXISTS (SELECT 1 FROM once);
"""
"""The last statement is for a log of a version that took no names."""
_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table}
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
_ONLY_SEALED = """
CREATE TRIGGER entry_DELETE BEFORE DELETE ON entry
    WHEN EXISTS (SELECT 1 FROM payload WHERE idx = OLD.idx)
        OR NOT EXISTS (SELECT 1 FROM sealed WHERE OLD.idx >= first AND OLD.idx < beyond)
    BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""
"""A leaf goes only once an archive has it, and its facts are gone."""

_COPIED_AFTER = 256
"""Entries, which leave some 700 pages in the write-ahead log."""

NEWEST_OF_KIND = (
    "SELECT idx, leaf FROM entry WHERE json_extract(CAST(leaf AS TEXT), '$.kind') = ? "
    "ORDER BY idx DESC LIMIT ?"
)
"""`(index, leaf)` of one kind, newest first; by kind and how many."""


class SqliteStore:
    """One writing and one reading connection, each used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the tables, with mode 0600.

        Raises:
            EvidenceUnavailable: Another owner holds them, or the file cannot be opened, written,
                or is not a log.
        """
        self._reading, self._writing_lock = threading.Lock(), threading.RLock()
        _make_folder(path.parent)
        self._ownership = Ownership(path.with_name(path.name + ".lock"))
        try:
            self._open(path)
        except BaseException:
            self._ownership.release()
            raise

    def _open(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._writer = _connect(path)
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = FULL")
            self._writer.execute("PRAGMA secure_delete = ON")
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {PAGES_LEFT_TO_COMMITS}")
            self._writer.executescript(
                _TABLES
                + "".join(
                    _TRIGGER.format(table=table, verb=verb)
                    for table in (*APPEND_ONLY, "sealed")
                    for verb in ("UPDATE", "DELETE")
                    if (table, verb) != ("entry", "DELETE")
                )
            )
            self._guard_entries()
            self._reader = _connect(path)
            self._write_back = WriteBack(_connect(path), every=_COPIED_AFTER)
        except (OSError, sqlite3.Error) as error:
            raise EvidenceUnavailable(f"{path.name} cannot be opened as a log: {error}") from error

    def write(self, group: Group) -> None:
        """Make a group durable: all of it or nothing.

        Raises:
            EvidenceUnavailable: The disk is full, read-only or broken; nothing is written.
        """
        with self._writing():
            self._writer.executemany("INSERT INTO entry VALUES (?, ?)", group.entries)
            self._writer.executemany("INSERT INTO node VALUES (?, ?, ?)", group.nodes)
            self._writer.executemany("INSERT INTO payload VALUES (?, ?, ?)", group.payloads)
            self._writer.executemany("INSERT INTO once VALUES (?, ?, ?)", group.names)
            self._writer.execute("INSERT INTO checkpoint VALUES (?, ?)", group.checkpoint)
        self._write_back.wrote(len(group.entries))

    def delete_payloads(self, key_ids: Iterable[bytes]) -> int:
        """Delete and overwrite the payloads that these keys sealed; return how many.

        Raises:
            EvidenceUnavailable: The disk is full, read-only or broken; nothing is deleted.
        """
        with self._writing():
            deleted = self._writer.executemany(
                "DELETE FROM payload WHERE key_id = ?", ((key_id,) for key_id in key_ids)
            ).rowcount
        with self._emptying():
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return max(deleted, 0)

    def payload_key_ids(self) -> frozenset[bytes]:
        """Return the ids of all keys that sealed a payload."""
        rows = self._rows("SELECT DISTINCT key_id FROM payload WHERE key_id IS NOT NULL")
        return frozenset(key_id for (key_id,) in rows)

    def sealed_by(self, key_ids: Iterable[bytes]) -> list[int]:
        """Return the entries whose payload one of these keys sealed, in order."""
        query = "SELECT idx FROM payload WHERE key_id = ?"
        return sorted(int(row[0]) for key_id in key_ids for row in self._rows(query, (key_id,)))

    def taken(self, names: Sequence[str]) -> list[Taken]:
        """Return which of these names are taken, and by which entries."""
        query = "SELECT name, idx, length FROM once WHERE name IN (SELECT value FROM json_each(?))"
        return [Taken(*row) for row in self._rows(query, (json.dumps(list(names)),))]

    def size(self) -> int:
        """Return the number of entries."""
        return int(self._rows("SELECT COALESCE(MAX(idx) + 1, 0) FROM entry")[0][0])

    def node(self, level: int, index: int) -> bytes:
        """Return a complete node's hash.

        Raises:
            EntryMissing: There is no such node.
        """
        rows = self._rows("SELECT hash FROM node WHERE level = ? AND idx = ?", (level, index))
        if not rows:
            raise EntryMissing(f"tree node ({level}, {index}) is not in the log")
        return bytes(rows[0][0])

    def leaves(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` from `start` up to `end`."""
        return self._rows(
            "SELECT idx, leaf FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, end)
        )

    def newest(self, kind: str, limit: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` of one kind, newest first."""
        return self._rows(NEWEST_OF_KIND, (kind, limit))

    def payload(self, index: int) -> PayloadRow | None:
        """Return the payload of an entry, or None."""
        rows = self._rows("SELECT idx, key_id, body FROM payload WHERE idx = ?", (index,))
        return PayloadRow(*rows[0]) if rows else None

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint, or None in a new log."""
        rows = self._rows("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def checkpoint_at(self, size: int) -> str | None:
        """Return the note signed at a size, or None."""
        rows = self._rows("SELECT note FROM checkpoint WHERE size = ?", (size,))
        return str(rows[0][0]) if rows else None

    def payload_entries(self, start: int, limit: int) -> list[tuple[int, bytes, bytes | None]]:
        """Return `(index, leaf, key id)` of entries from `start` on that have a payload."""
        return self._rows(
            "SELECT idx, leaf, key_id FROM payload JOIN entry USING (idx) "
            "WHERE idx >= ? ORDER BY idx LIMIT ?",
            (start, limit),
        )

    def expire(self, indices: Sequence[int]) -> int:
        """Delete and overwrite the payloads of these entries, all or none; return how many.

        Raises:
            EvidenceUnavailable: The disk is full, read-only or broken; nothing is deleted.
        """
        with self._writing():
            deleted = self._writer.executemany(
                "DELETE FROM payload WHERE idx = ?", ((index,) for index in indices)
            ).rowcount
        with self._emptying():
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return max(deleted, 0)

    def seal(self, row: SealedRow) -> None:
        """Do as `LogStore.seal`."""
        with self._writing():
            self._writer.execute("INSERT INTO sealed VALUES (?, ?, ?, ?, ?)", row)

    def seals(self) -> list[SealedRow]:
        """Return the ranges that an archive holds, in order."""
        return [SealedRow(*row) for row in self._rows("SELECT * FROM sealed ORDER BY first")]

    def drop_sealed(self, start: int, end: int, keep: Iterable[str]) -> int:
        """Do as `LogStore.drop_sealed`; the trigger refuses what is not sealed."""
        with self._writing():
            deleted = self._writer.execute(
                "DELETE FROM entry WHERE idx >= ? AND idx < ? "
                "AND idx NOT IN (SELECT idx FROM payload WHERE idx >= ? AND idx < ?) "
                "AND json_extract(CAST(leaf AS TEXT), '$.kind') "
                "NOT IN (SELECT value FROM json_each(?))",
                (start, end, start, end, json.dumps(list(keep))),
            ).rowcount
        return max(deleted, 0)

    def _guard_entries(self) -> None:
        """Refuse to delete entries; an older log's trigger knew of no archive."""
        found = self._writer.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'entry_DELETE'"
        ).fetchone()
        if found is None or "sealed" not in found[0]:
            self._writer.executescript("DROP TRIGGER IF EXISTS entry_DELETE;" + _ONLY_SEALED)

    def close(self) -> None:
        """Close both connections, and let another own the file; more than once does nothing."""
        with self._reading, self._writing_lock:
            self._write_back.close()
            self._reader.close()
            self._writer.close()
            self._ownership.release()

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._reading, self._translating():
            return self._reader.execute(statement, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold a transaction, by one thread at a time."""
        with self._writing_lock, self._translating(), transaction(self._writer):
            yield

    @contextmanager
    def _emptying(self) -> Iterator[None]:
        """Be alone with the write-ahead log, to cut it to nothing: what was deleted is gone."""
        with self._writing_lock, self._write_back.held(), self._translating():
            yield

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "once.name" in str(error):
                raise NameTaken("a name of this group is taken") from error
            raise EvidenceUnavailable(f"the log's storage failed: {error}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EvidenceUnavailable(f"the folder {folder.name} cannot be made") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
