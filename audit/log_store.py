"""What a log keeps its tables in: the interface, and which of two a place names.

A path is SQLite (`audit.log_sqlite`), a `postgresql://` URL is PostgreSQL (`audit.log_postgres`).
Both hold the log for one owner, make a group durable whole or not at all, and refuse to change
or delete what is in the tree; one suite of tests asks both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from audit.errors import EvidenceUnavailable
from audit.tree import Node

APPEND_ONLY = ("entry", "node", "checkpoint")
"""Tables in which nothing is ever changed or deleted."""


class PayloadRow(NamedTuple):
    """What a leaf committed to: salt and JSON, sealed where `key_id` names a person's key."""

    entry: int
    key_id: bytes | None
    body: bytes


class SealedRow(NamedTuple):
    """Entries `start` up to `end`, which an archive holds by the manifest of that digest.

    `latest` is the log's newest Unix second at `end`. `floor` is 0 where time went forward in the
    range; else it is `latest`, and no entry of the range counts as older than that.
    """

    start: int
    end: int
    manifest: str
    latest: float
    floor: float


class Taken(NamedTuple):
    """A name that is taken once, the first entry it stands for, and how many (`audit.once`)."""

    name: str
    first: int
    length: int


class NameTaken(EvidenceUnavailable):
    """Report that a group takes a name that is taken; nothing of the group was written."""


class Group(NamedTuple):
    """Everything one commit writes."""

    entries: Sequence[tuple[int, bytes]]
    nodes: Sequence[Node]
    payloads: Sequence[PayloadRow]
    checkpoint: tuple[int, str]
    names: Sequence[Taken] = ()


class LogStore(Protocol):
    """A log's tables, held by one owner until `close`; thread-safe."""

    def write(self, group: Group) -> None:
        """Make a group durable: all of it or nothing.

        Raises:
            NameTaken: One of its names is taken.
            EvidenceUnavailable: The storage is full, read-only, gone or broken.
        """
        ...

    def delete_payloads(self, key_ids: Iterable[bytes]) -> int:
        """Delete the payloads that these keys sealed; return how many.

        Raises:
            EvidenceUnavailable: The storage is full, read-only, gone or broken.
        """
        ...

    def payload_key_ids(self) -> frozenset[bytes]:
        """Return the ids of all keys that sealed a payload."""
        ...

    def sealed_by(self, key_ids: Iterable[bytes]) -> list[int]:
        """Return the entries whose payload one of these keys sealed, in order."""
        ...

    def taken(self, names: Sequence[str]) -> list[Taken]:
        """Return which of these names are taken, and by which entries."""
        ...

    def size(self) -> int:
        """Return the number of entries."""
        ...

    def node(self, level: int, index: int) -> bytes:
        """Return a complete node's hash.

        Raises:
            EntryMissing: There is no such node.
        """
        ...

    def leaves(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` from `start` up to `end`."""
        ...

    def newest(self, kind: str, limit: int) -> list[tuple[int, bytes]]:
        """Return `(index, leaf)` of one kind, newest first."""
        ...

    def payload(self, index: int) -> PayloadRow | None:
        """Return the payload of an entry, or None."""
        ...

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint, or None in a new log."""
        ...

    def checkpoint_at(self, size: int) -> str | None:
        """Return the note signed at a size, or None."""
        ...

    def payload_entries(self, start: int, limit: int) -> list[tuple[int, bytes, bytes | None]]:
        """Return `(index, leaf, key id)` of entries from `start` on that have a payload."""
        ...

    def expire(self, indices: Sequence[int]) -> int:
        """Delete the payloads of these entries, all or none; return how many there were.

        Raises:
            EvidenceUnavailable: The storage is full, read-only, gone or broken.
        """
        ...

    def seal(self, row: SealedRow) -> None:
        """Remember that an archive holds a range, for good; from then on its leaves may go.

        Raises:
            EvidenceUnavailable: The storage is full, read-only, gone or broken.
        """
        ...

    def seals(self) -> list[SealedRow]:
        """Return the ranges that an archive holds, in order."""
        ...

    def drop_sealed(self, start: int, end: int, keep: Iterable[str]) -> int:
        """Delete leaves of a sealed range, but for these kinds and for those with a payload.

        Raises:
            EvidenceUnavailable: The range is not sealed, or the storage broken: none is deleted.
        """
        ...

    def close(self) -> None:
        """Close, and let another own it."""
        ...


def open_store(place: Path | str) -> LogStore:
    """Open or make a log's tables at a path, or behind a URL, and own them.

    Raises:
        EvidenceUnavailable: Another owner holds them, or they cannot be opened or made.
    """
    if isinstance(place, str):
        from audit.log_postgres import PostgresStore  # noqa: PLC0415 (a driver few need)

        return PostgresStore(place)
    from audit.log_sqlite import SqliteStore  # noqa: PLC0415 (it needs the types above)

    return SqliteStore(place)
