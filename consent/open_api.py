"""For whom each route of the trust service is, and what it takes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from audit.portal.audience_api import FRAME, Audience, Row, Table, describe
from audit.staff import Staff, StaffRole, only
from audit.witnessing import PREFIX
from consent import wire

OPEN_API = "/v1/openapi.json"
_WITNESS = PREFIX + "/{rest:path}"

AUDIENCES: Table = {
    **FRAME,
    ("GET", "/healthz"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/checkpoint"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/log/{index}"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/rules"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/rules/{rule}"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/notices/{version}"): Row(audience=Audience.ANYONE),
    ("GET", _WITNESS): Row(audience=Audience.ANYONE),
    ("POST", _WITNESS): Row(audience=Audience.ANYONE),
    ("POST", "/v1/notices"): Row(audience=Audience.SEALED),
    ("POST", "/v1/dpias"): Row(audience=Audience.SEALED),
    ("POST", "/v1/stop"): Row(audience=Audience.SEALED),
    ("POST", "/v1/grants"): Row(audience=Audience.NODE, bodies=(wire.GrantIn, wire.GrantsIn)),
    ("GET", "/v1/standing"): Row(audience=Audience.NODE),
    ("POST", "/v1/acknowledgements"): Row(audience=Audience.NODE, bodies=(wire.AcknowledgementIn,)),
    ("POST", "/v1/decisions"): Row(audience=Audience.NODE, bodies=(wire.DecisionIn,)),
    ("POST", "/v1/remedies"): Row(audience=Audience.NODE, bodies=(wire.DecisionIn,)),
    ("POST", "/v1/withdrawals"): Row(audience=Audience.SUBJECT, bodies=(wire.WithdrawalIn,)),
    ("POST", "/v1/objections"): Row(audience=Audience.SUBJECT, bodies=(wire.ObjectionIn,)),
    ("POST", "/v1/restrictions"): Row(audience=Audience.SUBJECT, bodies=(wire.RestrictionIn,)),
}
"""Every route that is not for staff; those say their roles themselves."""


def add_open_api(app: FastAPI) -> None:
    """Let signed-in staff read the service's own description."""

    @app.get(OPEN_API)
    def open_api(_: Annotated[Staff, Depends(only(*StaffRole))]) -> dict[str, Any]:
        """Return the OpenAPI document of this service."""
        return describe(app, AUDIENCES)
