"""The routes of retention, archive and legal holds, for staff alone (`audit.staff`).

GET  /v1/desk/retention                officer, DPO, operator; auditors read
POST /v1/desk/retention/run            officer, DPO          {dry_run}
POST /v1/desk/archive/segments         officer, DPO, operator: seal the next segment
POST /v1/desk/archive/drop             officer, DPO: what the archive holds leaves the store
GET, POST /v1/desk/holds               officer, DPO; auditors read
POST /v1/desk/holds/{id}/confirmation  another of them
POST /v1/desk/holds/{id}/review        {review_at}
POST /v1/desk/holds/{id}/lift/proposal
POST /v1/desk/holds/{id}/lift/confirmation   another of them
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from audit.events import EventKind
from audit.hold import HoldReason, Scope
from audit.hold_book import HoldBook
from audit.retention_keeper import RetentionKeeper
from audit.staff import Staff, StaffRole, only
from policies.vocabulary import SubjectId

_R = StaffRole
Desk = Annotated[Staff, Depends(only(_R.OFFICER, _R.DPO))]
Sealer = Annotated[Staff, Depends(only(_R.OFFICER, _R.DPO, _R.OPERATOR))]
Reader = Annotated[Staff, Depends(only(_R.OFFICER, _R.DPO, _R.AUDITOR, _R.OPERATOR))]
Second = Annotated[float, Field(ge=0, lt=2**40, allow_inf_nan=False)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunIn(_Shape):
    """Whether only to say what would go."""

    dry_run: bool = False


class HoldIn(_Shape):
    """A hold: why, on what, and by when it is looked at again."""

    reason: HoldReason
    review_at: Second
    since: Second | None = None
    until: Second | None = None
    kinds: list[EventKind] = []
    subject: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class ReviewIn(_Shape):
    """By when it is looked at again."""

    review_at: Second


def retention_router(
    keeper: RetentionKeeper, book: HoldBook, *, lifted: Callable[[], None]
) -> APIRouter:
    """Return the routes; `lifted` does what a hold had stopped."""
    router = APIRouter(prefix="/v1/desk")
    _add_retention(router, keeper)
    _add_archive(router, keeper)
    _add_holds(router, book)
    _add_lifting(router, book, lifted)
    return router


def _add_retention(router: APIRouter, keeper: RetentionKeeper) -> None:
    @router.get("/retention")
    def shown(_: Reader) -> dict[str, Any]:
        return dict(keeper.state())

    @router.post("/retention/run", status_code=201)
    def run(_: Desk, said: RunIn) -> dict[str, Any]:
        retention = keeper.retention
        ask = retention.plan if said.dry_run else retention.run
        return {"dry_run": said.dry_run, **ask(clock_is_right=True).to_dict()}


def _add_archive(router: APIRouter, keeper: RetentionKeeper) -> None:
    @router.post("/archive/segments", status_code=201)
    def segment(_: Sealer) -> dict[str, Any]:
        until = keeper.sealing.due()
        made = keeper.sealing.seal_next(until)
        sealed = None if made is None else {"start": made.start, "end": made.end}
        return {"sealed": sealed, "sealed_until": keeper.sealing.sealed_until(), "due": until}

    @router.post("/archive/drop", status_code=201)
    def drop(_: Desk) -> dict[str, Any]:
        return {"dropped": keeper.sealing.drop()}


def _add_holds(router: APIRouter, book: HoldBook) -> None:
    @router.get("/holds")
    def listed(_: Reader) -> list[dict[str, Any]]:
        return [book.state(hold) for hold in book.all()]

    @router.post("/holds", status_code=201)
    def placed(staff: Desk, said: HoldIn) -> dict[str, Any]:
        scope = Scope(
            since=said.since,
            until=said.until,
            kinds=frozenset(said.kinds),
            person=None if said.subject is None else SubjectId(said.subject),
        )
        hold = book.place(said.reason, scope, review_at=said.review_at, by=staff.name)
        return book.state(hold)

    @router.post("/holds/{hold}/confirmation", status_code=201)
    def confirmed(staff: Desk, hold: str) -> dict[str, Any]:
        return book.state(book.confirm(hold, by=staff.name))

    @router.post("/holds/{hold}/review", status_code=201)
    def reviewed(staff: Desk, hold: str, said: ReviewIn) -> dict[str, Any]:
        return book.state(book.review(hold, said.review_at, by=staff.name))


def _add_lifting(router: APIRouter, book: HoldBook, lifted: Callable[[], None]) -> None:
    @router.post("/holds/{hold}/lift/proposal", status_code=201)
    def proposed(staff: Desk, hold: str) -> dict[str, Any]:
        return book.state(book.propose_lift(hold, by=staff.name))

    @router.post("/holds/{hold}/lift/confirmation", status_code=201)
    def confirmed(staff: Desk, hold: str) -> dict[str, Any]:
        found = book.state(book.lift(hold, by=staff.name))
        lifted()
        return found
