"""The page of one's saved views, and what keeps and forgets them.

GET  /account/views                    all of them
POST /account/views                    keep a page under a name
POST /account/views/{view}/removal     forget one
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.access import Access
from audit.portal.frame import form_of, page
from audit.portal.listing import Listing, as_csv, plain, wants_csv
from audit.portal.tables import ViewRow
from audit.staff import Staff, StaffRole, only

_ANY = Annotated[Staff, Depends(only(*StaffRole))]


def view_pages(access: Access) -> APIRouter:
    """Return the routes over a service's accounts."""
    router = APIRouter(prefix="/account/views", include_in_schema=False)

    @router.get("")
    def views(request: Request, staff: _ANY) -> Response:
        if wants_csv(request):
            return as_csv(_listing(access.views.of(staff.name)))
        return page(request, "views.html")

    @router.post("")
    async def keep(request: Request, staff: _ANY) -> Response:
        form = await form_of(request)
        address = form.get("address", "")
        await run_in_threadpool(access.views.keep, staff.name, form.get("title", ""), address)
        return RedirectResponse(address, status_code=303)

    @router.post("/{view}/removal")
    async def forget(request: Request, staff: _ANY, view: str) -> Response:
        await form_of(request)
        await run_in_threadpool(access.views.forget, staff.name, view)
        return RedirectResponse("/account/views", status_code=303)

    return router


def _listing(views: list[ViewRow]) -> Listing:
    return Listing(
        name="views",
        caption="Saved views",
        columns=("Name", "Page"),
        rows=[(plain(one.title), plain(one.address)) for one in views],
        empty="None yet.",
    )
