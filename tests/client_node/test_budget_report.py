"""What a node tells of its budget rests on plans and days, and on nobody's records."""

from __future__ import annotations

import json
from typing import Any

from client_node.budget_report import BudgetReport
from client_node.training import limits_of
from tests.client_node.test_training import trained


def told(make_world: Any, *customers: str) -> bytes:
    """Return all that a node of these customers tells, before and after a round, as bytes."""
    world = make_world()
    node = trained(world, *customers)
    report = BudgetReport(node.ledger, limits_of(node.policy), clock=world.clock)
    states = [report()]
    node.training.enrol(world.ask_enrolment())
    states.append(report())
    node.training.take_part(world.ask_round())
    states.append(report())
    assert states[0]["epsilon_spent"] == 0 < states[1]["epsilon_spent"] < states[2]["epsilon_spent"]
    return json.dumps(states).encode()


def test_neighbours_tell_the_same_budget_byte_by_byte(make_world: Any) -> None:
    """One person more at the node, or two, and what is told does not change by a byte."""
    alone = told(make_world, "a")
    assert alone == told(make_world, "a", "bb")
    assert alone == told(make_world, "a", "bb", "ccc")


def test_the_state_goes_with_each_acknowledgement(world: Any, monkeypatch: Any) -> None:
    """After a spending the next acknowledgement says so, in whole days and no seconds."""
    node = trained(world, "a")
    node.training.enrol(world.ask_enrolment())
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(node.client, "acknowledge", said.append)
    node.keeper.poll()
    budget = said[-1]["budget"]
    assert budget["epsilon_spent"] == node.ledger.epsilon_spent() > 0
    assert len(budget["day"]) == len(budget["first_over_on"]) == len("2027-01-15")


def test_an_unreadable_ledger_is_told_as_spent(world: Any) -> None:
    """The limit counts as reached, and the state says that it could not be read."""
    node = trained(world, "a")
    node.ledger._fault = "broken on purpose"
    said = BudgetReport(node.ledger, limits_of(node.policy), clock=world.clock)()
    assert said["readable"] is False
    assert said["epsilon_spent"] == said["epsilon_limit"]
