"""Another company's node cannot tell who is known here from who is not: words and work alike."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, event

from tests.consent.conftest import World

ASKED: dict[str, dict[str, Any]] = {
    "/v1/withdrawals": {"purpose": "service"},
    "/v1/objections": {"purposes": ["service"]},
    "/v1/restrictions": {"restricted": True},
    "/v1/consent-states": {},
    "/v1/requests": {"right": "access", "jurisdiction": "IE"},
}


def test_whoever_tries_links_waits_at_the_interface_as_at_the_pages(world: World) -> None:
    """Wrong tokens of every kind are one count by address; a right one is never kept waiting."""
    alice = world.grant("alice").json()["manage_token"]
    wrong, bearer = "x" * 43, {"Authorization": f"Bearer {'x' * 43}"}
    bodies = {path: said for path, said in ASKED.items() if path != "/v1/withdrawals"}
    tries: list[tuple[str, str, Any, dict[str, str]]] = [
        *(("POST", path, said | {"manage_token": wrong}, {}) for path, said in bodies.items()),
        ("POST", "/v1/confirmations", {"confirmation_token": wrong}, {}),
        ("GET", "/v1/requests/mine", None, bearer),
        ("GET", "/v1/requests/mine/package", None, bearer),
        ("GET", f"/consent/{wrong}/code.svg", None, {}),
        ("GET", f"/my/{wrong}", None, {}),
    ]

    def send(method: str, path: str, said: Any, headers: dict[str, str]) -> httpx.Response:
        return world.send(method, path, b"" if said is None else json.dumps(said).encode(), headers)

    answers = [send(*one) for one in itertools.islice(itertools.cycle(tries), 30)]
    assert {answer.status_code for answer in answers} == {404}
    send(*tries[0])
    for one in tries:
        told = send(*one)
        assert (told.status_code, int(told.headers["retry-after"]) > 0) == (429, True), one[1]
    body = {"manage_token": alice, "purpose": "training"}
    assert send("POST", "/v1/withdrawals", body, {}).status_code == 201
    assert world.send("GET", f"/my/{alice}").status_code == 200


@contextmanager
def _queries(folder: Path) -> Iterator[list[str]]:
    """Note what is asked of any store in a folder."""
    asked: list[str] = []

    def note(connection: Connection, _: object, statement: str, *_more: object) -> None:
        if str(folder) in str(connection.engine.url):
            asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", ASKED)
def test_another_companys_person_is_like_nobody(world: World, path: str) -> None:
    """Status, headers, words and what the stores are asked are those of a pseudonym of nobody."""
    world.grant("alice")
    seen = []
    for subject in ("warmp", "alice", "nobod"):
        with _queries(world.folder) as asked:
            answer = world.as_node("rival", "POST", path, ASKED[path] | {"subject": subject})
        seen.append((answer.status_code, dict(answer.headers), answer.text, sorted(asked)))
    _, known, unknown = seen
    assert known == unknown
    assert known[0] == 404
    assert known[3], "the stores were asked"
