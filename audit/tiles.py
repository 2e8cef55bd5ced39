"""The log as static files (C2SP tlog-tiles): hashes by 256, entries in bundles.

A folder of tiles is the whole log in a form that others' tools read: Go's `sumdb/tlog`,
Sunlight, Tessera. It is written from a log and read back as the same nodes, so that proofs
come from a copy as well. Tiles hold what leaves hold, never a payload.

Not here: the folder they lie in (`audit.tile_folder`); nor serving them, which any web
server can.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from audit.errors import ProofInvalid
from audit.tree import HASH_BYTES, Nodes, root_from_leaves

HEIGHT = 8
WIDTH = 1 << HEIGHT
"""A full tile is 256 hashes wide (tlog-tiles)."""

_LENGTH_BYTES = 2
_HIGHEST = 63
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(x[0-9]{3}/)*[0-9]{3})"
    r"(\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Place of a tile: `level` None is a bundle of entries; `width` 256 is a full tile."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Return its path below the log's prefix, such as `tile/0/x001/234.p/7`."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_index_path(self.index)}{partial}"


def parse_tile(path: str) -> Tile:
    """Return the tile of a path.

    Raises:
        ProofInvalid: No tile has this path.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        raise ProofInvalid("not the path of a tile")
    level = None if found["level"] == "entries" else int(found["level"])
    index = int(found["index"].replace("x", "").replace("/", ""))
    tile = Tile(level, index, int(found["width"] or WIDTH))
    if tile.path != path or (level is not None and level > _HIGHEST):
        raise ProofInvalid("not the path of a tile")
    return tile


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Return the tiles, bundles too, that a log of `size` has and one of `since` had not."""
    level: int | None = None
    while True:
        span = WIDTH ** (0 if level is None else level)
        count, before = size // span, since // span
        if not count:
            return
        for index in range(before // WIDTH, -(-count // WIDTH)):
            width = min(WIDTH, count - index * WIDTH)
            if index * WIDTH + width > before:
                yield Tile(level, index, width)
        level = 0 if level is None else level + 1


def hash_tile(tile: Tile, nodes: Nodes) -> bytes:
    """Return the bytes of a tile of hashes.

    Raises:
        EntryMissing: The log has not got so far.
        ProofInvalid: It is a bundle of entries.
    """
    if tile.level is None:
        raise ProofInvalid(f"{tile.path} is no tile of hashes")
    first = tile.index * WIDTH
    return b"".join(nodes(tile.level * HEIGHT, first + i) for i in range(tile.width))


def hashes(data: bytes) -> list[bytes]:
    """Return the hashes in a tile's bytes."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def bundle(leaves: Sequence[bytes]) -> bytes:
    """Return entries as one bundle: each after its length, two bytes, big-endian."""
    return b"".join(len(leaf).to_bytes(_LENGTH_BYTES, "big") + leaf for leaf in leaves)


def open_bundle(data: bytes) -> list[bytes]:
    """Return the entries of a bundle.

    Raises:
        ProofInvalid: It ends within an entry.
    """
    leaves, at = [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise ProofInvalid("a bundle ends within an entry")
        leaves.append(data[start:at])
    return leaves


def nodes_of_tiles(size: int, read: Callable[[Tile], bytes]) -> Nodes:
    """Return the complete nodes of a log of `size` from its tiles, to prove things with.

    Nothing is trusted yet: a proof made from them is verified like any other.

    Args:
        size: Entries of the log.
        read: Returns the bytes of a tile.

    Raises:
        ProofInvalid: (by the nodes) A tile has another length, or the log no such node.
    """

    def node(level: int, place: int) -> bytes:
        if (place + 1) << level > size:
            raise ProofInvalid(f"a log of {size} has no node ({level}, {place})")
        above, rest = divmod(level, HEIGHT)
        first = place << rest  # the leftmost hash below it in the tile's own level
        index, offset = divmod(first, WIDTH)
        width = min(WIDTH, (size >> (above * HEIGHT)) - index * WIDTH)
        data = read(Tile(above, index, width))
        if len(data) != width * HASH_BYTES:
            raise ProofInvalid(f"{Tile(above, index, width).path} has not {width} hashes")

        return root_from_leaves(hashes(data)[offset : offset + (1 << rest)])

    return node


def _index_path(index: int) -> str:
    """Return 1234067 as `x001/x234/067` (tlog-tiles)."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *above, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    return "/".join([*(f"x{part}" for part in above), last])
