"""The feed of standing: whose people, how fresh, in which order, and who may ask."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlmodel import select

from audit.errors import SignatureInvalid
from audit.signing import SigningKey, unseal
from consent.bell import Bell
from consent.errors import LedgerUnavailable
from consent.tables import CheckpointRow


def test_feed_never_names_another_companys_people(world: Any) -> None:
    """Each company's nodes hear of its own people, and of nobody else's."""
    world.grant("alice", node="north")
    world.grant("zoe", node="rival")
    world.as_node("rival", "POST", "/v1/withdrawals", {"subject": "zoe", "purpose": "service"})
    for node, people in (("north", {"alice"}), ("south", {"alice"}), ("rival", {"zoe"})):
        page = world.feed(node)
        assert {standing["subject"] for standing in page["standings"]} == people
        assert {entry["subject"] for entry in page["withdrawn"]} <= people
        assert page["node"] == node


def test_feed_is_incremental_by_sequence(world: Any) -> None:
    """Asked after the last sequence, the feed has only what changed since."""
    world.grant("alice")
    first = world.feed()
    assert world.feed(after=first["sequence"])["standings"] == []
    world.grant("bob")
    later = world.feed(after=first["sequence"])
    assert [standing["subject"] for standing in later["standings"]] == ["bob"]
    assert later["after"] == first["sequence"] < later["sequence"]


def test_feed_without_news_is_freshly_dated(world: Any) -> None:
    """An envelope with nothing new still vouches at its own second."""
    world.grant("alice")
    first = world.feed()
    world.clock.now += 100
    later = world.feed(after=first["sequence"])
    assert later["issued_at"] == first["issued_at"] + 100
    assert later["governance"]["as_of"] == later["issued_at"]
    assert later["sequence"] == first["sequence"]


def test_feed_dates_every_standing_at_the_envelope(world: Any) -> None:
    """A standing's as_of is the second at which the service vouched for it."""
    world.grant("alice")
    world.clock.now += 50
    page = world.feed()
    assert [standing["as_of"] for standing in page["standings"]] == [page["issued_at"]]


def test_feed_comes_in_pages(make_world: Any) -> None:
    """More changes than fit come page by page, `more` on all but the last."""
    world = make_world(most_changes=2)
    world.publish()
    world.enrol("north", "acme")
    for name in ("a", "b", "c", "d"):
        world.grant(name)
    page = world.feed()
    flags, people = [page["more"]], {s["subject"] for s in page["standings"]}
    while flags[-1]:
        page = world.feed(after=page["sequence"])
        flags.append(page["more"])
        people |= {s["subject"] for s in page["standings"]}
    assert people == {"a", "b", "c", "d"}
    assert flags == [True, True, False]


def test_feed_is_sealed_by_the_service(world: Any) -> None:
    """An envelope with one changed byte does not open."""
    world.grant("alice")
    envelope = world.as_node("north", "GET", "/v1/standing?after=0&wait_s=0").content
    forged = envelope.replace(b'"erased":false', b'"erased":true')
    assert forged != envelope
    with pytest.raises(SignatureInvalid):
        unseal("standing", forged, world.service.key.verify_key)


def test_feed_carries_stop_and_dpias(world: Any) -> None:
    """What the officer decrees is in the next envelope, with a higher sequence."""
    before = world.feed()
    assert before["governance"]["dpia_purposes"] == ["handover", "service", "training"]
    assert not before["governance"]["stopped"]
    world.decree("stop", stopped=True, by="officer")
    after = world.feed(after=before["sequence"])
    assert after["governance"]["stopped"]
    assert after["sequence"] > before["sequence"]


def test_long_poll_wakes_at_a_withdrawal(world: Any) -> None:
    """A waiting node is answered by the withdrawal, long before its wait is over."""
    token = world.grant("alice").json()["manage_token"]
    sequence = world.feed()["sequence"]
    path = f"/v1/standing?after={sequence}&wait_s=20"

    async def wait_and_withdraw() -> bytes:
        waiting = asyncio.create_task(
            world.send_async("GET", path, b"", world.signed("north", "GET", path))
        )
        while not world.service.bell._listeners:  # noqa: ASYNC110 (nobody tells who listens)
            await asyncio.sleep(0)
        body = json.dumps({"manage_token": token, "purpose": "service"}).encode()
        assert (await world.send_async("POST", "/v1/withdrawals", body)).status_code == 201
        return bytes((await asyncio.wait_for(waiting, 10)).content)

    page = unseal("standing", asyncio.run(wait_and_withdraw()), world.service.key.verify_key)
    assert page["standings"][0]["withdrawn"] == ["service"]


def test_bell_wakes_only_the_company_concerned() -> None:
    """Another company's news leaves a listener waiting; the officer's wakes everybody."""

    async def listen() -> tuple[bool, bool]:
        bell = Bell()
        with bell.listen("acme") as heard:
            bell.ring("other")
            await asyncio.sleep(0)
            before = heard.is_set()
            bell.ring(None)
            await asyncio.sleep(0)
            return before, heard.is_set()

    assert asyncio.run(listen()) == (False, True)


def test_request_of_an_unknown_key_is_refused(world: Any) -> None:
    """Nobody who is not enrolled hears anything."""
    world.keys["stranger"] = SigningKey.generate("stranger")
    assert world.as_node("stranger", "GET", "/v1/standing?after=0").status_code == 401


def test_request_signed_by_another_key_of_the_same_name_is_refused(world: Any) -> None:
    """A name is not enough: the signature must be the enrolled key's."""
    world.keys["north"] = SigningKey.generate("north")
    assert world.as_node("north", "GET", "/v1/standing?after=0").status_code == 401
    assert world.grant("alice").status_code == 401


def test_request_without_signature_is_refused(world: Any) -> None:
    """Standing, grants, acknowledgements and decisions are for signed requests alone."""
    for method, path in (
        ("GET", "/v1/standing?after=0"),
        ("POST", "/v1/grants"),
        ("POST", "/v1/acknowledgements"),
        ("POST", "/v1/decisions"),
    ):
        assert world.send(method, path, b"{}").status_code == 401


def test_request_replayed_is_refused(world: Any) -> None:
    """The very same signed request is good once."""
    body = b"{}"
    headers = world.signed("north", "GET", "/v1/standing?after=0")
    assert world.send("GET", "/v1/standing?after=0", b"", headers).status_code == 200
    assert world.send("GET", "/v1/standing?after=0", b"", headers).status_code == 401
    moved = world.signed("north", "POST", "/v1/acknowledgements", body)
    assert world.send("POST", "/v1/grants", body, moved).status_code == 401


def test_request_with_another_query_is_refused(world: Any) -> None:
    """The signature covers the query: nobody between can rewind a feed."""
    headers = world.signed("north", "GET", "/v1/standing?after=5")
    assert world.send("GET", "/v1/standing?after=0", b"", headers).status_code == 401


def test_request_signed_too_long_ago_is_refused(world: Any) -> None:
    """A signed request is good for a minute around its time."""
    headers = world.signed("north", "GET", "/v1/standing?after=0")
    world.clock.now += 61
    assert world.send("GET", "/v1/standing?after=0", b"", headers).status_code == 401


def test_checkpoints_that_come_together_are_all_kept(world: Any) -> None:
    """Nodes that acknowledge at once are each kept, and a shrunk log among them is an alarm."""
    ledger = world.service.ledger
    rows = [
        CheckpointRow(
            node="north", sequence=n, size=n, note=f"n{n}", received_at=0.0, shrunk=n == 7
        )
        for n in range(1, 31)
    ]
    before = ledger.alarms()
    with ThreadPoolExecutor(len(rows)) as nodes:
        list(nodes.map(ledger.add_checkpoint, rows))
    with ledger.reading() as session:
        kept = {row.note for row in session.exec(select(CheckpointRow))}
    assert kept >= {f"n{n}" for n in range(1, 31)}
    assert ledger.alarms() == before + 1


def test_checkpoints_that_cannot_be_kept_are_told_to_each_node(world: Any) -> None:
    """No node takes its acknowledgement for kept where the ledger did not keep it."""
    ledger = world.service.ledger
    row = CheckpointRow(node="none", sequence=1, size=1, note="x", received_at=0.0, shrunk=False)
    with pytest.raises(LedgerUnavailable):
        ledger.add_checkpoint(row)  # no such node is enrolled
