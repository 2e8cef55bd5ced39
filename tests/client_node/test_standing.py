"""Standing at the node: only what was signed, never older, obeyed at once."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import Session, select

from audit.errors import KeyDestroyed
from audit.events import EventKind
from audit.signing import SigningKey, seal, unseal
from client_node.errors import StandingRejected, VaultError
from client_node.service import NodeService
from client_node.standing_cache import StandingCache
from client_node.tables import StandingEnvelope, open_store
from policies.errors import PermitInvalid
from policies.vocabulary import NodeId, Purpose

BOTH = (Purpose.SERVICE, Purpose.TRAINING)


def cache_of(world: Any) -> StandingCache:
    """Open a cache by itself."""
    world.folder.mkdir(exist_ok=True)
    key = world.trust.key.verify_key
    return StandingCache(
        world.folder / "standing.db", node=NodeId("branch-1"), key=key, clock=world.clock
    )


def test_cache_refuses_what_the_trust_service_did_not_say(world: Any) -> None:
    """Wrong key, changed bytes, another node, the future and an older page are refused."""
    cache = cache_of(world)
    world.trust.put(world.standing("c", *BOTH))
    good = world.trust.envelope()
    other = seal(
        "standing",
        unseal("standing", good, world.trust.key.verify_key),
        SigningKey.generate("trust"),
    )
    bad = [
        other,
        good.replace(b'"stopped":false', b'"stopped":true'),
        world.trust.envelope(node="branch-2"),
        world.trust.envelope(issued_at=int(world.now) + 3600),
        world.trust.envelope(after=0, standings=[{"subject": "x"}]),
    ]
    for data in bad:
        with pytest.raises(StandingRejected):
            cache.apply(data)
        assert cache.sequence == 0
        assert cache.standing(world.subject("c")) is None
    cache.apply(good)
    world.trust.put(world.standing("c"))
    cache.apply(world.trust.envelope(after=1))
    with pytest.raises(StandingRejected, match="older"):
        cache.apply(good)
    cache.close()


def test_cache_keeps_refusing_older_pages_after_a_restart(world: Any) -> None:
    """What was applied survives a restart, and so does the order."""
    world.trust.put(world.standing("c", *BOTH))
    old = world.trust.envelope()
    world.trust.put(world.standing("c"))
    cache = cache_of(world)
    cache.apply(world.trust.envelope())
    cache.close()
    again = cache_of(world)
    assert again.sequence == 2
    known = again.standing(world.subject("c"))
    assert known is not None
    assert known.grants == ()
    with pytest.raises(StandingRejected, match="older"):
        again.apply(old)
    again.close()


def test_cache_refuses_a_row_that_was_changed_on_disk(world: Any) -> None:
    """An envelope edited in the database no longer verifies at the next start."""
    world.trust.put(world.standing("c"))
    cache = cache_of(world)
    cache.apply(world.trust.envelope())
    cache.close()
    engine = open_store(world.folder / "standing.db", [StandingEnvelope])
    with Session(engine) as session:
        row = session.exec(select(StandingEnvelope)).one()
        row.data = row.data.replace(b'"age":"adult"', b'"age":"minor"')
        session.add(row)
        session.commit()
    engine.dispose()
    with pytest.raises(StandingRejected):
        cache_of(world)


def test_fresh_page_vouches_for_all_unless_another_page_waits(world: Any) -> None:
    """`as_of` follows the newest whole answer; a first page of two vouches for nobody."""
    cache = cache_of(world)
    world.trust.put(world.standing("a", *BOTH))
    cache.apply(world.trust.envelope())
    first = cache.standing(world.subject("a"))
    world.now += 30
    cache.apply(world.trust.envelope(after=1, more=True))
    held = cache.standing(world.subject("a"))
    cache.apply(world.trust.envelope(after=1))
    fresh = cache.standing(world.subject("a"))
    assert first is not None
    assert held is not None
    assert fresh is not None
    assert (held.as_of, fresh.as_of) == (first.as_of, first.as_of + 30)
    cache.close()


def test_governance_is_that_of_the_newest_page_and_as_old_as_what_vouches(world: Any) -> None:
    """A stop counts with the page that brings it; its second is that of the last whole answer."""
    cache = cache_of(world)
    assert cache.governance is None
    cache.apply(world.trust.envelope())
    first = cache.governance
    assert first is not None
    world.trust.stopped = True
    world.now += 30
    cache.apply(world.trust.envelope(more=True))
    held = cache.governance
    cache.apply(world.trust.envelope())
    fresh = cache.governance
    assert held is not None
    assert fresh is not None
    assert [g.stopped for g in (first, held, fresh)] == [False, True, True]
    assert (held.as_of, fresh.as_of) == (first.as_of, first.as_of + 30)
    cache.close()


def turn_of(world: Any, node: NodeService, customer: str = "c") -> str:
    """Send a turn and return its id."""
    said = {"customer": customer, "conversation": "x", "text": "this is terrible service"}
    turn: str = world.api(node).post("/v1/turns", json=said).json()["turn"]
    return turn


def test_withdrawing_one_purpose_destroys_that_purposes_key_only(world: Any) -> None:
    """The copy for the withdrawn purpose is noise at once; the other stays (promise 3)."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    turn_of(world, node)
    subject = world.subject("c")
    world.trust.withdraw(
        world.standing("c", Purpose.SERVICE, withdrawn=frozenset({Purpose.TRAINING})),
        Purpose.TRAINING,
    )
    node.keeper.poll()
    assert node.vault.purposes_of(subject) == {"service", "evidence"}
    assert world.trust.acknowledged[-1]["keys_destroyed"] == 1
    event = node.log.find(EventKind.KEYS_DESTROYED, 1)[0].event
    assert (event.fields["reason"], event.fields["purpose"]) == ("withdrawal", "training")


def test_withdrawal_followed_by_a_new_grant_still_destroys(world: Any) -> None:
    """Keys of before go even where the person has consented again meanwhile."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    turn = turn_of(world, node)
    world.trust.withdraw(world.standing("c"), Purpose.TRAINING)
    world.trust.put(world.standing("c", *BOTH))
    node.keeper.poll()
    assert "training" not in node.vault.purposes_of(world.subject("c"))
    said = {"turn": turn, "label": "pleased", "provenance": "customer_rating"}
    assert world.api(node).post("/v1/labels", json=said).status_code == 404


def test_erasure_destroys_every_key_and_the_evidence(world: Any) -> None:
    """After erasure nothing of the person opens, and the log still verifies itself."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    turn_of(world, node)
    subject = world.subject("c")
    entry = node.log.find(EventKind.DECISION, 1)[0].index
    sealed = node.keystore.seal(subject, "service", b"yesterday", context=b"x")
    assert node.log.payload(entry) is not None
    world.trust.withdraw(world.standing("c", erased=True), None)
    node.keeper.poll()
    assert node.vault.purposes_of(subject) == set()
    assert node.log.payload(entry) is None
    assert node.log._store.payload(entry) is None  # not even as noise
    with pytest.raises(KeyDestroyed):
        node.keystore.open(subject, "service", sealed, context=b"x")
    assert world.trust.acknowledged[-1]["erased"] == [subject]


def test_permit_from_before_a_withdrawal_no_longer_stores(world: Any) -> None:
    """A turn under way while the person withdraws makes no new key."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    subject = world.subject("c")
    turn = turn_of(world, node)
    permit = node.pipeline._gate(world_turn(world)).train
    assert permit is not None
    node.vault.destroy([subject], Purpose.TRAINING, now=world.now)
    with pytest.raises(PermitInvalid, match="withdrawal"):
        node.vault.seal(turn, [(permit, b"x")], subject=subject, now=world.now)
    assert "training" not in node.vault.purposes_of(subject)


def world_turn(world: Any) -> Any:
    """Return a turn that was never sent."""
    from client_node.turn import Turn  # noqa: PLC0415 (only here)

    return Turn(subject=world.subject("c"), conversation="x", text="y")


def test_page_whose_keys_cannot_be_destroyed_is_asked_for_again(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure between applying and destroying repeats both; the gate is closed meanwhile."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    turn_of(world, node)
    world.trust.withdraw(world.standing("c", withdrawn=frozenset(BOTH)), Purpose.SERVICE)
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> int:
            raise VaultError("disk")

        broken.setattr(type(node.vault), "destroy", fail)
        with pytest.raises(VaultError):
            node.keeper.poll()
    assert node.cache.sequence == 1
    said = {"customer": "c", "conversation": "x", "text": "hello"}
    assert world.api(node).post("/v1/turns", json=said).json()["answer"] == "refused"
    node.keeper.poll()
    assert node.cache.sequence == 2
    assert "service" not in node.vault.purposes_of(world.subject("c"))


def test_keeper_answers_challenges_with_what_the_gate_saw(world: Any) -> None:
    """The node opens the challenged decisions so that the trust service can decide again."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open()
    turn_of(world, node)
    world.trust.challenge = [entry.index for entry in node.log.find(EventKind.DECISION, 9)] + [0]
    node.keeper.poll()
    answers = world.trust.acknowledged[-1]["answers"]
    assert len(answers) == len(world.trust.challenge) - 1  # the first entry is no decision
    assert answers[0]["request"]["subject"] == world.subject("c")
    assert answers[0]["allowed"] is True


def test_keeper_survives_a_trust_service_that_is_away(world: Any) -> None:
    """Nothing raised in the background ends the service; it is heard again later."""
    world.trust.put(world.standing("c", *BOTH))
    node = world.open(poll_s=0.01)
    world.trust.away = True
    node.start()
    world.trust.away = False
    node.keeper.stop()
    node.keeper.poll()
    assert world.api(node).get("/v1/status").json()["release"] is None
