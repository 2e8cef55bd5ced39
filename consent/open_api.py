"""For whom each route of the trust service is, and what it takes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from audit.portal.audience_api import FRAME, SIGN_ON, Audience, Row, Table, describe
from audit.staff import Staff, StaffRole, only
from audit.witnessing import PREFIX
from consent import asking_api, bundle_api, choices_api, document_api, rights_api, wire

OPEN_API = "/v1/openapi.json"
_WITNESS = PREFIX + "/{rest:path}"

AUDIENCES: Table = {
    **FRAME,
    **SIGN_ON,
    ("GET", "/my"): Row(audience=Audience.ANYONE),
    ("POST", "/my"): Row(audience=Audience.ANYONE),
    **{
        (method, "/choices/{token}"): Row(audience=Audience.ANYONE)  # it only leads on
        for method in ("GET", "POST")
    },
    **{
        ("GET", path): Row(audience=Audience.ANYONE)
        for path in (
            "/documents/paper.css",
            "/centre/privacy.css",
            "/centre/check.js",
            "/check",
            "/check/page",
        )
    },
    ("POST", "/receipt"): Row(audience=Audience.HOLDER),
    ("GET", "/healthz"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/checkpoint"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/log/{index}"): Row(audience=Audience.ANYONE),
    ("GET", "/rules"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/log-keys"): Row(audience=Audience.ANYONE),
    ("GET", "/v1/log-keys/history"): Row(audience=Audience.ANYONE),
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
    ("GET", "/v1/branch-decisions"): Row(audience=Audience.NODE),
    ("POST", "/v1/branch-decisions"): Row(audience=Audience.NODE, bodies=(wire.LeafPageIn,)),
    ("POST", "/v1/remedies"): Row(audience=Audience.NODE, bodies=(wire.DecisionIn,)),
    ("POST", "/v1/withdrawals"): Row(audience=Audience.SUBJECT, bodies=(wire.WithdrawalIn,)),
    ("POST", "/v1/objections"): Row(audience=Audience.SUBJECT, bodies=(wire.ObjectionIn,)),
    ("POST", "/v1/restrictions"): Row(audience=Audience.SUBJECT, bodies=(wire.RestrictionIn,)),
    ("POST", "/v1/consent-requests"): Row(audience=Audience.NODE, bodies=(asking_api.RequestIn,)),
    ("POST", "/v1/invitations"): Row(audience=Audience.NODE, bodies=(asking_api.InvitationIn,)),
    ("POST", "/v1/unconfirmed-consents"): Row(
        audience=Audience.NODE, bodies=(asking_api.UnconfirmedIn,)
    ),
    ("POST", "/v1/confirmations"): Row(
        audience=Audience.HOLDER, bodies=(asking_api.ConfirmationIn,)
    ),
    **{
        (method, path): Row(audience=Audience.HOLDER)
        for method in ("GET", "POST")
        for path in (
            "/consent/{token}",
            "/confirm/{token}",
            "/my/{token}",
            "/my/{token}/rights/{right}",
        )
    },
    **{
        ("GET", path): Row(audience=Audience.HOLDER)
        for path in (
            "/consent/{token}/code.svg",
            "/my/{token}/code.svg",
            "/my/{token}/learned",
            "/my/{token}/rights",
            "/my/{token}/rules",
            "/my/{token}/used",
            "/my/{token}/asked",
            "/my/{token}/asked/{case}",
            "/my/{token}/asked/{case}/file",
            "/asked/{token}",
            "/asked/{token}/file",
        )
    },
    ("GET", "/consent/{token}/code.svg"): Row(audience=Audience.HOLDER),
    ("GET", "/v1/expiring-consents"): Row(audience=Audience.NODE),
    ("POST", "/v1/consent-states"): Row(audience=Audience.SUBJECT, bodies=(choices_api.StatesIn,)),
    ("POST", "/v1/deferrals"): Row(audience=Audience.SUBJECT, bodies=(choices_api.AnswerIn,)),
    ("POST", "/v1/refusals"): Row(audience=Audience.SUBJECT, bodies=(choices_api.AnswerIn,)),
    ("POST", "/v1/requests"): Row(audience=Audience.SUBJECT, bodies=(rights_api.RequestIn,)),
    ("GET", "/v1/requests/mine"): Row(audience=Audience.HOLDER),
    ("GET", "/v1/requests/mine/package"): Row(audience=Audience.HOLDER),
    ("POST", "/v1/requests/{request_id}/answers"): Row(
        audience=Audience.NODE, bodies=(rights_api.AnswerIn,)
    ),
    ("POST", "/v1/bundles"): Row(audience=Audience.SEALED),
    ("POST", "/v1/rollouts"): Row(audience=Audience.SEALED),
    ("POST", "/v1/jurisdictions"): Row(audience=Audience.SEALED),
    ("GET", "/v1/officer/bundles"): Row(audience=Audience.SEALED),
    ("GET", "/v1/bundles/{name}/{version}"): Row(audience=Audience.NODE),
    ("POST", "/v1/release-cards"): Row(audience=Audience.SEALED, bodies=(document_api.CardIn,)),
    ("POST", "/v1/shadow-reports"): Row(audience=Audience.NODE, bodies=(bundle_api.ReportIn,)),
}
"""Every route that is not for staff; those say their roles themselves."""


def add_open_api(app: FastAPI) -> None:
    """Let signed-in staff read the service's own description."""

    @app.get(OPEN_API)
    def open_api(_: Annotated[Staff, Depends(only(*StaffRole))]) -> dict[str, Any]:
        """Return the OpenAPI document of this service."""
        return describe(app, AUDIENCES)
