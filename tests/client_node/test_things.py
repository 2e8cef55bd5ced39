"""Use 11: context from things, by consent for signals, in order, once, and never an emotion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from client_node.conversations import place_of
from client_node.thing_store import MOST_A_MINUTE, MOST_EVENTS, ThingStore, Told
from client_node.things import RANGES, Device, Kind, ThingEvent
from client_node.turn import Ruling, UseAnswer
from client_node.uses.asked import Uses
from policies.decision import UseRequest
from policies.errors import PermitInvalid
from policies.permit import Permit
from policies.vocabulary import Action, DecisionId, Emotion, Modality, Purpose, Use
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
BOTH = frozenset({Modality.TEXT, Modality.SIGNALS})
ALONE = frozenset({Modality.SIGNALS})


def allow(world: Any, modalities: frozenset[Modality], *purposes: Purpose) -> None:
    """Let the customer agree to these kinds of data."""
    standing = world.standing(CUSTOMER, *purposes)
    grants = tuple(replace(grant, modalities=modalities) for grant in standing.grants)
    world.trust.put(replace(standing, grants=grants))


def signals_node(world: Any, modalities: frozenset[Modality] = ALONE) -> Any:
    """Open a node whose customer allows help to the agent from these kinds of data."""
    allow(world, modalities, Purpose.AGENT_HELP)
    return world.open()


def keep(world: Any, node: Any, **changed: Any) -> Any:
    """Send one event."""
    return world.api(node).post("/v1/signals", json=EVENT | changed)


def context(world: Any, node: Any, conversation: str = "c1") -> list[Any]:
    """Return the conversation's events."""
    asked = {"customer": CUSTOMER, "conversation": conversation}
    found = world.api(node).post("/v1/signals/read", json=asked).json()
    return list(found["context"])


def test_events_stand_in_the_order_of_their_times_and_once(world: Any) -> None:
    """An event out of order takes its place, and one sent twice is kept once."""
    node = signals_node(world)
    kept = keep(world, node).json()
    assert (kept["answer"], kept["shown"]) == ("kept", True)
    assert keep(world, node, event="e0", at=1_799_999_991).json()["answer"] == "kept"
    assert keep(world, node, value=99.0).json()["answer"] == "known"
    assert keep(world, node, conversation="c2").json()["answer"] == "kept"
    assert [(e["event"], e["value"]) for e in context(world, node)] == [("e0", 80.0), ("e1", 80.0)]


def test_event_says_no_emotion(world: Any) -> None:
    """A heart rate comes out as the device told it, with the words that nothing was expressed."""
    node = signals_node(world)
    keep(world, node)
    (event,) = context(world, node)
    fields = {"conversation", "event", "device", "kind", "value", "unit", "at", "says"}
    assert set(event) == fields
    assert event["says"] == "expressed nothing; a wearable reported heart rate: 80 1/min"
    words = {*map(str, Kind), *map(str, Device)}
    assert not words & {*map(str, Emotion), "face", "speaker", "identity", "person"}
    assert set(RANGES) == set(Kind)


def test_context_stands_beside_the_turn_and_the_journey(world: Any) -> None:
    """What a kiosk told is shown with the turn, by a decision of its own, and in the journey."""
    node = angry_node(world, *HELP)
    assert "context" not in say(world, node)
    allow(world, BOTH, *HELP)
    node.keeper.poll()
    kept = keep(world, node, device="kiosk", kind="waited", value=240).json()
    turn = say(world, node)
    shown = turn["context"]
    assert (shown["called"], shown["use"], shown["answer"]) == ("context", "agent_hint", "done")
    assert shown["decision"] not in {turn["decision"], kept["decision"]}
    says = "expressed nothing; a kiosk reported waited: 240 s"
    assert [event["says"] for event in shown["context"]] == [says]
    asked = {"customer": CUSTOMER, "conversation": "c1"}
    journey = world.api(node).post("/v1/journeys", json=asked).json()
    assert [event["says"] for event in journey["context"]] == [says]
    whole = world.api(node).post("/v1/journeys", json={"customer": CUSTOMER}).json()
    assert "context" not in whole


def test_context_is_shown_while_the_person_allows_it(world: Any) -> None:
    """Consent for text alone shows nothing: the turn says by which rule, and reads all the same."""
    allow(world, BOTH, *HELP)
    node = world.open()
    keep(world, node)
    allow(world, frozenset({Modality.TEXT}), *HELP)
    node.keeper.poll()
    turn = say(world, node)
    assert turn["answer"] == "abstained"  # no head is loaded: it was read
    assert turn["context"]["rules"] == ["r04-no-consent"]
    assert "context" not in turn["context"]
    assert context(world, node) == []


def test_event_needs_consent_for_signals(world: Any) -> None:
    """Consent for text opens nothing here: refused by rule 4, not kept, and nobody is told."""
    node = signals_node(world, frozenset({Modality.TEXT}))
    with node.room.live.watch() as told:
        refused = keep(world, node).json()
        assert told.empty()
    assert (refused["answer"], refused["rules"]) == ("refused", ["r04-no-consent"])
    assert refused["shown"] is False
    assert not node.room.things.has(world.subject(CUSTOMER), "c1")


def test_nobody_is_told_what_may_not_be_shown(world: Any, monkeypatch: Any) -> None:
    """An event that may be kept and not shown waits on disk, and no onlooker hears of it."""
    node = signals_node(world)
    shut = Ruling(decision=DecisionId("d"), allowed=False)
    refused = UseAnswer(name="context", use=Use.AGENT_HINT, ruling=shut)
    with node.room.live.watch() as told, monkeypatch.context() as cut:
        cut.setattr(Uses, "through", lambda *_: refused)
        kept = keep(world, node).json()
        assert told.empty()
    assert (kept["answer"], kept["shown"]) == ("kept", False)


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


@pytest.mark.parametrize("purpose", [Purpose.AGENT_HELP, None])
def test_withdrawal_destroys_what_was_told(world: Any, purpose: Purpose | None) -> None:
    """Rows go and their key with them: a copy of yesterday's file opens no more."""
    node = signals_node(world)
    keep(world, node)
    subject, path = world.subject(CUSTOMER), world.settings().folder / "things.db"
    permit = ask(world, node, Action.USE)
    copy = world.folder / "copy.db"
    node.room.things.store.close()
    copy.write_bytes(path.read_bytes())
    world.now += 1
    withdrawn = frozenset({Purpose.AGENT_HELP} if purpose else Purpose)
    gone = world.standing(CUSTOMER, withdrawn=withdrawn, erased=purpose is None)
    world.trust.withdraw(gone, purpose)
    node.keeper.poll()
    assert context(world, node) == []
    assert not node.room.things.has(subject, "c1")
    restored = ThingStore(copy, node.vault)
    assert restored.has(subject, None, now=world.now)
    assert restored.told(subject, None, permit=permit, now=world.now) == ()
    restored.close()


def test_event_on_its_way_when_the_person_withdraws_is_not_kept(world: Any) -> None:
    """A permit from before the withdrawal keeps nothing after it."""
    node = signals_node(world)
    subject = world.subject(CUSTOMER)
    permit = ask(world, node, Action.STORE)
    node.vault.destroy([subject], Purpose.AGENT_HELP, now=world.now)
    with pytest.raises(PermitInvalid, match="older than a withdrawal"):
        put(world, node, permit)
    assert not node.room.things.has(subject, "c1")


def test_context_outlives_a_restart_and_not_the_session(world: Any) -> None:
    """On disk, sealed, for a day at most: the words of an event stand in no file."""
    node = signals_node(world)
    keep(world, node, event="told-before")
    node.close()
    folder = world.settings().folder
    words = (b"told-before", b"heart_rate", b"wearable", CUSTOMER.encode())
    assert all(word not in path.read_bytes() for path in folder.glob("things.*") for word in words)
    again = world.open()
    assert [event["event"] for event in context(world, again)] == ["told-before"]
    world.now += 86_400
    again.keeper.poll()
    assert [event["event"] for event in context(world, again)] == ["told-before"]
    world.now += 1
    assert context(world, again) == []
    again.keeper._also()
    assert not again.room.things.store.has(world.subject(CUSTOMER), None, now=0.0)


def test_person_is_told_what_things_told_of_them(world: Any) -> None:
    """An answer to a request for access has each event, or the rules that keep it shut."""
    node = signals_node(world)
    keep(world, node)
    answering = node.keeper.answering.__self__
    report = answering._access(world.subject(CUSTOMER))[1]
    assert [one["event"] for one in report["kept"] if one["purpose"] == "agent_help"] == ["e1"]
    allow(world, frozenset({Modality.TEXT}), *HELP)
    node.keeper.poll()
    shut = answering._access(world.subject(CUSTOMER))[1]["kept"]
    assert shut == [{"purpose": "agent_help", "kept_shut_by": ["r04-no-consent"]}]


def test_more_than_a_conversation_holds_is_refused_or_forgotten(world: Any) -> None:
    """Thirty a minute, and the latest sixty-four by their own times."""
    node = signals_node(world)
    for number in range(MOST_A_MINUTE):
        assert keep(world, node, event=f"e{number}").json()["answer"] == "kept"
    assert keep(world, node, event="one-more").status_code == 429
    for number in range(MOST_A_MINUTE, 80):
        world.now += 60
        world.trust.put(world.standing("somebody"))
        node.keeper.poll()
        keep(world, node, event=f"e{number}", at=int(world.now))
    found = [event["event"] for event in context(world, node)]
    assert len(found) == MOST_EVENTS
    assert found[-1] == "e79"


@pytest.mark.parametrize(
    "wrong",
    [
        {"modality": Modality.TEXT},
        {"purpose": Purpose.RESEARCH},
        {"subjects": frozenset[str]()},
        {"expires_at": 0.0},
    ],
)
def test_store_takes_and_gives_by_a_permit_for_signals_alone(world: Any, wrong: Any) -> None:
    """Another modality's, purpose's, person's or a stale permit neither keeps nor opens."""
    node = signals_node(world)
    keep(world, node)
    subject, store = world.subject(CUSTOMER), node.room.things.store
    storing, using = ask(world, node, Action.STORE), ask(world, node, Action.USE)
    with pytest.raises(PermitInvalid):
        put(world, node, using)
    with pytest.raises(PermitInvalid):
        store.told(subject, None, permit=storing, now=world.now)
    with pytest.raises(PermitInvalid):
        put(world, node, replace(storing, **wrong))
    with pytest.raises(PermitInvalid):
        store.told(subject, None, permit=replace(using, **wrong), now=world.now)


def put(world: Any, node: Any, permit: Permit) -> bool:
    """Keep an event under this permit."""
    event = ThingEvent(
        event="e9", device=Device.KIOSK, kind=Kind.BATTERY, value=5.0, at=int(world.now)
    )
    told = Told(conversation="c1", event=event)
    place = place_of(world.subject(CUSTOMER), "c1")
    return bool(node.room.things.store.put(place, told, permit=permit, now=world.now))


def ask(world: Any, node: Any, action: Action) -> Permit:
    """Ask the gate."""
    subject, things = world.subject(CUSTOMER), node.room.things
    request = UseRequest(
        node=node.node,
        action=action,
        purpose=Purpose.AGENT_HELP,
        subject=subject,
        modality=Modality.SIGNALS,
    )
    if action is Action.USE:
        facts = replace(request.facts, objective=things.context.described.serves)
        request = replace(request, use=Use.AGENT_HINT, facts=facts)
    found: Permit = node.gate.open(request, node.cache.standing(subject), node.cache.governance)
    return found
