"""Use 10: a twin of the queue that agrees with the theory, and says how sure it is."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path
from statistics import stdev

import pytest
from typer.testing import CliRunner

from client_node.cli import app
from client_node.errors import ScenarioInvalid
from client_node.uses.queue_simulation import Policy
from client_node.whatif import (
    Handling,
    Hour,
    Measure,
    Plan,
    RuleChange,
    Scenario,
    erlang_c_wait_s,
    interval,
    what_if,
)
from client_node.whatif_scenario import load_scenario
from client_node.whatif_words import drawn, lines

BLIND = Plan(name="today", policy=Policy.BLIND, ordinary=5)
RESERVED = Plan(name="one reserved", policy=Policy.ROUTED, ordinary=5, reserved=1)
BUSY = Scenario(
    name="a day",
    hours=(Hour(calls=55, handling_s=300),) * 8,
    plans=(BLIND, RESERVED),
    cue_share=0.15,
    replications=12,
)
TOML = """
name = "a day"
cue_share = 0.15
cue_margin = 0.05
replications = 10

[[hour]]
calls = 40
handling_s = 300

[[plan]]
name = "today"
policy = "blind"
ordinary = 4

[[plan]]
name = "next rules"
policy = "routed"
ordinary = 4
reserved = 1
rule_change = {handovers = 120, closed = 14}
"""


@pytest.mark.parametrize(("calls", "agents"), [(45.0, 4), (30.0, 3)])
def test_play_agrees_with_erlang_c(calls: float, agents: int) -> None:
    """With Poisson arrivals and exponential handling, the mean wait is that of Erlang's formula."""
    plan = Plan(name="a", policy=Policy.BLIND, ordinary=agents)
    scenario = replace(
        BUSY,
        hours=(Hour(calls=calls, handling_s=200),) * 150,
        plans=(plan, replace(plan, name="b")),
        handling=Handling.EXPONENTIAL,
        replications=20,
    )
    found = what_if(scenario)[0].measures[Measure.WAIT_S]
    known = erlang_c_wait_s(calls_per_hour=calls, handling_s=200, agents=agents)
    assert found.low <= known <= found.high
    assert found.high - found.low < known / 2


def test_erlang_c_of_one_agent_is_the_textbook_queue() -> None:
    """With one agent, the wait is rho / (mu - lambda); more than can be taken is refused."""
    assert erlang_c_wait_s(calls_per_hour=18, handling_s=100, agents=1) == pytest.approx(100.0)
    with pytest.raises(ValueError, match="take"):
        erlang_c_wait_s(calls_per_hour=36, handling_s=100, agents=1)


def test_interval_is_students() -> None:
    """For ten values the quantile is 2.262, to a few thousandths."""
    values = [float(n) for n in range(10)]
    found = interval(values)
    assert (found.least, found.mean, found.most) == (0.0, 4.5, 9.0)
    assert (found.high - found.mean) / (stdev(values) / 10**0.5) == pytest.approx(2.262, abs=0.005)


def test_reserved_capacity_makes_nobody_later_and_jumping_does() -> None:
    """Routing to a reserved agent delays no call of any replication; jumping the queue does."""
    jump = Plan(name="jump", policy=Policy.JUMP, ordinary=5)
    told = what_if(replace(BUSY, plans=(BLIND, RESERVED, jump)))
    assert told[1].measures[Measure.LATER].high == 0
    assert told[1].differences[Measure.CUE_WAIT_S].high < 0
    assert told[2].measures[Measure.LATER].low > 0
    assert told[2].differences[Measure.OTHER_WAIT_S].low > 0


def test_plans_see_the_same_calls() -> None:
    """Two equal plans differ by nothing, and paired differences are narrower than the figures."""
    told = what_if(replace(BUSY, plans=(BLIND, replace(BLIND, name="again"), RESERVED)))
    assert {(v.least, v.mean, v.most) for v in told[1].differences.values()} == {(0.0, 0.0, 0.0)}
    apart, own = told[2].differences[Measure.OTHER_WAIT_S], told[0].measures[Measure.OTHER_WAIT_S]
    assert apart.high - apart.low < own.high - own.low


def test_rule_change_moves_fewer_calls() -> None:
    """Next rules that close most hand-overs win less than those in force; the share is unsure."""
    closing = replace(RESERVED, name="next", change=RuleChange(handovers=100, closed=90))
    told = what_if(replace(BUSY, plans=(BLIND, RESERVED, closing)))
    won = [one.differences[Measure.CUE_WAIT_S].mean for one in told]
    assert won[1] < won[2] < 0


def test_unsure_share_widens_what_is_told() -> None:
    """A share of cues that is hardly known makes what one stretch may bring wider."""
    calm = replace(BUSY, hours=(Hour(calls=44, handling_s=300),) * 24, replications=40)
    known, unsure = (
        what_if(replace(calm, cue_margin=margin))[1].differences[Measure.WAIT_S]
        for margin in (0.0, 0.3)
    )
    assert unsure.most - unsure.least > known.most - known.least


def test_same_seed_tells_the_same() -> None:
    """What was shown can be shown again; another seed tells otherwise."""
    assert what_if(BUSY) == what_if(BUSY)
    assert what_if(BUSY) != what_if(replace(BUSY, seed=1))


def test_scenario_has_no_place_for_a_person() -> None:
    """Totals and shares come in; there is no record of a customer, and none of an agent."""
    names = {field.name for kind in (Scenario, Hour, Plan, RuleChange) for field in fields(kind)}
    assert names == {
        *("name", "hours", "plans", "cue_share", "cue_margin", "handling", "replications"),
        *("seed", "calls", "handling_s", "policy", "ordinary", "reserved", "change"),
        *("handovers", "closed"),
    }


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cue_share = 0.15", "cue_share = 1.5", "cue_share"),
        ("calls = 40", "calls = inf", "hour.0.calls"),
        ('"blind"', '"fastest"', "plan.0.policy"),
        ("ordinary = 4", "ordinary = 0", "plan.0.ordinary"),
        ("closed = 14", "closed = 140", "more closed than asked"),
        ('"next rules"', '"today"', "a name of its own"),
        ("calls = 40", "calls = 100000\nreplications = 1", "extra"),
        ("name =", "name ", "no TOML"),
    ],
)
def test_bad_scenario_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    """What is wrong is named, in one line."""
    path = tmp_path / "scenario.toml"
    path.write_text(TOML.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ScenarioInvalid, match=says) as refused:
        load_scenario(path)
    assert "\n" not in str(refused.value)


def test_scenario_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    """More calls than can be played in minutes are refused before any is."""
    path = tmp_path / "scenario.toml"
    text = TOML.replace("calls = 40", "calls = 100000").replace("replications = 10", "seed = 1")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioInvalid, match="fewer hours"):
        load_scenario(path)


def test_command_tells_a_table_json_and_a_chart(tmp_path: Path) -> None:
    """The same figures as lines, as JSON, and as an SVG whose words say what it shows."""
    path, chart = tmp_path / "scenario.toml", tmp_path / "chart.svg"
    path.write_text(TOML, encoding="utf-8")
    shown = CliRunner().invoke(app, ["whatif", str(path), "--chart", str(chart)])
    assert shown.exit_code == 0, shown.output
    assert "next rules: 4 ordinary and 1 reserved agents" in shown.stdout
    value = json.loads(CliRunner().invoke(app, ["whatif", str(path), "--json"]).stdout)
    wait = value["plans"][1]["measures"]["mean wait, s"]["mean"]
    drawing = ET.fromstring(chart.read_text(encoding="utf-8"))  # noqa: S314 (our own)
    words = drawing.find("{http://www.w3.org/2000/svg}desc")
    assert words is not None
    assert words.text is not None
    assert f"next rules: {wait:.1f} s" in words.text
    told = what_if(load_scenario(path))
    assert drawn("a <b>", told).count("&lt;b&gt;") == 1
    assert any("difference" in line for line in lines(told))
