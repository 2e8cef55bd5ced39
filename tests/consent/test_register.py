"""The registers: the 72-hour clock, two people for the stop switch, named oversight."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.events import EventKind
from audit.staff import Staff, StaffRole
from consent.api import create_app
from tests.consent.conftest import START, World

HOUR_S = 3600
DIGEST = "ab" * 32


def desk(world: World, name: str = "dora", role: StaffRole = StaffRole.DPO) -> TestClient:
    """Return the application as one member of staff sees it."""
    app = create_app(world.service)
    app.state.admit = lambda _: Staff(name=name, roles=frozenset({role}))
    return TestClient(app)


def breach(world: World, **changes: Any) -> dict[str, Any]:
    """Register a breach that was known just now."""
    said = {"known_at": START, "part": "controller", "risk": "likely", "digest": DIGEST} | changes
    answer = desk(world).post("/v1/desk/breaches", json=said)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def take(world: World, made: dict[str, Any], step: str, **said: Any) -> Any:
    """Take one step of a breach."""
    return desk(world).post(f"/v1/desk/breaches/{made['breach']}/{step}", json=said)


@pytest.mark.parametrize(
    ("changes", "to_tell"),
    [
        ({}, ["authority"]),
        ({"risk": "high"}, ["authority", "people"]),
        ({"part": "processor", "risk": "unlikely"}, ["controller"]),
    ],
)
def test_a_breach_is_closed_only_when_everybody_was_told(
    world: World, changes: dict[str, Any], to_tell: list[str]
) -> None:
    """Closing is refused as long as one of those who must hear has not (GDPR 33, 34)."""
    made = breach(world, **changes)
    for who in to_tell:
        refused = take(world, made, "closing")
        assert refused.status_code == 409
        assert f"not told: {who}" in refused.json()["detail"]
        assert take(world, made, "told", who=who, digest=DIGEST).status_code == 201
    assert take(world, made, "closing").status_code == 201
    assert take(world, made, "closing").status_code == 409


def test_a_breach_that_nobody_need_hear_of_is_registered_with_its_reason(world: World) -> None:
    """Without a reason it stays open; with one it is closed and stays in the register."""
    made = breach(world, risk="unlikely")
    assert "no reason" in take(world, made, "closing").json()["detail"]
    take(world, made, "assessment", risk="unlikely", reason="keys-not-exposed")
    assert take(world, made, "closing").status_code == 201
    (kept,) = desk(world).get("/v1/desk/breaches").json()
    assert kept["closed_at"] is not None


def test_the_clock_runs_72_hours_from_knowing_and_at_once_for_a_processor(world: World) -> None:
    """The authority's hours are the law's; late needs a reason; a processor has none to lose."""
    made = breach(world)
    assert made["hours_left"] == 72.0
    assert breach(world, part="processor")["hours_left"] == 0.0
    world.clock.now += 73 * HOUR_S
    assert all(row["overdue"] for row in desk(world).get("/v1/desk/breaches").json())
    take(world, made, "told", who="authority", digest=DIGEST)
    assert "late" in take(world, made, "closing").json()["detail"]
    why = {"who": "authority", "digest": DIGEST, "reason": "found-on-a-holiday"}
    assert take(world, made, "told", **why | {"who": "people", "reason": None}).status_code == 201
    first = take(world, made, "told", **why)
    assert first.json()["told"]["authority"] == world.clock.now
    world.clock.now += HOUR_S
    assert take(world, made, "told", **why).status_code == 409, "once"
    assert take(world, made, "closing").status_code == 201


def test_the_stop_is_set_by_one_and_lifted_by_two(world: World) -> None:
    """Nobody alone lifts it: not the officer's key, and not one person twice."""
    assert world.decree("stop", stopped=True, by="officer").status_code == 201
    world.clock.now += 1
    alone = world.decree("stop", stopped=False, by="officer")
    assert alone.status_code == 409
    assert "by two" in alone.json()["detail"]
    first = desk(world, "ada", StaffRole.OFFICER)
    assert first.post("/v1/desk/stop/lift/confirmation").status_code == 409
    assert first.post("/v1/desk/stop/lift/proposal").status_code == 201
    for same in ("ada", "Ada"):
        refused = desk(world, same, StaffRole.DPO).post("/v1/desk/stop/lift/confirmation")
        assert refused.status_code == 409
        assert "another" in refused.json()["detail"]
    assert world.decree("stop", stopped=False, by="officer").status_code == 409
    assert world.feed()["governance"]["stopped"]
    second = desk(world, "ben", StaffRole.OPERATOR)
    assert second.post("/v1/desk/stop/lift/confirmation").status_code == 201
    assert world.decree("stop", stopped=False, by="officer").status_code == 201
    assert not world.feed()["governance"]["stopped"]
    steps = [e.event.fields for e in world.service.log.find(EventKind.REGISTER_STEP)]
    assert [(s["step"], s["by"]) for s in reversed(steps)] == [
        ("proposed", "ada"),
        ("confirmed", "ben"),
        ("lifted", "officer"),
    ]


@pytest.mark.parametrize("between", ["an hour", "a new stop", "another lift"])
def test_an_agreement_to_lift_serves_once_and_soon(world: World, between: str) -> None:
    """It lapses with the hour, with a new stop, and with its use."""
    world.decree("stop", stopped=True, by="officer")
    desk(world, "ada").post("/v1/desk/stop/lift/proposal")
    assert desk(world, "ben").post("/v1/desk/stop/lift/confirmation").status_code == 201
    world.clock.now += HOUR_S + 1 if between == "an hour" else 1
    for stopped in {"an hour": [], "a new stop": [True], "another lift": [False, True]}[between]:
        assert world.decree("stop", stopped=stopped, by="officer").status_code == 201
        world.clock.now += 1
    assert world.decree("stop", stopped=False, by="officer").status_code == 409


def test_oversight_is_in_force_from_until_and_not_after_its_end(world: World) -> None:
    """A named person, for a purpose, with a statement of competence; ended now when told."""
    said = {
        "person": "olga",
        "purpose": "service",
        "since": START,
        "until": START + 1000,
        "competence": DIGEST,
    }
    route = "/v1/desk/oversight"
    world.hire("olga", StaffRole.OPERATOR)
    assert desk(world).post(route, json=said | {"until": START}).status_code == 422
    made = desk(world).post(route, json=said).json()
    assert made["in_force"]
    ended = desk(world).post(f"{route}/{made['appointment']}/end").json()
    assert not ended["in_force"]
    assert desk(world).post(f"{route}/{made['appointment']}/end").status_code == 409
    later = desk(world).post(route, json=said).json()
    world.clock.now += 1001
    states = {row["appointment"]: row for row in desk(world).get(route).json()}
    assert not states[later["appointment"]]["in_force"]


def test_who_oversees_can_act_or_is_not_appointed(world: World) -> None:
    """No account, none begun, a closed one, one that can stop nothing: refused, each with why."""
    world.hire("olga", StaffRole.OPERATOR)
    world.hire("dana", StaffRole.DATA_SCIENTIST)
    world.hire("otto", StaffRole.OFFICER)
    accounts = world.service.access.accounts
    accounts.disable("otto", by="olga")
    accounts.add("ines", [StaffRole.OPERATOR], by="olga")
    said = {"purpose": "service", "since": START, "until": START + 1000, "competence": DIGEST}
    route = "/v1/desk/oversight"
    whys = {
        "nobody-here": "has no account here",
        "Olga": "has no account here",
        "ines": "has not begun",
        "otto": "an account that is closed",
        "dana": "no role that can stop",
    }
    for person, why in whys.items():
        answer = desk(world).post(route, json=said | {"person": person})
        assert answer.status_code == 422, person
        assert why in answer.json()["detail"]
        assert person not in answer.text
    assert desk(world).get(route).json() == []
    assert desk(world).post(route, json=said | {"person": "olga"}).status_code == 201


def test_oversight_ends_with_the_account_and_says_so(world: World) -> None:
    """Closed, the account ends what its owner oversees; opened again it is in force again."""
    world.hire("olga", StaffRole.OPERATOR)
    said = {"purpose": "service", "since": START, "until": START + 1000, "competence": DIGEST}
    route = "/v1/desk/oversight"
    assert desk(world).post(route, json=said | {"person": "olga"}).status_code == 201
    accounts = world.service.access.accounts

    def standing() -> tuple[bool, bool, str]:
        [made] = desk(world).get(route).json()
        return made["in_force"], made["within_term"], made["account"]

    assert standing() == (True, True, "active")
    accounts.disable("olga", by="otto")
    assert standing() == (False, True, "disabled")
    page = desk(world).get("/", follow_redirects=True)
    assert "olga cannot oversee service" in page.text
    accounts.enable("olga", by="otto")
    assert standing() == (True, True, "active")
    assert "cannot oversee" not in desk(world).get("/", follow_redirects=True).text


def test_the_registers_are_closed_to_other_roles(world: World) -> None:
    """An auditor reads and moves nothing; a data scientist does neither."""
    auditor = desk(world, role=StaffRole.AUDITOR)
    assert auditor.get("/v1/desk/breaches").status_code == 200
    for path in ("/v1/desk/breaches", "/v1/desk/stop/lift/proposal", "/v1/desk/oversight"):
        assert auditor.post(path, json={}).status_code == 403
    assert desk(world, role=StaffRole.DATA_SCIENTIST).get("/v1/desk/oversight").status_code == 403
