"""Where staff make, see and end their own bearer tokens, for scripts and scheduled jobs.

Being signed in is not enough to make one, because it outlives the session: with a local account
the password and a code are asked for again, and whom an identity provider lets in must have come
from there in the last ten minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.errors import AccountInvalid, SignInRefused, TooManyAttempts
from audit.http import address_of
from audit.portal.access import Access, Attempt
from audit.portal.frame import form_of, page, refused
from audit.portal.listing import Listing, as_csv, plain, wants_csv
from audit.portal.provider_sign_in import METHOD
from audit.staff import Staff, StaffRole, only

PATH = "/account/tokens"
_ANY = Annotated[Staff, Depends(only(*StaffRole))]
_STALE = "sign in by the identity provider again, then make the token within ten minutes"


def token_pages(access: Access) -> APIRouter:
    """Return the pages over one's own tokens."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    def tokens(request: Request, staff: _ANY) -> Response:
        if wants_csv(request):
            return as_csv(_listing(_rows(access, staff)))
        return _drawn(request, access, staff)

    @router.post(PATH)
    async def make(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        try:
            made = await run_in_threadpool(_make, request, access, staff, form)
        except (SignInRefused, TooManyAttempts, AccountInvalid) as error:
            return refused(_drawn(request, access, staff, wrong=str(error)), error, status=422)
        return _drawn(request, access, staff, made=made)

    @router.post(f"{PATH}/revocation")
    async def revoke(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        named = form.get("token", "")
        await run_in_threadpool(lambda: access.sessions.revoke(staff.name, named, by=staff.name))
        return RedirectResponse(PATH, status_code=303)

    return router


def _make(request: Request, access: Access, staff: Staff, form: dict[str, str]) -> dict[str, Any]:
    """Let the owner prove once more who they are, then make a token."""
    if _is_provided(access, staff):
        session = request.cookies.get(access.cookies.session, "")
        if not access.sessions.is_fresh(session, of=staff.name, method=METHOD):
            raise SignInRefused(_STALE)
    else:
        attempt = Attempt(
            name=staff.name,
            password=form.get("password", ""),
            code=form.get("code", ""),
            address=address_of(request),
        )
        access.sign_in(attempt)
    roles = [role for role in sorted(staff.roles) if f"role-{role}" in form]
    return access.sessions.issue(staff, roles, days=_days(form.get("days", "")))


def _days(given: str) -> int:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 5 else 0  # noqa: PLR2004


def _is_provided(access: Access, staff: Staff) -> bool:
    account = access.ledger.account(staff.name)
    return account is not None and account.issuer is not None


def _drawn(
    request: Request,
    access: Access,
    staff: Staff,
    *,
    made: dict[str, Any] | None = None,
    wrong: str = "",
) -> Response:
    return page(
        request,
        "tokens.html",
        tokens=_rows(access, staff),
        made=made,
        wrong=wrong,
        roles=sorted(staff.roles),
        most=access.sessions.most_days(staff.name),
        provided=_is_provided(access, staff),
    )


def _rows(access: Access, staff: Staff) -> list[dict[str, Any]]:
    return [
        token
        | {"until": datetime.fromtimestamp(token["until"], UTC).strftime("%Y-%m-%d %H:%M UTC")}
        for token in access.sessions.tokens(staff.name)
    ]


def _listing(rows: list[dict[str, Any]]) -> Listing:
    return Listing(
        name="tokens",
        caption="Your bearer tokens",
        columns=("Token", "Roles", "Good until"),
        rows=[
            (plain(row["token"]), plain(", ".join(row["roles"])), plain(row["until"]))
            for row in rows
        ],
        empty="You have none.",
    )
