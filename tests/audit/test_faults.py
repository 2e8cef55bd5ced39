"""Faults: whatever ends or damages a log, nothing promised is lost and what was done is named.

Killed at every write, torn writes, torn pages, a full disk (`test_log`), two writers
(`test_log_store`), a clock that goes back, an old backup and forks (`test_witness`, promise 8),
edit, truncation, reordering (`test_verify`).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from audit.errors import EvidenceUnavailable, LogTampered
from audit.events import Event, EventKind, Value
from audit.log import Draft, EvidenceLog
from audit.rotation import KeyDesk
from audit.signing import SigningKey
from audit.verify import verify_log
from audit.witness_store import WitnessStore
from tests.audit.conftest import NOW
from tests.audit.kill_points import ORIGIN, event

pytestmark = pytest.mark.promise(8)

PROGRAM = Path(__file__).parent / "kill_points.py"
FRAME_HEADER, WAL_HEADER = 24, 32
"""Bytes (SQLite's file format, sections 4.1 and 4.2)."""


def killed(folder: Path, what: str) -> list[dict[str, Any]]:
    """Run the program that kills itself everywhere; return each folder and its promises."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    done = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, str(PROGRAM), str(folder), what],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_log_killed_at_any_write_keeps_each_promise(tmp_path: Path, key: SigningKey) -> None:
    """Kill -9 before each statement: what was acknowledged is there, groups are whole, it verifies.

    The log then goes on, and what was not acknowledged is there whole or not at all.
    """
    key.save(tmp_path / "key")
    points = killed(tmp_path, "log")
    assert len(points) - 1 == 21 + 6 + 7 + 6 + 18  # the making, three alone, a group of four
    sizes = set()
    for point in points:
        promised = [index for indices in point["promises"] for index in indices]
        path = Path(point["folder"]) / "log.db"
        with closing(EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 0.0)) as log:
            assert log.size >= len(promised)
            assert promised == list(range(len(promised)))
            assert log.size in {0, 1, 2, 3, 7}
            for index in range(log.size):
                assert log.entry(index).event == event(index)
                assert log.payload(index) == {"n": index}
            sizes.add(log.size)
            assert log.append(event(99)) == log.size - 1
        assert verify_log(path, key.verify_key).size == log.size
    assert sizes == {0, 1, 2, 3, 7}
    assert points[-1]["promises"] == [[0], [1], [2], [3, 4, 5, 6]]


def test_witness_killed_at_any_write_remembers_what_it_cosigned(
    tmp_path: Path, key: SigningKey
) -> None:
    """Kill -9 before each statement: no cosignature was given that is not remembered."""
    key.save(tmp_path / "key")
    with closing(EvidenceLog(tmp_path / "grown.db", key, origin=ORIGIN, clock=lambda: 0.0)) as log:
        for size in (1, 1, 2):
            log.append_many([Draft(event(log.size + n)) for n in range(size)])
    points = killed(tmp_path, "witness")
    for point in points:
        with closing(WitnessStore(Path(point["folder"]) / "witness.db")) as store:
            seen = store.seen(ORIGIN)
            assert (0 if seen is None else seen.size) >= max(point["promises"], default=0)
    assert points[-1]["promises"] == [1, 2, 4]
    assert any(point["promises"] == [1] for point in points)


def test_rotation_killed_at_any_write_is_taken_up_again(tmp_path: Path, key: SigningKey) -> None:
    """Kill -9 before each statement and file step: it opens, verifies, and ends as it would have.

    No second key is brought for one that a crash left over, and no retired key's file stays.
    """
    key.save(tmp_path / "key")
    points = killed(tmp_path, "rotation")
    states = set()
    for point in points:
        path = Path(point["folder"]) / "log.db"
        with closing(EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 0.0)) as log:
            desk, found = KeyDesk(log, clock=lambda: 0.0), len(log.keys.chain.terms)
            states.add((found, len(log.keys.signers)))
            assert ("rotated" in point["promises"]) <= (found == 2)
            assert ("retired" in point["promises"]) <= (len(log.keys.signers) == 1)
            if found == 1:
                desk.rotate(overlap_s=0)
            desk.retire()
            assert [row["state"] for row in desk.list()] == ["retired", "signs"]
            desk.rotate(overlap_s=0)
            desk.retire()
            left = [file.name for file in (path.parent / "log-keys").iterdir()]
            assert left == [f"{log.keys.signers[0].verify_key.key_id.hex()}.signing-key"]
        assert verify_log(path, key.verify_key).size == log.size
    assert states == {(1, 1), (2, 2), (2, 1)}
    assert points[-1]["promises"] == [0, "rotated", 2, "retired", 4]


def _grown(folder: Path, key: SigningKey) -> tuple[Path, list[int]]:
    """Return a log's file as it was left by a power cut, and the journal's size at each promise."""
    path, sizes = folder / "log.db", list[int]()
    log = EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 0.0)
    log._store._writer.execute("PRAGMA wal_autocheckpoint = 0")  # type: ignore[attr-defined]
    for number in range(4):
        log.append(event(number), private={"n": number})
        sizes.append((folder / "log.db-wal").stat().st_size)
    left = folder / "left"
    left.mkdir()
    for name in ("log.db", "log.db-wal"):
        shutil.copy(folder / name, left / name)
    log.close()
    return left / "log.db", sizes


def test_torn_journal_loses_nothing_that_was_promised(tmp_path: Path, key: SigningKey) -> None:
    """The journal cut at and within every page, or its tail garbled: promised entries are there.

    What comes after a torn page is as if it had never been written.
    """
    left, sizes = _grown(tmp_path, key)
    whole = left.with_name("log.db-wal").read_bytes()
    page = int.from_bytes(whole[8:12], "big")
    frame = FRAME_HEADER + page
    starts = range(WAL_HEADER, len(whole) + 1, frame)
    cuts = {start + offset for start in starts for offset in (-1, 0, 1, frame // 2)}
    torn = tmp_path / "torn"
    for cut in sorted(c for c in cuts if sizes[0] <= c <= len(whole)):
        for tail in (b"", b"\x5a" * frame):
            shutil.rmtree(torn, ignore_errors=True)
            torn.mkdir()
            shutil.copy(left, torn / "log.db")
            (torn / "log.db-wal").write_bytes(whole[:cut] + tail)
            with closing(
                EvidenceLog(torn / "log.db", key, origin=ORIGIN, clock=lambda: 0.0)
            ) as log:
                assert log.size == sum(size <= cut for size in sizes)
                assert log.append(event(9)) == log.size - 1
            verify_log(torn / "log.db", key.verify_key)


def test_torn_page_is_found_wherever_it_lies(tmp_path: Path, key: SigningKey) -> None:
    """Any page of the file overwritten in half is found: refused, or named when verified."""
    path = tmp_path / "log.db"
    with closing(EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 0.0)) as log:
        log.append_many([Draft(event(number), {"n": number}) for number in range(200)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = database.execute("PRAGMA page_size").fetchone()[0]
        roots = dict(database.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage"))
        unread = _pages_without_evidence(database)
    whole = path.read_bytes()
    torn = tmp_path / "torn.db"
    assert len(roots) > 4
    for number in range(len(whole) // page):
        if number + 1 in unread:
            continue  # nothing is read from it here
        middle = number * page + page // 2
        end = (number + 1) * page
        torn.write_bytes(whole[:middle] + b"\x5a" * (end - middle) + whole[end:])
        with pytest.raises((LogTampered, EvidenceUnavailable)):
            verify_log(torn, key.verify_key)


def _pages_without_evidence(database: sqlite3.Connection) -> set[int]:
    """Return the pages of the three indexes for look-ups, and of the ranges sealed, here none."""
    try:
        rows = database.execute(
            "SELECT pageno FROM dbstat"
            " WHERE name IN ('entry_kind', 'payload_key', 'once', 'sealed')"
        )
        return {row[0] for row in rows}
    except sqlite3.OperationalError:
        pytest.skip("this SQLite was built without dbstat, which tells whose each page is")


def test_clock_that_goes_back_changes_no_order_and_is_named(
    tmp_path: Path, key: SigningKey
) -> None:
    """Entries stay in the order in which they came; verification says where time went back."""
    fields: dict[str, Value] = {"sequence": 1, "envelope_digest": "a" * 64}
    times = [1000.0, 1001.5, 1001.0, 400.0, 401.0, 2000.0, 1.5e-7]
    path = tmp_path / "log.db"
    with closing(EvidenceLog(path, key, origin=ORIGIN, clock=lambda: 2000.0)) as log:
        for at in times:
            log.append(Event(kind=EventKind.STANDING_APPLIED, at=at, fields=fields))
        assert [entry.event.at for entry in log.entries(0, 9)] == times
    assert verify_log(path, key.verify_key).clock_back == (3, 6)


def test_clock_within_a_minute_is_not_named(
    tmp_path: Path, key: SigningKey, event: Callable[[int], Event]
) -> None:
    """Callers that overtake one another by seconds are no clock that went back."""
    path = tmp_path / "log.db"
    with closing(EvidenceLog(path, key, origin=ORIGIN, clock=lambda: NOW)) as log:
        log.append_many([Draft(event(number)) for number in range(5)])
    assert verify_log(path, key.verify_key).clock_back == ()
