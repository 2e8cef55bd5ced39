"""What a service's site holds: its areas in the order of the menu, and where the other site is.

A member of staff sees the areas that their roles open, each with its page; what lies on the other
site is linked where the settings say where that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from audit.staff import Staff, StaffRole

EVERYBODY = frozenset(StaffRole)
OVERSEERS = frozenset({StaffRole.OFFICER, StaffRole.DPO, StaffRole.AUDITOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One entry of the menu, and whom it is for."""

    name: str
    path: str
    roles: frozenset[StaffRole] = OVERSEERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A service's areas, its own templates, and the other site (`other_url` may be unknown)."""

    areas: tuple[Area, ...] = ()
    templates: Path | None = None
    other: tuple[Area, ...] = ()
    other_name: str = ""
    other_url: str | None = None

    def menu(self, staff: Staff | None, path: str) -> list[dict[str, object]]:
        """Return the entries for somebody on a page, the one they are in marked."""
        return [
            {"name": area.name, "path": area.path, "here": _is_in(path, area.path)}
            for area in _open_to(staff, self.areas)
        ]

    def elsewhere(self, staff: Staff | None) -> list[dict[str, str]]:
        """Return the entries of the other site; none where it is not known where that is."""
        if self.other_url is None:
            return []
        root = self.other_url.rstrip("/")
        return [{"name": a.name, "url": root + a.path} for a in _open_to(staff, self.other)]

    def first(self, staff: Staff) -> str:
        """Return where somebody begins."""
        return next((area.path for area in _open_to(staff, self.areas)), "/account")


TRUST_AREAS = (
    Area(name="Today", path="/today", roles=EVERYBODY),
    Area(name="Decisions", path="/decisions"),
    Area(name="Evidence", path="/evidence"),
    Area(name="People", path="/people"),
    Area(name="Rules", path="/rulebook", roles=OVERSEERS | {StaffRole.OPERATOR}),
    Area(name="Documents", path="/documents", roles=OVERSEERS | {StaffRole.DATA_SCIENTIST}),
    Area(name="Incidents", path="/incidents"),
    Area(name="Settings", path="/settings", roles=OVERSEERS | {StaffRole.OPERATOR}),
)
COORDINATOR_AREAS = (
    Area(name="Federation", path="/federation", roles=EVERYBODY),
    Area(name="Models", path="/models", roles=EVERYBODY),
    Area(name="Insight", path="/insight", roles=EVERYBODY),
)
"""The two sites' own areas; each links to the other's."""


def _open_to(staff: Staff | None, areas: Iterable[Area]) -> list[Area]:
    return [] if staff is None else [area for area in areas if area.roles & staff.roles]


def _is_in(path: str, area: str) -> bool:
    return path == area or path.startswith(f"{area}/")
