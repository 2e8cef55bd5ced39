"""The demo, run as a newcomer runs it: real services, real Flower, real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def demo(tmp_path: Path, *arguments: str, timeout_s: float = 3500) -> dict[str, dict[str, Any]]:
    """Run the demo, require exit 0, and return its rows by name."""
    rows = tmp_path / "rows.json"
    command = [sys.executable, "-m", "deploy.demo", "--json", str(rows), *arguments]
    done = subprocess.run(command, cwd=ROOT, timeout=timeout_s, check=False)  # noqa: S603
    assert done.returncode == 0
    return {row["name"]: row for row in json.loads(rows.read_text(encoding="utf-8"))}


def refused(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo with bad options and return what it said."""
    command = [sys.executable, "-m", "deploy.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.promise(11)
def test_demo_with_the_sample_holds_every_safety_row(tmp_path: Path) -> None:
    """One command runs it all: withdrawal honoured, forbidden use refused, logs verified."""
    rows = demo(tmp_path)
    for name in ("withdrawal honoured", "allowed use answered", "log verified"):
        assert rows[name]["held"], rows[name]
    assert rows["customers' words on disk"]["value"] == 0
    assert 0 < rows["epsilon spent, a person at a node"]["value"] <= 2
    assert (
        rows["forbidden use refused"]["held"] or "no turn" in rows["forbidden use refused"]["value"]
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.promise(6)
@pytest.mark.promise(7)
def test_demo_on_six_airlines_reaches_its_share_of_the_central_model(
    tmp_path: Path, shared: Path
) -> None:
    """At epsilon 2 a person, six private nodes reach 88 % of the non-private central macro-F1."""
    rows = demo(
        tmp_path,
        *("--data", str(shared / "data" / "text" / "airline_tweets.csv.gz")),
        *("--label", "sentiment", "--tenant", "tenant", "--subject", "subject"),
    )
    assert rows["ratio to central"]["value"] >= 0.88
    assert rows["epsilon spent, a person at a node"]["value"] <= 2
    assert rows["largest k (branches where one person trains)"]["value"] > 1
    assert rows["log verified"]["held"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "absent.csv"], "no such file"),
        (["--epsilon", "0"], "EPSILON is out of range"),
        (["--rounds", "1"], "ROUNDS is out of range"),
        (["--consent", "1.5"], "CONSENT is out of range"),
        (["--colour", "red"], "unrecognized arguments"),
    ],
)
def test_demo_tells_misuse_in_one_line(arguments: list[str], said: str) -> None:
    """A wrong option ends with code 2, one clear line and no traceback."""
    done = refused(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
