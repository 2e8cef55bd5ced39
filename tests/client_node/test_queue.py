"""Rule 13: nobody waits longer because of someone's emotion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_node.uses.handover import Handover
from client_node.uses.queue import Capacity, QueueState, WaitingCall, capacity, delayed_calls
from policies.catalogue import CATALOGUE
from policies.vocabulary import Objective, Purpose, RuleId

PLAIN = QueueState(
    now_s=100.0,
    idle_agents=0,
    reserved_idle=0,
    busy_until_s=(150.0,),
    waiting=(WaitingCall(call="a", since_s=1.0, handling_s=60.0),),
    handling_s=60.0,
)
TIMES = st.integers(0, 50).map(float)


def simulate(state: QueueState, *, handover: bool) -> dict[str, float]:
    """The oracle: second by second, whoever is free takes whoever came first."""
    agents = [0.0] * state.idle_agents + [max(0.0, t - state.now_s) for t in state.busy_until_s]
    waiting = sorted((c.since_s, c.call, c.handling_s) for c in state.waiting)
    if handover:
        waiting = [w for w in waiting if w[1] != state.moved]
        if not state.reserved_idle:
            waiting.insert(0, (-1.0, "", state.handling_s))
    starts: dict[str, float] = {}
    second = 0.0
    while waiting and agents:
        for index, free in enumerate(agents):
            if free <= second and waiting:
                _, call, handling = waiting.pop(0)
                starts[call] = second
                agents[index] = second + handling
        second += 1.0
    return starts


@given(
    idle=st.integers(0, 2),
    reserved=st.integers(0, 1),
    busy=st.lists(TIMES, max_size=3),
    calls=st.lists(st.tuples(TIMES, st.integers(1, 30).map(float)), max_size=5),
    handling=st.integers(1, 30).map(float),
    moved=st.booleans(),
)
def test_delayed_calls_agree_with_a_simulation_second_by_second(  # noqa: PLR0917 (drawn)
    idle: int,
    reserved: int,
    busy: list[float],
    calls: list[tuple[float, float]],
    handling: float,
    moved: bool,  # noqa: FBT001 (hypothesis)
) -> None:
    """The comparison of schedules is that of a slow, obvious simulation."""
    waiting = tuple(
        WaitingCall(call=f"c{i}", since_s=since, handling_s=h) for i, (since, h) in enumerate(calls)
    )
    state = QueueState(
        now_s=0.0,
        idle_agents=idle,
        reserved_idle=reserved,
        busy_until_s=tuple(busy),
        waiting=waiting,
        handling_s=handling,
        moved="c0" if moved and waiting else None,
    )
    blind, shifted = simulate(state, handover=False), simulate(state, handover=True)
    expected = sum(shifted[call] > start for call, start in blind.items() if call != state.moved)
    assert delayed_calls(state) == expected


def test_handover_ahead_of_a_waiting_call_delays_it() -> None:
    """With nobody free, jumping the queue makes the next one wait longer."""
    assert capacity(PLAIN) is Capacity.AHEAD
    assert delayed_calls(PLAIN) == 1


def test_handover_to_reserved_capacity_delays_nobody() -> None:
    """An agent kept free for this costs no other call anything."""
    state = replace(PLAIN, reserved_idle=1)
    assert (capacity(state), delayed_calls(state)) == (Capacity.RESERVED, 0)


def read_turn(world: Any, *purposes: Purpose) -> tuple[Any, str]:
    """Return the branch's interface and a turn that was read as angry."""
    world.trust.put(world.standing("c", Purpose.SERVICE, *purposes))
    node = world.open()
    node.releases.load(
        world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
    )
    api = world.api(node)
    said = {"customer": "c", "conversation": "x", "text": "this is terrible"}
    return api, api.post("/v1/turns", json=said).json()["turn"]


def test_handover_goes_through_only_where_nobody_waits_longer(world: Any) -> None:
    """The gate allows a hand-over to an idle agent and refuses one that delays another call."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    free = {"turn": turn, "queue": {"idle_agents": 1}}
    assert api.post("/v1/uses/handover", json=free).json()["answer"] == "done"
    waiting = [{"call": "a", "since": 0.0}]
    busy = {"idle_agents": 0, "busy_until": [50.0], "waiting": waiting}
    refused = api.post("/v1/uses/handover", json={"turn": turn, "queue": busy}).json()
    assert refused["answer"] == "refused"
    assert "r13-others-wait" in refused["rules"]
    assert api.post("/v1/uses/handover", json={"turn": turn}).status_code == 422


def test_whoever_is_leaving_is_handed_to_nobody(world: Any) -> None:
    """While a customer cancels, a feeling adds no conversation to that (rule 17)."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    free = {"turn": turn, "queue": {"idle_agents": 1}}
    assert api.post("/v1/uses/handover", json=free).json()["answer"] == "done"
    leaving = api.post("/v1/uses/handover", json=free | {"cancelling": True}).json()
    assert (leaving["answer"], leaving["rules"]) == ("refused", ["r17-cancelling"])
    said = {"customer": "c", "conversation": "x", "text": "this is terrible", "use": "handover"}
    inline = said | {"queue": free["queue"], "cancelling": True}
    assert api.post("/v1/turns", json=inline).json()["use"]["rules"] == ["r17-cancelling"]


def test_use_for_conversion_is_refused_whatever_it_does(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate weighs what a use declares to be for: the same hand-over to sell is none (24)."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    free = {"turn": turn, "queue": {"idle_agents": 1}}
    assert api.post("/v1/uses/handover", json=free).json()["answer"] == "done"
    selling = replace(Handover.described, serves=Objective.CONVERSION)
    monkeypatch.setattr(Handover, "described", selling)
    refused = api.post("/v1/uses/handover", json=free).json()
    assert (refused["answer"], refused["rules"]) == ("refused", ["r24-objective"])


def test_handover_needs_a_consent_that_names_it(world: Any) -> None:
    """Consent to service is not consent to a hand-over (rule 4)."""
    api, turn = read_turn(world)
    free = {"turn": turn, "queue": {"idle_agents": 1}}
    assert "r04-no-consent" in api.post("/v1/uses/handover", json=free).json()["rules"]


def test_upsell_is_refused_by_the_nodes_own_reading(world: Any) -> None:
    """Selling to an angry customer is refused with rule, statute and plain words (rule 10)."""
    api, turn = read_turn(world, Purpose.OFFERS)
    refused = api.post("/v1/uses/upsell", json={"turn": turn}).json()
    assert refused["answer"] == "refused"
    assert "r10-negative-emotion" in refused["rules"]
    behind = dict(zip(refused["rules"], refused["statutes"], strict=True))
    assert len(refused["reasons"]) == len(behind) > 3
    assert behind["r10-negative-emotion"] == CATALOGUE[RuleId("r10-negative-emotion")].statute
    assert behind["r27-no-dpia"] == CATALOGUE[RuleId("r27-no-dpia")].statute
    lied = {"turn": turn, "emotion": "joy"}
    assert api.post("/v1/uses/upsell", json=lied).status_code == 422


def test_uses_that_are_not_built_say_so(world: Any) -> None:
    """A use that no version does is 501, and asks the gate nothing."""
    api, turn = read_turn(world)
    assert api.post("/v1/uses/referral", json={"turn": turn}).status_code == 501
    assert api.post("/v1/uses/mind_reading", json={"turn": turn}).status_code == 422
