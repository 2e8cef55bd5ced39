"""A batch commitment: one root for everybody in a round, naming nobody.

Each person becomes a leaf HMAC-SHA256(key, person); the leaves are sorted and padded with
leaves that look the same, up to a power of two of at least 1,024, so that neither root nor
proof length shows how many people there were. Membership is an inclusion proof; absence is
two neighbouring leaves with the person's between them.

The key is fresh for each batch (`audit.gate` derives it), so two rounds with the same people
have unrelated roots. A verifier learns from a proof that the leaves *shown* are neighbours;
that the tree is sorted throughout is checked by whoever may see all leaves (`Batch.restore`).
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from audit.errors import ProofInvalid
from audit.tree import HASH_BYTES, Node, extend, leaf_hash, prove_inclusion, verify_inclusion
from policies.vocabulary import SubjectId

SMALLEST = 1024
"""Leaves of the smallest batch: up to 1,022 people look like none."""

_LOWEST, _HIGHEST = b"\x00" * HASH_BYTES, b"\xff" * HASH_BYTES
_MOST = 2**30


class Membership(StrEnum):
    """What a batch proof shows."""

    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Sorted leaves, first and last of them sentinels, and the root over them (hexadecimal)."""

    leaves: tuple[bytes, ...] = field(repr=False)
    root: str
    _key: bytes = field(repr=False)
    _nodes: Mapping[tuple[int, int], bytes] = field(repr=False)

    @classmethod
    def restore(cls, leaves: Sequence[bytes], *, key: bytes) -> Batch:
        """Rebuild a batch from its kept leaves.

        Raises:
            ProofInvalid: They are not a batch: not sorted, not distinct, no sentinels, or not
                a power of two.
        """
        size = len(leaves)
        ordered = all(a < b for a, b in pairwise(leaves))
        sentinels = size >= SMALLEST and (leaves[0], leaves[-1]) == (_LOWEST, _HIGHEST)
        if not (ordered and sentinels and size & (size - 1) == 0):
            raise ProofInvalid("these leaves are not a sorted, padded batch")
        nodes: dict[tuple[int, int], bytes] = {}
        frontier: tuple[Node, ...] = ()
        for index, leaf in enumerate(leaves):
            frontier, made = extend(frontier, index, leaf_hash(leaf))
            nodes |= {(node.level, node.place): node.hash for node in made}
        return cls(leaves=tuple(leaves), root=frontier[0].hash.hex(), _key=key, _nodes=nodes)

    def blinded(self, subject: SubjectId) -> bytes:
        """Return the person's leaf in this batch, 32 bytes."""
        return blind(subject, key=self._key)

    def prove(self, subject: SubjectId) -> dict[str, Any]:
        """Return the proof that the person is, or is not, in the batch; JSON values."""
        blinded = self.blinded(subject)
        place = bisect_left(self.leaves, blinded)
        present = self.leaves[place] == blinded
        shown = [place] if present else [place - 1, place]
        return {"size": len(self.leaves), "leaves": [self._shown(index) for index in shown]}

    def _shown(self, index: int) -> dict[str, Any]:
        path = prove_inclusion(index, len(self.leaves), lambda lv, i: self._nodes[lv, i])
        leaf = self.leaves[index].hex()
        return {"index": index, "leaf": leaf, "path": [part.hex() for part in path]}


def commit(subjects: Iterable[SubjectId], *, key: bytes) -> Batch:
    """Return the commitment to a set of people.

    Args:
        subjects: The people; the same person twice is there once.
        key: 32 secret bytes, used for this batch only.
    """
    people = {blind(subject, key=key) for subject in subjects}
    size = max(SMALLEST, 1 << (len(people) + 1).bit_length())
    padding = (_leaf(key, b"padding", str(i).encode()) for i in range(size - len(people) - 2))
    leaves = sorted({_LOWEST, _HIGHEST, *people, *padding})
    return Batch.restore(leaves, key=key)


def key_digest(key: bytes) -> str:
    """Return what binds a batch to its key (hexadecimal), without telling it."""
    return hashlib.sha256(b"undertone/batch-key/v1\0" + key).hexdigest()


def blind(subject: SubjectId, *, key: bytes) -> bytes:
    """Return a person's leaf in the batch of that key, 32 bytes."""
    return _leaf(key, b"person", subject.encode())


def verify_batch_proof(root: str, proof: Mapping[str, Any], blinded: bytes) -> Membership:
    """Return whether the person's leaf is in the batch of that root.

    Args:
        root: Hexadecimal root, as logged.
        proof: What `Batch.prove` returned.
        blinded: The person's leaf in this batch (`Batch.blinded`).

    Raises:
        ProofInvalid: The proof shows neither.
    """
    try:
        size, expected = int(proof["size"]), bytes.fromhex(root)
        shown = [
            (int(s["index"]), bytes.fromhex(s["leaf"]), [bytes.fromhex(p) for p in s["path"]])
            for s in proof["leaves"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ProofInvalid("not a batch proof") from error
    if not SMALLEST <= size <= _MOST or size & (size - 1):
        raise ProofInvalid("a batch has a power of two of leaves")
    for index, leaf, path in shown:
        verify_inclusion(leaf_hash(leaf), index, size, path, expected)
    places, leaves = [s[0] for s in shown], [s[1] for s in shown]
    if leaves == [blinded]:
        return Membership.PRESENT
    neighbours = len(places) == 2 and places[1] == places[0] + 1  # noqa: PLR2004
    if neighbours and leaves[0] < blinded < leaves[1]:
        return Membership.ABSENT
    raise ProofInvalid("the batch proof shows neither presence nor absence of this person")


def _leaf(key: bytes, domain: bytes, value: bytes) -> bytes:
    return hmac.new(key, domain + b"\0" + value, hashlib.sha256).digest()
