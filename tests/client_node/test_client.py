"""The typed client: sent again with the same key, never done twice, and a problem is one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from client_node.client import MOST_TRIES, NodeClient
from client_node.errors import NodeProblem
from deploy.play import chosen, consents, main
from deploy.turns import sample_turns
from tests.client_node.conftest import API_KEY
from tests.client_node.test_alerts import HELP, angry_node, served


def client(answer: Callable[[httpx.Request], httpx.Response], waits: list[float]) -> NodeClient:
    """Return a client of a node that answers so."""
    http = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://node")
    return NodeClient(http=http, pause=waits.append)


@pytest.mark.parametrize("first", ["busy", "broken"])
def test_client_sends_again_with_the_same_key(first: str) -> None:
    """A busy node is asked again after its seconds, a broken line after a while: one key."""
    keys: list[str] = []
    waits: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) > 1:
            return httpx.Response(200, json={"turn": "t"})
        if first == "broken":
            raise httpx.ReadError("x")
        return httpx.Response(429, json={"detail": "busy"}, headers={"Retry-After": "3"})

    assert client(answer, waits).turn("c", "x", "hello")["turn"] == "t"
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert waits == ([3.0] if first == "busy" else [0.2])


def test_client_gives_up_and_says_why() -> None:
    """After a few tries the node's own line is the error, without what was sent."""
    waits: list[float] = []

    def busy(_: httpx.Request) -> httpx.Response:
        return httpx.Response(429, json={"detail": "busy"}, headers={"Retry-After": "1"})

    with pytest.raises(NodeProblem, match=r"/v1/turns: 429: busy") as problem:
        client(busy, waits).turn("anna", "x", "my secret")
    assert len(waits) == MOST_TRIES - 1
    assert "anna" not in str(problem.value)
    assert "secret" not in str(problem.value)


def test_client_does_not_send_a_refusal_again() -> None:
    """A problem without Retry-After is told at once."""
    asked: list[bytes] = []

    def bad(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(422, content=b"<html>")

    with pytest.raises(NodeProblem, match="no reason was given"):
        client(bad, []).turn("c", "x", "hello")
    assert len(asked) == 1


def test_play_needs_a_node_and_a_key(tmp_path: Path, capsys: Any) -> None:
    """A missing key file and a node that is not there are one line and exit code 1."""
    assert main(["--node", "http://127.0.0.1:9", "--key-file", str(tmp_path / "none")]) == 1
    (tmp_path / "key").write_text("k", encoding="utf-8")
    options = ["--settle", "0", "--pause", "0", "--conversations", "1"]
    where = ["--node", "http://127.0.0.1:9", "--key-file", str(tmp_path / "key")]
    assert main([*where, *options]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.startswith("play: ") for line in said] == [True, True]


def test_play_against_a_real_node(world: Any, tmp_path: Path, capsys: Any) -> None:
    """The program records consents, opens a panel, plays, and prints what was said."""
    wanted = chosen(sample_turns(), 3)
    node = angry_node(world, *HELP)
    for turns in wanted:
        world.trust.put(world.standing(turns[0].customer, *HELP))
    node.keeper.poll()
    (tmp_path / "key").write_text(API_KEY, encoding="utf-8")
    with served(node) as url:
        where = ["--node", url, "--key-file", str(tmp_path / "key")]
        assert main([*where, "--conversations", "3", "--settle", "0", "--pause", "0"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["turns"] == found["read"] == sum(map(len, wanted))
    assert found["hints"] == found["turns"]
    assert found["alerts"] == 3
    assert "/panel#" in err
    assert [path for path, _ in world.trust.received][-1].startswith("/v1/")


def test_nobody_is_played_who_did_not_agree() -> None:
    """A person of the sample without any consent is granted none, and each stands once."""
    wanted = chosen(sample_turns(), 150)
    granted = consents(wanted, "a" * 64)
    people = {turns[0].customer: turns[0].purposes for turns in wanted}
    assert sorted(g["customer"] for g in granted) == sorted(p for p, g in people.items() if g)


def test_minor_of_the_sample_has_a_guardian() -> None:
    """Whoever is a minor agrees by a verified guardian; a trust service takes nothing else."""
    granted = consents(chosen(sample_turns(), 150), "a" * 64)
    minors = [said for said in granted if said["age"] == "minor"]
    assert minors
    assert all(said["guardian"]["verified"] for said in minors)
    assert not any("guardian" in said for said in granted if said["age"] != "minor")
