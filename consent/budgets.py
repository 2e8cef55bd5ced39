"""What nodes said of their privacy budgets, as the portal shows it to staff."""

from __future__ import annotations

from collections.abc import Iterable

from audit.portal.budget_page import Section
from consent.tables import NodeRow
from policies.budget import BudgetState


def budget_sections(
    heard: Iterable[tuple[NodeRow, BudgetState | None]], *, coordinator: str | None
) -> list[Section]:
    """Return a section for each node; the coordinator, which is enrolled too, has nobody's."""
    return [
        Section(name=row.node, of=row.company, state=state)
        for row, state in heard
        if row.node != coordinator
    ]
