"""A disk that is really full: appends are refused in one line, all else goes on, and room helps.

The log lies on a file system of a few MiB, which only root can make (`mount -t tmpfs`).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from audit.errors import EvidenceUnavailable
from audit.events import Event
from audit.log import Draft, EvidenceLog
from audit.signing import SigningKey
from audit.tile_folder import TileFolder
from tests.audit import postgres
from tests.audit.conftest import SetClock

pytestmark = pytest.mark.promise(8)

MIB = {"sqlite": (1, 8), "postgres": (14, 64)}
"""Size of the disk, and after room was made; an empty database of PostgreSQL takes 8."""


SMALL, LARGE = (Random(1).randbytes(size).hex() for size in (30_000, 1_000_000))
"""Nothing that a database could compress."""


@dataclass
class SmallDisk:
    """A log's place on a small disk, and how to make it larger."""

    where: Path | str
    make_room: Callable[[], None]


@pytest.fixture(params=sorted(MIB))
def disk(request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """Return a place of each kind in turn."""
    folder = Path(tempfile.mkdtemp(prefix="undertone-disk-"))
    size, larger = MIB[request.param]
    if os.geteuid() or _mount(folder, f"size={size}m"):
        pytest.skip("a small disk needs root and the right to mount a tmpfs")
    try:

        def make_room() -> None:
            assert _mount(folder, f"remount,size={larger}m") == 0

        if request.param == "sqlite":
            yield SmallDisk(folder / "log.db", make_room)
            return
        with postgres.server() as socket:
            yield SmallDisk(_database_on(folder, socket), make_room)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)  # noqa: S603, S607 (ours alone)
        folder.rmdir()


def test_disk_that_is_full_refuses_appends_and_loses_nothing(
    disk: SmallDisk,
    tmp_path: Path,
    key: SigningKey,
    clock: SetClock,
    event: Callable[[int], Event],
) -> None:
    """Appends say that there is no room; reads, proofs and verification go on; room helps."""
    with closing(EvidenceLog(disk.where, key, origin="o", clock=clock)) as log:
        kept = _fill(log, event)
        size, root = log.size, log.root()
        assert size >= len(kept) > 3
        for number in range(3):
            with pytest.raises(EvidenceUnavailable, match=r"full|[Nn]o space"):
                log.append_many([Draft(event(number), {"x": LARGE})])
        assert (log.size, log.root()) == (size, root)
        assert [entry.event for entry in log.entries(0, size)] == kept
        assert log.payload(0) == {"x": SMALL}
        tiles = TileFolder(tmp_path / "tiles")  # elsewhere: it needs room of its own
        assert tiles.publish(log) == tiles.verify(key.verify_key)
        disk.make_room()
        assert log.append(event(7), private={"x": LARGE}) == size
        assert tiles.publish(log) == tiles.verify(key.verify_key)
    with closing(EvidenceLog(disk.where, key, origin="o", clock=clock)) as log:
        assert log.size == size + 1


def _fill(log: EvidenceLog, event: Callable[[int], Event]) -> list[Event]:
    """Append until there is no room; return what was acknowledged."""
    kept = list[Event]()
    for number in range(2000):
        try:
            log.append(event(number), private={"x": SMALL})
        except EvidenceUnavailable:
            return kept
        kept.append(event(number))
    raise AssertionError("the disk is not small")


def _mount(folder: Path, options: str) -> int:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode  # noqa: S603


def _database_on(folder: Path, socket: Path) -> str:
    """Make a database whose tables lie in that folder; the server's journal lies elsewhere."""
    space = folder / "space"
    space.mkdir()
    folder.chmod(0o755)
    subprocess.run(["chown", postgres.USER, space], check=True)  # noqa: S603, S607
    with closing(postgres.connect(socket, postgres.USER)) as session:
        session.run(f"CREATE TABLESPACE small LOCATION '{space}'")
        session.run("CREATE DATABASE small_disk TABLESPACE small")
    return f"postgresql://{postgres.USER}@localhost/small_disk?socket={socket}"
