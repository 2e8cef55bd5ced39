"""An index of the log's decisions, so that a page of them is found at once among a million.

It holds what their leaves say in the open: ids, use, rules, outcome; no pseudonym, no fact. It is
made from the log and from nothing else, follows it by its size, and may be deleted at any time:
the next start makes it anew. The log's own tables, and the speed at which it takes entries, stay
as they are (ADR 32).

Pages are found by key (time and place of the last row shown), so the last page costs what the
first does.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from audit.errors import EvidenceUnavailable
from audit.events import Event, EventKind
from audit.log import Entry, EvidenceLog
from audit.trace import IN_FORCE, OF_A_RUN

_VERSION = 2
_KINDS = (EventKind.DECISION, EventKind.BATCH_DECISION)
_AT_A_TIME = 2_000
_PAUSE_S = 2.0
_PATIENCE_S = 0.1
_MARKED = (*IN_FORCE, *OF_A_RUN)
_MOST_MARKED = 200
_EVERY = 2**62
BY = ("node", "purpose", "action", "allowed")
"""Columns that are searched by."""
_TABLES = """
CREATE TABLE IF NOT EXISTS decision (
    idx INTEGER PRIMARY KEY, at REAL NOT NULL, decision_id TEXT NOT NULL, node TEXT NOT NULL,
    action TEXT NOT NULL, purpose TEXT NOT NULL, use TEXT, allowed INTEGER NOT NULL,
    rules TEXT NOT NULL, batch INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS rule (
    rule TEXT, at REAL, idx INTEGER, PRIMARY KEY (rule, at, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (kind TEXT, idx INTEGER, PRIMARY KEY (kind, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cite (
    decision_id TEXT, idx INTEGER, PRIMARY KEY (decision_id, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reached (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS decision_at ON decision (at, idx);
CREATE INDEX IF NOT EXISTS decision_id ON decision (decision_id);
""" + "".join(
    f"CREATE INDEX IF NOT EXISTS decision_{name} ON decision ({name}, at, idx);\n" for name in BY
)


class Found(NamedTuple):
    """One decision, as the open part of its leaf has it; `log` is its node, empty for our own."""

    idx: int
    at: float
    decision_id: str
    node: str
    action: str
    purpose: str
    use: str | None
    allowed: bool
    rules: tuple[str, ...]
    batch: bool
    log: str = ""


class Key(NamedTuple):
    """After which row to go on: its time, place and log. Of one second our own stand last."""

    at: float
    idx: int
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for; None does not narrow. `among` are places in the log.

    `by_branch` is whether a branch decided it, in its own log, or this service.
    """

    node: str | None = None
    purpose: str | None = None
    action: str | None = None
    rule: str | None = None
    allowed: bool | None = None
    since: float | None = None
    until: float | None = None
    decision_id: str | None = None
    among: Sequence[int] | None = None
    by_branch: bool | None = None


class DecisionIndex:
    """Follows one log on a thread of its own, once `start`ed; `close` it before the log."""

    def __init__(self, path: Path, log: EvidenceLog) -> None:
        """Open or make the file, with mode 0600.

        Raises:
            EvidenceUnavailable: It cannot be opened.
        """
        self._log = log
        self._lock, self._following = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        with self._translating():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = _open(path)
            self._reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        if self.reached() > log.size:  # another log's, or one that was put back
            self._forget()

    def start(self) -> None:
        """Follow the log from now on."""
        self._thread = threading.Thread(target=self._follow, name="decision-index", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following and close; more than once does nothing."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with self._following, self._lock:
            self._database.close()
            self._reader.close()

    def reached(self) -> int:
        """Return how many entries of the log are read."""
        rows = self._rows("SELECT size FROM reached")
        return int(rows[0][0]) if rows else 0

    def catch_up(self) -> None:
        """Read what the log has that was not read.

        Raises:
            EvidenceUnavailable: The log or the index cannot be read or written.
        """
        while not self._closing.is_set():
            with self._following:
                if not self._one_more():
                    return

    def freshen(self) -> None:
        """Read the newest entries before a page is drawn, unless many are still to be read.

        Raises:
            EvidenceUnavailable: As for `catch_up`.
        """
        if self._following.acquire(timeout=_PATIENCE_S):
            try:
                self._one_more()
            finally:
                self._following.release()

    def _one_more(self) -> bool:
        """Read one part of what is left; return whether there was any."""
        done = self.reached()
        upto = min(self._log.size, done + _AT_A_TIME)
        if done >= upto or self._closing.is_set():
            return False
        self._add(self._log.entries(done, upto), upto)
        return True

    def find(self, search: Search, *, limit: int, after: Key | None = None) -> list[Found]:
        """Return the newest decisions that fit, at most `limit`, after a row if one is named."""
        if search.by_branch:
            return []
        wheres, values = conditions(search)
        if after is not None:
            wheres.append("(KEY.at, KEY.idx) < (?, ?)")
            values += [after.at, _EVERY if after.log else after.idx]
        source = "decision AS d"
        if search.rule is not None:
            source = "rule AS r CROSS JOIN decision AS d ON d.idx = r.idx"
            wheres, values = ["r.rule = ?", *wheres], [search.rule, *values]
        by = "r" if search.rule is not None else "d"
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        where = where.replace("KEY.", f"{by}.")
        statement = (
            f"SELECT d.* FROM {source} {where} "  # noqa: S608 (our own words; values are bound)
            f"ORDER BY {by}.at DESC, {by}.idx DESC LIMIT ?"
        )
        return [found_of(row) for row in self._rows(statement, (*values, limit))]

    def one(self, decision_id: str) -> Found | None:
        """Return a decision by its id."""
        found = self.find(Search(decision_id=decision_id), limit=1)
        return found[0] if found else None

    def around(self, found: Found) -> list[int]:
        """Return the places of what `audit.trace` reads for a decision, in order.

        Of each kind that can be in force, and of those about runs, the 200 nearest before and of
        the latter also after; and whatever cites the decision.
        """
        before = "SELECT idx FROM mark WHERE kind = ? AND idx < ? ORDER BY idx DESC LIMIT ?"
        after = "SELECT idx FROM mark WHERE kind = ? AND idx > ? ORDER BY idx LIMIT ?"
        cited = self._rows("SELECT idx FROM cite WHERE decision_id = ?", (found.decision_id,))
        places = {found.idx, *(int(row[0]) for row in cited)}
        for kind in _MARKED:
            bounds = (kind.value, found.idx, _MOST_MARKED)
            places |= {int(row[0]) for row in self._rows(before, bounds)}
            if kind in OF_A_RUN:
                places |= {int(row[0]) for row in self._rows(after, bounds)}
        return sorted(places)

    def words(self, name: str) -> list[str]:
        """Return the values that decisions have of `node`, `purpose`, `action` or `rule`."""
        statement = words_of(name)
        return [] if statement is None else [str(row[0]) for row in self._rows(statement)]

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                self.catch_up()
            except EvidenceUnavailable:
                self._closing.wait(_PAUSE_S)  # the log is closing, or its disk is full
            self._closing.wait(_PAUSE_S)

    def _add(self, entries: Sequence[Entry], upto: int) -> None:
        decisions = [(entry.index, entry.event) for entry in entries if entry.event.kind in _KINDS]
        rows = [row_of(index, event) for index, event in decisions]
        rules = [(r, event.at, index) for index, event in decisions for r in rules_of(event)]
        marks = [(e.event.kind.value, e.index) for e in entries if e.event.kind in _MARKED]
        cites = [
            (e.event.fields["decision_id"], e.index)
            for e in entries
            if e.event.kind not in _KINDS and e.event.fields.get("decision_id")
        ]
        with self._lock, self._translating():
            self._database.execute("BEGIN IMMEDIATE")
            places = ",".join("?" * 10)
            into = f"INSERT OR REPLACE INTO decision VALUES ({places})"  # noqa: S608 (marks alone)
            self._database.executemany(into, rows)
            self._database.executemany("INSERT OR IGNORE INTO mark VALUES (?, ?)", marks)
            self._database.executemany("INSERT OR IGNORE INTO cite VALUES (?, ?)", cites)
            self._database.executemany("INSERT OR IGNORE INTO rule VALUES (?, ?, ?)", rules)
            self._database.execute("INSERT OR REPLACE INTO reached VALUES (1, ?)", (upto,))
            self._database.execute("COMMIT")

    def _forget(self) -> None:
        with self._lock, self._translating():
            for table in ("decision", "rule", "mark", "cite", "reached"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 (our own words)

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._translating():
            return self._reader.execute(statement, values).fetchall()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            if getattr(self, "_database", None) is not None and self._database.in_transaction:
                self._database.rollback()
            raise EvidenceUnavailable(
                f"the portal's index of decisions failed ({type(error).__name__}): "
                "delete it, and the next start makes it anew"
            ) from error


def words_of(name: str) -> str | None:
    """Return what asks an index for the values of a column; None where there is none of that name.

    A step from each value to the next: as many look-ups as there are values.
    """
    if name not in {*BY, "rule"}:
        return None
    table = "rule" if name == "rule" else "decision"
    return (
        f"WITH RECURSIVE step(v) AS (SELECT MIN({name}) FROM {table} UNION ALL "  # noqa: S608
        f"SELECT (SELECT MIN({name}) FROM {table} WHERE {name} > v) FROM step "
        "WHERE v IS NOT NULL) SELECT v FROM step WHERE v IS NOT NULL"
    )


def rules_of(event: Event) -> list[str]:
    """Return the rules that a decision's event names; a batch names none."""
    return list(event.fields.get("rules") or [])  # type: ignore[arg-type]


def row_of(index: int, event: Event) -> tuple[Any, ...]:
    """Return a decision's row, in the order of `Found`."""
    fields = event.fields
    return (
        index,
        event.at,
        fields["decision_id"],
        fields["node"],
        fields["action"],
        fields["purpose"],
        fields.get("use"),
        bool(fields.get("allowed", True)),
        json.dumps(rules_of(event)),
        event.kind is EventKind.BATCH_DECISION,
    )


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is read again
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            database.execute(f"DROP TABLE {name}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.executescript(_TABLES)
    return database


def conditions(search: Search) -> tuple[list[str], list[Any]]:
    """Return the clauses of a search over rows `d`, and their values; `KEY` is what orders them."""
    named = {
        "d.node = ?": search.node,
        "d.purpose = ?": search.purpose,
        "d.action = ?": search.action,
        "d.allowed = ?": search.allowed,
        "KEY.at >= ?": search.since,
        "KEY.at < ?": search.until,
        "d.decision_id = ?": search.decision_id,
    }
    wheres = [where for where, value in named.items() if value is not None]
    values: list[Any] = [value for value in named.values() if value is not None]
    if search.among is not None:
        wheres.append("d.idx IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(search.among)))
    return wheres, values


def found_of(row: tuple[Any, ...], log: str = "") -> Found:
    """Return a row of `row_of` as it was found in a log."""
    idx, at, decision, node, action, purpose, use, allowed, rules, batch = row
    named, yes = tuple(json.loads(rules)), bool(allowed)
    return Found(idx, at, decision, node, action, purpose, use, yes, named, bool(batch), log)
