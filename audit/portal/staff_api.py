"""The HTTP interface of accounts and tokens, the same in every service.

POST /v1/staff                       operator    {name, roles}: a one-time token
GET  /v1/staff                       operator, officer, dpo, auditor
POST /v1/staff/{name}/STATE          operator    STATE disable, enable or reset
POST /v1/staff/{name}/sign-out       operator    ends every session of the account
POST /v1/staff/{name}/confirm        officer, dpo   gives the roles that wait for a second person
POST /v1/activation                  the one-time token's holder   {name, token, password}
POST /v1/activation/code             likewise    {name, token, code}: recovery codes
POST /v1/tokens                      name, password and code       {..., roles, days}
                                     (whom a provider lets in: the page /account/tokens)
GET  /v1/tokens                      staff       their own
POST /v1/tokens/{token}/revocation   staff       their own
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from audit.errors import SignInRefused
from audit.http import address_of
from audit.portal.access import Access, Attempt
from audit.portal.accounts import as_staff
from audit.staff import Staff, StaffRole, only

_OPERATOR = Annotated[Staff, Depends(only(StaffRole.OPERATOR))]
_OVERSEER = Annotated[
    Staff,
    Depends(only(StaffRole.OPERATOR, StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR)),
]
_SECOND = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
_ANY = Annotated[Staff, Depends(only(*StaffRole))]
_Text = Annotated[str, Field(max_length=512)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewStaff(_Body):
    """An account to make."""

    name: _Text
    roles: Annotated[frozenset[StaffRole], Field(min_length=1)]


class FirstPassword(_Body):
    """The owner's one-time token and the password they choose."""

    name: _Text
    token: _Text
    password: _Text


class FirstCode(_Body):
    """The owner's one-time token and the first code of their authenticator app."""

    name: _Text
    token: _Text
    code: _Text


class NewToken(_Body):
    """Who signs in, and for what roles and how many days they want a bearer token."""

    name: _Text
    password: _Text
    code: _Text
    roles: Annotated[frozenset[StaffRole], Field(min_length=1)]
    days: Annotated[int, Field(ge=1, le=365)] = 30


def staff_routes(access: Access) -> APIRouter:
    """Return the routes over a service's accounts."""
    router = APIRouter(tags=["staff"])
    _add_accounts(router, access)
    _add_activation(router, access)
    _add_tokens(router, access)
    return router


def _add_accounts(router: APIRouter, access: Access) -> None:
    @router.post("/v1/staff", status_code=201)
    def add(new: NewStaff, operator: _OPERATOR) -> dict[str, Any]:
        """Make an account; its owner begins with the one-time token."""
        token = access.accounts.add(new.name, new.roles, by=operator.name)
        made = access.accounts.known(new.name)
        return {
            "name": new.name,
            "roles": made.roles.split(),
            "waiting": made.asked_roles.split(),
            "one_time_token": token,
        }

    @router.get("/v1/staff")
    def accounts(_: _OVERSEER) -> list[dict[str, Any]]:
        """List the accounts."""
        return access.accounts.every()

    @router.post("/v1/staff/{name}/disable")
    def disable(name: str, operator: _OPERATOR) -> dict[str, Any]:
        """Close an account; its sessions and tokens end at once."""
        access.accounts.disable(name, by=operator.name)
        return {"name": name, "state": "disabled"}

    @router.post("/v1/staff/{name}/enable")
    def enable(name: str, operator: _OPERATOR) -> dict[str, Any]:
        """Open a closed account."""
        access.accounts.enable(name, by=operator.name)
        return {"name": name, "state": "enabled"}

    @router.post("/v1/staff/{name}/reset")
    def reset(name: str, operator: _OPERATOR) -> dict[str, Any]:
        """Let the owner begin anew: password, second factor, sessions and tokens go."""
        return {"name": name, "one_time_token": access.accounts.reset(name, by=operator.name)}

    @router.post("/v1/staff/{name}/confirm")
    def confirm(name: str, overseer: _SECOND) -> dict[str, Any]:
        """Give an account the roles that wait, as the second person."""
        return {"name": name, "roles": access.accounts.confirm(name, by=overseer.name)}

    @router.post("/v1/staff/{name}/sign-out")
    def sign_out(name: str, _: _OPERATOR) -> dict[str, Any]:
        """End every session of an account."""
        access.accounts.known(name)
        access.sessions.end_all(name)
        return {"name": name, "sessions": 0}


def _add_activation(router: APIRouter, access: Access) -> None:
    @router.post("/v1/activation")
    def choose_password(said: FirstPassword) -> dict[str, str]:
        """Choose the first password; returns the second factor to set up."""
        made = access.accounts.choose_password(said.name, said.token, said.password)
        return {"secret": made.secret, "uri": made.uri}

    @router.post("/v1/activation/code")
    def activate(said: FirstCode) -> dict[str, list[str]]:
        """Show that the second factor works; returns the recovery codes, this once."""
        return {"recovery_codes": access.accounts.activate(said.name, said.token, said.code)}


def _add_tokens(router: APIRouter, access: Access) -> None:
    @router.post("/v1/tokens", status_code=201)
    def issue(wanted: NewToken, request: Request) -> dict[str, Any]:
        """Sign in once for a bearer token."""
        attempt = Attempt(
            name=wanted.name,
            password=wanted.password,
            code=wanted.code,
            address=address_of(request),
        )
        try:
            owner = as_staff(access.sign_in(attempt))
        except SignInRefused as error:
            raise _with_the_other_way(access, error) from error
        return access.sessions.issue(owner, wanted.roles, days=wanted.days)

    @router.get("/v1/tokens")
    def tokens(staff: _ANY) -> list[dict[str, Any]]:
        """List one's own tokens."""
        return access.sessions.tokens(staff.name)

    @router.post("/v1/tokens/{token}/revocation")
    def revoke(token: str, staff: _ANY) -> dict[str, str]:
        """End one of one's own tokens."""
        access.sessions.revoke(staff.name, token, by=staff.name)
        return {"revoked": token}


def _with_the_other_way(access: Access, error: SignInRefused) -> SignInRefused:
    """Name the page for whom a provider lets in, whoever asks: nobody learns who has a password."""
    if access.provider is None:
        return error
    return SignInRefused(
        f"{error}; who signs in by the identity provider makes tokens on the page /account/tokens"
    )
