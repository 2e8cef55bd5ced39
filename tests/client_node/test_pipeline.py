"""A turn of conversation: what is read, what is kept, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.errors import EvidenceUnavailable
from audit.events import EventKind
from client_node.errors import TurnUnknown
from client_node.redaction import Redaction
from client_node.service import NodeService
from policies.vocabulary import Purpose

TEXT = "My name is Zebulon Quackenbush and I am furious, order 99887766 never came!"
CUSTOMER = "customer-4711-zebulon"
BOTH = (Purpose.SERVICE, Purpose.TRAINING)


class ForbiddenRedactor:
    """Fails the test when a text reaches redaction."""

    def redact(self, text: str) -> Redaction:
        """Fail."""
        raise AssertionError(f"a refused text of {len(text)} characters was read")


def say(world: Any, node: NodeService, **changed: Any) -> Any:
    """Send a turn."""
    said = {"customer": CUSTOMER, "conversation": "c1", "text": TEXT} | changed
    return world.api(node).post("/v1/turns", json=said)


def opened(world: Any, *purposes: Purpose, **changed: Any) -> NodeService:
    """Open a node that knows the customer."""
    world.trust.put(world.standing(CUSTOMER, *purposes, **changed))
    node: NodeService = world.open()
    return node


def test_turn_reads_and_seals_for_each_purpose_the_person_chose(world: Any) -> None:
    """With consent to both purposes a turn is read, redacted and sealed once for each."""
    node = opened(world, *BOTH)
    node.releases.load(
        world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
    )
    answer = say(world, node, show_redacted=True).json()
    assert answer["answer"] == "reading"
    assert answer["reading"]["label"] == "frustrated"
    assert answer["reading"]["says"] == "expressed cues of frustrated"
    assert answer["sealed_for"] == ["service", "training"]
    assert "Zebulon" not in answer["text_redacted"]
    assert "99887766" not in answer["text_redacted"]
    assert answer["redacted"]["NAME"] == 1


@pytest.mark.parametrize(
    ("purposes", "kind", "sealed"),
    [
        (BOTH, "abstained", ["service", "training"]),
        ((Purpose.SERVICE,), "abstained", ["service"]),
        ((Purpose.TRAINING,), "stored", ["training"]),
        ((), "refused", []),
    ],
)
def test_turn_keeps_only_what_each_consent_names(
    world: Any, purposes: tuple[Purpose, ...], kind: str, sealed: list[str]
) -> None:
    """A copy exists for exactly the purposes that the person chose, and no other."""
    node = opened(world, *purposes)
    answer = say(world, node).json()
    assert (answer["answer"], answer["sealed_for"]) == (kind, sealed)
    assert node.vault.purposes_of(world.subject(CUSTOMER)) - {"evidence"} == set(sealed)


def test_refused_turn_is_not_even_read(make_world: Callable[..., Any]) -> None:
    """Where the gate says no to everything, the words never reach redaction (promise 2)."""
    world = make_world()
    world.redactor = ForbiddenRedactor()
    answer = say(world, opened(world)).json()
    assert answer["answer"] == "refused"
    assert "r04-no-consent" in answer["rules"]
    assert answer["reasons"]
    assert answer["statutes"]


@pytest.mark.parametrize("channel", ["agent", "mixed"])
def test_turn_of_an_agent_or_mixed_channel_is_refused_unread(
    make_world: Callable[..., Any], channel: str
) -> None:
    """Agents are never measured, whatever the customer consented to (promise 4)."""
    world = make_world()
    world.redactor = ForbiddenRedactor()
    assert say(world, opened(world, *BOTH), channel=channel).json()["answer"] == "refused"


def test_turn_is_not_read_when_the_log_cannot_record(make_world: Callable[..., Any]) -> None:
    """Without durable evidence there is no permit, and nothing is read (promise 1)."""
    world = make_world()
    node = opened(world, *BOTH)
    node.log.close()
    answer = say(world, node)
    assert answer.status_code == 503
    with pytest.raises(EvidenceUnavailable):
        node.log.append(node.log.find(EventKind.SERVICE_STARTED, 1)[0].event)


@pytest.mark.parametrize(
    ("text", "status"), [("", 422), ("  \n", 422), ("x" * 16_385, 413), ("é" * 8_193, 413)]
)
def test_turn_outside_the_limits_is_refused_by_size(world: Any, text: str, status: int) -> None:
    """Empty and oversized texts are refused before the gate is asked; the refusal is recorded."""
    node = opened(world, *BOTH)
    before = node.log.size
    assert say(world, node, text=text).status_code == status
    recorded = [node.log.entry(i).event.kind for i in range(before, node.log.size)]
    assert recorded == [EventKind.INPUT_REFUSED]


def test_turn_in_broken_encoding_is_a_bad_request(world: Any) -> None:
    """Bytes that are not UTF-8, and lone surrogates, answer 400."""
    api = world.api(opened(world, *BOTH))
    broken = b'{"customer": "c", "conversation": "c", "text": "\xff"}'
    lone = b'{"customer": "c", "conversation": "c", "text": "\\ud800"}'
    for body in (broken, lone):
        answer = api.post("/v1/turns", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text


def test_turn_leaves_no_personal_text_on_disk(world: Any, tmp_path: Path) -> None:
    """After a turn no file of the node holds the customer's id, name or words (promise 2)."""
    node = opened(world, *BOTH)
    turn = say(world, node, show_redacted=True, explain=True).json()["turn"]
    world.api(node).post(
        "/v1/labels",
        json={"turn": turn, "label": "frustrated", "provenance": "customer_rating"},
    )
    node.close()
    for path in (tmp_path / "node" / "state").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        for secret in (CUSTOMER, "Zebulon", "Quackenbush", "furious", "99887766", "never came"):
            assert secret.encode() not in data, (path.name, secret)
            assert secret.lower().encode() not in data.lower(), (path.name, secret)


def test_refused_answer_repeats_nothing_of_the_turn(world: Any) -> None:
    """A refusal, and an error, name no word and no customer."""
    node = opened(world)
    for answer in (
        say(world, node),
        say(world, node, setting="nowhere"),
        say(world, node, text=""),
    ):
        for secret in (CUSTOMER, "Zebulon", "furious"):
            assert secret not in answer.text


def test_stale_standing_closes_the_gate_and_fresh_standing_opens_it(world: Any) -> None:
    """Where the trust service is not heard, standing ages until nothing is read (promise 11)."""
    node = opened(world, *BOTH)
    assert say(world, node).json()["answer"] != "refused"
    world.now += 61
    assert "r06-standing-stale" in say(world, node).json()["rules"]
    node.keeper.poll()
    assert say(world, node).json()["answer"] != "refused"


def test_service_copy_is_not_used_after_a_day(world: Any) -> None:
    """A reading lives for one session of at most 24 hours, then it is deleted (rule 16)."""
    node = opened(world, *BOTH)
    turn = say(world, node).json()["turn"]
    world.now += 86_401
    node.keeper.poll()
    api = world.api(node)
    assert api.post("/v1/uses/upsell", json={"turn": turn}).status_code == 404
    assert node.vault.expire(Purpose.SERVICE, before=world.now - 86_400) == 1
    assert node.vault.owner(turn) == world.subject(CUSTOMER)  # the training copy stays
    with pytest.raises(TurnUnknown):
        node.vault.owner("no-such-turn")


def test_label_must_be_one_the_policy_maps(world: Any) -> None:
    """An unknown label is refused with the list of known ones; a known one is recorded."""
    node = opened(world, *BOTH)
    turn = say(world, node).json()["turn"]
    said = {"turn": turn, "label": "grumpy", "provenance": "customer_rating"}
    api = world.api(node)
    answer = api.post("/v1/labels", json=said)
    assert answer.status_code == 422
    assert "frustrated, pleased" in answer.json()["detail"]
    assert api.post("/v1/labels", json=said | {"label": "pleased"}).status_code == 200
    assert node.vault.trainable() == {world.subject(CUSTOMER)}
    assert api.post("/v1/labels", json=said | {"provenance": "agent_score"}).status_code == 422


def test_label_needs_a_training_copy(world: Any) -> None:
    """A turn that is not kept for training cannot be labelled for it."""
    node = opened(world, Purpose.SERVICE)
    turn = say(world, node).json()["turn"]
    said = {"turn": turn, "label": "pleased", "provenance": "customer_rating"}
    assert world.api(node).post("/v1/labels", json=said).status_code == 403


def test_turn_in_another_language_is_not_read(world: Any) -> None:
    """A release that would have an answer has none for German, and says why."""
    node = opened(world, *BOTH)
    node.releases.load(
        world.publish(world.coordinator_log(), world.release(1, weights=world.angry_weights()))
    )
    german = "Ich warte seit drei Wochen auf meine Bestellung und niemand antwortet mir."
    answer = say(world, node, text=german, explain=True).json()
    assert answer["answer"] == "abstained"
    assert answer["reading"]["because"] == "language"
    assert answer["reading"]["emotion"] is None
    assert "why" not in answer
    assert answer["sealed_for"] == ["service"]
    assert say(world, node).json()["reading"]["because"] is None
