"""Uses 7 and 8: a journey within its session, and a moment that no feeling brings on."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import client_node.moment
from client_node.customers_api import MomentIn
from client_node.moment import Activity, Contact, best_hour, moment, repeat_purchase
from client_node.story import KeptReading, Signal, satisfaction, signals
from client_node.uses.hold_back import HOLDS, held_back, offered
from policies.vocabulary import NEGATIVE, Emotion, Purpose, Vulnerability
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, load, say

DAY_S = 86_400
BUYS = {
    "customer": CUSTOMER,
    "contacts": [{"hour": 9, "answered": True}] * 4 + [{"hour": 18, "answered": False}] * 3,
    "purchases": [1_799_000_000, 1_799_300_000, 1_799_600_000],
    "known_since": 1_798_000_000,
    "fits": True,
}


def reading(valence: float | None, *, conversation: str = "c1", turn: str = "t") -> KeptReading:
    """Return one kept turn."""
    return KeptReading(
        turn=turn,
        at=0,
        conversation=conversation,
        label=None,
        emotion=None,
        confidence=None,
        valence=valence,
    )


def journey(world: Any, node: Any, **changed: Any) -> Any:
    """Ask for the customer's journey."""
    return world.api(node).post("/v1/journeys", json={"customer": CUSTOMER} | changed).json()


def ask_moment(world: Any, node: Any, **changed: Any) -> Any:
    """Ask when to contact the customer."""
    return world.api(node).post("/v1/moments", json=BUYS | changed).json()


def test_journey_shows_expressed_cues_with_their_times(world: Any) -> None:
    """Each kept turn stands in order, by conversation, as expressed cues of something."""
    node = angry_node(world, *HELP)
    first = say(world, node)["turn"]
    world.now += 5
    second = say(world, node, conversation="c2")["turn"]
    told = journey(world, node)
    assert [
        (part["conversation"], [c["turn"] for c in part["cues"]]) for part in told["timeline"]
    ] == [
        ("c1", [first]),
        ("c2", [second]),
    ]
    cue = told["timeline"][1]["cues"][0]
    assert (cue["at"], cue["says"]) == (int(world.now), "expressed cues of frustrated")
    assert [p["conversation"] for p in journey(world, node, conversation="c2")["timeline"]] == [
        "c2"
    ]


def test_journey_ends_with_the_session(world: Any) -> None:
    """A turn of yesterday is in no journey, even before it is deleted (rule 16)."""
    node = angry_node(world, *HELP)
    say(world, node)
    world.now += DAY_S - 10
    world.trust.put(world.standing(CUSTOMER, *HELP))
    node.keeper.poll()
    late = say(world, node)["turn"]
    world.now += 20
    told = journey(world, node)
    assert [c["turn"] for part in told["timeline"] for c in part["cues"]] == [late]


@pytest.mark.parametrize(
    ("purposes", "rule"), [((Purpose.SERVICE,), "r04"), ((Purpose.AGENT_HELP,), "r04")]
)
def test_journey_needs_both_consents(world: Any, purposes: Any, rule: str) -> None:
    """To be read for service, and to be shown as help: one alone shows nothing."""
    node = angry_node(world, *purposes)
    say(world, node)
    told = journey(world, node)
    assert told["answer"] == "refused"
    assert told["rules"][0].startswith(rule)
    assert "timeline" not in told


def test_nothing_is_told_of_a_stranger(world: Any) -> None:
    """Somebody without standing has no journey, and no offer."""
    node = angry_node(world, *HELP)
    assert journey(world, node, customer="nobody")["answer"] == "refused"
    assert ask_moment(world, node, customer="nobody")["offer"] is False


def test_estimate_abstains_and_says_how_sure_it_is() -> None:
    """None below three read turns or where half went unread; else a mean inside its bounds."""
    assert satisfaction([reading(0.5)] * 2) is None
    assert satisfaction([reading(0.5)] * 3 + [reading(None)] * 3) is None
    found = satisfaction([reading(0.6), reading(-0.2), reading(0.2)])
    assert found is not None
    assert found.estimate == pytest.approx(0.6)
    assert 0 <= found.low < found.estimate < found.high <= 1


def test_signals_name_work_for_service() -> None:
    """One bad ending may come back; two are somebody who may go; unread endings are silent."""
    bad = [reading(-0.6, conversation="c1")] * 2
    good = [reading(0.5, conversation="c2")] * 2
    again = [reading(-0.5, conversation="c3")] * 2
    assert [r.signal for r in signals(bad)] == [Signal.REOPENING]
    assert signals(good) == ()
    assert [r.signal for r in signals([*bad, *good, *again])] == [Signal.REOPENING, Signal.LEAVING]
    assert signals([reading(-0.6), reading(None)]) == ()
    for raised in signals([*bad, *again]):
        assert not any(word in raised.do for word in ("offer", "discount", "sell"))


def test_moment_knows_no_emotion() -> None:
    """The module imports nothing of ours, and no type in it has a place for a feeling."""
    tree = ast.parse(inspect.getsource(client_node.moment))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported == {"__future__", "collections.abc", "dataclasses"}
    allowed = {int, bool, float, int | None, tuple[int, ...], tuple[Contact, ...]}
    for name, member in inspect.getmembers(client_node.moment, dataclasses.is_dataclass):
        assert set(typing.get_type_hints(member).values()) <= allowed, name
    fields = set(MomentIn.model_fields)
    assert fields == {"customer", "contacts", "purchases", "known_since", "fits"}


@given(due=st.booleans(), cue=st.sampled_from([None, *Emotion]))
def test_emotion_never_brings_an_offer_on(due: bool, cue: Emotion | None) -> None:  # noqa: FBT001
    """With any cue there are no more offers than without one, a happy one included."""
    assert offered(due=due, cue=cue) <= offered(due=due, cue=None) == due
    assert not (held_back(due=due, cue=cue) and offered(due=due, cue=cue))
    assert NEGATIVE <= HOLDS


def test_offer_is_held_back_by_a_cue_and_comes_back_without(world: Any) -> None:
    """Due by activity: made where nothing was read, held while the cue is unpleasant."""
    node = angry_node(world, Purpose.SERVICE)
    assert ask_moment(world, node) == {
        "hour": 9,
        "likely": 0.424,  # 1 - (203.148 / 233.148) ** 4
        "within_days": 30,
        "due": True,
        "offer": True,
        "because": "due by ordinary activity alone",
    }
    say(world, node)
    held = ask_moment(world, node)
    assert (held["due"], held["offer"]) == (True, False)
    assert held["because"] == "held back by an expressed cue"
    load(world, node, -world.angry_weights(), number=2)
    say(world, node)
    assert ask_moment(world, node)["offer"] is True


def test_joy_makes_no_offer_that_was_not_due(world: Any) -> None:
    """Not due by activity: no reading is opened, and the gate is not asked for any."""
    node = angry_node(world, Purpose.SERVICE)
    load(world, node, -world.angry_weights(), number=2)
    say(world, node)
    size = node.log.size
    assert ask_moment(world, node, fits=False)["offer"] is False
    assert ask_moment(world, node, purchases=[])["offer"] is False
    assert node.log.size == size


@pytest.mark.parametrize(
    "changed",
    [
        {"vulnerabilities": frozenset({Vulnerability.BEREAVEMENT})},
        {"objected": frozenset({Purpose.OFFERS})},
        {"restricted": True},
    ],
)
def test_who_is_protected_is_offered_nothing(world: Any, changed: Any) -> None:
    """The vulnerable, and who objected, get no offer, whatever activity says (rules 6, 8)."""
    node = angry_node(world, Purpose.SERVICE)
    world.trust.put(world.standing(CUSTOMER, Purpose.SERVICE, **changed))
    node.keeper.poll()
    assert ask_moment(world, node)["offer"] is False


def test_hour_is_the_one_that_is_answered() -> None:
    """Few contacts say nothing; of many the hour with the best share, made careful by few."""
    nine, ten = Contact(hour=9, answered=True), Contact(hour=10, answered=False)
    assert best_hour([nine] * 4) is None
    assert best_hour([nine, nine, ten, ten, ten]) == 9
    many = [Contact(hour=14, answered=True)] * 8 + [Contact(hour=14, answered=False)] * 2
    assert best_hour([*many, Contact(hour=3, answered=True)]) == 14


def test_propensity_is_the_predictive_of_its_model() -> None:
    """It equals an integral over the rate's posterior, summed slowly (Gelman et al., 2.6)."""
    activity = Activity(contacts=(), purchases_s=(0, DAY_S, 5 * DAY_S), known_since_s=0, fits=True)
    shape, rate, days = 1.0 + 3, 180.0 + 100, 30
    steps = [(i + 0.5) * 1e-5 for i in range(20_000)]
    weights = [x ** (shape - 1) * 2.718281828459045 ** (-rate * x) for x in steps]
    none = sum(w * 2.718281828459045 ** (-days * x) for w, x in zip(weights, steps, strict=True))
    slow = 1 - none / sum(weights)
    fast = repeat_purchase(activity, now_s=100 * DAY_S, days=days)
    assert fast == pytest.approx(slow, rel=1e-6)
    assert moment(activity, now_s=100 * DAY_S, days=days, due_from=fast).due
    assert not moment(activity, now_s=100 * DAY_S, days=days, due_from=fast + 1e-9).due
