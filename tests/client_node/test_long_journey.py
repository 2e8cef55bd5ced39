"""A journey of thousands of turns: read in few batches, told in pages, each under the gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import Session

from audit.events import EventKind
from audit.keystore import Keystore
from client_node.service import NodeService
from client_node.story import KeptReading, Story, story_to_dict
from client_node.tables import SealedRecord
from client_node.uses.customer_desk import COUNTED, SHOWN
from client_node.vault import _context
from policies.errors import PermitInvalid
from policies.vocabulary import Purpose
from tests.client_node.test_alerts import CUSTOMER, HELP, angry_node, say

MANY = 2_500
OTHER = "customer-0815"


def keep(node: NodeService, customer: str, conversations: list[str]) -> list[str]:
    """Keep a turn of each named conversation, in this order, in one write; return the turns."""
    subject, at = node.people.subject(customer), int(node.pipeline.clock())
    turns = [f"{customer}-{number:05}" for number in range(len(conversations))]
    copy = {"text": "late", "label": "frustrated", "emotion": "anger", "confidence": 0.9}
    with Session(node.vault._records._engine) as session:
        for turn, conversation in zip(turns, conversations, strict=True):
            kept = copy | {"conversation": conversation, "read_at": at, "valence": -0.5}
            session.add(
                SealedRecord(
                    turn=turn,
                    purpose=Purpose.SERVICE,
                    subject=subject,
                    created_at=at,
                    sealed=node.vault._sealing(
                        subject,
                        Purpose.SERVICE,
                        json.dumps(kept).encode(),
                        _context(turn, Purpose.SERVICE),
                    ),
                )
            )
        session.commit()
    return turns


def ask(world: Any, node: NodeService, **changed: Any) -> Any:
    """Ask for the journey."""
    return world.api(node).post("/v1/journeys", json={"customer": CUSTOMER} | changed)


def pages(world: Any, node: NodeService, **changed: Any) -> Iterator[dict[str, Any]]:
    """Return the answers, from the newest to the oldest."""
    told = ask(world, node, **changed).json()
    yield told
    while told["older"] is not None:
        told = ask(world, node, before=told["older"], **changed).json()
        yield told


def shown(told: dict[str, Any]) -> list[str]:
    """Return the turns of one answer."""
    return [cue["turn"] for part in told["timeline"] for cue in part["cues"]]


def test_pages_tell_every_turn_once_in_order(world: Any, monkeypatch: Any) -> None:
    """However many there are, an answer opens and shows so many, in one batch, by two decisions."""
    node = angry_node(world, *HELP)
    turns = keep(node, CUSTOMER, ["c1"] * MANY)
    batches, decided = [], len(node.log.find(EventKind.DECISION))
    open_many = Keystore.open_many

    def counted(keystore: Keystore, items: Any) -> Any:
        batches.append(len(items))
        return open_many(keystore, items)

    monkeypatch.setattr(Keystore, "open_many", counted)
    monkeypatch.setattr(Keystore, "open", None)
    told = list(pages(world, node))
    assert [turn for page in reversed(told) for turn in shown(page)] == turns
    assert max(len(shown(page)) for page in told) == SHOWN
    assert len(told) == len(batches) == -(-MANY // SHOWN)
    assert max(batches) == COUNTED
    assert len(node.log.find(EventKind.DECISION)) == decided + 2 * len(told)
    assert max(len(json.dumps(page)) for page in told) < 200 * SHOWN
    assert told[0]["satisfaction"]["turns"] == COUNTED
    assert not any({"satisfaction", "signals"} & page.keys() for page in told[1:])


def test_conversation_behind_many_turns_is_still_found(world: Any) -> None:
    """Where the newest batch has nothing of it, the answer says so, and where to go on."""
    node = angry_node(world, *HELP)
    turns = keep(node, CUSTOMER, ["old"] * 5 + ["new"] * (COUNTED + 10))
    told = list(pages(world, node, conversation="old"))
    assert [shown(page) for page in told] == [[], turns[:5]]
    assert told[0]["satisfaction"] is None
    assert told[0]["signals"] == []


def test_older_turns_need_a_yes_of_their_own(world: Any) -> None:
    """Who withdraws between two pages is told of no further; nor by another's or no turn."""
    node = angry_node(world, *HELP)
    world.trust.put(world.standing(OTHER, *HELP))
    node.keeper.poll()
    older = keep(node, CUSTOMER, ["c1"] * 5)[-1]
    others = say(world, node, customer=OTHER)["turn"]
    for unknown in (others, "never"):
        answer = ask(world, node, before=unknown)
        assert answer.status_code == 404
        assert "ask without it" in answer.json()["detail"]
    assert len(shown(ask(world, node, before=older).json())) == 4
    world.trust.away = True
    node.people.withdraw(CUSTOMER, Purpose.AGENT_HELP)
    refused = ask(world, node, before=older).json()
    assert refused["answer"] == "refused"
    assert not {"timeline", "older"} & refused.keys()


def test_batch_is_opened_for_its_person_in_its_seconds(world: Any) -> None:
    """A permit for one person opens nobody else's turns, and none when its time is over."""
    node = angry_node(world, *HELP)
    world.trust.put(world.standing(OTHER, *HELP))
    node.keeper.poll()
    keep(node, CUSTOMER, ["c1"])
    mine, other = node.people.subject(CUSTOMER), node.people.subject(OTHER)
    desk = node.room.customers.desk
    permit = desk.reading_permit(mine)
    asked: dict[str, Any] = {"before": None, "limit": 9, "permit": permit}
    assert len(node.vault.open_newest(mine, now=world.now, **asked)) == 1
    for subject, now in ((other, world.now), (mine, permit.expires_at + 1)):
        with pytest.raises(PermitInvalid):
            node.vault.open_newest(subject, now=now, **asked)


def test_signal_names_the_newest_conversations_and_no_end_of_them() -> None:
    """A signal that rests on hundreds of conversations names the last few."""
    read = tuple(
        KeptReading(
            turn=str(number),
            at=number,
            conversation=f"c{number // 2}",
            label=None,
            emotion=None,
            confidence=None,
            valence=-0.5,
        )
        for number in range(COUNTED)
    )
    told = story_to_dict(Story(read=read, shown=read[-SHOWN:]))
    for raised in told["signals"]:
        assert raised["conversations"] == [f"c{number}" for number in range(480, 500)]
    assert [raised["signal"] for raised in told["signals"]] == ["reopening", "leaving"]
