"""The rules as officer and public read them: by command and over HTTP."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from policies.words import rule_pages

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
    status, out, _ = run(capsys, "rules", "show", "d17-cancellation", "--json")
    assert (status, json.loads(out)["built"]) == (0, False)


def test_unknown_rule_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that does not exist is one line and exit 2."""
    status, out, err = run(capsys, "rules", "show", "r99-nothing")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "rules list" in err


def test_rules_are_served_to_anyone(empty: Any) -> None:
    """The catalogue needs no key, and an unknown rule is 404."""
    assert empty.send("GET", "/v1/rules").json() == rule_pages()
    assert empty.send("GET", "/v1/rules/r06-withdrawn").json()["number"] == 6
    assert empty.send("GET", "/v1/rules/r99-nothing").status_code == 404
