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


class Span(NamedTuple):
    """Leaves `start` up to `end`.

    A subtree begins at a multiple of its length rounded up to a power of two
    (draft-ietf-plants-merkle-tree-certs-03, 4.1).
    """

    start: int
    end: int


Frontier = tuple[Node, ...]
"""The largest complete subtrees that cover a tree, left to right: one for each set bit."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf) (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right) (RFC 6962 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def extend(
    frontier: Frontier, index: int, leaf: bytes, *, level: int = 0
) -> tuple[Frontier, list[Node]]:
    """Add the leaf hash at `index`, the current size; return the frontier and the new nodes.

    With a level it is the complete node at that place, and the frontier ends before it.
    """
    node = Node(level, index, leaf)
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
            path.append(subtree_root(middle, end, nodes))
            end = middle
        else:
            path.append(subtree_root(start, middle, nodes))
            start = middle
    return tuple(reversed(path))


def prove_consistency(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the first `old` leaves begin the first `new` (RFC 6962 2.1.2).

    Raises:
        ProofInvalid: `old` is 0 (nothing to prove) or beyond `new`.
    """
    return prove_subtree(Span(0, old), new, nodes)


def prove_subtree(span: Span, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the leaves of a span are those of the tree of `size`.

    draft-ietf-plants-merkle-tree-certs-03, 4.4.1; from 0 it is RFC 6962's consistency proof.

    Raises:
        ProofInvalid: The range is empty, beyond the size, or no subtree.
    """
    check_subtree(span, size)
    (start, end), low, high, whole = span, 0, size, True
    path = []
    while (start, end) != (low, high):
        middle = low + _split(high - low)
        if end <= middle:
            path.append(subtree_root(middle, high, nodes))
            high = middle
        else:
            path.append(subtree_root(low, middle, nodes))
            if start < middle:  # it lies on both sides, so its left half is what was just added
                start, whole = middle, False
            low = middle
    if not whole:
        path.append(subtree_root(low, high, nodes))
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


def verify_subtree_inclusion(
    leaf: bytes, index: int, span: Span, proof: Sequence[bytes], root: bytes
) -> None:
    """Return if the leaf `index` is among the leaves of the span, which have that root.

    Raises:
        ProofInvalid: It is not, or the range is no subtree.
    """
    check_subtree(span, span.end)
    verify_inclusion(leaf, index - span.start, span.end - span.start, proof, root)


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the new tree begins with the old one (RFC 9162 2.1.4.2).

    Raises:
        ProofInvalid: It does not, a number or length is impossible, or the old tree is empty
            (it begins every tree, so there is nothing to prove).
    """
    check_subtree(Span(0, old_size), new_size)
    verify_subtree(Span(0, old_size), new_size, old_root, new_root, proof)


def verify_subtree(
    span: Span, size: int, root: bytes, tree_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if the leaves of the span, which have that root, are those of the whole tree.

    draft-ietf-plants-merkle-tree-certs-03, 4.4.3; no leaves at all are in every tree.

    Raises:
        ProofInvalid: They are not, or a number or length is impossible.
    """
    start, end = span
    if 0 <= start == end <= size and root == EMPTY_ROOT and not proof:
        return
    check_subtree(span, size)
    if (start, end) == (0, size):
        if proof or root != tree_root:
            raise ProofInvalid(f"two roots for one size {size}: a fork, or a useless proof")
        return
    _check_hashes(root, tree_root, *proof)
    fn, sn, tn = start, end - 1, size - 1  # the draft's names
    at_the_edge = sn == tn
    while fn != sn and (at_the_edge or sn & 1):
        fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
    # One node is the whole range: the path begins with it; otherwise the proof says the first
    path = [root, *proof] if fn == sn else list(proof)
    found, found_tree = _walk(path, fn, sn, tn)
    if (found, found_tree) != (root, tree_root):
        raise ProofInvalid(f"entries {start} to {end} are not those of the tree of size {size}")


def check_subtree(span: Span, size: int) -> None:
    """Return if the span is a subtree of a tree of `size` (the draft's 4.1).

    Raises:
        ProofInvalid: It is empty, beyond the size, or not where subtrees of its length lie.
    """
    start, end = span
    if not 0 <= start < end <= size:
        raise ProofInvalid(f"no proof leads from entries {start} to {end} to size {size}")
    if start & ((1 << (end - start - 1).bit_length()) - 1):
        raise ProofInvalid(f"entries {start} to {end} are no subtree")


def _walk(path: Sequence[bytes], fn: int, sn: int, tn: int) -> tuple[bytes, bytes]:
    """Return the subtree's and the tree's root that a path leads to (the draft's step 5)."""
    if not path:
        raise ProofInvalid("the consistency proof is empty")
    found = tree = path[0]
    for part in path[1:]:
        if tn == 0:
            raise ProofInvalid("the consistency proof is too long")
        if sn & 1 or sn == tn:
            if fn < sn:
                found = node_hash(part, found)
            tree = node_hash(part, tree)
            while not sn & 1:
                fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
        else:
            tree = node_hash(tree, part)
        fn, sn, tn = fn >> 1, sn >> 1, tn >> 1
    if tn != 0:
        raise ProofInvalid("the consistency proof is too short")
    return found, tree


def _skip_right_edge(fn: int, sn: int) -> tuple[int, int]:
    """Shift both until LSB(fn) is set or fn is 0 (RFC 9162): levels without a sibling."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962's k)."""
    return 1 << ((count - 1).bit_length() - 1)


def subtree_root(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the hash over leaves `start` up to `end`; `start` is aligned, as in every proof."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(count)
    return node_hash(subtree_root(start, middle, nodes), subtree_root(middle, end, nodes))


def _check_hashes(*hashes: bytes) -> None:
    if any(len(h) != HASH_BYTES for h in hashes):
        raise ProofInvalid("a hash in the proof is not 32 bytes")
