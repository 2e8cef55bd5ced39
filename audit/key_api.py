"""The routes of a log's keys, the same in each service; who may change them is the service's.

GET  /v1/log-keys          every key the log ever had, public halves alone
GET  /v1/log-keys/history  how each came, proven from the first (`audit.key_history`), as text
POST /v1/log-keys/rotate   bring a new key, beside which the old one goes on signing
POST /v1/log-keys/retire   end the old one
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from audit.key_history import write_history
from audit.log import EvidenceLog
from audit.rotation import DAY_S, MOST_OVERLAP_S, KeyDesk

PATH = "/v1/log-keys"


class RotateIn(BaseModel):
    """How long both keys are to sign."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    overlap_s: float = Field(default=7 * DAY_S, ge=0, le=MOST_OVERLAP_S)


class RetireIn(BaseModel):
    """Whether the old key may be in other hands."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    compromised: bool = False


def key_router(
    log: EvidenceLog, desk: KeyDesk, *, operator: Sequence[Any] = (), reader: Sequence[Any] = ()
) -> APIRouter:
    """Return the routes; `operator` checks who changes keys, and `reader` who sees them."""
    router = APIRouter()
    seen = [Depends(check) for check in reader]
    guarded = [Depends(check) for check in operator]

    @router.get(PATH, dependencies=seen)
    def keys() -> dict[str, Any]:
        return {"log": log.origin, "keys": desk.list()}

    @router.get(f"{PATH}/history", dependencies=seen)
    def history() -> PlainTextResponse:
        return PlainTextResponse(write_history(log, 0))

    @router.post(f"{PATH}/rotate", dependencies=guarded)
    def rotate(said: RotateIn) -> dict[str, Any]:
        return desk.rotate(overlap_s=said.overlap_s)

    @router.post(f"{PATH}/retire", dependencies=guarded)
    def retire(said: RetireIn) -> dict[str, Any]:
        return desk.retire(compromised=said.compromised)

    return router
