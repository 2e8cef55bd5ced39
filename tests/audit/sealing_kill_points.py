"""Kill sealing or expiry at each write: `python sealing_kill_points.py FOLDER seal|expire`.

FOLDER has `key`, and `log/log.db` with full tiles. The n-th child works on a copy and ends by
SIGKILL before the n-th write: a statement that changes the log, a file made durable or put in
its place. Prints a JSON line for each child: its folder. Ends when a child gets through.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.archive import Archive
from audit.hold_book import HoldBook
from audit.log import EvidenceLog
from audit.retention import Retention
from audit.retention_policy import DAY_S, RetentionPolicy, load_retention
from audit.sealing import Sealing
from audit.signing import SigningKey
from tests.audit.kill_points import ORIGIN, kill_before

LATER = 400.0 * DAY_S


def policy_for_tests() -> RetentionPolicy:
    """Return the shipped policy that seals whatever is a day old."""
    return replace(load_retention(), archive_after_days=1, archive_fewest=1)


def open_sealing(folder: Path, key: SigningKey) -> Sealing:
    """Open the log in a folder, and what seals it into the archive beside it."""
    archive = Archive(folder / "archive", key.verify_key)
    log = EvidenceLog(folder / "log.db", key, origin=ORIGIN, clock=lambda: LATER, archive=archive)
    return Sealing(log=log, archive=archive, policy=policy_for_tests(), clock=lambda: LATER)


def seal_and_drop(sealing: Sealing) -> None:
    """Do all there is to do."""
    until = sealing.due()
    while sealing.seal_next(until) is not None:
        pass
    sealing.drop()


def expire(sealing: Sealing) -> None:
    """Remove all that is due, in parts of four."""
    log = sealing.log
    holds, clock = HoldBook(log, clock=sealing.clock), sealing.clock
    Retention(log=log, policy=sealing.policy, holds=holds, clock=clock, _part=4).run(
        clock_is_right=True
    )


def kill_before_writes(point: int) -> None:
    """Count files as well as statements: one counter over both."""
    kill_before(point)
    real_fsync, real_replace, counting = os.fsync, Path.replace, sqlite3.connect(":memory:")

    def tick() -> None:
        counting.execute("BEGIN")
        counting.execute("ROLLBACK")

    def fsync(descriptor: Any) -> None:
        tick()
        real_fsync(descriptor)

    def put(self: Path, target: Any) -> Path:
        tick()
        return real_replace(self, target)

    os.fsync = fsync  # type: ignore[assignment]
    Path.replace = put  # type: ignore[method-assign,assignment]


def main() -> None:
    """Run children until one gets through."""
    base = Path(sys.argv[1])
    work = {"seal": seal_and_drop, "expire": expire}[sys.argv[2]]
    key, point, status = SigningKey.load(base / "key"), 0, 1
    while status:
        point += 1
        folder = base / f"killed-{point}"
        shutil.copytree(base / "log", folder)
        child = os.fork()
        if child == 0:
            kill_before_writes(point)
            sealing = open_sealing(folder, key)
            with closing(sealing.log):
                work(sealing)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(json.dumps({"folder": str(folder)}) + "\n")


if __name__ == "__main__":
    main()
