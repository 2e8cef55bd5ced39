"""Children of the one-machine federation: started, watched, measured, stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deploy.errors import PartFailed
from deploy.processes import Processes, pss_bytes
from deploy.report import Row, broken_safety, rows_to_json

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


def test_children_are_gone_after_the_block(tmp_path: Path) -> None:
    """No child outlives the federation, not even one that ignores the polite signal."""
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=1)"
    with Processes(tmp_path, {}) as processes:
        child = processes.start("stubborn", [sys.executable, "-c", stubborn + "; signal.pause()"])
        processes.wait_until("it", lambda: child.output.stat().st_size > 0, timeout_s=10)
        pid = child.process.pid
        processes.stop(timeout_s=0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_child_that_ends_is_named_with_its_last_line(tmp_path: Path) -> None:
    """A part that cannot start is reported by its own words."""
    with Processes(tmp_path, {}) as processes:
        processes.start("broken", [sys.executable, "-c", "import sys; sys.exit('port 1 is taken')"])
        with pytest.raises(PartFailed, match="broken ended with code 1: port 1 is taken"):
            processes.wait_until("broken", lambda: False, timeout_s=10)


def test_output_is_private_to_the_user(tmp_path: Path) -> None:
    """What children write can be read by nobody else."""
    with Processes(tmp_path, {}) as processes:
        command = f"open({str(tmp_path / 'state')!r}, 'w').close()"
        child = processes.start("writer", [sys.executable, "-c", command])
        child.process.wait(10)
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux measures this")
def test_memory_counts_descendants(tmp_path: Path) -> None:
    """A grandchild's memory is in the sum."""
    with Processes(tmp_path, {}) as processes:
        alone = pss_bytes([processes.start("one", FOREVER).process.pid])
        assert alone > 0
        assert pss_bytes([os.getpid()]) > alone


def test_rows_name_what_was_missed() -> None:
    """Only a safety row that is not held is broken; the JSON has the agreed five names."""
    rows = [
        Row(name="seconds", value=200, unit="s", aim="<= 180", held=False),
        Row(name="log verified", value=True, held=True, safety=True),
        Row(name="refused", value=False, held=False, safety=True),
    ]
    assert [row.name for row in broken_safety(rows)] == ["refused"]
    assert '"held": false' in rows_to_json(rows)
    assert "safety" not in rows_to_json(rows)
