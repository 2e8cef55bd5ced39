"""The stop switch at the portal: one person sets it after a question, two lift it."""

from __future__ import annotations

import pytest

from audit.events import EventKind
from audit.staff import StaffRole
from tests.consent.conftest import World
from tests.consent.test_portal_pages import PERSON, Portal, portal

__all__ = ["portal"]
SURE = {"reason": "incident", "sure": "yes"}


def _stops(world: World) -> int:
    return len(world.service.log.find(EventKind.STOP_SET))


def test_a_stop_is_asked_about_first_and_then_closes_every_gate(portal: Portal) -> None:
    """The question changes nothing; the yes is in the log, in the feed, and in the next answer."""
    world = portal.world
    asked = portal.post("/today/stop", reason="incident")
    assert "Every gate at every branch closes" in asked.text
    assert _stops(world) == 0
    done = portal.post("/today/stop", **SURE)
    assert "Everything is stopped" in done.text
    assert world.feed()["governance"]["stopped"] is True
    request = {"node": "north", "action": "infer", "purpose": "service", "subject": PERSON}
    answer = world.as_node("north", "POST", "/v1/decisions", {"request": request}).json()
    assert answer["allowed"] is False
    fields = world.service.log.find(EventKind.STOP_SET)[0].event.fields
    assert (fields["by"], fields["reason"], fields["stopped"]) == ("olga", "incident", True)


def test_a_stop_of_the_page_outlives_a_restart(portal: Portal) -> None:
    """It is read back as the officer's own are."""
    portal.post("/today/stop", **SURE)
    portal.world.reopen()
    assert portal.world.service.officer.governance().stopped


def test_a_new_stop_voids_what_two_agreed_on(portal: Portal) -> None:
    """Whoever sees a reason to stop again is not overruled by an agreement from before."""
    world = portal.world
    portal.post("/today/stop", **SURE)
    second = Portal(world, "otto", StaffRole.OPERATOR)
    portal.post("/today/stop/proposal")
    second.post("/today/stop/confirmation")
    world.clock.now += 1
    second.post("/today/stop", reason="precaution", sure="yes")
    world.clock.now += 1
    assert world.decree("stop", stopped=False, by="O. Officer").status_code == 409
    portal.post("/today/stop/proposal")
    second.post("/today/stop/confirmation")
    assert world.decree("stop", stopped=False, by="O. Officer").status_code == 201
    assert not world.service.officer.governance().stopped


@pytest.mark.parametrize("fields", [{"sure": "yes"}, {"reason": "a person's name", "sure": "yes"}])
def test_a_reason_is_a_word_of_the_list(portal: Portal, fields: dict[str, str]) -> None:
    """No text reaches the log: what is none of the words stops nothing."""
    assert portal.post("/today/stop", **fields).status_code == 422
    assert _stops(portal.world) == 0


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.DATA_SCIENTIST])
def test_who_may_not_stop_is_not_offered_it(portal: Portal, role: StaffRole) -> None:
    """No button, and a sent form is refused."""
    other = Portal(portal.world, "aiko", role)
    assert 'action="/today/stop"' not in other.get("/today")
    assert other.post("/today/stop", **SURE).status_code == 403
    assert _stops(portal.world) == 0
