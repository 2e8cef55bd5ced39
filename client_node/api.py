"""The branch's interface to its node: HTTP on loopback, TLS elsewhere, a key per integration.

    GET  /healthz                anyone; /openapi.json and /asyncapi.json describe the interface
    GET  /v1/status              release, age of standing, log, training
    GET  /v1/budget              what a person at this node may have lost, and may still
    POST /v1/turns               a turn of conversation, and its trend (`client_node.pipeline`)
    WS   /v1/socket              turns in, answers and alerts out (`client_node.socket_api`)
    POST /v1/labels              a customer's own label
    POST /v1/corrections         this is wrong: corrected here, and a label where they allow it
    POST /v1/recalibrations      fit confidence to this branch's own labels; it stays here
    GET  /v1/uses                what is done with a reading here, and by which rules
    POST /v1/uses/{use}          act on a kept turn; a refusal is an answer
    GET  /v1/alerts              open alerts; /v1/alerts/stream sends each change
    POST /v1/replies, /v1/compensations, /v1/approvals/...   (`client_node.approvals_api`)
    POST /v1/journeys, /v1/moments                           (`client_node.customers_api`)
    POST /v1/signals             context from things         (`client_node.things_api`)
    POST /v1/campaigns           one wording for a cohort, which waits for a yes; .../audience
    POST /v1/consents            a person's consent, under their pseudonym
    POST /v1/consents/batch      many people's: all are recorded or none
    POST /v1/invitations         ask by a page: a kiosk's code, as a picture, or a link
    POST /v1/unconfirmed-consents  a yes that counts when the customer confirms it
    POST /v1/telephone-events    a digit pressed, signed by the telephone system
    GET  /v1/notices/{version}   a notice's texts and their digests, to be shown
    POST /v1/withdrawals         a person's withdrawal, in one step: 202 where it is yet to be told
    GET  /v1/withdrawals/{record}   where it stands, with the receipt, for a week
    POST /v1/requests            a person's request: access, erasure, and the other rights
    GET  /v1/reviews             what people decided on looking at our decisions again
    POST /v1/pseudonyms          the name under which anything of a customer is kept
    GET  /v1/trace/{decision}    staff: what a decision rests on (`audit.trace_api`)
    POST /v1/own/...             a person's own questions (`client_node.own_data_api`)
    POST /v1/panel/sessions, PUT /v1/queues/{name}, /panel   (`client_node.panel.panel_api`)
    POST /v1/queues/{name}/calls   calls that are over, in totals  (`client_node.calls_api`)
    GET  /v1/webhooks            what waits or is dead; .../{delivery}/retry, /drop
    POST /v1/proofs              was this person in that round?

A POST may carry an `Idempotency-Key` (`client_node.idempotency_api`); a turn too many is answered
with 429 and Retry-After (`client_node.load`).

Errors are problem+json (RFC 9457): one line, no personal text, no traceback.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from audit.batch import Membership, verify_batch_proof
from audit.errors import EntryMissing
from audit.guarded import GuardAnswers
from audit.http import (
    BodyLimit,
    RecordRefusals,
    TraceRequests,
    address_of,
    install_error_handlers,
)
from audit.telemetry import span
from audit.trace_api import trace_router
from client_node import wire
from client_node.approvals_api import approvals_router, proposals_router
from client_node.asyncapi import document
from client_node.budget_words import remaining, to_dict
from client_node.calls_api import calls_router
from client_node.campaigns_api import campaigns_router
from client_node.customers_api import customers_router
from client_node.errors import (
    AccessDenied,
    ApprovalRefused,
    ApprovalUnknown,
    DeliveryUnknown,
    LabelUnknown,
    NodeError,
    Overloaded,
    PersonTwice,
    RecalibrationRefused,
    RecordRefused,
    ScenarioInvalid,
    TelephoneEventInvalid,
    TelephoneEventReplayed,
    TooManyWatchers,
    TrustRefused,
    TrustUnavailable,
    TurnEmpty,
    TurnInvalid,
    TurnTooLong,
    TurnUndecodable,
    TurnUnknown,
    WithdrawalUnknown,
)
from client_node.idempotency_api import Idempotency
from client_node.live import LiveKind, Told
from client_node.load import shed
from client_node.own_data_api import auditor_router, own_data_router
from client_node.panel.panel_api import opening_router, pages_router, panel_router
from client_node.service import VERSION, NodeService
from client_node.socket_api import socket_router
from client_node.things_api import things_router
from client_node.training import limits_of
from client_node.uses_api import uses_router
from client_node.webhooks_api import webhooks_router
from client_node.withdrawals import WithdrawalState, withdrawal_to_dict
from policies.canonical import digest_bytes
from policies.errors import MessageBlocked, PermitInvalid, PolicyInvalid, UndertoneError
from policies.vocabulary import RunId, Use

MAX_BODY_BYTES = 256 * 1024
STATUSES: dict[type[UndertoneError], int] = {
    AccessDenied: 401,
    TurnUndecodable: 400,
    TurnTooLong: 413,
    TurnEmpty: 422,
    LabelUnknown: 422,
    TurnInvalid: 422,
    PersonTwice: 409,
    TurnUnknown: 404,
    EntryMissing: 404,
    TrustUnavailable: 502,
    TrustRefused: 409,
    DeliveryUnknown: 404,
    WithdrawalUnknown: 404,
    TelephoneEventInvalid: 422,
    TelephoneEventReplayed: 409,
    TooManyWatchers: 429,
    Overloaded: 429,
    RecordRefused: 409,
    ScenarioInvalid: 422,
    RecalibrationRefused: 409,
    ApprovalUnknown: 404,
    ApprovalRefused: 409,
    PolicyInvalid: 422,
    MessageBlocked: 409,
    PermitInvalid: 409,  # the person withdrew while the turn was on its way
    NodeError: 503,
}

HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""Of every answer; the panel's pages say more (`client_node.panel.panel_api`)."""


def create_app(service: NodeService) -> FastAPI:
    """Return the node's app for integrations."""
    app = FastAPI(title="Undertone node", version=VERSION, docs_url=None, redoc_url=None)
    app.add_middleware(Idempotency, replays=service.room.replays)
    app.add_middleware(BodyLimit, limit_bytes=MAX_BODY_BYTES)
    app.add_middleware(RecordRefusals, refusals=service.refusals)
    app.add_middleware(TraceRequests)
    install_error_handlers(app, STATUSES)
    app.add_middleware(GuardAnswers, headers=HEADERS)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> dict[str, Any]:
        return document(VERSION)

    app.include_router(_router(service), dependencies=[Depends(_authenticated(service))])
    app.include_router(own_data_router(service), dependencies=[Depends(_authenticated(service))])
    app.include_router(socket_router(service, app))
    app.include_router(auditor_router(service))
    app.include_router(pages_router(service.settings.panel_frames))
    app.include_router(panel_router(service))
    app.include_router(trace_router(service.log, published=service.releases.published))
    return app


def _authenticated(service: NodeService) -> Any:
    async def check(
        request: Request, authorization: Annotated[str | None, Header()] = None
    ) -> None:
        service.keys.integration(authorization, address=address_of(request))
        try:
            (await request.body()).decode()
        except UnicodeDecodeError:
            raise TurnUndecodable("the body is not valid UTF-8") from None

    return check


def _router(service: NodeService) -> APIRouter:
    router = APIRouter(prefix="/v1")
    _add_views(router, service)
    _add_turns(router, service)
    _add_people(router, service)
    _add_asking(router, service)
    router.include_router(uses_router(service))
    router.include_router(proposals_router(service.room.proposals))
    router.include_router(approvals_router(service.room.proposals))
    router.include_router(opening_router(service))
    router.include_router(calls_router(service.room))
    router.include_router(webhooks_router(service.webhooks))
    room = service.room
    router.include_router(things_router(room.things, service.people))
    router.include_router(customers_router(room.customers, service.people, room.things))
    router.include_router(campaigns_router(service.room.campaigns, service.people))
    return router


def _add_views(router: APIRouter, service: NodeService) -> None:
    @router.get("/status")
    def status() -> dict[str, Any]:
        return node_status(service)

    @router.get("/budget")
    def budget() -> dict[str, Any]:
        return node_budget(service)

    @router.post("/proofs")
    def proofs(said: wire.ProofIn) -> dict[str, Any]:
        subject = service.people.subject(said.customer)
        shown = service.training.prove(RunId(said.run), said.round, subject, said.kind)
        found = [
            verify_batch_proof(p["root"], p["proof"], bytes.fromhex(p["blinded"])) for p in shown
        ]
        present = Membership.PRESENT in found
        return {
            "answer": (Membership.PRESENT if present else Membership.ABSENT).value,
            "proofs": shown,
        }


def _add_turns(router: APIRouter, service: NodeService) -> None:
    @router.post("/turns")
    async def turns(said: wire.TurnIn) -> dict[str, Any]:
        turn = said.turn(service.people.subject(said.customer))
        left_out: tuple[str, ...] = ()
        with service.room.load.admit() as crowded:
            if crowded:
                context = service.room.things.has(turn.subject, turn.conversation)
                turn, left_out = shed(turn, context=context)
            with span("turn", node=service.node):
                answer = await run_in_threadpool(service.pipeline.answer, turn)
        value = wire.answer_to_dict(answer)
        if left_out:
            value["left_out"] = list(left_out)
        told = {name: part for name, part in value.items() if name != "text_redacted"}
        body = {"conversation": said.conversation, "answer": told}
        service.room.live.tell(Told(kind=LiveKind.TURN, body=body))
        return value

    @router.post("/corrections", status_code=201)
    def corrections(said: wire.CorrectionIn) -> dict[str, Any]:
        found = service.corrections.record(said.turn, said.label)
        training = found.training
        return {
            "turn": said.turn,
            "decision": found.service.decision,
            "training": training is not None and training.allowed,
            "rules": [] if training is None else list(training.rules),
        }

    @router.post("/labels")
    def labels(said: wire.LabelIn) -> dict[str, Any]:
        permit = service.labels.record(said.turn, said.label, said.provenance)
        return {"turn": said.turn, "decision": permit.decision_id}

    @router.post("/recalibrations", status_code=201)
    def recalibrations() -> dict[str, Any]:
        found = service.recalibration.fit()
        return {"release": found.release, "temperature": found.value}

    @router.post("/uses/{use}")
    def uses(use: Use, said: wire.UseIn) -> dict[str, Any]:
        queue = None if said.queue is None else said.queue.state()
        with span("use", node=service.node, use=use.value):
            answer = service.room.desk.ask(
                use, said.turn, queue=queue, step=said.step, cancelling=said.cancelling
            )
        return wire.use_to_dict(answer)


def _add_people(router: APIRouter, service: NodeService) -> None:
    @router.post("/consents", status_code=201)
    def consents(said: wire.ConsentIn) -> dict[str, Any]:
        return service.people.consent(said.customer, said.grant())

    @router.post("/consents/batch", status_code=201)
    def many_consents(said: wire.ConsentsIn) -> dict[str, Any]:
        grants = [(one.customer, one.grant()) for one in said.consents]
        return {"receipts": service.people.consent_many(grants)}

    @router.post("/withdrawals", status_code=201)
    def withdrawals(said: wire.WithdrawalIn, response: Response) -> dict[str, Any]:
        given = service.people.withdraw(said.customer, said.purpose)
        if given.state is WithdrawalState.WAITING:
            response.status_code = 202
        return withdrawal_to_dict(given)

    @router.get("/withdrawals/{record}")
    def withdrawal(record: str) -> dict[str, Any]:
        return withdrawal_to_dict(service.people.withdrawing.book.find(record))

    @router.post("/requests", status_code=201)
    def requests(said: wire.RequestIn) -> dict[str, Any]:
        return service.people.request(said.customer, said.model_dump(exclude={"customer"}))

    @router.get("/reviews")
    def reviews() -> dict[str, Any]:
        return {"reviews": service.room.reviews.every()}

    @router.post("/pseudonyms")
    def pseudonyms(said: wire.CustomerIn) -> dict[str, str]:
        return {"subject": service.people.subject(said.customer)}


def _add_asking(router: APIRouter, service: NodeService) -> None:
    @router.post("/invitations", status_code=201)
    def invitations(said: wire.InvitationIn) -> dict[str, Any]:
        more = said.model_dump(include={"channel", "minutes", "confirm_hours"}, exclude_none=True)
        return service.people.invite(said.customer, said.grant() | more)

    @router.post("/unconfirmed-consents", status_code=201)
    def unconfirmed(said: wire.UnconfirmedIn) -> dict[str, Any]:
        one = said.consent
        return service.people.await_confirmation(one.customer, one.grant(), said.confirm_hours)

    @router.post("/telephone-events", status_code=201)
    async def telephone_events(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(service.telephone.take, await request.body())

    @router.get("/notices/{version}")
    def notices(version: Annotated[int, Path(ge=1)]) -> dict[str, Any]:
        found = service.client.notice(version)
        texts, short = found["texts"], found.get("short", {})
        return {
            "version": version,
            "texts": texts,
            "digests": {one: digest_bytes(text.encode()) for one, text in texts.items()},
            "short": short,
            "short_digests": {one: digest_bytes(text.encode()) for one, text in short.items()},
        }


def node_status(service: NodeService) -> dict[str, Any]:
    """Return how the node is doing; counts of people stay at the branch, whose own they are."""
    current, age_s = service.releases.current, service.cache.age_s()
    return {
        "node": service.node,
        "version": VERSION,
        "release": None if current is None else current.release.release_id,
        "standing_age_s": age_s,
        "standing_sequence": service.cache.sequence,
        "people": service.cache.people,
        "connected": service.keeper.connected,
        "keys_destroyed": service.keeper.keys_destroyed,
        "log_size": service.log.size,
        "checkpoint": service.log.checkpoint(),
        "witnesses": service.witnesses.status(),
        "decisions": service.witnesses.handing_over.status(),
        "training": service.ledger.fault or "ready",
    }


def node_budget(service: NodeService) -> dict[str, Any]:
    """Return what each person at this node may have lost in the period, in figures and words."""
    limits, ledger = limits_of(service.policy), service.ledger
    return to_dict(remaining(ledger, limits, clock=service.log.clock), fault=ledger.fault)
