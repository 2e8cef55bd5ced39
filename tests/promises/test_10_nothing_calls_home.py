"""Promise 10: nothing calls home: a node opens what its policy names and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from client_node.errors import StartRefused
from tests.client_node.conftest import World

pytestmark = pytest.mark.promise(10)

ROOT = Path(__file__).resolve().parents[2]


def test_start_and_turn_open_the_trust_service_and_nothing_else(tmp_path: Path) -> None:
    """Real redactor, real encoder, an e-mail address in the text: one address is opened.

    Watched by an audit hook from before the first import. Two more attempts, a look-up and a
    connection, then fail and are counted.
    """
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [sys.executable, "-W", "ignore", "-m", "tests.promises.one_turn_apart", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["answer"] == "abstained"
    assert said["redacted"]["EMAIL_ADDRESS"] == 1
    host = said["trust"].rpartition(":")[0]
    assert set(said["opened"]) <= {said["trust"], f"name {host}"}
    assert said["trust"] in said["opened"]
    assert said["refused"] == 0
    assert said["refused_of_two_more"] == 2


def test_trust_service_must_be_in_the_operators_policy(world: World) -> None:
    """Settings alone open nothing: the signed policy must name the host."""
    with pytest.raises(StartRefused, match="elsewhere"):
        world.open(trust_url="https://elsewhere.test:8443")
