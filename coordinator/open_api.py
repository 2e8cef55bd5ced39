"""For whom each route of the coordinator is that is not for staff, and its own description."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from audit.portal.audience_api import FRAME, Audience, Row, Table, describe
from audit.staff import Staff, StaffRole, only

AUDIENCES: Table = {
    **FRAME,
    ("GET", "/healthz"): Row(audience=Audience.ANYONE),
    ("GET", "/rules"): Row(audience=Audience.ANYONE),
}
"""Every route that is not for staff; those say their roles themselves."""


def add_open_api(app: FastAPI) -> None:
    """Let signed-in staff read the service's own description."""

    @app.get("/v1/openapi.json")
    def open_api(_: Annotated[Staff, Depends(only(*StaffRole))]) -> dict[str, Any]:
        """Return the OpenAPI document of this service."""
        return describe(app, AUDIENCES)
