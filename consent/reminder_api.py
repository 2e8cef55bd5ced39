"""The routes of reminders, for staff alone (`audit.staff`).

GET  /v1/desk/reminders    ?within_days=7    officer, DPO, auditor
POST /v1/desk/reminders    {within_days}     officer, DPO: the same, and in the log that they saw it
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from audit.staff import Staff, StaffRole, only
from consent import wire
from consent.register import Register
from consent.reminders import reminders
from consent.service import TrustService
from policies.canonical import digest

Desk = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]
Reader = Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR))]
MOST_DAYS, SOON_DAYS = 366, 7


class RemindersIn(wire.Shape):
    """How far to look ahead."""

    within_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] = SOON_DAYS


def reminder_router(service: TrustService) -> APIRouter:
    """Return the routes over a service."""
    router = APIRouter(prefix="/v1/desk/reminders")

    def found(within_days: int) -> list[dict[str, Any]]:
        return reminders(
            requests=service.rights.due(),
            breaches=service.registers.breaches(),
            appointments=service.registers.appointments(),
            documents=service.documents.every(),
            now=service.log.clock(),
            within_days=within_days,
        )

    @router.get("")
    def shown(
        _: Reader, within_days: Annotated[int, Query(ge=0, le=MOST_DAYS)] = SOON_DAYS
    ) -> list[dict[str, Any]]:
        return found(within_days)

    @router.post("", status_code=201)
    def seen(staff: Desk, said: RemindersIn) -> list[dict[str, Any]]:
        rows = found(said.within_days)
        if rows:
            details = {"digest": digest({"due": rows})}
            service.registers.record(Register.REMINDER, "due", "seen", details, by=staff.name)
        return rows

    return router
