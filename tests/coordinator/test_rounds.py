"""Whole runs in memory: every end is a final state, and only proper updates count."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audit.errors import EvidenceUnavailable
from audit.events import Event, EventKind
from audit.signing import SigningKey, seal, unseal
from coordinator.errors import RunStopped
from coordinator.journal import RoundState, RunState, aggregates
from coordinator.rounds import hold_run
from models.update import update_to_dict
from policies.vocabulary import Digest, NodeId, RunId
from tests.coordinator.fleet import NODES, Play, make_plan

RUN = RunId("run-1")
WEST = NODES[2]


def hold(play: Play) -> RunState:
    """Hold the run with all nodes."""
    return hold_run(play.centre(), play.begin(), play.keys)


def rejections(play: Play) -> list[dict[str, int]]:
    """Return why replies did not count, by round."""
    return [dict(r.rejected) for r in play.journal.rounds(RUN, shape=(5, 3))]


def test_run_averages_uniformly_and_completes() -> None:
    """Three honest nodes give the plain mean of their steps in every round."""
    play = Play()
    for step, node in zip((0.0, 1.0, 5.0), play.nodes.values(), strict=True):
        node.step = step
    assert hold(play) is RunState.COMPLETED
    made = aggregates(play.journal.rounds(RUN, shape=(5, 3)))
    assert [float(weights[0, 0]) for weights in made] == [2.0, 4.0, 6.0, 8.0]


def test_run_logs_terms_before_rounds_close() -> None:
    """Each round's terms digest is in the log before its nodes are asked."""
    play = Play()
    logged: list[int] = []
    play.courier.before = lambda _: logged.append(
        sum(e.kind is EventKind.TERMS_PUBLISHED for e in play.events)
    )
    hold(play)
    assert logged == [0, 1, 2, 3, 4]
    assert play.events[-1].kind is EventKind.RUN_ENDED


def test_round_is_reserved_before_terms_are_published() -> None:
    """When the ledger does not cover a round, nothing is signed or sent."""
    play = Play()
    run = play.begin()
    for number in range(1, 4):
        play.ledger.reserve_round(RUN, number, play.plan)  # as if rounds had been retried
    assert hold_run(play.centre(), run, play.keys) is RunState.FAILED
    assert sum(e.kind is EventKind.TERMS_PUBLISHED for e in play.events) == 1
    assert play.courier.exchanges == 2


def wrong_key(play: Play, payload: bytes) -> bytes:
    """Sign with a key that is not registered."""
    node = play.nodes[WEST]
    stranger = SigningKey.generate(WEST)
    body = unseal("terms", payload, node.coordinator)
    return seal("update", update_to_dict(node.update(body)), stranger)


def changed(**changes: Any) -> Callable[[Play, bytes], bytes]:
    """Sign an update with a field that is not what the terms say."""

    def answer(play: Play, payload: bytes) -> bytes:
        node = play.nodes[WEST]
        update = node.update(unseal("terms", payload, node.coordinator))
        return node.sign(dataclasses.replace(update, **changes))

    return answer


def not_finite(play: Play, payload: bytes) -> bytes:
    """Sign weights with a NaN inside."""
    node = play.nodes[WEST]
    value = update_to_dict(node.update(unseal("terms", payload, node.coordinator)))
    raw = np.full((5, 3), np.nan, "<f4").tobytes()
    value["weights"] = {"shape": [5, 3], "float32": base64.b64encode(raw).decode()}
    return seal("update", value, node.key)


def integers(play: Play, payload: bytes) -> bytes:
    """Sign a list of integers for weights."""
    node = play.nodes[WEST]
    value = update_to_dict(node.update(unseal("terms", payload, node.coordinator)))
    value["weights"] = {"shape": [5, 3], "float32": [1] * 15}
    return seal("update", value, node.key)


def replayed(play: Play, payload: bytes) -> bytes:
    """Send the first round's correctly signed update in every round."""
    node = play.nodes[WEST]
    unseal("terms", payload, node.coordinator)
    node.seen.append(unseal("terms", payload, node.coordinator))
    return node.sign(node.update(node.seen[1]))


def refused(play: Play, payload: bytes) -> bytes:
    """Sign a refusal."""
    assert payload
    return seal("refusal", {"terms_digest": None, "reason": "budget"}, play.nodes[WEST].key)


CHEATS: list[tuple[str, Callable[[Play, bytes], bytes], str]] = [
    ("wrong key", wrong_key, "signature"),
    ("changed terms digest", changed(terms_digest=Digest("0" * 64)), "terms"),
    ("other node's name", changed(node=NodeId("north")), "terms"),
    ("other run", changed(run=RunId("run-2")), "terms"),
    ("other round", changed(round_number=9), "terms"),
    ("other shape", changed(weights=np.zeros((4, 3), np.float32)), "shape"),
    ("NaN", not_finite, "weights"),
    ("huge", changed(weights=np.full((5, 3), 1e30, np.float32)), "weights"),
    ("integers", integers, "weights"),
    ("refusal", refused, "refused"),
    ("not an envelope", lambda _play, _payload: b"\x00garbage", "malformed"),
    ("unknown kind", lambda play, _: seal("ready", {}, play.nodes[WEST].key), "malformed"),
]


@pytest.mark.parametrize(("name", "cheat", "reason"), CHEATS, ids=[c[0] for c in CHEATS])
def test_reply_that_is_not_proper_does_not_count(
    name: str, cheat: Callable[[Play, bytes], bytes], reason: str
) -> None:
    """A wrong reply of one node is rejected for its reason and moves no weight."""
    del name
    play = Play()
    honest = play.nodes[WEST].answer
    play.courier.nodes[WEST] = lambda payload, kind: (
        honest(payload, kind) if kind == "enrolment" else cheat(play, payload)
    )
    assert hold(play) is RunState.COMPLETED
    made = aggregates(play.journal.rounds(RUN, shape=(5, 3)))
    assert [float(weights[0, 0]) for weights in made] == [1.0, 2.0, 3.0, 4.0]
    assert rejections(play) == [{reason: 1}] * 4


def test_an_update_of_zeros_counts_like_any_other() -> None:
    """Nothing divides by an update's norm: zeros are averaged, and the round ends well."""
    play = Play()
    honest, zeros = play.nodes[WEST].answer, changed(weights=np.zeros((5, 3), np.float32))
    play.courier.nodes[WEST] = lambda payload, kind: (
        honest(payload, kind) if kind == "enrolment" else zeros(play, payload)
    )
    assert hold(play) is RunState.COMPLETED
    made = aggregates(play.journal.rounds(RUN, shape=(5, 3)))
    assert all(np.isfinite(weights).all() for weights in made)
    assert rejections(play) == [{}] * 4


def test_update_of_an_earlier_round_does_not_count_again() -> None:
    """A replayed, correctly signed update counts in its own round only."""
    play = Play()
    honest = play.nodes[WEST].answer
    play.courier.nodes[WEST] = lambda payload, kind: (
        honest(payload, kind) if kind == "enrolment" else replayed(play, payload)
    )
    hold(play)
    assert rejections(play) == [{}, {"terms": 1}, {"terms": 1}, {"terms": 1}]


def test_node_that_was_not_asked_does_not_count() -> None:
    """A reply under a name outside the cohort is rejected as unknown."""
    play = Play()

    class Chatty:
        """A courier that brings a stranger's reply along."""

        def exchange(self, payloads: Any, *, deadline_s: float) -> Any:
            replies = dict(play.courier.exchange(payloads, deadline_s=deadline_s))
            return replies | {NodeId("stranger"): replies[WEST]}

    run = play.begin()
    assert hold_run(play.centre(Chatty()), run, play.keys) is RunState.COMPLETED
    assert rejections(play) == [{"unknown": 1}] * 4


def test_late_node_is_absent_and_may_come_back() -> None:
    """A node that is late in one round counts in the next."""
    play = Play()
    honest = play.nodes[WEST].answer
    play.courier.nodes[WEST] = lambda payload, kind: (
        None if play.courier.exchanges == 3 else honest(payload, kind)
    )
    assert hold(play) is RunState.COMPLETED
    assert rejections(play) == [{}, {"absent": 1}, {}, {}]


def test_round_with_too_few_updates_is_discarded() -> None:
    """Below the plan's minimum the round changes nothing, and says so."""
    play = Play(plan=make_plan(minimum_nodes=3))
    honest = play.nodes[WEST].answer
    play.courier.nodes[WEST] = lambda payload, kind: (
        None if play.courier.exchanges == 3 else honest(payload, kind)
    )
    assert hold(play) is RunState.COMPLETED
    rounds = play.journal.rounds(RUN, shape=(5, 3))
    assert [r.state for r in rounds] == [
        RoundState.AGGREGATED,
        RoundState.DISCARDED,
        RoundState.AGGREGATED,
        RoundState.AGGREGATED,
    ]
    assert [float(w[0, 0]) for w in aggregates(rounds)] == [1.0, 2.0, 3.0]
    assert play.journal.run(RUN).detail == "3 of 4 rounds counted"


def test_run_fails_when_too_few_nodes_are_ready() -> None:
    """A cohort below the minimum ends the run before any round."""
    play = Play()
    for node in NODES[1:]:
        play.courier.nodes[node] = lambda _payload, _kind: None
    assert hold(play) is RunState.FAILED
    assert play.journal.run(RUN).detail == "1 of 3 nodes are ready; the plan needs 2"
    assert play.courier.exchanges == 1


def test_run_fails_when_no_round_counts() -> None:
    """A run whose every round was discarded has nothing to release and says failed."""
    play = Play()
    for node in NODES[1:]:
        honest = play.nodes[node].answer
        play.courier.nodes[node] = lambda payload, kind, honest=honest: (  # type: ignore[misc]
            honest(payload, kind) if kind == "enrolment" else None
        )
    assert hold(play) is RunState.FAILED
    assert play.journal.run(RUN).detail == "no round had enough updates"


def test_stop_works_between_rounds() -> None:
    """A stop set while a round is held ends the run after it."""
    play = Play()
    play.courier.before = lambda count: play.stop.set() if count == 3 else None
    assert hold(play) is RunState.STOPPED
    assert len(play.journal.rounds(RUN, shape=(5, 3))) == 2


def test_stop_works_within_a_round() -> None:
    """A stop while nodes answer discards that round and ends the run."""
    play = Play()

    def stop(count: int) -> None:
        if count == 3:
            raise RunStopped("stopped while nodes were answering")

    play.courier.before = stop
    assert hold(play) is RunState.STOPPED
    rounds = play.journal.rounds(RUN, shape=(5, 3))
    assert [r.state for r in rounds] == [RoundState.AGGREGATED, RoundState.DISCARDED]


def test_run_ends_failed_when_the_log_cannot_record() -> None:
    """Without evidence nothing is sent, and the journal still says how the run ended."""
    play = Play()

    def full(event: Event) -> None:
        raise EvidenceUnavailable(f"cannot record {event.kind}")

    centre = dataclasses.replace(play.centre(), record=full)
    run = play.begin()
    with pytest.raises(EvidenceUnavailable):
        hold_run(centre, run, play.keys)
    assert play.journal.run(RUN).state is RunState.FAILED
    assert play.courier.exchanges == 1


def test_ready_for_other_terms_is_not_ready() -> None:
    """A signed yes to an earlier run's enrolment does not put a node into this cohort."""
    play = Play()
    for node in NODES[1:]:
        key = play.nodes[node].key
        play.courier.nodes[node] = lambda _payload, _kind, key=key: (  # type: ignore[misc]
            seal("ready", {"terms_digest": "0" * 64}, key)
        )
    assert hold(play) is RunState.FAILED
    assert play.journal.run(RUN).cohort == ()
