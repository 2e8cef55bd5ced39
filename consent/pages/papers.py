"""Documents: RoPA, DPIA, FRIA, technical file, instructions; read, approved, exported.

    GET  /documents                    how each stands
    GET  /documents/{name}             the document as the system is now
    POST /documents/{name}/approval    officer, DPO: as it was read, by its digest
    GET  /documents/paper.css          the style of what is exported as HTML

Exports are at `/v1/desk/documents/{name}?format=` (PDF, HTML to print, JSON-LD, Markdown).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, RedirectResponse, Response

from audit.portal.frame import page, show
from audit.portal.listing import Cell, Listing, badge, ident, plain
from audit.portal.moments import moment, zone_of
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from consent.document_api import ApprovalIn
from consent.document_pages import body_of
from consent.documents import kind_of
from consent.pages.forms import read_form
from consent.service import TrustService

_Reader = Annotated[Staff, Depends(only(*OVERSEERS, StaffRole.DATA_SCIENTIST))]
_Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]


def document_pages(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/documents", include_in_schema=False)
    desk = service.documents

    @router.get("")
    def documents(request: Request, _: _Reader) -> Response:
        listing = Listing(
            name="documents",
            caption="Made from the system as it is now; an approval names what was read",
            columns=("Document", "State", "Approved by", "Waits for", "Changed since", "Digest"),
            rows=[_row(one) for one in desk.every()],
            empty="No document.",
        )
        return show(request, "documents.html", tables=[listing])

    @router.get("/paper.css")
    def style() -> FileResponse:
        return FileResponse(Path(__file__).parent / "paper.css", media_type="text/css")

    @router.get("/{name}")
    def one(request: Request, staff: _Reader, name: str) -> Response:
        kind, stamp = kind_of(name)[1], desk.read(name)
        zone = zone_of(request)
        approvals = [
            row | {"when": moment(row["at"], zone)} for row in stamp["approval"]["approvals"]
        ]
        return page(
            request,
            "document.html",
            crumbs=[("Documents", "/documents")],
            name=name,
            kind=kind,
            stamp=stamp,
            approvals=approvals,
            state=_state(stamp),
            body=body_of(kind, stamp),
            may=bool({StaffRole.OFFICER, StaffRole.DPO} & staff.roles),
        )

    @router.post("/{name}/approval")
    async def approve(request: Request, staff: _Desk, name: str) -> Response:
        said = await read_form(request, ApprovalIn)
        await run_in_threadpool(lambda: desk.approve(name, said.digest, staff=staff))
        return RedirectResponse(f"/documents/{name}", status_code=303)

    return router


def _row(one: dict[str, object]) -> tuple[Cell, ...]:
    approval = one["approval"]
    if not isinstance(approval, dict):
        return ()
    held = ", ".join(row["by"] for row in approval["approvals"] if row["holds"])
    return (
        Cell(text=str(one["title"]), href=f"/documents/{one['name']}"),
        _state(one),
        plain(held or "nobody"),
        plain(" and ".join(approval["waits_for"]) or "-"),
        plain(", ".join(approval["changed"]) or "-"),
        ident(str(one["digest"])),
    )


def _state(one: dict[str, object]) -> Cell:
    approval, missing = one["approval"], one["missing"]
    if isinstance(approval, dict) and approval["approved"]:
        return badge("approved", "ok")
    if isinstance(missing, list) and missing:
        return badge(f"{len(missing)} missing", "bad")
    return badge("waits for approval", "warn")
