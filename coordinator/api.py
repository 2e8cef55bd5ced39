"""The coordinator's two interfaces: people's (HTTP, for staff by role) and the courier's.

Thin: shapes in, shapes out. Every route of people's says for which roles it is
(`coordinator.staff`), or stands in `coordinator.open_api`. The courier's application is served
on a Unix socket only and carries no token, because its callers are processes of the same user.
"""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from audit.errors import EntryMissing, KeyChangeRefused, KeyInvalid
from audit.http import BodyLimit, RecordRefusals, TraceRequests, install_error_handlers
from audit.key_api import key_router
from audit.portal.budget_page import budget_pages
from audit.portal.frame import guard_answers, install_frame
from audit.portal.rules_page import rules_page
from audit.refusals import Refusals
from audit.rotation import KeyDesk
from audit.signing import VerifyKey
from audit.staff import Staff, only
from audit.trace_api import trace_router
from audit.witnessing import MAX_BYTES, PREFIX, Witnessing
from coordinator.budgets import budget_sections
from coordinator.courier import CourierQueue
from coordinator.errors import (
    ApprovalForeign,
    BudgetRefused,
    CourierClosed,
    FlowerUnavailable,
    NodeConflict,
    NodeKeyInvalid,
    NodeUnknown,
    PlanRejected,
    PlanUnknown,
    ReleaseRejected,
    ReleaseUnknown,
    RunConflict,
    RunUnknown,
)
from coordinator.federation import fab_digest
from coordinator.journal import EvaluationRecord, RoundRecord, RunRecord
from coordinator.open_api import add_open_api
from coordinator.pages.site import coordinator_pages, coordinator_site
from coordinator.plan import preview_to_dict
from coordinator.registry import Published
from coordinator.service import VERSION, CoordinatorService
from coordinator.staff import EVERYBODY, OPERATORS, PLANNERS, STOPPERS, check_approver
from models.private_evaluation import figures_of
from models.update import weights_to_dict
from policies.terms import Plan
from policies.vocabulary import Digest, NodeId, ReleaseId, RunId

LONG_POLL_S = 20.0
PLAN_BYTES = 256 * 1024
REPLIES_BYTES = 256 * 1024 * 1024
"""Replies of all nodes of a round together, base64."""

STATUSES = {
    PlanRejected: 422,
    PlanUnknown: 404,
    RunUnknown: 404,
    RunConflict: 409,
    BudgetRefused: 409,
    NodeUnknown: 404,
    NodeConflict: 409,
    NodeKeyInvalid: 422,
    KeyInvalid: 422,
    EntryMissing: 404,
    KeyChangeRefused: 409,
    ReleaseRejected: 409,
    ReleaseUnknown: 404,
    ApprovalForeign: 403,
    FlowerUnavailable: 503,
    CourierClosed: 410,
}


_ANYBODY = [Depends(only(*EVERYBODY))]
_OPERATOR = [Depends(only(*OPERATORS))]
_PLANNER = [Depends(only(*PLANNERS))]
_STOPPER = [Depends(only(*STOPPERS))]
_Planner = Annotated[Staff, _PLANNER[0]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewRun(_Body):
    """Start a run of an accepted plan; `approved_by` names who says so.

    It begins at the `release`, or evaluates it; the newest if none is named.
    """

    plan_digest: str
    approved_by: str
    release: str | None = None


class NewNode(_Body):
    """Register a node: its vkey, and its SuperNode's public key (OpenSSH, P-384)."""

    node: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    vkey: str
    supernode_public_key: str


class NewRelease(_Body):
    """Publish a run's candidate, or, with `plan_digest` alone, the abstaining first release."""

    approved_by: str
    run: str | None = None
    plan_digest: str | None = None
    abstain_below: float = Field(default=0.5, ge=0, le=1)


class Delivered(_Body):
    """What the courier brought back for one exchange."""

    exchange: str
    replies: dict[str, str]


def create_app(service: CoordinatorService, *, admin_token: str) -> FastAPI:
    """Return the application for people and the notebook SDK."""
    app = FastAPI(
        title="Undertone coordinator",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    install_frame(app, service.access(admin_token), coordinator_site(service))
    app.include_router(coordinator_pages(service))
    app.include_router(rules_page())  # a decision on a release links to its rule
    told = (service.ledger, service.journal, service.registry)
    app.include_router(budget_pages(lambda: budget_sections(*told, clock=service.log.clock)))
    app.add_middleware(BodyLimit, by_prefix={"/v1/": PLAN_BYTES})
    app.add_middleware(RecordRefusals, refusals=service.refusals)
    app.add_middleware(TraceRequests)
    install_error_handlers(app, STATUSES)
    guard_answers(app)

    @app.get("/healthz")
    def health() -> dict[str, str | bool]:
        """Say that the service answers, and whether it has heard what it may do."""
        governed = service.governance() is not None
        return {
            "status": "ok",
            "service": "coordinator",
            "version": VERSION,
            "governed": governed,
        }

    _add_plans(app, service)
    _add_nodes(app, service)
    _add_runs(app, service)
    _add_releases(app, service)
    desk = KeyDesk(service.log, clock=service.log.clock)
    everybody, operators = [only(*EVERYBODY)], [only(*OPERATORS)]
    app.include_router(key_router(service.log, desk, operator=operators, reader=everybody))
    app.include_router(trace_router(service.log, guarded=_ANYBODY))
    add_open_api(app)
    return app


def _add_plans(app: FastAPI, service: CoordinatorService) -> None:
    @app.post("/v1/plans", dependencies=_PLANNER)
    def accept_plan(draft: dict[str, Any]) -> dict[str, Any]:
        """Check a plan and say what it costs."""
        return preview_to_dict(service.accept_plan(draft)) | {"fab_digest": fab_digest()}


def _add_nodes(app: FastAPI, service: CoordinatorService) -> None:
    @app.post("/v1/nodes", dependencies=_OPERATOR)
    def register_node(new: NewNode) -> dict[str, Any]:
        """Admit a node; the same node again changes nothing."""
        key = VerifyKey.parse(new.vkey)
        node = service.register_node(NodeId(new.node), key, new.supernode_public_key.strip())
        return {"node": node.node, "registered": True}

    @app.get("/v1/nodes", dependencies=_ANYBODY)
    def nodes() -> dict[str, Any]:
        """List nodes, who is online, and which release each confirmed."""
        online, newest = service.online(), service.releases.latest()
        holders = service.registry.holders(newest.release) if newest else frozenset()
        return {
            "nodes": [
                {"node": n, "online": n in online, "has_newest_release": n in holders}
                for n in service.registry.nodes()
            ]
        }

    @app.get("/v1/checkpoint", dependencies=_ANYBODY)
    def checkpoint() -> dict[str, Any]:
        """Return the log's newest signed checkpoint and the key that signs it."""
        return {"checkpoint": service.log.checkpoint(), "key": str(service.log.key.verify_key)}

    @app.get("/v1/traffic", dependencies=_ANYBODY)
    def traffic() -> dict[str, Any]:
        """Return how many bytes passed the gateway."""
        return asdict(service.traffic())

    @app.get("/v1/processes", dependencies=_OPERATOR)
    def processes() -> dict[str, int]:
        """Return the process ids of the fleet, so that an operator can measure them."""
        return service.fleet.processes()


def _add_runs(app: FastAPI, service: CoordinatorService) -> None:
    @app.post("/v1/runs", status_code=202)
    def start_run(new: NewRun, planner: _Planner) -> dict[str, Any]:
        """Start a run; it goes on by itself."""
        check_approver(planner, new.approved_by)
        run = service.running.start(
            Digest(new.plan_digest),
            approved_by=new.approved_by,
            release=None if new.release is None else ReleaseId(new.release),
        )
        return _run(service, service.journal.run(run))

    @app.get("/v1/runs", dependencies=_ANYBODY)
    def runs() -> dict[str, Any]:
        """List all runs, oldest first."""
        return {"runs": [_summary(record) for record in service.journal.runs()]}

    @app.get("/v1/runs/{run}", dependencies=_ANYBODY)
    def show_run(run: str) -> dict[str, Any]:
        """Return a run's state, its rounds and its bytes."""
        return _run(service, service.journal.run(RunId(run)))

    @app.get("/v1/runs/{run}/weights", dependencies=_ANYBODY)
    def weights(run: str, round: int) -> dict[str, Any]:  # noqa: A002 (the parameter's name)
        """Return the aggregate of one round, which is private already."""
        found = [r for r in service.rounds(RunId(run)) if r.number == round]
        if not found or found[0].weights is None:
            raise ReleaseRejected(f"round {round} of {run} has no aggregate")
        return weights_to_dict(found[0].weights) | {"digest": found[0].weights_digest}

    @app.post("/v1/runs/{run}/stop", dependencies=_STOPPER)
    def stop_run(run: str) -> dict[str, Any]:
        """Stop a run between or within rounds."""
        return _run(service, service.running.stop(RunId(run)))


def _add_releases(app: FastAPI, service: CoordinatorService) -> None:
    @app.post("/v1/releases")
    def publish(new: NewRelease, planner: _Planner) -> dict[str, Any]:
        """Publish a release by hand; nodes get it within seconds."""
        check_approver(planner, new.approved_by)
        if (new.run is None) == (new.plan_digest is None):
            raise ReleaseRejected("name either the run to release or the plan to begin with")
        if new.run is not None:
            published = service.publisher.of_run(
                RunId(new.run), approved_by=new.approved_by, abstain_below=new.abstain_below
            )
        else:
            published = service.publisher.first(
                Digest(str(new.plan_digest)), approved_by=new.approved_by
            )
        return _release(service, published)

    @app.get("/v1/releases", dependencies=_ANYBODY)
    def releases() -> dict[str, Any]:
        """List all releases, oldest first."""
        return {"releases": [_release(service, r) for r in service.releases.all()]}

    @app.get("/v1/releases/{release}", dependencies=_ANYBODY)
    def show_release(release: str) -> dict[str, Any]:
        """Return a release with its card, its proof and who has it."""
        published = service.releases.release(ReleaseId(release))
        bundle = base64.b64encode(published.bundle).decode()
        return _release(service, published) | {"body": published.body, "bundle": bundle}


def create_courier_app(
    queue: CourierQueue,
    *,
    witnessing: Witnessing | None = None,
    refusals: Refusals | None = None,
    long_poll_s: float = LONG_POLL_S,
) -> ASGIApp:
    """Return the application for the Unix socket: the courier's calls, and witnesses'.

    The gateway lets only the second through (`coordinator.gateway`).
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install_error_handlers(app, STATUSES)

    @app.post("/courier/next", response_model=None)
    def take() -> dict[str, Any] | Response:
        """Return the exchange to carry, or 204 when there is none for a while."""
        job = queue.next(wait_s=long_poll_s)
        if job is None:
            return Response(status_code=204)
        payloads = {str(n): base64.b64encode(p).decode() for n, p in job.payloads.items()}
        return {"exchange": job.exchange, "payloads": payloads, "wait_s": job.wait_s}

    @app.post("/courier/replies")
    def deliver(delivered: Delivered) -> dict[str, bool]:
        """Take the replies of an exchange."""
        replies = {int(n): base64.b64decode(p) for n, p in delivered.replies.items()}
        return {"expected": queue.deliver(delivered.exchange, replies)}

    if witnessing is not None:
        _add_witness(app, witnessing)
    limited = BodyLimit(app, limit_bytes=REPLIES_BYTES, by_prefix={PREFIX: MAX_BYTES})
    return limited if refusals is None else RecordRefusals(limited, refusals=refusals)


def _add_witness(app: FastAPI, witnessing: Witnessing) -> None:
    @app.api_route(PREFIX + "/{rest:path}", methods=["GET", "POST"])
    async def witness(request: Request, rest: str) -> Response:
        """Answer a witness, which anyone may be."""
        body, query = await request.body(), request.url.query
        answer = await run_in_threadpool(witnessing.answer, request.method, f"/{rest}", query, body)
        return Response(answer.body, status_code=answer.status, media_type=answer.media_type)


def _summary(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.run,
        "plan_digest": record.plan_digest,
        "state": record.state.value,
        "final": record.state.final,
        "detail": record.detail,
        "cohort": list(record.cohort),
        "started_at": record.started_at,
        "ended_at": record.ended_at,
    }


def _run(service: CoordinatorService, record: RunRecord) -> dict[str, Any]:
    plan = service.registry.plan(record.plan_digest).plan
    return _summary(record) | {
        "plan": plan.name,
        "rounds_planned": plan.rounds,
        "rounds": [_round(closed) for closed in service.rounds(record.run)],
        "evaluations": [_evaluation(one, plan) for one in service.evaluations(record.run)],
        "traffic": asdict(service.traffic(record.run)),
    }


def _round(closed: RoundRecord) -> dict[str, Any]:
    return {
        "round": closed.number,
        "state": closed.state.value,
        "seconds": round(closed.seconds, 3),
        "replies": closed.replies,
        "rejected": dict(closed.rejected),
        "weights_digest": closed.weights_digest,
    }


def _evaluation(closed: EvaluationRecord, plan: Plan) -> dict[str, Any]:
    figures = None
    if closed.table is not None:
        figures = asdict(figures_of(closed.table, plan, nodes=closed.replies))
    return {
        "evaluation": closed.number,
        "after_round": closed.after_round,
        "state": closed.state.value,
        "seconds": round(closed.seconds, 3),
        "replies": closed.replies,
        "rejected": dict(closed.rejected),
        "figures": figures,
    }


def _release(service: CoordinatorService, published: Published) -> dict[str, Any]:
    return {
        "release": published.release,
        "digest": published.digest,
        "run": published.run,
        "approved_by": published.approved_by,
        "published_at": published.published_at,
        "loaded_by": sorted(service.registry.holders(published.release)),
        "card": published.body["card"],
    }
