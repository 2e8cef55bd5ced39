"""What staff do about their own account: see where they are signed in, change the password."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.errors import PasswordRefused, SignInRefused, TooManyAttempts
from audit.http import address_of
from audit.portal.access import Access, Attempt
from audit.portal.frame import form_of, page, refused
from audit.portal.listing import Listing, as_csv, plain, wants_csv
from audit.portal.moments import moment, zone_of
from audit.staff import Staff, StaffRole, only

_ANY = Annotated[Staff, Depends(only(*StaffRole))]


def account_pages(access: Access) -> APIRouter:
    """Return the pages over one's own account."""
    router = APIRouter(include_in_schema=False)

    @router.get("/account/sessions")
    def sessions(request: Request, staff: _ANY) -> Response:
        found = _sessions(request, access, staff)
        if wants_csv(request):
            return as_csv(_listing(found))
        return page(request, "sessions.html", sessions=found)

    @router.post("/account/sessions")
    async def end(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        await run_in_threadpool(access.sessions.end_other, staff.name, form.get("session", ""))
        return RedirectResponse("/account/sessions", status_code=303)

    @router.get("/account/password")
    def ask(request: Request, _: _ANY) -> Response:
        return page(request, "password.html", wrong="")

    @router.post("/account/password")
    async def change(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        attempt = Attempt(
            name=staff.name,
            password=form.get("password", ""),
            code=form.get("code", ""),
            address=address_of(request),
        )
        try:
            await run_in_threadpool(_change, access, attempt, form.get("new", ""))
        except (SignInRefused, TooManyAttempts, PasswordRefused) as error:
            return refused(page(request, "password.html", wrong=str(error)), error, status=422)
        answer = page(request, "signed_out.html", provider=None)
        answer.delete_cookie(access.cookies.session, secure=True, httponly=True, samesite="lax")
        return answer

    return router


def _change(access: Access, attempt: Attempt, new: str) -> None:
    """Let the owner sign in once more, then change what they sign in with."""
    access.sign_in(attempt)
    access.accounts.change_password(attempt.name, new)


def _sessions(request: Request, access: Access, staff: Staff) -> list[dict[str, Any]]:
    here = request.cookies.get(access.cookies.session, "")
    zone = zone_of(request)
    return [
        session | {name: moment(session[name], zone) for name in ("since", "seen")}
        for session in access.sessions.of(staff.name, here=here)
    ]


def _listing(sessions: list[dict[str, Any]]) -> Listing:
    return Listing(
        name="sessions",
        caption="Where you are signed in",
        columns=("Signed in by", "Since", "Last seen", "This browser"),
        rows=[
            (
                plain(session["method"]),
                plain(session["since"]),
                plain(session["seen"]),
                plain("yes" if session["here"] else "no"),
            )
            for session in sessions
        ],
        empty="No browser is signed in: you came with a token.",
    )
