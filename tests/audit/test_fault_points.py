"""Every durable write of `audit` is a named point, and a process is killed -9 at each of them.

Before and after: what was promised is there, nothing is there twice, and the next process goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.audit import postgres
from tests.audit.fault_points import NO_EVIDENCE, FaultPoint, Kill, all_points, points_in
from tests.audit.fault_scenarios import SCENARIOS

pytestmark = pytest.mark.promise(8)

PROGRAM = Path(__file__).parent / "fault_points.py"
SEEN: dict[str, set[str]] = {}
"""The points at which each scenario was killed in this session."""


def test_every_durable_write_has_a_name() -> None:
    """Each commit, fsync, rename and unlink of the package is in the index, and no name is idle."""
    assert set(all_points()) == {point.value for point in FaultPoint} | set(NO_EVIDENCE)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("os.fsync(f)", "fsync"),
        ("path.rename(new)", "rename"),
        ("part.replace(target)", "replace"),
        ("db.execute('COMMIT')", "COMMIT"),
        ("session.commit()", "commit"),
        ("path.write_bytes(data)", "write_bytes"),
        ("db.execute('PRAGMA wal_checkpoint(FULL)')", "wal_checkpoint"),
    ],
)
def test_durable_write_without_a_name_is_seen(line: str, name: str) -> None:
    """A new one in a module is found; replacing text and reading are none."""
    found = dict(points_in("audit.new", "new.py", f"def f():\n    {line}\n"))
    assert set(found) == {f"audit.new.f:{name}"}
    harmless = "def f():\n    'x'.replace('a', 'b')\n    db.execute('SELECT 1')\n"
    assert not dict(points_in("audit.new", "new.py", harmless))


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """Return a folder in memory where there is one: a killed process needs no disk to be tested."""
    shm = Path("/dev/shm")  # noqa: S108 (a folder of its own below it)
    folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    folder.chmod(0o755)  # the database has a user of its own
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(memory: Path) -> Iterator[Path]:
    """Return the socket of a running PostgreSQL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(memory))
        with postgres.server() as found:
            yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_killed_before_and_after_each_point_keeps_each_promise(
    name: str, memory: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pass of each point of the scenario, both moments: the next process finds all of it."""
    if name.endswith("postgres"):
        monkeypatch.setenv("FAULTS_POSTGRES", str(request.getfixturevalue("server")))
    folder = memory / name
    folder.mkdir()
    whole, *killed = _runs(folder, name)
    assert whole["status"] == 0
    SCENARIOS[name].check(Path(whole["folder"]), whole["promised"])
    for run in killed:
        assert run["status"] == 9, f"not killed {run['kill']}"  # the signal's number
        try:
            SCENARIOS[name].check(Path(run["folder"]), run["promised"])
        except Exception as error:
            raise AssertionError(f"after kill {run['kill']}: {error}") from error
    expected = SCENARIOS[name].kills(whole["passed"])
    assert [Kill(*run["kill"]) for run in killed] == expected
    SEEN[name] = {kill.point for kill in expected}


@pytest.mark.slow
def test_every_point_is_exercised_by_a_kill() -> None:
    """Together the scenarios pass every point of the index."""
    if set(SEEN) != set(SCENARIOS):
        pytest.skip("the scenarios did not all run in this session (one was selected, or skipped)")
    assert set().union(*SEEN.values()) == {point.value for point in FaultPoint}


def _runs(folder: Path, name: str) -> list[dict[str, Any]]:
    """Run a scenario whole, then killed everywhere; return what each run said."""
    done = subprocess.run(  # noqa: S603 (our own program)
        [sys.executable, str(PROGRAM), str(folder), name],
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
