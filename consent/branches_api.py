"""The routes by which a node hands over the decisions of its log (`consent.branches`).

GET  /v1/branch-decisions   node   {start, size, most}: where its next page begins
POST /v1/branch-decisions   node   one page; the same in return

Both are answered in the signer's name: a node has no way to speak of another's log.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from consent.bundle_api import SignedByNode
from consent.service import TrustService
from consent.wire import LeafPageIn

PATH = "/v1/branch-decisions"


def branches_router(service: TrustService, signed_by_node: SignedByNode) -> APIRouter:
    """Return the routes over a service; `signed_by_node` tells which node sent a request."""
    router = APIRouter(prefix=PATH)

    @router.get("")
    async def state(request: Request) -> dict[str, int]:
        node, _ = await signed_by_node(service, request)
        return await run_in_threadpool(service.branches.state, node)

    @router.post("")
    async def page(request: Request) -> dict[str, int]:
        node, body = await signed_by_node(service, request)
        said = LeafPageIn.read(body)
        return await run_in_threadpool(service.branches.receive, node, said)

    return router
