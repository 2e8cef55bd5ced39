"""The routes by which this site signs staff in at the other one (OpenID Connect Core 1.0).

GET  /.well-known/openid-configuration   what the provider says of itself
GET  /sign-on                            the browser, sent by the other site
POST /sign-on/token                      the other site, with a code and its secret
GET  /sign-on/keys                       the public key
GET  /sign-on/leave                      whoever signed out at the other site, and may do so here
POST /v1/sign-on-key/rotate              operator: a new key
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response

from audit.errors import AccountUnknown
from audit.http import address_of, problem
from audit.portal.access import Access
from audit.portal.authorization_server import Said
from audit.portal.sign_on import AUTHORIZE, DISCOVERY, KEYS, LEAVE, TOKEN, SignOn
from audit.staff import Staff, StaffRole, only

_PRIVATE = {"cache-control": "no-store", "pragma": "no-cache"}
_MOST_FIELDS = 20


def sign_on_pages(access: Access) -> APIRouter:
    """Return the routes; without `[portal.single_sign_on]` they answer 404."""
    router, unlisted = APIRouter(), APIRouter(include_in_schema=False)
    _add_key(router, access)
    _add_provider(unlisted, access)
    _add_browser(unlisted, access)
    router.include_router(unlisted)
    return router


def _add_key(router: APIRouter, access: Access) -> None:
    @router.post("/v1/sign-on-key/rotate")
    def rotate(staff: Annotated[Staff, Depends(only(StaffRole.OPERATOR))]) -> dict[str, str]:
        return {"key": _sign_on(access).rotate_key(by=staff.name)}


def _add_provider(router: APIRouter, access: Access) -> None:
    @router.get(DISCOVERY)
    def describe() -> dict[str, Any]:
        return _sign_on(access).describe()

    @router.get(KEYS)
    def keys() -> dict[str, Any]:
        return _sign_on(access).key.public()

    @router.post(TOKEN)
    async def token(request: Request) -> Response:
        said = await run_in_threadpool(_redeem, request, access, await request.body())
        headers = dict(_PRIVATE)
        if said.status == 401:  # noqa: PLR2004 (RFC 6749, section 5.2)
            headers["www-authenticate"] = 'Basic realm="sign-on"'
        return JSONResponse(said.body, said.status, headers=headers)


def _add_browser(router: APIRouter, access: Access) -> None:
    @router.get(AUTHORIZE)
    def authorize(request: Request) -> Response:
        session = request.cookies.get(access.cookies.session, "")
        said = _sign_on(access).authorize(request.query_params.multi_items(), session)
        if said.location:
            return RedirectResponse(said.location, status_code=303, headers=_PRIVATE)
        detail = "this is no request of our other site: go there and begin again"
        return problem(400, "Not signed in there", detail)

    @router.get(LEAVE)
    def leave() -> Response:
        """Lead to where one signs out: nobody is signed out by a link."""
        _sign_on(access)
        return RedirectResponse("/account", status_code=303)


def _redeem(request: Request, access: Access, body: bytes) -> Said:
    """Let a client redeem a code."""
    desk = _sign_on(access)
    try:
        given = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        given = []
    return desk.redeem(request.headers, given, address=address_of(request))


def _sign_on(access: Access) -> SignOn:
    if access.sign_on is None:
        raise AccountUnknown("this service signs nobody in elsewhere: see [portal.single_sign_on]")
    return access.sign_on
