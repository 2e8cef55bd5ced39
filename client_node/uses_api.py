"""The uses of a node over HTTP: what they are, and alerts as they come.

The stream is of server-sent events (WHATWG HTML, 9.2): every open alert first, then each change,
a comment every fifteen seconds to show that it lives, and `event: behind` before it ends a
watcher that did not keep up.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from client_node.alerts import Alert
from client_node.service import NodeService
from client_node.uses.frustration import alert_to_dict
from client_node.uses.use import described_to_dict

LOOK_S = 0.1
ALIVE_S = 15.0


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
        return StreamingResponse(
            events(told, held),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    return router


async def events(told: queue.Queue[Alert | None], held: ExitStack) -> AsyncIterator[str]:
    """Yield each change as an event until the watcher leaves or is behind."""
    quiet_s = 0.0
    with held:
        yield ": watching\n\n"
        while True:
            try:
                alert = told.get_nowait()
            except queue.Empty:
                await asyncio.sleep(LOOK_S)
                quiet_s += LOOK_S
                if quiet_s >= ALIVE_S:
                    yield ": alive\n\n"
                    quiet_s = 0.0
                continue
            if alert is None:
                yield "event: behind\ndata: {}\n\n"
                return
            data = json.dumps(alert_to_dict(alert))
            yield f"event: {alert.state.value}\nid: {alert.alert}\ndata: {data}\n\n"
