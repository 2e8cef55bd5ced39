"""The panel's pages, and what they may ask: nothing but what stands here.

    POST /v1/panel/sessions            an integration opens a panel for somebody named
    PUT  /v1/queues/{name}             the telephone system tells a queue's state
    GET  /panel, /panel/queues         the pages: a frame without data, for anybody
    GET  /panel/api/stream             turns, what things tell, drafts and alerts as they come
    GET  /panel/api/queues             queues in totals; no figure about an agent
    POST /panel/api/whatif             what a change would bring, played on recorded calls
    POST /panel/api/corrections        this is wrong
         /panel/api/approvals/...      what waits for a yes, decided by whose session it is

Strict policy for content: own script and style alone, nothing inline, and framed by those whom
the operator names (`panel_frames`), else by nobody.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from client_node import wire
from client_node.alerts import Alert
from client_node.approvals_api import PersonIn
from client_node.event_stream_api import event_stream, next_event
from client_node.live import Told
from client_node.panel.sessions import PanelSessions
from client_node.queues import view_to_dict
from client_node.service import NodeService
from client_node.uses.frustration import alert_to_dict
from client_node.whatif_asked import Asked

PAGES = {
    "/panel": ("panel.html", "text/html; charset=utf-8"),
    "/panel/queues": ("queues.html", "text/html; charset=utf-8"),
    "/panel/panel.js": ("panel.js", "text/javascript; charset=utf-8"),
    "/panel/queues.js": ("queues.js", "text/javascript; charset=utf-8"),
    "/panel/panel.css": ("panel.css", "text/css; charset=utf-8"),
}


Agents = Annotated[int, Field(ge=0, le=500)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class WhatIfIn(wire.Shape):
    """Today's floor, and another; shares as the supervisor knows them."""

    queue: wire.Id
    ordinary: Annotated[int, Field(ge=1, le=500)]
    then_ordinary: Annotated[int, Field(ge=1, le=500)]
    then_reserved: Agents = 0
    cue_share: Share = 0.0
    cue_margin: Share = 0.0

    def asked(self) -> Asked:
        """Return it as the node's own value."""
        return Asked(**self.model_dump())


def panel_headers(frames: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of every page; `frames` are the origins that may frame it."""
    ancestors = " ".join(frames) or "'none'"
    return {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {ancestors}",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }


def pages_router(frames: tuple[str, ...]) -> APIRouter:
    """Return the pages, each a fixed file."""
    router = APIRouter(include_in_schema=False)
    headers = panel_headers(frames)

    def add(path: str, name: str, media_type: str) -> None:
        content = (files("client_node.panel") / name).read_bytes()

        @router.get(path)
        async def page() -> Response:
            return Response(content, media_type=media_type, headers=headers)

    for path, (name, media_type) in PAGES.items():
        add(path, name, media_type)
    return router


def opening_router(service: NodeService) -> APIRouter:
    """Return what integrations ask: to open a panel, and to tell a queue's state."""
    router = APIRouter()

    @router.post("/panel/sessions", status_code=201)
    def sessions(said: PersonIn) -> dict[str, str]:
        token = service.room.panels.open(said.by)
        return {"panel": f"/panel#{token}", "queues": f"/panel/queues#{token}"}

    @router.put("/queues/{name}")
    def queues(name: wire.Id, said: wire.QueueIn) -> dict[str, str]:
        service.room.queues.tell(name, said.state())
        return {"queue": name}

    return router


def panel_router(service: NodeService) -> APIRouter:
    """Return what the pages ask, each under a session."""
    sessions: PanelSessions = service.room.panels

    def who(request: Request, authorization: Annotated[str | None, Header()] = None) -> None:
        request.state.by = sessions.find(authorization)

    router = APIRouter(prefix="/panel/api", dependencies=[Depends(who)], include_in_schema=False)
    _add_views(router, service)
    proposals = service.room.proposals

    @router.post("/corrections", status_code=201)
    def corrections(said: wire.CorrectionIn) -> dict[str, Any]:
        found = service.corrections.record(said.turn, said.label)
        return {"training": found.training is not None and found.training.allowed}

    @router.get("/approvals")
    def waiting() -> dict[str, Any]:
        return {"approvals": proposals.waiting()}

    @router.post("/approvals/{approval}/show")
    def show(approval: str, request: Request) -> dict[str, Any]:
        return proposals.show(approval, request.state.by)

    @router.post("/approvals/{approval}/approve")
    def approve(approval: str, request: Request) -> dict[str, Any]:
        return wire.use_to_dict(proposals.approve(approval, request.state.by))

    @router.post("/approvals/{approval}/deny")
    def deny(approval: str, request: Request) -> dict[str, str]:
        proposals.deny(approval, request.state.by)
        return {"approval": approval}

    return router


def _add_views(router: APIRouter, service: NodeService) -> None:
    @router.get("/labels")
    def labels() -> dict[str, Any]:
        return {"labels": sorted(name for name, _ in service.policy.labels)}

    @router.get("/queues")
    def queues() -> dict[str, Any]:
        return {
            "queues": [view_to_dict(view) for view in service.room.queues.views()],
            "alerts": len(service.pipeline.conversations.alerts.opened()),
            "approvals": len(service.room.approvals.waiting()),
        }

    @router.post("/whatif")
    def whatif(said: WhatIfIn) -> dict[str, Any]:
        return service.room.whatif.ask(said.asked())

    @router.get("/stream")
    async def stream() -> StreamingResponse:
        held = ExitStack()
        alerts = held.enter_context(service.pipeline.conversations.alerts.watch())
        live = held.enter_context(service.room.live.watch())

        def find() -> str | None:
            return next_event(live, _live) or next_event(alerts, _alert)

        return event_stream(find, held, service.room.leaving)


def _live(told: Told) -> str:
    return f"event: {told.kind.value}\ndata: {json.dumps(told.body)}\n\n"


def _alert(alert: Alert) -> str:
    return f"event: alert\ndata: {json.dumps(alert_to_dict(alert))}\n\n"
