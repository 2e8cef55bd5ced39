"""Turns as they should not come: doubled, dated, of nobody known, thousands, cut short."""

from __future__ import annotations

from typing import Any

import pytest

from audit.events import EventKind
from client_node.conversations import Conversations
from models.conversation import STANDARD
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, opened, say
from tests.client_node.test_conversations import ANNA, KEEP, reading
from tests.client_node.test_interface import SAID
from tests.models.fakes import NOW

MANY = 10_000


def test_turn_with_a_time_of_its_own_is_refused(world: Any) -> None:
    """The node dates what it hears: a turn from the future or the past cannot say so."""
    node = angry_node(world, *HELP)
    for at in (world.now + 10**6, 0, "tomorrow"):
        answer = world.api(node).post("/v1/turns", json=SAID | {"at": at})
        assert answer.status_code == 422
        assert "at" in answer.json()["detail"]
    assert node.log.find(EventKind.DECISION) == []


def test_turn_that_comes_twice_warns_once(world: Any) -> None:
    """Doubled without a key it is two turns, each decided; the alert stays one."""
    node = angry_node(world, *HELP)
    turns = {say(world, node)["turn"] for _ in range(3)}
    assert len(turns) == 3
    assert len(opened(world, node)) == 1


def test_clock_that_goes_back_opens_nothing(world: Any) -> None:
    """Turns out of order for a clock that was set back: a standing from the future is no leave."""
    node = angry_node(world, *HELP)
    assert say(world, node)["answer"] == "reading"
    world.now -= 10_000
    answer = say(world, node)
    assert answer.get("answer") == "refused" or answer["status"] in {409, 503}


def test_what_nobody_knows_is_told_so(world: Any) -> None:
    """A conversation, a turn and a person that never were: empty, 404, refused; no traceback."""
    node = angry_node(world, *HELP)
    api = world.api(node)
    journey = api.post("/v1/journeys", json={"customer": CUSTOMER, "conversation": "never"})
    assert journey.status_code == 200
    assert "never" not in str(journey.json().get("moments", []))
    assert api.post("/v1/uses/agent_hint", json={"turn": "never"}).status_code == 404
    stranger = say(world, node, customer="a-stranger", conversation="never")
    assert stranger["answer"] == "refused"


def test_ten_thousand_turns_leave_no_more_than_a_few() -> None:
    """However long a conversation goes on, what is kept of its course is as large as before."""
    conversations = Conversations(rule=STANDARD, pause_s=10.0**6)
    for number in range(MANY):
        outlook = conversations.follow(
            "c", f"t{number}", reading(-0.5), permit=KEEP, subject=ANNA, now=NOW + 1
        )
    (kept,) = conversations._kept.values()
    assert outlook.turns == MANY
    assert len(outlook.because) <= 8
    assert len(repr(kept)) < 4_000


@pytest.mark.parametrize("away", [True, False])
def test_withdrawal_in_mid_sentence_keeps_nothing(
    world: Any, monkeypatch: Any, *, away: bool
) -> None:
    """Said while the turn is read, with the line or without: nothing is kept or told."""
    node = angry_node(world, *HELP, Purpose.TRAINING)
    redact = type(node.pipeline.redactor).redact

    def meanwhile(redactor: Any, text: str) -> Any:
        world.trust.away = away
        gone = frozenset(Purpose)
        world.trust.withdraw(world.standing(CUSTOMER, withdrawn=gone, erased=True), None)
        node.people.withdraw(CUSTOMER, None)
        return redact(redactor, text)

    with node.room.live.watch() as told, monkeypatch.context() as cut:
        cut.setattr(type(node.pipeline.redactor), "redact", meanwhile)
        answer = world.api(node).post("/v1/turns", json=SAID)
        assert answer.status_code == 409
        assert told.empty()
    assert node.vault.kept(world.subject(CUSTOMER)) == []
    assert opened(world, node) == []
    assert say(world, node)["answer"] == "refused"
