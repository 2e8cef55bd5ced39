"""Tiles: the log as files that others' tools read, and that give the same proofs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import LogTampered, ProofInvalid, Tampering
from audit.events import Event
from audit.log import Draft, EvidenceLog
from audit.signing import SigningKey
from audit.tile_folder import TileFolder
from audit.tiles import Tile, bundle, open_bundle, parse_tile, tiles_of
from audit.tree import prove_consistency, prove_inclusion

MakeEvent = Callable[[int], Event]


def test_tiles_of_the_specifications_example_are_as_it_says() -> None:
    """70,000 entries: 273 full tiles and one of 112, one and one of 17, and one of 1."""
    tiles = list(tiles_of(70_000))
    for level, full, partial in ((None, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1)):
        widths = [tile.width for tile in tiles if tile.level == level]
        assert widths == [256] * full + [partial]
    assert list(tiles_of(256))[1:] == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(63, 0, 7), "tile/63/000.p/7"),
        (Tile(None, 5), "tile/entries/005"),
        (Tile(1, 1000, 255), "tile/1/x001/000.p/255"),
    ],
)
def test_tile_path_is_the_specifications(tile: Tile, path: str) -> None:
    """A tile has one path, and that path names no other tile."""
    assert tile.path == path
    assert parse_tile(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/64/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/../000",
        "tile/data/000",
        "tile/0/000\n",
    ],
)
def test_tile_path_has_one_spelling(path: str) -> None:
    """Another spelling of a tile's path is refused."""
    with pytest.raises(ProofInvalid):
        parse_tile(path)


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_tiles_since_are_those_that_were_not_there(old: int, new: int) -> None:
    """What a grown log has to write is the difference of the two sets, and nothing else."""
    old, new = min(old, new), max(old, new)
    assert set(tiles_of(new, since=old)) == set(tiles_of(new)) - set(tiles_of(old))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundle_returns_its_entries_and_nothing_cut_off(leaves: list[bytes]) -> None:
    """A bundle opens to the entries in it; without its last byte it does not open."""
    data = bundle(leaves)
    assert open_bundle(data) == leaves
    if data:
        with pytest.raises(ProofInvalid):
            open_bundle(data[:-1])


def fill(log: EvidenceLog, event: MakeEvent, count: int) -> None:
    """Append entries in one group."""
    log.append_many([Draft(event(number)) for number in range(count)])


def test_folder_gives_the_logs_own_proofs(
    tmp_path: Path, log: EvidenceLog, event: MakeEvent
) -> None:
    """Every proof that the log makes, a copy of its tiles makes too."""
    fill(log, event, 600)
    folder = TileFolder(tmp_path / "tiles")
    size = folder.publish(log).size

    def node(level: int, place: int) -> bytes:
        return folder.node(level, place, size=size)

    for index in (0, 1, 255, 256, 511, 512, 599):
        assert prove_inclusion(index, size, node) == log.inclusion(index, size)
    for old in (1, 255, 256, 257, 513, 600):
        assert prove_consistency(old, size, node) == log.consistency(old, size)
    with pytest.raises(ProofInvalid):
        node(0, 600)


def test_folder_grows_with_the_log_and_verifies(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """Published again and again it verifies each time, and keeps no part of a full tile."""
    folder = TileFolder(tmp_path / "tiles")
    for count in (0, 1, 254, 1, 1, 300):
        fill(log, event, count)
        signed = folder.publish(log)
        assert folder.verify(key.verify_key) == signed
        assert (signed.size, signed.root) == (log.size, log.root())
    names = {path.name for path in (tmp_path / "tiles").rglob("*")}
    assert "000.p" not in {p.name for p in (tmp_path / "tiles/tile/entries").iterdir()}
    assert not any(name.endswith(".part") for name in names)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tile/entries/000", Tampering.EDITED),
        ("tile/entries/001.p/44", Tampering.EDITED),
        ("tile/0/000", Tampering.EDITED),
        ("tile/1/000.p/1", Tampering.NODE),
        ("checkpoint", Tampering.SIGNATURE),
    ],
)
def test_folder_with_one_bit_changed_is_named(  # noqa: PLR0917 (fixtures)
    tmp_path: Path,
    log: EvidenceLog,
    key: SigningKey,
    event: MakeEvent,
    path: str,
    expected: Tampering,
) -> None:
    """One bit changed in any kind of file is found and called by its name."""
    fill(log, event, 300)
    folder = TileFolder(tmp_path / "tiles")
    folder.publish(log)
    file = tmp_path / "tiles" / path
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)
    with pytest.raises(LogTampered) as caught:
        folder.verify(key.verify_key)
    assert caught.value.what is expected


def test_folder_of_another_history_is_not_continued(
    tmp_path: Path, log: EvidenceLog, key: SigningKey, event: MakeEvent
) -> None:
    """A folder that a fork of the log published is left as it is, and the fork is named."""
    fill(log, event, 5)
    other = EvidenceLog(tmp_path / "other.db", key, origin=log.origin, clock=log.clock)
    other.append_many([Draft(event(number + 100)) for number in range(5)])
    folder = TileFolder(tmp_path / "tiles")
    folder.publish(other)
    other.close()
    with pytest.raises(LogTampered) as caught:
        folder.publish(log)
    assert caught.value.what is Tampering.FORKED
    folder.verify(key.verify_key)
