"""Models: every release with its card, who runs it, how it treats people, where it came from.

GET /models                    releases, newest first
GET /models/{release}          one card, its figures, its lineage
GET /models/{release}/{drawing}.svg   fairness, calibration, attacks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from audit.portal.charts import Chart, svg_of
from audit.portal.frame import show
from audit.portal.listing import Cell, Listing, badge, ident, number, plain, when
from audit.portal.moments import zone_of
from coordinator.errors import PlanUnknown, ReleaseUnknown
from coordinator.pages.model_charts import (
    attack_chart,
    attack_table,
    calibration_chart,
    calibration_table,
    fairness_chart,
    gaps_of,
    measure,
)
from coordinator.registry import Published
from coordinator.service import CoordinatorService
from models.card import CALIBRATION_ERROR, GAP, Card, Metric
from models.release import Release, release_from_dict
from policies.vocabulary import ReleaseId

_LOADED, _NOT_LOADED = badge("loaded", "ok"), badge("not loaded", "quiet")
_ATTACKS = (
    "No attack on this model has been run: the gate that will run them is not built. What is "
    "drawn is the bound by the ε on the card, which holds against whoever sees the release."
)


def model_pages(service: CoordinatorService) -> APIRouter:
    """Return the routes over releases."""
    router = APIRouter()

    @router.get("/models")
    def releases(request: Request) -> Response:
        return show(request, "models.html", tables=[_releases(request, service)])

    @router.get("/models/{release}")
    def one(request: Request, release: str) -> Response:
        return _shown(request, service, service.releases.release(ReleaseId(release)))

    @router.get("/models/{release}/{drawing}.svg")
    def drawn(request: Request, release: str, drawing: str) -> Response:
        known = release_from_dict(service.releases.release(ReleaseId(release)).body)
        chart = _charts(service, known).get(drawing)
        if chart is None:
            raise ReleaseUnknown(f"{known.release_id} has no such drawing: its page lists them")
        return svg_of(chart, request)

    return router


def _charts(service: CoordinatorService, release: Release) -> dict[str, Chart | None]:
    """Return a release's drawings by name, None where the card lacks what would be drawn."""
    standard, name = service.releases.standard, release.release_id
    return {
        "fairness": fairness_chart(name, release.card, standard.most_gap),
        "calibration": calibration_chart(name, measure(release, standard.evaluation)),
        "attacks": attack_chart(name, release.card),
    }


def _releases(request: Request, service: CoordinatorService) -> Listing:
    zone, nodes = zone_of(request), len(service.registry.nodes())
    return Listing(
        name="releases",
        caption="Releases, newest first",
        columns=("Release", "Published", "Approved by", "From run", "ε", "Loaded by"),
        rows=[
            (
                plain(one.release, href=f"/models/{quote(one.release)}"),
                when(one.published_at, zone),
                plain(one.approved_by),
                _run(one),
                _epsilon(release_from_dict(one.body).card),
                plain(f"{len(service.registry.holders(one.release))} of {nodes} nodes"),
            )
            for one in reversed(service.releases.all())
        ],
        empty="Nothing is published. The first release comes with the first run, or by "
        "`undertone-coordinator release publish`.",
    )


def _run(one: Published) -> Cell:
    return plain("-") if one.run is None else plain(one.run, href=f"/federation/runs/{one.run}")


def _epsilon(card: Card) -> Cell:
    if card.epsilon is None:
        return number(0, "none: no customer's data")
    return number(card.epsilon, f"{card.epsilon:.2f}")


def _shown(request: Request, service: CoordinatorService, one: Published) -> Response:
    release, zone = release_from_dict(one.body), zone_of(request)
    card = release.card
    holders = service.registry.holders(one.release)
    return show(
        request,
        "model.html",
        tables=[
            _metrics("fairness", "Fairness: gaps between groups", gaps_of(card), "gaps"),
            _metrics(
                "calibration",
                "Calibration: how far its certainty is from how often it is right",
                [m for m in card.metrics if m.name == CALIBRATION_ERROR],
                "calibration",
            ),
            calibration_table(measure(release, service.releases.standard.evaluation)),
            attack_table(card),
            _metrics("figures", "Other figures", _others(card), "figures"),
            _nodes(service, holders),
        ],
        crumbs=[("Models", "/models")],
        release=one.release,
        card=card,
        labels=[(name, family.value) for name, family in release.labels],
        facts=[
            ("Published", when(one.published_at, zone)),
            ("Approved by", plain(one.approved_by)),
            ("Digest", ident(one.digest)),
            ("Answers below this certainty are withheld", number(release.abstain_below)),
            ("Encoder", ident(release.encoder_digest)),
        ],
        lineage=_lineage(service, one, card),
        charts=_charts(service, release),
        attacks="" if card.epsilon is None else _ATTACKS,
    )


def _others(card: Card) -> list[Metric]:
    return [m for m in card.metrics if not m.name.startswith((GAP, CALIBRATION_ERROR))]


def _metrics(name: str, caption: str, metrics: Sequence[Metric], what: str) -> Listing:
    return Listing(
        name=name,
        caption=caption,
        columns=("Figure", "Value", "Measured by"),
        rows=[
            (plain(m.name), number(m.value, f"{m.value:.3f}"), plain(m.measured_by))
            for m in metrics
        ],
        empty=f"The card states no {what}. With an evaluation set in the coordinator's settings "
        "each release is measured before it is published.",
    )


def _nodes(service: CoordinatorService, holders: frozenset[Any]) -> Listing:
    return Listing(
        name="nodes",
        caption="Where it runs, by each node's own signed word",
        columns=("Node", "State"),
        rows=[
            (plain(node), _LOADED if node in holders else _NOT_LOADED)
            for node in service.registry.nodes()
        ],
        empty="No node is registered.",
    )


def _lineage(service: CoordinatorService, one: Published, card: Card) -> list[tuple[str, Cell]]:
    """Return what a release was made from, from the data to where it runs."""
    told: list[tuple[str, Cell]] = [("Data", plain(card.data))]
    if card.plan_digest is not None:
        told.append(("Plan", _plan(service, card)))
    if one.run is not None:
        told.append(("Run", _run(one)))
    told.append(("Release", ident(one.digest)))
    holders, nodes = service.registry.holders(one.release), service.registry.nodes()
    told.append(("Runs at", plain(f"{len(holders)} of {len(nodes)} nodes", href="#nodes")))
    return told


def _plan(service: CoordinatorService, card: Card) -> Cell:
    if card.plan_digest is None:
        return plain("-")
    try:
        name = service.registry.plan(card.plan_digest).plan.name
    except PlanUnknown:
        name = "not accepted here"
    return Cell(text=name, full=card.plan_digest, tone="id")
