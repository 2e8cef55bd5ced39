"""The uses of a node over HTTP: what they are, and alerts as they come.

The stream has every open alert first, then each change (`client_node.event_stream_api`).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from client_node.alerts import Alert
from client_node.event_stream_api import event_stream, next_event
from client_node.service import NodeService
from client_node.uses.frustration import alert_to_dict
from client_node.uses.use import described_to_dict


def uses_router(service: NodeService) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    alerts = service.pipeline.conversations.alerts

    @router.get("/uses")
    def uses() -> dict[str, Any]:
        found = [service.pipeline.early.described, *service.room.described()]
        return {"uses": [described_to_dict(described) for described in found]}

    @router.get("/alerts")
    def opened() -> dict[str, Any]:
        return {"alerts": [alert_to_dict(alert) for alert in alerts.opened()]}

    @router.get("/alerts/stream")
    async def stream() -> StreamingResponse:
        held = ExitStack()
        told = held.enter_context(alerts.watch())
        return event_stream(lambda: next_event(told, _drawn), held, service.room.leaving)

    return router


def _drawn(alert: Alert) -> str:
    data = json.dumps(alert_to_dict(alert))
    return f"event: {alert.state.value}\nid: {alert.alert}\ndata: {data}\n\n"
