"""Claims about a branch's own confidence: under a permit, of many, local, and gone in time."""

from __future__ import annotations

from typing import Any

import pytest

from audit.events import EventKind
from client_node.errors import RecalibrationRefused
from client_node.recalibration import FEWEST_PEOPLE
from client_node.service import NodeService
from client_node.vault import TrainingRecord
from policies.vocabulary import Purpose

PEOPLE = ("anna", "bob", "cleo", "dan")
OWN = {"decision", "turn", "reading", "conversation", "alert"}
"""Fields of an answer that carry ids or the confidence itself."""


def labelled(world: Any, *people: str, fewest: int = len(PEOPLE)) -> NodeService:
    """Open a node that is always sure of anger, where half of the people say they are pleased."""
    for person in people:
        world.trust.put(world.standing(person, Purpose.SERVICE, Purpose.TRAINING))
    node: NodeService = world.open()
    release = world.release(1, weights=world.angry_weights())
    node.releases.load(world.publish(world.coordinator_log(), release))
    for number, person in enumerate(people):
        said = {
            "turn": say(world, node, person)["turn"],
            "label": ("frustrated", "pleased")[number % 2],
            "provenance": "customer_rating",
        }
        assert world.api(node).post("/v1/labels", json=said).status_code == 200
    node.recalibration._fewest_people = fewest
    return node


def say(world: Any, node: NodeService, person: str = "anna") -> Any:
    """Send a turn; return its answer."""
    said = {"customer": person, "conversation": "c1", "text": "it is late again"}
    return world.api(node).post("/v1/turns", json=said).json()


def ask(world: Any, node: NodeService) -> Any:
    """Ask for a temperature."""
    return world.api(node).post("/v1/recalibrations")


def test_confidence_follows_the_branch_and_nothing_else_does(world: Any) -> None:
    """A head that is wrong half of the time is shown as unsure; label and course stay its own."""
    node = labelled(world, *PEOPLE)
    before = say(world, node)
    answer = ask(world, node)
    assert answer.status_code == 201
    assert answer.json()["temperature"] > 5
    after = say(world, node)
    assert before["reading"]["confidence"] > 0.99
    assert after["reading"]["confidence"] < before["reading"]["confidence"] - 0.005
    for name in set(before["reading"]) - {"confidence"}:
        assert after["reading"][name] == before["reading"][name]
    assert {k: after[k] for k in set(after) - OWN} == {k: before[k] for k in set(before) - OWN}
    assert after["conversation"]["level"] == pytest.approx(before["conversation"]["level"])
    kept = node.log.find(EventKind.BATCH_DECISION, 1)[0].event.fields
    assert kept["context"] == ["for=recalibration"]
    assert str(answer.json()["temperature"]) not in str(
        [node.log.entry(i) for i in range(node.log.size)]
    )


def test_few_people_make_no_temperature(world: Any) -> None:
    """Below the smallest number of people nothing is fitted; by default that is fifty."""
    node = labelled(world, *PEOPLE, fewest=len(PEOPLE) + 1)
    answer = ask(world, node)
    assert answer.status_code == 409
    assert "fewer than 5 people" in answer.json()["detail"]
    assert say(world, node)["reading"]["confidence"] > 0.99
    assert FEWEST_PEOPLE >= 50


def test_only_the_turns_of_those_who_allow_training_count(world: Any) -> None:
    """Who restricted processing is not opened, though their key is still there."""
    node = labelled(world, *PEOPLE)
    world.trust.put(world.standing("dan", Purpose.TRAINING, restricted=True))
    node.keeper.poll()
    assert world.subject("dan") in node.vault.trainable()
    assert ask(world, node).status_code == 409


def test_stopped_organisation_fits_nothing(world: Any) -> None:
    """Under a stop the vault is not opened at all."""
    node = labelled(world, *PEOPLE)
    world.trust.stopped = True
    world.now += 1
    node.keeper.poll()
    assert ask(world, node).status_code == 403


@pytest.mark.parametrize("purpose", [Purpose.TRAINING, None])
def test_withdrawal_drops_the_temperature(world: Any, purpose: Purpose | None) -> None:
    """Once somebody withdraws from training, what their labels shaped is gone."""
    node = labelled(world, *PEOPLE)
    ask(world, node)
    world.now += 1
    world.trust.withdraw(world.standing("bob", Purpose.SERVICE), purpose)
    node.keeper.poll()
    assert say(world, node)["reading"]["confidence"] > 0.99


def test_withdrawal_while_it_is_fitted_leaves_none(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A withdrawal between opening and keeping wins."""
    node = labelled(world, *PEOPLE)
    opening = node.vault.open_batch

    def interrupted(**options: Any) -> list[TrainingRecord]:
        records = opening(**options)
        node.recalibration.withdraw()
        return records

    monkeypatch.setattr(node.vault, "open_batch", interrupted)
    with pytest.raises(RecalibrationRefused, match="withdrew meanwhile"):
        node.recalibration.fit()
    assert say(world, node)["reading"]["confidence"] > 0.99


def test_temperature_is_of_one_release_and_one_process(world: Any) -> None:
    """A newer release begins without one, and so does the node after a restart."""
    node = labelled(world, *PEOPLE)
    log = world._opened[-1]  # the coordinator's, opened to publish the first
    ask(world, node)
    assert say(world, node)["reading"]["confidence"] < 0.99
    again = world.release(2, weights=world.angry_weights() * 0.99)
    node.releases.load(world.publish(log, again))
    assert say(world, node)["reading"]["confidence"] > 0.99
    ask(world, node)
    assert say(world, node)["reading"]["confidence"] < 0.99
    node.close()
    assert say(world, world.open())["reading"]["confidence"] > 0.99


def test_release_that_says_nothing_is_not_calibrated(world: Any) -> None:
    """Before a release with weights there is nothing to divide, and nothing is opened."""
    node: NodeService = world.open()
    size = node.log.size
    answer = ask(world, node)
    assert answer.status_code == 409
    recorded = [node.log.entry(i).event.kind for i in range(size, node.log.size)]
    assert recorded == [EventKind.INPUT_REFUSED]
    assert "nothing to calibrate" in answer.json()["detail"]
