"""The routes of people's requests.

    POST /v1/requests                         node, or {manage_token, right, ...}
    GET  /v1/requests/mine                    bearer: the request token
    GET  /v1/requests/mine/package            bearer; ?format=json|html
    POST /v1/requests/{id}/answers            node: {report, leaf, receipt}
    GET  /v1/desk/requests                    staff; ?all=true
    POST /v1/desk/requests                    officer, DPO: for a person who wrote or came
    GET  /v1/desk/requests/{id}               staff
    GET  /v1/desk/requests/{id}/package       DPO, officer
    GET  /v1/desk/requests/{id}/facts         DPO, officer: of a review, before it is decided
    GET  /v1/desk/requests/{id}/letters/{letter}?language=
    POST /v1/desk/requests/{id}/identity-asked, identity, extension, decision, delivery, closing

"node" is a request signed with an enrolled node's key; staff by `audit.staff`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent import wire
from consent.acts import Person
from consent.errors import NotFound, RequestInvalid
from consent.rights import (
    Case,
    Extension,
    Identity,
    Outcome,
    Refusal,
    Right,
    Way,
    person_answered,
)
from consent.rights_desk import PERSON
from consent.rights_page import letter, package_page
from consent.service import TrustService
from consent.tables import NodeRow
from policies.vocabulary import Purpose, SubjectId

SignedByNode = Callable[[TrustService, Request], Awaitable[tuple[NodeRow, bytes]]]
Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
Reader = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR))]
Statement = Annotated[str, Field(max_length=4000)]
"""The person's own view; sealed, and destroyed when the request is closed."""
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class About(wire.Shape):
    """What a request concerns: purposes, a turn and its right label, or a decision."""

    purposes: Annotated[tuple[Purpose, ...], Field(max_length=16)] = ()
    turn: Word | None = None
    label: Word | None = None
    decision: Word | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is there."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value}


class RequestIn(wire.OnSomeone):
    """A request: by its person's manage token, or by a node that knows its customer."""

    right: Right
    about: About = About()
    jurisdiction: wire.Jurisdiction = "EU"
    statement: Statement | None = None


class DeskRequestIn(wire.Shape):
    """A request that came by letter or by word; the identity is confirmed afterwards."""

    company: wire.Name
    subject: wire.Pseudonym
    right: Right
    about: About = About()
    jurisdiction: wire.Jurisdiction = "EU"
    statement: Statement | None = None


class AskedIn(wire.Shape):
    """By which way the person was asked who they are."""

    way: Way


class IdentityIn(wire.Shape):
    """How the person was known; nothing that they showed."""

    method: Literal[Identity.ACCOUNT, Identity.DOCUMENT_SEEN, Identity.CALL_BACK]


class ExtensionIn(wire.Shape):
    """Why it takes longer, and by which way the person was told."""

    reason: Extension
    way: Way


class DecisionIn(wire.Shape):
    """What a person decided on review, and why, in words for the person who asked."""

    outcome: Literal["upheld", "changed", "overturned"]
    reasons: Annotated[str, Field(min_length=10, max_length=4000)]


class DeliveryIn(wire.Shape):
    """By which way the person was answered."""

    way: Way


class ClosingIn(wire.Shape):
    """How it ends."""

    outcome: Literal[Outcome.DONE, Outcome.REFUSED]
    reason: Refusal | None = None


class AnswerIn(wire.Shape):
    """A node's report, and the entry of its log that it stands by."""

    report: wire.Document
    leaf: Annotated[str, Field(max_length=8192)]
    receipt: Annotated[str, Field(max_length=16384)]


def add_rights(app: FastAPI, service: TrustService, signed_by_node: SignedByNode) -> None:
    """Add the routes to the service's application."""
    _add_people(app, service, signed_by_node)
    router = APIRouter(prefix="/v1/desk/requests")
    _add_views(router, service)
    _add_steps(router, service)
    app.include_router(router)


def _add_people(app: FastAPI, service: TrustService, signed_by_node: SignedByNode) -> None:
    desk = service.rights

    @app.post("/v1/requests", status_code=201)
    async def opened(request: Request) -> dict[str, Any]:
        said = RequestIn.read(await request.body())
        node = None
        if said.manage_token is None:
            node, _ = await signed_by_node(service, request)
        person = await run_in_threadpool(service.callers.whom, said, node)
        return await run_in_threadpool(
            lambda: desk.open(
                said.right,
                person,
                by=PERSON if node is None else node.node,
                about=said.about.as_dict(),
                jurisdiction=said.jurisdiction,
                method=Identity.MANAGE_TOKEN if node is None else Identity.BRANCH,
                statement=said.statement,
            )
        )

    @app.get("/v1/requests/mine")
    def mine(authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        return desk.state(desk.by_token(_bearer(authorization)))

    @app.get("/v1/requests/mine/package")
    def my_package(
        authorization: Annotated[str | None, Header()] = None,
        format: Literal["json", "html"] = "json",  # noqa: A002 (the word of the address)
    ) -> Response:
        case = desk.by_token(_bearer(authorization))
        answer = _package(service, case, format)
        if not person_answered(case):
            desk.deliver(case.case, by=PERSON, way="fetched")
        return answer

    @app.post("/v1/requests/{request_id}/answers", status_code=201)
    async def answers(request_id: str, request: Request) -> dict[str, Any]:
        node, body = await signed_by_node(service, request)
        said = AnswerIn.read(body).model_dump()
        asks = (one for one in (service.facts, service.searches) if one.knows(request_id))
        await run_in_threadpool(next(asks, desk.nodes).receive, node, request_id, said)
        return {"request": request_id}


def _add_views(router: APIRouter, service: TrustService) -> None:
    desk = service.rights

    @router.get("")
    def listed(_: Reader, all: bool = False) -> list[dict[str, Any]]:  # noqa: A002, FBT001, FBT002
        return (
            [desk.state(case) for case in desk.requests(only_open=not all)] if all else desk.due()
        )

    @router.get("/{request_id}")
    def shown(_: Reader, request_id: str) -> dict[str, Any]:
        return desk.state(desk.case(request_id))

    @router.get("/{request_id}/package")
    def package(_: Desk, request_id: str, format: Literal["json", "html"] = "json") -> Response:  # noqa: A002
        return _package(service, desk.case(request_id), format)

    @router.get("/{request_id}/facts")
    def facts(_: Desk, request_id: str) -> dict[str, Any]:
        return desk.facts(desk.case(request_id))

    @router.get("/{request_id}/letters/{name}")
    def a_letter(_: Desk, request_id: str, name: str, language: str = "en") -> dict[str, str]:
        return {"letter": letter(name, language, desk.state(desk.case(request_id)))}


def _add_steps(router: APIRouter, service: TrustService) -> None:
    desk = service.rights

    @router.post("", status_code=201)
    def opened(staff: Desk, said: DeskRequestIn) -> dict[str, Any]:
        subject = SubjectId(said.subject)
        if service.ledger.owners([subject]).get(subject) != said.company:
            raise NotFound("this company has recorded no such person")
        person = Person(company=said.company, subject=subject, node=None)
        about = said.about.as_dict()
        return desk.open(
            said.right,
            person,
            by=staff.name,
            about=about,
            jurisdiction=said.jurisdiction,
            method=None,
            statement=said.statement,
        )

    @router.post("/{request_id}/identity-asked", status_code=201)
    def identity_asked(staff: Desk, request_id: str, said: AskedIn) -> dict[str, Any]:
        return desk.state(desk.ask_identity(request_id, by=staff.name, way=said.way.value))

    @router.post("/{request_id}/identity", status_code=201)
    def identity(staff: Desk, request_id: str, said: IdentityIn) -> dict[str, Any]:
        return desk.state(desk.confirm_identity(request_id, said.method, by=staff.name))

    @router.post("/{request_id}/extension", status_code=201)
    def extension(staff: Desk, request_id: str, said: ExtensionIn) -> dict[str, Any]:
        reason, way = said.reason.value, said.way.value
        return desk.state(desk.extend(request_id, reason, by=staff.name, way=way))

    @router.post("/{request_id}/decision", status_code=201)
    def decision(staff: Desk, request_id: str, said: DecisionIn) -> dict[str, Any]:
        made = desk.decide(request_id, said.outcome, by=staff.name, reasons=said.reasons)
        return desk.state(made)

    @router.post("/{request_id}/delivery", status_code=201)
    def delivery(staff: Desk, request_id: str, said: DeliveryIn) -> dict[str, Any]:
        return desk.state(desk.deliver(request_id, by=staff.name, way=said.way.value))

    @router.post("/{request_id}/closing", status_code=201)
    def closing(staff: Desk, request_id: str, said: ClosingIn) -> dict[str, Any]:
        reason = None if said.reason is None else said.reason.value
        if (said.outcome is Outcome.REFUSED) != (reason is not None):
            raise RequestInvalid("a refusal, and nothing else, names its reason")
        return desk.state(desk.close(request_id, said.outcome, reason, by=staff.name))


def _package(service: TrustService, case: Case, how: str) -> Response:
    found = service.rights.package(case)
    if how == "html":
        return Response(package_page(found), media_type="text/html; charset=utf-8")
    return Response(json.dumps(found, indent=1), media_type="application/json")


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise NotFound("send the request token: Authorization: Bearer TOKEN")
    return token
