"""The trust service's site: which areas it has, and all their pages on one application."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from audit.portal.decision_index import Found
from audit.portal.decision_pages import Considered, decision_pages
from audit.portal.evidence_pages import evidence_pages
from audit.portal.site import COORDINATOR_AREAS, TRUST_AREAS, Site
from audit.portal.tour_page import tour_page
from consent.branches import source_of
from consent.pages.bundle_page import bundle_page
from consent.pages.incidents import incident_pages
from consent.pages.papers import document_pages
from consent.pages.people import people_pages
from consent.pages.rulebook import rulebook_pages
from consent.pages.today import today_pages
from consent.pages.tour import TOUR
from consent.pages.workplace import settings_pages
from consent.rights import Right
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
            considered=lambda found: _considered(service, found),
            branches=source_of(service.branches, service.enrolment),
        ),
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


def _considered(service: TrustService, found: Found) -> Considered:
    """Return where a decision's facts can be read: in an open review that names it, alone."""
    for case in service.rights.requests():
        if case.right is Right.REVIEW and case.about.get("decision") == found.decision_id:
            return Considered(
                words="A person asked for a review of this decision. The node gave the facts for "
                "that request under a permit of its own; they are sealed with the request's key, "
                "shown there, and destroyed when it is closed.",
                href=f"/people/requests/{case.case}",
            )
    return Considered(
        words="They lie sealed with the person's own key and are not shown here. The node hands "
        "them out for a named request alone: when the person asks for a review of this decision, "
        "they are on the page of that request for as long as it is open."
    )
