"""Decisions that branches took and handed over: found like our own, each with its proof.

A row is a leaf that was shown to be in the branch's log at a size that this service cosigned
(`audit.branch_leaves`), with the cosigned checkpoint it was shown under. No pseudonym and no fact
is in it. It is made from pages alone and may be deleted: the branches hand over from the beginning
again. What has passed its period goes (`forget`), whatever its branch still has.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from audit.branch_leaves import DECISIONS, LeafPage, ProvenLeaf
from audit.errors import EntryMissing, EvidenceUnavailable
from audit.events import EventKind
from audit.portal.decision_index import (
    BY,
    Found,
    Key,
    Search,
    conditions,
    found_of,
    row_of,
    rules_of,
    words_of,
)
from audit.receipt import make_receipt
from audit.transaction import transaction

_VERSION = 1
_ROW = "d.idx, d.at, d.decision_id, d.node, d.action, d.purpose, d.use, d.allowed, d.rules, d.batch"
_TABLES = """
CREATE TABLE IF NOT EXISTS decision (
    log TEXT NOT NULL, idx INTEGER NOT NULL, at REAL NOT NULL, decision_id TEXT NOT NULL,
    node TEXT NOT NULL, action TEXT NOT NULL, purpose TEXT NOT NULL, use TEXT,
    allowed INTEGER NOT NULL, rules TEXT NOT NULL, batch INTEGER NOT NULL,
    leaf BLOB NOT NULL, page INTEGER NOT NULL, PRIMARY KEY (log, idx)
);
CREATE TABLE IF NOT EXISTS rule (
    rule TEXT, at REAL, log TEXT, idx INTEGER, PRIMARY KEY (rule, at, log, idx)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (
    log TEXT NOT NULL, kind TEXT NOT NULL, idx INTEGER NOT NULL, at REAL NOT NULL,
    leaf BLOB NOT NULL, page INTEGER NOT NULL, PRIMARY KEY (log, kind, idx)
);
CREATE TABLE IF NOT EXISTS page (
    number INTEGER PRIMARY KEY, log TEXT NOT NULL, note TEXT NOT NULL, proofs BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS reached (log TEXT PRIMARY KEY, size INTEGER NOT NULL, heard REAL);
CREATE INDEX IF NOT EXISTS decision_at ON decision (at, log, idx);
CREATE INDEX IF NOT EXISTS decision_id ON decision (decision_id);
CREATE INDEX IF NOT EXISTS decision_page ON decision (page);
CREATE INDEX IF NOT EXISTS mark_page ON mark (page);
""" + "".join(
    f"CREATE INDEX IF NOT EXISTS decision_{name} ON decision ({name}, at, log, idx);\n"
    for name in BY
)


class Reported(NamedTuple):
    """How far a branch has handed over, and when it was heard about that last (Unix seconds)."""

    log: str
    size: int
    heard: float | None


class BranchIndex:
    """The pages of every branch, searched together; thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, with mode 0600.

        Raises:
            EvidenceUnavailable: It cannot be opened.
        """
        self._lock = threading.RLock()
        with self._translating():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = _open(path)

    def close(self) -> None:
        """Close the file; more than once does nothing."""
        with self._lock:
            self._database.close()

    def reported(self) -> list[Reported]:
        """Return how far each branch is, by name."""
        return [Reported(*row) for row in self._rows("SELECT * FROM reached ORDER BY log")]

    def reached(self, log: str) -> int:
        """Return with which entry a branch's next page begins."""
        rows = self._rows("SELECT size FROM reached WHERE log = ?", (log,))
        return int(rows[0][0]) if rows else 0

    def hear(self, log: str, now: float) -> None:
        """Note that a branch asked how far it is.

        Raises:
            EvidenceUnavailable: It cannot be written.
        """
        with self._writing() as database:
            database.execute(
                "INSERT INTO reached VALUES (?, 0, ?) ON CONFLICT (log) DO UPDATE SET heard = ?",
                (log, now, now),
            )

    def take(self, log: str, page: LeafPage, note: str, *, now: float) -> bool:
        """Add a verified page if it is the branch's next; return whether it was. All or none.

        Args:
            log: The branch's name.
            page: What was verified.
            note: The cosigned checkpoint under which it was.
            now: Unix second.

        Raises:
            EvidenceUnavailable: It cannot be written; the branch hands it over again.
        """
        with self._writing() as database:
            if self.reached(log) != page.start:
                return False
            number = _add_page(database, log, page, note)
            for one in page.leaves:
                _add_leaf(database, log, one, number)
            database.execute(
                "INSERT OR REPLACE INTO reached VALUES (?, ?, ?)", (log, page.end, now)
            )
        return True

    def find(self, search: Search, *, limit: int, after: Key | None = None) -> list[Found]:
        """Return the newest decisions that fit, at most `limit`, after a row if one is named.

        `search.among` are places in our own log: nothing here is among them.
        """
        if search.by_branch is False or search.among is not None:
            return []
        wheres, values = conditions(search)
        source, by = "decision AS d", "d"
        if search.rule is not None:
            source = "rule AS r CROSS JOIN decision AS d ON d.log = r.log AND d.idx = r.idx"
            wheres, values, by = ["r.rule = ?", *wheres], [search.rule, *values], "r"
        if after is not None:
            wheres.append("(KEY.at, KEY.log, KEY.idx) < (?, ?, ?)")
            values += [after.at, after.log, after.idx]
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        statement = (
            f"SELECT {_ROW}, d.log FROM {source} {where} "  # noqa: S608 (our own words; values are bound)
            "ORDER BY KEY.at DESC, KEY.log DESC, KEY.idx DESC LIMIT ?"
        ).replace("KEY.", f"{by}.")
        return [found_of(row[:-1], row[-1]) for row in self._rows(statement, (*values, limit))]

    def one(self, decision_id: str, log: str | None = None) -> Found | None:
        """Return a decision by its id, the oldest, of one branch where it is named."""
        statement = (
            f"SELECT {_ROW}, d.log FROM decision AS d "  # noqa: S608 (our own words)
            "WHERE d.decision_id = ? AND (? IS NULL OR d.log = ?) ORDER BY d.at, d.log LIMIT 1"
        )
        rows = self._rows(statement, (decision_id, log, log))
        return found_of(rows[0][:-1], rows[0][-1]) if rows else None

    def at(self, log: str, places: Collection[int]) -> list[Found]:
        """Return the decisions at some of the first 2^53 entries of a branch's log, newest first.

        At most as many as one answer names (`audit.decisions_about.MOST`).
        """
        marks = ",".join("?" * len(places))
        statement = (
            f"SELECT {_ROW}, d.log FROM decision AS d "  # noqa: S608 (our own words, and marks)
            f"WHERE d.log = ? AND d.idx IN ({marks}) ORDER BY d.idx DESC"
        )
        return [found_of(row[:-1], row[-1]) for row in self._rows(statement, (log, *places))]

    def around(self, found: Found) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` of what `audit.trace` reads for a decision, in order."""
        places = self._rows(
            "SELECT MAX(idx) FROM mark WHERE log = ? AND idx < ? GROUP BY kind",
            (found.log, found.idx),
        )
        indices = sorted({int(row[0]) for row in places} | {found.idx})
        return [(index, self.leaf(found.log, index)) for index in indices]

    def leaf(self, log: str, index: int) -> bytes:
        """Return a leaf, to the byte.

        Raises:
            EntryMissing: It was not handed over, or its period has passed.
        """
        return bytes(self._kept(log, index)[0])

    def receipt(self, log: str, index: int) -> str:
        """Return the tlog-proof of a leaf, under the checkpoint that this service cosigned.

        Raises:
            EntryMissing: As for `leaf`.
        """
        page = self._kept(log, index)[1]
        note, proofs = self._rows("SELECT note, proofs FROM page WHERE number = ?", (page,))[0]
        hashes = json.loads(zlib.decompress(proofs))[str(index)]
        return make_receipt(index, [bytes.fromhex(part) for part in hashes], note)

    def words(self, name: str) -> list[str]:
        """Return the values that decisions have of `node`, `purpose`, `action` or `rule`."""
        statement = words_of(name)
        return [] if statement is None else [str(row[0]) for row in self._rows(statement)]

    def forget(
        self, before: dict[EventKind, float], *, held: Sequence[tuple[float, float]] = ()
    ) -> int:
        """Delete decisions from before their kind's second, but those of held times; count them.

        What was in force goes with the decisions it was in force for.

        Args:
            before: For each kind, the Unix second from which on it is kept.
            held: `(since, until)` in Unix seconds, of legal holds.

        Raises:
            EvidenceUnavailable: It cannot be written; later again.
        """
        spared = "".join(" AND NOT (at >= ? AND at < ?)" for _ in held)
        bounds = [value for span in held for value in span]
        gone = 0
        with self._writing() as database:
            for kind in sorted(DECISIONS):
                batch = kind is EventKind.BATCH_DECISION
                where = f"batch = ? AND at < ?{spared}"
                values = [batch, before[kind], *bounds]
                gone += database.execute(
                    f"DELETE FROM decision WHERE {where}",  # noqa: S608 (our own words)
                    values,
                ).rowcount
            if gone:
                _sweep(database)
        return gone

    def _kept(self, log: str, index: int) -> tuple[Any, ...]:
        for table in ("decision", "mark"):
            statement = f"SELECT leaf, page FROM {table} WHERE log = ? AND idx = ?"  # noqa: S608
            if rows := self._rows(statement, (log, index)):
                return rows[0]
        raise EntryMissing(f"entry {index} of {log} is not here: ask the branch for it")

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, self._translating():
            return self._database.execute(statement, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translating(), transaction(self._database):
            yield self._database

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise EvidenceUnavailable(
                f"the index of branches' decisions failed ({type(error).__name__}): "
                "delete it, and the branches hand over again"
            ) from error


def _add_page(database: sqlite3.Connection, log: str, page: LeafPage, note: str) -> int:
    """Keep the proofs of a page; their hashes are mostly the same ones, so they are packed."""
    if not page.leaves:
        return 0
    proofs = {str(one.index): [part.hex() for part in one.proof] for one in page.leaves}
    packed = zlib.compress(json.dumps(proofs).encode(), level=9)
    added = database.execute(
        "INSERT INTO page (log, note, proofs) VALUES (?, ?, ?)", (log, note, packed)
    )
    return int(added.lastrowid or 0)


def _add_leaf(database: sqlite3.Connection, log: str, one: ProvenLeaf, page: int) -> None:
    kept, event = (one.leaf, page), one.event
    if event.kind not in DECISIONS:
        row = (log, event.kind.value, one.index, event.at, *kept)
        database.execute("INSERT INTO mark VALUES (?, ?, ?, ?, ?, ?)", row)
        return
    marks = ",".join("?" * 13)
    into = f"INSERT INTO decision VALUES ({marks})"  # noqa: S608 (marks alone)
    database.execute(into, (log, *row_of(one.index, event), *kept))
    rules = {(rule, event.at, log, one.index) for rule in rules_of(event)}
    database.executemany("INSERT INTO rule VALUES (?, ?, ?, ?)", sorted(rules))


def _sweep(database: sqlite3.Connection) -> None:
    """Delete what belongs to no decision any more."""
    database.execute(
        "DELETE FROM rule WHERE NOT EXISTS "
        "(SELECT 1 FROM decision AS d WHERE d.log = rule.log AND d.idx = rule.idx)"
    )
    # Of what was in force, the newest before the first decision that is left is still needed.
    database.execute(
        "DELETE FROM mark WHERE EXISTS (SELECT 1 FROM mark AS later WHERE later.log = mark.log "
        "AND later.kind = mark.kind AND later.idx > mark.idx AND later.idx < "
        "(SELECT COALESCE(MIN(d.idx), 1 << 62) FROM decision AS d WHERE d.log = mark.log))"
    )
    database.execute(
        "DELETE FROM page WHERE NOT EXISTS (SELECT 1 FROM decision AS d WHERE d.page = number) "
        "AND NOT EXISTS (SELECT 1 FROM mark AS m WHERE m.page = number)"
    )


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA secure_delete = ON")
    database.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is handed over again
    if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
        for name in ("decision", "rule", "mark", "page", "reached"):
            database.execute(f"DROP TABLE IF EXISTS {name}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.executescript(_TABLES)
    return database
