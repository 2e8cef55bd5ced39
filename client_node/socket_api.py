"""The branch's interface on one connection: turns in, answers and news out (`/v1/socket`).

A message asks what the HTTP interface would be asked, and goes through the very same application:
key, limits, back-pressure, idempotency (`id` is the key) and refusals are one for both.

    in    {"type": "turn" | "correction" | "signal", "id": KEY, "body": {...}}   {"type": "watch"}
    out   {"type": "answer", "id", "status", "replayed", "body"}
          {"type": "problem", "id", "status", "body"}     body is a problem document (RFC 9457)
          {"type": "alert", "body"}                       after "watch": open ones first
          {"type": "thing", "body"}                       after "watch": what a thing told

What one conversation says is done in its order, different conversations side by side, at most
`MOST_UNDER_WAY` at once: beyond that nothing more is read, so that the sender waits. Closed with
1003 for bytes, 1008 without a valid key, 1009 for a message too large, 1012 when the node stops,
and 1013 for a client that does not read (what it asked is done, and answered from memory when it
asks again), one too many, or after too many wrong keys.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import APIRouter, WebSocket
from starlette.types import ASGIApp, Message

from audit.errors import TooManyAttempts
from audit.http import address_of, problem
from client_node.alerts import Alert
from client_node.errors import AccessDenied, TooManyWatchers
from client_node.idempotency_api import LONGEST_KEY
from client_node.live import LiveKind, Told
from client_node.service import NodeService
from client_node.uses.frustration import alert_to_dict

PATHS = {"turn": "/v1/turns", "correction": "/v1/corrections", "signal": "/v1/signals"}
MOST_UNDER_WAY = 16
MOST_UNSENT = 256
MOST_SOCKETS = 64
SEND_S = 30.0
LOOK_S = 0.1
UNREADABLE, DENIED, BEHIND = 1003, 1008, 1013
FIRST_ERROR = 400
_Told = TypeVar("_Told")


def socket_router(service: NodeService, app: ASGIApp) -> APIRouter:
    """Return the route; `app` is the application that answers what is asked."""
    router, sockets = APIRouter(), set[Connection]()

    @router.websocket("/v1/socket")
    async def socket(websocket: WebSocket) -> None:
        authorization = websocket.headers.get("authorization")
        try:
            service.keys.integration(authorization, address=address_of(websocket))
        except (AccessDenied, TooManyAttempts) as error:
            code = DENIED if isinstance(error, AccessDenied) else BEHIND
            await _turn_away(websocket, code, str(error))
            return
        if len(sockets) >= MOST_SOCKETS:
            await _turn_away(websocket, BEHIND, f"{MOST_SOCKETS} sockets are open: close one first")
            return
        connection = Connection(
            websocket=websocket,
            ask=lambda path, key, body: ask(app, authorization or "", path, key, body),
            watch=lambda held: (
                held.enter_context(service.pipeline.conversations.alerts.watch()),
                held.enter_context(service.room.live.watch()),
            ),
        )
        sockets.add(connection)
        try:
            await connection.run()
        finally:
            sockets.discard(connection)

    return router


async def _turn_away(websocket: WebSocket, code: int, reason: str) -> None:
    """Say why there is no connection; nothing was read."""
    await websocket.accept()
    await websocket.close(code, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: Any


Watched = tuple[queue.Queue[Alert | None], queue.Queue[Told | None]]
"""What a watcher is told from: alerts, and what comes about."""


@dataclass(eq=False, slots=True, kw_only=True)
class Connection:
    """One connection, from its first message to its last."""

    websocket: WebSocket
    ask: Callable[[str, str, Any], Any]
    watch: Callable[[ExitStack], Watched]
    send_s: float = SEND_S
    out: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(MOST_UNSENT))
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_UNDER_WAY))
    last: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    held: ExitStack = field(default_factory=ExitStack)
    watching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer until either side ends it; what was begun is finished."""
        await self.websocket.accept()
        reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, sending, self.watching):
                if task is not None:
                    task.cancel()
            self.held.close()
            await self._finish()

    async def _finish(self) -> None:
        """Let what is under way end, with nobody left to tell."""
        while self.last:
            while not self.out.empty():
                self.out.get_nowait()
            await asyncio.wait(set(self.last.values()), timeout=LOOK_S)

    async def _read(self) -> None:
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is None:
                await self.websocket.close(UNREADABLE, "send text, not bytes")
                return
            await self._take(message["text"])

    async def _take(self, text: str) -> None:
        said = _parsed(text)
        if said is None:
            await self.out.put(_malformed())
        elif said["type"] == "watch":
            await self._watch()
        else:
            await self.slots.acquire()
            conversation = str(said["body"].get("conversation", ""))
            before = self.last.get(conversation)
            task = asyncio.create_task(self._answer(said, conversation, before))
            self.last[conversation] = task

    async def _answer(
        self, said: dict[str, Any], conversation: str, before: asyncio.Task[None] | None
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            found: Answered = await self.ask(PATHS[said["type"]], said["id"], said["body"])
            await self.out.put(_told(said["id"], found))
        finally:
            self.slots.release()
            if self.last.get(conversation) is asyncio.current_task():
                del self.last[conversation]

    async def _watch(self) -> None:
        if self.watching is not None:
            return
        try:
            watched = self.watch(self.held)
        except TooManyWatchers as error:
            body = json.loads(bytes(problem(429, "Too many watchers", str(error)).body))
            await self.out.put({"type": "problem", "id": None, "status": 429, "body": body})
            return
        self.watching = asyncio.create_task(self._news(watched))

    async def _news(self, watched: Watched) -> None:
        alerts, live = watched
        while True:
            found = [*_waiting(alerts), *_waiting(live)]
            for one in found:
                if one is None:
                    await self.websocket.close(BEHIND, "news was not read in time: come again")
                    return
                if isinstance(one, Alert):
                    await self.out.put({"type": "alert", "body": alert_to_dict(one)})
                elif one.kind is LiveKind.THING:
                    await self.out.put({"type": "thing", "body": dict(one.body)})
            if not found:
                await asyncio.sleep(LOOK_S)

    async def _send(self) -> None:
        while True:
            told = json.dumps(await self.out.get())
            try:
                await asyncio.wait_for(self.websocket.send_text(told), self.send_s)
            except TimeoutError:
                with suppress(TimeoutError, RuntimeError):
                    closing = self.websocket.close(BEHIND, "answers were not read in time")
                    await asyncio.wait_for(closing, LOOK_S)
                return
            except Exception:  # noqa: BLE001 (gone: the reader hears of it too)
                return


async def ask(app: ASGIApp, authorization: str, path: str, key: str, body: Any) -> Answered:
    """Ask the application as a POST would."""
    content = json.dumps(body).encode()
    headers = {
        "authorization": authorization,
        "content-type": "application/json",
        "content-length": str(len(content)),
        "idempotency-key": key,
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": None,
    }
    start: Message = {}
    parts: list[bytes] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # nobody hangs up inside one process
        asked = True
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answered(status=start["status"], headers=found, body=json.loads(b"".join(parts)))


def _waiting(told: queue.Queue[_Told]) -> list[_Told]:
    """Return what waits in a watcher's queue, and leave it empty."""
    return [told.get_nowait() for _ in range(told.qsize())]  # nobody else takes from it


def _parsed(text: str) -> dict[str, Any] | None:
    """Return a message that is one of ours; None for anything else."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    if said == {"type": "watch"}:
        return said
    key = said.get("id")
    ours = (
        set(said) == {"type", "id", "body"}
        and said["type"] in PATHS
        and isinstance(said["body"], dict)
        and isinstance(key, str)
        and 0 < len(key) <= LONGEST_KEY
        and key.isascii()
        and key.isprintable()
    )
    return said if ours else None


def _malformed() -> dict[str, Any]:
    kinds = " or ".join(f'"{kind}"' for kind in PATHS)
    detail = f'expected {{"type": {kinds}, "id", "body"}}, or {{"type": "watch"}}'
    body = json.loads(bytes(problem(422, "Malformed message", detail).body))
    return {"type": "problem", "id": None, "status": 422, "body": body}


def _told(key: str, found: Answered) -> dict[str, Any]:
    if found.status >= FIRST_ERROR:
        told = {"type": "problem", "id": key, "status": found.status, "body": found.body}
        wait = found.headers.get("retry-after")
        return told if wait is None else told | {"retry_after_s": int(wait)}
    replayed = "idempotent-replayed" in found.headers
    told = {"type": "answer", "id": key, "status": found.status}
    return told | {"replayed": replayed, "body": found.body}
