"""A PostgreSQL server for tests: in a folder of its own, as its own user, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pg8000.native import Connection, identifier

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"


@contextmanager
def server() -> Iterator[Path]:
    """Run a server until the block ends; yield the path of its socket.

    PostgreSQL refuses to run as root, so root starts it as the user `postgres`.
    """
    initdb, postgres = _find("initdb"), _find("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="undertone-postgres-"))
    if os.geteuid() == 0:
        _give_away(folder)
    data = folder / "data"
    start = ["-o", f"-c listen_addresses= -c unix_socket_directories={folder}", "-w"]
    try:
        _run(initdb, "-D", str(data), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8")
        _run(postgres, "-D", str(data), "-l", str(folder / "server.log"), *start, "start")
        try:
            yield folder / ".s.PGSQL.5432"
        finally:
            _run(postgres, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_database(socket: Path, name: str) -> str:
    """Make an empty database; return its URL for a log."""
    session = connect(socket, USER)
    try:
        session.run(f"CREATE DATABASE {identifier(name)}")
    finally:
        session.close()
    return f"postgresql://{USER}@localhost/{name}?socket={socket}"


def connect(socket: Path, database: str) -> Connection:
    """Open a session with every right."""
    return Connection(USER, database=database, unix_sock=str(socket))


def _find(name: str) -> str:
    found = shutil.which(name, path=f"{BINARIES}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("PostgreSQL is not on this machine: apt-get install postgresql-15")
    return found


def _give_away(folder: Path) -> None:
    try:
        shutil.chown(folder, USER)
    except LookupError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")


def _run(*command: str) -> None:
    as_user = USER if os.geteuid() == 0 else None
    done = subprocess.run(  # noqa: S603 (the server's own programs)
        command,
        user=as_user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{Path(command[0]).name}: {done.stderr}")
