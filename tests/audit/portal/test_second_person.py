"""Nobody makes themselves an officer: who oversees is appointed by two, but for the first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.errors import AccountConflict
from audit.staff import StaffRole
from tests.audit.portal.conftest import BEARER, Desk

OVERSEERS = [StaffRole.OFFICER, StaffRole.DPO]


def _roles(desk: Desk, name: str) -> list[str]:
    return desk.access.accounts.known(name).roles.split()


def _begin(desk: Desk, name: str, *roles: StaffRole, by: str) -> None:
    token = desk.access.accounts.add(name, roles, by=by)
    _activate(desk, name, token)


def _activate(desk: Desk, name: str, token: str) -> None:
    accounts = desk.access.accounts
    desk.secrets[name] = accounts.choose_password(name, token, "nine calm herons wade").secret
    accounts.activate(name, token, desk.code(name))


@pytest.mark.parametrize("role", OVERSEERS)
def test_the_first_overseers_come_of_the_bootstrap_token(
    make_desk: Callable[..., Desk], role: StaffRole
) -> None:
    """Before anybody oversees, it makes them alone: several, and again where one did not begin."""
    desk = make_desk()
    accounts = desk.access.accounts
    accounts.add("ada", [role], by="bootstrap")
    accounts.add("bea", [role], by="bootstrap")
    _activate(desk, "ada", accounts.reset("ada", by="bootstrap"))
    assert _roles(desk, "ada") == _roles(desk, "bea") == [role]
    accounts.add("eve", [role], by="bootstrap")
    assert _roles(desk, "eve") == [], "ada oversees now"


@pytest.mark.parametrize("role", OVERSEERS)
@pytest.mark.parametrize("by", ["bootstrap", "oto"])
def test_an_overseer_needs_a_second_person(desk: Desk, role: StaffRole, by: str) -> None:
    """The roles wait until another overseer confirms them; both are in the log."""
    _begin(desk, "eve", StaffRole.OPERATOR, role, by=by)
    assert _roles(desk, "eve") == ["operator"]
    assert desk.access.accounts.confirm("eve", by="ada") == sorted(["operator", role])
    changes = [e.event.fields for e in desk.log.entries(0, desk.log.size)]
    last = [c for c in changes if c.get("staff") == "eve" and str(c["change"]).startswith("roles-")]
    assert [(c["change"], c["by"]) for c in last] == [
        ("roles-asked", by),
        ("roles-confirmed", "ada"),
    ]


def test_the_second_person_is_another_who_oversees(desk: Desk) -> None:
    """Not who asked, not the owner, no operator, and not before the owner has begun."""
    token = desk.access.accounts.add("eve", [StaffRole.OFFICER], by="ada")
    desk.staff("bea", StaffRole.DPO)
    desk.access.accounts.confirm("bea", by="ada")
    for by, why in (("bea", "has not begun"), ("ada", "second person"), ("eve", "second person")):
        with pytest.raises(AccountConflict, match=why):
            desk.access.accounts.confirm("eve", by=by)
    _activate(desk, "eve", token)
    assert desk.browser().post("/v1/staff/eve/confirm", headers=BEARER).status_code == 403
    assert desk.access.accounts.confirm("eve", by="bea") == ["officer"]
    with pytest.raises(AccountConflict, match="no role"):
        desk.access.accounts.confirm("eve", by="bea")


def test_a_reset_hands_nobody_an_overseers_roles(desk: Desk) -> None:
    """Who takes the new token is anybody until a second person says who it is."""
    token = desk.access.accounts.reset("ada", by="bootstrap")
    _activate(desk, "ada", token)
    assert _roles(desk, "ada") == []
    with pytest.raises(AccountConflict, match="second person"):
        desk.access.accounts.confirm("ada", by="ada")


@pytest.mark.parametrize("change", ["disable", "reset"])
def test_closing_the_last_overseer_frees_no_place(desk: Desk, change: str) -> None:
    """An operator who closes or resets the officer is not the one who names the next."""
    getattr(desk.access.accounts, change)("ada", by="bootstrap")
    _begin(desk, "eve", StaffRole.OFFICER, by="bootstrap")
    assert _roles(desk, "eve") == []
