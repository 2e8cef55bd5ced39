"""Time and size of an archive: `python -m tests.bench.archive [--json] [--size N]`.

A log of `--size` decisions (a hundred thousand by default), every one with facts that have
expired, is sealed, verified from the archive alone, dropped from the live store, and verified
from both. Writing is durable: each file is fsynced, then all of it is read back and checked.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from audit.archive import Archive, verify_archive
from audit.hold_book import HoldBook
from audit.log import Draft, EvidenceLog
from audit.retention import Retention
from audit.retention_policy import load_retention
from audit.sealing import Sealing
from audit.verify import verify_log
from deploy.report import Row, at_most
from tests.bench.evidence import KEY, LARGE_GROUP, decision, milliseconds, peak_mib
from tests.bench.printed import print_rows

HUNDRED_THOUSAND = 100_000
LATER = 1_800_000_000.0 + 400 * 86_400 + 1_000_000
READ = 300
MIB = 2**20

_T = TypeVar("_T")


def timed(work: Callable[[], _T]) -> tuple[float, _T]:
    """Return how many seconds work took, and what it returned."""
    started = time.perf_counter()
    done = work()
    return time.perf_counter() - started, done


def grown(log: EvidenceLog, size: int) -> None:
    """Fill a log with decisions and facts of the usual length."""
    facts = {"request": {"subject": "p" * 64, "action": "infer"}, "standing": {"grants": [1] * 40}}
    while log.size < size:
        count = min(LARGE_GROUP, size - log.size)
        log.append_many([Draft(decision(n), facts) for n in range(log.size, log.size + count)])


def seal_all(sealing: Sealing) -> int:
    """Seal all that is due; return how many segments."""
    until, count = sealing.due(), 0
    while sealing.seal_next(until) is not None:
        count += 1
    return count


def size_mib(folder: Path) -> float:
    """Return the size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MIB


def compacted_mib(path: Path) -> float:
    """Return the size of a database with its free pages given back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size / MIB


def measure(size: int) -> list[Row]:
    """Return the rows of this benchmark."""
    with tempfile.TemporaryDirectory() as name:
        path, archive = Path(name) / "log.db", Archive(Path(name) / "archive", KEY.verify_key)
        clock, policy = (lambda: LATER), replace(load_retention(), archive_fewest=1)
        with closing(EvidenceLog(path, KEY, origin="bench", clock=clock, archive=archive)) as log:
            grown(log, size)
            rows = [Row(name=f"live log of {size} entries", value=_live(path), unit="MiB")]
            rows += _kept(log, Sealing(log=log, archive=archive, policy=policy, clock=clock))
        return rows + _checked(path, archive)


def _live(path: Path) -> float:
    return round(compacted_mib(path), 1)


def _kept(log: EvidenceLog, sealing: Sealing) -> list[Row]:
    """Expire, seal, verify, drop, and read through."""
    retention = Retention(
        log=log,
        policy=sealing.policy,
        holds=HoldBook(log, clock=sealing.clock),
        clock=sealing.clock,
    )
    before = peak_mib()
    expired_s, plan = timed(lambda: retention.run(clock_is_right=True))
    sealed_s, segments = timed(lambda: seal_all(sealing))
    alone_s, found = timed(lambda: verify_archive(sealing.archive, KEY.verify_key))
    dropped_s, dropped = timed(sealing.drop)
    random = Random(7)
    indices = [random.randrange(found.size) for _ in range(READ)]
    reads = milliseconds(partial(log.entry, index) for index in indices)
    proofs = milliseconds(partial(log.inclusion, index, log.size) for index in indices)
    return [
        Row(name=f"expire {len(plan.due)} payloads", value=round(expired_s, 2), unit="s"),
        Row(
            name=f"seal {found.size} entries, {segments} segments",
            value=round(sealed_s, 2),
            unit="s",
        ),
        Row(name="archive", value=round(size_mib(sealing.archive.folder), 1), unit="MiB"),
        Row(name="verify the archive alone", value=round(alone_s, 2), unit="s"),
        Row(name=f"verify again and drop {dropped} leaves", value=round(dropped_s, 2), unit="s"),
        Row(
            name="read an archived entry, median",
            value=round(statistics.median(reads), 2),
            unit="ms",
        ),
        at_most(
            "proof of an archived entry, median", round(statistics.median(proofs), 3), 0.5, "ms"
        ),
        at_most("memory that all this added", round(peak_mib() - before, 1), None, "MiB"),
    ]


def _checked(path: Path, archive: Archive) -> list[Row]:
    both_s, _ = timed(lambda: verify_log(path, KEY.verify_key, archive=archive))
    return [
        Row(name="verify log and archive", value=round(both_s, 2), unit="s"),
        Row(name="live log after dropping", value=_live(path), unit="MiB"),
    ]


def main() -> None:
    """Print the rows, as JSON or one a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.archive")
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    parser.add_argument("--size", type=int, default=HUNDRED_THOUSAND, help="entries of the log")
    options = parser.parse_args()
    rows = measure(options.size)
    print_rows(rows, as_json=options.json)


if __name__ == "__main__":
    main()
