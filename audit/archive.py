"""The archive: a folder of sealed segments, to be copied anywhere and read by anyone.

    segments/START-END.json    signed manifests (`audit.archive_segment`)
    objects/ab/CDEF...         bundles of entries and full tiles of hashes, named by SHA-256

Files are added, never changed; each is whole or not there, and read only against its digest. It
holds what leaves hold, ids and digests: payloads never leave the live store, so neither erasure
nor expiry has anything to do here. Not here: what is sealed when (`audit.sealing`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from audit.archive_segment import (
    Segment,
    check_continues,
    check_segment,
    open_segment,
    sign_segment,
    tiles_within,
)
from audit.checkpoint import Checkpoint, open_checkpoint
from audit.errors import (
    ArchiveOffline,
    EntryMissing,
    EvidenceUnavailable,
    LogTampered,
    ProofInvalid,
    SignatureInvalid,
    Tampering,
)
from audit.key_chain import KeyChain, key_changes
from audit.keys import SigningKey, VerifyKey
from audit.leaf import kind_of
from audit.private_files import sync_folder
from audit.tiles import WIDTH, Tile, hashes, open_bundle
from audit.tree import Frontier, Span, extend, leaf_hash, root_from_leaves, root_of

_KEPT_BUNDLES = 8
_MANIFEST = re.compile(r"[0-9]{12,}-[0-9]{12,}\.json")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArchive:
    """An archive that holds: entries from 0 to `size`, the root over them, its segments.

    `keys` are the log's when the last segment was sealed, followed from its first.
    """

    origin: str
    size: int
    root: bytes
    segments: int
    keys: KeyChain


class Checked(NamedTuple):
    """A segment that holds: its leaf hashes, and its entries that change the log's keys."""

    hashes: list[bytes]
    key_changes: list[tuple[int, bytes]]


class Archive:
    """One log's archive in a folder; nothing in it is believed before it is checked."""

    def __init__(self, folder: Path, keys: VerifyKey | KeyChain) -> None:
        """Name a folder, and what is known of the log's keys.

        Args:
            folder: The archive's, which need not be there yet.
            keys: The log's first key, from which manifests lead to later ones; or its keys, and
                no manifest may say others.
        """
        self.folder = folder
        self._keys = KeyChain.of(keys)
        self._opened = dict[str, Segment]()
        self._bundles: OrderedDict[str, list[bytes]] = OrderedDict()

    def segments(self) -> list[Segment]:
        """Return the segments in order, signatures checked, without a gap from entry 0.

        Raises:
            ArchiveOffline: The folder is not there.
            LogTampered: A manifest is not what the log's key of its size signed, denies a change
                of keys, or one is missing.
        """
        found = [self._segment(name) for name in self._names()]
        if found and (found[0].start != 0 or found[0].previous is not None):
            raise _bad("the archive's first segment is missing", index=0)
        for before, after in pairwise(found):
            if (before.end, before.digest, before.origin) != (
                after.start,
                after.previous,
                after.origin,
            ):
                text = f"segments/{after.name} does not follow segments/{before.name}"
                raise _bad(text, index=before.end)
            said = before.keys.events
            if after.keys.events[: len(said)] != said:
                text = f"segments/{after.name} denies changes of keys in segments/{before.name}"
                raise _bad(text, index=before.end)
        return found

    def leaves(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` from `start` up to `end`, all of them.

        Raises:
            ArchiveOffline: The folder is not there, or does not go so far.
            LogTampered: What is there is not what was sealed.
        """
        found = list[tuple[int, bytes]]()
        for segment in self.segments():
            low, high = max(start, segment.start), min(end, segment.end)
            for index in range(low // WIDTH, -(-high // WIDTH)) if low < high else ():
                leaves = self._bundle(segment, index)
                found += [
                    (at, leaves[at - index * WIDTH])
                    for at in range(max(low, index * WIDTH), min(high, (index + 1) * WIDTH))
                ]
        if len(found) != end - start:
            raise ArchiveOffline(
                f"entries {start} to {end} are sealed, and the archive {self.folder.name} does "
                "not hold them all: bring the whole archive"
            )
        return found

    def newest(self, kind: str, limit: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` of one kind, newest first; errors as in `leaves`."""
        found = list[tuple[int, bytes]]()
        for segment in reversed(self.segments()):
            if segment.kinds.get(kind):
                rows = self.leaves(segment.start, segment.end)
                found += [row for row in reversed(rows) if kind_of(row[1]) == kind]
            if len(found) >= limit:
                break
        return found[:limit]

    def put(self, data: bytes) -> str:
        """Keep a file under its digest, durably; return the digest.

        Raises:
            EvidenceUnavailable: The folder cannot be written.
        """
        name = hashlib.sha256(data).hexdigest()
        self._write(_object(name), data)
        return name

    def add(self, segment: Segment, signers: Sequence[SigningKey]) -> Segment:
        """Write a segment's manifest, after all its files; return it as it is read back.

        Raises:
            EvidenceUnavailable: The folder cannot be written, or the key is not at hand.
        """
        data = sign_segment(segment, signers)
        self._write(f"segments/{segment.name}", data)
        return self._segment(segment.name)

    def check(self, segment: Segment) -> Checked:
        """Read every file of a segment again, and return what is in it once all of it holds.

        1. each file is the one of its digest; 2. the entries give the tiles of hashes, and the
        root; 3. there are as many of each kind as the manifest says; 4. the root is part of the
        log that was signed.

        Raises:
            LogTampered: Something does not hold; says which file or entry.
            EvidenceUnavailable: A file is missing or cannot be read.
        """
        hashed, roots, kinds = list[bytes](), list[bytes](), Counter[str]()
        changes = list[tuple[int, bytes]]()
        for index in range(segment.start // WIDTH, segment.end // WIDTH):
            leaves = self._read_bundle(segment, index)  # 1
            mine = [leaf_hash(leaf) for leaf in leaves]
            stored = hashes(self.tile(segment, Tile(0, index)))
            if mine != stored:  # 2
                raise _bad(f"{Tile(0, index).path} does not follow from its entries", index=index)
            hashed += mine
            roots.append(root_from_leaves(mine))
            kinds.update(map(kind_of, leaves))
            changes += key_changes(index * WIDTH, leaves)
        for tile in tiles_within(Span(segment.start, segment.end)):
            if tile.level != 1:
                continue
            if hashes(self.tile(segment, tile)) != roots:
                raise _bad(f"{tile.path} does not follow from its entries", index=segment.start)
        if root_from_leaves(roots) != segment.root:
            raise _bad(f"segments/{segment.name}: another root", index=segment.start)
        if dict(kinds) != dict(segment.kinds):  # 3
            raise _bad(f"segments/{segment.name} miscounts its kinds", index=segment.start)
        check_segment(segment)  # 4
        return Checked(hashed, changes)

    def tile(self, segment: Segment, tile: Tile) -> bytes:
        """Return a file of a segment.

        Raises:
            LogTampered: It is not the file that was sealed.
            EvidenceUnavailable: It is missing or cannot be read.
        """
        name = segment.objects[tile.path]
        data = self._read(_object(name))
        if hashlib.sha256(data).hexdigest() != name:
            text = f"{tile.path} (object {name[:12]}) is not the file that was sealed"
            raise _bad(text, index=segment.start)
        return data

    def _bundle(self, segment: Segment, index: int) -> list[bytes]:
        """Return a bundle's entries; the last few are kept, for entries are read in order."""
        name = segment.objects[Tile(None, index).path]
        if name not in self._bundles:
            self._bundles[name] = self._read_bundle(segment, index)
            if len(self._bundles) > _KEPT_BUNDLES:
                self._bundles.popitem(last=False)
        return self._bundles[name]

    def _read_bundle(self, segment: Segment, index: int) -> list[bytes]:
        tile = Tile(None, index)
        try:
            leaves = open_bundle(self.tile(segment, tile))
        except ProofInvalid as error:
            raise _bad(f"{tile.path}: {error}", index=index * WIDTH) from error
        if len(leaves) != WIDTH:
            raise _bad(f"{tile.path} has not {WIDTH} entries", index=index * WIDTH)
        return leaves

    def _segment(self, name: str) -> Segment:
        if name not in self._opened:
            data = self._read(f"segments/{name}")
            self._opened[name] = open_segment(data, self._keys, name=name)
        return self._opened[name]

    def _names(self) -> list[str]:
        try:
            found = [file.name for file in (self.folder / "segments").iterdir()]
        except FileNotFoundError as error:
            if self.folder.is_dir():
                return []
            raise ArchiveOffline(
                f"the archive {self.folder.name} is not there: bring it back, or mount it"
            ) from error
        except OSError as error:
            raise EvidenceUnavailable(f"the archive {self.folder.name} cannot be read") from error
        return sorted(name for name in found if _MANIFEST.fullmatch(name))

    def _read(self, path: str) -> bytes:
        try:
            return (self.folder / path).read_bytes()
        except OSError as error:
            raise EvidenceUnavailable(f"{path} of the archive cannot be read") from error

    def _write(self, path: str, data: bytes) -> None:
        """Write a file whole and durably; the same file again changes nothing."""
        target = self.folder / path
        part = target.with_name(target.name + ".part")
        try:
            if target.is_file() and target.read_bytes() == data:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise EvidenceUnavailable(f"{path} of the archive cannot be written") from error


def verify_archive(
    archive: Archive,
    keys: VerifyKey | KeyChain,
    *,
    progress: Progress | None = None,
    known_checkpoint: str | None = None,
) -> VerifiedArchive:
    """Verify an archive alone, from its first entry to its last, a segment at a time.

    Later keys are followed from the first by the archived entries, in order; each manifest's own
    word for them must be the same.

    Args:
        archive: The archive.
        keys: The log's first key, or its keys where a verified log is at hand.
        progress: Told how far it is.
        known_checkpoint: A signed checkpoint of this log that came from elsewhere.

    Raises:
        LogTampered: Something does not hold; says what and where.
        EvidenceUnavailable: A file is missing or cannot be read.
        EntryMissing: It is empty, or the known checkpoint is of a size beyond it.
        CheckpointInvalid, SignatureInvalid: The known checkpoint is not one of this log.
    """
    archive = Archive(archive.folder, keys)
    segments, frontier = archive.segments(), Frontier()
    if not segments:
        raise EntryMissing(f"the archive {archive.folder.name} holds nothing yet")
    end = segments[-1].end
    newest, followed = segments[-1].keys, KeyChain.of(keys).at(0)
    known = None if known_checkpoint is None else open_checkpoint(known_checkpoint, newest)
    if known is not None and known.size > end:
        raise EntryMissing(
            f"the archive ends at {end}, the known checkpoint is of size {known.size}: verify "
            "the log with its archive"
        )
    for segment in segments:
        hashed, changes = archive.check(segment)
        followed = _follow(followed, segment, changes)
        if known is not None and segment.start < known.size <= segment.end:
            _check_known(known, frontier, hashed[: known.size - segment.start], segment.start)
        level = (segment.end - segment.start).bit_length() - 1
        frontier, _ = extend(frontier, segment.start >> level, segment.root, level=level)
        check_continues(segment, check_segment(segment), root_of(frontier))
        if progress is not None:
            progress(segment.end, end)
    return VerifiedArchive(
        origin=segments[0].origin,
        size=end,
        root=root_of(frontier),
        segments=len(segments),
        keys=newest,
    )


def _follow(keys: KeyChain, segment: Segment, changes: Sequence[tuple[int, bytes]]) -> KeyChain:
    """Return the keys after a segment's entries, which its manifest may not deny.

    Raises:
        LogTampered: An entry does not follow from the keys before it, or the manifest differs.
    """
    try:
        for index, leaf in changes:
            keys = keys.after(index, leaf)
    except SignatureInvalid as error:
        raise _bad(str(error), index=segment.start) from error
    if segment.keys.at(segment.end) != keys:
        text = f"segments/{segment.name} says other changes of keys than the entries before it"
        raise _bad(text, index=segment.start)
    return keys


def _check_known(
    known: Checkpoint, frontier: Frontier, hashed: Sequence[bytes], start: int
) -> None:
    for index, leaf in enumerate(hashed, start):
        frontier, _ = extend(frontier, index, leaf)
    if root_of(frontier) != known.root:
        text = f"a known checkpoint has another root at size {known.size}: two histories"
        raise LogTampered(Tampering.FORKED, text, index=known.size)


def read_sealed(archive: Archive | None, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield leaves that are in the archive alone.

    Raises:
        ArchiveOffline: There is no archive at hand.
    """
    if archive is None:
        raise ArchiveOffline(
            f"entries {start} to {end} are in the archive: give its folder (--archive, or "
            "`archive` in the settings)"
        )
    yield from archive.leaves(start, end)


def _object(name: str) -> str:
    return f"objects/{name[:2]}/{name[2:]}"


def _bad(text: str, *, index: int | None = None) -> LogTampered:
    return LogTampered(Tampering.ARCHIVE, text, index=index)
