"""The trust service's site: which areas it has, and all their pages on one application."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from audit.portal.decision_pages import decision_pages
from audit.portal.evidence_pages import evidence_pages
from audit.portal.site import COORDINATOR_AREAS, TRUST_AREAS, Site
from audit.portal.tour_page import tour_page
from consent.branches import source_of
from consent.pages.bundle_page import bundle_page
from consent.pages.facts import considered, facts_pages
from consent.pages.incidents import incident_pages
from consent.pages.papers import document_pages
from consent.pages.people import people_pages
from consent.pages.rulebook import rulebook_pages
from consent.pages.search import at_branches, search_pages
from consent.pages.today import today_pages
from consent.pages.tour import TOUR
from consent.pages.workplace import settings_pages
from consent.service import TrustService


def site_of(service: TrustService) -> Site:
    """Return the site, linked to the coordinator's where the settings say where that is."""
    return Site(
        areas=TRUST_AREAS,
        templates=Path(__file__).parent / "templates",
        other=COORDINATOR_AREAS,
        other_name="At the coordinator",
        other_url=service.settings.portal.other_url,
    )


def add_pages(app: FastAPI, service: TrustService) -> None:
    """Mount the pages of staff."""
    for made in (
        today_pages(service),
        decision_pages(
            service.evidence,
            access=service.access,
            considered=lambda request, found: considered(service, request, found),
            branches=source_of(service.branches, service.enrolment),
            at_branches=lambda request: at_branches(service, request),
        ),
        search_pages(service),
        facts_pages(service),
        evidence_pages(service.evidence),
        people_pages(service),
        rulebook_pages(service),
        bundle_page(service),
        document_pages(service),
        incident_pages(service),
        settings_pages(service),
        tour_page(TOUR),
    ):
        app.include_router(made)
