"""Promise 10: nothing calls home: a node opens what its policy names and nothing else."""

from __future__ import annotations

import _socket
import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from client_node.connections import ConnectionGuard, ConnectionPolicy, install
from client_node.errors import ConnectionForbidden, StartRefused
from client_node.redaction import Redactor
from policies.vocabulary import Purpose
from tests.client_node.conftest import World
from tests.promises.town import says

pytestmark = pytest.mark.promise(10)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # the real encoder, in a process of its own
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


def test_turn_opens_nothing_and_whatever_else_would_is_failed_and_counted(world: World) -> None:
    """With every connection forbidden a node starts and answers; one more is failed and counted.

    The trust service is behind a transport here, and the redactor is fresh: its first use of
    an e-mail address is where a library would fetch a list from the web.
    """
    world.trust.put(world.standing("anna", Purpose.SERVICE))
    guard = ConnectionGuard(policy=ConnectionPolicy(allowed=frozenset()))
    install(guard)
    try:
        world.redactor = Redactor.load()
        api = world.api(world.open())
        answer = says(api, "anna", "Write to zebulon@quackenbush.example.co.uk!")
        assert answer["redacted"]["EMAIL_ADDRESS"] == 1
        assert guard.refused == 0
        with pytest.raises(ConnectionForbidden):
            socket.getaddrinfo("example.org", 443)
        with closing(_socket.socket()) as below, pytest.raises(ConnectionForbidden):
            below.connect(("192.0.2.1", 443))  # below the suite's own guard
        assert guard.refused == 2
    finally:
        install(None)


def test_trust_service_must_be_in_the_operators_policy(world: World) -> None:
    """Settings alone open nothing: the signed policy must name the host."""
    with pytest.raises(StartRefused, match="elsewhere"):
        world.open(trust_url="https://elsewhere.test:8443")
