"""The frame that every page stands in: layout, security headers, and whose form it is.

`install_frame` makes a service's app one that staff can sign in to; pages are mounted beside
it and drawn with `page`. Templates escape what they show; there is no inline script or style.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.errors import FormInvalid, NotSignedIn, RequestForged, TooManyAttempts
from audit.guarded import GuardAnswers
from audit.http import broken_page, problem, tell_wait
from audit.portal.access import Access
from audit.portal.cookies import Cookies
from audit.portal.listing import Listing, as_csv, chosen, with_query
from audit.portal.moments import zone_name
from audit.portal.secrets import keyed, same
from audit.portal.site import Site
from audit.portal.staff_api import staff_routes
from audit.portal.views import is_local
from audit.staff import SAFE_METHODS
from audit.visible import visible_value
from policies.errors import UndertoneError

SIGN_IN = "/sign-in"
_LOOPBACK = re.compile(r"([a-z0-9-]+\.)*localhost(:[0-9]+)?|(127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?")
_HERE = Path(__file__).parent
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # `no-referrer` would make browsers send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_BARE, _TRUST = Site(), Cookies()
_PLACES = frozenset({"after", "before", "format", "table"})
"""Names in an address that say where in a table one is, and not which table."""
_STATIC = {
    "portal.css": "text/css",
    "portal.js": "text/javascript",
    "tour.js": "text/javascript",
    "verify.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
}


def _environment(site: Site) -> Environment:
    folders = [folder for folder in (site.templates, _HERE / "templates") if folder is not None]
    loader = FileSystemLoader(folders)
    return Environment(
        loader=loader,
        autoescape=True,
        finalize=visible_value,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


_templates = _environment(_BARE)


def install_frame(app: FastAPI, access: Access, site: Site | None = None) -> None:
    """Let staff sign in to an app and find its areas; call it before its body limit is added.

    And `guard_answers` after everything else.
    """
    from audit.portal.account_pages import account_pages  # noqa: PLC0415 (drawn by this module)
    from audit.portal.pages import sign_in_pages  # noqa: PLC0415 (likewise)
    from audit.portal.token_pages import token_pages  # noqa: PLC0415 (likewise)
    from audit.portal.view_pages import view_pages  # noqa: PLC0415 (likewise)

    site = site or Site()
    app.state.cookies = access.cookies
    app.state.at_once = access.provider is not None and access.provider.at_once
    app.state.admit, app.state.note, app.state.site = access.admit, access.note, site
    app.state.templates, app.state.views = _environment(site), access.views.of
    app.include_router(staff_routes(access))
    app.include_router(sign_in_pages(access))
    app.include_router(account_pages(access))
    app.include_router(view_pages(access))
    app.include_router(token_pages(access))
    app.add_exception_handler(NotSignedIn, _to_sign_in)
    app.add_middleware(_OwnForms)
    for name in _STATIC:
        app.get(f"/{name}", include_in_schema=False)(_static(name))
    # What is no page, such as a picture, names no icon: browsers ask for this one.
    app.get("/favicon.ico", include_in_schema=False)(_static("favicon.svg"))


def guard_answers(app: FastAPI) -> None:
    """Let every answer be fit for who asked, an early refusal's too; call it last of all.

    A browser gets problems as pages, and all answers carry the security headers.
    """
    app.state.draws_problems = True
    app.add_middleware(_Readable)
    app.add_middleware(GuardAnswers, headers=_HEADERS)


def _static(name: str) -> Callable[[], FileResponse]:
    def file() -> FileResponse:
        kept = {"cache-control": "max-age=300"}
        return FileResponse(_HERE / "static" / name, media_type=_STATIC[name], headers=kept)

    return file


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Draw a page in the frame; `csrf` is what its forms must carry."""
    site = getattr(request.app.state, "site", _BARE)
    staff = getattr(request.state, "staff", None)
    context = {
        "csrf": csrf_of(request.cookies, cookies_of(request)),
        "service": request.app.title,
        "staff": staff,
        "menu": site.menu(staff, request.url.path),
        "elsewhere": site.elsewhere(staff),
        "other_name": site.other_name,
        "views": [] if staff is None else request.app.state.views(staff.name),
        "keep_as": "",
        "crumbs": (),
        "zone": zone_name(request),
    } | values
    templates = getattr(request.app.state, "templates", _templates)
    drawn = templates.get_template(template).render(context)
    return HTMLResponse(drawn, status_code=status)


def refused(answer: Response, error: Exception, *, status: int) -> Response:
    """Give a page that shows a refusal its status, or 429 and when to come again."""
    answer.status_code = 429 if isinstance(error, TooManyAttempts) else status
    tell_wait(answer, error)
    return answer


def show(
    request: Request,
    template: str,
    *,
    tables: Sequence[Listing] = (),
    lasts: bool = True,
    **values: Any,
) -> Response:
    """Draw a page with tables, or the one table that is asked for as CSV.

    What does not last cannot be saved as a view.
    """
    named = {table.name: table for table in tables}
    if (wanted := chosen(request, named)) is not None:
        return as_csv(wanted)
    exports = {name: with_query(request, format="csv", table=name) for name in named}
    kept = _as_view(request) if lasts else ""
    return page(request, template, tables=named, exports=exports, keep_as=kept, **values)


def _as_view(request: Request) -> str:
    """Return this page's address with its filters, from its first row; a form's answer has none."""
    if request.method not in SAFE_METHODS:
        return ""
    filters = {n: v for n, v in request.query_params.items() if v and n not in _PLACES}
    return f"{request.url.path}?{urlencode(filters)}" if filters else request.url.path


def cookies_of(request: Request) -> Cookies:
    """Return what this site's cookies are called."""
    return cast("Cookies", getattr(request.app.state, "cookies", _TRUST))


def csrf_of(cookies: Mapping[str, str], names: Cookies = _TRUST) -> str:
    """Return the token of this browser's forms: bound to its session, before that its visit."""
    own = cookies.get(names.session) or cookies.get(names.visit)
    return keyed(own.encode(), "form") if own else ""


def origin_of(request: Request) -> str:
    """Return where this site is as a browser reaches it.

    By TLS, whatever a proxy in front speaks to us, but for a browser on the machine itself.
    """
    here = request.base_url
    return str(here if _LOOPBACK.fullmatch(here.netloc) else here.replace(scheme="https"))


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form, whose token `_OwnForms` has checked.

    Raises:
        RequestForged: The browser has no cookie of ours: the page was never opened.
        FormInvalid: More fields than any form of ours has.
    """
    if not csrf_of(request.cookies, cookies_of(request)):
        raise RequestForged("open the page first: the form needs the cookie that comes with it")
    try:
        return _fields(await request.body())
    except ValueError as error:
        raise FormInvalid("no form of ours has so many fields: open its page again") from error


def _fields(body: bytes) -> dict[str, str]:
    given = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return {name: values[-1] for name, values in given.items()}


def local_path(path: str) -> str:
    """Return a path of this service to go on to; anything else becomes the front page."""
    return path if is_local(path) else "/"


def _to_sign_in(request: Request, error: Exception) -> Response:
    """Send a person to the sign-in page, a program a problem document."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if request.method in SAFE_METHODS and wants_page:
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        way = f"{SIGN_IN}/provider" if request.app.state.at_once else SIGN_IN
        return RedirectResponse(f"{way}?next={quote(asked)}", status_code=303)
    return problem(401, "Not signed in", str(error))


class _OwnForms:
    """ASGI middleware: what a browser changes by cookie comes from a page of ours.

    1. the browser's own word (Origin, Sec-Fetch-Site); 2. the token, in a form's field `csrf`
    or the header `X-CSRF-Token`. Requests without our cookies carry no authority of a browser,
    and with an Authorization header the cookies do not count (`Access.admit`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, guarded."""
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request = Request(scope)
        # Of every Cookie header, as the routes read them: a proxy may split one in two.
        expected = csrf_of(request.cookies, cookies_of(request))
        if "authorization" in headers or not expected:
            await self._app(scope, receive, send)
            return
        message = await receive()  # whole: the body limit outside has read it
        given = headers.get("x-csrf-token") or _field(headers, message)
        if not _is_ours(headers, scope["scheme"]) or not same(given, expected):
            detail = "this form is not from a page of ours, or it is too old: open it again"
            await problem(403, "Request forged", detail)(scope, receive, send)
            return
        await self._app(scope, _again(message, receive), send)


def _is_ours(headers: Headers, scheme: str) -> bool:
    """Tell whether the browser says that a page of this very site sends this.

    Our cookies go by TLS alone, so its own origin has https, whatever a proxy in front speaks; on
    loopback, where browsers keep them without TLS, it may have http.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin == "null":  # as from a customer's page, which sends no referrer
        return site == "same-origin"
    host = headers.get("host", "")
    own = {f"https://{host}", f"{scheme}://{host}" if _LOOPBACK.fullmatch(host) else ""}
    ours = origin is None or (origin != "" and origin in own)
    return ours and site in {None, "same-origin", "none"}


def _field(headers: Headers, message: Message) -> str:
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    try:
        return _fields(message.get("body", b"")).get("csrf", "")
    except ValueError:
        return ""


def _again(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


class _Readable:
    """ASGI middleware: a browser that asked for a page gets a problem as a page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; draw a problem document anew."""
        if scope["type"] != "http" or b"text/html" not in dict(scope["headers"]).get(
            b"accept", b""
        ):
            await self._app(scope, receive, send)
            return
        begun: list[Message] = []

        async def drawn(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_problem(message):
                begun.append(message)
            elif begun and message["type"] == "http.response.body":
                answer = _problem_page(Request(scope), message.get("body", b""))
                for name, value in Headers(raw=begun[0]["headers"]).items():
                    answer.headers.setdefault(name, value)
                await answer(scope, receive, send)
            else:
                await send(message)

        await self._app(scope, receive, drawn)


def _is_problem(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return kind.startswith("application/problem+json")


def _problem_page(request: Request, body: bytes) -> Response:
    """Draw a problem for who reads: customers in their own frame, where the site has one."""
    said = json.loads(body)
    draw = getattr(request.app.state, "customer_problem", None)
    if draw is not None and (drawn := draw(request, said)) is not None:
        return cast("Response", drawn)
    status, title, detail = int(said["status"]), str(said["title"]), str(said["detail"])
    told = partial(page, request, "problem.html", status=status, title=title, detail=detail)
    try:
        return told()
    except UndertoneError:  # what broke is the store that the menu asks for views
        request.state.staff = None
        return told()
    except Exception:  # noqa: BLE001 (what broke is the frame itself)
        return broken_page("something broke here; tell the operator when it was")
