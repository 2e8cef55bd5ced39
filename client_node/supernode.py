"""Run this node's Flower SuperNode: key, addresses, environment, restarts.

The SuperNode carries messages between the coordinator's gateway and this node's executor. It
runs with `--isolation process`, so that it never starts code by itself, and its own interface
listens on loopback with a shared secret. A node that was killed is seen as online for about
60 s and a restart in that window ends with exit 305, so restarts back off to a minute.

`python -m client_node.supernode --settings FILE` supervises one until SIGTERM. Imports
nothing of Flower.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sysconfig
import threading
import time
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

from client_node.errors import StartRefused

PAUSES_S = (2.0, 10.0, 30.0, 65.0)
STEADY_S = 120.0
STOP_S = 15.0
STEP_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNodeSettings:
    """What the SuperNode and the executor of one node share; one flat TOML file.

    `node_settings` is the node service's own settings file: from it the executor takes the
    service's socket and the operator's signed policy. `gateway` is host:port of the
    coordinator's gateway, `authority` the PEM file that vouches for it, `key` the node's
    Flower key (OpenSSH, ECDSA P-384, audit.pki), `port` the SuperNode's own loopback port,
    `folder` where its state, log and shared secret go. Relative paths are taken from the
    folder of the file.
    """

    node_settings: Path
    gateway: str
    authority: Path
    key: Path
    port: int
    folder: Path
    poll_s: float = 0.25

    @classmethod
    def load(cls, path: Path) -> SuperNodeSettings:
        """Read the file.

        Raises:
            StartRefused: It is missing, is not TOML, or has a wrong set of fields.
        """
        try:
            with path.open("rb") as file:
                values: dict[str, Any] = tomllib.load(file)
            for name in ("node_settings", "authority", "key", "folder"):
                values[name] = (path.parent / values[name]).absolute()
            return cls(**values)
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise StartRefused(
                f"{path} is not a SuperNode settings file ({type(error).__name__}): "
                f"it holds {known}"
            ) from error

    @property
    def secret(self) -> Path:
        """Return the file of the secret that SuperNode and executor share."""
        return self.folder / "supernode.secret"

    @property
    def address(self) -> str:
        """Return host:port of the SuperNode's Runtime API."""
        return f"127.0.0.1:{self.port}"


def prepare(settings: SuperNodeSettings) -> None:
    """Make the folder and the shared secret."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(settings.secret, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))


def command(settings: SuperNodeSettings) -> list[str]:
    """Return the command line of the SuperNode."""
    return [
        str(Path(sysconfig.get_path("scripts")) / "flower-supernode"),
        f"--superlink={settings.gateway}",
        f"--root-certificates={settings.authority}",
        f"--auth-supernode-private-key={settings.key}",
        "--isolation=process",
        "--host=127.0.0.1",
        f"--port={settings.port}",
        f"--superexec-auth-secret-file={settings.secret}",
    ]


def environment(settings: SuperNodeSettings) -> dict[str, str]:
    """Return the SuperNode's environment: quiet, offline, and nothing inherited."""
    return {
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), "/usr/bin", "/bin")),
        "HOME": str(settings.folder),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "FLWR_HOME": str(settings.folder / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }


def launch(settings: SuperNodeSettings) -> subprocess.Popen[bytes]:
    """Start one SuperNode; its output goes to `supernode.log` in the folder."""
    with (settings.folder / "supernode.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 (our own fixed command)
            command(settings),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(settings),
            cwd=settings.folder,
            umask=0o077,
        )


def supervise(settings: SuperNodeSettings, stop: threading.Event) -> None:
    """Keep a SuperNode running until `stop`, then end it gracefully.

    Graceful matters: it tells the SuperLink that it leaves, so that a restart is not refused.
    """
    prepare(settings)
    failures = 0
    while not stop.is_set():
        started_at = time.monotonic()
        child = launch(settings)
        while child.poll() is None and not stop.wait(STEP_S):
            pass
        if stop.is_set():
            end(child)
            return
        failures = 0 if time.monotonic() - started_at > STEADY_S else failures + 1
        stop.wait(PAUSES_S[min(failures, len(PAUSES_S) - 1)])


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then insist."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> None:
    """Supervise one SuperNode until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="client_node.supernode", description=__doc__)
    parser.add_argument("--settings", required=True, type=Path)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        supervise(SuperNodeSettings.load(parser.parse_args().settings), stop)
    except StartRefused as error:
        raise SystemExit(f"undertone supernode: {error}") from error


if __name__ == "__main__":
    main()
