"""Batch commitments: anyone in or not in a round can be shown, and nobody can be counted."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.batch import SMALLEST, Batch, Membership, commit, verify_batch_proof
from audit.errors import ProofInvalid
from policies.vocabulary import SubjectId

KEY = bytes(range(32))
PEOPLE = [SubjectId(f"person-{i}") for i in range(40)]


@given(st.sets(st.sampled_from(PEOPLE)), st.sampled_from(PEOPLE))
def test_batch_proves_membership_or_absence_of_anyone(
    people: set[SubjectId], who: SubjectId
) -> None:
    """For every set and person exactly the true one of the two is proven."""
    batch = commit(people, key=KEY)
    shown = verify_batch_proof(batch.root, batch.prove(who), batch.blinded(who))
    assert shown is (Membership.PRESENT if who in people else Membership.ABSENT)


def test_batch_shows_no_count() -> None:
    """Nobody, one person and a thousand have commitments and proofs of the same form."""
    proofs = []
    for count in (0, 1, SMALLEST - 2):
        batch = commit([SubjectId(f"p{i}") for i in range(count)], key=os.urandom(32))
        assert len(batch.leaves) == SMALLEST
        proof = batch.prove(SubjectId("somebody else"))
        proofs.append([len(shown["path"]) for shown in proof["leaves"]])
    assert proofs == [[10, 10]] * 3
    assert len(commit([SubjectId(f"p{i}") for i in range(SMALLEST)], key=KEY).leaves) == 2048


def test_batch_of_the_same_people_has_another_root_under_another_key() -> None:
    """Two rounds cannot be compared by their roots; the order of the people does not matter."""
    assert commit(PEOPLE, key=KEY).root == commit(reversed(PEOPLE * 2), key=KEY).root
    assert commit(PEOPLE, key=KEY).root != commit(PEOPLE, key=bytes(32)).root


def test_batch_restored_from_its_leaves_is_the_same() -> None:
    """The kept leaves give root and proofs again; anything else is no batch."""
    batch = commit(PEOPLE, key=KEY)
    assert Batch.restore(batch.leaves, key=KEY).prove(PEOPLE[0]) == batch.prove(PEOPLE[0])
    swapped = (*batch.leaves[:5], batch.leaves[6], batch.leaves[5], *batch.leaves[7:])
    for leaves in ((), batch.leaves[:-1], batch.leaves[: SMALLEST // 2], swapped):
        with pytest.raises(ProofInvalid):
            Batch.restore(leaves, key=KEY)


def test_batch_proof_cannot_be_bent() -> None:
    """Neighbours that are none, another root, another person or another form are refused."""
    batch, absent = commit(PEOPLE, key=KEY), SubjectId("not there")
    blinded, proof = batch.blinded(absent), batch.prove(absent)
    left, right = proof["leaves"]
    outer = batch._shown(left["index"] - 1)
    bent: list[dict[str, Any]] = [
        {},
        proof | {"size": 512},
        proof | {"size": 2048},
        proof | {"leaves": [left]},
        proof | {"leaves": [right, left]},
        proof | {"leaves": [outer, right]},
        proof | {"leaves": [outer, left]},
        proof | {"leaves": [left | {"leaf": blinded.hex()}]},
        proof | {"leaves": [left | {"index": left["index"] + 1}, right]},
        proof | {"leaves": []},
        proof | {"leaves": "x"},
    ]
    for broken in bent:
        with pytest.raises(ProofInvalid):
            verify_batch_proof(batch.root, broken, blinded)
    for root in ("00" * 32, "no hex"):
        with pytest.raises(ProofInvalid):
            verify_batch_proof(root, proof, blinded)
    with pytest.raises(ProofInvalid):
        verify_batch_proof(batch.root, batch.prove(PEOPLE[0]), blinded)
