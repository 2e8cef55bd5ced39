"""The guided tour: for each role, questions that it is asked and where their answers lie.

    GET /tour    every role: its own questions, each answered in three clicks at most

Without a script the page is the tour: steps in words, with links. With one (`tour.js`) each step is
told on the page that it leads to, beside what it speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from audit.portal.frame import page
from audit.staff import Staff, StaffRole, only

_ANY = Annotated[Staff, Depends(only(*StaffRole))]
MOST_CLICKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """One step: a page of this site, what to do there, and what on it is meant (CSS selector)."""

    href: str
    words: str
    target: str = "h1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something that somebody of a role is asked, and the clicks to its answer."""

    asks: str
    clicks: tuple[Click, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.clicks) <= MOST_CLICKS:
            raise ValueError(f"{self.asks} takes {len(self.clicks)} clicks: 1 to {MOST_CLICKS}")


Tour = Mapping[StaffRole, tuple[Question, ...]]


def tour_page(tour: Tour) -> APIRouter:
    """Return the route over a site's tour."""
    router = APIRouter(include_in_schema=False)

    @router.get("/tour")
    def shown(request: Request, staff: _ANY) -> Response:
        own = [(role.value, tour[role]) for role in StaffRole if role in staff.roles & set(tour)]
        return page(request, "tour.html", tours=own, most=MOST_CLICKS)

    return router
