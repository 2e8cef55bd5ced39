"""A customer's own label is opened under a permit for exactly that, and under no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from client_node.errors import TurnUnknown
from client_node.service import NodeService
from policies.decision import UseRequest
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.vocabulary import Action, Purpose
from tests.client_node.conftest import World
from tests.client_node.stand_ins import NODE


def permit_for(world: World, node: NodeService, customer: str, action: Action) -> Permit:
    """Return the gate's own permit about a customer, for training."""
    subject = world.subject(customer)
    request = UseRequest(node=NODE, action=action, purpose=Purpose.TRAINING, subject=subject)
    return node.gate.open(request, node.cache.standing(subject), node.cache.governance)


def test_own_label_is_opened_under_its_own_permit_alone(world: World) -> None:
    """Another person's, another action's, and one whose seconds are over open nothing."""
    for customer in ("anna", "ben"):
        world.trust.put(world.standing(customer, Purpose.SERVICE, Purpose.TRAINING))
    node = world.open()
    api = world.api(node)
    said = {"customer": "anna", "conversation": "x", "text": "this is terrible"}
    turn = api.post("/v1/turns", json=said).json()["turn"]
    right = permit_for(world, node, "anna", Action.LABEL)
    assert node.vault.own_label(turn, permit=right, now=world.now) is None
    rated = {"turn": turn, "label": "frustrated", "provenance": "customer_rating"}
    assert api.post("/v1/labels", json=rated).status_code == 200
    assert node.vault.own_label(turn, permit=right, now=world.now) == "frustrated"
    for wrong in (
        permit_for(world, node, "ben", Action.LABEL),
        permit_for(world, node, "anna", Action.STORE),
        replace(right, purpose=Purpose.SERVICE),
        replace(right, expires_at=world.now),
    ):
        with pytest.raises(PermitInvalid):
            node.vault.own_label(turn, permit=wrong, now=world.now)
    node.vault.destroy([world.subject("anna")], Purpose.TRAINING, now=world.now)
    with pytest.raises(TurnUnknown):
        node.vault.own_label(turn, permit=right, now=world.now)
