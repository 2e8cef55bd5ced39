"""The gateway lets nodes reach the fleet paths and nothing else, and counts every byte."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.gateway import AccessLog, Gateway
from coordinator.traffic import Traffic, TrafficMeter


class Upstream:
    """Stand in for the SuperLink: remember what came, and answer with a few bytes."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, httpx.Headers]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        body = await request.aread()
        self.seen.append((request.method, request.url.path, body, request.headers))
        return httpx.Response(200, content=_pieces(), headers={"x-flower": "1"})


async def _pieces() -> AsyncIterator[bytes]:
    yield b"hel"
    yield b"lo"


async def _ask(gateway: Gateway, method: str, path: str, body: Any, headers: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, content=body, headers=headers)


def ask(
    upstream: Upstream,
    method: str,
    path: str,
    *,
    body: Any = None,
    limit: int = 1000,
    witness: Upstream | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[httpx.Response, dict[str, Any]]:
    """Ask the gateway once; return the answer and the line of its log."""
    log = io.StringIO()
    own = witness or Upstream()

    async def once() -> httpx.Response:
        transport = httpx.MockTransport(upstream)
        async with (
            httpx.AsyncClient(transport=transport, base_url="https://link") as client,
            httpx.AsyncClient(transport=httpx.MockTransport(own), base_url="http://own") as centre,
        ):
            gateway = Gateway(client, AccessLog(log, lambda: 12.5), witness=centre, limit=limit)
            return await _ask(gateway, method, path, body, headers)

    answer = asyncio.run(once())
    return answer, json.loads(log.getvalue())


def test_fleet_call_passes_with_its_body_and_headers() -> None:
    """A node's call reaches the SuperLink whole, and its answer comes back whole."""
    upstream = Upstream()
    answer, line = ask(
        upstream, "POST", "/v1/fleet/pull-messages", body=b"abc", headers={"flwr-signature": "s"}
    )
    assert (answer.status_code, answer.content, answer.headers["x-flower"]) == (200, b"hello", "1")
    method, path, body, headers = upstream.seen[0]
    assert (method, path, body, headers["flwr-signature"]) == (
        "POST",
        "/v1/fleet/pull-messages",
        b"abc",
        "s",
    )
    assert line == {
        "time": 12.5,
        "path": "/v1/fleet/pull-messages",
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 5,
    }


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/docs",
        "/openapi.json",
        "/v1/fleet",
        "/v1/fleet/",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/a/b",
        "/V1/FLEET/pull-messages",
        "//v1/fleet/pull-messages",
        "/v1/fleetx/pull-messages",
        "/v1/witness",
        "/v1/witness/",
        "/v1/witness/../courier/next",
        "/v1/witness/request/",
        "/courier/next",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_other_path_never_reaches_the_superlink(method: str, path: str) -> None:
    """Everything but the fleet's own calls is refused here."""
    upstream = Upstream()
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": [],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def once() -> None:
        transport = httpx.MockTransport(upstream)
        async with httpx.AsyncClient(transport=transport, base_url="https://link") as client:
            log = AccessLog(io.StringIO(), lambda: 0.0)
            await Gateway(client, log, witness=client)(scope, receive, send)

    asyncio.run(once())
    assert sent[0]["status"] == 403
    assert upstream.seen == []


def test_fleet_path_is_for_post_only() -> None:
    """A fleet path with another method is refused too."""
    upstream = Upstream()
    assert ask(upstream, "GET", "/v1/fleet/pull-messages")[0].status_code == 403
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/witness/request?old=7"),
        ("GET", "/v1/witness/request?old=7&size=9"),
        ("GET", f"/v1/witness/{'0a' * 32}/checkpoint"),
        ("POST", "/v1/witness/cosignatures"),
        ("POST", "/v1/witness/add-checkpoint"),
    ],
)
def test_witness_call_reaches_the_coordinator_and_not_the_superlink(method: str, path: str) -> None:
    """What a witness asks goes to the coordinator's own socket, query and body with it."""
    upstream, own = Upstream(), Upstream()
    answer, line = ask(upstream, method, path, body=b"x", witness=own)
    assert (answer.status_code, line["status"]) == (200, 200)
    assert upstream.seen == []
    assert [(m, p, b) for m, p, b, _ in own.seen] == [(method, path.partition("?")[0], b"x")]


@pytest.mark.parametrize("query", ["old=7&evil=1", "old=7%00", "size=3", "old=-1"])
def test_witness_call_with_another_query_reaches_nobody(query: str) -> None:
    """Only the two numbers that the call has go through."""
    upstream, own = Upstream(), Upstream()
    answer, _ = ask(upstream, "GET", f"/v1/witness/request?{query}", witness=own)
    assert answer.status_code == 403
    assert upstream.seen == own.seen == []


@pytest.mark.parametrize("streamed", [False, True])
def test_body_beyond_the_limit_is_cut_off(*, streamed: bool) -> None:
    """A body is refused as soon as it is too large, announced or not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    body: Any = pieces() if streamed else b"x" * 10_000
    answer, line = ask(Upstream(), "POST", "/v1/fleet/push-object", body=body, limit=1000)
    assert (answer.status_code, line["status"]) == (413, 413)


def test_body_drop_by_drop_gives_its_place_back() -> None:
    """Who sends half a body and waits holds no connection to the SuperLink; one that flows does."""
    said: list[Any] = []

    async def once(pieces: list[bytes], *, body_s: float) -> Any:
        async def receive() -> Any:
            if not pieces:
                return await asyncio.Future()
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": piece != b"last"}

        async def send(message: Any) -> None:
            said.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/fleet/push-object", "headers": []}
        transport = httpx.MockTransport(Upstream())
        async with httpx.AsyncClient(transport=transport, base_url="https://link") as client:
            log = AccessLog(io.StringIO(), lambda: 1.0)
            gateway = Gateway(client, log, witness=client, body_s=body_s)
            await gateway(scope, receive, send)
        return said[0]["status"], dict(said[0]["headers"]).get(b"connection")

    assert asyncio.run(once([b"half"], body_s=0.05)) == (408, b"close")
    said.clear()
    flowing = [b"x" * 64 * 1024] * 4 + [b"last"]
    assert asyncio.run(once(flowing, body_s=0.05)) == (200, None)


def test_unreachable_superlink_is_a_clear_answer() -> None:
    """A node learns that the coordinator is away, not why."""

    class Down(Upstream):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("refused at /secret/path", request=request)

    answer, line = ask(Down(), "POST", "/v1/fleet/pull-messages", body=b"a")
    assert (answer.status_code, line["status"]) == (502, 502)
    assert "secret" not in answer.text


def test_traffic_is_added_up_from_the_log(tmp_path: Path) -> None:
    """Totals grow with the log, count refusals, and leave a half-written line for later."""
    path = tmp_path / "gateway.jsonl"
    meter = TrafficMeter(path)
    assert meter.read() == Traffic()
    with path.open("w", encoding="ascii") as file:
        log = AccessLog(file, iter([1.0, 2.0, 3.0]).__next__)
        log.write(path="/v1/fleet/a", status=200, bytes_in=10, bytes_out=20)
        log.write(path="/docs", status=403, bytes_in=1, bytes_out=2)
        assert meter.read() == Traffic(calls=2, refused=1, bytes_in=11, bytes_out=22)
        file.write('{"time":')
        file.flush()
        assert meter.read().calls == 2
    assert meter.between(1.5, 2.5) == Traffic(calls=1, refused=1, bytes_in=1, bytes_out=2)
