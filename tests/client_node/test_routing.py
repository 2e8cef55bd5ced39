"""Uses 2 and 3, routing and priority: by skills and load, and nobody waits longer (rule 13)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_node.uses.queue_simulation import Call, Policy, later_starts, made_calls, play
from client_node.uses.routing import Agent, choose
from policies.vocabulary import Purpose
from tests.client_node.test_queue import read_turn

BOTH = frozenset({"bills", "parcels"})
RESERVED = (
    Agent(agent="r1", skills=BOTH, reserved=True),
    Agent(agent="r2", skills=frozenset({"parcels"}), reserved=True),
)
USES = ("handover", "priority")


def test_choice_is_free_skilled_reserved_then_least_loaded() -> None:
    """Nobody who is busy or lacks a skill; reserved before idle; load before name."""
    idle = Agent(agent="a", skills=BOTH)
    assert choose([idle, *RESERVED], frozenset({"bills"})) == RESERVED[0]
    assert choose([idle, *RESERVED], frozenset({"parcels"})) == RESERVED[1]
    busy = replace(RESERVED[0], open=1)
    assert choose([busy], frozenset({"bills"})) is None
    assert choose([busy, idle], frozenset({"bills"})) == idle
    chats = [replace(idle, agent=name, open=n, most=4) for name, n in (("a", 3), ("b", 1))]
    assert choose(chats, frozenset()) == chats[1]


def made(number: int, seed: int = 0, **changed: Any) -> list[Call]:
    """Return calls that keep ten agents busy."""
    plain: dict[str, Any] = {
        "per_hour": 112.0,
        "handling_s": 300.0,
        "cue_share": 0.1,
        "skills": sorted(BOTH),
        "seed": seed,
    }
    return made_calls(number, **plain | changed)


def test_no_call_of_a_long_day_starts_later_than_blind() -> None:
    """Call by call, routing starts none later, and those with a cue sooner."""
    calls = made(5_000)
    blind = play(calls, ordinary=10, reserved=RESERVED, policy=Policy.BLIND)
    routed = play(calls, ordinary=10, reserved=RESERVED, policy=Policy.ROUTED)
    assert later_starts(calls, blind, routed) == 0
    assert sum(ours < theirs for ours, theirs in zip(routed, blind, strict=True)) > 1_000


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 30), st.booleans(), st.booleans()), max_size=30
    ),
    st.integers(1, 3),
)
def test_no_call_starts_later_whatever_the_calls(
    drawn: list[tuple[int, int, bool, bool]], ordinary: int
) -> None:
    """For any calls and any number of agents, routing delays nobody."""
    calls = [
        Call(at_s=float(at), handling_s=float(h), cue=cue, needs=frozenset({"bills"} if b else {}))
        for at, h, cue, b in sorted(drawn)
    ]
    blind = play(calls, ordinary=ordinary, reserved=RESERVED, policy=Policy.BLIND)
    routed = play(calls, ordinary=ordinary, reserved=RESERVED, policy=Policy.ROUTED)
    assert later_starts(calls, blind, routed) == 0


def test_blind_play_is_first_come_first_served() -> None:
    """One agent, three calls: worked out by hand."""
    calls = [Call(at_s=at, handling_s=10.0) for at in (0.0, 1.0, 30.0)]
    assert play(calls, ordinary=1, reserved=(), policy=Policy.BLIND) == [0.0, 10.0, 30.0]


@pytest.mark.parametrize("policy", [Policy.JUMP, Policy.FROM_MACHINE])
def test_comparison_sees_those_who_wait_longer(policy: Policy) -> None:
    """Jumping the queue makes others wait, and so do conversations that take ordinary agents."""
    calls = made(3_000, machine_share=0.1)
    blind = play(calls, ordinary=10, reserved=RESERVED, policy=Policy.BLIND)
    other = play(calls, ordinary=10, reserved=RESERVED, policy=policy)
    assert later_starts(calls, blind, other) > 0


def queue(**changed: Any) -> dict[str, Any]:
    """Return a queue with one call waiting and an ordinary agent who is busy."""
    plain = {
        "busy_until": [50.0],
        "waiting": [{"call": "a", "since": 0.0}, {"call": "mine", "since": 1.0}],
        "moved": "mine",
        "needs": ["bills"],
        "agents": [
            {"agent": "o1", "skills": ["bills"], "open": 1},
            {"agent": "r1", "skills": ["bills", "parcels"], "reserved": True},
            {"agent": "r2", "skills": ["parcels"], "reserved": True},
        ],
    }
    return plain | changed


@pytest.mark.parametrize("use", USES)
def test_call_goes_to_the_reserved_agent_with_the_skills(world: Any, use: str) -> None:
    """Who takes it is named; it is the one free and reserved agent who can."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    answer = api.post(f"/v1/uses/{use}", json={"turn": turn, "queue": queue()}).json()
    assert (answer["answer"], answer["capacity"]) == ("done", "reserved")
    assert answer["agent"] == "r1"


@pytest.mark.parametrize("use", USES)
def test_call_stays_where_only_busy_agents_have_the_skills(world: Any, use: str) -> None:
    """With nobody free for it the call keeps its place, by rule 13, with what would change it."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    agents = [one | {"open": 1} for one in queue()["agents"]]
    for busy in (queue(agents=agents), queue(needs=["law"])):
        refused = api.post(f"/v1/uses/{use}", json={"turn": turn, "queue": busy}).json()
        assert refused["rules"] == ["r13-others-wait"]
        assert refused["would_need"] == [
            ["the conversation moves to idle or reserved capacity only"]
        ]
        assert "agent" not in refused


def test_an_agent_has_no_score(world: Any) -> None:
    """A score sent beside an agent is refused, not ignored (promise 4)."""
    api, turn = read_turn(world, Purpose.HANDOVER)
    scored = queue(agents=[{"agent": "o1", "score": 0.9}])
    assert api.post("/v1/uses/priority", json={"turn": turn, "queue": scored}).status_code == 422
    assert api.post("/v1/uses/priority", json={"turn": turn}).status_code == 422
