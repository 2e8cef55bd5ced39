"""The branch's interface: done once by key, back-pressure, optional work first, corrections."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from audit.events import EventKind
from client_node.errors import Overloaded
from client_node.load import Load, shed
from client_node.replays import LARGEST_BYTES, LASTS_S, MOST, Replays, Said
from client_node.turn import Turn
from policies.vocabulary import Purpose, SubjectId, Use
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, opened, say

SAID = {"customer": CUSTOMER, "conversation": "c1", "text": "it is late again"}
OK = Said(status=200, headers=(), body=b"{}")


def send(world: Any, node: Any, key: str | None, **changed: Any) -> Any:
    """Send a turn with a key."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return world.api(node).post("/v1/turns", json=SAID | changed, headers=headers)


def test_turn_that_is_sent_again_is_done_once(world: Any) -> None:
    """The same key and body get the same answer, and one turn is kept and one decision taken."""
    node = angry_node(world, *HELP)
    first = send(world, node, "k1")
    size = node.log.size
    again = send(world, node, "k1")
    assert (again.json(), again.status_code) == (first.json(), 200)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert node.log.size == size
    assert send(world, node, "k2").json()["turn"] != first.json()["turn"]


def test_key_with_another_body_is_refused(world: Any) -> None:
    """Nothing is read of the second request."""
    node = angry_node(world, *HELP)
    send(world, node, "k1")
    size = node.log.size
    assert send(world, node, "k1", text="something else").status_code == 422
    assert send(world, node, "").status_code == 422
    assert send(world, node, "k" * 129).status_code == 422
    assert node.log.size == size


def test_another_integration_is_not_answered_from_memory(world: Any) -> None:
    """The key is the caller's own: without a valid one there is no answer to see."""
    node = angry_node(world, *HELP)
    send(world, node, "k1")
    headers = {"Idempotency-Key": "k1", "Authorization": "Bearer wrong"}
    assert world.api(node).post("/v1/turns", json=SAID, headers=headers).status_code == 401
    assert world.api(node).post("/v1/turns", json=SAID, headers=headers).status_code == 401


def test_answers_are_forgotten_when_somebody_withdraws(world: Any) -> None:
    """A key from before the withdrawal does not bring the reading back."""
    node = angry_node(world, *HELP)
    assert send(world, node, "k1").json()["answer"] == "reading"
    left = frozenset({Purpose.SERVICE})
    world.trust.withdraw(world.standing(CUSTOMER, withdrawn=left), Purpose.SERVICE)
    node.keeper.poll()
    assert send(world, node, "k1").json()["answer"] == "refused"


def test_replays_are_bounded_in_time_number_and_size() -> None:
    """An old, a crowded-out and a large answer are not kept; one under way is known."""
    now = [0.0]
    replays = Replays(clock=lambda: now[0])
    assert replays.begin(b"a", b"x") is None
    under_way = replays.begin(b"a", b"x")
    assert under_way is not None
    assert under_way.said is None
    replays.end(b"a", OK)
    assert replays.begin(b"a", b"x").said == OK  # type: ignore[union-attr]
    now[0] = LASTS_S
    assert replays.begin(b"a", b"x") is None
    replays.end(b"a", replace(OK, body=b"x" * (LARGEST_BYTES + 1)))
    assert replays.begin(b"a", b"x") is None
    for number in range(MOST):
        replays.begin(str(number).encode(), b"")
    assert replays.begin(b"a", b"x") is None


def test_turn_that_is_sent_again_after_a_restart_is_done_once(world: Any) -> None:
    """The same answer from disk, and another body is refused; the file has nothing in clear."""
    node = angry_node(world, *HELP)
    first = send(world, node, "k1")
    node.close()
    data = b"".join(p.read_bytes() for p in (world.folder / "state").glob("replays.db*"))
    for word in (b"reading", b"frustrated", b"late again", CUSTOMER.encode(), b"application/json"):
        assert word not in data
    again = world.open()
    size = again.log.size
    replayed = send(world, again, "k1")
    assert (replayed.json(), replayed.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert send(world, again, "k1", text="something else").status_code == 422
    assert again.log.size == size


def test_answer_from_before_a_withdrawal_is_noise_in_a_backup_too(world: Any) -> None:
    """The file of yesterday, put back, opens nothing: the turn is asked anew, and refused."""
    node = angry_node(world, *HELP)
    assert send(world, node, "k1").json()["answer"] == "reading"
    left = frozenset({Purpose.SERVICE})
    folder = world.folder / "state"
    backup = {path: path.read_bytes() for path in folder.glob("replays.db*")}
    world.trust.withdraw(world.standing(CUSTOMER, withdrawn=left), Purpose.SERVICE)
    node.keeper.poll()
    node.close()
    for path, data in backup.items():
        path.write_bytes(data)
    assert send(world, world.open(), "k1").json()["answer"] == "refused"


def test_answers_on_disk_are_bounded_in_time_and_number(world: Any) -> None:
    """What is old goes, and the oldest of too many."""
    node = angry_node(world, *HELP)
    store = node.room.replays._store
    assert store is not None
    for number in range(9):
        store.put(bytes([number]) * 32, b"b", float(number), b"{}")
    store.trim(before=2.0, most=4)
    assert [n for n in range(9) if store.find(bytes([n]) * 32)] == [5, 6, 7, 8]


def test_failure_of_the_nodes_own_is_tried_again(world: Any, monkeypatch: Any) -> None:
    """An answer of 500 and above is not kept under the key."""
    node = angry_node(world, *HELP)

    def broken(_: Turn) -> None:
        raise RuntimeError("x")

    with monkeypatch.context() as broke:
        broke.setattr(type(node.pipeline), "answer", lambda _, turn: broken(turn))
        assert send(world, node, "k1").status_code == 500
    assert send(world, node, "k1").json()["answer"] == "reading"


def test_turn_too_many_is_told_when_to_come_again(world: Any) -> None:
    """429 with Retry-After, nothing read; a withdrawal goes through all the same."""
    node = angry_node(world, *HELP, most_turns=1)
    with node.room.load.admit():
        size = node.log.size
        refused = send(world, node, None)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert node.log.size == size
        left = world.api(node).post("/v1/withdrawals", json={"customer": CUSTOMER, "purpose": None})
        assert left.status_code == 201
    assert send(world, node, None).status_code == 200


def test_optional_work_is_left_out_first(world: Any) -> None:
    """When crowded a turn is read and decided, without hint and explanation, and says so."""
    node = angry_node(world, *HELP, crowded_turns=1, most_turns=10)
    wanted = {"use": "agent_hint", "explain": True}
    whole = send(world, node, None, use="agent_hint").json()
    assert whole["use"]["answer"] == "done"
    with node.room.load.admit():
        less = send(world, node, None, **wanted).json()
    assert less["left_out"] == ["agent_hint", "explain"]
    assert less["answer"] == "reading"
    assert "use" not in less
    assert "why" not in less
    assert less["decision"]


def test_shedding_leaves_what_a_person_waits_for() -> None:
    """A hand-over is no option; nor is the gate, which a turn without its use still meets."""
    turn = Turn(subject=SubjectId("s"), conversation="c", text="t", use=Use.HANDOVER)
    assert shed(turn) == (turn, ())
    bare, left_out = shed(turn, context=True)
    assert (bare.use, bare.context, left_out) == (Use.HANDOVER, False, ("context",))


def test_load_counts_across_threads() -> None:
    """Never more under way than may be, and none is lost."""
    load, peak, refused = Load(crowded=2, most=4), [0], [0]
    under_way, lock = [0], threading.Lock()

    def turn() -> None:
        for _ in range(300):
            try:
                with load.admit():
                    with lock:
                        under_way[0] += 1
                        peak[0] = max(peak[0], under_way[0])
                    with lock:
                        under_way[0] -= 1
            except Overloaded:
                with lock:
                    refused[0] += 1

    threads = [threading.Thread(target=turn) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peak[0] <= 4
    with load.admit() as crowded:
        assert crowded is False


def correct(world: Any, node: Any, turn: str, label: str | None) -> Any:
    """Say that a reading is wrong."""
    return world.api(node).post("/v1/corrections", json={"turn": turn, "label": label})


def test_correction_puts_the_kept_reading_right(world: Any) -> None:
    """Later uses rest on the customer's own label, the alert is gone, and it is on record."""
    node = angry_node(world, *HELP)
    turn = say(world, node)["turn"]
    assert len(opened(world, node)) == 1
    found = correct(world, node, turn, "pleased")
    assert (found.status_code, found.json()["training"]) == (201, False)
    assert opened(world, node) == []
    hint = {"turn": turn, "step": "opening"}
    because = world.api(node).post("/v1/uses/agent_hint", json=hint).json()["because"]
    assert because == "approved for expressed cues of joy, opening"
    logged = node.log.find(EventKind.LABEL_RECORDED, limit=1)[0].event.fields
    assert logged["provenance"] == "consented_correction"


def test_correction_to_nothing_leaves_no_cue(world: Any) -> None:
    """Without a label the reading is gone: hints are then those for any conversation."""
    node = angry_node(world, *HELP)
    turn = say(world, node)["turn"]
    correct(world, node, turn, None)
    hint = {"turn": turn, "step": "opening"}
    because = world.api(node).post("/v1/uses/agent_hint", json=hint).json()["because"]
    assert because.startswith("no cue")


@pytest.mark.parametrize("trains", [True, False])
def test_correction_is_a_label_only_with_consent_to_training(world: Any, *, trains: bool) -> None:
    """With the consent it is learned from; without it nothing is, and the rule is named."""
    purposes = (Purpose.SERVICE, Purpose.TRAINING) if trains else (Purpose.SERVICE,)
    node = angry_node(world, *purposes)
    turn = say(world, node)["turn"]
    found = correct(world, node, turn, "pleased").json()
    assert found["training"] is trains
    assert (world.subject(CUSTOMER) in node.vault.trainable()) is trains
    assert found["rules"] == [] if trains else "r04-no-consent" in found["rules"]


def test_bad_correction_is_refused_in_one_line(world: Any) -> None:
    """An unknown label, an unknown turn, and a turn of somebody who withdrew."""
    node = angry_node(world, *HELP)
    turn = say(world, node)["turn"]
    assert correct(world, node, turn, "sulky").status_code == 422
    assert correct(world, node, "nothing", None).status_code == 404
    left = frozenset({Purpose.SERVICE})
    world.trust.put(world.standing(CUSTOMER, withdrawn=left))
    node.keeper.poll()
    assert correct(world, node, turn, None).status_code == 404
