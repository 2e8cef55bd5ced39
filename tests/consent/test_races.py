"""Two at once at the trust service: a link, a confirmation and a second person's yes count once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from audit.events import EventKind
from audit.staff import StaffRole
from tests.consent.conftest import World
from tests.consent.test_confirming import confirm, invited, waiting
from tests.consent.test_register import desk

# FastAPI hushes it while a route is first used, by `catch_warnings`, which is one for all threads.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning"
)

AT_ONCE = 6
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _together(act: Callable[[], Any]) -> list[int]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = [pool.submit(act) for _ in range(AT_ONCE)]
        return sorted(one.result().status_code for one in told)


def _grants(world: World) -> int:
    return len(world.service.log.find(EventKind.GRANT_RECORDED))


@pytest.mark.parametrize("page", ["consent", "confirm", "api"])
def test_a_link_pressed_by_many_at_once_is_answered_once(world: World, page: str) -> None:
    """One yes is recorded, one manage link given out; the others hear that the link is over."""
    asked = invited(world) if page == "consent" else waiting(world)
    token = asked["invitation_token" if page == "consent" else "confirmation_token"]
    said = urlencode({"answer": "yes", "purpose": "service", "adult": "yes"}).encode()
    before = _grants(world)

    def act() -> httpx.Response:
        if page == "api":
            return confirm(world, token)
        return world.send("POST", f"/{page}/{token}", said, FORM)

    assert _together(act) == [201] + [409 if page == "api" else 404] * (AT_ONCE - 1)
    assert _grants(world) - before == 1


def test_two_who_confirm_a_lift_at_once_are_one_second_person(world: World) -> None:
    """The stop's lift is confirmed once, and serves once."""
    world.decree("stop", stopped=True, by="officer")
    desk(world, "ada", StaffRole.OFFICER).post("/v1/desk/stop/lift/proposal")
    second = desk(world, "ben", StaffRole.OPERATOR)
    told = _together(lambda: second.post("/v1/desk/stop/lift/confirmation"))
    assert told == [201] + [409] * (AT_ONCE - 1)
    steps = [e.event.fields["step"] for e in world.service.log.find(EventKind.REGISTER_STEP)]
    assert steps.count("confirmed") == 1
