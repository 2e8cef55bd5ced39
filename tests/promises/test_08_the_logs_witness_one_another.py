"""Promise 8: the three logs witness one another: cutting, putting back and forking are found."""

from __future__ import annotations

import base64
import io
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from audit.auditor import Auditor
from audit.cosignature import verify_cosignature
from audit.errors import LogTampered, Tampering
from audit.events import Event, EventKind, Value
from audit.exchange import Exchange
from audit.log import EvidenceLog
from audit.receipt import open_receipt
from audit.signing import SigningKey, VerifyKey
from audit.witnessing import Witnessing, origin_hash
from client_node.errors import StartRefused
from client_node.parts import Parts
from client_node.service import NodeService
from consent.api import create_app
from consent.service import TrustService
from coordinator.api import create_courier_app
from coordinator.courier import CourierQueue
from coordinator.gateway import AccessLog, Gateway
from coordinator.governance_keeper import TrustClient
from tests.promises.town import Branch, InProcess, Town, consents

pytestmark = pytest.mark.promise(8)

URL = "https://gateway.invalid"


@dataclass
class Watched(Branch):
    """A branch that reaches the coordinator's gateway."""

    gateway: InProcess | None = None

    def parts(self) -> Parts:
        """Return the small parts, with the real gateway behind the second client."""
        return replace(super().parts(), gateway_transport=self.gateway)


class ThroughGateway(InProcess):
    """Carry a node's calls through the product's gateway to the coordinator's own socket app."""

    def __init__(self, witnessing: Witnessing) -> None:
        self.witnessing = witnessing
        self.away = False
        self.carried = []

    async def _ask(self, request: httpx.Request, body: bytes) -> httpx.Response:
        queue = CourierQueue(dict, grace_s=1.0)
        own = httpx.ASGITransport(app=create_courier_app(queue, witnessing=self.witnessing))
        nobody = httpx.MockTransport(lambda _: httpx.Response(599))
        async with (
            httpx.AsyncClient(transport=own, base_url="http://coordinator") as witness,
            httpx.AsyncClient(transport=nobody, base_url="https://superlink") as upstream,
        ):
            self.app: Any = Gateway(
                upstream, AccessLog(io.StringIO(), lambda: 0.0), witness=witness
            )
            return await super()._ask(request, body)


class Centre:
    """A coordinator's log, its witnessing, and the way to both."""

    def __init__(self, town: Town, folder: Path, key: SigningKey) -> None:
        self.key, self.path = key, folder / "log.db"
        keys = {"trust": town.trust.service.key.verify_key}
        self.log = EvidenceLog(self.path, key, origin=key.name, clock=town.clock)
        self.witnessing = Witnessing(
            folder / "witness.db",
            self.log,
            clock=town.clock,
            find_log=lambda _: None,
            find_witness=lambda name: keys.get(name) or _node_key(town, name),
        )
        self.carrier = ThroughGateway(self.witnessing)

    def does(self, number: int) -> None:
        """Record something."""
        fields: dict[str, Value] = {"run": f"run-{number}", "plan_digest": "a" * 64}
        self.log.append(Event(kind=EventKind.RUN_STARTED, at=1.0, fields=fields))

    def close(self) -> None:
        """Close both."""
        self.witnessing.close()
        self.log.close()


def _node_key(town: Town, name: str) -> VerifyKey | None:
    keys = {branch.node_key.name: branch.node_key.verify_key for branch in town.branches}
    return keys.get(name)


@pytest.fixture
def centre(town: Town) -> Iterator[Centre]:
    """Return a coordinator, enrolled at the trust service."""
    town.trust.keys["coordinator"] = town.coordinator
    assert town.trust.enrol("coordinator", "coordinator").status_code == 201
    made = Centre(town, town.folder / "centre", town.coordinator)
    made.does(0)
    yield made
    made.close()


@pytest.fixture
def branch(town: Town, centre: Centre) -> Watched:
    """Return a branch that knows the trust service and the gateway."""
    changed = {"connections": frozenset({"trust.test:8443", "gateway.invalid:443"})}
    made = town.branch(kind=Watched, gateway=centre.carrier, policy_changes=changed)
    assert isinstance(made, Watched)
    made.settings_values |= {"coordinator_url": URL, "witness_s": 1.0}
    return made


def _copy(log: Path, to: Path) -> Path:
    """Copy a log's file as it is now, while it is open."""
    with closing(sqlite3.connect(log)) as source:
        source.execute("VACUUM INTO ?", (str(to),))
    return to


def submit(town: Town, centre: Centre) -> int:
    """Let the coordinator have its log cosigned by the trust service, over its real client."""
    client = TrustClient(
        "https://trust.invalid",
        authority=None,
        key=centre.key,
        clock=town.clock,
        transport=town.carrier,
    )
    exchange = Exchange(centre.witnessing, clock=town.clock)
    with closing(client):
        return exchange.submit(client, town.trust.service.key.verify_key)


def opened(town: Town, branch: Watched) -> NodeService:
    """Open the branch, let it record a consent, and let everybody meet."""
    node = branch.open()
    consents(branch.api(node), "anna")
    later(town, node)
    return node


def later(town: Town, node: NodeService) -> None:
    """Let a while pass and the node poll."""
    town.pass_time(5)
    node.keeper.poll()
    node.witnesses.meet_when_due()


def test_each_log_has_the_cosignatures_of_its_witnesses(
    town: Town, centre: Centre, branch: Watched
) -> None:
    """Trust service over node and coordinator, node over trust service and coordinator."""
    node = opened(town, branch)
    assert submit(town, centre) == centre.log.size
    trust, node_key = town.trust.service, branch.node_key.verify_key
    pairs = (
        (node.witnesses.witnessing, trust.key.verify_key),
        (trust.witnessing, node_key),
        (centre.witnessing, trust.key.verify_key),
        (centre.witnessing, node_key),
    )
    for witnessing, witness in pairs:
        note = witnessing.cosigned()
        assert note is not None
        assert verify_cosignature(note, witness) > 0
    seen = trust.witnessing.witness.checkpoint(origin_hash(node.log.origin))
    assert node.witnesses.witnessing.cosigned() == seen
    assert node.witnesses.status()["alarms"] == []
    assert trust.health()["alarms"] == 0


def test_what_the_gateway_carries_is_the_fleet_and_witnesses_alone(
    town: Town, centre: Centre, branch: Watched
) -> None:
    """The node reached the coordinator by two paths, and both are the witness's."""
    opened(town, branch)
    assert set(centre.carrier.carried) == {
        "GET /v1/witness/request",
        "POST /v1/witness/cosignatures",
    }


def test_size_of_a_branchs_log_is_told_to_nobody_else(
    town: Town, centre: Centre, branch: Watched
) -> None:
    """How busy a branch is stays private: of its checkpoint others get what nobody's log gets."""
    node = opened(town, branch)
    submit(town, centre)
    town.branch("branch-2")
    path = f"/v1/witness/{origin_hash(node.log.origin)}/checkpoint"
    answers = {
        name: town.trust.as_node(name, "GET", path).status_code
        for name in ("branch-1", "branch-2", "coordinator")
    }
    assert answers == {"branch-1": 200, "branch-2": 404, "coordinator": 404}
    assert town.trust.send("GET", path).status_code == 404
    shared = f"/v1/witness/{origin_hash('coordinator')}/checkpoint"
    assert town.trust.send("GET", shared).status_code == 200


def test_receipt_of_the_trust_service_has_a_nodes_word(town: Town, branch: Watched) -> None:
    """Whoever asks the trust service for an entry gets a proof that a node vouches for."""
    node = opened(town, branch)
    later(town, node)
    answer = town.trust.send("GET", "/v1/log/0").json()
    leaf = base64.b64decode(answer["leaf"])
    witnesses = [branch.node_key.verify_key]
    key = town.trust.service.key.verify_key
    assert open_receipt(answer["receipt"], leaf, key, witnesses=witnesses, at_least=1)[0] == 0


def test_node_with_an_old_backup_does_not_start(town: Town, branch: Watched) -> None:
    """A node whose log was put back learns it from its witness, before it records anything."""
    node = branch.open()
    node.close()
    old = town.folder / "old.db"
    shutil.copy(branch.folder / "state" / "log.db", old)
    opened(town, branch).close()
    for file in (branch.folder / "state").glob("log.db*"):
        file.unlink()
    shutil.copy(old, branch.folder / "state" / "log.db")
    town.pass_time(5)
    with pytest.raises(StartRefused, match="a witness has our checkpoint"):
        branch.open()


def test_trust_service_with_an_old_backup_is_named_by_the_node(town: Town, branch: Watched) -> None:
    """The log of the service that witnesses everybody is itself held against the nodes' memory."""
    old = _copy(town.folder / "trust" / "log.db", town.folder / "old.db")
    for purpose in ("service", "training", "handover", "service"):
        town.trust.approve(purpose, dpia=f"dpia-{purpose}")
    node = opened(town, branch)
    assert node.witnesses.status()["witnessed"]["trust"] == town.trust.service.log.size
    town.trust.service.close()
    for file in (town.folder / "trust").glob("log.db*"):
        file.unlink()
    shutil.copy(old, town.folder / "trust" / "log.db")
    town.trust.service = TrustService(town.trust.settings, clock=town.clock)
    town.carrier.app = create_app(town.trust.service)
    later(town, node)
    assert node.witnesses.status()["alarms"] == ["trust rolled-back"]


def test_coordinator_with_two_histories_is_named_by_the_node(
    town: Town, centre: Centre, branch: Watched
) -> None:
    """What the trust service was shown is held against what the node was shown."""
    node = opened(town, branch)
    with closing(Centre(town, town.folder / "twin", centre.key)) as twin:
        twin.does(7)
        twin.does(8)
        submit(town, twin)
    town.pass_time(5)
    node.witnesses.meet_when_due()
    assert node.witnesses.status()["alarms"] == ["coordinator forked"]
    assert node.log.find(EventKind.WITNESS_ALARM)


def test_offline_auditor_names_truncation_and_fork_between_two_visits(
    town: Town, centre: Centre
) -> None:
    """With copies and public keys alone an auditor finds what was done since the last visit."""
    centre.does(1)
    own = SigningKey.generate("auditor")
    auditor = Auditor(town.folder / "auditor.db", own, clock=town.clock)
    copies = town.folder / "copies"
    copies.mkdir()
    with closing(auditor):
        first = _copy(centre.path, copies / "first.db")
        centre.does(2)
        second = _copy(centre.path, copies / "second.db")
        with closing(Centre(town, town.folder / "twin", centre.key)) as twin:
            for number in range(9):
                twin.does(number + 5)
            forked = _copy(twin.path, copies / "forked.db")
        key = centre.key.verify_key
        audited = auditor.audit(first, key)
        assert verify_cosignature(audited.note + audited.cosignature, own.verify_key) > 0
        assert auditor.audit(second, key).size == 3
        for copy, what in ((first, Tampering.TRUNCATED), (forked, Tampering.FORKED)):
            with pytest.raises(LogTampered) as caught:
                auditor.audit(copy, key)
            assert caught.value.what is what
