"""A node keeps its log's facts to their periods, and what the trust service says is held."""

from __future__ import annotations

from typing import Any

import pytest

from audit.events import Event, EventKind
from audit.hold import CONFIRM_S
from audit.retention_policy import DAY_S, SHIPPED
from client_node.errors import StandingRejected, StartRefused
from client_node.service import NodeService, _people_requests
from policies.vocabulary import Digest, RunId, SubjectId
from tests.client_node.conftest import START, World

ANN, BOB = SubjectId("1f" * 32), SubjectId("2e" * 32)
PERIOD_S = 366 * DAY_S


def a_hold(**changes: Any) -> dict[str, Any]:
    """Return a confirmed hold as the trust service tells it."""
    return {
        "hold": "h1",
        "reason": "legal-claim",
        "since": None,
        "until": None,
        "kinds": [],
        "subject": ANN,
        "review_at": START + DAY_S,
        "proposed_by": "ada",
        "proposed_at": START,
        "confirmed_by": "ben",
    } | changes


def facts(node: NodeService) -> tuple[int, int]:
    """Record something about two people; return the entries."""
    event = Event(kind=EventKind.TURN_SEALED, at=START, fields={"turn": "t", "decision_id": "d"})
    ann = node.log.append(event, private={"who": "ann"}, subject=ANN)
    return ann, node.log.append(event, private={"who": "bob"}, subject=BOB)


def days_pass(world: World, node: NodeService) -> None:
    """Let more than the period pass, with a run each month."""
    for _ in range(14):
        world.now += 28 * DAY_S
        node.keeper.poll()
        node.retention.tick()


def test_node_expires_what_is_due_and_keeps_what_is_held(world: World) -> None:
    """The person's facts stay as long as the trust service says so, and go after."""
    world.trust.holds = [a_hold()]
    node = world.open()
    ann, bob = facts(node)
    node.retention.tick()
    days_pass(world, node)
    assert world.now > START + PERIOD_S
    assert node.log.payload(bob) is None
    assert node.log.payload(ann) == {"who": "ann"}
    world.trust.holds = []
    world.now += DAY_S
    node.keeper.poll()
    assert node.retention.tick()
    assert node.log.payload(ann) is None
    assert node.log.find(EventKind.RETENTION_APPLIED, limit=1)[0].event.fields["count"] == 1


def test_node_that_has_not_heard_what_is_held_removes_nothing(world: World) -> None:
    """Silence is no leave: without a word on holds no run is made."""
    world.trust.holds = None
    node = world.open()
    ann, bob = facts(node)
    days_pass(world, node)
    assert (node.log.payload(ann), node.log.payload(bob)) == ({"who": "ann"}, {"who": "bob"})
    assert node.log.find(EventKind.RETENTION_APPLIED) == []


def test_node_heeds_a_hold_that_a_second_person_has_not_confirmed_yet(world: World) -> None:
    """It holds for a day, also at the nodes, and lapses there by the same clock."""
    world.trust.holds = [a_hold(confirmed_by=None)]
    node = world.open()
    node.keeper.poll()
    holds = node.retention.retention.holds
    assert [hold.hold for hold in holds.in_force()] == ["h1"]
    world.now += CONFIRM_S + 1
    assert holds.in_force() == []


def test_node_refuses_a_page_whose_holds_it_does_not_understand(world: World) -> None:
    """What is held is not guessed: the page does not count, and standing ages."""
    node = world.open()
    world.trust.holds = [a_hold(reason="because")]
    with pytest.raises(StandingRejected, match="agreed form"):
        node.keeper.poll()


def test_node_with_too_short_a_policy_does_not_start(world: World) -> None:
    """One line with what the law asks for."""
    short = world.folder / "short.toml"
    short.write_text(SHIPPED.read_text("utf-8").replace("days = 366", "days = 30"), "utf-8")
    with pytest.raises(StartRefused, match=r"26\(6\)"):
        world.open(retention=short)


def test_rounds_past_their_retention_are_said_and_counted(world: World) -> None:
    """Who was in an old batch is no longer known: the answer says so and assumes the worst."""
    node = world.open()
    fields = {"decision_id": "d", "node": "n", "action": "train", "purpose": "training"}
    rest = {"modality": "text", "policy_digest": "p", "batch_root": "r", "context": "c"}
    batch = Event(kind=EventKind.BATCH_DECISION, at=START, fields={**fields, **rest})
    index = node.log.append(batch)
    learned = node.own_data.learned(ANN)
    assert learned["past_retention"] == 1
    assert "as if this person had been" in learned["words"][0]
    assert node.own_data.uses(ANN)["rounds_past_retention"] == 1
    run = RunId("r1")
    node.answers.begin(1, run=run, round_number=2, terms_digest=Digest("a" * 64), log_index=index)
    requests = _people_requests(node)
    assert requests._took_part(1, ANN), "a bound may be too large, never too small"
    assert not requests._took_part(2, ANN)
