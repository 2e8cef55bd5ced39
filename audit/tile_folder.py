"""A folder of tiles (C2SP tlog-tiles): written from a log, verified by anyone who copied it.

Files that are there are never changed, so a copy made at any moment is whole up to its
checkpoint: the tiles come first, the checkpoint that covers them last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from audit.checkpoint import Checkpoint, open_checkpoint, unverified_checkpoint
from audit.errors import (
    AuditError,
    CheckpointInvalid,
    EvidenceUnavailable,
    LogTampered,
    SignatureInvalid,
    Tampering,
)
from audit.key_chain import KeyChain, is_key_change
from audit.keys import LogKeys, VerifyKey
from audit.log import EvidenceLog
from audit.tiles import (
    HEIGHT,
    WIDTH,
    Tile,
    bundle,
    hash_tile,
    hashes,
    nodes_of_tiles,
    open_bundle,
    tiles_of,
)
from audit.tree import HASH_BYTES, Frontier, Node, extend, leaf_hash, root_of

_CHECKPOINT = "checkpoint"
EMPTY: Frontier = ()


class TileFolder:
    """The files of one log: `checkpoint`, and tiles by their paths."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, log: EvidenceLog) -> Checkpoint:
        """Write what the log has beyond what is here; return the checkpoint now here.

        1. the log's checkpoint is taken; 2. the tiles it covers are written; 3. it is.

        Raises:
            EvidenceUnavailable: The folder cannot be written, or the log not read.
            LogTampered: The folder holds a checkpoint that is not the log's.
        """
        note = log.checkpoint()  # 1
        newest = open_checkpoint(note, log.keys.chain, origin=log.origin)
        since = self._published(log)
        for tile in tiles_of(newest.size, since=since):  # 2
            self._write(tile.path, _bytes_of(tile, log))
            if tile.width == WIDTH:
                shutil.rmtree(self._folder / f"{tile.path}.p", ignore_errors=True)
        self._write(_CHECKPOINT, note.encode())  # 3
        return newest

    def checkpoint(self, keys: LogKeys, *, origin: str | None = None) -> Checkpoint:
        """Return the checkpoint here.

        Raises:
            EvidenceUnavailable: It cannot be read.
            CheckpointInvalid, SignatureInvalid: It is not one of those keys and that origin.
        """
        return open_checkpoint(self._note(), keys, origin=origin)

    def read(self, tile: Tile) -> bytes:
        """Return a tile's bytes, unverified; a part of the full tile will do.

        Parts go once the full tile is there, before the checkpoint that covers it is.

        Raises:
            EvidenceUnavailable: It cannot be read.
        """
        full = Tile(tile.level, tile.index).path
        if tile.width == WIDTH or not (self._folder / full).is_file():
            return self._read(tile.path)
        whole = self._read(full)
        if tile.level is None:
            return bundle(open_bundle(whole)[: tile.width])
        return whole[: tile.width * HASH_BYTES]

    def node(self, level: int, place: int, *, size: int) -> bytes:
        """Return a complete node of the log of that size, unverified.

        Raises:
            EvidenceUnavailable: A tile cannot be read.
            ProofInvalid: The log has no such node, or a tile another length.
        """
        return nodes_of_tiles(size, self.read)(level, place)

    def verify(
        self, key: VerifyKey, *, progress: Callable[[int, int], None] | None = None
    ) -> Checkpoint:
        """Recompute every tile from the entries, and compare the root with the checkpoint's.

        1. what the checkpoint claims; 2. every tile, and the keys that entries bring, from the
        first that is given; 3. the keys of its size signed the checkpoint; 4. the root is its.

        Raises:
            LogTampered: A tile, an entry or the checkpoint does not hold; says which.
            EvidenceUnavailable: A file is missing or cannot be read.
        """
        note, frontier, keys = self._note(), EMPTY, KeyChain.begin(key)
        try:
            claimed = unverified_checkpoint(note)  # 1
            for entries in (t for t in tiles_of(claimed.size) if t.level is None):
                frontier, keys = self._grow(frontier, keys, entries, claimed.size)  # 2
                if progress is not None:
                    progress(entries.index * WIDTH + entries.width, claimed.size)
            signed = open_checkpoint(note, keys)  # 3
        except EvidenceUnavailable as error:
            raise _what_is_missing(note, keys, error) from error
        except (CheckpointInvalid, SignatureInvalid) as error:
            text = f"the checkpoint is not by {key.name}: {error}"
            raise LogTampered(Tampering.SIGNATURE, text) from error
        if root_of(frontier) != signed.root:  # 4
            text = f"the entries give another root than the one signed at {signed.size}"
            raise LogTampered(Tampering.FORKED, text, index=signed.size)
        return signed

    def _grow(
        self, frontier: Frontier, keys: KeyChain, entries: Tile, size: int
    ) -> tuple[Frontier, KeyChain]:
        """Add a bundle's entries, and compare every hash of a tile that they make."""
        first = entries.index * WIDTH
        opened = open_bundle(self.read(entries))
        leaves = [leaf_hash(leaf) for leaf in opened]
        stored = hashes(self.read(Tile(0, entries.index, entries.width)))
        if len(leaves) != entries.width or len(stored) != entries.width:
            text = f"{entries.path} or its hashes are not {entries.width}"
            raise LogTampered(Tampering.MISSING, text, index=first)
        for offset, (leaf, expected) in enumerate(zip(leaves, stored, strict=True)):
            if leaf != expected:
                text = f"entry {first + offset} is not the leaf that was hashed"
                raise LogTampered(Tampering.EDITED, text, index=first + offset)
            frontier, made = extend(frontier, first + offset, leaf)
            for node in made[HEIGHT::HEIGHT]:
                self._check_above(node, size)
        for index, entry in enumerate(opened, first):
            keys = keys.after(index, entry) if is_key_change(entry) else keys
        return frontier, keys

    def _check_above(self, node: Node, size: int) -> None:
        """Compare a node that entries completed with its place in a tile above."""
        level, (index, offset) = node.level // HEIGHT, divmod(node.place, WIDTH)
        width = min(WIDTH, (size >> node.level) - index * WIDTH)
        tile = Tile(level, index, width)
        stored = hashes(self.read(tile))
        if len(stored) != width or stored[offset] != node.hash:
            text = f"{tile.path} does not follow from its entries"
            raise LogTampered(Tampering.NODE, text, index=node.place << node.level)

    def _published(self, log: EvidenceLog) -> int:
        """Return the size that is here already, whose root must be the log's own."""
        if not (self._folder / _CHECKPOINT).is_file():
            return 0
        try:
            here = self.checkpoint(log.keys.chain, origin=log.origin)
        except (CheckpointInvalid, SignatureInvalid) as error:
            raise LogTampered(Tampering.SIGNATURE, "the folder is of another log") from error
        if here.size > log.size or log.root(here.size) != here.root:
            text = f"the folder has another history, up to {here.size}"
            raise LogTampered(Tampering.FORKED, text, index=here.size)
        return here.size

    def _note(self) -> str:
        return self._read(_CHECKPOINT).decode("utf-8", errors="replace")

    def _read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            raise EvidenceUnavailable(f"{path} of the log cannot be read") from error

    def _write(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all: its readers may be there already."""
        target = self._folder / path
        part = target.with_name(target.name + ".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(target)
        except OSError as error:
            raise EvidenceUnavailable(f"{path} of the log cannot be written") from error


def _what_is_missing(note: str, keys: KeyChain, error: EvidenceUnavailable) -> AuditError:
    """Return that a file is missing, or that the checkpoint which asks for it is not the log's."""
    try:
        open_checkpoint(note, keys)
    except (CheckpointInvalid, SignatureInvalid):
        text = f"the checkpoint is signed by no key that is known so far, and {error}"
        return LogTampered(Tampering.SIGNATURE, text)
    return error


def _bytes_of(tile: Tile, log: EvidenceLog) -> bytes:
    if tile.level is not None:
        return hash_tile(tile, log.node)
    first = tile.index * WIDTH
    return bundle([entry.leaf for entry in log.entries(first, first + tile.width)])
