"""An evaluation at the node: paid for before it is opened, and noisy counts alone leave."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from audit.events import EventKind
from audit.signing import unseal
from client_node.errors import RoundRefusal, RoundRefused, VaultError
from client_node.service import NodeService
from client_node.vault import Vault
from models.update import update_from_dict
from policies.canonical import digest
from policies.terms import Evaluation, Grouping, RoundKind, terms_to_dict
from policies.vocabulary import Purpose
from tests.client_node.conftest import LABELS, World
from tests.promises.town import Held, rates, says

EVALUATION = Evaluation(noise=8.0, every=1, patience=0, groups=Grouping.TURNS)
MEASURED = {"evaluation": EVALUATION, "epsilon": 6.0}


@pytest.fixture
def measured(make_world: Any) -> World:
    """Return a world whose plan measures the head after each round."""
    world: World = make_world(plan_changes=dict(MEASURED))
    return world


def with_people(world: World, folder: str, *customers: str) -> NodeService:
    """Open the world's node on the data of these people, with the noise held."""
    world.trust.changes.clear()
    world.trust.sequence = 0
    for customer in customers:
        world.trust.put(world.standing(customer, Purpose.SERVICE, Purpose.TRAINING))
    node = world.open(folder=world.folder / folder)
    api = world.api(node)
    for customer in customers:
        assert rates(api, says(api, customer)["turn"]).status_code == 200
    object.__setattr__(node.training, "noise", Held())
    return node


def answer(world: World, node: NodeService, envelope: bytes) -> bytes:
    """Ask as the node's executor does."""
    return world.executor(node).post("/internal/evaluations", content=envelope).content


def enrolled(world: World, folder: str, *customers: str) -> NodeService:
    """Return a node that is ready for the run."""
    node = with_people(world, folder, *customers)
    node.training.enrol(world.ask_enrolment())
    return node


def table_of(world: World, reply: bytes) -> np.ndarray[Any, Any]:
    """Return the table `(group, row, label)` of a signed reply."""
    body = unseal("table", reply, world.node_key.verify_key)
    return update_from_dict(body).weights.reshape(3, -1, len(LABELS))


def test_evaluation_answers_with_a_signed_table_by_group_and_label(measured: World) -> None:
    """Counts of the right group and label move, by a person's worth; all else is the noise."""
    node = enrolled(measured, "few", "anna", "ben")
    reply = answer(measured, node, measured.ask_evaluation())
    body = unseal("table", reply, measured.node_key.verify_key)
    terms = measured.terms(1, kind=RoundKind.EVALUATE)
    assert body["terms_digest"] == digest(terms_to_dict(terms))
    counted = table_of(measured, reply) - EVALUATION.noise / 4
    assert np.abs(counted[1:]).max() < 1e-6
    assert counted[0, 0, 0] == pytest.approx(2 / np.sqrt(1 + 0.5 + 1 + 1 + 0.25), abs=1e-5)
    assert counted[0, 0, 1] == pytest.approx(0, abs=1e-6)


def test_person_is_counted_in_one_group_by_what_they_said(measured: World) -> None:
    """Whoever said more is counted there, whole and once."""
    node = enrolled(measured, "more", "anna")
    api = measured.api(node)
    for number in range(2):
        assert rates(api, says(api, "anna", f"again, {number}")["turn"]).status_code == 200
    reply = answer(measured, node, measured.ask_evaluation())
    counted = table_of(measured, reply) - EVALUATION.noise / 4
    assert np.abs(counted[[0, 2]]).max() < 1e-6
    assert np.linalg.norm(counted[1]) == pytest.approx(1, abs=1e-5)


def test_evaluation_is_paid_for_before_anything_is_opened(
    measured: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the vault is opened the spending and its log entry are there; a crash wastes them."""
    node = enrolled(measured, "paid", "anna")
    before = node.ledger.epsilon_spent()

    def crash(*_: object, **__: object) -> Any:
        entries = node.ledger.entries()
        logged = node.log.find(EventKind.BUDGET_SPENT, 1)[0].event.fields
        assert (len(entries), logged["head"]) == (2, entries[-1].head)
        raise VaultError("power cut")

    monkeypatch.setattr(Vault, "open_batch", crash)
    with pytest.raises(RoundRefused):
        node.training.evaluate(measured.ask_evaluation())
    assert node.ledger.epsilon_spent() > before


def test_run_with_its_evaluations_is_within_what_it_declares(measured: World) -> None:
    """Count, every round and every evaluation are charged, and fit what was set aside."""
    node = enrolled(measured, "whole", "anna")
    for number in range(1, measured.plan().rounds + 2):
        assert json.loads(answer(measured, node, measured.ask_evaluation(number)))["kind"] == (
            "table"
        )
        if number <= measured.plan().rounds:
            node.training.take_part(measured.ask_round(number))
    assert len(node.ledger.entries()) == 1 + 3 + 4
    assert node.ledger.epsilon_spent() <= measured.plan().epsilon
    reply = answer(measured, node, measured.ask_evaluation(5))
    assert unseal("refusal", reply, measured.node_key.verify_key)["reason"] == "terms"


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda w: w.ask_evaluation(kind=RoundKind.TRAIN), RoundRefusal.TERMS),
        (lambda w: w.ask_round(kind=RoundKind.EVALUATE), RoundRefusal.SIGNATURE),
        (lambda w: w.ask_evaluation(weights_digest="0" * 64), RoundRefusal.MODEL),
        (lambda w: w.ask_evaluation(run="another"), RoundRefusal.NOT_READY),
        (lambda _: b"{}", RoundRefusal.SIGNATURE),
    ],
)
def test_evaluation_that_is_not_asked_rightly_is_refused_unspent(
    measured: World, ask: Any, reason: RoundRefusal
) -> None:
    """Another kind, run or weights, or no signature, opens and spends nothing."""
    node = enrolled(measured, "refused", "anna")
    with pytest.raises(RoundRefused) as caught:
        node.training.evaluate(ask(measured))
    assert caught.value.reason is reason
    assert len(node.ledger.entries()) == 1


def test_terms_of_an_evaluation_do_not_buy_a_round_of_training(measured: World) -> None:
    """Terms that were signed for the one kind are refused as the other."""
    node = enrolled(measured, "kinds", "anna")
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(measured.ask_round(kind=RoundKind.EVALUATE))
    assert caught.value.reason is RoundRefusal.TERMS


def test_evaluation_is_refused_when_the_budget_is_used_up(make_world: Any) -> None:
    """Asked again and again it spends each time, and is refused before the limit is passed."""
    world = make_world(plan_changes=dict(MEASURED), policy_changes={"maximum_epsilon": 6.0})
    node = enrolled(world, "spent", "anna")
    for _ in range(300):
        reply = json.loads(answer(world, node, world.ask_evaluation()))
        if reply["kind"] == "refusal":
            break
    assert reply["body"]["reason"] == "budget"
    assert node.ledger.epsilon_spent() <= 6.0


def test_neighbours_leave_the_same_bytes_but_for_the_noisy_numbers(measured: World) -> None:
    """With the noise held, a person more shows in the table alone, and moves it by at most 1.

    Everybody and nobody: the reply's other fields and its length are the same to the byte.
    """
    crowds = ((), ("anna", "ben"), ("anna", "ben", "carl"))
    replies = []
    for number, crowd in enumerate(crowds):
        node = enrolled(measured, f"crowd-{number}", *crowd)
        replies.append(answer(measured, node, measured.ask_evaluation()))
        node.close()
    assert len({len(reply) for reply in replies}) == 1
    moved = table_of(measured, replies[2]) - table_of(measured, replies[1])
    assert 0 < np.linalg.norm(moved) <= 1
    shown = set()
    for reply in replies:
        envelope = json.loads(reply)
        assert envelope["body"]["weights"].pop("float32")
        del envelope["signature"]
        shown.add(json.dumps(envelope))
    assert len(shown) == 1
