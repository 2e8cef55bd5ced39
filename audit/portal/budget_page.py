"""What remains of privacy budgets, for staff: in words, as numbers, and as a bar.

    GET /budget    officer, DPO, auditor, data scientist    a section for each place

A service says whose states it shows; nothing here computes one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from audit.portal.frame import page
from audit.portal.listing import Cell, Listing, as_csv, plain, wants_csv
from audit.portal.site import OVERSEERS
from audit.staff import Staff, StaffRole, only
from policies.budget import BudgetState, Share, percent, purpose_name, sentences, shares
from policies.words import Language

BUDGET_READERS = OVERSEERS | {StaffRole.DATA_SCIENTIST}
_READER = Annotated[Staff, Depends(only(*BUDGET_READERS))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One place and what it last said; None where it was not heard."""

    name: str
    of: str
    state: BudgetState | None


def budget_pages(read: Callable[[], Sequence[Section]]) -> APIRouter:
    """Return the route of the page over what a service knows."""
    router = APIRouter(include_in_schema=False)

    @router.get("/budget")
    def budget(request: Request, _: _READER) -> Response:
        sections = read()
        if wants_csv(request):
            return as_csv(_listing(sections))
        return page(request, "budget.html", sections=[_shown(each) for each in sections])

    return router


def _shown(section: Section) -> dict[str, Any]:
    state = section.state
    return {
        "name": section.name,
        "of": section.of,
        "day": None if state is None else state.day,
        "days": None if state is None else state.period_days,
        "words": [] if state is None else sentences(state),
        "rows": [] if state is None else [_row(each) for each in shares(state)],
    }


def _listing(sections: Sequence[Section]) -> Listing:
    """Return the tables of all places as one, to be saved; who was not heard is named as such."""
    rows = list[tuple[Cell, ...]]()
    for section in sections:
        found = [] if section.state is None else [_row(each) for each in shares(section.state)]
        unheard = [dict.fromkeys(_COLUMNS, "") | {"what": "not heard"}] if not found else []
        for row in [*found, *unheard]:
            rows.append((plain(section.name), *(plain(row[name]) for name in _COLUMNS)))
    return Listing(
        name="budget",
        caption="What remains of privacy budgets",
        columns=("Place", *_COLUMNS.values()),
        rows=rows,
        empty="No node is enrolled.",
    )


_COLUMNS = {
    "what": "Purpose",
    "spent": "Spent",
    "limit": "Limit",
    "left": "Remains",
    "right": "A guess is right, of 100, at most",
    "most": "And never above",
}


def _row(share: Share) -> dict[str, str]:
    purpose = share.purpose
    return {
        "what": "all purposes" if purpose is None else purpose_name(purpose, Language.ENGLISH),
        "spent": f"{share.epsilon_spent:.3f}",
        "limit": f"{share.epsilon_limit:.3f}",
        "half": f"{0.5 * share.epsilon_limit:.3f}",
        "most_of": f"{0.9 * share.epsilon_limit:.3f}",
        "left": f"{share.epsilon_left:.3f}",
        "right": percent(share.right_percent),
        "most": percent(share.most_percent),
    }
