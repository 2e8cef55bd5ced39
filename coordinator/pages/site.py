"""What the coordinator's site holds, put together: its areas, and the pages behind them."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from audit.portal.frame import page
from audit.portal.site import COORDINATOR_AREAS, TRUST_AREAS, Site
from audit.staff import only
from coordinator.pages.federation import federation_pages, stop_page
from coordinator.pages.releases import model_pages
from coordinator.service import CoordinatorService
from coordinator.staff import EVERYBODY


def coordinator_site(service: CoordinatorService) -> Site:
    """Return the areas of this site, and where the trust service's are."""
    return Site(
        areas=COORDINATOR_AREAS,
        templates=Path(__file__).parent / "templates",
        other=TRUST_AREAS,
        other_name="Trust service",
        other_url=service.settings.portal.other_url,
    )


def coordinator_pages(service: CoordinatorService) -> APIRouter:
    """Return every page of this site."""
    seen_by_all = [Depends(only(*EVERYBODY))]
    router = APIRouter(include_in_schema=False)
    router.include_router(federation_pages(service), dependencies=seen_by_all)
    router.include_router(model_pages(service), dependencies=seen_by_all)
    router.include_router(stop_page(service))

    @router.get("/", dependencies=seen_by_all)
    def front() -> Response:
        return RedirectResponse("/federation", status_code=303)

    @router.get("/insight", dependencies=seen_by_all)
    def insight(request: Request) -> Response:
        return page(request, "insight.html")

    return router
