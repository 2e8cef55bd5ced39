"""The coordinator as people use it: through its API, with a fleet in memory."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w
from starlette.testclient import TestClient

from audit.pki import create_authority, issue_server
from audit.receipt import verify_receipt
from audit.signing import SigningKey, unseal
from audit.terminal import run
from coordinator.api import create_app, create_courier_app
from coordinator.cli import app
from coordinator.client import CoordinatorClient
from coordinator.courier import CourierQueue
from coordinator.errors import CourierClosed, ServiceUnavailable
from coordinator.journal import RunState
from coordinator.plan import Preview
from coordinator.service import CoordinatorService
from coordinator.settings import CoordinatorSettings
from models.release import release_from_dict
from policies.canonical import digest
from policies.clock import Clock
from policies.terms import plan_from_dict, plan_to_dict
from policies.vocabulary import NodeId, RunId
from tests.coordinator.fleet import NODES, MemoryNode, make_plan
from tests.coordinator.trust import MemoryTrust

TOKEN = "t0ken"  # noqa: S105 (a test's)
LOADED = "release-loaded"


def cheap_accountant(draft: Any) -> Preview:
    """Cost a plan without the accountants, which have tests of their own."""
    plan = plan_from_dict(dict(draft))
    return Preview(
        plan=plan,
        digest=digest(plan_to_dict(plan)),
        epsilon=1.9,
        epsilon_prv=1.8,
        second_opinion=1.8,
        epsilon_at_nodes={1: 1.9, 2: 2.7},
    )


@dataclass(slots=True)
class MemoryFleet:
    """A fleet whose courier is a thread that asks nodes in memory."""

    queue: CourierQueue
    nodes: dict[int, MemoryNode] = field(default_factory=dict)
    up: set[int] = field(default_factory=set)
    hold: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def start(self) -> None:
        """Start the courier."""
        self.hold.set()
        self._pool.submit(self._carry)

    def stop(self) -> None:
        """End the courier, whose queue is closed by now."""
        self.hold.set()
        self._pool.shutdown()

    def register(self, supernode_key: str) -> int:
        """Give ids in order."""
        assert supernode_key
        return len(self.nodes) + 1

    def online(self) -> frozenset[int]:
        """Return who is up."""
        return frozenset(self.up)

    def processes(self) -> dict[str, int]:
        """There are none."""
        return {}

    def _carry(self) -> None:
        while True:
            try:
                job = self.queue.next(wait_s=5.0)
            except CourierClosed:
                return
            if job is not None:
                self.hold.wait(10)
                replies = {i: self._ask(self.nodes[i], p) for i, p in job.payloads.items()}
                self.queue.deliver(job.exchange, replies)

    def _ask(self, node: MemoryNode, payload: bytes) -> bytes:
        from audit.signing import seal  # noqa: PLC0415

        kind = str(json.loads(payload)["kind"])
        if kind != "release":
            return node.answer(payload, kind) or b""
        release = unseal("release", payload, node.coordinator)["release"]
        body = {"release": release["release_id"], "digest": digest(release)}
        return seal(LOADED, body, node.key)


class InMemory(httpx.BaseTransport):
    """Carry the SDK's requests to the application without a socket."""

    def __init__(self, http: TestClient) -> None:
        self.http = http

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the application."""
        answer = self.http.request(
            request.method,
            request.url.raw_path.decode(),
            content=request.read(),
            headers=dict(request.headers),
        )
        return httpx.Response(answer.status_code, content=answer.content)


@dataclass(slots=True)
class Centre:
    """A running coordinator and its SDK."""

    service: CoordinatorService
    client: CoordinatorClient
    fleet: MemoryFleet
    settings: CoordinatorSettings
    key: SigningKey
    trust: MemoryTrust

    def hear(self) -> None:
        """Hear of governance now, without waiting for the thread that does."""
        assert self.service.keeper is not None
        self.service.keeper.poll()

    def enrol_all(self) -> None:
        """Register and bring up three nodes."""
        for name in NODES:
            key = SigningKey.generate(name)
            self.client.register_node(name, vkey=str(key.verify_key), supernode_public_key="pub")
            flower_id = len(self.fleet.nodes) + 1
            self.fleet.nodes[flower_id] = MemoryNode(name, key, self.key.verify_key)
            self.fleet.up.add(flower_id)

    def wait(self, run: str) -> dict[str, Any]:
        """Wait until the run is over."""
        *_, last = self.client.watch(run, every_s=0.01)
        return last


def open_centre(
    folder: Path,
    *,
    clock: Clock = time.time,
    governed: bool = True,
    heard: bool = True,
    **more: Any,
) -> Centre:
    """Start a coordinator in the folder; ungoverned, its settings name no trust service."""
    trust = MemoryTrust(clock, down=not heard)
    named: dict[str, Any] = {
        "trust_url": "https://trust.invalid",
        "trust_ca": folder / "none",
        "trust_key": str(trust.key.verify_key),
        "trust_poll_s": 0.05,
    }
    key_path = folder / "coordinator.key"
    if not key_path.exists():
        SigningKey.generate("coordinator").save(key_path)
    settings = CoordinatorSettings(
        folder=folder / "state",
        signing_key=key_path,
        admin_token_file=folder / "token",
        certificate=folder / "none",
        private_key=folder / "none",
        authority=folder / "none",
        epsilon_ceiling=4.0,
        grace_s=5.0,
        **(named if governed else {}),
        **more,
    )
    fleets: list[MemoryFleet] = []

    def make_fleet(_: CoordinatorSettings, queue: CourierQueue) -> MemoryFleet:
        fleets.append(MemoryFleet(queue))
        return fleets[0]

    service = CoordinatorService(
        settings, clock=clock, make_fleet=make_fleet, accountant=cheap_accountant, trust=trust
    )
    service.start()
    http = TestClient(create_app(service, admin_token=TOKEN))
    client = CoordinatorClient("http://centre", token=TOKEN, transport=InMemory(http))
    centre = Centre(service, client, fleets[0], settings, SigningKey.load(key_path), trust)
    if governed and heard:
        centre.hear()
    return centre


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    """Return a running coordinator that is closed after the test."""
    made = open_centre(tmp_path)
    yield made
    made.service.close()


def draft(**changes: Any) -> dict[str, Any]:
    """Return a plan's JSON."""
    return plan_to_dict(make_plan(**changes))


def test_run_goes_from_plan_to_release(centre: Centre) -> None:
    """Plan, nodes, run, aggregate and release work through the SDK, and nodes have release 0."""
    plan = centre.client.plan(draft())
    centre.enrol_all()
    run = centre.client.start_run(plan["digest"], approved_by="jo")["run"]
    seen = centre.wait(run)
    assert (seen["state"], len(seen["rounds"])) == ("completed", 4)
    assert centre.client.weights(run, 4)[0, 0] == 4.0
    first = centre.client.releases()[0]
    assert (first["release"], first["loaded_by"]) == ("release-0", sorted(NODES))
    published = centre.client.publish_release(run=run, approved_by="jo@example.org")
    release = release_from_dict(centre.client.release(published["release"])["body"])
    assert release.weights is not None
    assert release.weights[0, 0] == 3.5  # the mean of rounds 3 and 4
    assert release.card.epsilon == 1.9


def test_release_is_proven_to_be_in_the_log(centre: Centre) -> None:
    """A bundle carries the leaf, its proof and a signature; the leaf names the digest."""
    plan = centre.client.plan(draft())
    published = centre.client.publish_release(plan_digest=plan["digest"], approved_by="jo")
    bundle = base64.b64decode(centre.client.release("release-0")["bundle"])
    body = unseal("release", bundle, centre.key.verify_key)
    leaf = base64.b64decode(body["leaf"])
    verify_receipt(body["proof"], leaf, centre.key.verify_key)
    assert published["digest"].encode() in leaf
    assert digest(body["release"]) == published["digest"]


def test_node_that_comes_later_is_brought_the_newest_release(centre: Centre) -> None:
    """A release reaches a node that was away when it was published, and one only once."""
    plan = centre.client.plan(draft())
    centre.client.publish_release(plan_digest=plan["digest"], approved_by="jo")
    assert centre.service.delivery.catch_up() == frozenset()
    centre.enrol_all()
    assert centre.service.delivery.catch_up() == frozenset(NODES)
    assert centre.service.delivery.catch_up() == frozenset()


def test_one_run_at_a_time_and_stop_ends_it(centre: Centre) -> None:
    """A second run is refused while one goes on; a stopped run says stopped, at once."""
    plan = centre.client.plan(draft(epsilon=1.0))
    centre.enrol_all()
    centre.fleet.hold.clear()
    run = centre.client.start_run(plan["digest"], approved_by="jo")["run"]
    with pytest.raises(ServiceUnavailable, match="is in progress"):
        centre.client.start_run(plan["digest"], approved_by="jo")
    assert centre.client.stop_run(run)["state"] == "stopped"
    centre.fleet.hold.set()
    assert centre.client.stop_run(run)["state"] == "stopped"


def test_run_beyond_the_ceiling_is_refused_before_anything_is_asked(centre: Centre) -> None:
    """The third run of epsilon 2 does not fit under 4: nothing is signed or sent."""
    plan = centre.client.plan(draft())
    centre.enrol_all()
    for _ in range(2):
        centre.wait(centre.client.start_run(plan["digest"], approved_by="jo")["run"])
    with pytest.raises(ServiceUnavailable, match="Budget refused"):
        centre.client.start_run(plan["digest"], approved_by="jo")
    assert len(centre.client.runs()) == 2


def test_run_in_progress_is_failed_after_a_crash(tmp_path: Path) -> None:
    """A service that died during a run marks it failed when it starts again."""
    first = open_centre(tmp_path)
    plan = first.client.plan(draft())
    first.service.journal.open_run(RunId("run-cut"), plan["digest"])
    first.service.close()
    second = open_centre(tmp_path)
    record = second.service.journal.run(RunId("run-cut"))
    second.service.close()
    assert record.state is RunState.FAILED
    assert record.detail == "the coordinator ended during the run"


def test_node_is_never_rekeyed(centre: Centre) -> None:
    """The same registration again changes nothing; another key under the name is refused."""
    key = SigningKey.generate("north").verify_key
    for _ in range(2):
        centre.client.register_node("north", vkey=str(key), supernode_public_key="pub")
    other = SigningKey.generate("north").verify_key
    with pytest.raises(ServiceUnavailable, match="other keys"):
        centre.client.register_node("north", vkey=str(other), supernode_public_key="pub")
    assert centre.service.registry.node(NodeId("north")).key == key


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/plans"),
        ("POST", "/v1/runs"),
        ("GET", "/v1/runs"),
        ("POST", "/v1/releases"),
        ("POST", "/v1/nodes"),
        ("GET", "/v1/nodes"),
        ("GET", "/v1/checkpoint"),
        ("GET", "/v1/traffic"),
    ],
)
def test_api_asks_for_the_admin_token(centre: Centre, method: str, path: str) -> None:
    """Without the token nothing is shown or done."""
    http = TestClient(create_app(centre.service, admin_token=TOKEN))
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert http.request(method, path, json={}, headers=headers).status_code in (401, 422)
    assert http.request(method, path, headers={"Authorization": "Bearer x"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/runs/run-none", "there is no run"),
        ("/v1/releases/none", "there is no release"),
    ],
)
def test_unknown_name_is_a_clear_line(centre: Centre, path: str, said: str) -> None:
    """What is not there is said in one line, as a problem document."""
    http = TestClient(create_app(centre.service, admin_token=TOKEN))
    answer = http.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404
    assert said in answer.json()["detail"]


def test_courier_socket_carries_an_exchange() -> None:
    """The courier's two calls hand an exchange out and take its replies."""
    queue = CourierQueue(lambda: {NodeId("north"): 2**63 + 5}, grace_s=1.0)
    http = TestClient(create_courier_app(queue, long_poll_s=0.01))
    assert http.post("/courier/next").status_code == 204
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(queue.exchange, {NodeId("north"): b"\x00p"}, deadline_s=1.0)
        answer = http.post("/courier/next")
        while answer.status_code == 204:
            answer = http.post("/courier/next")
        job = answer.json()
        assert job["payloads"] == {str(2**63 + 5): base64.b64encode(b"\x00p").decode()}
        replies = {str(2**63 + 5): base64.b64encode(b"r").decode()}
        http.post("/courier/replies", json={"exchange": job["exchange"], "replies": replies})
        assert work.result(5) == {NodeId("north"): b"r"}
    queue.close()
    assert http.post("/courier/next").status_code == 410


def test_serve_with_an_expired_certificate_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate outside its days is named before anything of Flower starts."""
    month_s = 30 * 86_400
    create_authority(tmp_path, clock=lambda: time.time() - 3 * month_s)
    issue_server(tmp_path, "coordinator", days=1, clock=lambda: time.time() - 2 * month_s)
    SigningKey.generate("coordinator").save(tmp_path / "coordinator.key.json")
    (tmp_path / "admin.token").write_text(TOKEN, encoding="ascii")
    (tmp_path / "admin.token").chmod(0o600)
    settings = {
        "folder": "state",
        "signing_key": "coordinator.key.json",
        "admin_token_file": "admin.token",
        "certificate": "coordinator.crt",
        "private_key": "coordinator.key",
        "authority": "authority.crt",
    }
    path = tmp_path / "coordinator.toml"
    path.write_text(tomli_w.dumps(settings), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        run(app, ["serve", "--settings", str(path)])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    assert "expired" in err
    assert "Traceback" not in err
