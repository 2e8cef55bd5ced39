"""The tree against published vectors and a slow, obvious computation."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import tree
from audit.errors import ProofInvalid


def _bytes(value: str | None) -> bytes:
    return base64.b64decode(value) if value else b""


def _cases(folder: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    files = sorted((folder / "vectors" / "merkle" / kind).rglob("*.json"))
    return [(str(file), json.loads(file.read_text())) for file in files]


def _fails(check: Callable[[], None]) -> bool:
    try:
        check()
    except ProofInvalid:
        return True
    return False


def _check_inclusion(case: dict[str, Any]) -> None:
    tree.verify_inclusion(
        _bytes(case["leafHash"]),
        case["leafIdx"],
        case["treeSize"],
        [_bytes(part) for part in case["proof"] or []],
        _bytes(case["root"]),
    )


def _check_consistency(case: dict[str, Any]) -> None:
    tree.verify_consistency(
        case["size1"],
        case["size2"],
        _bytes(case["root1"]),
        _bytes(case["root2"]),
        [_bytes(part) for part in case["proof"] or []],
    )


def _check_subtree_inclusion(case: dict[str, Any]) -> None:
    tree.verify_subtree_inclusion(
        _bytes(case["leafHash"]),
        case["leafIdx"],
        tree.Span(case["start"], case["end"]),
        [_bytes(part) for part in case["proof"] or []],
        _bytes(case["root"]),
    )


def _check_subtree(case: dict[str, Any]) -> None:
    tree.verify_subtree(
        tree.Span(case["start"], case["end"]),
        case["size"],
        _bytes(case["root1"]),
        _bytes(case["root2"]),
        [_bytes(part) for part in case["proof"] or []],
    )


@pytest.mark.parametrize(
    ("kind", "count", "check"),
    [
        ("inclusion", 98, _check_inclusion),
        ("consistency", 98, _check_consistency),
        ("subtreeinclusion", 204, _check_subtree_inclusion),
        ("subtreeconsistency", 118, _check_subtree),
    ],
)
def test_tree_agrees_with_every_published_vector(
    shared: Path, kind: str, count: int, check: Callable[[dict[str, Any]], None]
) -> None:
    """Each of the 518 published proofs, valid and broken, is judged as its authors say."""
    cases = _cases(shared, kind)
    assert len(cases) == count
    assert {case["wantErr"] for _, case in cases} == {True, False}
    wrong = [name for name, case in cases if _fails(partial(check, case)) is not case["wantErr"]]
    assert wrong == []


def _oracle_root(leaves: list[bytes]) -> bytes:
    """Compute RFC 6962 2.1 word by word: MTH(D[n]), k the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return tree.node_hash(_oracle_root(leaves[:k]), _oracle_root(leaves[k:]))


def _grow(count: int) -> tuple[list[bytes], tree.Nodes]:
    nodes: dict[tuple[int, int], bytes] = {}
    leaves = [tree.leaf_hash(b"%d" % i) for i in range(count)]
    frontier: tree.Frontier = ()
    for index, leaf in enumerate(leaves):
        frontier, made = tree.extend(frontier, index, leaf)
        nodes |= {(node.level, node.place): node.hash for node in made}
    return leaves, lambda level, place: nodes[level, place]


def test_tree_root_equals_the_recursive_definition() -> None:
    """Roots from the frontier, from stored nodes and from leaves equal the RFC's recursion."""
    leaves, nodes = _grow(130)
    for size in range(131):
        expected = _oracle_root(leaves[:size])
        assert tree.root_of(tree.frontier_at(size, nodes)) == expected
        assert tree.root_from_leaves(leaves[:size]) == expected


@given(st.data())
def test_tree_proofs_hold_and_no_other_index_size_or_root_does(data: st.DataObject) -> None:
    """A made proof verifies, and with any other index, size, root or bit it does not."""
    new = data.draw(st.integers(1, 70))
    old, index = data.draw(st.integers(1, new)), data.draw(st.integers(0, new - 1))
    leaves, nodes = _grow(new)
    root, old_root = _oracle_root(leaves), _oracle_root(leaves[:old])
    path = tree.prove_inclusion(index, new, nodes)
    tree.verify_inclusion(leaves[index], index, new, path, root)
    tree.verify_consistency(
        old, new, old_root, root, proof := tree.prove_consistency(old, new, nodes)
    )
    other = data.draw(
        st.integers(0, new - 1).filter(lambda i: i != index) if new > 1 else st.just(9)
    )
    flipped = bytes([root[0] ^ 1]) + root[1:]
    broken: tuple[Callable[[], None], ...] = (
        lambda: tree.verify_inclusion(leaves[index], other, new, path, root),
        lambda: tree.verify_inclusion(leaves[index], index, new, path, flipped),
        lambda: tree.verify_inclusion(leaves[index], index, new, (*path, root), root),
        lambda: tree.verify_consistency(old, new, old_root, flipped, proof),
        lambda: tree.verify_consistency(old, new, flipped, root, proof),
        lambda: tree.verify_consistency(old, new, old_root, root, (*proof, root)),
    )
    for check in broken:
        with pytest.raises(ProofInvalid):
            check()


def test_tree_proves_every_subtree_and_nothing_else() -> None:
    """Each range that is a subtree is proven in each tree up to 24; a changed one is not."""
    leaves, nodes = _grow(24)
    for size in range(1, 25):
        root = _oracle_root(leaves[:size])
        for span in _spans(size):
            start, end = span
            found = _oracle_root(leaves[start:end])
            assert tree.subtree_root(start, end, nodes) == found
            proof = tree.prove_subtree(span, size, nodes)
            tree.verify_subtree(span, size, found, root, proof)
            for broken in (
                (span, size, root[::-1], root, proof),
                (span, size, found, root[::-1], proof),
                (span, size, found, root, (*proof, root)),
            ):
                with pytest.raises(ProofInvalid):
                    tree.verify_subtree(*broken)


def _spans(size: int) -> list[tree.Span]:
    """Return every valid subtree of a tree: it begins at a multiple of its length rounded up."""
    found = []
    for start in range(size):
        for end in range(start + 1, size + 1):
            width = 1
            while width < end - start:
                width *= 2
            if start % width == 0:
                found.append(tree.Span(start, end))
            else:
                with pytest.raises(ProofInvalid):
                    tree.check_subtree(tree.Span(start, end), size)
    return found


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_tree_proof_of_an_impossible_entry_is_refused(index: int, size: int) -> None:
    """Nobody gets a proof for an entry that is not there."""
    with pytest.raises(ProofInvalid):
        tree.prove_inclusion(index, size, _grow(5)[1])
    with pytest.raises(ProofInvalid):
        tree.prove_consistency(6, 5, _grow(5)[1])
