"""What every HTTP service of ours does alike: problems, body limits, no content in an error.

Errors are RFC 9457 problem documents of one clear line. An error that nobody expected is
logged by its type and an id that the answer carries, never by message: a third party's
message may quote the person.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.errors import (
    AccountConflict,
    AccountInvalid,
    AccountsUnavailable,
    AccountUnknown,
    EntryRepeated,
    ErasureHeld,
    EvidenceUnavailable,
    HoldRefused,
    HoldUnknown,
    NotPermitted,
    NotSignedIn,
    PasswordRefused,
    ProviderUnavailable,
    RequestExpired,
    RetentionInvalid,
    SignatureInvalid,
    TooManyAttempts,
)
from audit.proxies import shared_by
from audit.refusals import Kind, Refusals, field_at
from audit.telemetry import request_span
from policies.errors import NotBuilt, PolicyUnavailable, Refused, UndertoneError

DEFAULT_BODY_BYTES = 64 * 1024
"""Largest request body where no path says otherwise."""

DEFAULT_BODY_S = 60.0
"""Longest that a body may take to arrive: 64 KiB in it is what the slowest modem did."""

STATUSES: Mapping[type[UndertoneError], int] = {
    NotBuilt: 501,
    SignatureInvalid: 401,
    RequestExpired: 401,
    NotSignedIn: 401,
    NotPermitted: 403,
    TooManyAttempts: 429,
    PasswordRefused: 422,
    AccountInvalid: 422,
    AccountUnknown: 404,
    AccountConflict: 409,
    AccountsUnavailable: 503,
    ProviderUnavailable: 503,
    Refused: 403,
    PolicyUnavailable: 503,
    EvidenceUnavailable: 503,
    RetentionInvalid: 422,
    HoldUnknown: 404,
    HoldRefused: 409,
    ErasureHeld: 409,
    EntryRepeated: 409,
    UndertoneError: 400,
}
"""Statuses that hold unless a service maps the error itself."""

_BAD_INPUT = frozenset({400, 408, 409, 413, 422})
"""Statuses of bad input, which is recorded; not who may not ask, or what is not there."""

_REMEDIES = {
    404: "there is nothing at this address: check it, or begin at the front page",
    405: "this address does not take this method: send what its page or description says",
}
_MOST_DETAIL = 400
_NOT_IN_NAMES, _LONGEST_NAME = re.compile(r"[^A-Za-z0-9._-]"), 120
_NOTE = "undertone.refusal"
_MEDIA_TYPE = "application/problem+json"
_BROKEN = Path(__file__).with_name("broken.html").read_text("utf-8")
_log = logging.getLogger("undertone")


def problem(status: int, title: str, detail: str, **members: Any) -> JSONResponse:
    """Return a problem document (RFC 9457).

    Args:
        status: HTTP status.
        title: What kind of problem, in a few words, the same each time.
        detail: What happened this time and the remedy, in one line without personal data; an
            id in it may be what somebody typed, so it is kept to a line.
        **members: Extension members, JSON values.
    """
    line = "".join(c if c.isprintable() else " " for c in detail)[:_MOST_DETAIL]
    content = {"type": "about:blank", "title": title, "status": status, "detail": line}
    return JSONResponse(content | members, status_code=status, media_type=_MEDIA_TYPE)


def attachment(name: str) -> dict[str, str]:
    """Return the header of a file to keep, under a name that no header and no folder misreads."""
    plain = _NOT_IN_NAMES.sub("_", name)[-_LONGEST_NAME:].lstrip(".")
    return {"content-disposition": f'attachment; filename="{plain}"'}


def broken_page(detail: str) -> HTMLResponse:
    """Return a page that needs nothing that may be what broke; `detail` is a line of ours."""
    return HTMLResponse(_BROKEN.replace("{said}", detail), status_code=500)


def install_error_handlers(app: FastAPI, mapping: Mapping[type[UndertoneError], int]) -> None:
    """Let the app answer every error with one problem document, never with a traceback.

    The nearest class in an error's ancestry decides, the service's mapping before
    `STATUSES`. A `Refused` also says the decision's id, rules and reasons. An address with a
    slash too many is unknown: the framework would send on to what the Host header says, and to
    plain http where a proxy ends TLS, with a customer's token in the address.
    """
    statuses = {**STATUSES, **mapping}

    def expected(request: Request, error: Exception) -> JSONResponse:
        status = next(statuses[cls] for cls in type(error).__mro__ if cls in statuses)
        if status in _BAD_INPUT or isinstance(error, RequestExpired):
            reason = _words(type(error).__name__).lower().replace(" ", "-")
            _mark(request.scope, reason, getattr(error, "field", ""))
        answer = problem(status, _words(type(error).__name__), str(error), **_members(error))
        tell_wait(answer, error)
        return answer

    app.router.redirect_slashes = False
    app.add_exception_handler(UndertoneError, expected)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(_CatchAll)


def tell_wait(answer: Response, error: Exception) -> None:
    """Say in an answer when to come again, where the error knows (RFC 9110, 10.2.3)."""
    if (wait_s := getattr(error, "retry_after_s", None)) is not None:
        answer.headers["Retry-After"] = str(math.ceil(wait_s))


def address_of(connection: HTTPConnection) -> str:
    """Return by which address a request or socket is counted (`audit.proxies`).

    None for one of this machine's own.
    """
    return shared_by(connection.client.host) if connection.client else ""


class BodyLimit:
    """ASGI middleware that refuses larger bodies with 413, by length or while they arrive.

    One that is not whole in time is 408, so that nobody holds a place by sending drop by drop.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int = DEFAULT_BODY_BYTES,
        by_prefix: Mapping[str, int] | None = None,
        limit_s: float = DEFAULT_BODY_S,
    ) -> None:
        """Wrap an app.

        Args:
            app: The app.
            limit_bytes: Largest body.
            by_prefix: Other limits for paths that begin so; the longest prefix counts.
            limit_s: How long a body may take to arrive.
        """
        self._app = app
        self._limit_bytes, self._limit_s = limit_bytes, limit_s
        longest_first = sorted((by_prefix or {}).items(), key=lambda row: -len(row[0]))
        self._by_prefix = tuple(longest_first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its whole body read and within the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope["path"])
        try:
            async with asyncio.timeout(self._limit_s):
                body = None if _declared_bytes(scope) > limit else await _read(receive, limit)
        except TimeoutError:
            detail = f"the body was not whole after {self._limit_s:g} s: send it again, at once"
            _mark(scope, "content-too-slow", "body")
            await _close(problem(408, "Content too slow", detail))(scope, receive, send)
            return
        if body is None:
            detail = f"this path takes at most {limit} bytes"
            _mark(scope, "content-too-large", "body")
            await _close(problem(413, "Content too large", detail))(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    def _limit(self, path: str) -> int:
        matching = (limit for prefix, limit in self._by_prefix if path.startswith(prefix))
        return next(matching, self._limit_bytes)


class RecordRefusals:
    """ASGI middleware, outside all others: records what the handlers noted on a request."""

    def __init__(self, app: ASGIApp, *, refusals: Refusals) -> None:
        self._app, self._refusals = app, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request be answered, then record why it was refused."""
        await self._app(scope, receive, send)
        kind = scope.get("state", {}).get(_NOTE)
        if kind is not None:
            await run_in_threadpool(self._refusals.note, kind)


class TraceRequests:
    """ASGI middleware, outside all others: each request in a trace of its own, where there is one.

    See `audit.telemetry` for what is told of it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request be answered; name its trace in the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"traceparent"]
        parent = given[0].decode("latin-1") if len(given) == 1 else None
        with request_span(scope["method"], parent) as answered:

            async def tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answered.status_code = message["status"]
                    if answered.traceresponse is not None:
                        header = (b"traceresponse", answered.traceresponse.encode())
                        message = {**message, "headers": [*message["headers"], header]}
                await send(message)

            await self._app(scope, receive, tell)
            answered.route = getattr(scope.get("route"), "path", "")


class _CatchAll:
    """ASGI middleware that turns an error nobody expected into 500, an id and one log line.

    Starlette's own handler for `Exception` answers and then raises again, with a traceback.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:  # noqa: BLE001 (the last net; nothing of it reaches the user)
            error_id = secrets.token_hex(8)
            _log.error("unexpected %s, error id %s", type(error).__name__, error_id)
            if scope["type"] == "http" and not started:
                detail = f"something broke here; name the error id {error_id} to the operator"
                answer: Response = problem(500, "Internal error", detail, error_id=error_id)
                framed = getattr(scope["app"].state, "draws_problems", False)
                if not framed and "text/html" in Headers(scope=scope).get("accept", ""):
                    answer = broken_page(detail)
                await answer(scope, receive, send)


def _mark(scope: Scope, reason: str, field: str) -> None:
    """Note on a request why it is refused; `reason` is an error's name in our own code."""
    scope.setdefault("state", {})[_NOTE] = Kind(reason, field)


def _malformed(request: Request, error: Exception) -> JSONResponse:
    """Say which fields are wrong and how, never what was sent in them."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    first = field_at(found[0]["loc"], found[0]["type"]) if found else ""
    _mark(request.scope, "malformed-request", first)
    told = dict.fromkeys((_place(e["loc"]), str(e["type"])) for e in found)  # a list's once
    fields = [{"field": field, "problem": kind} for field, kind in list(told)[:16]]
    named = ", ".join(f"{f['field']} ({f['problem']})" for f in fields)
    return problem(422, "Malformed request", f"wrong or missing: {named}", fields=fields)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework itself refuses: unknown path, wrong method."""
    if not isinstance(error, HTTPException):
        return problem(500, "Internal error", "something broke here")
    if error.status_code == HTTPStatus.BAD_REQUEST:  # a body that is no text, for example
        _mark(request.scope, "malformed-request", "body")
    phrase = HTTPStatus(error.status_code).phrase
    detail = _REMEDIES.get(error.status_code, f"{error.detail}")
    answer = problem(error.status_code, phrase, detail)
    answer.headers.update(error.headers or {})
    return answer


def _members(error: Exception) -> dict[str, Any]:
    if not isinstance(error, Refused):
        return {}
    decision = error.decision
    return {
        "decision": decision.decision_id,
        "rules": list(decision.rules),
        "reasons": list(decision.reasons),
    }


def _place(location: tuple[int | str, ...]) -> str:
    """Name a field; an unknown field's name could itself be content, so only words pass."""
    parts = (str(part) for part in location)
    return ".".join(p if p.isascii() and p.isidentifier() and len(p) <= 40 else "*" for p in parts)  # noqa: PLR2004


def _words(name: str) -> str:
    """Return `KeyDestroyed` as `Key destroyed`."""
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
    return spaced.capitalize()


def _close(answer: Response) -> Response:
    """Let an answer end its connection, on which the rest of a body would still come."""
    answer.headers["Connection"] = "close"
    return answer


def _declared_bytes(scope: Scope) -> int:
    values = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in values if value.isdigit()), default=0)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None as soon as it is beyond the limit."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            return None
    return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body once, then what the connection says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
