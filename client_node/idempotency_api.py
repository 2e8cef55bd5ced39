"""`Idempotency-Key` on any POST: the same request sent again gets the same answer, done once.

A key with another body is refused (422), and one whose first request is under way asks to wait
(409). Errors of the node's own (500 and above) and refusals for load or lack of a key are not
kept: sent again, the request is tried again.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.http import problem
from client_node.replays import Place, Replays, Said, digest_of, meaning_of

LONGEST_KEY = 128
NOT_KEPT = frozenset({401, 429})
REPLAYED = (b"idempotent-replayed", b"true")
FIRST_OF_OURS = 500


class Idempotency:
    """ASGI middleware, inside the limit of bodies."""

    def __init__(self, app: ASGIApp, *, replays: Replays) -> None:
        self._app, self._replays = app, replays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or answer and remember."""
        key = _header(scope, b"idempotency-key")
        if scope["type"] != "http" or scope["method"] != "POST" or key is None:
            await self._app(scope, receive, send)
            return
        if not 0 < len(key) <= LONGEST_KEY:
            detail = f"Idempotency-Key has 1 to {LONGEST_KEY} characters"
            await problem(422, "Malformed request", detail)(scope, receive, send)
            return
        message = await receive()
        body = meaning_of(message.get("body", b""))
        who = _header(scope, b"authorization") or b""
        place = digest_of(who, scope["path"].encode(), key)
        found = await run_in_threadpool(self._replays.begin, place, body)
        if found is None:
            await self._answer(place, scope, _again(message, receive), send)
        else:
            await _replay(found, body, scope, receive, send)

    async def _answer(self, place: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        said = None
        try:
            await self._app(scope, receive, keep)
            if start and start["status"] < FIRST_OF_OURS and start["status"] not in NOT_KEPT:
                headers = tuple((bytes(n), bytes(v)) for n, v in start["headers"])
                said = Said(status=start["status"], headers=headers, body=b"".join(parts))
        finally:
            await run_in_threadpool(self._replays.end, place, said)
        if start:  # kept first, so that what was answered is known again
            await send(start)
            await send({"type": "http.response.body", "body": b"".join(parts)})


async def _replay(found: Place, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
    if found.body != digest_of(body):
        detail = "that Idempotency-Key was sent with another body: take a new key"
        await problem(422, "Key used before", detail)(scope, receive, send)
    elif found.said is None:
        answer = problem(409, "Under way", "the first request with that key is under way")
        answer.headers["Retry-After"] = "1"
        await answer(scope, receive, send)
    else:
        said = found.said
        headers = [*said.headers, REPLAYED]
        await send({"type": "http.response.start", "status": said.status, "headers": headers})
        await send({"type": "http.response.body", "body": said.body})


def _header(scope: Scope, name: bytes) -> bytes | None:
    if scope["type"] != "http":
        return None
    found = [value for key, value in scope["headers"] if key == name]
    return bytes(found[0]) if found else None


def _again(first: Message, receive: Receive) -> Receive:
    """Return a receive that gives the message that was read, then what the connection says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return replayed
