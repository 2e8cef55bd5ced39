"""What a named person decides on review comes back to the branch, and the branch obeys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from audit.events import EventKind
from audit.staff import Staff, StaffRole
from client_node.errors import TrustUnavailable
from client_node.reviews import REVIEWED
from client_node.service import NodeService
from consent.api import create_app
from tests.client_node.conftest import Api
from tests.promises.town import Branch, Town, consents, says

FREE = {"queue": {"idle_agents": 1}}
REASONS = "The words were a joke among friends, and were read as anger."


@dataclass
class Scene:
    """One branch that reads anger, anna who consented, and her manage token."""

    town: Town
    branch: Branch
    node: NodeService
    api: Api
    token: str

    def newest(self, action: str) -> str:
        """Return the newest decision about an action."""
        found = self.node.log.find(EventKind.DECISION)
        return next(
            str(e.event.fields["decision_id"]) for e in found if e.event.fields["action"] == action
        )

    def facts(self) -> dict[str, Any]:
        """Return what the newest use stated of itself to the gate."""
        found = next(
            e for e in self.node.log.find(EventKind.DECISION) if e.event.fields["action"] == "use"
        )
        payload = self.node.log.payload(found.index)
        assert payload is not None
        return dict(payload["request"]["facts"])

    def handover(self, turn: str) -> dict[str, Any]:
        """Ask for a hand-over on a turn."""
        return dict(self.api.post("/v1/uses/handover", json={"turn": turn} | FREE).json())

    def decided(self, decision: str, outcome: str, by: str = "dora") -> str:
        """Have a decision reviewed; return the request. The branch has not heard of it yet."""
        body = {"manage_token": self.token, "right": "review", "about": {"decision": decision}}
        asked = self.town.trust.send("POST", "/v1/requests", json.dumps(body).encode()).json()
        self.node.keeper.poll()
        said = {"outcome": outcome, "reasons": REASONS}
        made = self.desk(by).post(f"/v1/desk/requests/{asked['request']}/decision", json=said)
        assert made.status_code == 201, made.text
        return str(asked["request"])

    def desk(self, name: str = "dora") -> TestClient:
        """Return the desk as a person of the staff sees it."""
        app = create_app(self.town.trust.service)
        app.state.admit = lambda _: Staff(name=name, roles=frozenset({StaffRole.DPO}))
        return TestClient(app)

    def missing(self, request: str) -> list[str]:
        """Return what the request lacks."""
        return list(self.desk().get(f"/v1/desk/requests/{request}").json()["missing"])


@pytest.fixture
def scene(town: Town) -> Scene:
    """Open a branch with a release that reads anger."""
    assert town.trust.approve("agent_help", dpia="dpia-2").status_code == 201
    branch = town.branch()
    node = branch.open()
    release = branch.release(1, weights=branch.angry_weights())
    node.releases.load(branch.publish(branch.coordinator_log(), release))
    api = branch.api(node)
    given = consents(api, "anna", purposes=["service", "handover", "agent_help"])
    node.keeper.poll()
    return Scene(town, branch, node, api, given["manage_token"])


def test_an_overturned_use_is_not_done_again_on_that_reading(scene: Scene) -> None:
    """The same hand-over is refused with the statute; one on a new turn is judged anew."""
    turn = says(scene.api, "anna")["turn"]
    assert scene.handover(turn)["answer"] == "done"
    decision = scene.newest("use")
    request = scene.decided(decision, "overturned")
    assert scene.handover(turn)["answer"] == "done", "the branch cannot have heard of it yet"
    scene.node.keeper.poll()
    refused = scene.handover(turn)
    assert (refused["answer"], refused["rules"]) == ("refused", [REVIEWED])
    assert refused["decision"] == decision
    assert refused["statutes"] == ["GDPR 22(3)"]
    shown = scene.api.get("/v1/reviews").json()["reviews"]
    assert [(r["request"], r["outcome"], r["use"]) for r in shown] == [
        (request, "overturned", "handover")
    ]
    assert scene.branch.subject("anna") not in json.dumps(shown)

    scene.town.pass_time(5)
    assert scene.handover(says(scene.api, "anna")["turn"])["answer"] == "done"


def test_an_overturned_reading_tells_nobody_anything_any_more(scene: Scene) -> None:
    """Uses find no reading on that turn, nor does the journey; a turn read later has its own."""
    turn = says(scene.api, "anna")["turn"]
    decision = scene.newest("infer")
    scene.town.pass_time(5)
    later = says(scene.api, "anna")["turn"]
    scene.decided(decision, "changed")
    scene.node.keeper.poll()
    scene.handover(turn)
    assert scene.facts()["emotion"] is None
    scene.handover(later)
    assert scene.facts()["emotion"] == "anger"
    story = scene.api.post("/v1/journeys", json={"customer": "anna"}).json()
    cues = {c["turn"]: c["says"] for part in story["timeline"] for c in part["cues"]}
    assert cues[turn] is None
    assert cues[later] is not None


def test_a_contest_that_upholds_puts_the_decision_back(scene: Scene) -> None:
    """The newest word counts: overturned by one, upheld by another on the contest."""
    turn = says(scene.api, "anna")["turn"]
    scene.handover(turn)
    decision = scene.newest("use")
    scene.decided(decision, "overturned")
    scene.town.pass_time(5)
    scene.node.keeper.poll()
    assert scene.handover(turn)["rules"] == [REVIEWED]
    scene.decided(decision, "upheld", by="ben")
    scene.node.keeper.poll()
    assert scene.handover(turn)["answer"] == "done"


def test_no_verdict_opens_the_gate(scene: Scene) -> None:
    """A refusal that a person overturned stays one by the rules; the branch is told to act."""
    turn = says(scene.api, "anna")["turn"]
    busy = {
        "queue": {"idle_agents": 0, "busy_until": [50.0], "waiting": [{"call": "a", "since": 0.0}]}
    }
    said = {"turn": turn} | busy
    before = scene.api.post("/v1/uses/handover", json=said).json()
    assert before["answer"] == "refused"
    scene.decided(before["decision"], "overturned")
    scene.node.keeper.poll()
    after = scene.api.post("/v1/uses/handover", json=said).json()
    assert (after["answer"], after["rules"]) == ("refused", before["rules"])
    (told,) = scene.api.get("/v1/reviews").json()["reviews"]
    assert "by hand" in told["do"]


def test_a_review_is_not_closed_before_the_branch_shows_that_it_obeys(scene: Scene) -> None:
    """An entry of the branch's own log commits to the decision; a second answer is refused."""
    turn = says(scene.api, "anna")["turn"]
    scene.handover(turn)
    request = scene.decided(scene.newest("use"), "overturned")
    assert "node branch-1: the decision is not in force" in scene.missing(request)
    closing = f"/v1/desk/requests/{request}/closing"
    assert scene.desk().post(closing, json={"outcome": "done"}).status_code == 409
    scene.node.keeper.poll()
    assert scene.missing(request) == ["no evidence: delivered"]
    entry = scene.node.log.find(EventKind.REQUEST_ANSWERED)[0]
    assert entry.event.fields["right"] == "verdict"
    applied = scene.node.log.find(EventKind.REVIEW_STEP)[0].event.fields
    assert (applied["request"], applied["step"]) == (request, "applied")
    size = scene.node.log.size
    scene.node.keeper.poll()
    assert not scene.node.log.entries(size, scene.node.log.size), "it was asked again"


def test_a_node_that_obeys_another_verdict_is_not_believed(scene: Scene) -> None:
    """Its entry must commit to what was decided, whatever the node put in force."""
    turn = says(scene.api, "anna")["turn"]
    scene.handover(turn)
    decision = scene.newest("use")
    request = scene.decided(decision, "overturned")
    about = {"decision": decision, "outcome": "upheld", "decided_at": scene.town.clock.now}
    subject = scene.branch.subject("anna")
    task = {"request": request, "right": "verdict", "subject": subject, "about": about}
    assert scene.node.keeper.answering is not None
    with pytest.raises(TrustUnavailable, match="422"):
        scene.node.keeper.answering([task])
    assert "node branch-1: the decision is not in force" in scene.missing(request)


def test_verdicts_survive_a_restart_and_go_with_the_person(scene: Scene) -> None:
    """What a person decided still counts after a restart; erased, nothing of it is left."""
    turn = says(scene.api, "anna")["turn"]
    scene.handover(turn)
    scene.decided(scene.newest("use"), "overturned")
    scene.node.keeper.poll()
    scene.branch.close()
    node = scene.branch.open()
    api = scene.branch.api(node)
    said = {"turn": turn} | FREE
    assert api.post("/v1/uses/handover", json=said).json()["rules"] == [REVIEWED]
    assert scene.town.by_code(scene.token, None).status_code == 201
    node.keeper.poll()
    assert api.get("/v1/reviews").json()["reviews"] == []
    scene.branch.close()
    for file in node.settings.folder.glob("reviews.db*"):
        assert scene.branch.subject("anna").encode() not in file.read_bytes()
