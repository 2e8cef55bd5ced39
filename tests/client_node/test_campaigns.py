"""Use 9, from the door to the audience: worded, looked at, approved by somebody named, sent."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from sqlmodel import select
from typer.testing import CliRunner

from audit.events import EventKind
from audit.serve import Listener, serve_all
from client_node.cli import app
from client_node.client import NodeClient
from client_node.errors import ApprovalRefused, ApprovalUnknown, CohortRefused, NodeUnreachable
from client_node.internal_api import create_internal_app
from client_node.service import NodeService
from client_node.tables import CampaignRow
from client_node.wording import Because
from tests.client_node.test_alerts import angry_node
from tests.client_node.test_segments import (
    CONSENTS,
    FIBRE,
    TEXTS,
    NoNoise,
    approve,
    asked,
    campaigns,
    crowd,
    names,
)


def body(**changed: Any) -> dict[str, Any]:
    """Return a campaign as it is sent."""
    criteria = [{"attribute": "product", "is_one_of": ["fibre"]}]
    return {"criteria": criteria, "members": members(names(2)), "texts": TEXTS} | changed


def members(customers: list[str]) -> list[dict[str, Any]]:
    """Return people with fibre as they are sent."""
    return [{"customer": c, "attributes": {"product": "fibre"}} for c in customers]


@pytest.mark.parametrize(
    "changed",
    [
        {"criteria": [{"attribute": "emotion", "is_one_of": ["anger"]}]},
        {"criteria": [{"attribute": "product", "is_one_of": ["angry"]}]},
        {"members": [{"customer": "c", "attributes": {"valence": 1}}]},
        {"members": [{"customer": "c", "attributes": {"product": 3}}]},
        {"members": [{"customer": "c", "attributes": {"product": "upset"}}]},
        {"members": [{"customer": "c", "attributes": {}}] * 2},
        {"approved_by": "ada"},
        {"texts": {"plain": "x"}},
    ],
)
def test_campaign_that_is_not_well_formed_is_one_line(world: Any, changed: Any) -> None:
    """Feelings, values of another kind, people twice, a yes beforehand: 422, and nothing spent."""
    node = angry_node(world, *CONSENTS)
    answer = world.api(node).post("/v1/campaigns", json=body(**changed))
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]
    assert node.ledger.entries() == []


def test_campaign_is_worded_over_http(world: Any) -> None:
    """The branch asks and is answered; the use says of itself what it is for."""
    node = angry_node(world, *CONSENTS, campaign_s=0.5)
    answer = world.api(node).post("/v1/campaigns", json=body()).json()
    assert answer["answer"] in {"abstained", "refer"}  # two people, and noise
    assert len(node.ledger.entries()) == 1
    (told,) = [
        use
        for use in world.api(node).get("/v1/uses").json()["uses"]
        if use["purpose"] == "aggregate_reporting"
    ]
    assert told["serves"] == "relief"
    assert {8, 9, 16} <= set(told["rules"])
    assert NodeClient.campaign.__doc__


@pytest.mark.usefixtures("little_noise")
def test_nobody_is_written_to_before_somebody_said_yes(world: Any) -> None:
    """Waiting, denied, unknown, or approved for another definition: no text and no audience."""
    node = crowd(world)
    waits, denied = (campaigns(node).word(asked(world, names()))["approval"] for _ in range(2))
    node.room.proposals.show(denied, "ada")
    node.room.proposals.deny(denied, "ada")
    for name in (waits, denied):
        with pytest.raises(ApprovalRefused, match="needs somebody's yes"):
            campaigns(node).audience(name, asked(world, names()))
    with pytest.raises(ApprovalUnknown):
        campaigns(node).audience("campaign-0", asked(world, names()))
    with pytest.raises(ApprovalRefused, match="looks first"):
        node.room.proposals.approve(waits, "ada")
    approve(node, waits)
    other = replace(FIBRE, is_one_of=frozenset({"mobile"}))
    with pytest.raises(CohortRefused, match="another definition"):
        campaigns(node).audience(waits, asked(world, names(), criteria=(other,)))
    assert campaigns(node).audience(waits, asked(world, names()))["audience"] == names()
    steps = [entry.event.fields for entry in node.log.find(EventKind.APPROVAL_STEP, limit=9)]
    assert [(s["step"], s["by"], s["use"]) for s in steps] == [
        ("approved", "ada", "segment"),
        ("denied", "ada", "segment"),
    ]


@pytest.mark.usefixtures("little_noise")
def test_approved_campaign_waits_for_the_gates_time(world: Any) -> None:
    """A stop, stale standing and the approval's end each close it, whoever said yes."""
    node = crowd(world)
    name = campaigns(node).word(asked(world, names()))["approval"]
    approve(node, name)
    world.trust.stopped = True
    node.keeper.poll()
    stopped = campaigns(node).audience(name, asked(world, names()))
    assert (stopped["answer"], stopped["because"]) == ("abstained", Because.STOPPED.value)
    world.trust.stopped = False
    node.keeper.poll()
    world.now += 61
    stale = campaigns(node).audience(name, asked(world, names()))
    assert (stale["because"], "audience" in stale) == (Because.STALE.value, False)
    world.now += world.settings().approval_s
    with pytest.raises(ApprovalUnknown):
        campaigns(node).audience(name, asked(world, names()))
    node.room.approvals.expire()
    with node.room.approvals._store.read() as session:
        assert session.exec(select(CampaignRow)).all() == []


@pytest.mark.usefixtures("little_noise")
def test_what_waits_names_nobody(world: Any) -> None:
    """Between wording and audience no file of approvals has a customer or a pseudonym of one."""
    node = crowd(world)
    campaigns(node).word(asked(world, names()))
    node.room.approvals.close()
    files = [path.read_bytes() for path in world.settings().folder.glob("approvals.db*")]
    people = [*names(), *(world.subject(name) for name in names())]
    assert any(TEXTS["calming"].encode() in data for data in files)
    assert not any(person.encode() in data for data in files for person in people)


@contextmanager
def on_its_socket(node: NodeService) -> Iterator[None]:
    """Serve what the operator's commands ask, where they ask it."""
    stop, ready = threading.Event(), threading.Event()
    listener = Listener(app=create_internal_app(node), unix_socket=node.settings.socket_path)
    thread = threading.Thread(
        target=serve_all,
        args=[[listener]],
        kwargs={"on_ready": lambda _: ready.set(), "stop": stop},
    )
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("little_noise")
def test_commands_take_a_campaign_to_its_audience_at_a_running_node(
    make_world: Any, tmp_path: Path
) -> None:
    """Word, list, approve, audience: each command against a node that answers on its own socket."""
    with tempfile.TemporaryDirectory() as short:  # a socket's path has to be short
        world = make_world()
        world.settings_values["socket_path"] = Path(short) / "s"
        world.settings_values["campaign_s"] = 0.5
        node = crowd(world)
        object.__setattr__(node.room.campaigns, "noise", NoNoise())
        settings, said = tmp_path / "node.toml", tmp_path / "campaign.json"
        settings.write_text(tomli_w.dumps(as_toml(world.settings_values)), encoding="utf-8")
        said.write_text(json.dumps(body(members=members(names()))), encoding="utf-8")
        with on_its_socket(node):

            def run(*words: str, **more: Any) -> Any:
                return CliRunner().invoke(app, [*words, "--settings", str(settings)], **more)

            assert run("approvals", "list").stdout == "Nothing waits.\n"
            worded = json.loads(run("campaigns", "word", str(said), "--json").stdout)
            assert worded["answer"] == "waits"
            name = worded["approval"]
            listed = run("approvals", "list").stdout
            assert listed == f"{name}  campaign  calming\n"
            early = run("campaigns", "audience", name, str(said))
            assert early.exit_code != 0
            assert isinstance(early.exception, NodeUnreachable)
            assert "409" in str(early.exception)
            approved = run("approvals", "approve", name, "--by", "ada", "--json", input="y\n")
            assert TEXTS["calming"] in approved.stderr
            assert json.loads(approved.stdout)["approved_by"] == "ada"
            found = run("campaigns", "audience", name, str(said))
            assert found.stdout.splitlines()[-len(names()) :] == names()
            again = run("approvals", "deny", name, "--by", "bea")
            assert isinstance(again.exception, NodeUnreachable)


def as_toml(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings as a file has them."""
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def test_commands_for_nothing_said_or_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 where the node abstains, and one line for a file that is no campaign."""
    path = tmp_path / "campaign.json"
    path.write_text(json.dumps(body()), encoding="utf-8")
    said = {"campaign": "campaign-1", "answer": "abstained", "because": "x"}
    monkeypatch.setattr("client_node.campaigns_cli.ask_node", lambda *_: said)
    line = ["campaigns", "word", str(path), "--settings", "n.toml"]
    shown = CliRunner().invoke(app, line)
    assert (shown.exit_code, "Because of x." in shown.stdout) == (1, True)
    path.write_text("[", encoding="utf-8")
    assert isinstance(CliRunner().invoke(app, line).exception, (CohortRefused, SystemExit))
