"""The routes of the generated documents, and of the cards that they rest on.

    GET  /v1/desk/documents                    officer, DPO, auditor, data scientist
    GET  /v1/desk/documents/{name}             ?format=json|json-ld|markdown|html|pdf
    POST /v1/desk/documents/{name}/approval    officer, DPO: {digest} as it was read
    POST /v1/release-cards                     the coordinator's key: {card, leaf, receipt}

Who approves is who is signed in; nobody names another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import Field

from audit.http import attachment
from audit.staff import Staff, StaffRole, only
from consent import wire
from consent.document_pages import as_html, as_json_ld, as_markdown
from consent.document_pdf import as_pdf
from consent.documents import kind_of
from consent.service import TrustService
from consent.tables import NodeRow

_R = StaffRole
Desk = Annotated[Staff, Depends(only(_R.OFFICER, _R.DPO))]
Reader = Annotated[Staff, Depends(only(_R.OFFICER, _R.DPO, _R.AUDITOR, _R.DATA_SCIENTIST))]
SignedByNode = Callable[[TrustService, Request], Awaitable[tuple[NodeRow, bytes]]]


class Form(StrEnum):
    """How a document is written."""

    JSON = "json"
    JSON_LD = "json-ld"
    MARKDOWN = "markdown"
    PDF = "pdf"
    HTML = "html"


class ApprovalIn(wire.Shape):
    """The digest of the document as it was read."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CardIn(wire.Shape):
    """A release's card, and the coordinator's log entry that commits to it."""

    card: wire.Document
    leaf: Annotated[str, Field(max_length=8192)]
    receipt: Annotated[str, Field(max_length=16384)]


def document_router(service: TrustService, signed_by_node: SignedByNode) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter()
    desk = service.documents

    @router.get("/v1/desk/documents")
    def listed(_: Reader) -> list[dict[str, Any]]:
        return desk.every()

    @router.get("/v1/desk/documents/{name}")
    def shown(_: Reader, name: str, format: Form = Form.JSON) -> Response:  # noqa: A002 (the address's word)
        kind, stamp = kind_of(name)[1], desk.read(name)
        match format:
            case Form.JSON:
                return JSONResponse(stamp)
            case Form.JSON_LD:
                return JSONResponse(as_json_ld(kind, stamp), media_type="application/ld+json")
            case Form.HTML:
                return Response(as_html(kind, stamp), media_type="text/html; charset=utf-8")
            case Form.MARKDOWN:
                text = as_markdown(kind, stamp)
                return Response(text, media_type="text/markdown; charset=utf-8")
            case Form.PDF:
                named = attachment(f"{name}-{stamp['digest'][:12]}.pdf")
                body = as_pdf(kind, stamp)
                return Response(body, media_type="application/pdf", headers=named)

    @router.post("/v1/desk/documents/{name}/approval", status_code=201)
    def approved(staff: Desk, name: str, said: ApprovalIn) -> dict[str, Any]:
        return dict(desk.approve(name, said.digest, staff=staff)["approval"])

    @router.post("/v1/release-cards", status_code=201)
    async def told(request: Request) -> dict[str, Any]:
        node, body = await signed_by_node(service, request)
        said = CardIn.read(body).model_dump()
        return await run_in_threadpool(service.cards.take, node, said)

    return router
