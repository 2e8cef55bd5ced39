"""A segment of an archive: which entries, by which files, and the proof that they are the log's.

A segment covers an aligned power of two of entries, from 256 (one full tile) to 65,536, so that
its root is a node of the log's own tree. Its manifest is an envelope signed with the log's key:

    origin, start, end, root    which entries, and the Merkle root over them
    objects                     SHA-256 of each bundle and tile, by its tlog-tiles path
    checkpoint                  the log's signed checkpoint when it was sealed
    belongs                     proof that these entries are in the checkpoint's tree
    continues                   proof that all entries up to `end` begin that tree
    kinds, latest, floor        how many of each kind; times (`audit.log_store.SealedRow`)
    previous                    digest of the manifest before it
    key_changes                 index and leaf of every change of the log's keys below the
                                checkpoint's size; absent where there was none

So one segment alone can be checked, and all of them together are one history. The newest of the
keys that sign the log at the checkpoint's size signs the manifest too; the checkpoint bears the
line of each. Its changes of keys lead there from the log's first key, also where the entries that
say so are not archived yet; where they are, they must be the same (`audit.archive`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.checkpoint import Checkpoint, open_checkpoint, unverified_checkpoint
from audit.errors import (
    AuditError,
    EvidenceUnavailable,
    LogTampered,
    ProofInvalid,
    SignatureInvalid,
    Tampering,
)
from audit.key_chain import KeyChain
from audit.keys import SigningKey, VerifyKey
from audit.signing import seal, unseal_by
from audit.tiles import WIDTH, Tile
from audit.tree import Span, verify_consistency, verify_subtree
from policies.canonical import digest_bytes

KIND = "archive-segment"
LARGEST = WIDTH * WIDTH
"""Entries of the largest segment: the width of a full tile of level 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A manifest that its log's key signed; `digest` is over its bytes.

    `keys` are the log's at the size of the checkpoint.
    """

    origin: str
    start: int
    end: int
    root: bytes
    objects: Mapping[str, str] = field(repr=False)
    checkpoint: str = field(repr=False)
    belongs: tuple[bytes, ...] = field(repr=False)
    continues: tuple[bytes, ...] = field(repr=False)
    kinds: Mapping[str, int]
    latest: float
    floor: float
    previous: str | None
    keys: KeyChain = field(repr=False)
    digest: str = ""

    @property
    def name(self) -> str:
        """Return the name of its manifest's file."""
        return f"{self.start:012d}-{self.end:012d}.json"


def spans(start: int, end: int) -> Iterator[Span]:
    """Yield the segments into which full tiles from `start` up to `end` fall, largest first."""
    while end - start >= WIDTH:
        count = LARGEST
        while start % count or count > end - start:
            count >>= 1
        yield Span(start, start + count)
        start += count


def tiles_within(span: Span) -> Iterator[Tile]:
    """Yield the bundles and full tiles of hashes that a segment's entries fill."""
    for index in range(span.start // WIDTH, span.end // WIDTH):
        yield Tile(None, index)
        yield Tile(0, index)
    if span.end - span.start == LARGEST:
        yield Tile(1, span.start // LARGEST)


def sign_segment(segment: Segment, signers: Sequence[SigningKey]) -> bytes:
    """Return the manifest's bytes, signed by the one of these keys that has to.

    Raises:
        EvidenceUnavailable: It is not among them: the log's keys changed meanwhile.
    """
    wanted = _signer(segment.keys, segment.checkpoint)
    key = next((one for one in signers if one.verify_key == wanted), None)
    if key is None:
        raise EvidenceUnavailable("the log's keys changed while it was sealed: seal again")
    body = {
        "version": 1,
        "origin": segment.origin,
        "start": segment.start,
        "end": segment.end,
        "root": segment.root.hex(),
        "objects": dict(segment.objects),
        "checkpoint": segment.checkpoint,
        "belongs": _encode(segment.belongs),
        "continues": _encode(segment.continues),
        "kinds": dict(segment.kinds),
        "latest": segment.latest,
        "floor": segment.floor,
        "previous": segment.previous,
    }
    if segment.keys.events:
        body["key_changes"] = [[at, _encode((leaf,))[0]] for at, leaf in segment.keys.events]
    return seal(KIND, body, key)


def open_segment(data: bytes, keys: KeyChain, *, name: str) -> Segment:
    """Return what a manifest says, once the log's key is seen to have signed it.

    1. its changes of keys follow from the log's first, and are those that are known already;
    2. the key of its checkpoint's size signed it; 3. it is of the entries that its name says.

    Args:
        data: The manifest.
        keys: What is known of the log's keys; the first will do.
        name: The name of its file.

    Raises:
        LogTampered: It is no manifest, another's, or its name or files are not what it says.
    """
    try:
        body = unseal_by(KIND, data, lambda said: _key_of(said, keys))  # 1, 2
        segment = _read(body, _keys_of(body, keys), digest_bytes(data))
    except (AuditError, KeyError, TypeError, ValueError) as error:
        text = f"segments/{name} is not a manifest signed by the key of {keys.name} for its size"
        raise _bad(text) from error
    span = Span(segment.start, segment.end)  # 3
    wanted = {tile.path for tile in tiles_within(span)}
    if segment.name != name or set(segment.objects) != wanted or [*spans(*span)] != [span]:
        raise _bad(f"segments/{name} is not the manifest of these entries", index=segment.start)
    return segment


def check_segment(segment: Segment) -> Checkpoint:
    """Return the checkpoint that a segment's root is shown to belong to.

    Raises:
        LogTampered: The checkpoint is not the log's, or the proof does not hold.
    """
    try:
        signed = open_checkpoint(segment.checkpoint, segment.keys, origin=segment.origin)
        span = Span(segment.start, segment.end)
        verify_subtree(span, signed.size, segment.root, signed.root, segment.belongs)
    except AuditError as error:
        text = f"segments/{segment.name} is not shown to be part of the log"
        raise _bad(text, index=segment.start) from error
    return signed


def check_continues(segment: Segment, signed: Checkpoint, root: bytes) -> None:
    """Return if all entries up to the segment's end, which have that root, begin the log.

    Raises:
        LogTampered: They are another history.
    """
    try:
        verify_consistency(segment.end, signed.size, root, signed.root, segment.continues)
    except ProofInvalid as error:
        text = f"the segments up to {segment.end} are not the history that was signed"
        raise LogTampered(Tampering.FORKED, text, index=segment.end) from error


def _signer(keys: KeyChain, checkpoint: str) -> VerifyKey:
    """Return the newest of the keys that sign at a checkpoint's size."""
    return keys.keys_at(unverified_checkpoint(checkpoint).size)[-1]


def _key_of(body: Mapping[str, Any], known: KeyChain) -> VerifyKey:
    return _signer(_keys_of(body, known), str(body["checkpoint"]))


def _keys_of(body: Mapping[str, Any], known: KeyChain) -> KeyChain:
    """Return the log's keys at the size of a manifest's checkpoint, as the manifest says.

    Raises:
        SignatureInvalid: They do not follow from the first, or are not those that are known.
    """
    size = unverified_checkpoint(str(body["checkpoint"])).size
    changes = [(int(at), _decode([leaf])[0]) for at, leaf in body.get("key_changes", ())]
    before = known.at(size).events
    if tuple(changes[: len(before)]) != before or any(at >= size for at, _ in changes):
        raise SignatureInvalid("a manifest says other changes of keys than the log's")
    return KeyChain.follow(known.terms[0].key, changes)


def _read(body: Mapping[str, Any], keys: KeyChain, digest: str) -> Segment:
    if body["version"] != 1:
        raise ValueError("another version")
    return Segment(
        origin=str(body["origin"]),
        start=int(body["start"]),
        end=int(body["end"]),
        root=bytes.fromhex(body["root"]),
        objects={str(path): str(name) for path, name in body["objects"].items()},
        checkpoint=str(body["checkpoint"]),
        belongs=_decode(body["belongs"]),
        continues=_decode(body["continues"]),
        kinds={str(kind): int(count) for kind, count in body["kinds"].items()},
        latest=float(body["latest"]),
        floor=float(body["floor"]),
        previous=None if body["previous"] is None else str(body["previous"]),
        keys=keys,
        digest=digest,
    )


def _encode(proof: tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(part).decode() for part in proof]


def _decode(proof: list[str]) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(part, validate=True) for part in proof)


def _bad(text: str, *, index: int | None = None) -> LogTampered:
    return LogTampered(Tampering.ARCHIVE, text, index=index)
