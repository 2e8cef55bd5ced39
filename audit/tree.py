"""The Merkle tree of RFC 6962, as pure functions over 32-byte SHA-256 hashes.

A *node* `(level, index)` is the root of the complete subtree over leaves
`index << level` up to `(index + 1) << level`; level 0 holds the leaf hashes. Whoever keeps all
complete nodes proves anything about any size with about log2(size) look-ups; `Nodes` is how
these functions ask for one. Proofs and roots of broken or hostile input raise, never bool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from audit.errors import ProofInvalid

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""RFC 6962 2.1: the hash of an empty list is the hash of an empty string."""

Nodes = Callable[[int, int], bytes]
"""Return the hash of the complete node `(level, index)`."""


class Node(NamedTuple):
    """A complete subtree's root."""

    level: int
    place: int
    hash: bytes


Frontier = tuple[Node, ...]
"""The largest complete subtrees that cover a tree, left to right: one for each set bit."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf) (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right) (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def extend(frontier: Frontier, index: int, leaf: bytes) -> tuple[Frontier, list[Node]]:
    """Add the leaf hash at `index`, the current size; return the frontier and the new nodes."""
    node = Node(0, index, leaf)
    made, left = [node], list(frontier)
    while left and left[-1].level == node.level:
        node = Node(node.level + 1, node.place >> 1, node_hash(left.pop().hash, node.hash))
        made.append(node)
    return (*left, node), made


def frontier_at(size: int, nodes: Nodes) -> Frontier:
    """Return the frontier of the first `size` leaves, from stored nodes."""
    found = []
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            index = (size >> (level + 1)) << 1
            found.append(Node(level, index, nodes(level, index)))
    return tuple(found)


def root_of(frontier: Frontier) -> bytes:
    """Return the Merkle tree hash over a frontier."""
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1].hash
    for node in reversed(frontier[:-1]):
        root = node_hash(node.hash, root)
    return root


def root_from_leaves(leaves: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash over leaf hashes."""
    frontier: Frontier = ()
    for index, leaf in enumerate(leaves):
        frontier, _ = extend(frontier, index, leaf)
    return root_of(frontier)


def prove_inclusion(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the audit path of a leaf in the first `size` leaves (RFC 6962 2.1.1).

    Raises:
        ProofInvalid: There is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"entry {index} is not in a tree of size {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_subtree(middle, end, nodes))
            end = middle
        else:
            path.append(_subtree(start, middle, nodes))
            start = middle
    return tuple(reversed(path))


def prove_consistency(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the first `old` leaves begin the first `new` (RFC 6962 2.1.2).

    Raises:
        ProofInvalid: `old` is 0 (nothing to prove) or beyond `new`.
    """
    if not 0 < old <= new:
        raise ProofInvalid(f"no proof leads from size {old} to size {new}")
    path, start, end, whole = [], 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_subtree(middle, end, nodes))
            end = middle
        else:
            path.append(_subtree(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        path.append(_subtree(start, end, nodes))
    return tuple(reversed(path))


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if the path leads from the leaf hash to the root (RFC 9162 2.1.3.2).

    Raises:
        ProofInvalid: It does not, or a number or length is impossible.
    """
    _check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofInvalid(f"entry {index} is not in a tree of size {size}")
    fn, sn, result = index, size - 1, leaf  # the RFC's names
    for part in proof:
        if sn == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            result = node_hash(part, result)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            result = node_hash(result, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or result != root:
        raise ProofInvalid(f"the proof does not lead from entry {index} to the root at {size}")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the new tree begins with the old one (RFC 9162 2.1.4.2).

    Raises:
        ProofInvalid: It does not, a number or length is impossible, or the old tree is empty
            (it begins every tree, so there is nothing to prove).
    """
    if not 0 < old_size <= new_size:
        raise ProofInvalid(f"no proof leads from size {old_size} to size {new_size}")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofInvalid(f"two roots for one size {old_size}: a fork, or a useless proof")
        return
    _check_hashes(old_root, new_root, *proof)
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:  # RFC 9162: right-shift both until LSB(fn) is not set
        fn, sn = fn >> 1, sn >> 1
    # RFC 9162: if the old size is a power of two, prepend the old root to the path
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    old, new = _walk(path, fn, sn)
    if old != old_root or new != new_root:
        raise ProofInvalid(f"the tree of size {new_size} does not begin with the one of {old_size}")


def _walk(path: Sequence[bytes], fn: int, sn: int) -> tuple[bytes, bytes]:
    """Return the old and the new root that a consistency path leads to."""
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    old = new = path[0]
    for part in path[1:]:
        if sn == 0:
            raise ProofInvalid("the consistency proof is too long")
        if fn & 1 or fn == sn:
            old, new = node_hash(part, old), node_hash(part, new)
            fn, sn = _skip_right_edge(fn, sn)
        else:
            new = node_hash(new, part)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofInvalid("the consistency proof is too short")
    return old, new


def _skip_right_edge(fn: int, sn: int) -> tuple[int, int]:
    """Shift both until LSB(fn) is set or fn is 0 (RFC 9162): levels without a sibling."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962's k)."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the hash over leaves `start` up to `end`; `start` is aligned, as in every proof."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(count)
    return node_hash(_subtree(start, middle, nodes), _subtree(middle, end, nodes))


def _check_hashes(*hashes: bytes) -> None:
    if any(len(h) != HASH_BYTES for h in hashes):
        raise ProofInvalid("a hash in the proof is not 32 bytes")
