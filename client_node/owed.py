"""What the trust service is still to be told of: keys destroyed, and people erased, on disk.

A node that stops between destroying and saying so says it when it is back. A row goes once an
acknowledgement that had it was taken; one that comes twice says the same thing twice.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import col, delete, select

from client_node.store import Store
from client_node.tables import OwedRow
from policies.vocabulary import SubjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Owing:
    """What is to be said now; `until` is the last row of it."""

    keys_destroyed: int
    erased: frozenset[SubjectId]
    until: int


class Owed:
    """The rows; each change is on disk on return. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            VaultError: It cannot be opened.
        """
        self._store = Store(path, [OwedRow])

    def add(self, *, keys_destroyed: int = 0, erased: Collection[SubjectId] = ()) -> None:
        """Note what was done.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.write() as session:
            if keys_destroyed:
                session.add(OwedRow(keys_destroyed=keys_destroyed))
            session.add_all(OwedRow(erased=subject) for subject in sorted(erased))

    def now(self) -> Owing:
        """Return all that is owed.

        Raises:
            VaultError: The disk refuses.
        """
        with self._store.read() as session:
            rows = session.exec(select(OwedRow)).all()
        return Owing(
            keys_destroyed=sum(row.keys_destroyed for row in rows),
            erased=frozenset(SubjectId(row.erased) for row in rows if row.erased is not None),
            until=max((row.number or 0 for row in rows), default=0),
        )

    def said(self, owing: Owing) -> None:
        """Forget what was taken.

        Raises:
            VaultError: The disk refuses: it is said again.
        """
        with self._store.write() as session:
            session.exec(delete(OwedRow).where(col(OwedRow.number) <= owing.until))

    def close(self) -> None:
        """Close the file."""
        self._store.close()
