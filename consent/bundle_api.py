"""The routes of an organisation's rules.

POST /v1/bundles, rollouts, jurisdictions   sealed by the officer (`consent.bundles`)
GET  /v1/bundles                            officer, DPO, auditor, operator
GET  /v1/officer/bundles                    the same, signed with the officer's key
GET  /v1/bundles/{name}/{version}           node: the sealed envelope
POST /v1/shadow-reports                     node: counts, of nobody
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit.staff import Staff, StaffRole, only
from consent.errors import RequestInvalid
from consent.service import TrustService
from consent.tables import NodeRow
from policies.vocabulary import NodeId

_READERS = only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR, StaffRole.OPERATOR)
SignedByNode = Callable[[TrustService, Request], Awaitable[tuple[NodeRow, bytes]]]

Count = Annotated[int, Field(ge=0, lt=2**53)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,80}$")]
Words = Annotated[tuple[Word, ...], Field(max_length=100)]


class ChangeIn(BaseModel):
    """One kind of difference that a shadow found, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Word
    purpose: Word
    opens: bool
    before: Words
    after: Words
    count: Count


class ReportIn(BaseModel):
    """A node's shadow in numbers: no person, no time, no request fits into it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    proposed_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    decided: Count
    failed: Count
    changes: Annotated[tuple[ChangeIn, ...], Field(max_length=1000)]


def bundle_router(service: TrustService, signed_by_node: SignedByNode) -> APIRouter:
    """Return the routes over a service; `signed_by_node` tells which node sent a request."""
    router = APIRouter(prefix="/v1")
    for path, kind in (
        ("bundles", "bundle"),
        ("rollouts", "rollout"),
        ("jurisdictions", "jurisdiction"),
    ):
        router.post(f"/{path}", status_code=201)(_act(service, kind))

    @router.get("/bundles")
    def bundles(_: Annotated[Staff, Depends(_READERS)]) -> dict[str, Any]:
        return service.bundles.status()

    @router.get("/officer/bundles")
    def officers_bundles(request: Request) -> dict[str, Any]:
        service.callers.check_officer(request.headers, method="GET", path="/v1/officer/bundles")
        return service.bundles.status()

    @router.get("/bundles/{name}/{version}")
    async def envelope(request: Request, name: str, version: int) -> Response:
        await signed_by_node(service, request)
        return Response(service.bundles.envelope(name, version), media_type="application/json")

    @router.post("/shadow-reports", status_code=201)
    async def reports(request: Request) -> dict[str, Any]:
        node, body = await signed_by_node(service, request)
        try:
            said = ReportIn.model_validate(json.loads(body))
        except (ValueError, ValidationError) as error:
            raise RequestInvalid("not a shadow's report: expected its counts alone") from error
        service.bundles.report(NodeId(node.node), said.model_dump(mode="json"))
        return {"decided": said.decided}

    return router


def _act(service: TrustService, kind: str) -> Callable[[Request], Any]:
    async def take(request: Request) -> dict[str, Any]:
        envelope = await request.body()
        _, index = await run_in_threadpool(service.bundles.take, kind, envelope)
        return {"kind": kind, "log_index": index}

    return take
