"""A person's request, from their word through every branch to an answer that proves itself."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from audit.events import EventKind
from audit.leaf import decode_leaf
from audit.receipt import open_receipt
from audit.staff import Staff, StaffRole
from audit.verify import verify_log
from consent.api import create_app
from coordinator.journal import RunState
from tests.promises.headquarters import Headquarters
from tests.promises.town import Fleet, Town, round_of, says, wants_training

DPO = Staff(name="dora", roles=frozenset({StaffRole.DPO}))


def _asks(town: Town, token: str, right: str, **about: Any) -> dict[str, Any]:
    body = {"manage_token": token, "right": right, "about": about, "jurisdiction": "IE"}
    answer = town.trust.send("POST", "/v1/requests", json.dumps(body).encode())
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _desk(town: Town) -> TestClient:
    app = create_app(town.trust.service)
    app.state.admit = lambda _: DPO
    return TestClient(app)


def _package(town: Town, opened: dict[str, Any], form: str = "json") -> httpx.Response:
    headers = {"Authorization": f"Bearer {opened['request_token']}"}
    return town.trust.send("GET", f"/v1/requests/mine/package?format={form}", b"", headers)


def test_access_gathers_every_branch_and_shows_inferences_uses_and_rules(town: Town) -> None:
    """Two branches answer, one of them later; the person reads it all, as page and as JSON."""
    first, second = town.branch("branch-1"), town.branch("branch-2")
    here, there = first.open(), second.open()
    given = wants_training(first.api(here), here, "anna")["anna"]
    turn = says(first.api(here), "anna")["turn"]
    asked = _asks(town, given["manage_token"], "access")
    here.keeper.poll()
    waiting = _package(town, asked)
    assert waiting.status_code == 409
    assert "branch-2: no answer" in waiting.json()["detail"]
    there.keeper.poll()  # it was away, and hears of it when it is back

    found = _package(town, asked).json()
    branch = found["by"]["branch-1"]
    kept = {(row["turn"], row["purpose"]): row for row in branch["kept"]}
    assert kept[turn, "service"]["text"] == "this is terrible"
    assert "expressed_cues_of" in kept[turn, "service"]
    assert "text" not in kept[turn, "training"]
    assert {d["action"] for d in branch["decisions"]} >= {"infer", "store"}
    assert all(d["rules"] for d in branch["decisions"])
    assert found["by"]["trust-service"]["records"][0]["purposes"] == ["service", "training"]
    assert found["by"]["branch-2"]["kept"] == []
    page = _package(town, asked, "html").text
    assert "this is terrible" in page
    assert "<script" not in page

    closed = _desk(town).post(
        f"/v1/desk/requests/{asked['request']}/closing", json={"outcome": "done"}
    )
    assert closed.status_code == 201, closed.text
    assert _package(town, asked).status_code == 409, "what was gathered outlived the request"


@pytest.mark.promise(3)
def test_erasure_is_proven_by_every_branch_or_not_closed(town: Town) -> None:
    """Gate shut, keys gone, each branch's own log shows it, models' bound told, logs verify."""
    first, second = town.branch("branch-1", plan_changes={"rounds": 1}), town.branch("branch-2")
    here, there = first.open(), second.open()
    anna = first.subject("anna")
    given = wants_training(first.api(here), here, "anna", "ben")["anna"]
    centre = Headquarters(town.folder / "centre", town.coordinator, town.clock.now)
    fleet = Fleet({here.node: round_of(first, here)})
    assert centre.hold(first, fleet, run="run-1") is RunState.COMPLETED
    turn = says(first.api(here), "anna")["turn"]

    asked = _asks(town, given["manage_token"], "erasure")
    path, desk = f"/v1/desk/requests/{asked['request']}", _desk(town)
    here.keeper.poll()
    assert "r06-erased" in says(first.api(here), "anna")["rules"]
    early = desk.post(f"{path}/closing", json={"outcome": "done"})
    assert early.status_code == 409
    assert "branch-2: no answer" in early.json()["detail"]
    there.keeper.poll()
    found = _package(town, asked).json()["by"]["branch-1"]
    assert desk.post(f"{path}/closing", json={"outcome": "done"}).status_code == 201

    # What was sealed is unreadable, and the branch's own log says so, offline.
    assert here.vault.kept(anna) == []
    assert here.vault.purposes_of(anna) <= {"evidence"}
    assert first.api(here).post("/v1/uses/handover", json={"turn": turn}).status_code == 404
    key = first.node_key.verify_key
    for shown, kind in (
        (found, EventKind.REQUEST_ANSWERED),
        (found["keys_destroyed"], EventKind.KEYS_DESTROYED),
    ):
        leaf = base64.b64decode(shown["leaf"])
        open_receipt(shown["receipt"], leaf, key, origin="undertone/branch-1")
        assert decode_leaf(leaf)[0].kind is kind
        assert anna.encode() not in leaf

    # The round that she was in is named, and the count before it, with what they tell of her.
    assert found["models"]["rounds"] == ["run-1/0", "run-1/1"]
    assert 0 < found["models"]["epsilon"] < 10
    assert 50 < found["models"]["right_percent"] < 100

    centre.close()
    for folder, signer in (
        (town.trust.settings.folder, town.trust.service.key.verify_key),
        (here.settings.folder, key),
        (there.settings.folder, second.node_key.verify_key),
    ):
        assert verify_log(folder / "log.db", signer).size > 0
