"""Reminders: what is due soon or overdue, once for a person, once for cron, once for the log."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.events import EventKind
from audit.staff import Staff, StaffRole
from consent.api import create_app
from tests.consent.conftest import START, World

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent import options_cli
    from consent.cli import app as command_line

DAY_S = 86_400
ROUTE = "/v1/desk/reminders"
DIGEST = "ab" * 32


@pytest.fixture
def desk(world: World) -> TestClient:
    """Return the application as a DPO sees it."""
    app = create_app(world.service)
    app.state.admit = lambda _: Staff(name="dora", roles=frozenset({StaffRole.DPO}))
    return TestClient(app)


def open_one(world: World, desk: TestClient, who: str) -> str:
    """Take in a request by letter; return its path."""
    world.grant(who)
    said = {"company": "acme", "subject": who, "right": "access", "jurisdiction": "IE"}
    return f"/v1/desk/requests/{desk.post('/v1/desk/requests', json=said).json()['request']}"


def due(desk: TestClient, days: int) -> list[tuple[str, int, bool]]:
    """Return what is due within so many days."""
    rows = desk.get(f"{ROUTE}?within_days={days}").json()
    return [(row["what"], row["days_left"], row["overdue"]) for row in rows]


def test_a_request_is_due_within_its_days_and_then_overdue(world: World, desk: TestClient) -> None:
    """Not yet a month before, soon a week before, overdue a day after; never while it is paused."""
    path = open_one(world, desk, "alice")
    days = desk.get(path).json()["days_left"]
    assert due(desk, days - 1) == []
    assert due(desk, days) == [("request", days, False)]
    world.clock.now += (days + 1) * DAY_S
    assert due(desk, 0) == [("request", -1, True)]
    other = open_one(world, desk, "bob")
    assert desk.post(f"{other}/identity-asked", json={"way": "letter"}).status_code == 201
    assert due(desk, 366) == [("request", -1, True)], "the other's clock stands still"


def test_breaches_and_appointments_are_due_too(world: World, desk: TestClient) -> None:
    """A breach untold, an appointment about to end: each with why; a closed breach is not.

    An overseer whose account is closed is overdue at once.
    """
    world.hire("olga", StaffRole.OPERATOR)
    said = {"known_at": START, "part": "controller", "risk": "likely", "digest": DIGEST}
    breach = desk.post("/v1/desk/breaches", json=said).json()["breach"]
    made = {"person": "olga", "purpose": "service", "since": START, "until": START + 5 * DAY_S}
    assert desk.post("/v1/desk/oversight", json=made | {"competence": DIGEST}).status_code == 201
    assert due(desk, 7) == [("breach", 3, False), ("oversight", 5, False)]
    told = f"/v1/desk/breaches/{breach}"
    desk.post(f"{told}/told", json={"who": "authority", "digest": DIGEST})
    assert desk.post(f"{told}/closing").status_code == 201
    assert due(desk, 7) == [("oversight", 5, False)]
    world.service.access.accounts.disable("olga", by="otto")
    [row] = desk.get(f"{ROUTE}?within_days=0").json()
    assert row["overdue"]
    assert "an account that is closed: appoint another" in row["why"]


def test_who_saw_what_is_due_is_in_the_log_and_nobody_else(world: World, desk: TestClient) -> None:
    """Seen with a record: one event with a digest, and no pseudonym; nothing due, no event."""
    assert desk.post(ROUTE, json={}).json() == []
    assert world.service.log.find(EventKind.REGISTER_STEP) == []
    open_one(world, desk, "alice")
    assert len(desk.post(ROUTE, json={"within_days": 60}).json()) == 1
    (entry,) = world.service.log.find(EventKind.REGISTER_STEP)
    assert (entry.event.fields["register"], entry.event.fields["by"]) == ("reminder", "dora")
    assert b"alice" not in entry.leaf
    assert desk.post(ROUTE, json={"within_days": -1}).status_code == 422


def test_cron_hears_by_the_exit_code(
    world: World,
    desk: TestClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 0 while nothing is due, 1 when something is, with and without a record."""

    def carried(path: str, *, said: Any = None, **_: Any) -> Any:
        answer = desk.get(path) if said is None else desk.post(path, json=said)
        return answer.json()

    monkeypatch.setattr(options_cli, "staff_call", carried)

    def run(*words: str) -> tuple[int, list[dict[str, Any]]]:
        with pytest.raises(SystemExit) as ended:
            command_line(["reminders", *words, "--json", "--token-file", str(tmp_path / "t")])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    assert run() == (0, [])
    open_one(world, desk, "alice")
    for words in (["--within", "60"], ["--within", "60", "--record"]):
        code, rows = run(*words)
        assert (code, len(rows)) == (1, 1)
