"""The operator's view of the local head, on the Unix socket of the node's own user alone.

    GET    /internal/personal   what it is, and what it gains on people held apart
    POST   /internal/personal   fit it now
    DELETE /internal/personal   drop it; none is fitted until asked for

No integration's key opens this, and no other route tells the gain.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from client_node.personal import Personalisation


def personal_router(personalisation: Personalisation) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/internal/personal")

    @router.get("")
    def show() -> dict[str, Any]:
        return personalisation.status()

    @router.post("", status_code=201)
    def fit() -> dict[str, Any]:
        personalisation.fit()
        return personalisation.status()

    @router.delete("")
    def drop() -> dict[str, Any]:
        return {"dropped": personalisation.drop()}

    return router
