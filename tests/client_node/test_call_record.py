"""Use 10, recorded: a node adds up finished calls by hour, tells no few of them, and plays them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from client_node.call_record import K_CALLS, KEPT_DAYS, LEAST_AGENTS, CallRecord, FinishedCall
from client_node.cli import app
from client_node.errors import RecordRefused, TurnInvalid
from client_node.tables import CallHourRow
from client_node.wire import QueueIn
from tests.client_node.conftest import START
from tests.client_node.test_alerts import HELP, angry_node
from tests.client_node.test_campaigns import as_toml, on_its_socket
from tests.client_node.test_whatif import TOML

HOUR, DAY = 3_600, 86_400
FLOOR = {"idle_agents": 3, "busy_until": [10.0, 20.0]}


def record(world: Any, calls: int = K_CALLS, agents: int = LEAST_AGENTS, **more: Any) -> CallRecord:
    """Return a record of so many alike calls in the last hour."""
    made = CallRecord(world.folder / "calls.db", clock=world.clock)
    call = {"arrived_at": int(START) - HOUR, "waited_s": 30.0, "handled_s": 240.0} | more
    for _ in range(calls):
        made.add("returns", FinishedCall(**call), agents=agents)
    return made


def test_record_is_totals_and_has_no_place_for_anybody() -> None:
    """Neither a call nor a row names who called, who answered, or what anybody felt."""
    said = {field.name for field in fields(FinishedCall)}
    assert said == {"arrived_at", "waited_s", "handled_s"}
    kept = set(CallHourRow.model_fields)
    assert kept == {"queue", "hour", "calls", "waited_s", "abandoned", "handled", "handled_s"}


def test_hours_are_pooled_over_days_and_told_from_so_many_calls(world: Any) -> None:
    """One call fewer than the floor tells nothing of that hour; with it, means alone."""
    calls = record(world, K_CALLS - 1)
    assert {hour.calls_a_day for hour in calls.recorded("returns").hours} == {None}
    with pytest.raises(RecordRefused, match="too little"):
        calls.recorded("returns").day()
    yesterday = FinishedCall(arrived_at=int(START) - HOUR - DAY, waited_s=90.0, handled_s=None)
    calls.add("returns", yesterday, agents=9)
    found = calls.recorded("returns")
    (told,) = [hour for hour in found.hours if hour.calls_a_day is not None]
    assert (found.days, told.hour, told.calls_a_day) == (2, (int(START) // HOUR - 1) % 24, 10.0)
    assert told.waited_s == pytest.approx(33.0)
    assert told.abandoned_share == pytest.approx(1 / K_CALLS)
    assert told.handling_s is None  # nineteen were handled
    assert calls.recorded("other").days == 0
    calls.close()


def test_handling_is_no_single_agents(world: Any) -> None:
    """Where fewer than three take calls, how long they took is not added up at all."""
    calls = record(world, 3 * K_CALLS, agents=LEAST_AGENTS - 1)
    found = calls.recorded("returns")
    assert found.handling_s is None
    assert any(hour.calls_a_day for hour in found.hours)
    with pytest.raises(RecordRefused, match="3 agents"):
        found.day()
    calls.close()


@pytest.mark.parametrize("at", [int(START) + 6, int(START) - KEPT_DAYS * DAY - 1])
def test_call_from_the_future_or_too_old_is_refused(world: Any, at: int) -> None:
    """One line, and nothing is added."""
    calls = record(world, 0)
    with pytest.raises(TurnInvalid) as refused:
        calls.add("returns", FinishedCall(arrived_at=at, waited_s=0, handled_s=1), agents=9)
    assert "\n" not in str(refused.value)
    assert calls.recorded("returns").days == 0
    calls.close()


def test_record_goes_after_its_days(world: Any) -> None:
    """Older hours are deleted, and not counted any more."""
    calls = record(world)
    world.now += (KEPT_DAYS + 1) * DAY
    calls.expire()
    assert calls.recorded("returns").days == 0
    calls.close()


def told_calls(world: Any, node: Any, calls: int = 3 * K_CALLS) -> None:
    """Tell a node its floor and its finished calls."""
    api = world.api(node)
    node.room.queues.tell("returns", queue_state())
    for number in range(calls):
        said = {"arrived_at": int(START) - HOUR - number, "waited_s": 20, "handled_s": 240}
        assert api.post("/v1/queues/returns/calls", json=said).status_code == 201


def queue_state() -> Any:
    """Return a floor of five."""
    return QueueIn(**FLOOR).state()


def test_supervisor_sees_what_a_change_would_bring(world: Any) -> None:
    """Played on what the node recorded: figures with intervals, and a picture with its words."""
    node = angry_node(world, *HELP)
    panel = world.api(node).post("/v1/panel/sessions", json={"by": "boss"}).json()["panel"]
    own = {"Authorization": f"Bearer {panel.partition('#')[2]}"}
    asked = {"queue": "returns", "ordinary": 5, "then_ordinary": 4, "cue_share": 0.1}
    thin = world.api(node).post("/panel/api/whatif", json=asked, headers=own)
    assert (thin.status_code, "too little" in thin.json()["detail"]) == (409, True)
    told_calls(world, node)
    found = world.api(node).post("/panel/api/whatif", json=asked, headers=own).json()
    today, then = found["plans"]
    assert (today["agents"], then["agents"]) == (5, 4)
    wait = then["differences"]["mean wait, s"]
    assert 0 < wait["low"] < wait["mean"] < wait["high"]
    assert "<desc" in found["picture"]
    assert any("one such stretch" in line for line in found["lines"])
    assert world.api(node).post("/panel/api/whatif", json=asked).status_code == 401


def test_twin_yields_to_turns(world: Any) -> None:
    """A crowded node answers turns and plays nothing."""
    node = angry_node(world, *HELP, crowded_turns=1)
    told_calls(world, node)
    panel = world.api(node).post("/v1/panel/sessions", json={"by": "boss"}).json()["panel"]
    own = {"Authorization": f"Bearer {panel.partition('#')[2]}"}
    asked = {"queue": "returns", "ordinary": 5, "then_ordinary": 4}
    with node.room.load.admit(), node.room.load.admit():
        assert world.api(node).post("/panel/api/whatif", json=asked, headers=own).status_code == 429


def test_command_plays_what_a_running_node_recorded(make_world: Any, tmp_path: Path) -> None:
    """`whatif --recorded` takes the hours from the node; a file with hours besides is refused."""
    with tempfile.TemporaryDirectory() as short:
        world = make_world()
        world.settings_values["socket_path"] = Path(short) / "s"
        node = angry_node(world, *HELP)
        told_calls(world, node)
        settings, scenario = tmp_path / "node.toml", tmp_path / "scenario.toml"
        settings.write_text(tomli_w.dumps(as_toml(world.settings_values)), encoding="utf-8")
        hours = TOML[TOML.index("[[hour]]") : TOML.index("[[plan]]")]
        scenario.write_text(TOML.replace(hours, ""), encoding="utf-8")
        line = ["whatif", str(scenario), "--json"]
        asked = [*line, "--recorded", "returns", "--settings", str(settings)]
        with on_its_socket(node):
            played = CliRunner().invoke(app, asked)
            scenario.write_text(TOML, encoding="utf-8")
            both = CliRunner().invoke(app, asked)
        assert json.loads(played.stdout)["plans"][0]["measures"]["mean wait, s"]["mean"] >= 0
        assert "either hours in the file" in str(both.exception)
        scenario.write_text(TOML.replace(hours, ""), encoding="utf-8")
        assert "either hours" in str(CliRunner().invoke(app, line).exception)
