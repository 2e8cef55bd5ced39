"""Runs that are measured: counted, kept, ended early, and never beyond what was set aside."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audit.events import EventKind
from audit.signing import SigningKey, seal
from coordinator.cli import _run_table
from coordinator.errors import BudgetRefused, PlanRejected, RunStopped
from coordinator.journal import RoundState, RunState
from coordinator.plan import preview
from coordinator.rounds import hold_run
from models.private_evaluation import figures_of
from models.update import Update, update_to_dict
from policies.terms import Evaluation, Grouping, Plan, plan_to_dict
from policies.vocabulary import RunId
from tests.coordinator.fleet import NODES, MemoryNode, Play, make_plan
from tests.coordinator.test_service import Centre, centre, draft

__all__ = ["centre"]
RUN = RunId("run-1")
EVALUATION = Evaluation(noise=20.0, every=1, patience=2, groups=Grouping.NONE)


def measured(**changes: Any) -> Plan:
    """Return a plan of four rounds that is measured after each."""
    return make_plan(evaluation=replace(EVALUATION, **changes))


def play_of(plan: Plan, *quality: float) -> Play:
    """Return a fleet whose nodes' tables say how good each head was."""
    play = Play(plan=plan)
    for node in play.nodes.values():
        node.quality = list(quality)
    return play


def hold(play: Play) -> RunState:
    """Hold the run with all nodes."""
    return hold_run(play.centre(), play.begin(), play.keys)


def found(play: Play) -> list[tuple[int, RoundState, float | None]]:
    """Return of each evaluation after which round it was, how it ended and its macro-F1."""
    plan = play.plan
    return [
        (
            e.after_round,
            e.state,
            None
            if e.table is None
            else round(figures_of(e.table, plan, nodes=e.replies).macro_f1.value, 3),
        )
        for e in play.journal.evaluations(RUN, labels=len(plan.labels))
    ]


def test_run_is_measured_at_its_start_after_rounds_and_at_its_end() -> None:
    """The journal has each evaluation's sum of noisy tables; the run goes on to its end."""
    play = play_of(measured(every=3, patience=0), 0.4, 0.6, 0.8)
    assert hold(play) is RunState.COMPLETED
    good = RoundState.AGGREGATED
    assert found(play) == [(0, good, 0.4), (3, good, 0.6), (4, good, 0.8)]
    assert play.journal.run(RUN).detail == "4 of 4 rounds counted, 3 of 3 evaluations"
    closed = [e.fields for e in play.events if e.kind is EventKind.EVALUATION_CLOSED]
    assert [e["evaluation"] for e in closed] == [1, 2, 3]
    assert all(e["table_digest"] for e in closed)


def test_what_is_measured_is_what_would_be_released() -> None:
    """An evaluation carries the candidate so far, the start before there is one."""
    play = play_of(measured(patience=0), 0.5)
    hold(play)
    seen = play.nodes[NODES[0]].seen
    asked = [b["weights"] for b in seen if b["terms"]["kind"] == "evaluate" and "weights" in b]
    trained = [b["weights"] for b in seen if b["terms"]["kind"] == "train" and "weights" in b]
    assert len(asked) == 5
    assert asked[0] == trained[0]  # the start
    assert asked[1] == trained[1]  # after one round its aggregate is the candidate
    assert asked[3] != trained[3]  # after three it is the mean of the last two


def test_run_ends_early_when_nothing_gets_better_and_says_so() -> None:
    """After two evaluations no better than the best the run is over, in a final state."""
    play = play_of(measured(), 0.5, 0.7, 0.7, 0.6, 0.9)
    assert hold(play) is RunState.COMPLETED
    assert [after for after, _, _ in found(play)] == [0, 1, 2, 3]
    assert len(play.journal.rounds(RUN, shape=(5, 3))) == 3
    detail = play.journal.run(RUN).detail
    assert detail == (
        "3 of 4 rounds counted, 4 of 5 evaluations; ended early: none better in the last 2"
    )
    assert play.events[-1].kind is EventKind.RUN_ENDED


def test_run_that_gets_better_does_not_end_early() -> None:
    """As long as one of the last two was better than all before, rounds go on."""
    play = play_of(measured(), 0.5, 0.4, 0.6, 0.5, 0.7)
    assert hold(play) is RunState.COMPLETED
    assert len(play.journal.rounds(RUN, shape=(5, 3))) == 4


def test_evaluation_with_too_few_tables_decides_nothing() -> None:
    """Below the plan's minimum nothing is added up, and nothing is said to be no better."""
    play = play_of(measured(), 0.5, 0.4, 0.4, 0.4, 0.4)
    for node in NODES[:2]:
        honest = play.nodes[node].answer
        play.courier.nodes[node] = lambda payload, kind, honest=honest: (  # type: ignore[misc]
            None if kind == "evaluation" else honest(payload, kind)
        )
    assert hold(play) is RunState.COMPLETED
    assert found(play) == [(n, RoundState.DISCARDED, None) for n in range(5)]
    assert play.journal.run(RUN).detail == "4 of 4 rounds counted, 0 of 5 evaluations"


def wrong_shape(node: MemoryNode, body: dict[str, Any]) -> bytes:
    """Sign a table of another shape."""
    table = node.table(body)
    return seal(
        "table", update_to_dict(replace_weights(table, np.ones((6, 3), np.float32))), node.key
    )


def replace_weights(update: Update, weights: Any) -> Update:
    """Return the update with other weights."""
    return replace(update, weights=weights)


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (wrong_shape, "shape"),
        (lambda n, b: n.sign(n.table(b)), "malformed"),  # an update in an evaluation's place
        (
            lambda n, b: seal("table", update_to_dict(n.table(b)), SigningKey.generate(n.node)),
            "signature",
        ),
        (
            lambda n, b: seal("table", update_to_dict(replace(n.table(b), round_number=9)), n.key),
            "terms",
        ),
    ],
)
def test_table_that_is_not_the_one_asked_for_does_not_count(forge: Any, reason: str) -> None:
    """Another shape, kind, signature or round is rejected, and the others are added."""
    play = play_of(measured(patience=0), 0.5)
    west = play.nodes[NODES[2]]

    def answer(payload: bytes, kind: str) -> bytes | None:
        if kind != "evaluation":
            return west.answer(payload, kind)
        body: bytes = forge(west, json.loads(payload)["body"])
        return body

    play.courier.nodes[NODES[2]] = answer
    hold(play)
    records = play.journal.evaluations(RUN, labels=3)
    assert [dict(e.rejected) for e in records] == [{reason: 1}] * 5
    assert {e.replies for e in records} == {2}


def test_plan_of_no_rounds_evaluates_and_trains_nothing() -> None:
    """A release is measured by a run of one exchange after enrolment."""
    play = play_of(make_plan(rounds=0, evaluation=EVALUATION), 0.75)
    assert hold(play) is RunState.COMPLETED
    assert found(play) == [(0, RoundState.AGGREGATED, 0.75)]
    assert play.journal.run(RUN).detail == "0 of 0 rounds counted, 1 of 1 evaluations"
    assert play.courier.exchanges == 2


def test_stop_within_an_evaluation_ends_the_run_and_counts_it_as_spent() -> None:
    """The evaluation is discarded, on record and reserved."""
    play = play_of(measured(), 0.5)

    def stop(count: int) -> None:
        if count == 2:
            raise RunStopped("stopped while nodes were answering")

    play.courier.before = stop
    assert hold(play) is RunState.STOPPED
    assert found(play) == [(0, RoundState.DISCARDED, None)]


def test_evaluations_are_reserved_each_and_no_more_than_planned() -> None:
    """The central ledger gives an evaluation of its own kind, once for each in the plan."""
    play = play_of(measured(every=2), 0.5)
    play.begin()
    for number in (1, 2, 3):
        play.ledger.reserve_evaluation(RUN, number, play.plan)
    with pytest.raises(BudgetRefused, match="3 of 3 evaluations"):
        play.ledger.reserve_evaluation(RUN, 4, play.plan)
    play.ledger.reserve_round(RUN, 1, play.plan)  # rounds are counted apart
    with pytest.raises(BudgetRefused):
        play.ledger.reserve_evaluation(RunId("run-9"), 1, play.plan)


def test_evaluation_is_reserved_before_anything_is_asked() -> None:
    """Where the ledger does not cover it, no terms are signed, logged or sent."""
    play = play_of(measured(), 0.5)
    run = play.begin()
    for number in range(1, play.plan.evaluations + 1):
        play.ledger.reserve_evaluation(RUN, number, play.plan)
    assert hold_run(play.centre(), run, play.keys) is RunState.FAILED
    assert play.courier.exchanges == 1  # the enrolment
    assert not any(e.kind is EventKind.TERMS_PUBLISHED for e in play.events)


def test_preview_counts_the_evaluations_and_takes_them_off_the_noise() -> None:
    """The same epsilon with evaluations leaves less for training, by all three accountants."""

    def cost(**changes: Any) -> Any:
        value = plan_to_dict(make_plan(epsilon=2.0)) | changes
        del value["mechanism"]["noise_multiplier"]
        return preview(value)

    tables = {"noise": 12.0, "every": 1, "patience": 0, "groups": "none"}
    plain, counted = cost(), cost(evaluation=tables)
    assert counted.plan.evaluations == 5
    assert counted.plan.mechanism.noise_multiplier > plain.plan.mechanism.noise_multiplier
    assert counted.epsilon_prv <= counted.epsilon <= 2.0
    assert counted.second_opinion == pytest.approx(counted.epsilon_prv, abs=0.1)
    alone = cost(rounds=0, evaluation=tables)
    assert 0 < alone.epsilon < plain.epsilon
    with pytest.raises(PlanRejected, match="evaluation's noise"):
        cost(evaluation=tables | {"noise": 1.0})
    with pytest.raises(PlanRejected, match="every"):
        cost(evaluation=tables | {"every": 0})


def test_people_ask_for_an_evaluation_and_read_it_through_the_api(centre: Centre) -> None:
    """A release is evaluated by name; figures, bounds and class weights come back as JSON."""
    centre.enrol_all()
    trained = centre.client.plan(draft())["digest"]
    run = centre.wait(centre.client.start_run(trained, approved_by="ada")["run"])
    release = centre.client.publish_release(approved_by="ada", run=run["run"])["release"]
    value = draft(name="look", rounds=0, evaluation=EVALUATION, epsilon=1.0)
    asked = centre.client.plan(value)["digest"]
    seen = centre.wait(centre.client.start_run(asked, approved_by="ada", release=release)["run"])
    assert seen["state"] == "completed"
    (one,) = seen["evaluations"]
    assert one["figures"]["macro_f1"]["value"] == pytest.approx(0.5)
    assert [label["label"] for label in one["figures"]["labels"]] == [
        "negative",
        "neutral",
        "positive",
    ]
    assert one["figures"]["labels"][0]["class_weight"] == pytest.approx(1.0)
    assert one["figures"]["labels"][0]["oversure"]["value"] == pytest.approx(0.4)


def test_release_that_does_not_answer_is_not_evaluated(centre: Centre) -> None:
    """What abstains, or is unknown, is a clear line; nothing is reserved or asked."""
    centre.enrol_all()
    value = draft(name="look", rounds=0, evaluation=EVALUATION, epsilon=1.0)
    asked = centre.client.plan(value)["digest"]
    for release, said in ((None, "name a release that fits"), ("release-9", "release-9")):
        with pytest.raises(Exception, match=said):
            centre.client.start_run(asked, approved_by="ada", release=release)
    assert centre.service.ledger.spent().epsilon == 0


def test_run_show_prints_each_measurement_with_its_bounds(centre: Centre) -> None:
    """People read when it was measured, the figure, and between which two numbers it lies."""
    centre.enrol_all()
    value = draft(name="measured", evaluation=replace(EVALUATION, every=2, patience=0))
    run = centre.wait(
        centre.client.start_run(centre.client.plan(value)["digest"], approved_by="ada")["run"]
    )
    caption = str(_run_table(run).caption)
    assert "at the start: macro-F1 0.500, between 0.4" in caption
    assert "after round 4: macro-F1 0.500" in caption
    few = run["evaluations"][0] | {"figures": None, "replies": 1}
    assert "1 replies were too few" in str(_run_table(run | {"evaluations": [few]}).caption)
