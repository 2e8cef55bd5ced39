"""Promise 5: terms are requests; the node's own signed policy decides."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.task_identity import TaskIdentity

from audit.signing import SigningKey, unseal
from client_node.executor import check_bundle
from client_node.federation import client_app, payload_of
from client_node.service import NodeService
from models.features import FEATURES
from models.update import update_from_dict
from policies.errors import TermsRefused
from policies.vocabulary import Digest, Emotion
from tests.client_node.conftest import World
from tests.promises.town import Held, hold_noise, round_of

pytestmark = pytest.mark.promise(5)

OTHER = Digest("e" * 64)
FLOORS = {
    "minimum_noise_multiplier": 4.0,
    "maximum_epsilon": 4.0,
    "maximum_delta": 1e-5,
    "minimum_people": 1,
}
"""The node's policy allows the plan as it is, and nothing weaker."""

WEAKER_PLANS: dict[str, dict[str, Any]] = {
    "less noise": {"noise_multiplier": 3.99},
    "more epsilon": {"epsilon": 4.01},
    "more delta": {"delta": 1.1e-5},
    "another label": {"labels": (("frustrated", Emotion.ANGER), ("sly", Emotion.JOY))},
    "another family": {"labels": (("frustrated", Emotion.JOY), ("pleased", Emotion.JOY))},
}
WEAKER_TERMS: dict[str, dict[str, Any]] = {
    "other code": {"fab_digest": OTHER},
    "expired": {"expires_at": 1},
    "a round too many": {"round_number": 4},
    "round zero": {"round_number": 0},
}


def refusal(world: World, node: NodeService, envelope: bytes) -> str:
    """Send terms through the executor's socket; return the signed refusal's one word."""
    answer = world.executor(node).post("/internal/rounds", content=envelope).json()
    assert set(answer) == {"refusal"}
    data = base64.b64decode(answer["refusal"])
    return str(unseal("refusal", data, world.node_key.verify_key)["reason"])


def strict(world: World) -> NodeService:
    """Open a node whose policy is just met by the plan."""
    world.policy_changes = dict(FLOORS)
    world.seal_policy()
    node = world.open()
    hold_noise(node)
    return node


def test_terms_that_just_meet_the_policy_are_accepted(world: World) -> None:
    """The plan itself is fine: what follows is refused for its one weakening alone."""
    node = strict(world)
    node.training.enrol(world.ask_enrolment())
    assert node.training.take_part(world.ask_round()).permit


@pytest.mark.parametrize("weaker", WEAKER_PLANS)
def test_plan_weakened_in_one_term_is_refused(world: World, weaker: str) -> None:
    """Even on the allow-list, a plan below one of the node's own floors is refused, unspent."""
    changes = WEAKER_PLANS[weaker]
    if "noise_multiplier" in changes:
        changes = {"mechanism": replace(world.plan().mechanism, **changes)}
    world.policy_changes = dict(FLOORS, labels=world.plan().labels)
    world.plan_changes = changes
    world.seal_policy()  # lists the weakened plan
    node = world.open()
    assert refusal(world, node, world.ask_round()) == "terms"
    assert node.ledger.entries() == []


def test_cohort_floor_below_the_nodes_is_refused(world: World) -> None:
    """A run cannot ask for fewer people than the node insists on."""
    world.policy_changes = dict(FLOORS, minimum_people=2)
    world.seal_policy()
    node = world.open()
    assert refusal(world, node, world.ask_round()) == "terms"
    assert node.ledger.entries() == []


@pytest.mark.parametrize("weaker", WEAKER_TERMS)
def test_terms_weakened_in_one_field_are_refused(world: World, weaker: str) -> None:
    """Other code, late or made-up rounds are refused, unspent."""
    node = strict(world)
    assert refusal(world, node, world.ask_round(**WEAKER_TERMS[weaker])) == "terms"
    assert node.ledger.entries() == []


def test_plan_that_is_not_on_the_list_is_refused(world: World) -> None:
    """A plan the operator did not list is refused, though its numbers are stricter."""
    node = strict(world)
    world.plan_changes = {"epsilon": 0.5}
    assert refusal(world, node, world.ask_round()) == "terms"


def test_somebody_elses_terms_are_refused(world: World) -> None:
    """Only the coordinator's signature asks."""
    node = strict(world)
    envelope = world.ask_round(key=SigningKey.generate("coordinator"))
    assert refusal(world, node, envelope) == "signature"


def test_bundle_is_run_only_from_the_allow_list(world: World) -> None:
    """The executor hashes a bundle itself and refuses one that the policy does not list."""
    with pytest.raises(TermsRefused, match="allow-list"):
        check_bundle(Fab("f" * 64, b"pushed code", {}), frozenset(world.policy().allowed_fabs))


@pytest.mark.parametrize("said", [{}, {"noise_multiplier": 0.0, "epsilon": 1e9, "clip": 1e9}])
def test_run_configuration_weakens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    """What an unsigned run configuration says is not read: refused stays refused."""
    for name in ("_run_id", "_node_id", "_task_id"):  # Flower's messages ask for a task
        monkeypatch.setattr(TaskIdentity, name, 1)
    app = client_app(round_of(world, strict(world)))
    payload = ConfigRecord({"payload": world.ask_round(fab_digest=OTHER)})
    message = Message(RecordDict({"undertone": payload}), dst_node_id=7, message_type="query")
    message.metadata.__dict__["_message_id"] = "m1"
    context = Context(run_id=1, node_id=7, node_config=said, state=RecordDict(), run_config=said)
    reply = payload_of(app(message, context))
    assert unseal("refusal", reply, world.node_key.verify_key)["reason"] == "terms"


def test_round_uses_the_mechanism_of_the_signed_terms(world: World) -> None:
    """Noise and clip come from the signed plan: doubled noise there doubles it in training."""
    node = strict(world)
    answer = round_of(world, node, Held())
    answer(world.ask_enrolment())
    update = unseal("update", answer(world.ask_round()), world.node_key.verify_key)
    mechanism = world.plan().mechanism
    step = mechanism.noise_multiplier * mechanism.clip / 4  # what `Held` draws
    step /= mechanism.sample_rate * mechanism.nominal_people
    expected = -mechanism.learning_rate * mechanism.steps * step
    found = update_from_dict(update).weights
    assert found == pytest.approx(np.full((FEATURES, 2), expected, np.float32))
