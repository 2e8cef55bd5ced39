"""Kill a writer at each of its writes: `python kill_points.py FOLDER log|witness|rotation`.

The writes are those that SQLite is asked for: the n-th statement of the n-th child never runs,
for the child ends by SIGKILL in the moment before it. Prints a JSON line for each: the folder, and
what the child had been promised by then. Ends when a child gets through all of them. Of a rotation
the steps by which files are made and destroyed are writes too.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from audit.events import Event, EventKind, Value
from audit.log import Draft, EvidenceLog
from audit.rotation import KeyDesk
from audit.signing import SigningKey
from audit.submission import submission_of
from audit.witness import Witness
from audit.witness_store import WitnessStore

ORIGIN = "killed"
WRITES = ("BEGIN", "COMMIT", "CREATE", "INSERT", "PRAGMA journal_mode")
_connect = sqlite3.connect


def event(number: int) -> Event:
    """Return a small event."""
    fields: dict[str, Value] = {"sequence": number, "envelope_digest": "a" * 64}
    return Event(kind=EventKind.STANDING_APPLIED, at=1.0, fields=fields)


def kill_before(point: int, *, files: bool = False) -> None:
    """Let this process end before the statement of that number that changes anything."""
    seen = 0

    def watch(statement: str) -> None:
        nonlocal seen
        if statement.lstrip().startswith(WRITES):
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)

    def connect(*args: object, **options: object) -> sqlite3.Connection:
        connection = _connect(*args, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(watch)
        return connection  # type: ignore[no-any-return]

    sqlite3.connect = connect  # type: ignore[assignment]
    if files:
        for name in ("open", "fsync", "unlink", "mkdir"):
            _kill_in(name, lambda: watch(WRITES[0]))


def _kill_in(name: str, watch: Callable[[], None]) -> None:
    """Let each call of a function of the operating system be a point."""
    real = getattr(os, name)

    def counted(*args: object, **options: object) -> object:
        watch()
        return real(*args, **options)

    setattr(os, name, counted)


def write_log(folder: Path, promised: Callable[[object], None]) -> None:
    """Append alone and in groups; each index that is returned is a promise."""
    key = SigningKey.load(folder.parent / "key")
    log = EvidenceLog(folder / "log.db", key, origin=ORIGIN, clock=lambda: 0.0)
    for number in range(3):
        promised([log.append(event(number), private={"n": number})])
    promised(list(log.append_many([Draft(event(n), {"n": n}) for n in range(3, 7)])))
    log.close()


def write_witness(folder: Path, promised: Callable[[object], None]) -> None:
    """Cosign a growing log; each size that is cosigned is a promise."""
    key = SigningKey.load(folder.parent / "key")
    with_log = folder.parent / "grown.db"
    log = EvidenceLog(with_log, key, origin=ORIGIN, clock=lambda: 0.0)
    bodies = [(size, submission_of(log, old, size=size)) for old, size in ((0, 1), (1, 2), (2, 4))]
    log.close()
    store = WitnessStore(folder / "witness.db")
    witness = Witness(store, key, clock=lambda: 5.0, find_log=lambda _: key.verify_key)
    for size, body in bodies:
        witness.add_checkpoint(body)
        promised(size)
    store.close()


def write_rotation(folder: Path, promised: Callable[[object], None]) -> None:
    """Rotate and retire, an entry before and after; each answer is a promise."""
    key = SigningKey.load(folder.parent / "key")
    log = EvidenceLog(folder / "log.db", key, origin=ORIGIN, clock=lambda: 0.0)
    desk = KeyDesk(log, clock=lambda: 0.0)
    promised(log.append(event(0)))
    desk.rotate(overlap_s=0)
    promised("rotated")
    promised(log.append(event(1)))
    desk.retire()
    promised("retired")
    promised(log.append(event(2)))
    log.close()


def _promise(writer: int, what: object) -> None:
    os.write(writer, json.dumps(what).encode() + b"\n")


def main() -> None:
    """Run children until one gets through."""
    base, what = Path(sys.argv[1]), sys.argv[2]
    work = {"log": write_log, "witness": write_witness, "rotation": write_rotation}[what]
    point, status = 0, 1
    while status:
        point += 1
        folder = base / f"killed-{point}"
        folder.mkdir()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            kill_before(point, files=what == "rotation")
            work(folder, partial(_promise, writer))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            promises = [json.loads(line) for line in told]
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(json.dumps({"folder": str(folder), "promises": promises}) + "\n")


if __name__ == "__main__":
    main()
