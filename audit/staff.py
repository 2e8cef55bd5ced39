"""The people who work on a service by name and role, and the routes that only some may take.

Nobody is staff until something says so: a service sets `app.state.admit`, which turns a
request into the person who made it; without one, every staff route answers 401. It also sets
`app.state.note`, so that whatever staff asks to change is in the log before it is done.
Not here: how somebody proves who they are (`audit.portal.access`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fastapi import Request

from audit.errors import AccountsUnavailable, NotPermitted, NotSignedIn


class StaffRole(StrEnum):
    """What somebody is appointed to do (RULES, access control). The customer is no staff."""

    OFFICER = "officer"
    DPO = "dpo"
    AUDITOR = "auditor"
    DATA_SCIENTIST = "data-scientist"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """A member of staff who proved who they are; `name` is one word, fit for an event."""

    name: str
    roles: frozenset[StaffRole]


Admit = Callable[[Request], Staff]
"""Returns who made a request, or raises `NotSignedIn`."""

Note = Callable[[Request, Staff, bool], None]
"""Logs what staff asks a service to change, and whether their role allows it, before it is done."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


def only(*roles: StaffRole) -> Callable[[Request], Staff]:
    """Return the dependency of a route that is for staff in one of these roles.

    Its roles are readable on it (`only(...).roles`), so that a test can walk every route as
    every role. Whom it admits is in `request.state.staff`, for what draws pages.
    """
    wanted = frozenset(roles)

    def admitted(request: Request) -> Staff:
        admit: Admit = getattr(request.app.state, "admit", _nobody)
        staff = request.state.staff = admit(request)
        allowed = bool(staff.roles & wanted)
        if request.method not in SAFE_METHODS:
            note: Note = getattr(request.app.state, "note", _unnoted)
            note(request, staff, allowed)
        if not allowed:
            raise NotPermitted(_why_not(staff, wanted))
        return staff

    admitted.roles = wanted  # type: ignore[attr-defined]
    return admitted


def staff_if_any(request: Request) -> Staff | None:
    """Let a page that is for everybody know the staff whose browser asks for it; never refuse.

    Only a browser's own cookie counts: a token is for what needs one, and is counted when wrong.
    """
    admit: Admit = getattr(request.app.state, "admit", _nobody)
    if "authorization" in request.headers:
        return None
    with contextlib.suppress(NotSignedIn, AccountsUnavailable):
        request.state.staff = admit(request)
    return getattr(request.state, "staff", None)


def _why_not(staff: Staff, wanted: frozenset[StaffRole]) -> str:
    if not staff.roles:
        return "no role of yours is in force: an officer or dpo confirms those that wait"
    return f"this is for {' or '.join(sorted(wanted))}: ask one of them, or sign in as one"


def _unnoted(_request: Request, _staff: Staff, _allowed: bool) -> None:  # noqa: FBT001 (a Note)
    """Let services without a log be built in tests; a service of ours always sets `note`."""


def _nobody(_: Request) -> Staff:
    raise NotSignedIn("this is for staff: sign in first")
