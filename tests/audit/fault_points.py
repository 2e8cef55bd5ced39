"""The index of fault points: every durable write of `audit`, by name; and a kill at each.

`python fault_points.py FOLDER SCENARIO` runs a scenario (`fault_scenarios`) again and again, each
time ended by SIGKILL in the moment before or after one of the points that it passes, and prints a
JSON line each: point, moment, folder, and what the scenario had been promised by then.

A point is a function and what it asks of the disk. They are found in the text of the package, so
that a new durable write without a name fails a test (`test_fault_points`).
"""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class FaultPoint(StrEnum):
    """Every durable write of `audit`: module, function, and what is asked of the disk."""

    SQLITE_COMMIT = "audit.transaction.transaction:COMMIT"
    LOG_TABLES = "audit.log_sqlite._open:executescript"
    LOG_PAYLOADS_OVERWRITTEN = "audit.log_sqlite.delete_payloads:wal_checkpoint"
    LOG_PAYLOADS_EXPIRED = "audit.log_sqlite.expire:wal_checkpoint"
    LOG_GUARDED = "audit.log_sqlite._guard_entries:executescript"
    POSTGRES_TABLES = "audit.log_postgres.__init__:run"
    POSTGRES_INSERT = "audit.log_postgres.write:run"
    POSTGRES_COMMIT = "audit.log_postgres._writing:COMMIT"
    POSTGRES_EXPIRED = "audit.log_postgres.expire:run"
    ARCHIVE_WRITTEN = "audit.archive._write:fsync"
    ARCHIVE_NAMED = "audit.archive._write:replace"
    KEYSTORE_TABLES = "audit.keystore_rows.__init__:executescript"
    KEYSTORE_FLUSHED = "audit.keystore_rows.flush:wal_checkpoint"
    KEY_FILE_WRITTEN = "audit.private_files.create_private:fsync"
    KEY_FILE_NAMED = "audit.private_files.create_private:link"
    KEY_FILE_CLEANED = "audit.private_files.create_private:unlink"
    KEY_FILE_OVERWRITTEN = "audit.private_files.destroy_file:fsync"
    KEY_FILE_GONE = "audit.private_files.destroy_file:unlink"
    FOLDER_SYNCED = "audit.private_files.sync_folder:fsync"
    WITNESS_TABLES = "audit.witness_store.__init__:executescript"
    TILE_WRITTEN = "audit.tile_folder._write:write_bytes"
    TILE_NAMED = "audit.tile_folder._write:replace"
    TILE_PARTS_GONE = "audit.tile_folder.publish:rmtree"
    BOOKMARK_WRITTEN = "audit.replay.write:write_text"
    BOOKMARK_NAMED = "audit.replay.write:replace"
    STAFF_TABLES = "audit.database.open_database:begin"
    STAFF_COMMIT = "audit.portal.ledger.writing:commit"


NO_EVIDENCE: Mapping[str, str] = {
    "audit.intake.close:unlink": "a socket: the next owner makes it anew",
    "audit.intake._listen:unlink": "a socket: the next owner makes it anew",
    "audit.serve.serve_all:unlink": "a socket: the next owner makes it anew",
    "audit.serve._bind_unix:unlink": "a socket: the next owner makes it anew",
    "audit.write_back._run:wal_checkpoint": "a copy of what is durable: made again when opened",
    "audit.portal.decision_index._open:executescript": "an index: read again from the log",
    "audit.portal.decision_index._add:COMMIT": "an index: read again from the log",
    "audit.portal.branch_index._open:executescript": "an index: handed over again by the branches",
}
"""What looks like a durable write and keeps nothing, with the reason."""

_ASKED = frozenset(
    {"fsync", "rename", "link", "unlink", "rmtree"}
    | {"write_text", "write_bytes", "commit", "executescript"}
)


class Place(NamedTuple):
    """Where a point stands: a file, and the lines of one statement."""

    file: str
    first: int
    last: int


def points_in(module: str, file: str, text: str) -> Iterator[tuple[str, Place]]:
    """Yield the durable writes of a module, by function and what is asked."""
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            asked = _asked(node)
            if asked is not None and isinstance(node, ast.Call):
                place = Place(file, node.lineno, node.end_lineno or node.lineno)
                yield f"{module}.{function.name}:{asked}", place


@cache
def all_points() -> dict[str, list[Place]]:
    """Return every durable write of the package, with its places."""
    found: dict[str, list[Place]] = {}
    for path in sorted((ROOT / "audit").rglob("*.py")):
        if "migrations" in path.parts:
            continue  # they run within one transaction: STAFF_TABLES
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name, place in points_in(module, str(path), path.read_text("utf-8")):
            found.setdefault(name, []).append(place)
    return found


def _asked(node: ast.AST) -> str | None:
    """Return what a call asks of the disk, or None."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    name, first = node.func.attr, node.args[0] if node.args else None
    text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    if name in _ASKED:
        return name
    if name in {"execute", "run"} and text is not None:
        return next((word for word in ("COMMIT", "wal_checkpoint") if word in text), None)
    of_whom = ast.unparse(node.func.value)
    of_a_path = name == "replace" and len(node.args) == 1 and not node.keywords  # text has two
    whole = (name == "begin" and of_whom.endswith("engine")) or (
        name == "run" and first is not None and of_whom == "self._writer"
    )
    return name if of_a_path or whole else None


class Kill(NamedTuple):
    """In which moment a process ends: before or after the n-th pass of a point."""

    point: str
    passed: int
    after: bool


class Tracer:
    """Counts the points that this process passes, and ends it at one of them."""

    def __init__(self, kill: Kill | None, passed: Callable[[str], None]) -> None:
        self._kill, self._passed = kill, passed
        self._counts: Counter[str] = Counter()
        points = [(name, place) for name, places in all_points().items() for place in places]
        self._files = {place.file for _, place in points}
        self._lines = {
            (p.file, n): (name, p) for name, p in points for n in range(p.first, p.last + 1)
        }
        self._within: dict[int, tuple[Place, Kill]] = {}

    def install(self) -> None:
        """Watch this thread, and those that it starts."""
        threading.settrace(self)
        sys.settrace(self)

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        """Watch the functions of the files that have points."""
        code = frame.f_code
        named = not code.co_name.startswith("<")  # a generator within a statement is no pass of it
        return self._line if named and code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        here = self._lines.get((frame.f_code.co_filename, frame.f_lineno))
        within = self._within.get(id(frame))
        if within is not None and (here is None or here[1] != within[0] or event == "return"):
            del self._within[id(frame)]
            self._reach(within[1])
            within = None
        if event == "line" and here is not None and within is None:
            point, place = here
            self._counts[point] += 1
            self._passed(point)
            self._within[id(frame)] = (place, Kill(point, self._counts[point], after=True))
            self._reach(Kill(point, self._counts[point], after=False))
        return self._line

    def _reach(self, moment: Kill) -> None:
        if self._kill == moment:
            os.kill(os.getpid(), signal.SIGKILL)


class Told(NamedTuple):
    """What a child said before it ended: the points it passed, what it was promised; its status."""

    passed: list[str]
    promised: list[Any]
    status: int


def run_child(work: Callable[[Callable[[Any], None]], None], kill: Kill | None) -> Told:
    """Run work in a child that is killed at a point, or nowhere."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)

        def tell(kind: str, what: Any) -> None:
            os.write(writer, json.dumps([kind, what]).encode() + b"\n")

        Tracer(kill, lambda point: tell("passed", point)).install()
        work(lambda promise: tell("promised", promise))
        sys.settrace(None)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        said = [json.loads(line) for line in lines]
    status = os.waitpid(child, 0)[1]
    passed = [what for kind, what in said if kind == "passed"]
    return Told(passed, [what for kind, what in said if kind == "promised"], status)


def main() -> None:
    """Kill one scenario at each of its points, before and after."""
    from tests.audit.fault_scenarios import SCENARIOS  # noqa: PLC0415 (it needs this module)

    base, scenario = Path(sys.argv[1]), SCENARIOS[sys.argv[2]]
    scenario.prepare(base)
    all_points()  # read once, before there are children

    def attempt(kill: Kill | None) -> Told:
        number = len(list(base.glob("run-*")))
        folder = base / f"run-{number}"
        folder.mkdir()
        told = run_child(lambda promise: scenario.run(folder, promise), kill)
        line = {"folder": str(folder), "kill": kill, "promised": told.promised}
        sys.stdout.write(json.dumps(line | {"status": told.status, "passed": told.passed}) + "\n")
        return told

    for kill in scenario.kills(attempt(None).passed):
        attempt(kill)


if __name__ == "__main__":
    main()
