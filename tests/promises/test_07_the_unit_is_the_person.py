"""Promise 7: the unit is the person at a node, composed; how many there are leaves in nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from audit.events import EventKind
from audit.signing import unseal
from client_node.service import NodeService
from coordinator.plan import preview
from models.bags import Bags
from models.card import Card, card_markdown
from policies.terms import plan_to_dict
from policies.vocabulary import Digest, Purpose
from tests.client_node.conftest import World
from tests.coordinator.fleet import make_plan
from tests.promises.town import Held, events, hold_noise, rates, round_of, says

pytestmark = pytest.mark.promise(7)


def with_people(world: World, folder: Path, *customers: str) -> NodeService:
    """Open the world's one node, same keys and same name, on the data of these people."""
    world.trust.changes.clear()
    world.trust.sequence = 0
    for customer in customers:
        world.trust.put(world.standing(customer, Purpose.SERVICE, Purpose.TRAINING))
    node = world.open(folder=folder)
    api = world.api(node)
    for customer in customers:
        assert rates(api, says(api, customer)["turn"]).status_code == 200
    hold_noise(node)
    return node


def everything_that_leaves(
    world: World, node: NodeService, noise: Held, bundle: bytes
) -> dict[str, bytes]:
    """Return each reply of a run: enrolment, rounds, a refusal, a release."""
    answer = round_of(world, node, noise)
    return {
        "enrolment": answer(world.ask_enrolment()),
        "round 1": answer(world.ask_round(1)),
        "round 2": answer(world.ask_round(2)),
        "other terms": answer(world.ask_round(3, fab_digest=Digest("e" * 64))),
        "release": answer(bundle),
    }


def left(world: World, noise: Held, *crowds: tuple[str, ...]) -> list[dict[str, bytes]]:
    """Return what leaves of each crowd, the node's keys and the noise being the same."""
    found, bundle = [], world.publish(world.coordinator_log(), world.release(1))
    for number, crowd in enumerate(crowds):
        node = with_people(world, world.folder / f"crowd-{number}", *crowd)
        found.append(everything_that_leaves(world, node, noise, bundle))
        node.close()
    return found


def test_neighbours_leave_the_same_bytes_where_only_noise_may_differ(world: World) -> None:
    """With the noise held and the person not sampled, one person more changes no byte at all."""
    one, more = left(world, Held(sampled=False), ("anna", "ben"), ("anna", "ben", "carl"))
    assert one == more
    assert {json.loads(reply)["kind"] for reply in one.values()} == {
        "ready",
        "update",
        "refusal",
        "release-loaded",
    }


def test_neighbours_leave_the_same_bytes_but_for_the_weights(world: World) -> None:
    """With the noise held, a person who *is* sampled shows in the noisy weights and nowhere else.

    The reply's other fields, its length and the number of replies are the same to the byte; the
    signature covers the weights and so differs with them.
    """
    few, more = left(world, Held(), ("anna", "ben"), ("anna", "ben", "carl"))
    differ = {what for what in few if few[what] != more[what]}
    assert differ == {"round 1", "round 2"}
    for what in differ:
        one, other = json.loads(few[what]), json.loads(more[what])
        assert one["body"]["weights"] != other["body"]["weights"]
        for envelope in (one, other):
            del envelope["body"]["weights"]["float32"], envelope["signature"]
        assert json.dumps(one) == json.dumps(other)
        assert len(few[what]) == len(more[what])


def test_nobody_and_many_leave_replies_of_one_size_and_shape(world: World) -> None:
    """An empty branch answers like a full one: same kinds, same fields, same sizes."""
    none, many = left(world, Held(), (), ("anna", "ben", "carl", "dora"))
    for what, reply in none.items():
        assert len(reply) == len(many[what]), what
        assert shape(reply) == shape(many[what]), what
    assert none["round 1"] != many["round 1"]  # the weights themselves: that is what noise is for


def shape(reply: bytes) -> Any:
    """Return a reply with its numbers and signatures left out."""
    envelope = json.loads(reply)
    body = {name: type(value).__name__ for name, value in envelope["body"].items()}
    return envelope["kind"], envelope["key"], body


def test_refusal_says_one_word_and_no_number(world: World) -> None:
    """A cohort below the floor is refused in the same words as any node that is not ready."""
    world.plan_changes = {"minimum_people": 50}
    world.seal_policy()
    node = with_people(world, world.folder / "few", "anna")
    reply = world.executor(node).post("/internal/enrolment", content=world.ask_enrolment()).content
    body = unseal("refusal", reply, world.node_key.verify_key)
    assert set(body) == {"reason", "terms_digest"}
    assert body["reason"] == "not_ready"


def test_everything_computed_from_people_has_a_ledger_entry(world: World) -> None:
    """The head count and each round are charged, in order, and the log has each head."""
    node = with_people(world, world.folder / "ledger", "anna")
    answer = round_of(world, node, Held())
    answer(world.ask_enrolment())
    for number in (1, 2, 3):
        assert json.loads(answer(world.ask_round(number)))["kind"] == "update"
    entries = node.ledger.entries()
    assert [entry.round_number for entry in entries] == [0, 1, 2, 3]
    logged = [event.fields["head"] for event in events(node.log, EventKind.BUDGET_SPENT)]
    assert logged == [entry.head for entry in entries]


def test_all_turns_of_a_person_are_one_bag(world: World) -> None:
    """Five turns of Anna are one person in the bags, and at most `max_turns` are read."""
    world.trust.put(world.standing("anna", Purpose.SERVICE, Purpose.TRAINING))
    node = world.open()
    api = world.api(node)
    for number in range(5):
        turn = says(api, "anna", f"this is terrible, {number}", conversation=f"c{number}")["turn"]
        assert rates(api, turn).status_code == 200
    hold_noise(node)
    node.training.enrol(world.ask_enrolment())
    bags: Bags = node.training.take_part(world.ask_round()).bags
    assert len(bags.owners) == world.plan().mechanism.max_turns == 4
    assert set(bags.owners) == {0}


@pytest.mark.slow
def test_bound_for_a_person_at_k_nodes_is_stated() -> None:
    """The preview of a plan composes for k nodes, and the model's card prints what it says."""
    found = preview(plan_to_dict(make_plan(epsilon=3.0)))
    costs = [found.epsilon_at_nodes[k] for k in range(1, 6)]
    assert costs[0] == found.epsilon
    assert costs == sorted(set(costs))
    card = Card(
        data="d",
        unit="a person at a node",
        epsilon=found.epsilon,
        delta=found.plan.delta,
        plan_digest=found.digest,
        rounds=found.plan.rounds,
        intended_use="u",
        limits=(),
        epsilon_at_nodes=tuple(sorted(found.epsilon_at_nodes.items())),
    )
    printed = card_markdown(card)
    assert "a person at a node" in printed
    for k, cost in found.epsilon_at_nodes.items():
        assert f"{k}" in printed
        assert f"{cost:.2f}" in printed or f"{cost:.3g}" in printed or f"{cost:g}" in printed
