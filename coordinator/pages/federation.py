"""Federation: nodes, runs, what each cost and what it learned, round by round.

    GET  /federation                              nodes, budget, runs, accuracy against epsilon
    GET  /federation/accuracy.svg
    GET  /federation/runs/{run}                   one run
    GET  /federation/runs/{run}/participation.svg
    GET  /federation/runs/{run}/accuracy.svg
    POST /federation/runs/{run}/stop              data scientist, operator, officer, DPO

Every figure here is private already: plans are declarations, and evaluations are charged.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from audit.portal.budget_page import BUDGET_READERS
from audit.portal.charts import svg_of
from audit.portal.frame import form_of, page, show
from audit.portal.listing import Cell, Listing, badge, ident, number, plain, when
from audit.portal.moments import lasting, zone_of
from audit.staff import Staff, only
from coordinator.errors import PlanUnknown
from coordinator.journal import EvaluationRecord, RoundRecord, RunRecord, RunState
from coordinator.pages.run_charts import accuracy_chart, compared_chart, participation_chart
from coordinator.pages.told import Told, told_of
from coordinator.service import CoordinatorService
from coordinator.staff import STOPPERS
from policies.vocabulary import RunId

_STOPPER = Annotated[Staff, Depends(only(*STOPPERS))]
_TONES = {
    RunState.ENROLLING: "warn",
    RunState.RUNNING: "warn",
    RunState.COMPLETED: "ok",
    RunState.STOPPED: "quiet",
    RunState.FAILED: "bad",
}


def federation_pages(service: CoordinatorService) -> APIRouter:
    """Return the routes over nodes and runs."""
    router = APIRouter()

    @router.get("/federation")
    def overview(request: Request) -> Response:
        return _overview(request, service)

    @router.get("/federation/accuracy.svg")
    def compared(request: Request) -> Response:
        return svg_of(compared_chart(_told(service)), request)

    @router.get("/federation/runs/{run}")
    def one(request: Request, run: str) -> Response:
        return _shown(request, told_of(service, service.journal.run(RunId(run))))

    @router.get("/federation/runs/{run}/participation.svg")
    def participation(request: Request, run: str) -> Response:
        told = told_of(service, service.journal.run(RunId(run)))
        return svg_of(participation_chart(told), request)

    @router.get("/federation/runs/{run}/accuracy.svg")
    def accuracy(request: Request, run: str) -> Response:
        return svg_of(accuracy_chart(told_of(service, service.journal.run(RunId(run)))), request)

    return router


def stop_page(service: CoordinatorService) -> APIRouter:
    """Return the route that stops a run, after a question."""
    router = APIRouter()

    @router.post("/federation/runs/{run}/stop")
    async def stop(request: Request, run: str, _: _STOPPER) -> Response:
        if (await form_of(request)).get("sure") != "yes":
            told = told_of(service, service.journal.run(RunId(run)))
            return page(request, "stop_run.html", run=told.record.run, crumbs=_crumbs(told))
        await run_in_threadpool(service.running.stop, RunId(run))
        return RedirectResponse(f"/federation/runs/{run}", status_code=303)

    return router


def _told(service: CoordinatorService) -> list[Told]:
    """Return all runs, newest first; one whose plan is not known is left out."""
    told = []
    for record in reversed(service.journal.runs()):
        try:
            told.append(told_of(service, record))
        except PlanUnknown:
            continue
    return told


def _overview(request: Request, service: CoordinatorService) -> Response:
    told, zone = _told(service), zone_of(request)
    governance = service.governance()
    measured = any(one.final_accuracy is not None for one in told)
    return show(
        request,
        "federation.html",
        tables=[_nodes(service), _runs(told, zone)],
        spent=service.ledger.spent(),
        ceiling=service.ledger.ceiling,
        tells=request.state.staff.roles & BUDGET_READERS,
        full=service.ledger.spent().epsilon >= service.ledger.ceiling.epsilon,
        governed=governance is not None,
        stopped=governance is not None and governance.stopped,
        chart=compared_chart(told) if measured else None,
    )


def _nodes(service: CoordinatorService) -> Listing:
    online, newest = service.online(), service.releases.latest()
    holders = service.registry.holders(newest.release) if newest else frozenset()
    return Listing(
        name="nodes",
        caption="Who is heard, and who runs the newest release",
        columns=("Node", "Reachable", "Newest release"),
        rows=[
            (
                plain(node),
                badge("online", "ok") if node in online else badge("offline", "quiet"),
                plain("-")
                if newest is None
                else badge("loaded", "ok")
                if node in holders
                else badge("not yet", "warn"),
            )
            for node in service.registry.nodes()
        ],
        empty="No node is registered: `undertone-coordinator node register` admits one.",
    )


def _runs(told: list[Told], zone: tzinfo) -> Listing:
    return Listing(
        name="runs",
        caption="Runs, newest first",
        columns=("Run", "State", "Plan", "Rounds", "ε", "Macro-F1", "Started", "Took"),
        rows=[_run_row(one, zone) for one in told],
        empty="No run yet. A data scientist starts one with `undertone-coordinator run start`, "
        "after a look at what its plan costs.",
    )


def _run_row(told: Told, zone: tzinfo) -> tuple[Cell, ...]:
    record = told.record
    return (
        plain(record.run, href=f"/federation/runs/{record.run}"),
        state_of(record),
        plain(told.plan.name),
        number(len(told.rounds), f"{len(told.rounds)} of {told.plan.rounds}"),
        number(told.preview.epsilon, f"{told.preview.epsilon:.2f}"),
        _accuracy(told),
        when(record.started_at, zone),
        plain("-" if record.ended_at is None else lasting(record.ended_at - record.started_at)),
    )


def state_of(record: RunRecord) -> Cell:
    """Return a run's state in its tone."""
    return badge(record.state.value, _TONES[record.state])


def _accuracy(told: Told) -> Cell:
    last = told.final_accuracy
    if last is None:
        return plain("not measured")
    return number(last.value, f"{last.value:.3f} ({last.low:.3f} to {last.high:.3f})")


def _crumbs(told: Told) -> list[tuple[str, str]]:
    run = told.record.run
    return [("Federation", "/federation"), (run, f"/federation/runs/{run}")]


def _shown(request: Request, told: Told) -> Response:
    record, zone = told.record, zone_of(request)
    staff: Staff | None = getattr(request.state, "staff", None)
    return show(
        request,
        "run.html",
        tables=[_rounds(told), _evaluations(told), _at_nodes(told)],
        crumbs=[("Federation", "/federation")],
        run=record.run,
        facts=[
            ("State", state_of(record)),
            ("Why it ended", plain(record.detail or "-")),
            ("Plan", plain(told.plan.name)),
            ("Plan's digest", ident(record.plan_digest)),
            ("Nodes", plain(", ".join(record.cohort) or "-")),
            ("Started", when(record.started_at, zone)),
            ("Ended", when(record.ended_at, zone)),
        ],
        costs=_costs(told),
        running=not record.state.final,
        may_stop=staff is not None and bool(staff.roles & set(STOPPERS)),
        charts=[chart for chart in _charts(told) if chart.rows],
    )


def _costs(told: Told) -> list[tuple[str, Cell]]:
    by = {
        "ε of a person at a node (Rényi)": told.preview.epsilon,
        "By privacy loss variables": told.preview.epsilon_prv,
        "Second opinion": told.preview.second_opinion,
    }
    delta = ("δ", number(told.plan.delta, f"{told.plan.delta:g}"))
    return [*((name, number(value, f"{value:.3f}")) for name, value in by.items()), delta]


def _charts(told: Told) -> list[Any]:
    return [participation_chart(told), accuracy_chart(told)]


def _rounds(told: Told) -> Listing:
    over = told.record.state.final
    return Listing(
        name="rounds",
        caption="Each round, and the replies that went into it",
        columns=("Round", "State", "Replies that counted", "Not counted", "Seconds", "Aggregate"),
        rows=[
            (
                number(one.number),
                _counted(one),
                number(one.replies),
                plain(_rejected(one)),
                number(one.seconds, f"{one.seconds:.1f}"),
                ident(one.weights_digest),
            )
            for one in told.rounds
        ],
        empty="It ended before its first round." if over else "No round has ended yet.",
    )


def _counted(one: RoundRecord | EvaluationRecord) -> Cell:
    return badge(one.state.value, "ok" if one.state.value == "aggregated" else "warn")


def _rejected(one: RoundRecord | EvaluationRecord) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in sorted(one.rejected.items())) or "-"


def _evaluations(told: Told) -> Listing:
    measures, over = told.plan.evaluation is not None, told.record.state.final
    none = "It ended before anything was measured." if over else "Nothing is measured yet."
    return Listing(
        name="evaluations",
        caption="Private evaluations: noisy counts by label, charged to each person's budget",
        columns=("After round", "State", "Replies", "Macro-F1", "Lowest label", "By group"),
        rows=[
            (
                number(one.after_round),
                _counted(one),
                number(one.replies),
                *_figures(told, one),
            )
            for one in told.evaluations
        ],
        empty=none
        if measures
        else "This plan measures nothing: a plan with `[evaluation]` does, at a stated cost.",
    )


def _figures(told: Told, one: EvaluationRecord) -> tuple[Cell, Cell, Cell]:
    found = told.figures(one)
    if found is None:
        return plain("-"), plain("-"), plain("-")
    lowest = min(found.labels, key=lambda label: label.f1.value)
    groups = ", ".join(f"{name} {bounds.value:.2f}" for name, bounds in found.groups.items())
    whole = found.macro_f1
    return (
        number(whole.value, f"{whole.value:.3f} ({whole.low:.3f} to {whole.high:.3f})"),
        plain(f"{lowest.label} {lowest.f1.value:.2f}"),
        plain(groups or "-"),
    )


def _at_nodes(told: Told) -> Listing:
    return Listing(
        name="at_nodes",
        caption="If one person is a customer at several nodes of this run",
        columns=("Nodes", "ε"),
        rows=[
            (number(k), number(epsilon, f"{epsilon:.2f}"))
            for k, epsilon in sorted(told.preview.epsilon_at_nodes.items())
        ],
        empty="The plan says nothing of it.",
    )
