"""The Unix socket (mode 0600) on which the node's own executor asks; whoever opens it is us.

    POST /internal/enrolment    sealed enrolment         → sealed `ready`, or `refusal`
    POST /internal/rounds       sealed terms             → {permit, bags}, or {refusal}
    POST /internal/evaluations  sealed evaluation        → sealed `table`, or `refusal`
    POST /internal/updates      update, JSON             → sealed `update`
    POST /internal/releases     sealed release           → sealed `release-loaded`, or `refusal`
         /internal/approvals    the operator's, `client_node.approvals_api`
         /internal/campaigns    the operator's, `client_node.campaigns_api`
         /internal/personal     the operator's, `client_node.personal_api`
    /v1/log-keys                the operator's commands about the log's keys (`audit.key_api`)

A refusal is an answer like any other: it says one word of a closed set, signed.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import safetensors.numpy
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from audit.errors import AuditError
from audit.http import BodyLimit, RecordRefusals, TraceRequests, install_error_handlers
from audit.key_api import key_router
from audit.rotation import KeyDesk
from client_node.approvals_api import approvals_router
from client_node.calls_api import days_router
from client_node.campaigns_api import campaigns_router
from client_node.errors import (
    ApprovalRefused,
    ApprovalUnknown,
    CohortRefused,
    LocalHeadRefused,
    NodeError,
    RecordRefused,
    ReleaseRejected,
    RoundRefusal,
    RoundRefused,
    TurnUnknown,
    UpdateRejected,
)
from client_node.personal_api import personal_router
from client_node.service import NodeService
from client_node.webhooks_api import webhooks_router
from models.bags import Bags
from policies.errors import MessageBlocked, UndertoneError

MAX_BODY_BYTES = 17 * 2**20
STATUSES: dict[type[UndertoneError], int] = {
    UpdateRejected: 409,
    LocalHeadRefused: 409,
    ApprovalUnknown: 404,
    ApprovalRefused: 409,
    TurnUnknown: 404,
    CohortRefused: 422,
    RecordRefused: 409,
    MessageBlocked: 409,
    NodeError: 503,
    AuditError: 409,
}


def create_internal_app(service: NodeService) -> FastAPI:
    """Return the app for the executor's socket."""
    app = FastAPI(title="Undertone node, internal", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, limit_bytes=MAX_BODY_BYTES)
    app.add_middleware(RecordRefusals, refusals=service.refusals)
    app.add_middleware(TraceRequests)
    install_error_handlers(app, STATUSES)

    app.include_router(personal_router(service.personalisation))
    app.include_router(approvals_router(service.room.proposals), prefix="/internal")
    app.include_router(webhooks_router(service.webhooks), prefix="/internal")
    campaigns = campaigns_router(service.room.campaigns, service.people)
    app.include_router(campaigns, prefix="/internal")
    app.include_router(days_router(service.room), prefix="/internal")

    @app.post("/internal/enrolment")
    async def enrolment(request: Request) -> Response:
        envelope = await request.body()
        return _bytes(await run_in_threadpool(_enrol, service, envelope))

    @app.post("/internal/rounds")
    async def rounds(request: Request) -> dict[str, str]:
        envelope = await request.body()
        return await run_in_threadpool(_round, service, envelope)

    @app.post("/internal/evaluations")
    async def evaluations(request: Request) -> Response:
        envelope = await request.body()
        return _bytes(await run_in_threadpool(_evaluate, service, envelope))

    @app.post("/internal/updates")
    async def updates(request: Request) -> Response:
        value = _json(await request.body())
        return _bytes(await run_in_threadpool(service.training.sign_update, value))

    @app.post("/internal/releases")
    async def releases(request: Request) -> Response:
        bundle = await request.body()
        return _bytes(await run_in_threadpool(_release, service, bundle))

    app.include_router(key_router(service.log, KeyDesk(service.log, clock=service.log.clock)))
    return app


def bags_to_bytes(bags: Bags) -> bytes:
    """Return the bags as safetensors: `features`, `labels`, `owners`."""
    return safetensors.numpy.save(
        {"features": bags.features, "labels": bags.labels, "owners": bags.owners}
    )


def _enrol(service: NodeService, envelope: bytes) -> bytes:
    try:
        return service.training.enrol(envelope)
    except RoundRefused as error:
        return service.training.refusal("enrolment", envelope, error.reason)


def _round(service: NodeService, envelope: bytes) -> dict[str, str]:
    try:
        inputs = service.training.take_part(envelope)
    except RoundRefused as error:
        refusal = service.training.refusal("terms", envelope, error.reason)
        return {"refusal": base64.b64encode(refusal).decode()}
    return {
        "permit": base64.b64encode(inputs.permit).decode(),
        "bags": base64.b64encode(bags_to_bytes(inputs.bags)).decode(),
    }


def _evaluate(service: NodeService, envelope: bytes) -> bytes:
    try:
        return service.training.evaluate(envelope)
    except RoundRefused as error:
        return service.training.refusal("evaluation", envelope, error.reason)


def _release(service: NodeService, bundle: bytes) -> bytes:
    try:
        return service.releases.load(bundle)
    except ReleaseRejected:
        return service.training.refusal("release", bundle, RoundRefusal.SIGNATURE)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise UpdateRejected("the update is not JSON") from error


def _bytes(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")
