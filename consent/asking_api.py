"""The routes by which people are asked, and by which a yes is confirmed.

    POST /v1/consent-requests        node         a person was asked
    POST /v1/invitations             node         a person is asked by a page: kiosk code or link
    POST /v1/unconfirmed-consents    node         a yes that its person has still to confirm
    POST /v1/confirmations           anyone with the token that was sent elsewhere
    GET  /v1/expiring-consents       node         ?within_days=30: whose consent runs out
    GET  /v1/desk/expiring-consents  officer, DPO, auditor; how many, of nobody in person

"node" is as in `consent.api`. Nobody is asked past the gate (rule 18): the answer is then 403.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent.answers import HOUR_S
from consent.capture import Channel
from consent.choices_api import Purposes, Signed
from consent.errors import RequestInvalid
from consent.records import Invitation, Requested, Unconfirmed
from consent.service import TrustService
from consent.wire import GrantIn, Jurisdiction, Pseudonym, Shape, Token
from policies.vocabulary import AgeBand, Modality, Role, SubjectId, Vulnerability

PAGE_CHANNELS = frozenset({Channel.KIOSK, Channel.WEB})
ConfirmHours = Annotated[int, Field(ge=1, le=24 * 14)]
Days = Annotated[int, Query(ge=1, le=365)]
_Reader = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR))]


class RequestIn(Shape):
    """A person was asked for a consent."""

    subject: Pseudonym
    purposes: Purposes
    modalities: Annotated[frozenset[Modality], Field(min_length=1)]
    notice_version: Annotated[int, Field(ge=1, lt=2**53)]

    def requested(self, invitation: Invitation | None = None) -> Requested:
        """Return it as an act."""
        return Requested(
            purposes=self.purposes,
            modalities=self.modalities,
            notice_version=self.notice_version,
            invitation=invitation,
        )


class InvitationIn(RequestIn):
    """A person is to answer on a page; what the company knows of them comes along."""

    channel: Channel
    minutes: Annotated[int, Field(ge=1, le=60 * 24 * 14)] = 15
    valid_days: Annotated[int, Field(ge=1, le=730)]
    role: Role = Role.CUSTOMER
    age: AgeBand = AgeBand.UNKNOWN
    vulnerabilities: frozenset[Vulnerability] = frozenset()
    jurisdiction: Jurisdiction = "EU"
    confirm_hours: ConfirmHours | None = None

    def invitation(self, now: float) -> Invitation:
        """Return it as a value, open from now on.

        Raises:
            RequestInvalid: A channel that has no page.
        """
        if self.channel not in PAGE_CHANNELS:
            raise RequestInvalid(f"there is no page by {self.channel}: record the answer itself")
        return Invitation(
            channel=self.channel,
            until=int(now) + self.minutes * 60,
            valid_days=self.valid_days,
            role=self.role,
            age=self.age,
            vulnerabilities=self.vulnerabilities,
            jurisdiction=self.jurisdiction,
            confirm_hours=self.confirm_hours,
        )


class UnconfirmedIn(Shape):
    """A yes that counts when its person confirms it, by a token that is sent elsewhere."""

    grant: GrantIn
    confirm_hours: ConfirmHours = 48


class ConfirmationIn(Shape):
    """The token that came back."""

    confirmation_token: Token


def asking_router(service: TrustService, signed: Signed) -> APIRouter:
    """Return the routes over a service."""
    routes = APIRouter()
    _add_asking(routes, service, signed)
    _add_confirming(routes, service, signed)
    _add_expiring(routes, service, signed)
    return routes


def _add_asking(routes: APIRouter, service: TrustService, signed: Signed) -> None:
    @routes.post("/v1/consent-requests", status_code=201)
    async def requests(request: Request) -> dict[str, Any]:
        node, body = await signed(request)
        said = RequestIn.read(body)
        subject = SubjectId(said.subject)
        return await run_in_threadpool(service.asking.ask, node, subject, said.requested())

    @routes.post("/v1/invitations", status_code=201)
    async def invitations(request: Request) -> dict[str, Any]:
        node, body = await signed(request)
        said = InvitationIn.read(body)
        invitation = said.invitation(service.now())
        subject, act = SubjectId(said.subject), said.requested(invitation)
        taken = await run_in_threadpool(service.asking.invite, node, subject, act)
        return taken | {"until": invitation.until}


def _add_confirming(routes: APIRouter, service: TrustService, signed: Signed) -> None:
    @routes.post("/v1/unconfirmed-consents", status_code=201)
    async def unconfirmed(request: Request) -> dict[str, Any]:
        node, body = await signed(request)
        said = UnconfirmedIn.read(body)
        subject, granted = said.grant.granted()
        until = int(service.now()) + said.confirm_hours * HOUR_S
        yes = Unconfirmed(granted=granted, until=until)
        taken = await run_in_threadpool(service.acts.await_confirmation, node, subject, yes)
        return taken | {"until": until}

    @routes.post("/v1/confirmations", status_code=201)
    async def confirmations(request: Request) -> dict[str, Any]:
        said = ConfirmationIn.read(await request.body())
        return await run_in_threadpool(service.answers.confirm, said.confirmation_token)


def _add_expiring(routes: APIRouter, service: TrustService, signed: Signed) -> None:
    @routes.get("/v1/expiring-consents")
    async def expiring(request: Request, within_days: Days = 30) -> list[dict[str, Any]]:
        node, _ = await signed(request)
        found = await run_in_threadpool(
            lambda: service.asking.expiring(node, within_days=within_days)
        )
        return [
            {
                "subject": one.subject,
                "purpose": one.grant.purpose.value,
                "modalities": sorted(one.grant.modalities),
                "expires_at": one.grant.expires_at,
                "may_be_asked": not one.refused_by,
                "rules": list(one.refused_by),
            }
            for one in found
        ]

    @routes.get("/v1/desk/expiring-consents")
    def counted(_: _Reader, within_days: Days = 30) -> list[dict[str, Any]]:
        companies = {node.company for node in service.ledger.nodes()}
        return service.asking.expiring_counts(companies, within_days=within_days)
