"""The HTTP interface of the trust service; the one place where FastAPI is known.

    GET  /healthz                    anyone       status and alarm count
    POST /v1/nodes                   operator     {node, key, company}
    POST /v1/notices, dpias, stop    sealed by the officer (`consent.notice` has the bodies)
    GET  /v1/notices/{version}       anyone       texts, digests and the sealed envelope
    POST /v1/grants                  node         one grant, or {"grants": [...]}
    POST /v1/withdrawals             node, or {manage_token, purpose}; purpose null: everything
    POST /v1/objections              node, or {manage_token, purposes}
    POST /v1/restrictions            node, or {manage_token, restricted}
    *    /v1/refusals, ...           `consent.choices_api`: put off, refused, ended; states
    *    /v1/invitations, ...        `consent.asking_api`: asked, confirmed, running out
    GET  /consent/{token}/code.svg   the page's address as a picture (`consent.code_api`)
    *    /consent/{token}, /my ...   `consent.privacy_centre`: the customer's own pages
    GET  /v1/standing                node         ?after=SEQ&wait_s=N; long poll
    POST /v1/acknowledgements        node
    POST /v1/decisions               node         {request}
    *    /v1/branch-decisions        node         its own log's decisions, page by page
    POST /v1/remedies                node         {request}: would it be allowed, what would help,
                                                  in the words of Accept-Language (en, de, fr)
    GET  /v1/rules[/{id}], /rules    anyone       the catalogue, in words and sources
    GET  /v1/checkpoint              anyone       the log's signed note, as text
    GET  /v1/log/{index}             anyone       {index, leaf, receipt}
    GET  /v1/trace/{decision}        staff        what a decision rests on (`audit.trace_api`)
    *    /v1/witness/...             anyone       `audit.witnessing`, as text

"node" means a request signed with an enrolled node's key; "operator" one who signed in
(`audit.portal`), or the admin token. Errors are problem+json (RFC 9457).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from audit.branch_leaves import MOST_PAGE_BYTES
from audit.errors import (
    EntryMissing,
    EventInvalid,
    EvidenceUnavailable,
    KeyChangeRefused,
    KeystoreError,
    SignatureInvalid,
    TooManyAttempts,
)
from audit.http import (
    BodyLimit,
    RecordRefusals,
    TraceRequests,
    address_of,
    install_error_handlers,
)
from audit.key_api import key_router
from audit.portal.budget_page import Section, budget_pages
from audit.portal.frame import guard_answers, install_frame
from audit.portal.rules_page import preferred, rules_page
from audit.portal.sign_on_pages import sign_on_pages
from audit.retention_api import retention_router
from audit.staff import Staff, StaffRole, only
from audit.trace_api import trace_router
from audit.witnessing import MAX_BYTES, PREFIX
from consent import choices_api, wire
from consent.acts import Person
from consent.asking_api import asking_router
from consent.branches_api import PATH, branches_router
from consent.budgets import budget_sections
from consent.bundle_api import bundle_router
from consent.capture import Layer
from consent.code_api import code_router
from consent.document_api import document_router
from consent.errors import (
    Busy,
    Conflict,
    LedgerUnavailable,
    LinkUnknown,
    NotAuthenticated,
    NotFound,
    RequestInvalid,
)
from consent.open_api import add_open_api
from consent.pages.mounted import add_pages, site_of
from consent.privacy_centre.check_pages import check_pages
from consent.privacy_centre.consent_pages import consent_pages
from consent.privacy_centre.frame import count_wrong, customer_problem
from consent.privacy_centre.pages import privacy_centre
from consent.privacy_centre.rights_pages import rights_pages
from consent.register_api import registers_router
from consent.reminder_api import reminder_router
from consent.rights_api import add_rights
from consent.service import TrustService
from consent.tables import NodeRow
from policies.errors import PolicyInvalid, PolicyUnavailable, RuleUnknown, UndertoneError
from policies.vocabulary import RuleId
from policies.words import rule_page, rule_pages

MOST_BODY_BYTES = 8 * 2**20

_MOST_BYTES = {
    "/v1/": MOST_BODY_BYTES,
    "/receipt": MOST_BODY_BYTES,  # as many cosignatures as there are witnesses
    PREFIX: MAX_BYTES,
    PATH: MOST_PAGE_BYTES,
}
"""Largest bodies of what programs send, and of a receipt that is handed out as a file."""

STATUS: dict[type[UndertoneError], int] = {
    RequestInvalid: 422,
    EventInvalid: 422,
    KeyChangeRefused: 409,
    NotAuthenticated: 401,
    SignatureInvalid: 401,
    NotFound: 404,
    EntryMissing: 404,
    RuleUnknown: 404,
    Conflict: 409,
    Busy: 503,
    LedgerUnavailable: 503,
    EvidenceUnavailable: 503,
    KeystoreError: 503,
    PolicyInvalid: 422,
    PolicyUnavailable: 503,
}

_S = TypeVar("_S", bound=wire.OnSomeone)


def create_app(service: TrustService) -> FastAPI:
    """Return the application over a service, which stays the caller's to close."""
    app = FastAPI(title="Undertone trust service", docs_url=None, redoc_url=None, openapi_url=None)
    install_frame(app, service.access, site_of(service))
    app.include_router(sign_on_pages(service.access))
    app.add_middleware(BodyLimit, by_prefix=_MOST_BYTES)
    app.add_middleware(RecordRefusals, refusals=service.refusals)
    app.add_middleware(TraceRequests)
    install_error_handlers(app, STATUS)
    guard_answers(app)
    _slow_down(app, service)
    _add_public(app, service)
    _add_officer(app, service)
    _add_people(app, service)
    _add_nodes(app, service)
    _add_witness(app, service)
    app.include_router(choices_api.router(service, partial(_signed_by_node, service)))
    app.include_router(asking_router(service, partial(_signed_by_node, service)))
    app.state.customer_problem = customer_problem
    app.include_router(consent_pages(service))
    app.include_router(code_router(service))
    app.include_router(privacy_centre(service))
    app.include_router(rights_pages(service))
    app.include_router(check_pages(service))
    add_rights(app, service, _signed_by_node)
    app.include_router(trace_router(service.log))
    operator = [only(StaffRole.OPERATOR)]
    app.include_router(key_router(service.log, service.key_desk, operator=operator))
    app.include_router(registers_router(service))
    app.include_router(document_router(service, _signed_by_node))
    app.include_router(reminder_router(service))
    lifted = service.finish_held_erasures
    app.include_router(retention_router(service.retention, service.holds, lifted=lifted))
    app.include_router(bundle_router(service, _signed_by_node))
    app.include_router(branches_router(service, _signed_by_node))
    app.include_router(budget_pages(lambda: _budgets(service)))
    add_pages(app, service)
    add_open_api(app)
    return app


def _slow_down(app: FastAPI, service: TrustService) -> None:
    """Let who sends wrong tokens of people wait, as at their pages."""
    answered = app.exception_handlers[UndertoneError]

    def opens_nothing(request: Request, error: Exception) -> Any:
        try:
            count_wrong(service, request)
        except TooManyAttempts as waits:
            return answered(request, waits)
        return answered(request, error)

    app.add_exception_handler(LinkUnknown, opens_nothing)


async def _signed_by_node(service: TrustService, request: Request) -> tuple[NodeRow, bytes]:
    body = await request.body()
    query = request.scope["query_string"]
    path = (request.scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
    node = service.callers.authenticate(
        request.headers, method=request.method, path=path, body=body, address=address_of(request)
    )
    return node, body


def _budgets(service: TrustService) -> list[Section]:
    heard = service.acknowledgements.budgets()
    return budget_sections(heard, coordinator=service.settings.coordinator)


def _add_public(app: FastAPI, service: TrustService) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return service.health()

    @app.get("/v1/checkpoint")
    def checkpoint() -> PlainTextResponse:
        return PlainTextResponse(service.log.checkpoint())

    @app.get("/v1/log/{index}")
    def log_entry(index: int) -> dict[str, Any]:
        entry = service.log.entry(index)
        return {
            "index": index,
            "leaf": base64.b64encode(entry.leaf).decode(),
            "receipt": service.witnessing.receipt(index),
        }

    app.include_router(rules_page())

    @app.get("/v1/rules")
    def rules() -> list[dict[str, Any]]:
        return rule_pages()

    @app.get("/v1/rules/{rule}")
    def rule(rule: str) -> dict[str, Any]:
        return rule_page(RuleId(rule))

    @app.get("/v1/notices/{version}")
    def notice(version: int) -> dict[str, Any]:
        found = service.officer.notice(version)
        return {
            "version": found.version,
            "texts": dict(found.texts),
            "digests": found.text_digests(),
            "short": dict(found.short),
            "short_digests": found.text_digests(Layer.SHORT),
            "material": found.material,
            "envelope": service.officer.envelope_of_notice(version),
        }


def _add_officer(app: FastAPI, service: TrustService) -> None:
    for path, kind in (("notices", "notice"), ("dpias", "dpia"), ("stop", "stop")):
        app.post(f"/v1/{path}", status_code=201)(_decree(service, kind))

    @app.post("/v1/nodes", status_code=201)
    async def enrol(
        request: Request, _: Annotated[Staff, Depends(only(StaffRole.OPERATOR))]
    ) -> dict[str, Any]:
        wanted = wire.NodeIn.read(await request.body())
        row = await run_in_threadpool(service.enrolment.enrol, wanted)
        return {"node": row.node, "company": row.company, "log_index": row.log_index}


def _decree(service: TrustService, kind: str) -> Callable[[Request], Any]:
    async def take(request: Request) -> dict[str, Any]:
        envelope = await request.body()
        _, index = await run_in_threadpool(service.officer.decree, kind, envelope)
        return {"kind": kind, "log_index": index}

    return take


def _add_people(app: FastAPI, service: TrustService) -> None:
    @app.post("/v1/grants", status_code=201)
    async def grants(request: Request) -> dict[str, Any]:
        node, body = await _signed_by_node(service, request)
        return await run_in_threadpool(_grant, service, node, body)

    @app.post("/v1/withdrawals", status_code=201)
    async def withdrawals(request: Request) -> dict[str, Any]:
        person, said = await _on_someone(service, request, wire.WithdrawalIn)
        return await run_in_threadpool(
            lambda: service.acts.withdraw(person, said.purpose, once=said.once)
        )

    @app.post("/v1/objections", status_code=201)
    async def objections(request: Request) -> dict[str, Any]:
        person, said = await _on_someone(service, request, wire.ObjectionIn)
        return await run_in_threadpool(service.acts.object_to, person, said.purposes)

    @app.post("/v1/restrictions", status_code=201)
    async def restrictions(request: Request) -> dict[str, Any]:
        person, said = await _on_someone(service, request, wire.RestrictionIn)
        return await run_in_threadpool(
            lambda: service.acts.restrict(person, restricted=said.restricted)
        )


def _grant(service: TrustService, node: NodeRow, body: bytes) -> dict[str, Any]:
    if _is_bulk(body):
        wanted = [grant.granted() for grant in wire.GrantsIn.read(body).grants]
        return {"receipts": service.acts.grant(node, wanted)}
    return service.acts.grant(node, [wire.GrantIn.read(body).granted()])[0]


def _is_bulk(body: bytes) -> bool:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise RequestInvalid("body: not JSON") from error
    return isinstance(value, dict) and "grants" in value


async def _on_someone(
    service: TrustService, request: Request, shape: type[_S]
) -> tuple[Person, _S]:
    """Return whom the body concerns and what it says; a pseudonym needs a node's signature."""
    said = shape.read(await request.body())
    node = None
    if said.manage_token is None:
        node, _ = await _signed_by_node(service, request)
    return await run_in_threadpool(service.callers.whom, said, node), said


def _add_nodes(app: FastAPI, service: TrustService) -> None:
    @app.get("/v1/standing")
    async def standing(
        request: Request,
        after: Annotated[int, Query(ge=0, lt=2**53)] = 0,
        wait_s: Annotated[float, Query(ge=0, le=3600)] = 0.0,
    ) -> Response:
        node, _ = await _signed_by_node(service, request)
        await _await_news(service, node, after, min(wait_s, service.settings.most_wait_s))
        envelope = await run_in_threadpool(lambda: service.feed.envelope(node, after=after))
        return Response(envelope, media_type="application/json")

    @app.post("/v1/acknowledgements")
    async def acknowledgements(request: Request) -> dict[str, int]:
        node, body = await _signed_by_node(service, request)
        said = wire.AcknowledgementIn.read(body)
        return await run_in_threadpool(service.acknowledgements.receive, node, said)

    @app.post("/v1/decisions")
    async def decisions(request: Request) -> dict[str, Any]:
        node, body = await _signed_by_node(service, request)
        said = wire.DecisionIn.read(body)
        return await run_in_threadpool(service.decisions.decide, node, said)

    @app.post("/v1/remedies")
    async def remedies(request: Request, response: Response) -> dict[str, Any]:
        node, body = await _signed_by_node(service, request)
        said = wire.DecisionIn.read(body)
        chosen = preferred(request.headers.get("accept-language", ""))
        response.headers["content-language"] = chosen.value
        response.headers["vary"] = "Accept-Language"
        return await run_in_threadpool(service.decisions.remedy, node, said, chosen)


def _add_witness(app: FastAPI, service: TrustService) -> None:
    @app.get(PREFIX + "/{rest:path}")
    @app.post(PREFIX + "/{rest:path}")
    async def witness(request: Request, rest: str) -> Response:
        body = await request.body()
        answer = await run_in_threadpool(
            lambda: service.callers.witness(
                request.headers,
                method=request.method,
                path=f"/{rest}",
                query=request.url.query,
                body=body,
                address=address_of(request),
            )
        )
        return Response(answer.body, status_code=answer.status, media_type=answer.media_type)


async def _await_news(service: TrustService, node: NodeRow, after: int, wait_s: float) -> None:
    """Return when the node has news after a sequence, or after `wait_s` without any."""
    with service.bell.listen(node.company) as heard:
        if not await run_in_threadpool(lambda: service.feed.has_news(node, after=after)):
            try:
                await asyncio.wait_for(heard.wait(), timeout=wait_s)
            except TimeoutError:
                return
