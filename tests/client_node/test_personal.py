"""Claims about a node's own head: whom it is made of, what it changes, and that nothing leaves."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from typing import Any

import pytest

from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from audit.trace import LinkKind, Proofs, link_to_dict, trace
from client_node.service import NodeService
from client_node.vault import _context
from models.personal import FEWEST_PEOPLE
from models.update import weights_bytes
from policies.decision import UseRequest
from policies.redacted import RedactedText
from policies.vocabulary import Action, Digest, Provenance, Purpose
from tests.client_node.conftest import World
from tests.client_node.stand_ins import hash_encoder
from tests.client_node.test_evaluation import MEASURED
from tests.promises.town import Held, hold_noise, round_of

PEOPLE = tuple(f"person-{number}" for number in range(FEWEST_PEOPLE + 4))
SAID = {"frustrated": "it is late again", "pleased": "thank you so much"}
BOTH = (Purpose.SERVICE, Purpose.TRAINING)
FITTED = EventKind.LOCAL_HEAD_FITTED


def branch(
    world: World, *people: str, folder: str = "state", personal: bool = True, learnable: bool = True
) -> NodeService:
    """Open a node whose release reads anger in everything, where half of the people are pleased.

    Where it is not `learnable`, the same words mean the one and the other.
    """
    world.trust.changes.clear()
    world.trust.sequence = 0
    for person in people or PEOPLE:
        world.trust.put(world.standing(person, *BOTH))
    node = world.open(folder=world.folder / folder, personal=personal)
    node.releases.load(bundle(world))
    for number, person in enumerate(people or PEOPLE):
        label = ("frustrated", "pleased")[number % 2]
        words = SAID[label if learnable else ("frustrated", "pleased")[number // 2 % 2]]
        keep(world, node, person, words, label)
    return node


def keep(world: World, node: NodeService, person: str, words: str, label: str) -> None:
    """Seal a rated turn for training, as pipeline and labels do, without the rest of the way."""
    subject, turn = world.subject(person), f"turn-of-{person}"
    request = UseRequest(
        node=node.node, action=Action.STORE, purpose=Purpose.TRAINING, subject=subject
    )
    permit = node.gate.open(request, node.cache.standing(subject), node.cache.governance)
    features = hash_encoder().encode([RedactedText(text=words)])[0].tobytes()
    node.vault.seal(turn, [(permit, features)], subject=subject, now=world.now)
    node.labels.record(turn, label, Provenance.CUSTOMER_RATING)


def bundle(world: World, number: int = 1) -> bytes:
    """Publish a release that reads anger, not quite surely."""
    weights = world.weights()
    weights[-1, 0] = 1.0 + number / 10
    return world.publish(_log_of(world), world.release(number, weights=weights))


def _log_of(world: World) -> Any:
    if not hasattr(world, "published"):
        world.published = world.coordinator_log()  # type: ignore[attr-defined]
    return world.published  # type: ignore[attr-defined]


def say(world: World, node: NodeService, person: str, text: str, **more: Any) -> Any:
    """Send a turn; return its answer."""
    said = {"customer": person, "conversation": "c1", "text": text} | more
    answer = world.api(node).post("/v1/turns", json=said)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pleased(world: World, node: NodeService, **more: Any) -> Any:
    """Have somebody say what the release misreads and the branch knows."""
    return say(world, node, PEOPLE[0], SAID["pleased"], **more)


def sealed_copy(world: World, node: NodeService, turn: str) -> Any:
    """Return what was sealed of a turn for service."""
    sealed = node.vault._records.find(turn, Purpose.SERVICE).sealed
    context = _context(turn, Purpose.SERVICE)
    return json.loads(
        node.keystore.open(world.subject(PEOPLE[0]), Purpose.SERVICE, sealed, context=context)
    )


# --- what it changes --------------------------------------------------------------------------


def test_branch_is_shown_its_own_head_and_told_so(world: World) -> None:
    """The answer is the local head's, names release and head; the words that weighed are its."""
    node = branch(world)
    before = pleased(world, node)
    assert before["reading"]["label"] == "frustrated"
    assert before["reading"]["local_head"] is None
    head = node.personalisation.fit()
    assert head.takes_part
    after = pleased(world, node)
    assert after["reading"]["label"] == "pleased"
    assert after["reading"]["release"] == before["reading"]["release"]
    assert after["reading"]["local_head"] == head.digest


def test_nothing_but_the_answers_reading_follows_it(world: World) -> None:
    """Course, alert, sealed copy and the facts of the decision are the release's own."""
    node = branch(world)
    before = pleased(world, node, conversation="c2")
    node.personalisation.fit()
    after = pleased(world, node, conversation="c3")
    assert after["reading"]["label"] != before["reading"]["label"]
    names = ("label", "emotion", "confidence", "release", "text")
    kept, was = (sealed_copy(world, node, turn["turn"]) for turn in (after, before))
    assert {n: kept[n] for n in names} == {n: was[n] for n in names}
    told, was = after["conversation"], before["conversation"]
    assert told["level"] == was["level"]
    because = [[(m["cue"], m["strain"]) for m in one["because"]] for one in (told, was)]
    assert because[0] == because[1] != []
    assert after.get("alert") == before.get("alert")
    assert facts(node, after["decision"]) == facts(node, before["decision"])


def facts(node: NodeService, decision: str) -> Any:
    """Return what a decision considered, as a challenge would tell it."""
    found = next(
        e
        for e in node.log.find(EventKind.DECISION, 99)
        if e.event.fields["decision_id"] == decision
    )
    answer = node.keeper._answer(found.index)
    assert answer is not None
    return {name: answer[name] for name in ("request", "allowed", "rules")}


def test_decision_names_the_head_that_was_in_force(world: World) -> None:
    """The trace of a reading leads to the fit, by a digest, and from there to its batch."""
    node = branch(world)
    before = pleased(world, node)
    head = node.personalisation.fit()
    after = pleased(world, node)
    (link,) = links(node, after["decision"])
    assert link["digest"] == head.digest
    fitted = node.log.entry(link["index"]).event
    assert (fitted.kind, fitted.fields["digest"]) == (FITTED, head.digest)
    (batch,) = node.log.find(EventKind.BATCH_DECISION, 1)
    assert fitted.fields["decision_id"] == batch.event.fields["decision_id"]
    assert batch.event.fields["context"] == ["for=local-head"]
    assert not links(node, before["decision"])


def links(node: NodeService, decision: str) -> list[dict[str, Any]]:
    """Return the links of a decision's trace that name a local head."""
    leaves = [(e.index, e.leaf) for e in node.log.entries(0, node.log.size)]
    chain = trace(leaves, decision, Proofs(node.log.origin, node.log.receipt))
    return [link_to_dict(link) for link in chain if link.what is LinkKind.LOCAL_HEAD]


# --- who is in it -----------------------------------------------------------------------------


def test_gate_decides_who_is_in_it(world: World) -> None:
    """Who restricted processing is in no head, though their key is still there."""
    node = branch(world)
    world.trust.put(world.standing(PEOPLE[1], Purpose.TRAINING, restricted=True))
    node.keeper.poll()
    assert world.subject(PEOPLE[1]) in node.vault.trainable()
    people = node.personalisation.fit().people
    assert people == {world.subject(person) for person in PEOPLE} - {world.subject(PEOPLE[1])}


def test_person_is_told_what_was_made_of_them_and_stayed(world: World) -> None:
    """Asked what learned from them, a person hears of the local head, and of no release."""
    node = branch(world, *PEOPLE[:3])
    subject = world.subject(PEOPLE[1])
    assert node.own_data.learned(subject)["stayed_here"] == 0
    node.personalisation.fit()
    told = node.own_data.learned(subject)
    assert (told["stayed_here"], told["releases"], told["epsilon"]) == (1, [], 0.0)
    assert any("never leave" in sentence for sentence in told["words"])
    batch = node.own_data.uses(subject)["uses"][-1]
    assert (batch["action"], batch["round"]) == ("train", None)


def test_stopped_organisation_fits_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a stop the vault is not opened, and what could not be logged is not fitted."""
    node = branch(world)
    opened: list[object] = []

    def seen(**_: object) -> list[object]:
        opened.append(1)
        return []

    monkeypatch.setattr(node.vault, "open_batch", seen)
    world.trust.stopped = True
    world.now += 1
    node.keeper.poll()
    assert world.executor(node).post("/internal/personal").status_code == 403
    world.trust.stopped = False
    world.now += 1
    node.keeper.poll()

    def broken(*_: object) -> Any:
        raise EvidenceUnavailable("the disk is full")

    monkeypatch.setattr(node.log, "append_works", broken)
    with pytest.raises(EvidenceUnavailable):
        node.personalisation.fit()
    assert not opened


def test_no_gain_and_few_people_leave_the_same_traces(make_world: Callable[..., World]) -> None:
    """What the log says of a fit is the same whether it gained, gained nothing, or was of few."""
    seen = []
    for people, learnable in (
        (PEOPLE, True),
        (PEOPLE, False),
        (PEOPLE[:3], True),
        (PEOPLE[:1], True),
    ):
        world = make_world()
        node = branch(world, *people, learnable=learnable)
        size = node.log.size
        head = node.personalisation.fit()
        assert head.takes_part is (learnable and people is PEOPLE)
        told = pleased(world, node)["reading"]
        assert (told["local_head"] is None) is not head.takes_part
        entries = [node.log.entry(i).event for i in range(size, node.log.size)]
        seen.append([(e.kind, sorted(e.fields)) for e in entries])
    assert all(one == seen[0] for one in seen)
    assert "local_head_digest" in dict(seen[0])[EventKind.DECISION]


# --- nothing of it leaves ---------------------------------------------------------------------


@pytest.mark.promise(7)
def test_nothing_that_leaves_differs_with_a_local_head(make_world: Callable[..., World]) -> None:
    """With the noise held, each reply of a run is the same to the byte with a head and without.

    What the trust service is told of decisions is the same but for the log's own places.
    """
    world = make_world(plan_changes=dict(MEASURED))
    left = []
    for personal in (True, False):
        node = branch(world, folder=f"with-{personal}", personal=personal)
        if personal:
            assert node.personalisation.fit().takes_part
        hold_noise(node)
        answer = round_of(world, node, Held())
        left.append(
            {
                "enrolment": answer(world.ask_enrolment()),
                "round 1": answer(world.ask_round(1)),
                "evaluation": answer(world.ask_evaluation(2)),
                "other terms": answer(world.ask_round(3, fab_digest=Digest("e" * 64))),
                "release": answer(bundle(world)),
                "decision": facts(node, pleased(world, node, conversation="c9")["decision"]),
                "status": set(world.api(node).get("/v1/status").json()),
            }
        )
        node.close()
    assert left[0] == left[1]
    kinds = [json.loads(left[0][name])["kind"] for name in ("enrolment", "round 1", "evaluation")]
    assert kinds == ["ready", "update", "table"]


def test_digest_in_the_log_tells_nothing(world: World) -> None:
    """The same people give the same head under another digest: a guess cannot be tried on it."""
    node = branch(world)
    first, second = node.personalisation.fit(), node.personalisation.fit()
    assert weights_bytes(first.personal.weights) == weights_bytes(second.personal.weights)
    assert first.digest != second.digest
    said = str([node.log.entry(i).leaf for i in range(node.log.size)])
    assert str(first.personal.temperature) not in said
    assert "share" not in said


def test_file_is_noise_without_the_keystore(world: World) -> None:
    """A backup of the node's folder holds sealed bytes of its owner's alone, and no key."""
    node = branch(world)
    weights = weights_bytes(node.personalisation.fit().personal.weights)
    path = node.settings.folder / "local-head.sealed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in (p for p in node.settings.folder.iterdir() if p.is_file()):
        data = file.read_bytes()
        assert weights[-64:] not in data, file.name
        assert base64.b64encode(weights)[-64:] not in data, file.name
    assert b"weights" not in path.read_bytes()
