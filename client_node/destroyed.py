"""By which entry of our log an erased person's last keys went, on disk.

The log names nobody, so that it can stay when a person goes; this says which of its entries is
theirs when they, or somebody on their behalf, ask for the proof later.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from client_node.store import Store
from client_node.tables import DestroyedRow
from policies.vocabulary import SubjectId


class Destroyed:
    """The rows; each change is on disk on return. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._store = Store(path, [DestroyedRow])

    def note(self, subjects: Collection[SubjectId], entry: int) -> None:
        """Note that this entry tells of these people's keys; a later one takes its place.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.write() as session:
            for subject in sorted(subjects):
                session.merge(DestroyedRow(subject=subject, entry=entry))

    def entry_of(self, subject: SubjectId) -> int | None:
        """Return the entry for a person; None where there was no key, or an earlier version.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.read() as session:
            row = session.get(DestroyedRow, subject)
        return None if row is None else row.entry

    def close(self) -> None:
        """Close the file."""
        self._store.close()
