"""The only door for nodes: a TLS proxy that lets `/v1/fleet/*`, `/v1/witness/*`, `/health` through.

The SuperLink serves its Control, Fleet and Runtime interfaces on one port, and Control asks
for no password. So the SuperLink listens on loopback and this process stands in front.
Everything else is answered 403 here and never reaches it. What witnesses of the coordinator's
log ask (`audit.witnessing`) goes to the coordinator's Unix socket instead. Bodies stream through
in both directions, bounded; nothing is stored. Each call is one JSON line: time, path, status,
bytes in, bytes out.

Its own process, and small: `python -m coordinator.gateway --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import httpx

from audit.errors import AuditError
from audit.serve import serve
from policies.clock import Clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAXIMUM_BODY_BYTES = 64 * 1024 * 1024
BODY_S, SLOWEST_BYTES_PER_S = 60.0, 16 * 1024
"""How long a body may take: so many seconds, and more for what came of it, at that rate."""
_FLEET = re.compile(r"/v1/fleet/[a-z0-9-]{1,64}")
"""One plain segment: no dots, escapes or second slash that two parsers could read two ways."""
_WITNESS = re.compile(
    r"/v1/witness/(request|cosignatures|add-checkpoint|add-keys|keys|[0-9a-f]{64}/(checkpoint|keys))"
)
_WITNESS_QUERY = re.compile(r"(old=[0-9]{1,19}(&size=[0-9]{1,19})?)?")
_HOP_BY_HOP = frozenset(
    {b"connection", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_PATH_SHOWN = 96
_EARLY = frozenset({403, 408, 413})
"""Answers to a body that is not read to its end."""


class _BodyTooLarge(Exception):  # noqa: N818
    """Stop reading a body that is over the limit."""


class _BodyTooSlow(Exception):  # noqa: N818
    """Stop waiting for a body that comes drop by drop and would hold a connection to Flower."""


class AccessLog:
    """Write one JSON line for each call, flushed, so that it can be read at any time."""

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self._file, self._clock = file, clock

    def write(self, *, path: str, status: int, bytes_in: int, bytes_out: int) -> None:
        """Append one line."""
        line = {
            "time": round(self._clock(), 3),
            "path": path[:_PATH_SHOWN],
            "status": status,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
        }
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()


@dataclass(slots=True)
class _Call:
    """One call in progress: what it is and how much has passed."""

    method: str
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    receive: Receive
    send: Send
    limit: int
    body_s: float
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    started: bool = field(default=False)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the request's body in pieces, up to the limit."""
        more, began = True, asyncio.get_running_loop().time()
        while more:
            due = began + self.body_s + self.bytes_in / SLOWEST_BYTES_PER_S
            try:
                async with asyncio.timeout_at(due):
                    message = await self.receive()
            except TimeoutError:
                raise _BodyTooSlow from None
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            self.bytes_in += len(chunk)
            if self.bytes_in > self.limit:
                raise _BodyTooLarge
            if chunk:
                yield chunk
            more = message.get("more_body", False)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status line and headers."""
        self.status, self.started = status, True
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the answer."""
        self.bytes_out += len(data)
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, text: str) -> None:
        """Send a whole short answer; nothing if the answer has begun."""
        if not self.started:
            data = text.encode() + b"\n"
            size = str(len(data)).encode()
            kind = [(b"content-type", b"text/plain"), (b"content-length", size)]
            early = [(b"connection", b"close")] if status in _EARLY else []
            await self.start(status, kind + early)
            await self.piece(data, more=False)


class Gateway:
    """The ASGI application: decide by path, then pass through or refuse."""

    def __init__(
        self,
        upstream: httpx.AsyncClient,
        log: AccessLog,
        *,
        witness: httpx.AsyncClient,
        limit: int = MAXIMUM_BODY_BYTES,
        body_s: float = BODY_S,
    ) -> None:
        self._upstream, self._witness = upstream, witness
        self._log, self._limit, self._body_s = log, limit, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call and log it."""
        if scope["type"] != "http":
            return  # neither WebSockets nor lifespan are served
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        call = _Call(
            method=scope["method"],
            path=raw.decode("ascii", errors="replace"),
            query=scope.get("query_string", b"").decode("ascii", errors="replace"),
            headers=[(k, v) for k, v in scope["headers"] if k.lower() not in _HOP_BY_HOP],
            receive=receive,
            send=send,
            limit=self._limit,
            body_s=self._body_s,
        )
        try:
            await self._route(call)
        finally:
            self._log.write(
                path=call.path,
                status=call.status,
                bytes_in=call.bytes_in,
                bytes_out=call.bytes_out,
            )

    async def _route(self, call: _Call) -> None:
        fleet = call.method == "POST" and _FLEET.fullmatch(call.path) is not None
        if fleet or (call.method == "GET" and call.path == "/health"):
            await self._pass_through(call, self._upstream, call.path)
        elif _is_witness(call):
            await self._pass_through(call, self._witness, f"{call.path}?{call.query}")
        else:
            await call.answer(403, "this gateway serves nodes only")

    async def _pass_through(self, call: _Call, to: httpx.AsyncClient, path: str) -> None:
        try:
            async with to.stream(
                call.method, path, headers=call.headers, content=call.body()
            ) as answer:
                headers = [(k, v) for k, v in answer.headers.raw if k.lower() not in _HOP_BY_HOP]
                await call.start(answer.status_code, headers)
                async for piece in answer.aiter_raw():
                    await call.piece(piece, more=True)
                await call.piece(b"", more=False)
        except _BodyTooLarge:
            await call.answer(413, f"a body may have {self._limit} bytes")
        except _BodyTooSlow:
            await call.answer(408, "the body came too slowly: send it again, at once")
        except httpx.TimeoutException:
            await call.answer(504, "the coordinator did not answer in time")
        except httpx.HTTPError:
            await call.answer(502, "the coordinator cannot be reached")


def _is_witness(call: _Call) -> bool:
    known = _WITNESS.fullmatch(call.path) and _WITNESS_QUERY.fullmatch(call.query)
    return call.method in {"GET", "POST"} and known is not None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coordinator.gateway", description=__doc__)
    parser.add_argument("--upstream", required=True, help="host:port of the SuperLink")
    for name in ("authority", "certificate", "private-key", "log", "socket"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    return parser.parse_args()


def main() -> None:
    """Serve until SIGTERM."""
    options = _arguments()
    upstream = httpx.AsyncClient(
        base_url=f"https://{options.upstream}",
        verify=ssl.create_default_context(cafile=options.authority),
        timeout=httpx.Timeout(60.0, connect=5.0),
        trust_env=False,
    )
    witness = httpx.AsyncClient(
        base_url="http://coordinator",
        transport=httpx.AsyncHTTPTransport(uds=str(options.socket)),
        timeout=httpx.Timeout(60.0, connect=5.0),
        trust_env=False,
    )
    with options.log.open("a", encoding="ascii") as file:
        try:
            serve(
                Gateway(upstream, AccessLog(file, time.time), witness=witness),
                host=options.host,
                port=options.port,
                certificate=options.certificate,
                private_key=options.private_key,
            )
        except AuditError as error:
            sys.exit(f"undertone gateway: {error}")


if __name__ == "__main__":
    main()
