"""Promise 9: a node loads a release only with signature, card, and proof that it was logged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlmodel import Session

from audit.events import EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal, unseal
from client_node.errors import StartRefused
from client_node.service import NodeService
from client_node.tables import LoadedRelease
from models.release import release_to_dict
from policies.vocabulary import Purpose
from tests.client_node.conftest import World
from tests.promises.town import events, says

pytestmark = pytest.mark.promise(9)


def forgeries(world: World, log: EvidenceLog, other_log: EvidenceLog) -> dict[str, bytes]:
    """Return bundles of which each lacks one thing that a published release has."""
    release = world.release(1, weights=world.angry_weights())
    good = unseal("release", world.publish(log, release), world.coordinator.verify_key)
    changed = release_to_dict(world.release(1, weights=world.angry_weights() / 2))
    older = unseal("release", world.publish(log, world.release(1)), world.coordinator.verify_key)

    def sealed(**changes: Any) -> bytes:
        return seal("release", good | changes, world.coordinator)

    return {
        "somebody else's signature": seal("release", good, SigningKey.generate("coordinator")),
        "changed bytes": flipped(seal("release", good, world.coordinator)),
        "changed weights, signed anew": sealed(release=changed),
        "no proof": sealed(proof=""),
        "no leaf": sealed(leaf=""),
        "proof of another release": sealed(proof=older["proof"], leaf=older["leaf"]),
        "another log": world.publish(other_log, release),
        "no card": sealed(release={k: v for k, v in good["release"].items() if k != "card"}),
    }


def flipped(bundle: bytes) -> bytes:
    """Return the bundle with one letter of its weights changed, and the signature kept."""
    assert bundle.count(b"AAAAAAAA") > 1  # zeros, in base64
    return bundle.replace(b"AAAAAAAA", b"AAAABAAA", 1)


FORGERIES = (
    "somebody else's signature",
    "changed bytes",
    "changed weights, signed anew",
    "no proof",
    "no leaf",
    "proof of another release",
    "another log",
    "no card",
)


def with_customer(world: World) -> NodeService:
    """Open a node that may read Anna."""
    world.trust.put(world.standing("anna", Purpose.SERVICE))
    return world.open()


def log_of_another(world: World) -> EvidenceLog:
    """Open a log that is not the coordinator's."""
    key = SigningKey.generate("coordinator")
    (world.folder / "elsewhere").mkdir()
    log = EvidenceLog(
        world.folder / "elsewhere" / "log.db", key, origin=key.name, clock=world.clock
    )
    world._opened.append(log)
    return log


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_was_not_published_is_not_loaded(world: World, forgery: str) -> None:
    """A bundle that lacks one thing is refused and logged, and no turn is read by it."""
    node = with_customer(world)
    bundle = forgeries(world, world.coordinator_log(), log_of_another(world))[forgery]
    reply = world.executor(node).post("/internal/releases", content=bundle).content
    assert json.loads(reply)["kind"] == "refusal"
    assert node.releases.current is None
    assert says(world.api(node), "anna")["answer"] == "abstained"
    assert len(events(node.log, EventKind.RELEASE_REFUSED)) == 1


def test_published_release_is_loaded_and_reads(world: World) -> None:
    """The same release with signature, card and proof is put in force, acknowledged and logged."""
    node = with_customer(world)
    release = world.release(1, weights=world.angry_weights())
    bundle = world.publish(world.coordinator_log(), release)
    reply = world.executor(node).post("/internal/releases", content=bundle).content
    said = unseal("release-loaded", reply, world.node_key.verify_key)
    assert said["release"] == "release-1"
    assert says(world.api(node), "anna")["reading"]["release"] == "release-1"
    assert len(events(node.log, EventKind.RELEASE_LOADED)) == 1


def test_release_changed_on_disk_stops_the_node(world: World) -> None:
    """What lies on the disk is verified again at the start, not believed."""
    node = with_customer(world)
    log = world.coordinator_log()
    bundles = forgeries(world, log, log_of_another(world))
    node.releases.load(world.publish(log, world.release(2)))
    with Session(node.releases._engine) as session:
        row = session.get_one(LoadedRelease, 1)
        row.bundle = bundles["changed weights, signed anew"]
        session.add(row)
        session.commit()
    node.close()
    with pytest.raises(StartRefused, match="not say that this release was published"):
        world.open()
