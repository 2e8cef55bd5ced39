"""Use 1, frustration early: raised once, explained, taken back, and never without a permit."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from audit.events import EventKind
from audit.serve import Listener, serve_all
from client_node.alerts import Alert, Alerts, AlertState
from client_node.api import MAX_BODY_BYTES, create_app
from client_node.conversations import place_of
from client_node.errors import TooManyWatchers
from client_node.service import NodeService
from models.conversation import Outlook, Trend
from policies.errors import PolicyUnavailable
from policies.vocabulary import DecisionId, Purpose, SubjectId
from tests.client_node.conftest import API_KEY

CUSTOMER = "customer-4711"
FAIRLY_ANGRY = 0.0266  # of the weights that always read anger: it is then .68 likely
HELP = (Purpose.SERVICE, Purpose.AGENT_HELP)
PLACE = place_of(SubjectId("anna"), "c1")
ALERT = Alert(
    alert="a1",
    state=AlertState.RAISED,
    subject=SubjectId("anna"),
    conversation="c1",
    decision=DecisionId("d1"),
    raised_at=0.0,
    outlook=Outlook(
        trend=Trend.WORSENING, silent=None, warning=True, level=0.5, risk=None, turns=2, because=()
    ),
)


def angry_node(world: Any, *purposes: Purpose, **changed: Any) -> NodeService:
    """Open a node that reads everything as anger."""
    world.trust.put(world.standing(CUSTOMER, *purposes))
    node: NodeService = world.open(**changed)
    load(world, node, world.angry_weights())
    return node


def load(world: Any, node: NodeService, weights: Any, number: int = 1) -> None:
    """Put a release in force."""
    if not hasattr(world, "centre"):
        world.centre = world.coordinator_log()
    node.releases.load(world.publish(world.centre, world.release(number, weights=weights)))


def say(world: Any, node: NodeService, **changed: Any) -> Any:
    """Send a turn; return its answer."""
    said = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"} | changed
    return world.api(node).post("/v1/turns", json=said).json()


def opened(world: Any, node: NodeService) -> list[Any]:
    """Return the open alerts."""
    return list(world.api(node).get("/v1/alerts").json()["alerts"])


def test_alert_is_raised_once_and_says_why(world: Any) -> None:
    """The first turn at the level raises the alert, with the turns it rests on; more add none."""
    node = angry_node(world, *HELP)
    first = say(world, node)
    assert first["alert"]["answer"] == "done"
    for _ in range(5):
        assert "alert" not in say(world, node)
    (alert,) = opened(world, node)
    assert alert["alert"] == first["alert"]["alert"]
    assert alert["decision"] == first["alert"]["decision"]
    assert alert["conversation"] == "c1"
    assert alert["says"].startswith("expressed cues")
    assert [why["turn"] for why in alert["because"]] == [first["turn"]]


def test_alert_is_lowered_when_the_cues_ease_and_not_before(world: Any) -> None:
    """Between the two levels an alert stays; below the lower one it closes, and may come back."""
    node = angry_node(world, *HELP)
    for _ in range(4):
        say(world, node)
    load(world, node, -world.angry_weights(), number=2)  # now everything reads as pleased
    seen = []
    for _ in range(6):
        level = say(world, node)["conversation"]["level"]
        seen.append((level, len(opened(world, node))))
    assert all(count == (level >= 0.15) for level, count in seen)
    assert {level >= 0.15 for level, _ in seen} == {True, False}
    load(world, node, world.angry_weights(), number=3)
    for _ in range(12):
        say(world, node)
    assert len(opened(world, node)) == 1


def test_alert_needs_a_consent_that_names_help_to_agents(world: Any) -> None:
    """Consent to service alone reads the turn and raises nothing; the answer says what lacks."""
    node = angry_node(world, Purpose.SERVICE)
    refused = say(world, node)["alert"]
    assert refused["answer"] == "refused"
    assert "r04-no-consent" in refused["rules"]
    assert refused["would_need"] == [
        ["the person agrees, by a clear act, to this purpose and kind of data"]
    ]
    assert opened(world, node) == []


def test_alert_waits_for_a_reading_that_is_sure(world: Any) -> None:
    """A reading that abstains raises nothing, whatever the level (rule 22)."""
    world.trust.put(world.standing(CUSTOMER, *HELP))
    node: NodeService = world.open()
    unsure = world.release(1, weights=world.angry_weights() / 10)
    node.releases.load(world.publish(world.coordinator_log(), replace(unsure, abstain_below=0.99)))
    answer = say(world, node)
    assert (answer["answer"], answer["conversation"]["warning"]) == ("abstained", True)
    assert "alert" not in answer
    assert opened(world, node) == []


def test_alert_asks_more_than_a_likeliest_label(world: Any) -> None:
    """A label likelier than not is a reading, and not yet sure enough of a negative family."""
    world.trust.put(world.standing(CUSTOMER, *HELP))
    node: NodeService = world.open(warn_at=0.2)
    fair = world.release(1, weights=world.angry_weights() * FAIRLY_ANGRY)
    node.releases.load(world.publish(world.coordinator_log(), fair))
    answer = say(world, node)
    assert answer["reading"]["confidence"] == pytest.approx(0.68, abs=0.01)
    assert (answer["answer"], answer["conversation"]["warning"]) == ("reading", True)
    assert "alert" not in answer


@pytest.mark.parametrize("how", ["withdrawal", "refusal", "pause"])
def test_alert_ends_with_the_leave_to_keep(world: Any, how: str) -> None:
    """A withdrawal, a closed gate and a pause each take the alert back."""
    node = angry_node(world, *HELP)
    say(world, node)
    assert len(opened(world, node)) == 1
    world.now += 1 if how == "withdrawal" else 3600
    if how == "withdrawal":
        gone = world.standing(CUSTOMER, withdrawn=frozenset({Purpose.SERVICE}))
        world.trust.withdraw(gone, Purpose.SERVICE)
    if how == "refusal":
        assert say(world, node)["answer"] == "refused"
    else:
        node.keeper.poll()
        node.keeper._also()
    assert opened(world, node) == []


def test_alert_of_a_person_who_withdraws_in_mid_sentence_is_not_opened(world: Any) -> None:
    """A permit from before the withdrawal opens nothing after it."""
    node = angry_node(world, *HELP)
    followed = node.pipeline.conversations
    through = node.pipeline.gate.open

    def withdrawn_meanwhile(*given: Any) -> Any:
        permit = through(*given)
        followed.withdraw([world.subject(CUSTOMER)], now=world.now)
        return permit

    node.pipeline.gate.open = withdrawn_meanwhile  # type: ignore[assignment]
    said = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"}
    assert world.api(node).post("/v1/turns", json=said).status_code == 409
    assert opened(world, node) == []


def test_alert_is_a_decision_on_record(world: Any) -> None:
    """Each alert has its decision in the node's log: a use, for help to agents."""
    node = angry_node(world, *HELP)
    decision = say(world, node)["alert"]["decision"]
    logged = [entry.event.fields for entry in node.log.find(EventKind.DECISION, limit=10)]
    (found,) = [fields for fields in logged if fields["decision_id"] == decision]
    assert (found["use"], found["purpose"]) == ("agent_hint", "agent_help")


def test_alert_does_not_stand_in_the_way_of_the_turn(world: Any) -> None:
    """Where the gate cannot answer for the alert, the turn is answered and the alert waits."""
    node = angry_node(world, *HELP)
    through = node.pipeline.uses.gate.open

    def away(*_: Any) -> Any:
        raise PolicyUnavailable("away")

    node.pipeline.uses.gate.open = away  # type: ignore[assignment]
    assert say(world, node)["answer"] == "reading"
    node.pipeline.uses.gate.open = through  # type: ignore[method-assign]
    assert say(world, node)["alert"]["answer"] == "done"


def test_watcher_gets_what_is_open_then_each_change_once() -> None:
    """A late watcher is told of the open alert; what ended before is never told again."""
    alerts = Alerts()
    alerts.open(PLACE, ALERT)
    with alerts.watch() as told:
        alerts.open(PLACE, ALERT)
        alerts.close(AlertState.LOWERED, lambda place: place == PLACE)
        alerts.close(AlertState.LOWERED, lambda place: place == PLACE)
        states = [getattr(told.get_nowait(), "state", None) for _ in range(2)]
        assert states == ["raised", "lowered"]
        assert told.empty()
    with alerts.watch() as told:
        assert told.empty()


def test_watcher_that_is_behind_is_ended() -> None:
    """Nothing grows for a watcher that does not read; it is told so at the end."""
    alerts = Alerts(most_unread=3)
    with alerts.watch() as told:
        for number in range(50):
            alerts.open(place_of(SubjectId("anna"), str(number)), ALERT)
        assert told.qsize() == 4
        assert [told.get_nowait() for _ in range(4)][-1] is None


def test_watchers_are_bounded() -> None:
    """The one too many is refused, and a place comes free when one leaves."""
    alerts = Alerts()
    with ExitStack() as held:
        for _ in range(64):
            held.enter_context(alerts.watch())
        with pytest.raises(TooManyWatchers):
            held.enter_context(alerts.watch())
    with alerts.watch() as told:
        assert isinstance(told, queue.Queue)


@contextmanager
def served(node: NodeService) -> Iterator[str]:
    """Serve a node on loopback; yield its address."""
    stop, ready, found = threading.Event(), threading.Event(), []

    def run() -> None:
        def here(addresses: list[str]) -> None:
            found.extend(addresses)
            ready.set()

        listener = Listener(
            app=create_app(node), leaving=node.leave, largest_message_bytes=MAX_BODY_BYTES
        )
        serve_all([listener], on_ready=here, stop=stop)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join()


def test_alerts_arrive_as_server_sent_events(world: Any) -> None:
    """Over a real connection the alert comes as `raised`, and as `ended` when the gate closes."""
    node = angry_node(world, *HELP)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with served(node) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        with client.stream("GET", "/v1/alerts/stream") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == ": watching"
            said = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"}
            answer = client.post("/v1/turns", json=said).json()
            got = [next(line for line in lines if line) for _ in range(3)]
            assert got[:2] == ["event: raised", f"id: {answer['alert']['alert']}"]
            assert json.loads(got[2].removeprefix("data: "))["conversation"] == "c1"
            world.now += 3600
            client.post("/v1/turns", json=said)
            assert next(line for line in lines if line) == "event: ended"
        denied = client.get("/v1/alerts/stream", headers={"Authorization": "Bearer x"})
        assert denied.status_code == 401


def test_open_stream_ends_with_the_node(world: Any) -> None:
    """A node that stops tells its watchers so; nothing waits for a grace to be over."""
    node = angry_node(world, *HELP)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with ExitStack() as running, ExitStack() as watching:
        url = running.enter_context(served(node))
        client = watching.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30))
        stream = watching.enter_context(client.stream("GET", "/v1/alerts/stream"))
        lines = stream.iter_lines()
        assert next(lines) == ": watching"
        stopping = threading.Thread(target=running.close)
        stopping.start()
        assert [line for line in lines if line] == ["event: leaving", "data: {}"]
        stopping.join()
