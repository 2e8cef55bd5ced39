"""The pages by which staff sign in and out, and begin with their one-time token."""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from audit.errors import (
    AccountUnknown,
    NotAdmitted,
    PasswordRefused,
    ProviderUnavailable,
    SignInRefused,
    TooManyAttempts,
)
from audit.http import address_of, problem
from audit.portal.access import Access, Attempt
from audit.portal.frame import SIGN_IN, cookies_of, form_of, local_path, page, refused
from audit.portal.moments import ZONE_COOKIE, zones
from audit.portal.provider_sign_in import METHOD, ProviderSignIn, Returned
from audit.portal.session import Proof
from audit.portal.sign_on import leads_away
from audit.portal.tables import AccountRow
from audit.staff import Staff, StaffRole, only

LOCAL = "password-and-code"
PROVIDER = f"{SIGN_IN}/provider"
_Brought = Annotated[str, Query(max_length=2048)]
_YEAR_S = 365 * 86_400
_ANY = Annotated[Staff, Depends(only(*StaffRole))]


def sign_in_pages(access: Access) -> APIRouter:
    """Return the pages over a service's accounts."""
    router = APIRouter(include_in_schema=False)
    _add_sign_in(router, access)
    _add_provider(router, access)
    _add_welcome(router, access)
    _add_account(router, access)
    return router


def _add_sign_in(router: APIRouter, access: Access) -> None:
    @router.get(SIGN_IN)
    def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 (the query's name)
        return _sign_in_page(request, access, next=local_path(next), wrong="")

    @router.post(SIGN_IN)
    async def take(request: Request) -> Response:
        form = await form_of(request)
        attempt = Attempt(
            name=form.get("name", "").strip(),
            password=form.get("password", ""),
            code=form.get("code", ""),
            address=address_of(request),
            device=request.cookies.get(access.cookies.device, ""),
        )
        going = local_path(form.get("next", ""))
        try:
            account = await run_in_threadpool(access.sign_in, attempt)
        except (SignInRefused, TooManyAttempts) as error:
            again = _sign_in_page(request, access, next=going, wrong=str(error))
            return refused(again, error, status=401)
        letting = await run_in_threadpool(
            lambda: _let_in(
                request, access, account, method=LOCAL, going=going, proof=access.proven()
            )
        )
        answer = _going_on(request, going, letting) if leads_away(going) else letting
        _set(answer, access.cookies.device, access.device_of(account.name), max_age_s=_YEAR_S)
        return answer


def _add_provider(router: APIRouter, access: Access) -> None:
    @router.get(PROVIDER)
    def send(request: Request, next: str = "/", anew: bool = False) -> Response:  # noqa: A002, FBT001, FBT002 (the query's)
        visit, new = visit_of(request)
        going, address = local_path(next), address_of(request)
        try:
            where = _provider(access).begin(visit=visit, going=going, address=address, anew=anew)
        except ProviderUnavailable as error:
            return _sign_in_page(request, access, next=going, wrong=str(error), status=503)
        answer = RedirectResponse(where, status_code=303)
        if new:
            _set(answer, access.cookies.visit, visit)
        return answer

    @router.get(f"{PROVIDER}/return")
    def take(
        request: Request, state: _Brought = "", code: _Brought = "", iss: _Brought | None = None
    ) -> Response:
        returned = Returned(state=state, code=code, issuer=iss, address=address_of(request))
        visit, _ = visit_of(request)
        try:
            account, going, proof = _provider(access).finish(returned, visit=visit)
        except NotAdmitted as error:
            told = {"title": "Not for your roles", "detail": str(error)}
            return page(request, "problem.html", status=403, way_out=SIGN_IN, **told)
        except (SignInRefused, TooManyAttempts) as error:
            again = _sign_in_page(request, access, next="/", wrong=str(error))
            return refused(again, error, status=401)
        return _let_in(request, access, account, method=METHOD, going=going, proof=proof)

    @router.post(f"{PROVIDER}/logout")
    async def end(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("ascii", "replace"), max_num_fields=10)
        given = form.get("logout_token", [""])[-1]
        try:
            await run_in_threadpool(_provider(access).end, given)
        except SignInRefused as error:
            return problem(400, "Not a logout token", str(error))
        return Response(status_code=200, headers={"cache-control": "no-store"})


def _provider(access: Access) -> ProviderSignIn:
    if access.provider is None:
        raise AccountUnknown("this service knows no identity provider: sign in with a password")
    return access.provider


def _going_on(request: Request, going: str, letting: Response) -> Response:
    """Draw a page that goes on by itself, for a way that ends at the other site.

    Chromium lets no redirect that a form began leave the site (`form-action 'self'`); a page that
    leads on begins anew, without any script.
    """
    answer = page(request, "going_on.html", going=going)
    for name, value in letting.raw_headers:
        if name == b"set-cookie":
            answer.raw_headers.append((name, value))
    return answer


def _let_in(
    request: Request,
    access: Access,
    account: AccountRow,
    *,
    method: str,
    going: str,
    proof: Proof,
) -> Response:
    """Open a session and send the browser on; no id from before a sign-in lives on after it."""
    before = request.cookies.get(access.cookies.session)
    if before is not None:
        access.sessions.end(before)
    answer = RedirectResponse(going, status_code=303)
    _set(answer, access.cookies.session, access.sessions.open(account, method=method, proof=proof))
    answer.delete_cookie(access.cookies.visit, secure=True, httponly=True, samesite="lax")
    return answer


def _add_welcome(router: APIRouter, access: Access) -> None:
    @router.get("/welcome")
    def begin(request: Request) -> Response:
        return _visited(request, "welcome.html", wrong="")

    @router.post("/welcome")
    async def choose(request: Request) -> Response:
        form = await form_of(request)
        name, token = form.get("name", "").strip(), form.get("token", "").strip()
        try:
            made = await run_in_threadpool(
                access.accounts.choose_password, name, token, form.get("password", "")
            )
        except (SignInRefused, PasswordRefused) as error:
            return page(request, "welcome.html", status=422, wrong=str(error))
        return page(
            request, "second_factor.html", name=name, token=token, secret=made.secret, wrong=""
        )

    @router.post("/welcome/code")
    async def confirm(request: Request) -> Response:
        form = await form_of(request)
        name, token = form.get("name", ""), form.get("token", "")
        try:
            codes = await run_in_threadpool(
                access.accounts.activate, name, token, form.get("code", "")
            )
        except SignInRefused as error:
            return page(request, "welcome.html", status=422, wrong=str(error))
        return page(request, "recovery_codes.html", codes=codes)


def _add_account(router: APIRouter, access: Access) -> None:
    @router.get("/")
    def begin(request: Request, staff: _ANY) -> Response:
        return RedirectResponse(request.app.state.site.first(staff), status_code=303)

    @router.get("/account")
    def account(request: Request, staff: _ANY) -> HTMLResponse:
        roles = sorted(staff.roles)
        return page(request, "account.html", name=staff.name, roles=roles, zones=zones())

    @router.post("/account/zone")
    async def choose_zone(request: Request, _: _ANY) -> Response:
        form = await form_of(request)
        answer = RedirectResponse("/account", status_code=303)
        chosen = form.get("zone", "UTC")
        _set(answer, ZONE_COOKIE, chosen if chosen in zones() else "UTC", max_age_s=_YEAR_S)
        return answer

    @router.post("/sign-out")
    async def leave(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        if form.get("everywhere"):
            await run_in_threadpool(access.sessions.end_all, staff.name)
        else:
            await run_in_threadpool(
                access.sessions.end, request.cookies.get(access.cookies.session, "")
            )
        where = await run_in_threadpool(_provider_exit, access, staff.name)
        answer = page(request, "signed_out.html", provider=where)
        answer.headers["clear-site-data"] = '"cache", "storage"'
        answer.delete_cookie(access.cookies.session, secure=True, httponly=True, samesite="lax")
        return answer


def _provider_exit(access: Access, name: str) -> str | None:
    """Return where somebody whom the provider let in signs out there too."""
    row = access.ledger.account(name)
    if access.provider is None or row is None or row.issuer is None:
        return None
    try:
        return access.provider.leave(then=SIGN_IN)
    except ProviderUnavailable:
        return None


def _sign_in_page(request: Request, access: Access, **values: Any) -> Response:
    provider = None if access.provider is None else f"{PROVIDER}?next={quote(values['next'])}"
    away = leads_away(values["next"])
    return _visited(request, "sign_in.html", provider=provider, away=away, **values)


def _visited(request: Request, template: str, **values: Any) -> Response:
    """Draw a page for somebody who is not signed in, with a cookie to bind its form to."""
    visit, new = visit_of(request)
    request.cookies.setdefault(cookies_of(request).visit, visit)
    answer = page(request, template, **values)
    if new:
        _set(answer, cookies_of(request).visit, visit)
    return answer


def visit_of(request: Request) -> tuple[str, bool]:
    """Return what binds this browser's forms before it signs in, and whether it is new."""
    names = cookies_of(request)
    known = request.cookies.get(names.session) or request.cookies.get(names.visit)
    return known or secrets.token_urlsafe(32), not known


def _set(answer: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    answer.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax"
    )
