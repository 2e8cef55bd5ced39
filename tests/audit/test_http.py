"""HTTP answers: problem documents of one line that repeat nothing of what was sent."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from email.message import EmailMessage

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import Message

from audit.errors import EvidenceUnavailable, KeyDestroyed, SignatureInvalid
from audit.http import BodyLimit, attachment, install_error_handlers
from policies.decision import Decision
from policies.errors import NotBuilt, Refused, UndertoneError
from policies.vocabulary import DecisionId, Digest, RuleId

SECRET = "Ann Miller is furious"  # noqa: S105 (what a customer said, not a password)
REFUSED = Refused(
    Decision(
        decision_id=DecisionId("d1"),
        allowed=False,
        rules=(RuleId("p06-no-consent"),),
        reasons=("No consent for this purpose.",),
        policy_digest=Digest("a" * 64),
        request_digest=Digest("b" * 64),
        standing_digest=Digest("c" * 64),
        decided_at=1,
    )
)
ERRORS: dict[str, Exception] = {
    "refused": REFUSED,
    "evidence": EvidenceUnavailable("the log is closed"),
    "destroyed": KeyDestroyed("gone"),
    "signature": SignatureInvalid("not signed"),
    "unbuilt": NotBuilt("voice"),
    "other": UndertoneError("x"),
    "unexpected": ValueError(SECRET),
}


class _Turn(BaseModel):
    text: str
    count: int


@pytest.fixture
def client() -> httpx.AsyncClient:
    """Return a client of a small app with every manner installed."""
    app = FastAPI()

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    @app.post("/turns")
    async def turns(turn: _Turn) -> dict[str, int]:
        return {"length": len(turn.text)}

    @app.post("/big/turns")
    async def big(turn: _Turn) -> dict[str, int]:
        return {"length": len(turn.text)}

    install_error_handlers(app, {KeyDestroyed: 410})
    app.add_middleware(BodyLimit, limit_bytes=200, by_prefix={"/big": 2000})
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("refused", 403),
        ("evidence", 503),
        ("destroyed", 410),
        ("signature", 401),
        ("unbuilt", 501),
        ("other", 400),
    ],
)
@pytest.mark.anyio
async def test_http_error_is_a_problem_document(
    client: httpx.AsyncClient, name: str, status: int
) -> None:
    """Each of our errors has its status and one line; the nearest class decides."""
    answer = await client.get(f"/raise/{name}")
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == str(ERRORS[name])


@pytest.mark.anyio
async def test_http_refusal_says_rules_and_reasons(client: httpx.AsyncClient) -> None:
    """A refused use is told which rules, in plain words."""
    answer = (await client.get("/raise/refused")).json()
    assert answer["rules"] == ["p06-no-consent"]
    assert answer["reasons"] == ["No consent for this purpose."]


@pytest.mark.anyio
async def test_http_unexpected_error_says_and_logs_no_content(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """An error nobody expected is an id to the user, type and id in the log, no message."""
    with caplog.at_level(logging.DEBUG):
        answer = await client.get("/raise/unexpected")
    assert answer.status_code == 500
    assert answer.json()["error_id"] in caplog.text
    assert "ValueError" in caplog.text
    for place in (answer.text, caplog.text):
        assert "Ann" not in place
        assert "Traceback" not in place


@pytest.mark.anyio
async def test_http_unexpected_error_is_a_page_to_a_browser(client: httpx.AsyncClient) -> None:
    """A person reads one line with the id, and finds the way back; nothing of what broke."""
    answer = await client.get("/raise/unexpected", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert re.search(r'alert">something broke here; name the error id [0-9a-f]{16} ', answer.text)
    assert 'href="/"' in answer.text
    assert "Ann" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"text": [SECRET], "count": 1},
        {"text": "x", "count": SECRET},
        {SECRET: 1},
        [SECRET],
        SECRET,
    ],
)
@pytest.mark.anyio
async def test_http_malformed_request_is_not_repeated(
    client: httpx.AsyncClient, body: object
) -> None:
    """Validation says which field is wrong, never what was in it."""
    answer = await client.post("/turns", json=body)
    assert answer.status_code == 422
    assert "Ann" not in answer.text
    broken = await client.post("/turns", content=f'{{"text": "{SECRET}'.encode())
    assert broken.status_code == 422
    assert "Ann" not in broken.text


@pytest.mark.anyio
async def test_http_body_limit_holds_by_length_and_while_it_arrives(
    client: httpx.AsyncClient,
) -> None:
    """Too large is 413 whether declared or streamed, with other limits by path."""

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * 100

    body = {"text": "x" * 300, "count": 1}
    assert (await client.post("/turns", json=body)).status_code == 413
    assert (await client.post("/turns", content=stream())).status_code == 413
    assert (await client.post("/big/turns", json=body)).json() == {"length": 300}
    small = await client.post("/turns", json={"text": "x", "count": 1})
    assert small.json() == {"length": 1}


@pytest.mark.anyio
async def test_http_body_that_never_ends_is_not_waited_for() -> None:
    """Who sends drop by drop gets 408 and holds no place; the app hears of nothing."""
    said: list[Message] = []
    drops = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        return drops.pop() if drops else await asyncio.Future()

    async def app(*_: object) -> None:
        raise AssertionError("half a body was passed on")

    async def send(message: Message) -> None:
        said.append(message)

    scope = {"type": "http", "path": "/turns", "headers": []}
    await BodyLimit(app, limit_s=0.01)(scope, receive, send)
    assert said[0]["status"] == 408
    assert b"send it again" in said[1]["body"]


@pytest.mark.anyio
async def test_http_unknown_path_and_method_are_problems_too(client: httpx.AsyncClient) -> None:
    """What the framework refuses looks the same."""
    for answer, status in (
        (await client.get("/none"), 404),
        (await client.get("/turns"), 405),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.anyio
async def test_http_nobody_is_sent_on_to_what_the_host_header_says(
    client: httpx.AsyncClient,
) -> None:
    """A slash too many is another address; behind a proxy the way on would be by plain http."""
    for path in ("/turns/", "//turns", "/raise/refused/"):
        answer = await client.get(path, headers={"host": "evil.example"})
        assert answer.status_code == 404
        assert "location" not in answer.headers


@pytest.mark.anyio
async def test_http_mistake_in_a_list_is_told_once() -> None:
    """What is wrong with every entry of a long list is one thing that is wrong."""
    app = FastAPI()
    install_error_handlers(app, {})

    @app.post("/lists")
    def lists(numbers: list[int]) -> int:
        return len(numbers)

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/lists", json=["no"] * 50)
    assert answer.status_code == 422
    assert len(answer.json()["fields"]) == 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("entry-7.tlog-proof", "entry-7.tlog-proof"),
        ("../../etc/x.csv", "_.._etc_x.csv"),
        ("a\"; filename*=UTF-8''b.exe", "a___filename__UTF-8__b.exe"),
        ("a\r\nset-cookie: b=1\r\n\r\n.csv", "a__set-cookie__b_1____.csv"),
        ("\u202egnp.exe\x00é\ud800%00.csv", "_gnp.exe____00.csv"),
        ("n" * 9_000 + ".csv", "n" * 116 + ".csv"),
    ],
)
def test_a_file_has_a_name_that_nobody_misreads(name: str, kept: str) -> None:
    """One header, one name, no folder, none that is hidden, and the ending that it should have."""
    told = EmailMessage()
    for header, value in attachment(name).items():
        told[header] = value.encode("ascii").decode()
    assert told.keys() == ["content-disposition"]
    assert told.get_content_disposition() == "attachment"
    assert told.get_filename() == kept


@pytest.fixture
def anyio_backend() -> str:
    """Run the async tests on asyncio."""
    return "asyncio"
