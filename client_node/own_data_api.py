"""The routes by which a person's own questions reach the node, through an integration.

`POST /v1/own/uses`, `/v1/own/releases`: {customer}; `POST /v1/own/statements`: {customer, run,
round}, answered with the signed file. `GET /v1/batch-keys/{decision}` is an auditor's.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Response

from audit.staff import StaffRole, only
from client_node import wire
from client_node.service import NodeService
from policies.vocabulary import RunId


def own_data_router(service: NodeService) -> APIRouter:
    """Return the routes for integrations."""
    router = APIRouter(prefix="/v1/own")

    @router.post("/uses")
    def uses(said: wire.CustomerIn) -> dict[str, Any]:
        return service.own_data.uses(service.people.subject(said.customer))

    @router.post("/releases")
    def releases(said: wire.CustomerIn) -> dict[str, Any]:
        return service.own_data.learned(service.people.subject(said.customer))

    @router.post("/statements")
    def statements(said: wire.ProofIn) -> Response:
        subject = service.people.subject(said.customer)
        statement = service.own_data.state(RunId(said.run), said.round, subject)
        return Response(statement, media_type="application/json")

    return router


def auditor_router(service: NodeService) -> APIRouter:
    """Return the route that opens one batch's key to an auditor."""
    router = APIRouter(dependencies=[Depends(only(StaffRole.AUDITOR))])

    @router.get("/v1/batch-keys/{decision}")
    def batch_key(decision: str) -> dict[str, str]:
        return {"decision": decision, "key": service.own_data.batch_key(decision).hex()}

    return router
