"""Child processes of the one-machine federation: start, watch, measure, stop.

Each child writes to its own log file and runs in its own session, with files private to the
user. Memory is the proportional set size, so that pages shared between children count once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.errors import PartFailed

_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A running part: its name, its process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def last_line(self) -> str:
        """Return the last line it wrote, or a word that says there is none."""
        lines = self.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "(no output)"


class Processes:
    """The children, stopped in the reverse of the order in which they were started."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self.children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a child and return it at once."""
        output = self._logs / f"{name}.log"
        with output.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 (our own programs, our own arguments)
                command,
                stdout=sink,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
                umask=0o077,
            )
        child = Child(name=name, process=process, output=output)
        self.children.append(child)
        return child

    def wait_until(self, what: str, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until `ready` says so.

        Raises:
            PartFailed: A child ended, or the time is over; names it and its last line.
        """
        end = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise PartFailed(
                    f"{what} was not ready within {timeout_s:g} s; its output is in {self._logs}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Return if every child is running.

        Raises:
            PartFailed: One has ended; names it and its last line.
        """
        for child in self.children:
            if (code := child.process.poll()) is not None:
                raise PartFailed(
                    f"{child.name} ended with code {code}: {child.last_line()} "
                    f"(whole output: {child.output})"
                )

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Stop every child, newest first; one that does not obey in time is killed."""
        for child in reversed(self.children):
            _signal_session(child, signal.SIGTERM)
        end = time.monotonic() + timeout_s
        for child in reversed(self.children):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, end - time.monotonic()))
            _signal_session(child, signal.SIGKILL)
            child.process.wait()
        self.children.clear()


def _signal_session(child: Child, number: signal.Signals) -> None:
    try:
        os.killpg(child.process.pid, number)
    except ProcessLookupError:
        return


def pss_bytes(roots: Iterable[int]) -> int:
    """Return the proportional set size of the processes and all their descendants, in bytes.

    Zero where the system has no /proc (not Linux).
    """
    wanted, total = set(roots), 0
    for pid, parent in sorted(_parents().items()):
        if parent in wanted:
            wanted.add(pid)
    for pid in wanted:
        total += _pss_of(pid)
    return total


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def _pss_of(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


class MemoryWatch:
    """The largest proportional set size seen, sampled on a thread of its own.

    Reading it walks the page tables of every child: it rests twenty times as long as it took.
    """

    def __init__(self, processes: Processes, *, every_s: float = 1.0) -> None:
        self._processes = processes
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        took_s = 0.0
        while not self._over.wait(max(self._every_s, 20 * took_s)):
            started = time.monotonic()
            roots = [os.getpid(), *(c.process.pid for c in list(self._processes.children))]
            self.peak_bytes = max(self.peak_bytes, pss_bytes(roots))
            took_s = time.monotonic() - started
