"""The rules as officer and public read them: by command and over HTTP."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.decision import request_to_dict
from policies.engine import PolicyEngine
from policies.standing import governance_to_dict, standing_to_dict
from policies.steps import WORDS, Step
from policies.vocabulary import NodeId, Purpose, RuleId, SubjectId
from policies.words import Language, Reader, rule_pages, say
from tests.policies.cases import GOVERNANCE, INFER, NOW, STANDING

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*click.*", category=DeprecationWarning)
    from consent.cli import app  # Typer itself imports names that newer Clicks call deprecated


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        app(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_rules_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """`rules list` and `rules show` render the catalogue, as JSON and in a chosen language."""
    status, out, _ = run(capsys, "rules", "list", "--json")
    assert (status, json.loads(out)) == (0, rule_pages())
    status, out, _ = run(capsys, "rules", "show", "r06-withdrawn", "--language", "de")
    assert status == 0
    assert "widerrufen" in out
    status, out, _ = run(capsys, "rules", "show", "d19-pressure", "--json")
    assert (status, json.loads(out)["kind"]) == (0, "duty")


def test_profile_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """`rules list --profile` shows a place's clocks, rules and duties; an unknown one is misuse."""
    status, out, _ = run(capsys, "rules", "list", "--profile", "california", "--json")
    page = json.loads(out)
    assert (status, page["clocks"]) == (0, {"ask_again_days": 365})
    assert [row["rule"] for row in page["rules"]] == [
        "x-california-limit-use",
        "x-california-notice-first",
    ]
    assert all(row["source"] and row["words"]["customer"]["de"] for row in page["rules"])
    assert len(page["duties"]) == 4
    status, out, err = run(capsys, "rules", "list", "--profile", "texas")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_unknown_rule_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that does not exist is one line and exit 2."""
    status, out, err = run(capsys, "rules", "show", "r99-nothing")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "rules list" in err


def test_what_if_says_what_would_help(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A situation in a file gets its decision and the ways to a yes; a torn one is misuse."""
    file = tmp_path / "situation.json"
    value = {
        "request": request_to_dict(INFER),
        "standing": standing_to_dict(replace(STANDING, grants=())),
        "governance": governance_to_dict(GOVERNANCE),
        "now": NOW,
    }
    file.write_text(json.dumps(value), encoding="utf-8")
    status, out, _ = run(capsys, "rules", "what-if", str(file), "--json", "--language", "fr")
    assert status == 0
    spoken = json.loads(out)
    status, out, _ = run(capsys, "rules", "what-if", str(file), "--json")
    assert spoken["steps"] == json.loads(out)["steps"]
    assert spoken["ways"] != json.loads(out)["ways"]
    assert (status, json.loads(out)["ways"]) == (0, [[Step.CONSENT.value]])
    for torn in (json.dumps(value | {"standing": {}}), "[]", "{"):
        file.write_text(torn, encoding="utf-8")
        status, out, err = run(capsys, "rules", "what-if", str(file))
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_what_if_speaks_to_the_officer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The printed answer says no, why in the chosen language, and each way, or that none is."""
    file = tmp_path / "situation.json"
    value = {
        "request": request_to_dict(INFER),
        "governance": governance_to_dict(GOVERNANCE),
        "now": NOW,
    }
    german = WORDS[Language.GERMAN]
    for standing, way in (
        (replace(STANDING, grants=()), german["consent"]),
        (replace(STANDING, withdrawn=frozenset({Purpose.SERVICE})), german["no_way"]),
        (STANDING, None),
    ):
        file.write_text(json.dumps(value | {"standing": standing_to_dict(standing)}), "utf-8")
        status, out, _ = run(capsys, "rules", "what-if", str(file), "--language", "de")
        said = " ".join(out.split())
        assert status == 0
        assert ("allowed if" in said, "allowed yes" in said) == (way is not None, way is None)
        assert way is None or way in said
        for rule in PolicyEngine.load().decide(INFER, standing, GOVERNANCE, now=NOW).rules:
            assert say(rule, Reader.OFFICER, Language.GERMAN) in said


def test_remedies_are_served_to_nodes_and_leave_no_trace(world: Any) -> None:
    """A node learns what would help from the service's own standing; the log does not grow."""
    world.grant("alice", age="adult")
    size = world.service.log.size
    asked = request_to_dict(replace(INFER, node=NodeId("north"), subject=SubjectId("alice")))
    found = world.as_node(
        "north", "POST", "/v1/remedies", {"request": asked | {"channel": "agent"}}
    )
    assert found.status_code == 200
    assert (found.json()["allowed"], found.json()["ways"]) == (False, [])
    assert "r03-agent-channel" in found.json()["rules"]
    assert world.service.log.size == size
    assert world.as_node("south", "POST", "/v1/remedies", {"request": asked}).status_code >= 400


@pytest.mark.parametrize("language", Language)
def test_remedies_speak_the_callers_language(world: Any, language: Language) -> None:
    """Ways and reasons are in the words of Accept-Language; the steps are the same for programs."""
    world.grant("alice", age="adult", purposes=["training"])
    asked = request_to_dict(replace(INFER, node=NodeId("north"), subject=SubjectId("alice")))
    body = json.dumps({"request": asked}).encode()
    signed = world.signed("north", "POST", "/v1/remedies", body)
    header = {"Accept-Language": f"{language.value}-XX,{language.value};q=0.9,en;q=0.1"}
    answer = world.send("POST", "/v1/remedies", body, signed | header)
    found = answer.json()
    assert answer.headers["content-language"] == language.value
    assert answer.headers["vary"] == "Accept-Language"
    assert found["steps"] == [["consent"]]
    assert found["ways"] == [[WORDS[language]["consent"]]]
    if language is not Language.ENGLISH:
        said = [say(RuleId(rule), Reader.OFFICER, language) for rule in found["rules"]]
        assert found["reasons"] == said


def test_rules_are_served_to_anyone(empty: Any) -> None:
    """The catalogue needs no key, and an unknown rule is 404."""
    assert empty.send("GET", "/v1/rules").json() == rule_pages()
    assert empty.send("GET", "/v1/rules/r06-withdrawn").json()["number"] == 6
    assert empty.send("GET", "/v1/rules/r99-nothing").status_code == 404
