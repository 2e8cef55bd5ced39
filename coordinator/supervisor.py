"""Keep the Flower processes and the gateway alive, as children of one command.

SuperLink first, then superexec and gateway once it answers; stopped in reverse. A child that
ends is started again with growing pauses. Each child gets a small environment of its own, a
log file, a process group and umask 077 (Flower would leave its state readable by everybody).
Knows nothing of what Flower does.
"""

from __future__ import annotations

import os
import secrets
import signal
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from coordinator.errors import FlowerUnavailable
from coordinator.settings import CoordinatorSettings

STEP_S = 0.2
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
STEADY_S = 60.0
"""A child that lived this long starts again with the first pause."""
STOP_S = 10.0


@dataclass(slots=True)
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = field(default=0.0)

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def start(self) -> None:
        """Start the process, after ending one that an earlier, killed service left behind."""
        self._end_orphan()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own fixed commands)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
                umask=0o077,
            )
        self.started_at = time.monotonic()
        self._pid_file.write_text(str(self.process.pid), encoding="ascii")

    def tend(self, now: float) -> None:
        """Start the process again if it ended and its pause is over."""
        if self.process is not None and self.process.poll() is not None:
            steady = now - self.started_at > STEADY_S
            self.failures = 0 if steady else self.failures + 1
            self.restart_at = now + PAUSES_S[min(self.failures, len(PAUSES_S) - 1)]
            self.process = None
        if self.process is None and now >= self.restart_at:
            self.start()

    def stop(self) -> None:
        """Ask the process to end, then insist."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _signal_group(self.process.pid, signal.SIGKILL)  # what it started itself
        self._pid_file.unlink(missing_ok=True)
        self.process = None

    def _end_orphan(self) -> None:
        if not self._pid_file.exists():
            return
        pid = int(self._pid_file.read_text(encoding="ascii") or 0)
        if pid and _command_of(pid) == _without_python(self.command):
            _signal_group(pid, signal.SIGTERM)
            ends_at = time.monotonic() + STOP_S
            while _command_of(pid) and time.monotonic() < ends_at:
                time.sleep(STEP_S)
            _signal_group(pid, signal.SIGKILL)
        self._pid_file.unlink(missing_ok=True)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _command_of(pid: int) -> list[str]:
    """Return the arguments of a running process (Linux), without the interpreter."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return _without_python([word.decode(errors="replace") for word in raw.split(b"\0")[:-1]])


def _without_python(words: Sequence[str]) -> list[str]:
    return list(words[1:] if words and "python" in Path(words[0]).name else words)


class Supervisor:
    """Run the SuperLink, the superexec and the gateway."""

    def __init__(self, settings: CoordinatorSettings, *, courier_socket_variable: str) -> None:
        self._settings = settings
        folder = settings.flower_folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_flower_home(settings)
        environment = child_environment(folder) | {
            courier_socket_variable: str(settings.socket.absolute())
        }
        commands = {
            "superlink": _superlink(settings),
            "superexec": _superexec(settings),
            "gateway": _gateway(settings),
        }
        self._children = [
            Child(name, command, folder.absolute(), environment)
            for name, command in commands.items()
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="supervisor", daemon=True)

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start the SuperLink, wait until it answers, then start the others.

        Raises:
            FlowerUnavailable: It did not answer in time; everything is stopped again.
        """
        first, *others = self._children
        first.start()
        try:
            self._wait_healthy(time.monotonic() + timeout_s)
        except FlowerUnavailable:
            first.stop()
            raise
        for child in others:
            child.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop all children, the SuperLink last."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for child in reversed(self._children):
            child.stop()

    def processes(self) -> dict[str, int]:
        """Return the process id of each child that runs."""
        return {c.name: c.process.pid for c in self._children if c.process is not None}

    def _tend(self) -> None:
        while not self._stop.wait(STEP_S):
            for child in self._children:
                child.tend(time.monotonic())

    def _wait_healthy(self, ends_at: float) -> None:
        context = ssl.create_default_context(cafile=self._settings.authority)
        url = f"https://127.0.0.1:{self._settings.superlink_port}/health"
        with httpx.Client(verify=context, timeout=1.0, trust_env=False) as client:
            while time.monotonic() < ends_at:
                try:
                    if client.get(url).is_success:
                        return
                except httpx.HTTPError:
                    pass
                if self._stop.wait(STEP_S):
                    break
        raise FlowerUnavailable(
            f"the SuperLink did not answer on port {self._settings.superlink_port}: "
            f"see {self._settings.flower_folder / 'superlink.log'}"
        )


def child_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a Flower process: quiet, offline, and nothing inherited."""
    root = Path(__file__).resolve().parent.parent
    scripts = sysconfig.get_path("scripts")
    return {
        "PATH": os.pathsep.join((scripts, "/usr/bin", "/bin")),
        "HOME": str(folder.absolute()),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(root),
        "PYTHONUNBUFFERED": "1",
        "FLWR_HOME": str(folder.absolute()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def _write_flower_home(settings: CoordinatorSettings) -> None:
    folder = settings.flower_folder
    secret = folder / "superexec.secret"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_bytes(secrets.token_bytes(32))
    config = folder / "config.toml"
    config.touch(mode=0o600)
    config.write_text(
        '[superlink]\ndefault = "undertone"\n\n[superlink.undertone]\n'
        f'address = "127.0.0.1:{settings.superlink_port}"\n'
        f'root-certificates = "{settings.authority.absolute()}"\n',
        encoding="utf-8",
    )


def _script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _superlink(settings: CoordinatorSettings) -> list[str]:
    return [
        _script("flower-superlink"),
        "--host=127.0.0.1",
        f"--port={settings.superlink_port}",
        f"--ssl-ca-certfile={settings.authority.absolute()}",
        f"--ssl-certfile={settings.certificate.absolute()}",
        f"--ssl-keyfile={settings.private_key.absolute()}",
        "--enable-supernode-auth",
        "--isolation=process",
        "--superexec-auth-secret-file=superexec.secret",
        "--database=superlink.db",
        "--disable-runtime-dependency-installation",
    ]


def _superexec(settings: CoordinatorSettings) -> list[str]:
    return [
        _script("flower-superexec"),
        f"--runtime-api-address=127.0.0.1:{settings.superlink_port}",
        f"--root-certificates={settings.authority.absolute()}",
        "--superexec-auth-secret-file=superexec.secret",
    ]


def _gateway(settings: CoordinatorSettings) -> list[str]:
    return [
        sys.executable,
        "-m",
        "coordinator.gateway",
        f"--upstream=127.0.0.1:{settings.superlink_port}",
        f"--authority={settings.authority.absolute()}",
        f"--certificate={settings.certificate.absolute()}",
        f"--private-key={settings.private_key.absolute()}",
        f"--host={settings.gateway_host}",
        f"--port={settings.gateway_port}",
        f"--log={settings.access_log.absolute()}",
        f"--socket={settings.socket.absolute()}",
    ]
