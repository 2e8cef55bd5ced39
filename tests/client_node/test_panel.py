"""The panel's edges: no data without a session, a strict policy, no figure of an agent."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files
from typing import Any

import pytest
from pydantic import ValidationError

from client_node.errors import AccessDenied
from client_node.live import Live, LiveKind, Told
from client_node.panel.panel_api import PAGES
from client_node.panel.sessions import LASTS_S, PanelSessions
from client_node.queues import LASTS_S as QUEUE_LASTS_S
from client_node.queues import QueueView
from client_node.wire import QueueIn
from tests.client_node.test_alerts import HELP, angry_node, say

ROUTES = ("labels", "queues", "approvals", "stream")


def test_pages_are_fixed_and_strictly_framed(world: Any) -> None:
    """Every page has the policy, nothing inline, and no data; nobody frames it unless named."""
    node = angry_node(world, *HELP)
    say(world, node)
    for path, (name, _) in PAGES.items():
        answer = world.api(node).get(path, headers={"Authorization": ""})
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.content == (files("client_node.panel") / name).read_bytes()
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", answer.text)
        markup = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\("
        assert not re.search(markup, answer.text)


def test_named_systems_stand_in_the_policy(world: Any) -> None:
    """The operator's origins alone may frame the panel; what is no origin is refused."""
    node = angry_node(world, *HELP, panel_frames=("https://crm.example",))
    policy = world.api(node).get("/panel").headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://crm.example")
    for wrong in ("*", "https://a b", "https://x; script-src *", "https://x\n"):
        with pytest.raises(ValidationError):
            world.settings(panel_frames=(wrong,))


def test_nothing_is_told_without_a_session(world: Any) -> None:
    """No token, a wrong one, an integration's key and one whose shift is over get 401."""
    node = angry_node(world, *HELP)
    address = world.api(node).post("/v1/panel/sessions", json={"by": "mina"}).json()["panel"]
    token = address.partition("#")[2]
    good = {"Authorization": f"Bearer {token}"}
    assert world.api(node).get("/panel/api/queues", headers=good).status_code == 200
    for route in ROUTES:
        for wrong in ({"Authorization": ""}, {"Authorization": "Bearer x"}, {}):
            assert world.api(node).get(f"/panel/api/{route}", headers=wrong).status_code == 401
    assert world.api(node).get("/v1/status", headers=good).status_code == 401
    world.now += LASTS_S
    assert world.api(node).get("/panel/api/queues", headers=good).status_code == 401


def test_who_decides_is_whose_session_it_is(world: Any) -> None:
    """A page cannot name somebody else: the name comes with the session."""
    node = angry_node(world, *HELP)
    address = world.api(node).post("/v1/panel/sessions", json={"by": "mina"}).json()["panel"]
    headers = {"Authorization": f"Bearer {address.partition('#')[2]}"}
    turn = say(world, node)["turn"]
    waits = world.api(node).post("/v1/replies", json={"turn": turn, "topic": "delay"}).json()
    path = f"/panel/api/approvals/{waits['approval']}"
    world.api(node).post(f"{path}/show", json={"by": "otto"}, headers=headers)
    done = world.api(node).post(f"{path}/approve", json={"by": "otto"}, headers=headers).json()
    assert done["approved_by"] == "mina"


def test_sessions_are_bounded() -> None:
    """The oldest session makes place for one too many."""
    sessions = PanelSessions(clock=lambda: 0.0)
    first = sessions.open("mina")
    for _ in range(1_000):
        last = sessions.open("otto")
    assert sessions.find(f"Bearer {last}") == "otto"
    with pytest.raises(AccessDenied):
        sessions.find(f"Bearer {first}")


def test_view_of_queues_has_no_place_for_an_agent() -> None:
    """Totals of a queue, and nothing else."""
    assert {field.name for field in dataclasses.fields(QueueView)} == {
        "name",
        "waiting",
        "longest_wait_s",
        "idle",
        "reserved",
        "busy",
        "told_at",
    }


def test_view_forgets_what_was_not_told_again(world: Any) -> None:
    """A queue that its system does not tell any more is not shown as if it stood still."""
    node = angry_node(world, *HELP)
    node.room.queues.tell("a", world_queue())
    assert [view.name for view in node.room.queues.views()] == ["a"]
    world.now += QUEUE_LASTS_S
    assert node.room.queues.views() == []


def world_queue() -> Any:
    """Return the state of a queue in which nobody waits."""
    return QueueIn().state()


def test_onlooker_gets_no_history_and_is_ended_when_behind() -> None:
    """What came before is never told; one that does not read is told so at the end."""
    live = Live(most_unread=2)
    said = [Told(kind=LiveKind.TURN, body={"n": number}) for number in range(9)]
    live.tell(said[0])
    with live.watch() as told:
        for one in said[1:]:
            live.tell(one)
        assert [told.get_nowait() for _ in range(3)] == [*said[1:3], None]
        assert told.empty()


def test_words_of_the_customer_are_not_told(world: Any) -> None:
    """Onlookers get the answer without the redacted text, even where the caller asked for it."""
    node = angry_node(world, *HELP)
    with node.room.live.watch() as told:
        answer = say(world, node, show_redacted=True)
        seen = told.get_nowait()
    assert answer["text_redacted"] == "it is late again"
    assert "late again" not in str(seen)
