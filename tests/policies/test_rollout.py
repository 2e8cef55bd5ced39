"""A bundle's way into force: stage by stage, widened but never skipped, and back at once."""

from __future__ import annotations

from typing import Any

import pytest

from policies.errors import PolicyInvalid
from policies.rollout import (
    Assignment,
    Placed,
    Published,
    RulesAct,
    RulesState,
    Stage,
    Staged,
    assignment_from_dict,
    assignment_to_dict,
    bucket,
    fold,
    node_key,
)
from policies.vocabulary import Digest, NodeId

NORTH, SOUTH = NodeId("north"), NodeId("south")


def published(version: int) -> Published:
    """Return the act by which a version is published."""
    return Published(name="acme", version=version, digest=Digest(f"{version:064x}"), issued_at=1)


def staged(stage: Stage, version: int = 1, **changes: Any) -> Staged:
    """Return the act by which a version is put to a stage."""
    return Staged(name="acme", version=version, stage=stage, by="ann", issued_at=1, **changes)


SHADOW = staged(Stage.SHADOW)
SOME = staged(Stage.SOME, nodes=frozenset({NORTH}))
ALL = staged(Stage.ALL)


def versions(state: RulesState, node: NodeId) -> tuple[list[int], list[int] | None]:
    """Return the versions that a node enforces, and those proposed beside them."""
    found = state.assignment(node, "company")
    proposed = found.proposed
    return [r.version for r in found.enforced], (
        None if proposed is None else [r.version for r in proposed]
    )


def test_each_stage_reaches_the_nodes_it_names() -> None:
    """Published: nowhere. Shadow: beside, everywhere. Some: at one. All: everywhere. Back: none."""
    seen = []
    acts: list[RulesAct] = [published(1), SHADOW, SOME, ALL, staged(Stage.ROLLBACK, 0)]
    for count in range(1, len(acts) + 1):
        state = fold(acts[:count])
        seen.append((versions(state, NORTH), versions(state, SOUTH)))
    assert seen == [
        (([], None), ([], None)),
        (([], [1]), ([], [1])),
        (([1], None), ([], [1])),
        (([1], None), ([1], None)),
        (([], None), ([], None)),
    ]


@pytest.mark.parametrize(
    ("acts", "named"),
    [
        ([SHADOW], "publish it first"),
        ([published(1), SOME], "shadow mode"),
        ([published(1), ALL], "shadow mode"),
        ([published(1), SHADOW, ALL], "roll it out to some first"),
        ([published(1), SHADOW, staged(Stage.SOME)], "name nodes or a percentage"),
        ([published(1), SHADOW, staged(Stage.SOME, percent=100)], "name nodes or a percentage"),
        ([published(1), published(2), SHADOW, staged(Stage.SOME, 2, percent=5)], "shadow mode"),
        ([published(1), published(1)], "needs a higher number"),
        ([published(2), published(1)], "needs a higher number"),
        ([published(1), SHADOW, SOME, ALL, SHADOW], "roll back instead"),
        ([published(1), SHADOW, staged(Stage.ROLLBACK, 1)], "never in force everywhere"),
        ([staged(Stage.ROLLBACK, 0)], "never in force everywhere"),
        ([published(1), staged(Stage.ROLLBACK, 0)], "already"),
    ],
)
def test_no_stage_is_skipped(acts: list[Any], named: str) -> None:
    """What is out of order is refused, and the line says what comes first."""
    with pytest.raises(PolicyInvalid, match=named):
        fold(acts)


def test_rollback_returns_to_the_version_before() -> None:
    """From version 2 everywhere back to 1, which was everywhere; a shadow is dropped by it."""
    two: list[RulesAct] = [published(2), staged(Stage.SHADOW, 2), staged(Stage.SOME, 2, percent=50)]
    acts: list[RulesAct] = [published(1), SHADOW, SOME, ALL, *two]
    assert versions(fold([*acts, staged(Stage.ROLLBACK, 1)]), NORTH) == ([1], None)
    acts += [staged(Stage.ALL, 2)]
    assert versions(fold(acts), NORTH) == ([2], None)
    assert versions(fold([*acts, staged(Stage.ROLLBACK, 1)]), NORTH) == ([1], None)


def test_a_larger_percentage_keeps_those_it_had() -> None:
    """Nodes are chosen by digest: about the share, the same each time, and only more of them."""
    nodes = [NodeId(f"n-{i}") for i in range(400)]
    chosen = []
    for percent in (10, 30):
        state = fold([published(1), SHADOW, staged(Stage.SOME, percent=percent)])
        chosen.append({n for n in nodes if versions(state, n)[0]})
    assert chosen[0] < chosen[1]
    assert {n for n in nodes if bucket(1, n) < 30} == chosen[1]
    assert 0 < len(chosen[0]) < len(chosen[1]) < len(nodes)


def test_jurisdictions_of_company_and_node_add_up() -> None:
    """A node has its company's places and its own besides; an act replaces the last."""
    mine = Placed(whom=node_key(NORTH), profiles=("illinois",), by="ann", issued_at=2)
    ours = Placed(whom="company", profiles=("eu",), by="ann", issued_at=1)
    state = fold([ours, mine])
    assert state.assignment(NORTH, "company").profiles == ("eu", "illinois")
    assert state.assignment(SOUTH, "company").profiles == ("eu",)
    assert state.assignment(SOUTH, "other").profiles == ()


def test_assignment_travels_as_json() -> None:
    """What the feed says is what the node reads."""
    acts: list[RulesAct] = [published(1), SHADOW, SOME]
    for count in range(4):
        found = fold(acts[:count]).assignment(NORTH, "company")
        assert assignment_from_dict(assignment_to_dict(found)) == found
    assert fold([]).assignment(NORTH, "company") == Assignment()
