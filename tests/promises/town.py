"""A small town of real parts in one process: a trust service, branches, a coordinator.

The trust service is the product's, over httpx's ASGI transport; a branch is the product's node
service with the hash encoder of its own tests; rounds are the product's, with a courier that
calls the branches' real `Round`. Only the network, time and the encoder's weights are small.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey
from client_node.federation import Round, Work
from client_node.parts import Parts
from client_node.service import NodeService
from consent.api import create_app
from consent.service import TrustService
from consent.settings import TrustSettings
from models.noise import SYSTEM_NOISE, Noise
from policies.vocabulary import NodeId
from tests.client_node.conftest import Api
from tests.client_node.conftest import World as NodeWorld
from tests.consent.conftest import ADMIN, FakeClock, first, proof
from tests.consent.conftest import World as TrustWorld

COMPANY = "acme"
FIRST = NodeId("branch-1")
CONSENT = {
    "purposes": ["service", "training"],
    "modalities": ["text"],
    "notice_version": 1,
    "act": "ticked_box",
    "age": "adult",
    "informed": True,
    "valid_days": 365,
}


class InProcess(httpx.BaseTransport):
    """Carry a synchronous client's requests to an application of this process, or fail."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.away = False
        self.carried: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the application."""
        if self.away:
            raise httpx.ConnectError("away")
        self.carried.append(f"{request.method} {request.url.path}")
        return asyncio.run(self._ask(request, request.read()))

    async def _ask(self, request: httpx.Request, body: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://trust") as client:
            answer = await client.request(
                request.method,
                request.url.raw_path.decode(),
                content=body,
                headers=list(request.headers.items()),
            )
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)


@dataclass
class Branch(NodeWorld):
    """One branch: its keys, its policy, and its node when it was opened."""

    name: NodeId = FIRST
    trust_key: str = ""
    carrier: InProcess | None = None
    centre_key: SigningKey | None = None

    def __post_init__(self) -> None:
        """Write the branch's files, under its own name and the town's keys."""
        self.policy_changes = {"node": self.name} | self.policy_changes
        super().__post_init__()
        (self.folder / "node.key").unlink()
        self.node_key = SigningKey.generate(self.name)
        self.node_key.save(self.folder / "node.key")
        self.coordinator = self.centre_key or self.coordinator
        self.settings_values |= {
            "node": self.name,
            "trust_key": self.trust_key,
            "coordinator_key": str(self.coordinator.verify_key),
        }

    def parts(self) -> Parts:
        """Return the small parts, with the real trust service behind the client."""
        return replace(super().parts(), transport=self.carrier)


@dataclass
class Town:
    """A trust service, and the branches and people around it, on one clock."""

    folder: Path
    redactor: Any
    settings_changes: dict[str, Any] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    branches: list[Branch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.coordinator = SigningKey.generate("coordinator")
        self.trust = self._trust()
        assert self.trust.publish().status_code == 201
        assert self.trust.approve("service", "training", "handover").status_code == 201
        self.carrier = InProcess(create_app(self.trust.service))

    def _trust(self) -> TrustWorld:
        officer, key = SigningKey.generate("officer"), SigningKey.generate("trust")
        key.save(self.folder / "trust.signing-key")
        (self.folder / "admin.token").write_text(ADMIN, encoding="utf-8")
        settings = TrustSettings(
            folder=self.folder / "trust",
            signing_key=self.folder / "trust.signing-key",
            officer_key=str(officer.verify_key),
            admin_token_file=self.folder / "admin.token",
            **self.settings_changes,
        )
        service = TrustService(settings, clock=self.clock, sample=first)
        return TrustWorld(
            folder=self.folder,
            clock=self.clock,
            officer=officer,
            settings=settings,
            service=service,
        )

    def branch(
        self, name: str = "branch-1", *, kind: type[Branch] = Branch, **changed: Any
    ) -> Branch:
        """Found a branch and enrol it at the trust service."""
        made = kind(
            self.folder / name,
            name=NodeId(name),
            redactor=self.redactor,
            now=self.clock.now,
            trust_key=str(self.trust.service.key.verify_key),
            carrier=self.carrier,
            centre_key=self.coordinator,
            **changed,
        )
        self.trust.keys[name] = made.node_key
        assert self.trust.enrol(name, COMPANY).status_code == 201
        self.branches.append(made)
        return made

    def by_code(self, token: str, purpose: str | None) -> httpx.Response:
        """Withdraw as the person, with nothing but the token of their code."""
        body = json.dumps({"manage_token": token, "purpose": purpose}).encode()
        return self.trust.send("POST", "/v1/withdrawals", body)

    def pass_time(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.clock.now += seconds
        for branch in self.branches:
            branch.now = self.clock.now

    def close(self) -> None:
        """Close everybody."""
        for branch in self.branches:
            branch.close()
        self.trust.service.close()


def consents(api: Api, customer: str, **changed: Any) -> dict[str, Any]:
    """Record a customer's consent at the branch, and return the receipt."""
    answer = api.post("/v1/consents", json=CONSENT | proof() | {"customer": customer} | changed)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def says(api: Api, customer: str, text: str = "this is terrible", **changed: Any) -> dict[str, Any]:
    """Send a customer's turn, and return the answer."""
    said = {"customer": customer, "conversation": "c1", "text": text} | changed
    answer = api.post("/v1/turns", json=said)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def rates(api: Api, turn: str, label: str = "frustrated") -> httpx.Response:
    """Attach the customer's own rating to a turn."""
    rating = {"turn": turn, "label": label, "provenance": "customer_rating"}
    return api.post("/v1/labels", json=rating)


@dataclass(frozen=True)
class Held:
    """Noise that is the same every time; everybody is sampled, or nobody."""

    sampled: bool = True

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> Any:
        """Return a quarter of the deviation everywhere."""
        return np.full(shape, std / 4)

    def poisson_sample(self, count: int, *, rate: float) -> Any:
        """Return everybody or nobody, whatever the rate."""
        assert 0 < rate <= 1
        return np.full(count, self.sampled)


def hold_noise(node: NodeService) -> None:
    """Hold the noise of the node's head count, so that a test can foresee its answer."""
    object.__setattr__(node.training, "noise", Held())


def wants_training(api: Api, node: NodeService, *customers: str) -> dict[str, dict[str, Any]]:
    """Have customers consent, say something and rate it; return their consents' receipts."""
    receipts = {customer: consents(api, customer) for customer in customers}
    node.keeper.poll()
    for customer in customers:
        turn = says(api, customer, f"this is terrible, {len(customer)} times")["turn"]
        assert rates(api, turn).status_code == 200
    hold_noise(node)
    return receipts


# --- rounds -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Desk:
    """A node service as its executor sees it, over its real internal API."""

    executor: Api

    def enrol(self, envelope: bytes) -> bytes:
        """Answer an enrolment."""
        return self.executor.post("/internal/enrolment", content=envelope).content

    def evaluate(self, envelope: bytes) -> bytes:
        """Answer an evaluation."""
        return self.executor.post("/internal/evaluations", content=envelope).content

    def load_release(self, envelope: bytes) -> bytes:
        """Answer a release."""
        return self.executor.post("/internal/releases", content=envelope).content

    def open_round(self, envelope: bytes) -> Work | bytes:
        """Open a round, or refuse."""
        value = self.executor.post("/internal/rounds", content=envelope).json()
        if "refusal" in value:
            return base64.b64decode(value["refusal"])
        return Work(permit=base64.b64decode(value["permit"]), bags=base64.b64decode(value["bags"]))

    def sign_update(self, update: dict[str, Any]) -> bytes:
        """Sign an update."""
        return self.executor.post("/internal/updates", content=json.dumps(update)).content


def round_of(branch: NodeWorld, node: NodeService, noise: Noise = SYSTEM_NOISE) -> Round:
    """Return what the branch's executor runs: the product's own `Round`."""
    return Round(
        service=Desk(branch.executor(node)),
        node=node.node,
        node_key=branch.node_key.verify_key,
        clock=branch.clock,
        noise=noise,
    )


@dataclass
class Fleet:
    """Carries payloads to branches in memory; keeps each exchange and its replies."""

    rounds: dict[NodeId, Round]
    exchanges: list[dict[NodeId, bytes]] = field(default_factory=list)

    def exchange(
        self, payloads: Mapping[NodeId, bytes], *, deadline_s: float
    ) -> Mapping[NodeId, bytes]:
        """Ask each branch in turn."""
        assert deadline_s > 0
        replies = {node: self.rounds[node](payload) for node, payload in payloads.items()}
        self.exchanges.append(replies)
        return replies


def events(log: EvidenceLog, *kinds: EventKind) -> list[Event]:
    """Return all events of some kinds, oldest first."""
    return [e.event for e in log.entries(0, log.size) if e.event.kind in kinds]
