"""Pseudonyms under a key that changes: nobody becomes a stranger, nobody changes sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.events import EventKind
from client_node.errors import StartRefused
from client_node.pseudonym import key_id, pseudonym
from client_node.service import NodeService
from policies.standing import Standing, erased
from policies.vocabulary import Purpose
from tests.client_node.conftest import PSEUDONYM_KEY, World

NEXT_KEY = b"n" * 64
OLD, NEW = "knows us for years", "came today"
SAID = {"conversation": "c1", "text": "it is late again"}


def key_file(world: World, key: bytes, name: str) -> Path:
    """Write a key for its owner's eyes."""
    path = world.folder / name
    path.write_bytes(key)
    path.chmod(0o600)
    return path


def rotated(world: World, **changed: Any) -> NodeService:
    """Start the node with the next key, and the one of before beside it."""
    files = {
        "pseudonym_key_file": key_file(world, NEXT_KEY, "next.key"),
        "other_pseudonym_key_files": [world.folder / "pseudonym.key"],
    }
    return world.open(**(files | changed))


def under(key: bytes, standing: Standing, customer: str) -> Standing:
    """Return a standing under another key's pseudonym."""
    return replace(standing, subject=pseudonym(customer, key=key))


def known(world: World, customer: str = OLD, key: bytes = PSEUDONYM_KEY, **changed: Any) -> None:
    """Let somebody be known under a key's pseudonym."""
    standing = world.standing(customer, Purpose.SERVICE, **changed)
    world.trust.put(under(key, standing, customer))


def named(world: World, node: NodeService, customer: str) -> str:
    """Return the pseudonym that the branch is told."""
    answer = world.api(node).post("/v1/pseudonyms", json={"customer": customer})
    return str(answer.json()["subject"])


def test_who_is_known_keeps_their_pseudonym_and_new_people_get_the_new_keys(world: World) -> None:
    """With the next key named beside the one that makes them, and after the change-over."""
    known(world)
    before = world.open(other_pseudonym_key_files=[key_file(world, NEXT_KEY, "next.key")])
    assert named(world, before, NEW) == pseudonym(NEW, key=PSEUDONYM_KEY)
    world.close()
    node = rotated(world)
    assert named(world, node, OLD) == pseudonym(OLD, key=PSEUDONYM_KEY)
    assert named(world, node, NEW) == pseudonym(NEW, key=NEXT_KEY)


def test_objection_outlives_a_change_of_the_key(world: World) -> None:
    """Who said no under the old key is refused by rule 6 after the change, as before it."""
    known(world, objected=frozenset({Purpose.SERVICE}))
    answer = world.api(rotated(world)).post("/v1/turns", json=SAID | {"customer": OLD})
    assert answer.json()["answer"] == "refused"
    assert answer.json()["rules"] == ["r06-objected"]


def test_consent_is_given_under_the_name_that_another_branch_made_just_now(world: World) -> None:
    """While keys change, the node hears who is known before it names anybody."""
    node = rotated(world)
    known(world, NEW)
    said = {"customer": NEW, "purposes": ["service"], "modalities": ["text"], "notice_version": 1}
    more = {"act": "ticked_box", "age": "adult", "informed": True, "valid_days": 9}
    answer = world.api(node).post("/v1/consents", json=said | more | {"jurisdiction": "IE"})
    assert answer.status_code == 201, answer.text
    assert world.trust.received[-1][1]["subject"] == pseudonym(NEW, key=PSEUDONYM_KEY)


def test_key_that_was_used_is_not_forgotten_by_mistake(world: World) -> None:
    """Without it the start is refused by name, until it is retired in so many words."""
    known(world)
    world.open()
    world.close()
    alone = {"pseudonym_key_file": key_file(world, NEXT_KEY, "next.key")}
    with pytest.raises(StartRefused, match=key_id(PSEUDONYM_KEY)) as refused:
        world.open(**alone)
    assert "objections forgotten" in str(refused.value)
    assert PSEUDONYM_KEY.decode() not in str(refused.value)
    node = world.open(**alone, retired_pseudonym_keys=[key_id(PSEUDONYM_KEY)])
    assert named(world, node, OLD) == pseudonym(OLD, key=NEXT_KEY)
    started = [entry.event.fields for entry in node.log.find(EventKind.SERVICE_STARTED, 9)]
    assert {fields["pseudonym_key"] for fields in started} == {
        key_id(PSEUDONYM_KEY),
        key_id(NEXT_KEY),
    }


def test_nobody_changes_sides_when_the_key_changes(make_world: Any) -> None:
    """Who is held out is decided by the key with which the node began, however they are named."""
    world: World = make_world(policy_changes={"held_out": 0.5})
    people = [pseudonym(f"customer {number}", key=PSEUDONYM_KEY) for number in range(64)]
    node = world.open()
    first = [node.training.held_out.holds(one) for one in people]
    world.close()
    node = rotated(world)
    assert [node.training.held_out.holds(one) for one in people] == first
    assert len(set(first)) == 2
    world.close()
    gone = {
        "pseudonym_key_file": world.folder / "next.key",
        "retired_pseudonym_keys": [key_id(PSEUDONYM_KEY)],
    }
    with pytest.raises(StartRefused, match="held_out_key_file"):
        world.open(**gone)
    kept = world.open(**gone, held_out_key_file=world.folder / "pseudonym.key")
    assert [kept.training.held_out.holds(one) for one in people] == first


def test_node_that_begins_with_two_keys_says_which_one_splits(make_world: Any) -> None:
    """Nobody could tell from two keys which one had decided; it is asked for."""
    world: World = make_world(policy_changes={"held_out": 0.5})
    with pytest.raises(StartRefused, match="held_out_key_file"):
        rotated(world)
    rotated(world, held_out_key_file=world.folder / "pseudonym.key")


def test_customer_under_two_names_is_used_under_none_and_withdraws_from_both(world: World) -> None:
    """Nothing says which standing to obey; a withdrawal of everything makes them one again."""
    known(world)
    known(world, key=NEXT_KEY)
    node = rotated(world)
    api = world.api(node)
    answer = api.post("/v1/turns", json=SAID | {"customer": OLD})
    assert (answer.status_code, answer.json()["title"]) == (409, "Person twice")
    assert OLD not in answer.text
    assert api.post("/v1/withdrawals", json={"customer": OLD, "purpose": None}).status_code == 201
    both = {pseudonym(OLD, key=key) for key in (PSEUDONYM_KEY, NEXT_KEY)}
    told = {body["subject"] for path, body in world.trust.received if path == "/v1/withdrawals"}
    assert told == both
    for subject in both:
        world.trust.put(erased(subject, int(world.now)))
    node.keeper.poll()
    assert api.post("/v1/turns", json=SAID | {"customer": OLD}).json()["answer"] == "refused"


def test_record_that_was_changed_is_not_believed(world: World) -> None:
    """One line says to restore it."""
    world.open()
    world.close()
    (world.folder / "state" / "pseudonym-keys.json").write_text('{"keys": 1}')
    with pytest.raises(StartRefused, match="restore it"):
        world.open()
