"""The log's tables in PostgreSQL: the same as in SQLite, behind the same interface.

One session writes and holds an advisory lock as the one owner; another reads. A group is one
transaction with `synchronous_commit` on; a server that runs without fsync is refused, for an
append that returns must be durable. Deleted payloads are sealed bytes whose key is destroyed
first; what the server's own files keep of them until it vacuums opens nothing.

The driver is pg8000, in Python alone. Beyond this machine it speaks TLS, verified.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pg8000.exceptions import DatabaseError, InterfaceError
from pg8000.native import Connection

from audit.errors import EntryMissing, EvidenceUnavailable
from audit.log_store import APPEND_ONLY, Group, NameTaken, PayloadRow, SealedRow, Taken

PASSWORD_FILE = "UNDERTONE_LOG_PASSWORD_FILE"  # noqa: S105 (the name of a variable)
_LOCK = 0x756E646572746F6E  # "underton": one log in one database
_UNIQUE = "23505"  # a row of that key is there (SQLSTATE, appendix A)
_BROKEN = (DatabaseError, InterfaceError, OSError)
_TABLES = """
CREATE TABLE IF NOT EXISTS entry (
    idx bigint PRIMARY KEY, leaf bytea NOT NULL,
    kind text GENERATED ALWAYS AS
        (substring(encode(leaf, 'escape') FROM '"kind":"([a-z-]+)","v":[0-9]+}$')) STORED
);
CREATE INDEX IF NOT EXISTS entry_kind ON entry (kind, idx);
CREATE TABLE IF NOT EXISTS node (
    level smallint, idx bigint, hash bytea NOT NULL, PRIMARY KEY (level, idx)
);
CREATE TABLE IF NOT EXISTS checkpoint (size bigint PRIMARY KEY, note text NOT NULL);
CREATE TABLE IF NOT EXISTS payload (idx bigint PRIMARY KEY, key_id bytea, body bytea NOT NULL);
CREATE INDEX IF NOT EXISTS payload_key ON payload (key_id) WHERE key_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS sealed (
    first bigint PRIMARY KEY, beyond bigint NOT NULL, manifest text NOT NULL,
    latest double precision NOT NULL, floor double precision NOT NULL
);
CREATE TABLE IF NOT EXISTS once (
    name text PRIMARY KEY, idx bigint NOT NULL, length integer NOT NULL
);
INSERT INTO once
    SELECT 'decision/' || substring(encode(leaf, 'escape') FROM '"decision_id":"([^"]*)"'), idx, 1
    FROM entry
    WHERE kind IN ('decision', 'batch-decision') AND NOT EXISTS (SELECT 1 FROM once)
    ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'append-only'; END $$;
"""
_TRIGGER = """
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
"""
_ONLY_SEALED = """
CREATE OR REPLACE FUNCTION only_sealed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT 1 FROM payload WHERE idx = OLD.idx)
        OR NOT EXISTS (SELECT 1 FROM sealed WHERE OLD.idx >= first AND OLD.idx < beyond)
    THEN RAISE EXCEPTION 'append-only'; END IF;
    RETURN OLD;
END; $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE OR REPLACE TRIGGER only_sealed BEFORE DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION only_sealed();
"""
"""A leaf goes only once an archive has it, and its facts are gone."""
_INSERTS = {
    "entry": "INSERT INTO entry (idx, leaf) SELECT * FROM unnest("
    "CAST(:a AS bigint[]), CAST(:b AS bytea[]))",
    "node": "INSERT INTO node SELECT * FROM unnest("
    "CAST(:a AS smallint[]), CAST(:b AS bigint[]), CAST(:c AS bytea[]))",
    "payload": "INSERT INTO payload SELECT * FROM unnest("
    "CAST(:a AS bigint[]), CAST(:b AS bytea[]), CAST(:c AS bytea[]))",
    "once": "INSERT INTO once SELECT * FROM unnest("
    "CAST(:a AS text[]), CAST(:b AS bigint[]), CAST(:c AS integer[]))",
    "checkpoint": "INSERT INTO checkpoint VALUES (:a, :b)",
}


class PostgresStore:
    """A writing session, which owns the log, and a reading one."""

    def __init__(self, url: str) -> None:
        """Connect, own, and make the tables where there are none.

        Args:
            url: `postgresql://USER@HOST:PORT/DATABASE`, or with `?socket=PATH` over a Unix
                socket. The password comes from the file that `PASSWORD_FILE` names.

        Raises:
            EvidenceUnavailable: Another owner holds it, the server does not answer, runs without
                fsync, or does not let us.
        """
        self._reading, self._writing_lock = threading.Lock(), threading.RLock()
        self._writer = _connect(url)
        try:
            self._own()
            with self._translating():
                self._writer.run("SET synchronous_commit = on")
                self._writer.run("SET client_min_messages = warning")
                guarded = (*(t for t in APPEND_ONLY if t != "entry"), "sealed")
                triggers = (_TRIGGER.format(table=t) for t in guarded)
                for statement in (_TABLES, *triggers, _ONLY_SEALED):
                    self._writer.run(statement)
            self._reader = _connect(url)
        except BaseException:
            _close(self._writer)
            raise

    def write(self, group: Group) -> None:
        """Do as `LogStore.write`."""
        columns = {
            "entry": list(zip(*group.entries, strict=True)),
            "node": list(zip(*group.nodes, strict=True)),
            "payload": list(zip(*group.payloads, strict=True)),
            "once": list(zip(*group.names, strict=True)),
        }
        with self._writing():
            for table, values in columns.items():
                if values:
                    named = {name: list(v) for name, v in zip("abc", values, strict=False)}
                    self._writer.run(_INSERTS[table], **named)
            size, note = group.checkpoint
            self._writer.run(_INSERTS["checkpoint"], a=size, b=note)

    def delete_payloads(self, key_ids: Iterable[bytes]) -> int:
        """Do as `LogStore.delete_payloads`."""
        with self._writing():
            self._writer.run(
                "DELETE FROM payload WHERE key_id = ANY(CAST(:keys AS bytea[]))",
                keys=list(key_ids),
            )
            return max(int(self._writer.row_count), 0)

    def payload_key_ids(self) -> frozenset[bytes]:
        """Do as `LogStore.payload_key_ids`."""
        rows = self._rows("SELECT DISTINCT key_id FROM payload WHERE key_id IS NOT NULL")
        return frozenset(bytes(row[0]) for row in rows)

    def sealed_by(self, key_ids: Iterable[bytes]) -> list[int]:
        """Do as `LogStore.sealed_by`."""
        query = "SELECT idx FROM payload WHERE key_id = :a"
        return sorted(int(row[0]) for key_id in key_ids for row in self._rows(query, a=key_id))

    def taken(self, names: Sequence[str]) -> list[Taken]:
        """Do as `LogStore.taken`."""
        query = "SELECT name, idx, length FROM once WHERE name = ANY(CAST(:a AS text[]))"
        return [Taken(str(n), int(i), int(c)) for n, i, c in self._rows(query, a=list(names))]

    def size(self) -> int:
        """Do as `LogStore.size`."""
        return int(self._rows("SELECT COALESCE(MAX(idx) + 1, 0) FROM entry")[0][0])

    def node(self, level: int, index: int) -> bytes:
        """Do as `LogStore.node`."""
        rows = self._rows("SELECT hash FROM node WHERE level = :a AND idx = :b", a=level, b=index)
        if not rows:
            raise EntryMissing(f"tree node ({level}, {index}) is not in the log")
        return bytes(rows[0][0])

    def leaves(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Do as `LogStore.leaves`."""
        statement = "SELECT idx, leaf FROM entry WHERE idx >= :a AND idx < :b ORDER BY idx"
        return [(int(row[0]), bytes(row[1])) for row in self._rows(statement, a=start, b=end)]

    def newest(self, kind: str, limit: int) -> list[tuple[int, bytes]]:
        """Do as `LogStore.newest`."""
        statement = "SELECT idx, leaf FROM entry WHERE kind = :a ORDER BY idx DESC LIMIT :b"
        return [(int(row[0]), bytes(row[1])) for row in self._rows(statement, a=kind, b=limit)]

    def payload(self, index: int) -> PayloadRow | None:
        """Do as `LogStore.payload`."""
        rows = self._rows("SELECT key_id, body FROM payload WHERE idx = :a", a=index)
        if not rows:
            return None
        key_id, body = rows[0]
        return PayloadRow(index, None if key_id is None else bytes(key_id), bytes(body))

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Do as `LogStore.last_checkpoint`."""
        rows = self._rows("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def checkpoint_at(self, size: int) -> str | None:
        """Do as `LogStore.checkpoint_at`."""
        rows = self._rows("SELECT note FROM checkpoint WHERE size = :a", a=size)
        return str(rows[0][0]) if rows else None

    def payload_entries(self, start: int, limit: int) -> list[tuple[int, bytes, bytes | None]]:
        """Do as `LogStore.payload_entries`."""
        rows = self._rows(
            "SELECT idx, leaf, key_id FROM payload JOIN entry USING (idx) "
            "WHERE idx >= :a ORDER BY idx LIMIT :b",
            a=start,
            b=limit,
        )
        return [(int(i), bytes(leaf), None if k is None else bytes(k)) for i, leaf, k in rows]

    def expire(self, indices: Sequence[int]) -> int:
        """Do as `LogStore.expire`."""
        with self._writing():
            statement = "DELETE FROM payload WHERE idx = ANY(CAST(:a AS bigint[]))"
            self._writer.run(statement, a=list(indices))
            return max(int(self._writer.row_count), 0)

    def seal(self, row: SealedRow) -> None:
        """Do as `LogStore.seal`."""
        named = dict(zip("abcde", row, strict=True))
        with self._writing():
            self._writer.run("INSERT INTO sealed VALUES (:a, :b, :c, :d, :e)", **named)

    def seals(self) -> list[SealedRow]:
        """Do as `LogStore.seals`."""
        rows = self._rows("SELECT * FROM sealed ORDER BY first")
        return [SealedRow(int(a), int(b), str(c), float(d), float(e)) for a, b, c, d, e in rows]

    def drop_sealed(self, start: int, end: int, keep: Iterable[str]) -> int:
        """Do as `LogStore.drop_sealed`."""
        with self._writing():
            self._writer.run(
                "DELETE FROM entry WHERE idx >= :a AND idx < :b "
                "AND idx NOT IN (SELECT idx FROM payload WHERE idx >= :a AND idx < :b) "
                "AND kind <> ALL(CAST(:c AS text[]))",
                a=start,
                b=end,
                c=list(keep),
            )
            return max(int(self._writer.row_count), 0)

    def close(self) -> None:
        """Close both sessions, and with the first the ownership; more than once does nothing."""
        with self._reading, self._writing_lock:
            _close(self._reader)
            _close(self._writer)

    def _own(self) -> None:
        """Take the ownership, for as long as the session lives.

        Raises:
            EvidenceUnavailable: Another session has it, or the server cannot be durable.
        """
        with self._translating():
            fsync = self._writer.run("SHOW fsync")[0][0]
            mine = self._writer.run("SELECT pg_try_advisory_lock(:key)", key=_LOCK)[0][0]
        if fsync != "on":
            raise EvidenceUnavailable("the database runs without fsync: nothing there is durable")
        if not mine:
            raise EvidenceUnavailable(
                "the log is held by another owner: stop the other service, or close it first"
            )

    def _rows(self, statement: str, **values: Any) -> list[list[Any]]:
        with self._reading, self._translating():
            return list(self._reader.run(statement, **values) or [])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold a transaction, by one thread at a time."""
        with self._writing_lock, self._translating():
            self._writer.run("START TRANSACTION")
            try:
                yield
                self._writer.run("COMMIT")
            except BaseException:
                self._writer.run("ROLLBACK")
                raise

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            if _is_taken(error):
                raise NameTaken("a name of this group is taken") from error
            raise EvidenceUnavailable(f"the log's database failed: {_reason(error)}") from error


def _connect(url: str) -> Connection:
    """Open a session.

    Raises:
        EvidenceUnavailable: Not a URL of a database, or nobody answers there.
    """
    parts = urlsplit(url)
    socket = parse_qs(parts.query).get("socket", [None])[0]
    host = parts.hostname or "localhost"
    if parts.scheme != "postgresql" or not parts.username or parts.password:
        raise EvidenceUnavailable(
            "a log's URL is postgresql://USER@HOST/DATABASE; "
            f"the password belongs in a file that {PASSWORD_FILE} names"
        )
    local = socket is not None or host in {"localhost", "127.0.0.1", "::1"}
    try:
        return Connection(
            unquote(parts.username),
            host=host,
            port=parts.port or 5432,
            database=parts.path.removeprefix("/") or None,
            unix_sock=socket,
            password=_password(),
            ssl_context=None if local else ssl.create_default_context(),
        )
    except _BROKEN as error:
        raise EvidenceUnavailable(f"no database answers: {_reason(error)}") from error


def _password() -> str | None:
    path = os.environ.get(PASSWORD_FILE)
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceUnavailable(f"{PASSWORD_FILE}: the file cannot be read") from error


def _close(session: Connection) -> None:
    try:
        session.close()
    except _BROKEN:
        return  # closed already, or the server went first


def _is_taken(error: Exception) -> bool:
    """Return whether the server refused a row because its name is taken once already."""
    said = error.args[0] if error.args else ""
    return isinstance(said, dict) and (said.get("C"), said.get("t")) == (_UNIQUE, "once")


def _reason(error: Exception) -> str:
    """Return the server's own short message, never a value of a row."""
    said = error.args[0] if error.args else ""
    return str(said.get("M", "")) if isinstance(said, dict) else type(error).__name__
