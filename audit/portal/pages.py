"""The pages by which staff sign in and out, and begin with their one-time token."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from audit.errors import PasswordRefused, SignInRefused, TooManyAttempts
from audit.portal.access import SESSION_COOKIE, Access, Attempt
from audit.portal.frame import SIGN_IN, VISIT_COOKIE, form_of, local_path, page
from audit.staff import Staff, StaffRole, only

DEVICE_COOKIE = "__Host-undertone-device"
_YEAR_S = 365 * 86_400
_ANY = Annotated[Staff, Depends(only(*StaffRole))]


def sign_in_pages(access: Access) -> APIRouter:
    """Return the pages over a service's accounts."""
    router = APIRouter(include_in_schema=False)
    _add_sign_in(router, access)
    _add_welcome(router, access)
    _add_account(router, access)
    return router


def _add_sign_in(router: APIRouter, access: Access) -> None:
    @router.get(SIGN_IN)
    def ask(request: Request, next: str = "/account") -> Response:  # noqa: A002 (the query's name)
        return _visited(request, "sign_in.html", next=local_path(next), wrong="")

    @router.post(SIGN_IN)
    async def take(request: Request) -> Response:
        form = await form_of(request)
        attempt = Attempt(
            name=form.get("name", "").strip(),
            password=form.get("password", ""),
            code=form.get("code", ""),
            address=request.client.host if request.client else "",
            device=request.cookies.get(DEVICE_COOKIE, ""),
        )
        going = local_path(form.get("next", ""))
        try:
            account = await run_in_threadpool(access.sign_in, attempt)
        except (SignInRefused, TooManyAttempts) as error:
            status = 429 if isinstance(error, TooManyAttempts) else 401
            return page(request, "sign_in.html", status=status, next=going, wrong=str(error))
        before = request.cookies.get(SESSION_COOKIE)
        if before is not None:  # no id from before a sign-in lives on after it
            await run_in_threadpool(access.sessions.end, before)
        session = await run_in_threadpool(
            lambda: access.sessions.open(account, method="password-and-code")
        )
        answer = RedirectResponse(going, status_code=303)
        _set(answer, SESSION_COOKIE, session)
        _set(answer, DEVICE_COOKIE, access.device_of(account.name), max_age_s=_YEAR_S)
        answer.delete_cookie(VISIT_COOKIE, secure=True, httponly=True, samesite="lax")
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
    @router.get("/account")
    def account(request: Request, staff: _ANY) -> HTMLResponse:
        return page(request, "account.html", name=staff.name, roles=sorted(staff.roles))

    @router.post("/sign-out")
    async def leave(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        if form.get("everywhere"):
            await run_in_threadpool(access.sessions.end_all, staff.name)
        else:
            await run_in_threadpool(access.sessions.end, request.cookies[SESSION_COOKIE])
        answer = RedirectResponse(SIGN_IN, status_code=303)
        answer.delete_cookie(SESSION_COOKIE, secure=True, httponly=True, samesite="lax")
        return answer


def _visited(request: Request, template: str, **values: Any) -> Response:
    """Draw a page for somebody who is not signed in, with a cookie to bind its form to."""
    if not (request.cookies.get(SESSION_COOKIE) or request.cookies.get(VISIT_COOKIE)):
        visit = secrets.token_urlsafe(32)
        request.cookies[VISIT_COOKIE] = visit
        answer = page(request, template, **values)
        _set(answer, VISIT_COOKIE, visit)
        return answer
    return page(request, template, **values)


def _set(answer: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    answer.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax"
    )
