"""What waits to be told by webhook and what is dead, over HTTP: for integrations and operator.

GET  /webhooks                      waiting and dead, oldest first
POST /webhooks/{delivery}/retry     from the beginning, with the next round
POST /webhooks/{delivery}/drop      give it up
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from client_node.webhook_outbox import delivery_to_dict
from client_node.webhooks import Webhooks


def webhooks_router(webhooks: Webhooks) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/webhooks")

    @router.get("")
    def listed() -> dict[str, Any]:
        return {"webhooks": [delivery_to_dict(one) for one in webhooks.outbox.listed()]}

    @router.post("/{delivery}/retry")
    def retry(delivery: str) -> dict[str, str]:
        webhooks.retry(delivery)
        return {"delivery": delivery}

    @router.post("/{delivery}/drop")
    def drop(delivery: str) -> dict[str, str]:
        webhooks.drop(delivery)
        return {"delivery": delivery}

    return router
