"""One run of a log's file, checked in itself: what can be done to many runs at once.

Its entries stand in their places, hash to their stored nodes, and these to the complete nodes
of the run; its payloads are the ones committed to. What joins runs (the nodes above them,
checkpoints, the clock) is `audit.verify`'s, which takes them in order.

With several workers each is a process of its own with its own connection, and a few runs at a
time are under way, so that memory does not grow.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audit.archive import Archive, read_sealed
from audit.errors import EventInvalid, EvidenceUnavailable, LogTampered, Tampering
from audit.key_chain import key_changes
from audit.leaf import commitment_of, read_payload, times_of
from audit.replay import RUN, Levels, hash_run

FEWEST_RUNS = 32
"""Below so many runs for each worker, beginning processes costs more than it saves."""

_AHEAD = 4
"""Runs under way for each worker."""


class Moment(NamedTuple):
    """The Unix second that an entry says."""

    entry: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRun:
    """A run that holds in itself.

    `moments` are all that the clock needs: first and last where it only goes forward. `late` is
    what is wrong but comes after the checkpoints in the order of verification. `key_changes` are
    the entries that change the log's keys.
    """

    levels: Levels
    count: int
    moments: list[Moment]
    late: LogTampered | None
    key_changes: list[tuple[int, bytes]]


def check_run(
    database: sqlite3.Connection, start: int, end: int, archive: Archive | None = None
) -> CheckedRun:
    """Read and check the run that begins at `start` of a log of `end` entries.

    Raises:
        LogTampered: An entry is gone or is not what was hashed, or a node is wrong or missing.
        ArchiveOffline: Entries are in an archive that is not at hand.
    """
    leaves = _leaves(database, start, end, archive)
    hashes = hash_run(leaves)
    _compare(database, start, hashes)
    levels = Levels(start, [b"".join(level) for level in hashes])
    late, moments = None, list[Moment]()
    try:
        _check_payloads(database, start, leaves)
        moments = _moments(start, leaves)
    except LogTampered as error:
        late = error
    return CheckedRun(
        levels=levels,
        count=len(leaves),
        moments=moments,
        late=late,
        key_changes=key_changes(start, leaves),
    )


def check_node(
    database: sqlite3.Connection, level: int, place: int, found: bytes | None, expected: bytes
) -> None:
    """Return if the node found is the one that the entries make.

    Raises:
        LogTampered: It is another, or none; says what was done to the entry below.
    """
    if found == expected:
        return
    if level:
        text = f"tree node ({level}, {place}) does not follow from its entries"
        raise LogTampered(Tampering.NODE, text, index=place << level)
    if found is None:
        raise LogTampered(Tampering.NODE, f"entry {place} has no tree node", index=place)
    raise _changed(database, place, expected)


def foreign(index: int) -> LogTampered:
    """Return what is wrong with a payload that no leaf committed to."""
    text = f"the payload of entry {index} is not the one committed to"
    return LogTampered(Tampering.PAYLOAD, text, index=index)


def checked_runs(
    path: Path,
    database: sqlite3.Connection,
    start: int,
    end: int,
    *,
    workers: int = 1,
    archive: Archive | None = None,
) -> Iterator[CheckedRun]:
    """Yield the runs from `start` to `end`, in order, checked by so many processes.

    Raises:
        LogTampered: As in `check_run`.
        EvidenceUnavailable: A worker ended, or could not read the file.
    """
    starts = range(start, end, RUN)
    if workers < 2 or len(starts) < FEWEST_RUNS * workers:  # noqa: PLR2004 (one is this process)
        yield from (check_run(database, at, end, archive) for at in starts)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    with ProcessPoolExecutor(workers, context, _begin, (path, end, archive)) as pool:
        under_way = deque[Future[CheckedRun]]()
        try:
            for at in starts:
                under_way.append(pool.submit(_check, at))
                if len(under_way) == _AHEAD * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise EvidenceUnavailable("a process that helped to verify ended early") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open read-only; a copy without its `-wal` and `-shm` is opened as one that never changes.

    Raises:
        EvidenceUnavailable: It is not there, or no database.
    """
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


class _Worker:
    """What a worker's process has: its own connection, and where the log ends."""

    database: sqlite3.Connection
    end: int
    archive: Archive | None


def _begin(path: Path, end: int, archive: Archive | None) -> None:
    _Worker.database, _Worker.end, _Worker.archive = open_to_read(path), end, archive


def _check(start: int) -> CheckedRun:
    return check_run(_Worker.database, start, _Worker.end, _Worker.archive)


def read_rows(
    database: sqlite3.Connection, start: int, end: int, archive: Archive | None
) -> list[tuple[int, bytes]]:
    """Read `(index, leaf)` of entries, those that only the archive has from there.

    Raises:
        ArchiveOffline: It is not at hand.
        LogTampered: It is not what was sealed.
    """
    rows = database.execute(
        "SELECT idx, leaf FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx", (start, end)
    ).fetchall()
    if len(rows) == end - start:
        return rows
    live, until = dict(rows), min(end, _sealed_until(database))
    if all(index in live for index in range(start, until)):
        return rows
    archived = dict(read_sealed(archive, start, until))
    return sorted((archived | live).items())


def _sealed_until(database: sqlite3.Connection) -> int:
    """Return up to where an archive holds entries; a log from before there were archives: 0."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sealed'"
    if database.execute(query).fetchone() is None:
        return 0
    return int(database.execute("SELECT COALESCE(MAX(beyond), 0) FROM sealed").fetchone()[0])


def _leaves(
    database: sqlite3.Connection, start: int, end: int, archive: Archive | None
) -> list[bytes]:
    """Read a run, every entry in its place."""
    rows = read_rows(database, start, min(start + RUN, end), archive)
    if len(rows) != min(RUN, end - start):
        there = {index for index, _ in rows}
        gone = next(index for index in range(start, end) if index not in there)
        raise LogTampered(Tampering.MISSING, f"entry {gone} is gone", index=gone)
    return [leaf for _, leaf in rows]


def _compare(database: sqlite3.Connection, start: int, hashes: list[list[bytes]]) -> None:
    """Compare the nodes of a run with the stored ones, leaves first."""
    for level, computed in enumerate(hashes):
        first = start >> level
        rows = database.execute(
            "SELECT idx, hash FROM node WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx",
            (level, first, first + len(computed)),
        ).fetchall()
        if rows != list(enumerate(computed, first)):
            stored = dict(rows)
            for place, expected in enumerate(computed, first):
                check_node(database, level, place, stored.get(place), expected)


def _changed(database: sqlite3.Connection, index: int, computed: bytes) -> LogTampered:
    """Tell an edited leaf from one that another entry once was."""
    found = database.execute(
        "SELECT idx FROM node WHERE level = 0 AND hash = ?", (computed,)
    ).fetchone()
    if found is None:
        text = f"entry {index} is not the leaf that was hashed"
        return LogTampered(Tampering.EDITED, text, index=index)
    text = f"entry {index} holds the leaf that entry {found[0]} was"
    return LogTampered(Tampering.REORDERED, text, index=index)


def _check_payloads(database: sqlite3.Connection, start: int, leaves: Sequence[bytes]) -> None:
    """Compare the payloads that are not sealed, and look for ones that nothing made."""
    rows = database.execute(
        "SELECT idx, key_id, body FROM payload WHERE idx >= ? AND idx < ? ORDER BY idx",
        (start, start + len(leaves)),
    )
    for index, key_id, body in rows:
        try:
            commitment = commitment_of(leaves[index - start])
            if commitment is not None and key_id is None:
                read_payload(body, commitment)
        except (LogTampered, EventInvalid) as error:
            raise foreign(index) from error
        if commitment is None:
            raise foreign(index)


def _moments(start: int, leaves: Sequence[bytes]) -> list[Moment]:
    """Return the seconds that entries say, or first and last where none is before another."""
    try:
        times = times_of(leaves)
    except EventInvalid as error:
        text = f"an entry from {start} on is no leaf of an evidence log"
        raise LogTampered(Tampering.FORMAT, text, index=start) from error
    if times == sorted(times):
        return [Moment(start, times[0]), Moment(start + len(times) - 1, times[-1])]
    return [Moment(index, at) for index, at in enumerate(times, start)]
