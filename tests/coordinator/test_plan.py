"""A plan says what it costs before it runs, and its noise follows from its epsilon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import PlanRejected
from coordinator.plan import preview, preview_apart, preview_from_dict, preview_to_dict, read_draft
from policies.terms import plan_to_dict
from tests.coordinator.fleet import make_plan


def draft(**changes: Any) -> dict[str, Any]:
    """Return a draft that leaves its noise out."""
    value = plan_to_dict(make_plan())
    del value["mechanism"]["noise_multiplier"]
    return value | changes


def test_noise_follows_from_the_declared_epsilon() -> None:
    """A plan without noise gets just enough of it: three accountants agree it is within."""
    found = preview(draft(epsilon=2.0))
    assert 1.4 < found.epsilon <= 2.0
    assert found.epsilon_prv <= found.epsilon
    assert found.second_opinion == pytest.approx(found.epsilon_prv, abs=0.1)
    assert found.plan.mechanism.noise_multiplier > 0


def test_person_at_more_nodes_pays_more() -> None:
    """The table states the composed bound for a person at k nodes, growing with k."""
    table = preview(draft()).epsilon_at_nodes
    assert list(table) == [1, 2, 3, 4, 5]
    assert sorted(table.values()) == list(table.values())
    assert table[2] > 1.2 * table[1]


def test_plan_that_costs_more_than_it_declares_is_rejected() -> None:
    """Given noise is checked against the declared epsilon."""
    value = plan_to_dict(make_plan(epsilon=0.05))
    with pytest.raises(PlanRejected, match=r"declares epsilon 0\.05 and costs"):
        preview(value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": [["happy", "bliss"], ["sad", "sadness"]]}, "bliss"),
        ({"rounds": 0}, "rounds"),
        ({"colour": "red"}, "colour"),
        ({"name": "two words"}, "one word"),
        ({"mechanism": {}}, "KeyError"),
    ],
)
def test_wrong_plan_is_rejected_by_name(changes: dict[str, Any], said: str) -> None:
    """What is wrong with a plan is said in its own words."""
    with pytest.raises(PlanRejected, match=said):
        preview(draft(**changes))


def test_preview_survives_its_json() -> None:
    """What is stored is what was shown."""
    found = preview(draft())
    assert preview_from_dict(json.loads(json.dumps(preview_to_dict(found)))) == found


def test_plan_file_is_toml_or_json(tmp_path: Path) -> None:
    """Both kinds of file give the same fields; anything else is refused by name."""
    (tmp_path / "a.toml").write_text("name = 'small'\n[mechanism]\nclip = 1.0\n")
    (tmp_path / "a.json").write_text('{"name": "small", "mechanism": {"clip": 1.0}}')
    assert read_draft(tmp_path / "a.toml") == read_draft(tmp_path / "a.json")
    for content in ("{", "[1]"):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(PlanRejected):
            read_draft(tmp_path / "b.json")


@pytest.mark.slow
def test_preview_apart_gives_the_same_answer_and_the_same_refusal() -> None:
    """The short process that costs a plan returns what the function returns."""
    assert preview_apart(draft()) == preview(draft())
    with pytest.raises(PlanRejected, match="rounds"):
        preview_apart(draft(rounds=0))
