"""Leaves of a log, whether they are in its live store or in the archive alone.

A sealed range's leaves may have been dropped from the live store; those that stayed are read
there, the others from the archive, and where that is not at hand the answer says so. The archive
is believed by the digests of its manifests that the live store remembers, not by a signature: a
key that was retired may since be in other hands.
"""

from __future__ import annotations

from audit.archive import Archive, read_sealed
from audit.errors import ArchiveOffline, LogTampered, Tampering
from audit.events import EventKind
from audit.log_store import LogStore

NEVER_DROPPED = frozenset(
    {
        EventKind.RETENTION_APPLIED,
        EventKind.ARCHIVE_SEALED,
        EventKind.HOLD_STEP,
        EventKind.BUDGET_SPENT,
        EventKind.KEYS_DESTROYED,
        EventKind.KEY_INTRODUCED,
        EventKind.KEY_RETIRED,
    }
)
"""Few entries, which a service asks for at its start or before it removes anything."""


class SealedLeaves:
    """Reads a store, and through it the archive."""

    def __init__(self, store: LogStore, archive: Archive | None) -> None:
        self._store, self._archive = store, archive

    def leaves(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` from `start` up to `end`, as far as there are any.

        Raises:
            ArchiveOffline: Some are in an archive that is not at hand.
            LogTampered: The archive is not what was sealed.
        """
        rows = self._store.leaves(start, end)
        if len(rows) >= end - start:
            return rows
        until = min(end, self._sealed_until())
        live = dict(rows)
        if all(index in live for index in range(start, until)):
            return rows
        self._check_sealed(start, until)
        return [*read_sealed(self._archive, start, until), *(r for r in rows if r[0] >= until)]

    def newest(self, kind: str, limit: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` of one kind, newest first; errors as in `leaves`."""
        rows = self._store.newest(kind, limit)
        until = self._sealed_until()
        above = [row for row in rows if row[0] >= until]
        if kind in NEVER_DROPPED or len(above) == limit or not until:
            return rows
        if self._archive is None or not self._archive.folder.is_dir():
            return self._all_live(rows, until)
        self._check_sealed(0, until)
        archived = self._archive.newest(kind, limit)
        return [*above, *(row for row in archived if row[0] < until)][:limit]

    def _all_live(self, rows: list[tuple[int, bytes]], until: int) -> list[tuple[int, bytes]]:
        """Return the rows, if none can be missing among them."""
        for seal in self._store.seals():
            if len(self._store.leaves(seal.start, seal.end)) < seal.end - seal.start:
                raise ArchiveOffline(
                    f"entries up to {until} are in the archive: bring it back, or mount it"
                )
        return rows

    def _check_sealed(self, start: int, end: int) -> None:
        """Return if the archive's manifests of these entries are those that were sealed.

        Raises:
            ArchiveOffline: The folder is not there.
            LogTampered: Another manifest is in the place of one.
        """
        if self._archive is None:
            return  # nothing is read there
        found = {segment.start: segment.digest for segment in self._archive.segments()}
        for seal in self._store.seals():
            there = found.get(seal.start, seal.manifest)
            if seal.start < end and start < seal.end and there != seal.manifest:
                text = f"the archive's manifest of entries {seal.start} to {seal.end} is another"
                raise LogTampered(Tampering.ARCHIVE, f"{text} than was sealed", index=seal.start)

    def _sealed_until(self) -> int:
        seals = self._store.seals()
        return seals[-1].end if seals else 0
