"""Signed webhooks: under leave alone, told once or taken back, dead in the open, to nobody else."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

import client_node.webhooks_cli
from audit.events import EventKind
from client_node.connections import ConnectionPolicy
from client_node.errors import ConnectionForbidden, StartRefused
from client_node.service import NodeService
from client_node.webhook_outbox import MOST_DEAD, MOST_WAITING, WebhookOutbox, WebhookType
from client_node.webhook_targets import load_targets
from client_node.webhooks import LONGEST_WAIT_S, MOST_TRIES, wait_s
from policies.vocabulary import Purpose
from tests.client_node.conftest import TRUST, World
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

OLD, NEW = (b"o" * 24, b"n" * 32)


class Receiver(ThreadingHTTPServer):
    """A system of the operator's: keeps what it got, and answers as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.location: str | None = None

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def told(self) -> list[dict[str, Any]]:
        """Return the bodies, in order."""
        return [json.loads(body) for _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Keep it and answer."""
        body = self.rfile.read(int(self.headers["content-length"]))
        names = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((names, body))
        self.send_response(self.server.status)
        if self.server.location is not None:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on loopback."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def crm() -> Iterator[Receiver]:
    """Return a receiver."""
    with receiving() as server:
        yield server


def secret_file(folder: Path, name: str, key: bytes) -> None:
    """Write a secret for its owner alone."""
    (folder / name).write_text(f"whsec_{base64.b64encode(key).decode()}\n", encoding="utf-8")
    (folder / name).chmod(0o600)


def hooked(
    make_world: Callable[..., World], crm: Receiver, secrets: str = '["new.secret"]'
) -> tuple[World, NodeService]:
    """Open a node that reads everything as anger and tells the receiver."""
    world = make_world(
        policy_changes={"connections": frozenset({TRUST.removeprefix("https://"), crm.host})}
    )
    secret_file(world.folder, "new.secret", NEW)
    secret_file(world.folder, "old.secret", OLD)
    path = world.folder / "webhooks.toml"
    path.write_text(
        f'[crm]\nurl = "http://{crm.host}/hook"\nsecret_files = {secrets}\n', encoding="utf-8"
    )
    node = angry_node(world, *HELP, webhooks_file=path)
    node.webhooks.begin()
    return world, node


def set_library_clock(monkeypatch: Any, world: World) -> None:
    """Let the verifying library live at the test's time, which it takes from the system."""

    class Then(datetime):
        """The time that the test set."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            """Return it."""
            return datetime.fromtimestamp(world.now, tz)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Then)


def steps(node: NodeService) -> list[tuple[Any, Any]]:
    """Return what the log says became of deliveries, oldest first."""
    found = [node.log.entry(index).event for index in range(node.log.size)]
    return [
        (event.fields["step"], event.fields.get("reason"))
        for event in found
        if event.kind is EventKind.WEBHOOK_STEP
    ]


def test_alert_is_told_signed_and_names_no_cue(
    make_world: Callable[..., World], crm: Receiver, monkeypatch: Any
) -> None:
    """An independent library verifies it; the body has ids and an action, no word and no person."""
    world, node = hooked(make_world, crm)
    alert = say(world, node)["alert"]["alert"]
    node.webhooks.tick()
    ((headers, body),) = crm.got
    set_library_clock(monkeypatch, world)
    verifier = Webhook(base64.b64encode(NEW).decode())
    said: dict[str, Any] = verifier.verify(body, headers)
    assert said["type"] == "alert.raised"
    assert set(said["data"]) == {"alert", "conversation", "use", "raised_at", "decision"}
    assert (said["data"]["alert"], said["data"]["use"]) == (alert, "agent_hint")
    for word in (CUSTOMER, world.subject(CUSTOMER), "late", "frustr", "anger", "negative"):
        assert word.encode() not in body
    assert steps(node) == [("delivered", None)]
    node.webhooks.tick()
    assert len(crm.got) == 1


def test_correction_is_told_once_and_not_to_what(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """The turn's id alone, after the alert that rested on it was taken back; again for another."""
    world, node = hooked(make_world, crm)
    turn = say(world, node)["turn"]
    node.webhooks.tick()
    for label in ("pleased", None):
        said = {"turn": turn, "label": label}
        assert world.api(node).post("/v1/corrections", json=said).status_code == 201
        node.webhooks.tick()
    told = [json.loads(body) for _, body in crm.got][1:]
    assert sorted(one["type"] for one in told) == [
        "alert.closed", "correction.made", "correction.made",
    ]  # fmt: skip
    made = [one["data"] for one in told if one["type"] == "correction.made"]
    assert made == [{"turn": turn}] * 2
    assert not any(word in repr(told) for word in ("pleased", CUSTOMER, "late"))


def test_secret_is_changed_without_a_gap(
    make_world: Callable[..., World], crm: Receiver, monkeypatch: Any
) -> None:
    """While both are named, a receiver that knows either one verifies."""
    world, node = hooked(make_world, crm, '["new.secret", "old.secret"]')
    say(world, node)
    node.webhooks.tick()
    ((headers, body),) = crm.got
    set_library_clock(monkeypatch, world)
    for key in (NEW, OLD):
        assert Webhook(base64.b64encode(key).decode()).verify(body, headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(base64.b64encode(b"x" * 24).decode()).verify(body, headers)


def test_failure_is_tried_again_later_and_dies_in_the_open(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """Under one id, after growing waits; then it is dead, listed, and told when sent again."""
    world, node = hooked(make_world, crm)
    world.trust.max_age_s = 10**6
    crm.status = 503
    say(world, node)
    for tries in range(MOST_TRIES):
        node.webhooks.tick()
        node.webhooks.tick()  # not before its time
        assert len(crm.got) == tries + 1
        world.now += wait_s(tries + 1, 1.0)
        node.keeper.poll()
    node.webhooks.tick()
    assert len({headers["webhook-id"] for headers, _ in crm.got}) == 1
    assert len(crm.got) == MOST_TRIES
    (dead,) = world.api(node).get("/v1/webhooks").json()["webhooks"]
    assert (dead["state"], dead["reason"]) == ("dead", "status-503")
    crm.status = 204
    path = f"/v1/webhooks/{dead['delivery']}"
    assert world.api(node).post(f"{path}/retry").status_code == 200
    node.webhooks.tick()
    assert len(crm.got) == MOST_TRIES + 1
    assert world.api(node).get("/v1/webhooks").json() == {"webhooks": []}
    assert world.api(node).post("/v1/webhooks/nothing/retry").status_code == 404
    assert [step for step, _ in steps(node)] == ["dead", "delivered"]


def test_withdrawal_before_the_first_try_tells_nothing(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """What waits is dropped, and the log says so; the receiver never hears of the alert."""
    world, node = hooked(make_world, crm)
    say(world, node)
    withdrawn = frozenset({Purpose.AGENT_HELP, Purpose.SERVICE})
    world.trust.withdraw(world.standing(CUSTOMER, withdrawn=withdrawn), Purpose.SERVICE)
    node.keeper.poll()
    node.webhooks.tick()
    assert crm.got == []
    assert steps(node) == [("dropped", "over")]


def test_withdrawal_of_help_alone_is_seen_by_the_gate(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """The alert is still open when leave to tell it is gone: the gate refuses each delivery."""
    world, node = hooked(make_world, crm)
    say(world, node)
    left = world.standing(CUSTOMER, Purpose.SERVICE, withdrawn=frozenset({Purpose.AGENT_HELP}))
    world.trust.withdraw(left, Purpose.AGENT_HELP)
    node.keeper.poll()
    node.webhooks.tick()
    assert crm.got == []
    assert steps(node) == [("dropped", "refused")]
    assert node.webhooks.outbox.listed() == []


def test_what_may_have_arrived_is_taken_back(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """After an answer that was lost and a withdrawal, the receiver is told that it is over."""
    world, node = hooked(make_world, crm)
    crm.status = 500
    alert = say(world, node)["alert"]["alert"]
    node.webhooks.tick()
    withdrawn = frozenset({Purpose.AGENT_HELP, Purpose.SERVICE})
    world.trust.withdraw(world.standing(CUSTOMER, withdrawn=withdrawn), Purpose.SERVICE)
    node.keeper.poll()
    crm.status = 204
    node.webhooks.tick()
    closed = crm.told()[-1]
    assert (closed["type"], closed["data"]) == ("alert.closed", {"alert": alert})
    assert len(crm.got) == 2
    assert node.webhooks.outbox.listed() == []


def test_restart_takes_back_what_was_told(make_world: Callable[..., World], crm: Receiver) -> None:
    """Alerts are in memory; the outbox is not, and a receiver is not left with one for good."""
    world, node = hooked(make_world, crm)
    alert = say(world, node)["alert"]["alert"]
    node.webhooks.tick()
    node.close()
    again = world.open(webhooks_file=world.folder / "webhooks.toml")
    again.webhooks.begin()
    again.webhooks.tick()
    assert [said["type"] for said in crm.told()] == ["alert.raised", "alert.closed"]
    assert crm.told()[1]["data"] == {"alert": alert}


def test_redirect_is_not_followed_and_gone_is_final(
    make_world: Callable[..., World], crm: Receiver
) -> None:
    """A receiver cannot send the node elsewhere; one that is gone is not tried again."""
    with receiving() as elsewhere:
        world, node = hooked(make_world, crm)
        crm.status, crm.location = 307, f"http://{elsewhere.host}/"
        say(world, node)
        node.webhooks.tick()
        assert elsewhere.got == []
        (waits,) = node.webhooks.outbox.listed()
        assert waits.reason == "status-307"
        crm.status = 410
        world.now += wait_s(1, 1.0)
        node.webhooks.tick()
        (dead,) = node.webhooks.outbox.listed()
    assert (dead.state, dead.tries) == ("dead", 2)


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ('url = "http://crm.example/"', StartRefused),
        ('url = "ftp://crm.example/"', StartRefused),
        ('url = "https://user:word@crm.example/"', StartRefused),
        ('url = "https://169.254.169.254/latest"', ConnectionForbidden),
        ('url = "https://elsewhere.example/"', ConnectionForbidden),
        ('url = "https://crm.example/"\nheaders = "x"', StartRefused),
    ],
)
def test_target_that_is_not_safe_refuses_the_start(
    tmp_path: Path, table: str, error: type[Exception]
) -> None:
    """No plain text but on this machine, no login in an address, no host that is not signed."""
    secret_file(tmp_path, "a.secret", NEW)
    path = tmp_path / "webhooks.toml"
    path.write_text(f'[crm]\n{table}\nsecret_files = ["a.secret"]\n', encoding="utf-8")
    policy = ConnectionPolicy(allowed=frozenset({"crm.example:443"}))
    with pytest.raises(error) as refused:
        load_targets(path, policy)
    assert "word" not in str(refused.value)
    assert "nnnn" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["short", "open", "missing", "three"])
def test_secret_that_is_none_refuses_the_start(tmp_path: Path, wrong: str) -> None:
    """Too short, readable by others, missing, or one too many: one line, without the secret."""
    secret_file(tmp_path, "a.secret", NEW[:8] if wrong == "short" else NEW)
    if wrong == "open":
        (tmp_path / "a.secret").chmod(0o644)
    files = '["b.secret"]' if wrong == "missing" else '["a.secret"]'
    if wrong == "three":
        files = '["a.secret", "a.secret", "a.secret"]'
    path = tmp_path / "webhooks.toml"
    path.write_text(
        f'[crm]\nurl = "https://crm.example/"\nsecret_files = {files}\n', encoding="utf-8"
    )
    with pytest.raises(StartRefused) as refused:
        load_targets(path, ConnectionPolicy(allowed=frozenset({"crm.example:443"})))
    assert base64.b64encode(NEW).decode() not in str(refused.value)


def test_waits_double_within_bounds() -> None:
    """Never longer than the longest, never nothing, and spread by the lot."""
    waits = [wait_s(tries, 0.999) for tries in range(1, 40)]
    assert waits == sorted(waits)
    assert max(waits) <= LONGEST_WAIT_S
    assert wait_s(1, 0.0) < wait_s(1, 0.5) < wait_s(1, 0.999)
    assert min(wait_s(tries, 0.0) for tries in range(1, 40)) > 0


def test_outbox_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    """The oldest that waits is given up for a new one, and the oldest dead is forgotten."""
    assert (MOST_WAITING, MOST_DEAD) == (10_000, 1_000)
    monkeypatch.setattr("client_node.webhook_outbox.MOST_WAITING", 3)
    monkeypatch.setattr("client_node.webhook_outbox.MOST_DEAD", 2)
    names = iter(map(str, range(100)))
    outbox = WebhookOutbox(tmp_path / "w.db", clock=lambda: 0.0, new_id=lambda: next(names))
    for number in range(10):
        outbox.add("crm", WebhookType.RAISED, f"a{number}")
        outbox.add("crm", WebhookType.RAISED, f"a{number}")  # known: once
    found = [(one.alert, one.state.value) for one in outbox.listed()]
    outbox.close()
    assert [alert for alert, state in found if state == "waiting"] == ["a7", "a8", "a9"]
    assert [alert for alert, state in found if state == "dead"] == ["a5", "a6"]


def test_operator_lists_retries_and_drops(
    make_world: Callable[..., World], crm: Receiver, monkeypatch: Any
) -> None:
    """The command shows what is dead, asks before it drops, and speaks JSON."""
    world, node = hooked(make_world, crm)
    crm.status = 410
    say(world, node)
    node.webhooks.tick()
    inner = world.executor(node)

    def ask(method: str, path: str, _: Path) -> Any:
        send = inner.get if method == "GET" else inner.post
        return send(f"/internal/{path}").json()

    monkeypatch.setattr(client_node.webhooks_cli, "ask_node", ask)
    run = CliRunner()
    app, where = client_node.webhooks_cli.webhooks_app, ["--settings", "node.toml"]
    (dead,) = json.loads(run.invoke(app, ["list", *where, "--json"]).stdout)["webhooks"]
    assert f"{dead['delivery']}  dead  crm" in run.invoke(app, ["list", *where]).stdout
    assert run.invoke(app, ["retry", dead["delivery"], *where]).exit_code == 0
    node.webhooks.tick()
    assert run.invoke(app, ["drop", dead["delivery"], *where], input="n\n").exit_code == 1
    assert len(node.webhooks.outbox.listed()) == 1
    assert run.invoke(app, ["drop", dead["delivery"], *where, "--yes"]).exit_code == 0
    assert "Nothing waits" in run.invoke(app, ["list", *where]).stdout
