"""Promise 6: the budget is spent before it is used; a crash can waste it, never forget it."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from audit.events import EventKind
from audit.signing import unseal
from client_node.errors import RoundRefusal, RoundRefused
from client_node.service import NodeService
from client_node.vault import Vault
from policies.vocabulary import Purpose
from tests.client_node.conftest import World
from tests.promises.town import events, hold_noise, rates, says

pytestmark = pytest.mark.promise(6)


class PowerCut(BaseException):
    """The machine stops here; nothing that follows in the process happens."""


def ready(world: World) -> NodeService:
    """Return a node with one person's rated turn, enrolled for the run."""
    world.trust.put(world.standing("anna", Purpose.SERVICE, Purpose.TRAINING))
    node = world.open()
    api = world.api(node)
    assert rates(api, says(api, "anna")["turn"]).status_code == 200
    hold_noise(node)
    node.training.enrol(world.ask_enrolment())
    return node


def cut_power_when_opening(
    world: World, node: NodeService, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Run a round up to the moment the vault is opened; return the disk as it was then."""
    disk = world.folder / "disk-after-the-cut"

    def cut(*_: object, **__: object) -> Any:
        shutil.copytree(node.settings.folder, disk, ignore=shutil.ignore_patterns("*.sock"))
        raise PowerCut

    with monkeypatch.context() as cutting:
        cutting.setattr(Vault, "open_batch", cut)
        with pytest.raises(PowerCut):
            node.training.take_part(world.ask_round())
    return disk


def test_power_cut_between_spending_and_opening_leaves_it_spent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the first record is opened the spending is on disk: after a cut there it is wasted."""
    node = ready(world)
    before = node.ledger.epsilon_spent()
    disk = cut_power_when_opening(world, node, monkeypatch)
    again = world.open(folder=disk)
    assert [entry.round_number for entry in again.ledger.entries()] == [0, 1]
    assert again.ledger.epsilon_spent() > before
    assert again.ledger.fault is None  # ledger and log tell the same story


def test_retry_spends_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round that the cut ended is paid for a second time."""
    disk = cut_power_when_opening(world, ready(world), monkeypatch)
    again = world.open(folder=disk)
    hold_noise(again)
    once = again.ledger.epsilon_spent()
    again.training.take_part(world.ask_round())
    assert [entry.round_number for entry in again.ledger.entries()] == [0, 1, 1]
    assert again.ledger.epsilon_spent() > once


def test_budget_that_cannot_be_written_opens_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk is full, the round is refused and no record is opened."""
    node = ready(world)
    monkeypatch.setattr(Vault, "open_batch", lambda *_, **__: pytest.fail("a record was opened"))
    assert node.ledger._engine is not None
    with node.ledger._engine.begin() as database:
        database.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON budget_entry "
            "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
        )
    with pytest.raises(RoundRefused) as caught:
        node.training.take_part(world.ask_round())
    assert caught.value.reason is RoundRefusal.BUDGET


def test_ledger_put_back_to_yesterday_refuses(world: World) -> None:
    """A restored ledger lacks what the log says was spent: from then on, no training."""
    node = ready(world)
    node.close()
    ledger = node.settings.folder / "budget.db"
    yesterday = ledger.read_bytes()
    node = world.open()
    node.training.take_part(world.ask_round())
    spent = events(node.log, EventKind.BUDGET_SPENT)
    assert [event.fields["round"] for event in spent] == [0, 1]
    node.close()
    for part in ledger.parent.glob("budget.db-*"):
        part.unlink()
    ledger.write_bytes(yesterday)
    rolled = world.open()
    said = world.executor(rolled).post("/internal/rounds", content=world.ask_round(2)).json()
    refusal = base64.b64decode(said["refusal"])
    assert unseal("refusal", refusal, world.node_key.verify_key)["reason"] == "budget"
    assert rolled.ledger.fault is not None
