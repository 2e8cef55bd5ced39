"""The AsyncAPI document: well formed, and true of every message that a running node sends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft7Validator, ValidationError

from client_node import client as typed
from client_node.asyncapi import SCHEMAS, SENT, document
from client_node.service import VERSION
from client_node.turn import Answer, AnswerKind, Ruling
from client_node.wire import answer_to_dict
from models.inference import WordWeight
from policies.vocabulary import DecisionId
from tests.client_node.conftest import API_KEY, World
from tests.client_node.test_alerts import CUSTOMER, HELP, served
from tests.client_node.test_socket import SAID, opened
from tests.client_node.test_things import BOTH, EVENT, allow
from tests.client_node.test_webhooks import Receiver, hooked, receiving

DOCUMENT = document(VERSION)


def check(channel: str, name: str, message: Any) -> None:
    """Hold a message against its schema in the document."""
    schema = DOCUMENT["components"]["messages"][f"{channel}.{name}"]["payload"]
    Draft7Validator({**schema, "components": DOCUMENT["components"]}).validate(message)


def references(value: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_document_is_of_its_form() -> None:
    """AsyncAPI 3.0: what must be there is, every reference leads somewhere, schemas are schemas."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        channel = operation["channel"]["$ref"].removeprefix("#/channels/")
        known = DOCUMENT["channels"][channel]["messages"]
        assert {m["$ref"].rpartition("/")[2] for m in operation["messages"]} <= set(known)
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Reading", typed.Reading),
        ("TurnReply", typed.TurnReply),
        ("CorrectionReply", typed.CorrectionReply),
    ],
)
def test_typed_client_and_document_say_the_same(name: str, shape: Any) -> None:
    """What the client's types require the document does; neither knows a field of its own."""
    told = {n: str(kind) for n, kind in shape.__annotations__.items()}
    assert set(SCHEMAS[name]["required"]) == {n for n in told if "NotRequired" not in told[n]}
    extra = {"why", "text_redacted"} if name == "TurnReply" else set()
    assert set(SCHEMAS[name]["properties"]) == shape.__annotations__.keys() | extra


def test_document_is_served(world: Any) -> None:
    """At /asyncapi.json, to anybody: it says nothing of anybody."""
    node = world.open()
    assert world.api(node).get("/asyncapi.json", headers={"Authorization": ""}).json() == DOCUMENT


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Yield the events of a stream."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_every_message_of_a_running_node_is_described(make_world: Callable[..., World]) -> None:
    """Socket, streams and webhooks of a node at work: each message fits, and each was seen."""
    seen = set[tuple[str, str]]()

    def see(channel: str, name: str, message: Any) -> None:
        check(channel, name, message)
        seen.add((channel, name))

    with receiving() as crm:
        world, node = hooked(make_world, crm)
        allow(world, BOTH, *HELP)
        node.keeper.poll()
        headers = {"Authorization": f"Bearer {API_KEY}"}
        with (
            served(node) as url,
            httpx.Client(base_url=url, headers=headers, timeout=30) as http,
            opened(url) as socket,
        ):
            panel = http.post("/v1/panel/sessions", json={"by": "mina"}).json()["panel"]
            own = {"Authorization": f"Bearer {panel.partition('#')[2]}"}
            with (
                http.stream("GET", "/v1/alerts/stream") as alerts,
                http.stream("GET", "/panel/api/stream", headers=own) as shown,
            ):
                streams = {"alerts": alerts.iter_lines(), "panel": shown.iter_lines()}
                for lines in streams.values():
                    assert next(lines) == ": watching"
                turn = work(socket, see)
                http.post("/v1/replies", json={"turn": turn, "topic": "delay"}).raise_for_status()
                signal(socket, see)
                webhooks(node, crm, see)
                correct(socket, turn, see)
                webhooks(node, crm, see)
                node.leave()
                for channel, lines in streams.items():
                    for name, message in events(lines):
                        see(channel, name, message)
    seldom = {("alerts", "lowered"), ("alerts", "behind"), ("panel", "behind")}
    assert seen | seldom == {(channel, name) for channel, found in SENT.items() for name in found}


def work(socket: Any, see: Callable[[str, str, Any], None]) -> str:
    """Ask what can be asked over the socket; return a turn that is kept."""
    wanted = {"use": "agent_hint", "show_redacted": True}
    socket.send('{"type": "watch"}')
    socket.send(json.dumps({"type": "turn", "id": "k1", "body": SAID | wanted}))
    socket.send(json.dumps({"type": "turn", "id": "k2", "body": SAID | {"text": ""}}))
    nobody = SAID | {"customer": "somebody-else", "conversation": "c2"}
    socket.send(json.dumps({"type": "turn", "id": "k3", "body": nobody}))
    socket.send("nonsense")
    found = [json.loads(socket.recv(30)) for _ in range(5)]
    for message in found:
        see("socket", message["type"], message)
    kinds = [message["type"] for message in found]
    assert sorted(kinds) == ["alert", "answer", "answer", "problem", "problem"]
    assert CUSTOMER not in json.dumps(found)
    return str(next(m["body"]["turn"] for m in found if m.get("id") == "k1"))


def signal(socket: Any, see: Callable[[str, str, Any], None]) -> None:
    """Send what a kiosk told: it is answered, and whoever watches is told."""
    for number in range(2):
        socket.send(json.dumps({"type": "signal", "id": f"s{number}", "body": EVENT}))
    found = [json.loads(socket.recv(30)) for _ in range(3)]
    for message in found:
        see("socket", message["type"], message)
    assert sorted(message["type"] for message in found) == ["answer", "answer", "thing"]
    assert CUSTOMER not in json.dumps(found)


def correct(socket: Any, turn: str, see: Callable[[str, str, Any], None]) -> None:
    """Say that the reading is wrong: the alert ends."""
    body = {"turn": turn, "label": None}
    socket.send(json.dumps({"type": "correction", "id": "k4", "body": body}))
    for _ in range(2):
        message = json.loads(socket.recv(30))
        see("socket", message["type"], message)


def webhooks(node: Any, crm: Receiver, see: Callable[[str, str, Any], None]) -> None:
    """Let the node tell its target."""
    node.webhooks.tick()
    for message in crm.told():
        see("webhook", message["type"], message)


def test_message_that_is_not_described_does_not_fit() -> None:
    """The schemas are strict: a field too many, one missing, a word that is none of the set."""
    alert = {"type": "alert", "body": {"alert": "a"}}
    closed = {"type": "alert.closed", "timestamp": "t", "data": {"alert": "a"}}
    check("webhook", "alert.closed", closed)
    for channel, name, wrong in (
        ("socket", "alert", alert),
        ("webhook", "alert.closed", closed | {"cue": "anger"}),
        ("webhook", "alert.closed", closed | {"data": {"alert": "a", "conversation": "c"}}),
    ):
        with pytest.raises(ValidationError):
            check(channel, name, wrong)


def test_words_that_weighed_are_described() -> None:
    """They are sent where they were asked for, which needs the real encoder."""
    ruling = Ruling(decision=DecisionId("d"), allowed=True)
    why = (WordWeight(words="late", weight=0.5, start=0, end=4),)
    answer = Answer(turn="t", answer=AnswerKind.READING, ruling=ruling, why=why)
    check("panel", "turn", {"conversation": "c", "answer": answer_to_dict(answer)})


def test_nothing_in_the_document_speaks_of_an_agents_score() -> None:
    """Nor of a customer's id: what is sent has pseudonyms."""
    words = set(re.findall(r'"([a-z_]+)":', json.dumps(SENT) + json.dumps(SCHEMAS)))
    assert not words & {"score", "agent", "customer", "text", "name"}
