"""Who is measured is never trained on, and each pays only for what they are in."""

from __future__ import annotations

from typing import Any

import pytest

from audit.events import EventKind
from client_node.held_out import HeldOut
from client_node.service import NodeService
from models.accounting import count_curve, epsilon, evaluation_curve, round_curve
from policies.errors import PolicyInvalid
from policies.node_policy import node_policy_from_dict, node_policy_to_dict
from policies.terms import RoundKind
from policies.vocabulary import Purpose, RunId, SubjectId
from tests.client_node.conftest import World
from tests.client_node.test_evaluation import EVALUATION, MEASURED, with_people

RUN = RunId("run-1")
EACH = 2


@pytest.fixture
def apart(make_world: Any) -> World:
    """Return a world whose node holds out half of its people."""
    world: World = make_world(plan_changes=dict(MEASURED), policy_changes={"held_out": 0.5})
    return world


def split(world: World, node: NodeService) -> tuple[list[str], list[str]]:
    """Return names of people to teach and of people to measure, as the node's key has it."""
    sides: dict[bool, list[str]] = {False: [], True: []}
    for number in range(200):
        name = f"customer {number}"
        sides[node.training.held_out.holds(world.subject(name))].append(name)
    return sides[False][:EACH], sides[True][:EACH]


def played(world: World) -> tuple[NodeService, set[SubjectId], set[SubjectId]]:
    """Return a node after a round and an evaluation, with who is to be taught and measured."""
    names = split(world, with_people(world, "peek"))
    world.close()
    node = with_people(world, "node", *names[0], *names[1])
    taught, measured = ({world.subject(name) for name in side} for side in names)
    node.training.enrol(world.ask_enrolment())
    node.training.take_part(world.ask_round())
    node.training.evaluate(world.ask_evaluation())
    return node, taught, measured


def batches(node: NodeService, people: set[SubjectId]) -> list[set[SubjectId]]:
    """Return who of these was in each batch of the log, in its order."""
    entries = reversed(node.log.find(EventKind.BATCH_DECISION, 9))
    return [{s for s in people if node.gate.batches.holds(e.index, s)} for e in entries]


def test_nobody_is_both_trained_on_and_measured(apart: World) -> None:
    """All are counted; a round is over one side, an evaluation over the other, by the log."""
    node, taught, measured = played(apart)
    everybody = taught | measured
    assert len(everybody) == 2 * EACH
    assert batches(node, everybody) == [everybody, taught, measured]


def test_proof_of_an_evaluation_is_none_of_the_round_of_its_number(apart: World) -> None:
    """Round 1 and evaluation 1 are different questions, with an answer each."""
    node, taught, measured = played(apart)
    for kind, inside, outside in (
        (RoundKind.TRAIN, taught, measured),
        (RoundKind.EVALUATE, measured, taught),
    ):
        for people, answer in ((inside, "present"), (outside, "absent")):
            for subject in people:
                (shown,) = node.training.prove(RUN, 1, subject, kind)
                assert node.gate.batches.holds(shown["log_index"], subject) is (answer == "present")
    customer = split(apart, node)[1][0]
    asked = {"customer": customer, "run": RUN, "round": 1}
    api = apart.api(node)
    assert api.post("/v1/proofs", json=asked).json()["answer"] == "absent"
    asked["kind"] = "evaluate"
    assert api.post("/v1/proofs", json=asked).json()["answer"] == "present"
    for wrong in ({"kind": "both"}, {"round": 2**63}):
        assert api.post("/v1/proofs", json=asked | wrong).status_code == 422, wrong


def test_each_is_told_what_their_own_side_cost(apart: World) -> None:
    """Count and round for who was taught, count and evaluation for who was measured."""
    node, taught, measured = played(apart)
    plan, delta = apart.plan(), node.policy.maximum_delta
    count = count_curve(plan.mechanism)
    trained = epsilon(count + round_curve(plan.mechanism), delta=delta)
    looked = epsilon(count + evaluation_curve(EVALUATION), delta=delta)
    for people, bound in ((taught, trained), (measured, looked)):
        for subject in people:
            told = node.own_data.learned(subject)
            assert told["epsilon"] == pytest.approx(bound)
    assert node.ledger.epsilon_spent() > max(trained, looked)  # the node's own ledger adds both


def test_sides_are_stable_secret_and_of_the_share_that_was_set() -> None:
    """One key gives one split whoever else there is; another key or purpose gives another."""
    people = [SubjectId(f"{number:064x}") for number in range(20_000)]
    split_by = HeldOut(key=b"k" * 32, share=0.2)
    held = [split_by.holds(person) for person in people]
    assert held == [split_by.holds(person) for person in people]
    assert sum(held) == pytest.approx(4000, abs=300)
    assert held != [HeldOut(key=b"l" * 32, share=0.2).holds(person) for person in people]
    other = HeldOut(key=b"k" * 32, share=0.2, purpose=Purpose.RESEARCH)
    assert held != [other.holds(person) for person in people]


def test_share_of_nothing_trains_and_measures_everybody() -> None:
    """A policy that holds nobody out says so by leaving it out."""
    nobody = HeldOut()
    assert all(nobody.takes(SubjectId("a"), kind) for kind in RoundKind)


@pytest.mark.parametrize("share", [-0.1, 0.51, float("nan"), True, "0.1"])
def test_policy_with_an_absurd_share_is_refused(world: World, share: Any) -> None:
    """A share below nothing, above a half, or that is no number starts no node."""
    value = node_policy_to_dict(world.policy())
    assert "held_out" not in value
    with pytest.raises(PolicyInvalid, match="held_out"):
        node_policy_from_dict(value | {"held_out": share})
