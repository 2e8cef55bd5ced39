"""Staff routes: closed to nobody known and to the wrong role, open to the right one."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from audit.http import install_error_handlers
from audit.staff import Staff, StaffRole, only


@pytest.fixture
def app() -> FastAPI:
    """Return an app with one staff route."""
    made = FastAPI()
    install_error_handlers(made, {})

    @made.get("/desk")
    def desk(staff: Annotated[Staff, Depends(only(StaffRole.OFFICER, StaffRole.DPO))]) -> str:
        return staff.name

    return made


def _admit_as(app: FastAPI, *roles: StaffRole) -> None:
    app.state.admit = lambda _: Staff(name="ada", roles=frozenset(roles))


def test_a_staff_route_is_closed_until_somebody_can_sign_in(app: FastAPI) -> None:
    """A service that names no way to sign in admits nobody."""
    assert TestClient(app).get("/desk").status_code == 401


@pytest.mark.parametrize("role", StaffRole)
def test_a_staff_route_opens_to_its_roles_alone(app: FastAPI, role: StaffRole) -> None:
    """Each role but the two named is told for whom the route is."""
    _admit_as(app, role)
    answer = TestClient(app).get("/desk")
    if role in {StaffRole.OFFICER, StaffRole.DPO}:
        assert answer.json() == "ada"
    else:
        assert answer.status_code == 403
        assert "dpo or officer" in answer.json()["detail"]


def test_a_member_of_staff_without_a_role_is_refused(app: FastAPI) -> None:
    """To be known is not to be allowed."""
    _admit_as(app)
    refused = TestClient(app).get("/desk")
    assert refused.status_code == 403
    assert "an officer or dpo confirms those that wait" in refused.text
