"""The tree made again from leaves, a run of them at a time, so that memory does not grow.

A run is up to 1,024 entries, beginning at a multiple of that: its hashes level by level are the
log's own complete nodes, and above them a frontier of at most 64 carries on. What was done is a
few numbers and hashes (`Position`), so a pass that was interrupted can go on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from audit.errors import EvidenceUnavailable
from audit.tree import HASH_BYTES, Frontier, Node, Nodes, extend

LEVEL = 10
RUN = 1 << LEVEL
"""Entries of a run."""


class Levels(NamedTuple):
    """The complete nodes of a run that begins at `start`: `hashes[level]`, one after another."""

    start: int
    hashes: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a pass is: entries, the subtrees over them, nodes and checkpoints seen so far.

    `latest` is the clock's newest Unix second, `clock_back` where it went back; `key_changes` are
    the entries that changed the log's keys, leaves in hexadecimal.
    """

    size: int = 0
    frontier: Frontier = ()
    nodes: int = 0
    checkpoints: int = 0
    known_root: str | None = None
    latest: float = -math.inf
    clock_back: tuple[int, ...] = ()
    key_changes: tuple[tuple[int, str], ...] = ()


def hash_run(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return the complete nodes over some leaves, level by level (RFC 6962 2.1)."""
    level = _hash_all(b"\x00", leaves)
    levels = [level]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)  # an odd one waits for its neighbour
        level = _hash_all(b"\x01", [left + right for left, right in pairs])
        levels.append(level)
    return levels


def _hash_all(prefix: bytes, parts: Sequence[bytes]) -> list[bytes]:
    """Return SHA-256 over each part behind the prefix.

    Half the cost of a replay is here: to copy a begun hash is cheaper than to begin one.
    """
    copy, hashes = hashlib.sha256(prefix).copy, list[bytes]()
    add = hashes.append
    for part in parts:
        hashing = copy()
        hashing.update(part)
        add(hashing.digest())
    return hashes


def carry_on(frontier: Frontier, levels: Levels) -> tuple[Frontier, list[Node]]:
    """Return the frontier beyond a whole run, and the nodes above it that this completes."""
    top = levels.hashes[LEVEL]
    after, made = extend(frontier, levels.start >> LEVEL, top, level=LEVEL)
    return after, made[1:]


def nodes_within(levels: Levels, *frontiers: Frontier) -> Nodes:
    """Return the nodes that a run and the frontiers around it know, to make roots from."""
    known = {(node.level, node.place): node.hash for frontier in frontiers for node in frontier}

    def node(level: int, place: int) -> bytes:
        if level <= LEVEL and place << level >= levels.start:
            at = (place - (levels.start >> level)) * HASH_BYTES
            return levels.hashes[level][at : at + HASH_BYTES]
        return known[level, place]

    return node


class Bookmark:
    """A file that remembers a position in one log's file, as long as that does not change."""

    def __init__(self, path: Path, log: Path, key: str) -> None:
        self._path = path
        files = (log, log.with_name(log.name + "-wal"))
        found = [file.stat() for file in files if file.is_file()]
        self._of = {"key": key, "files": [[s.st_size, s.st_mtime_ns] for s in found]}

    def read(self) -> Position:
        """Return where the last pass got to; the beginning where it is of another file."""
        try:
            value = json.loads(self._path.read_text(encoding="ascii"))
            if value.pop("of") != self._of:
                return Position()
            frontier = tuple(Node(lv, at, bytes.fromhex(h)) for lv, at, h in value.pop("frontier"))
            clock_back = tuple(value.pop("clock_back"))
            changes = tuple((index, leaf) for index, leaf in value.pop("key_changes"))
            return Position(frontier=frontier, clock_back=clock_back, key_changes=changes, **value)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Position()

    def write(self, position: Position) -> None:
        """Remember a position, whole or not at all.

        Raises:
            EvidenceUnavailable: The file cannot be written.
        """
        frontier = [[node.level, node.place, node.hash.hex()] for node in position.frontier]
        value = asdict(position) | {"frontier": frontier, "of": self._of}
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.write_text(json.dumps(value), encoding="ascii")
            part.replace(self._path)
        except OSError as error:
            raise EvidenceUnavailable(f"{self._path.name} cannot be written") from error
