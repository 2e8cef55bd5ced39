"""The line is cut for a day: work goes on while standing is fresh, then the gate closes."""

from __future__ import annotations

from typing import Any

import pytest

from audit.events import EventKind
from audit.verify import verify_log
from client_node.errors import TrustUnavailable
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

FRESH_S, DAY_S = 60, 86_400


def decisions(node: Any) -> list[Any]:
    """Return every decision on record, in order."""
    entries = [node.log.entry(index).event for index in range(node.log.size)]
    return [event for event in entries if event.kind is EventKind.DECISION]


def test_a_day_without_the_line_loses_and_doubles_nothing(world: Any) -> None:
    """Read and corrected while fresh, refused once stale, read again after; each on record once."""
    purposes = (*HELP, Purpose.TRAINING)
    node = angry_node(world, *purposes)
    world.trust.away = True
    world.now += FRESH_S - 1
    turn = say(world, node)
    assert turn["answer"] == "reading"
    wrong = {"turn": turn["turn"], "label": "pleased"}
    assert world.api(node).post("/v1/corrections", json=wrong).json()["training"] is True
    world.now += 2
    stale = say(world, node)
    assert stale["answer"] == "refused"
    assert stale["rules"]
    world.now += DAY_S
    assert say(world, node)["answer"] == "refused"
    before = decisions(node)
    world.trust.away = False
    world.trust.put(world.standing(CUSTOMER, *purposes))
    node.keeper.poll()
    assert say(world, node)["answer"] == "reading"
    after = decisions(node)
    assert after[: len(before)] == before
    ids = [event.fields["decision_id"] for event in after]
    assert len(set(ids)) == len(ids)
    labels = node.log.find(EventKind.LABEL_RECORDED, limit=9)
    assert len(labels) == 2  # the correction, and what is learned from it
    assert world.subject(CUSTOMER) in node.vault.trainable()
    size = node.log.size
    node.close()
    log = world.settings().folder / "log.db"
    assert verify_log(log, world.node_key.verify_key).size == size


def test_node_started_without_the_line_stays_closed(world: Any) -> None:
    """It starts, as it heard of people before, and reads nobody until it hears again."""
    node = angry_node(world, *HELP)
    node.close()
    world.trust.away = True
    world.now += DAY_S
    again = world.open()
    assert say(world, again)["answer"] == "refused"
    world.trust.away = False
    world.trust.put(world.standing(CUSTOMER, *HELP))
    again.keeper.poll()
    assert say(world, again)["answer"] != "refused"


def test_erasure_that_could_not_be_acknowledged_is_after_a_restart(
    world: Any, monkeypatch: Any
) -> None:
    """What was destroyed while the answer found no way back is told once the node is up again."""
    node = angry_node(world, *HELP)
    say(world, node)
    node.keeper.poll()
    before = len(world.trust.acknowledged)
    world.trust.withdraw(world.standing(CUSTOMER, erased=True), None)

    def no_answer(*_: Any) -> None:
        raise TrustUnavailable("the line broke")

    with monkeypatch.context() as cut:
        cut.setattr(type(node.client), "acknowledge", no_answer)
        with pytest.raises(TrustUnavailable):
            node.keeper.poll()
    assert len(world.trust.acknowledged) == before
    node.close()
    again = world.open()
    told = world.trust.acknowledged[before]
    assert told["erased"] == [world.subject(CUSTOMER)]
    assert told["keys_destroyed"] > 0
    again.keeper.poll()
    later = world.trust.acknowledged[-1]
    assert (later["erased"], later["keys_destroyed"]) == ([], 0)
