"""As a new user would: fifty conversations of the sample, live on the panel in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from audit.events import EventKind
from client_node.client import NodeClient
from client_node.service import NodeService, open_node
from deploy.play import agreed, chosen, play
from deploy.turns import Turn, sample_turns
from models.encoder import Encoder
from models.label_sets import label_sets
from models.release import public_release
from policies.vocabulary import Modality, Purpose, Use
from tests.browser import chromium
from tests.client_node.conftest import API_KEY, World
from tests.client_node.test_alerts import HELP, angry_node, served
from tests.client_node.test_things import BOTH, allow

CRM = '<!doctype html><title>CRM</title><iframe src="{src}" width="900" height="700"></iframe>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a real Chromium: this machine's, or the one that Playwright brought."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Return a page; what its console complains of fails the test."""
    context = browser.new_context()
    page, complaints = context.new_page(), list[str]()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.extend([said.text] * (said.type == "error")))
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert [said for said in complaints if "frame-ancestors" not in said] == []


@contextmanager
def running(node: NodeService, page: Any) -> Iterator[tuple[str, NodeClient]]:
    """Serve a node; yield its address and a branch's client. The page leaves before the node."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with served(node) as url, httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        try:
            yield url, NodeClient(http=http)
        finally:
            page.close()


def open_panel(page: Any, url: str, node: NodeClient, by: str = "mina") -> None:
    """Open the panel for somebody, and wait until it is live."""
    page.goto(url + node.panel(by))
    page.get_by_role("status").get_by_text("Live").wait_for()


@pytest.mark.parametrize("number", [9, pytest.param(50, marks=pytest.mark.slow)])
def test_conversations_are_seen_live(make_world: Any, page: Any, number: int) -> None:
    """Real encoder, shipped head, three branches: each conversation's card is on the panel."""
    wanted = chosen(sample_turns(), number)
    assert {turns[0].branch for turns in wanted} == {"shop", "telephone", "airline"}
    node = fresh_node(make_world, wanted)
    with running(node, page) as (url, client):
        open_panel(page, url, client)
        played = play(client, wanted)
        page.wait_for_function(f"document.querySelectorAll('#cards > li').length >= {number}")
        cards = page.locator("#cards > li")
        said, count = cards.locator(".cue").all_inner_texts(), cards.count()
    node.close()
    assert played.conversations == count == number
    assert played.read > 0
    assert all(
        text.startswith(("expressed cues of", "No cue was read", "Not read")) for text in said
    )
    assert any(text.startswith("expressed cues of") for text in said)
    assert played.turns == sum(map(len, wanted))
    closed = sum(Purpose.SERVICE not in turns[0].purposes for turns in wanted)
    assert sum(text.startswith("Not read") for text in said) >= closed


def fresh_node(make_world: Any, conversations: list[list[Turn]]) -> NodeService:
    """Open a node with the published encoder and the shipped head, and everybody's standing."""
    labels = tuple((label.name, label.family) for label in label_sets()["service"].labels)
    world: World = make_world(policy_changes={"labels": labels}, plan_changes={"labels": labels})
    for turns in conversations:
        purposes = agreed(turns[0])
        if purposes:
            standing = world.standing(turns[0].customer, *purposes, age=turns[0].age)
            world.trust.put(replace(standing, vulnerabilities=turns[0].vulnerabilities))
    encoder = Encoder.load()
    node = open_node(world.settings(), replace(world.parts(), encoder=encoder))
    release = public_release(labels, encoder.digest)
    assert release is not None
    node.releases.load(world.publish(world.coordinator_log(), release))
    return node


def test_correction_and_approval_by_keyboard(world: World, page: Any) -> None:
    """Without a mouse: to a card, this is wrong; to what waits, look, approve."""
    node = angry_node(world, *HELP)
    with running(node, page) as (url, client):
        open_panel(page, url, client)
        turn = client.turn("customer-4711", "c1", "it is late again", use="agent_hint")["turn"]
        card = page.locator("#cards > li")
        card.locator(".cue").get_by_text("expressed cues of frustrated (confidence").wait_for()
        assert card.locator(".hint").count() > 0
        assert card.get_attribute("data-alert") == "open"
        client.reply(turn, "delay")
        page.locator("#approvals > li").wait_for()
        page.keyboard.press("a")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator("#approvals pre").wait_for()
        text = page.locator("#approvals pre").inner_text()
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("Done").wait_for()
        page.keyboard.press("j")
        page.keyboard.press("w")
        page.keyboard.press("Enter")
        page.locator(".corrected").wait_for()
        assert client.approvals() == []
        assert client.use(Use.AGENT_HINT, turn)["because"].startswith("no cue")  # type: ignore[typeddict-item]
    assert "that is our mistake" in text
    step = node.log.find(EventKind.APPROVAL_STEP, limit=1)[0].event.fields
    assert (step["step"], step["by"]) == ("approved", "mina")


def test_what_a_thing_tells_is_context_and_no_cue(world: World, page: Any) -> None:
    """Live on the card, before a word is said and beside the cue; gone once it is not allowed."""
    node = angry_node(world, *HELP)
    allow(world, BOTH, *HELP)
    node.keeper.poll()
    event = {"device": "kiosk", "kind": "waited", "value": 240, "at": int(world.now), "event": "e"}
    with running(node, page) as (url, client):
        open_panel(page, url, client)
        client.signal("customer-4711", "c1", **event)
        card = page.locator("#cards > li")
        card.get_by_text("Nothing was said yet").wait_for()
        told = card.locator(".context").get_by_text("expressed nothing; a kiosk reported waited")
        told.wait_for()
        turn = client.turn("customer-4711", "c1", "it is late again")["turn"]
        card.get_by_text("expressed cues of frustrated").wait_for()
        told.wait_for()
        client.signal(
            "customer-4711", "c1", **event | {"event": "e2", "kind": "battery", "value": 9}
        )
        card.get_by_text("battery: 9 %").wait_for()
        assert "kiosk" not in card.locator(".cue").inner_text()
        client.reply(turn, "delay")
        card.locator(".draft").get_by_text("A reply about delay is drafted").wait_for()
        allow(world, frozenset({Modality.TEXT}), *HELP)
        node.keeper.poll()
        client.turn("customer-4711", "c1", "still late")
        told.wait_for(state="detached")


def test_names_in_the_crm_are_drawn_as_text(world: World, page: Any) -> None:
    """A conversation whose name is markup is shown as it is, and runs nothing."""
    node = angry_node(world, *HELP)
    name = "<img src=x onerror=document.title='run'>"
    with running(node, page) as (url, client):
        open_panel(page, url, client)
        client.turn("customer-4711", name, "it is late again")
        page.locator("#cards").get_by_text(name).wait_for()
        assert page.title() == "Undertone panel"
        assert page.locator("#cards img").count() == 0


class Crm(BaseHTTPRequestHandler):
    """A CRM's page, with whatever stands in its server's `src` in a frame."""

    def do_GET(self) -> None:
        """Answer the page."""
        body = CRM.format(src=getattr(self.server, "src", "")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def crm() -> Iterator[ThreadingHTTPServer]:
    """Run a CRM on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Crm) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("named", [True, False])
def test_panel_is_framed_by_named_systems_alone(world: World, page: Any, *, named: bool) -> None:
    """In a frame of the CRM that the operator named it is live; in another's it is not shown."""
    with crm() as server:
        origin = f"http://127.0.0.1:{server.server_address[1]}"
        node = angry_node(world, *HELP, panel_frames=(origin,) if named else ())
        with running(node, page) as (url, client):
            server.src = url + client.panel("mina")  # type: ignore[attr-defined]
            page.goto(origin)
            frame = page.frame_locator("iframe")
            if named:
                frame.get_by_role("status").get_by_text("Live").wait_for()
            else:
                page.wait_for_load_state("networkidle")
                assert frame.get_by_role("status").count() == 0


def test_supervisor_sees_queues_and_nobody(world: World, page: Any) -> None:
    """Totals of each queue, and no name or figure of anybody who works."""
    node = angry_node(world, *HELP)
    agents: list[dict[str, Any]] = [
        {"agent": "otto", "open": 1},
        {"agent": "mina"},
        {"agent": "ida", "reserved": True},
    ]
    told = {"now": 100, "agents": agents, "waiting": [{"call": "x", "since": 40}]}
    with running(node, page) as (url, client):
        client.http.put("/v1/queues/returns", json=told).raise_for_status()
        page.goto(url + client.panel("boss").replace("/panel", "/panel/queues"))
        page.locator("#queues tr").wait_for()
        row = page.locator("#queues tr").inner_text().split()
        text = page.locator("body").inner_text()
        for call in range(60):
            over = {"arrived_at": int(world.now) - call, "waited_s": 20, "handled_s": 240}
            client.http.post("/v1/queues/returns/calls", json=over).raise_for_status()
        page.get_by_role("button", name="Play").click()
        page.locator("#picture svg").wait_for()
        words = page.locator("#picture desc").text_content()
        lines = page.locator("#whatif-lines").inner_text()
    assert words.startswith("today: ")
    assert "what if: mean wait, s" not in lines  # a line a measure, under its plan
    assert "mean wait, s: " in lines
    assert row == ["returns", "1", "60", "s", "1", "1", "1"]
    assert not any(agent["agent"] in text for agent in agents)
