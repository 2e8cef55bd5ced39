"""An evaluation travels: two real branches, their own gates and ledgers, one sum at the centre."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.events import EventKind
from coordinator.journal import RoundState, RunState
from models.private_evaluation import figures_of
from policies.terms import Evaluation, Grouping
from policies.vocabulary import RunId
from tests.promises.headquarters import Headquarters
from tests.promises.town import Fleet, Town, events, round_of, wants_training

RUN = RunId("run-1")
EVALUATION = Evaluation(noise=8.0, every=2, patience=0, groups=Grouping.TURNS)


@pytest.mark.parametrize("rounds", [0, 3])
def test_run_is_measured_by_its_branches_and_nothing_exact_leaves(
    town: Town, tmp_path: Path, rounds: int
) -> None:
    """Each branch pays for each table, permits its people, and signs; the centre adds up."""
    changes: dict[str, Any] = {
        "plan_changes": {
            "evaluation": EVALUATION,
            "epsilon": 6.0,
            "rounds": rounds,
            "minimum_nodes": 2,
        }
    }
    branches = {name: town.branch(name, **changes) for name in ("branch-1", "branch-2")}
    nodes = {name: branch.open() for name, branch in branches.items()}
    for name, node in nodes.items():
        wants_training(branches[name].api(node), node, "anna", "ben", "carl")
    fleet = Fleet({node.node: round_of(branches[n], node) for n, node in nodes.items()})
    centre = Headquarters(tmp_path / "centre", town.coordinator, town.clock.now)
    plan = branches["branch-1"].plan()

    assert centre.hold(branches["branch-1"], fleet) is RunState.COMPLETED

    records = centre.journal.evaluations(RUN, labels=len(plan.labels))
    assert [r.after_round for r in records] == ([0] if rounds == 0 else [0, 2, 3])
    for record in records:
        assert (record.state, record.replies) == (RoundState.AGGREGATED, 2)
        assert record.table is not None
        figures = figures_of(record.table, plan, nodes=record.replies)
        assert figures.macro_f1.low <= figures.macro_f1.value <= figures.macro_f1.high
        assert set(figures.groups) == {"one turn", "two to four turns", "five turns or more"}
    for node in nodes.values():
        spent = events(node.log, EventKind.BUDGET_SPENT)
        assert len(spent) == len(node.ledger.entries()) == 1 + rounds + len(records)
        assert len(events(node.log, EventKind.BATCH_DECISION)) == len(spent)
        assert node.ledger.epsilon_spent() <= plan.epsilon
    kinds = [{json.loads(r)["kind"] for r in replies.values()} for replies in fleet.exchanges]
    assert kinds.count({"table"}) == len(records)
    assert all(b"anna" not in r for replies in fleet.exchanges for r in replies.values())
    assert replace(plan, evaluation=None).evaluations == 0
    centre.close()
