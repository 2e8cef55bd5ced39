"""Decisions for other callers, challenges of nodes, and the public log."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest

from audit.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from audit.events import EventKind
from audit.gate import admit_permit
from audit.receipt import verify_receipt
from policies.decision import UseRequest, request_to_dict
from policies.standing import governance_from_dict, standing_from_dict, standing_to_dict
from policies.vocabulary import Action, NodeId, Purpose, SubjectId


def a_request(subject: str = "alice", node: str = "north", **changes: Any) -> UseRequest:
    """Return an inference on a person's text for service."""
    request = UseRequest(
        node=NodeId(node),
        action=Action.INFER,
        purpose=Purpose.SERVICE,
        subject=SubjectId(subject),
    )
    return dataclasses.replace(request, **changes)


def decide(world: Any, request: UseRequest, node: str = "north") -> Any:
    """Ask for a decision."""
    return world.as_node(node, "POST", "/v1/decisions", {"request": request_to_dict(request)})


def test_decision_allows_what_was_granted(world: Any) -> None:
    """A consented use is allowed, with a signed permit and the log entry behind it."""
    world.grant("alice")
    decision = decide(world, a_request()).json()
    assert decision["allowed"], decision
    permit = admit_permit(decision["permit"].encode(), world.service.key.verify_key)
    assert permit.subjects == {"alice"}
    event = world.service.log.entry(decision["log_index"]).event
    assert event.fields["decision_id"] == decision["decision_id"]


def test_decision_refuses_after_a_withdrawal(world: Any) -> None:
    """The very next decision after a withdrawal is no, with a rule; it is logged too."""
    world.grant("alice")
    world.as_node("north", "POST", "/v1/withdrawals", {"subject": "alice", "purpose": "service"})
    decision = decide(world, a_request()).json()
    assert not decision["allowed"]
    assert decision["rules"]
    assert decision["reasons"]
    assert "permit" not in decision
    newest = world.service.log.find(EventKind.DECISION)[0].event
    assert newest.fields["allowed"] is False


def test_decision_refuses_when_stopped(world: Any) -> None:
    """The stop switch refuses every use."""
    world.grant("alice")
    world.decree("stop", stopped=True, by="officer")
    assert not decide(world, a_request()).json()["allowed"]


def test_decision_on_another_companys_person_is_refused(world: Any) -> None:
    """A node gets no permit for people that its company did not record."""
    world.grant("alice")
    assert not decide(world, a_request(node="rival"), node="rival").json()["allowed"]
    assert not decide(world, a_request("nobody")).json()["allowed"]


def test_decision_in_another_nodes_name_is_refused(world: Any) -> None:
    """A node asks for itself."""
    world.grant("alice")
    assert decide(world, a_request(node="south"), node="north").status_code == 422


@pytest.mark.parametrize("request_", [{}, {"node": "north"}, {"node": "north", "action": "adore"}])
def test_decision_on_a_malformed_request_is_422(world: Any, request_: dict[str, str]) -> None:
    """What the vocabulary does not know is not decided."""
    answer = world.as_node("north", "POST", "/v1/decisions", {"request": request_})
    assert answer.status_code == 422


def a_checkpoint(world: Any, size: int, node: str = "north") -> str:
    """Return a node's signed checkpoint over a log of that size."""
    return sign_checkpoint(Checkpoint(origin=node, size=size, root=bytes(32)), world.keys[node])


def acknowledge(world: Any, node: str = "north", **changes: Any) -> Any:
    """Send an acknowledgement."""
    body: dict[str, Any] = {"sequence": 1, "checkpoint": None, "keys_destroyed": 0}
    body |= {"erased": [], "answers": []}
    return world.as_node(node, "POST", "/v1/acknowledgements", body | changes)


def honest_answer(world: Any, index: int, request: UseRequest) -> dict[str, Any]:
    """Decide as an honest node does, on the feed's standing, and open the decision."""
    page = world.feed()
    found = {s["subject"]: s for s in page["standings"]}.get(request.subject)
    standing = None if found is None else standing_from_dict(found)
    governance = governance_from_dict(page["governance"])
    decision = world.service.engine.decide(request, standing, governance, now=world.clock.now)
    return {
        "index": index,
        "request": request_to_dict(request),
        "standing": found,
        "allowed": decision.allowed,
        "rules": list(decision.rules),
        "now": world.clock.now,
    }


def challenged(world: Any) -> list[int]:
    """Have the node challenged on a log of three entries."""
    acknowledge(world, checkpoint=a_checkpoint(world, 3))
    world.clock.now += 61
    found = world.feed()["challenge"]
    assert found == [0, 1, 2]
    return list(found)


def test_challenge_stays_within_the_acknowledged_checkpoint(world: Any) -> None:
    """Nothing is asked before a checkpoint, and never beyond its size; the same until answered."""
    assert world.feed()["challenge"] == []
    challenged(world)
    assert world.feed()["challenge"] == [0, 1, 2]
    assert world.feed("south")["challenge"] == []


def test_honest_answers_agree(world: Any) -> None:
    """Allowed, refused and unknown people: an honest node's answers raise no alarm."""
    world.grant("alice")
    challenged(world)
    answers = [
        honest_answer(world, 0, a_request()),
        honest_answer(world, 1, a_request(purpose=Purpose.OFFERS)),
        honest_answer(world, 2, a_request("nobody")),
    ]
    assert [answer["allowed"] for answer in answers] == [True, False, False]
    world.clock.now += 5
    assert acknowledge(world, answers=answers).json()["disagreeing"] == 0
    assert world.feed()["challenge"] == []
    assert world.send("GET", "/healthz").json()["status"] == "ok"
    events = world.service.log.find(EventKind.CHALLENGE_ANSWERED)
    assert sorted(entry.event.fields["index"] for entry in events) == [0, 1, 2]


def test_answers_before_a_later_act_still_agree(world: Any) -> None:
    """A decision is judged by the standing and governance of its own second."""
    world.grant("alice")
    challenged(world)
    answer = honest_answer(world, 0, a_request())
    world.clock.now += 500
    world.as_node("north", "POST", "/v1/withdrawals", {"subject": "alice", "purpose": "service"})
    world.decree("stop", stopped=True, by="officer")
    assert acknowledge(world, answers=[answer]).json()["disagreeing"] == 0


@pytest.mark.parametrize("late_s", [-1, 0, 1, 2, 3])
def test_answers_near_the_age_limit_agree(world: Any, late_s: int) -> None:
    """An honest node refuses a second after the limit and not before: neither is an alarm."""
    world.grant("alice")
    challenged(world)
    page, request = world.feed(), a_request()
    governance = governance_from_dict(page["governance"])
    standing = standing_from_dict(next(s for s in page["standings"] if s["subject"] == "alice"))
    now = standing.as_of + governance.standing_max_age_s + late_s
    decision = world.service.engine.decide(request, standing, governance, now=now)
    assert decision.allowed is (late_s <= 0)
    answer = {
        "index": 0,
        "request": request_to_dict(request),
        "standing": standing_to_dict(standing),
        "allowed": decision.allowed,
        "rules": list(decision.rules),
        "now": now,
    }
    world.clock.now = now + 1
    assert acknowledge(world, answers=[answer]).json()["disagreeing"] == 0


@pytest.mark.parametrize("lie", ["allowed", "rules", "standing", "node", "request"])
def test_lying_answer_is_logged_and_raises_an_alarm(world: Any, lie: str) -> None:
    """Another outcome, other rules, or a standing we never vouched for: an alarm."""
    world.grant("zed")
    world.grant("alice")
    world.as_node("north", "POST", "/v1/withdrawals", {"subject": "alice", "purpose": "service"})
    world.clock.now += 100
    challenged(world)
    answer = honest_answer(world, 0, a_request())
    world.clock.now += 100
    if lie == "standing":
        granted = {s["subject"]: s for s in world.feed()["standings"]}["zed"]
        answer |= {
            "standing": answer["standing"] | {"grants": granted["grants"], "withdrawn": []},
            "allowed": True,
            "rules": honest_answer(world, 0, a_request("zed"))["rules"],
        }
    elif lie == "node":
        answer["request"] = answer["request"] | {"node": "south"}
    else:
        lies: dict[str, Any] = {"allowed": True, "rules": [], "request": {}}
        answer[lie] = lies[lie]
    assert acknowledge(world, answers=[answer]).json()["disagreeing"] == 1
    health = world.send("GET", "/healthz").json()
    assert (health["status"], health["alarms"]) == ("alarm", 1)
    event = world.service.log.find(EventKind.CHALLENGE_ANSWERED)[0].event
    assert dict(event.fields) == {"node": "north", "index": 0, "agrees": False}
    world.reopen()
    assert world.send("GET", "/healthz").json()["alarms"] == 1


def test_answer_that_was_not_asked_for_is_passed_over(world: Any) -> None:
    """A node cannot choose what is checked."""
    world.grant("alice")
    challenged(world)
    answer = honest_answer(world, 7, a_request()) | {"allowed": False}
    assert acknowledge(world, answers=[answer]).json()["disagreeing"] == 0
    assert world.feed()["challenge"] == [0, 1, 2]


def test_checkpoint_of_another_key_is_refused(world: Any) -> None:
    """A node acknowledges with its own log's checkpoint."""
    note = a_checkpoint(world, 3, node="rival")
    assert acknowledge(world, checkpoint=note).status_code == 422
    assert acknowledge(world, checkpoint="nonsense").status_code == 422


def test_shrunk_log_raises_an_alarm(world: Any) -> None:
    """A node that acknowledges a shorter log than before is noticed; the note is kept."""
    acknowledge(world, checkpoint=a_checkpoint(world, 9))
    assert world.send("GET", "/healthz").json()["alarms"] == 0
    acknowledge(world, checkpoint=a_checkpoint(world, 4))
    assert world.send("GET", "/healthz").json()["alarms"] == 1


def test_acknowledged_erasure_is_in_the_log(world: Any) -> None:
    """The node's word that keys are gone is evidence here."""
    acknowledge(world, sequence=5, keys_destroyed=2, erased=["alice"])
    event = world.service.log.find(EventKind.ERASURE_ACKNOWLEDGED)[0].event
    assert (event.fields["node"], event.fields["sequence"]) == ("north", 5)


def test_public_log_entry_verifies(world: Any) -> None:
    """Anybody can fetch the checkpoint and an entry, and verify both offline."""
    index = world.grant("alice").json()["log_index"]
    key = world.service.key.verify_key
    note = world.send("GET", "/v1/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    assert open_checkpoint(note.text, key).size == world.service.log.size
    found = world.send("GET", f"/v1/log/{index}").json()
    leaf = base64.b64decode(found["leaf"])
    assert verify_receipt(found["receipt"], leaf, key) == index
    assert b"alice" not in leaf
    assert world.send("GET", "/v1/log/99999").status_code == 404


def test_no_pseudonym_is_in_the_log_file(world: Any) -> None:
    """What the log's database holds in the clear names nobody."""
    world.grant("unmistakable-pseudonym")
    decide(world, a_request("unmistakable-pseudonym"))
    for path in (world.folder / "state").glob("log.db*"):
        assert b"unmistakable-pseudonym" not in path.read_bytes()


def test_too_large_a_body_is_413(world: Any) -> None:
    """A body beyond the limit is not read."""
    body = json.dumps({"grants": "x" * (9 * 2**20)}).encode()
    assert world.send("POST", "/v1/grants", body).status_code == 413
