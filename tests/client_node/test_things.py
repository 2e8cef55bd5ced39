"""Use 11: context from things, by consent for signals, in order, once, and never an emotion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_node.conversations import place_of
from client_node.errors import TurnInvalid
from client_node.things import RANGES, Device, Kind, ThingEvent, Things, event_to_dict
from policies.decision import UseRequest
from policies.errors import PermitInvalid
from policies.vocabulary import (
    Action,
    Emotion,
    Modality,
    Purpose,
)
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

EVENT = {
    "customer": CUSTOMER,
    "conversation": "c1",
    "event": "e1",
    "device": "wearable",
    "kind": "heart_rate",
    "value": 80.0,
    "at": 1_800_000_000,
}


def signals_node(world: Any, modality: Modality = Modality.SIGNALS) -> Any:
    """Open a node whose customer allows this modality for service."""
    standing = world.standing(CUSTOMER, Purpose.SERVICE)
    grants = tuple(replace(g, modalities=frozenset({modality})) for g in standing.grants)
    world.trust.put(replace(standing, grants=grants))
    return world.open()


def keep(world: Any, node: Any, **changed: Any) -> Any:
    """Send one event."""
    return world.api(node).post("/v1/signals", json=EVENT | changed)


def context(world: Any, node: Any) -> list[Any]:
    """Return the conversation's events."""
    asked = {"customer": CUSTOMER, "conversation": "c1"}
    found = world.api(node).post("/v1/signals/read", json=asked).json()
    return list(found["context"])


def test_events_stand_in_the_order_of_their_times_and_once(world: Any) -> None:
    """An event out of order takes its place, and one sent twice is kept once."""
    node = signals_node(world)
    assert keep(world, node).json()["answer"] == "kept"
    assert keep(world, node, event="e0", at=1_799_999_991).json()["answer"] == "kept"
    assert keep(world, node, value=99.0).json()["answer"] == "known"
    assert [(e["event"], e["value"]) for e in context(world, node)] == [("e0", 80.0), ("e1", 80.0)]


def test_event_says_no_emotion(world: Any) -> None:
    """A heart rate comes out as the device told it, with the words that nothing is read from it."""
    node = signals_node(world)
    keep(world, node)
    (event,) = context(world, node)
    assert set(event) == {"event", "device", "kind", "value", "unit", "at", "says"}
    assert "no emotion" in event["says"]
    words = {*map(str, Kind), *map(str, Device)}
    assert not words & {*map(str, Emotion), "face", "speaker", "identity", "person"}
    assert set(RANGES) == set(Kind)


def test_journey_of_a_conversation_has_its_context(world: Any) -> None:
    """Beside the cues stands what things told, and nothing of it without consent for signals."""
    node = angry_node(world, *HELP)
    say(world, node)
    asked = {"customer": CUSTOMER, "conversation": "c1"}
    assert world.api(node).post("/v1/journeys", json=asked).json()["context"] == []
    both = frozenset({Modality.TEXT, Modality.SIGNALS})
    standing = world.standing(CUSTOMER, *HELP)
    grants = tuple(replace(grant, modalities=both) for grant in standing.grants)
    world.trust.put(replace(standing, grants=grants))
    node.keeper.poll()
    keep(world, node)
    told = world.api(node).post("/v1/journeys", json=asked).json()
    assert [event["event"] for event in told["context"]] == ["e1"]
    assert "context" not in world.api(node).post("/v1/journeys", json={"customer": CUSTOMER}).json()


def test_event_needs_consent_for_signals(world: Any) -> None:
    """Consent for text opens nothing here: refused by rule 4, and not kept."""
    node = signals_node(world, Modality.TEXT)
    refused = keep(world, node).json()
    assert (refused["answer"], refused["rules"]) == ("refused", ["r04-no-consent"])
    assert context(world, node) == []


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"setting": "workplace"}, "r01-workplace"),
        ({"setting": "education"}, "r02-education"),
        ({"role": "worker"}, "r01-role-mismatch"),
    ],
)
def test_event_from_work_or_school_is_refused(world: Any, changed: Any, rule: str) -> None:
    """Where emotions may not be inferred, no body signal is taken either."""
    node = signals_node(world)
    refused = keep(world, node, **changed).json()
    assert refused["answer"] == "refused"
    assert rule in refused["rules"]
    assert context(world, node) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"value": 251.0},
        {"value": "NaN"},
        {"device": "kiosk"},
        {"kind": "face_id"},
        {"at": 1_800_000_006},
        {"at": 1_800_000_000 - 86_401},
        {"emotion": "anger"},
    ],
)
def test_event_out_of_its_bounds_is_one_line(world: Any, changed: Any) -> None:
    """Out of range, of another device, unknown, from the future or too old: 422, not asked."""
    node = signals_node(world)
    before = node.log.size
    answer = keep(world, node, **changed)
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]
    assert node.log.size <= before + 1  # the refused input, and no decision
    assert context(world, node) == []


def test_withdrawal_and_pause_drop_what_was_told(world: Any) -> None:
    """What things told goes with the withdrawal, and with the conversation's pause."""
    node = signals_node(world)
    keep(world, node)
    conversations = node.pipeline.conversations
    conversations.expire(now=world.now + 1801)
    assert context(world, node) == []
    keep(world, node)
    conversations.withdraw([world.subject(CUSTOMER)], now=world.now)
    assert context(world, node) == []
    assert keep(world, node).status_code == 409  # a permit of the same moment is too old


def test_store_takes_its_own_permit_and_no_flood(world: Any) -> None:
    """A permit for text, or to read, keeps nothing; more than thirty a minute are refused."""
    node = signals_node(world)
    subject, things = world.subject(CUSTOMER), Things()
    place, at = place_of(subject, "c1"), int(world.now)
    event = ThingEvent(event="e", device=Device.KIOSK, kind=Kind.BATTERY, value=5.0, at=at)
    for number in range(30):
        assert keep(world, node, event=f"e{number}").json()["answer"] == "kept"
    assert keep(world, node, event="e30").status_code == 429
    permit = _permit(world, node, Action.STORE)
    with pytest.raises(TurnInvalid, match="modality"):
        things.add(place, event, permit=replace(permit, modality=Modality.TEXT), now=world.now)
    with pytest.raises(PermitInvalid):
        things.told(place, permit=permit, now=world.now)
    with pytest.raises(PermitInvalid):
        things.add(place, event, permit=_permit(world, node, Action.INFER), now=world.now)
    assert event_to_dict(event)["unit"] == "%"


def _permit(world: Any, node: Any, action: Action) -> Any:
    """Ask the gate."""
    subject = world.subject(CUSTOMER)
    request = UseRequest(
        node=node.node,
        action=action,
        purpose=Purpose.SERVICE,
        subject=subject,
        modality=Modality.SIGNALS,
    )
    return node.gate.open(request, node.cache.standing(subject), node.cache.governance)
