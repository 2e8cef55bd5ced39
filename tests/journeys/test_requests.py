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
from client_node.service import NodeService
from consent.api import create_app
from coordinator.journal import RunState
from tests.promises.headquarters import Headquarters
from tests.promises.town import (
    Branch,
    Fleet,
    Town,
    consents,
    round_of,
    says,
    wants_training,
)


def _asks(town: Town, token: str, right: str, **about: Any) -> dict[str, Any]:
    body = {"manage_token": token, "right": right, "about": about, "jurisdiction": "IE"}
    answer = town.trust.send("POST", "/v1/requests", json.dumps(body).encode())
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def _desk(town: Town, name: str = "dora") -> TestClient:
    app = create_app(town.trust.service)
    app.state.admit = lambda _: Staff(name=name, roles=frozenset({StaffRole.DPO}))
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


def test_decisions_are_those_that_the_whole_log_has_of_one_person(town: Town) -> None:
    """Found by their keys, they are what reading every entry finds: none of others, none lost."""
    first = town.branch("branch-1")
    here = first.open()
    given = wants_training(first.api(here), here, "anna", "ben")["anna"]
    for name in ("anna", "ben", "anna"):
        says(first.api(here), name)
    asked, log, wanted = _asks(town, given["manage_token"], "access"), here.log, []
    for entry in log.entries(0, log.size):
        if entry.event.kind is EventKind.DECISION:
            facts = log.payload(entry.index)
            if facts is not None and facts["request"]["subject"] == first.subject("anna"):
                wanted.append((entry.index, entry.event.fields["decision_id"]))
    here.keeper.poll()
    told = _package(town, asked).json()["by"]["branch-1"]["decisions"]
    assert len(wanted) >= 4
    assert [(one["entry"], one["decision_id"]) for one in told] == wanted


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


@pytest.mark.promise(3)
def test_erasure_asked_for_again_is_shown_by_its_own_entries(town: Town) -> None:
    """Whoever was erased before others is answered with the entries of their own erasure."""
    branch = town.branch("branch-1")
    node = branch.open()
    api, desk = branch.api(node), _desk(town)

    def erased(asked: dict[str, Any]) -> tuple[bytes, list[int | None]]:
        node.keeper.poll()
        destroyed = _package(town, asked).json()["by"]["branch-1"]["keys_destroyed"]
        state = desk.get(f"/v1/desk/requests/{asked['request']}").json()
        own = {e["kind"]: e["log_index"] for e in state["evidence"] if e["node"] is None}
        return base64.b64decode(destroyed["leaf"]), [
            own["standing-recorded"],
            own["keys-destroyed"],
        ]

    given = {who: consents(api, who) for who in ("anna", "ben", "carol")}
    node.keeper.poll()
    for who in given:
        says(api, who)
    first = erased(_asks(town, given["anna"]["manage_token"], "erasure"))
    others = [
        erased(_asks(town, given[who]["manage_token"], "erasure")) for who in ("ben", "carol")
    ]
    log = town.trust.service.log
    for _, (recorded, destroyed) in (first, *others):
        assert recorded is not None
        assert destroyed is not None
        named = log.entry(recorded).event.fields["record"]
        assert log.entry(destroyed).event.fields["record"] == named
    said = {"company": "acme", "subject": branch.subject("anna"), "right": "erasure"}
    again = desk.post("/v1/desk/requests", json=said).json()
    path = f"/v1/desk/requests/{again['request']}/identity"
    assert desk.post(path, json={"method": "document-seen"}).status_code == 201
    assert erased(again) == first
    assert first not in others


# --- the other rights, each over two branches ---------------------------------------------


@pytest.fixture
def two(town: Town) -> tuple[Branch, NodeService, NodeService]:
    """Return two open branches; anna is known at the first."""
    first, second = town.branch("branch-1"), town.branch("branch-2")
    return first, first.open(), second.open()


def _done(town: Town, asked: dict[str, Any]) -> dict[str, Any]:
    """Fetch the answer as the person and close the request at the desk."""
    package = _package(town, asked)
    assert package.status_code == 200, package.text
    path = f"/v1/desk/requests/{asked['request']}/closing"
    closed = _desk(town).post(path, json={"outcome": "done"})
    assert closed.status_code == 201, closed.text
    return dict(package.json()["by"])


def _not_yet(town: Town, asked: dict[str, Any], why: str) -> None:
    """See that the request cannot be closed, and what it says is missing."""
    path = f"/v1/desk/requests/{asked['request']}/closing"
    early = _desk(town).post(path, json={"outcome": "done"})
    assert early.status_code == 409
    assert why in early.json()["detail"]


def test_rectification_reaches_the_branch_that_holds_the_turn(
    town: Town, two: tuple[Branch, NodeService, NodeService]
) -> None:
    """The person's own word stands where the reading stood; the other branch holds nothing."""
    first, here, there = two
    given = wants_training(first.api(here), here, "anna")["anna"]
    turn = says(first.api(here), "anna")["turn"]
    asked = _asks(town, given["manage_token"], "rectification", turn=turn, label="pleased")
    there.keeper.poll()
    _not_yet(town, asked, "branch-1: no answer")
    here.keeper.poll()
    found = _done(town, asked)
    assert found["branch-1"]["turn"] == turn
    assert found["branch-1"]["reading"] == "corrected"
    assert found["branch-1"]["learnt"]
    assert set(found["branch-2"]) <= {"node", "leaf", "receipt"}
    kept = _kept(town, given, here, there)
    own = {row["purpose"]: row for row in kept if row["turn"] == turn}
    assert own["training"]["label_from"] == "consented_correction"
    assert own["training"]["own_label"] == "pleased"
    assert own["service"]["expressed_cues_of"] == "pleased"
    assert own["service"]["corrected_by"] == "the person"
    recorded = here.log.find(EventKind.LABEL_RECORDED)[0].event.fields
    assert (recorded["turn"], recorded["provenance"]) == (turn, "consented_correction")


def _kept(town: Town, given: dict[str, Any], *nodes: NodeService) -> list[dict[str, Any]]:
    """Return what the first branch says that it keeps, by a new request for access."""
    asked = _asks(town, given["manage_token"], "access")
    for node in nodes:
        node.keeper.poll()
    kept: list[dict[str, Any]] = _package(town, asked).json()["by"][nodes[0].node]["kept"]
    return kept


@pytest.mark.parametrize("right", ["restriction", "objection"])
def test_restriction_and_objection_close_every_branchs_gate(
    town: Town, two: tuple[Branch, NodeService, NodeService], right: str
) -> None:
    """Asked once with the code, in force at both branches; closed only when both have shown it."""
    first, here, there = two
    given = wants_training(first.api(here), here, "anna")["anna"]
    about = {"purposes": ["service"]} if right == "objection" else {}
    asked = _asks(town, given["manage_token"], right, **about)
    here.keeper.poll()
    answer = says(first.api(here), "anna")
    assert f"r06-{'objected' if right == 'objection' else 'restricted'}" in answer["rules"]
    _not_yet(town, asked, "branch-2: no answer")
    there.keeper.poll()
    found = _done(town, asked)
    assert {found[n]["in_force"] for n in ("branch-1", "branch-2")} == {right}
    assert here.vault.purposes_of(first.subject("anna")), "nothing is destroyed, only kept shut"


def test_portability_gives_what_the_person_gave_in_a_common_format(
    town: Town, two: tuple[Branch, NodeService, NodeService]
) -> None:
    """JSON with their words and consents from every branch; nothing that was inferred of them."""
    first, here, there = two
    given = wants_training(first.api(here), here, "anna")["anna"]
    turn = says(first.api(here), "anna")["turn"]
    asked = _asks(town, given["manage_token"], "portability")
    here.keeper.poll()
    there.keeper.poll()
    answer = _package(town, asked)
    assert answer.headers["content-type"] == "application/json"
    found = _done(town, asked)
    rows = [row for row in found["branch-1"]["kept"] if row["turn"] == turn]
    assert {row.get("text") for row in rows} == {"this is terrible", None}
    rated = [row["own_label"] for row in found["branch-1"]["kept"] if "own_label" in row]
    assert rated == ["frustrated"], "their own rating is theirs to take along"
    assert "expressed_cues_of" not in json.dumps(found)
    assert found["trust-service"]["records"][0]["kind"] == "grant"


def test_a_named_person_reviews_a_decision_and_another_its_contest(
    town: Town, two: tuple[Branch, NodeService, NodeService]
) -> None:
    """Facts from the branch, the person's view, reasons given; overturned, recorded, contested."""
    first, here, there = two
    given = wants_training(first.api(here), here, "anna")["anna"]
    says(first.api(here), "anna")
    decision = here.log.find(EventKind.DECISION)[0].event.fields["decision_id"]
    body = {
        "manage_token": given["manage_token"],
        "right": "review",
        "about": {"decision": decision},
        "statement": "I was joking.",
    }

    def ask() -> tuple[dict[str, Any], str]:
        made = town.trust.send("POST", "/v1/requests", json.dumps(body).encode()).json()
        return made, f"/v1/desk/requests/{made['request']}"

    asked, path = ask()
    verdict = {"outcome": "overturned", "reasons": "The words were a joke, and read as anger."}
    assert _desk(town).post(f"{path}/decision", json=verdict).status_code == 409, "no facts yet"
    for node in (here, there):
        node.keeper.poll()
    _not_yet(town, asked, "no evidence: human-decided")
    facts = _desk(town).get(f"{path}/facts").json()["by"]
    assert facts["person"]["statement"] == "I was joking."
    assert facts["branch-1"]["decision"]["decision_id"] == decision
    unreasoned = _desk(town).post(f"{path}/decision", json={"outcome": "upheld", "reasons": ""})
    assert unreasoned.status_code == 422
    assert _desk(town).post(f"{path}/decision", json=verdict).status_code == 201
    again = _desk(town).post(f"{path}/decision", json=verdict | {"outcome": "upheld"})
    assert again.status_code == 409
    _not_yet(town, asked, "node branch-1: the decision is not in force")
    for node in (here, there):
        node.keeper.poll()
    found = _done(town, asked)
    assert found["decision"] == verdict | {"by": "dora"}
    steps = [e.event.fields for e in town.trust.service.log.find(EventKind.REQUEST_STEP)]
    decided = [s for s in steps if s.get("evidence") == "human-decided"]
    assert [(s["by"], s["outcome"]) for s in decided] == [("dora", "overturned")]
    assert not any("joke" in str(dict(s)) for s in steps)

    _, contest = ask()
    for node in (here, there):
        node.keeper.poll()
    same = _desk(town).post(f"{contest}/decision", json=verdict)
    assert same.status_code == 409
    assert "ask another" in same.json()["detail"]
    other = _desk(town, "ben").post(f"{contest}/decision", json=verdict)
    assert other.json()["decided"]["by"] == "ben"
