"""Sealing: old entries go to the archive, and only then may their leaves leave the live store.

One segment at a time, each step durable before the next, so that a crash anywhere is gone on
from by doing the same again:

1. the next segment of full tiles that are old enough is chosen; 2. its bundles and tiles are
written; 3. its manifest is, with the proofs; 4. **all of it is read back and verified**, against
the live tree too; 5. an entry of the log says so; 6. the live store remembers it.

Dropping comes after, and looks again: 7. the segment in the archive is verified once more; 8. in
one transaction the leaves go whose facts are gone. Hashes and checkpoints stay: proofs, receipts
and replay go on as before. Leaves whose payloads are still kept stay beside them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from audit.archive import Archive
from audit.archive_segment import Segment, spans, tiles_within
from audit.checkpoint import open_checkpoint, unverified_checkpoint
from audit.errors import LogTampered, Tampering
from audit.events import Event, EventKind, Value
from audit.leaf import kind_of, times_of
from audit.log import EvidenceLog
from audit.log_store import SealedRow
from audit.retention_policy import DAY_S, RetentionPolicy
from audit.sealed_leaves import NEVER_DROPPED
from audit.tiles import WIDTH, bundle, hash_tile
from audit.tree import Span, prove_consistency, prove_subtree, subtree_root
from policies.clock import Clock

_SKEW_S = 60.0
"""As `audit.retention.CLOCK_SKEW_S`: so far entries may overtake one another."""


class _Told(NamedTuple):
    """What a manifest says of a segment on its signer's word alone."""

    latest: float
    floor: float
    previous: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """Seals one log into one archive."""

    log: EvidenceLog
    archive: Archive
    policy: RetentionPolicy
    clock: Clock

    def sealed_until(self) -> int:
        """Return how many entries, from the first, an archive holds."""
        seals = self.log.store.seals()
        return seals[-1].end if seals else 0

    def due(self) -> int:
        """Return up to which entry full tiles are old enough; by the log's own growing time."""
        start, cutoff = self.sealed_until(), self.clock() - self.policy.archive_after_days * DAY_S
        at = start
        while rows := self.log.store.leaves(at, at + WIDTH):
            if len(rows) < WIDTH or max(times_of([leaf for _, leaf in rows])) > cutoff:
                break
            at += WIDTH
        return at if at - start >= self.policy.archive_fewest else start

    def seal_next(self, until: int) -> Segment | None:
        """Seal the next segment below `until`; None where there is none.

        Raises:
            EvidenceUnavailable: Archive or log cannot be read or written: nothing is dropped.
            LogTampered: What is in the archive is not this log's.
        """
        start = self.sealed_until()
        segment = self._begun(start)
        if segment is None:
            span = next(spans(start, until), None)  # 1
            if span is None:
                return None
            segment = self._write(span)  # 2, 3
        self._verify(segment)  # 4
        self._record(segment)  # 5
        row = SealedRow(segment.start, segment.end, segment.digest, segment.latest, segment.floor)
        self.log.store.seal(row)  # 6
        return segment

    def drop(self) -> int:
        """Drop from the live store what the archive holds and no payload needs; return how many.

        Raises:
            EvidenceUnavailable, LogTampered: The archive does not hold it, or not as it was
                sealed: nothing of that segment is dropped.
        """
        dropped, kept = 0, sorted(kind.value for kind in NEVER_DROPPED)
        for row in self.log.store.seals():
            if self._droppable(row):
                self._verify(self._sealed(row))  # 7
                dropped += self.log.store.drop_sealed(row.start, row.end, kept)  # 8
        return dropped

    def status(self) -> dict[str, Any]:
        """Return how far the archive goes, as JSON values."""
        return {
            "sealed_until": self.sealed_until(),
            "due_until": self.due(),
            "size": self.log.size,
            "after_days": self.policy.archive_after_days,
        }

    def _begun(self, start: int) -> Segment | None:
        """Return a segment that was written before a crash, and not yet remembered.

        Raises:
            LogTampered: It says other times than its entries do, which no proof covers: it was not
                written here.
        """
        self.archive.folder.mkdir(parents=True, exist_ok=True)
        found = next((s for s in self.archive.segments() if s.start == start), None)
        if found is not None and self._told(Span(found.start, found.end)) != _Told(
            found.latest, found.floor, found.previous
        ):
            text = f"segments/{found.name} says other times than its entries"
            raise LogTampered(Tampering.ARCHIVE, text, index=start)
        return found

    def _write(self, span: Span) -> Segment:
        """Write files and manifest of the entries of a span, which are all live."""
        leaves, told, note = self._live(span), self._told(span), self.log.checkpoint()
        keys = self.log.keys  # after the note: no older than it
        size = open_checkpoint(note, keys.chain).size
        segment = Segment(
            origin=self.log.origin,
            start=span.start,
            end=span.end,
            root=subtree_root(span.start, span.end, self.log.node),
            objects=self._write_objects(span, leaves),  # 2
            checkpoint=note,
            belongs=prove_subtree(span, size, self.log.node),
            continues=prove_consistency(span.end, size, self.log.node),
            kinds=Counter(map(kind_of, leaves)),
            latest=told.latest,
            floor=told.floor,
            previous=told.previous,
            keys=keys.chain.at(size),
        )
        return self.archive.add(segment, keys.signers)  # 3

    def _live(self, span: Span) -> list[bytes]:
        """Return the leaves of a span that is not sealed yet, all of them."""
        leaves = [leaf for _, leaf in self.log.store.leaves(span.start, span.end)]
        if len(leaves) != span.end - span.start:
            text = f"an entry from {span.start} to {span.end} is gone"
            raise LogTampered(Tampering.MISSING, text, index=span.start)
        return leaves

    def _told(self, span: Span) -> _Told:
        """Return what the manifest of the next span says and no proof covers."""
        seals = self.log.store.seals()
        before = seals[-1].latest if seals else -math.inf
        previous = seals[-1].manifest if seals else None
        return _Told(*_times(self._live(span), before), previous)

    def _write_objects(self, span: Span, leaves: Sequence[bytes]) -> dict[str, str]:
        """Write bundles and tiles of hashes; return the digest of each by its path."""
        objects = dict[str, str]()
        for tile in tiles_within(span):
            if tile.level is None:
                first = tile.index * WIDTH - span.start
                data = bundle(leaves[first : first + WIDTH])
            else:
                data = hash_tile(tile, self.log.node)
            objects[tile.path] = self.archive.put(data)
        return objects

    def _verify(self, segment: Segment) -> None:
        """Return if the archive holds the segment whole, as the live tree has it.

        Raises:
            EvidenceUnavailable, LogTampered: It does not.
        """
        self.archive.check(segment)
        ours = subtree_root(segment.start, segment.end, self.log.node)
        keys = self.log.keys.chain.at(unverified_checkpoint(segment.checkpoint).size)
        if (segment.origin, segment.root, segment.keys) != (self.log.origin, ours, keys):
            text = f"segments/{segment.name} is of another history than the log's"
            raise LogTampered(Tampering.FORKED, text, index=segment.start)

    def _record(self, segment: Segment) -> None:
        """Log the seal, once: a crash after it is gone on from without a second entry."""
        last = self.log.find(EventKind.ARCHIVE_SEALED, limit=1)
        if last and last[0].event.fields["manifest"] == segment.digest:
            return
        fields: dict[str, Value] = {
            "start": segment.start,
            "end": segment.end,
            "root": segment.root.hex(),
            "manifest": segment.digest,
        }
        self.log.append(Event(kind=EventKind.ARCHIVE_SEALED, at=self.clock(), fields=fields))

    def _sealed(self, row: SealedRow) -> Segment:
        for segment in self.archive.segments():
            if segment.digest == row.manifest:
                return segment
        text = (
            f"the archive has no manifest {row.manifest[:12]} of entries {row.start} to {row.end}"
        )
        raise LogTampered(Tampering.ARCHIVE, text, index=row.start)

    def _droppable(self, row: SealedRow) -> bool:
        """Return whether a sealed range has live leaves that nothing needs there."""
        live = {i for i, leaf in self.log.store.leaves(row.start, row.end) if _may_go(leaf)}
        needed = self.log.store.payload_entries(row.start, row.end - row.start)
        return bool(live - {index for index, _, _ in needed})


def _may_go(leaf: bytes) -> bool:
    return kind_of(leaf) not in NEVER_DROPPED


def _times(leaves: Sequence[bytes], latest: float) -> tuple[float, float]:
    """Return the newest second at the end, and the floor of a range where time went back."""
    steady = True
    for at in times_of(leaves):
        steady = steady and at >= latest - _SKEW_S
        latest = max(latest, at)
    return latest, 0.0 if steady else latest
