"""What the coordinator's site holds, put together: its areas, and the pages behind them."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response

from audit.portal.decision_pages import Considered, decision_pages
from audit.portal.evidence_pages import evidence_pages
from audit.portal.frame import page
from audit.portal.site import COORDINATOR_AREAS, EVERYBODY, TRUST_AREAS, Area, Site
from audit.portal.tour_page import tour_page
from audit.staff import only
from coordinator.pages.federation import federation_pages, stop_page
from coordinator.pages.releases import model_pages
from coordinator.pages.tour import TOUR
from coordinator.service import CoordinatorService

_OWN_LOG = (
    Area(name="Decisions", path="/decisions", roles=EVERYBODY),
    Area(name="Evidence", path="/evidence", roles=EVERYBODY),
)
_CONSIDERED = Considered(
    words="A release concerns a model and no person: what was weighed is its card, who approved "
    "it, and what the organisation allows."
)


def coordinator_site(service: CoordinatorService) -> Site:
    """Return the areas of this site, and where the trust service's are."""
    return Site(
        areas=COORDINATOR_AREAS + _OWN_LOG,
        templates=Path(__file__).parent / "templates",
        other=TRUST_AREAS,
        other_name="At the trust service",
        other_url=service.settings.portal.other_url,
    )


def coordinator_pages(service: CoordinatorService) -> APIRouter:
    """Return every page of this site."""
    seen_by_all = [Depends(only(*EVERYBODY))]
    router = APIRouter(include_in_schema=False)
    router.include_router(federation_pages(service), dependencies=seen_by_all)
    router.include_router(model_pages(service), dependencies=seen_by_all)
    router.include_router(stop_page(service))
    desk = service.evidence
    router.include_router(decision_pages(desk, roles=EVERYBODY, considered=lambda *_: _CONSIDERED))
    router.include_router(evidence_pages(desk, roles=EVERYBODY))

    router.include_router(tour_page(TOUR))

    @router.get("/insight", dependencies=seen_by_all)
    def insight(request: Request) -> Response:
        return page(request, "insight.html")

    return router
