"""One small world for the node's tests: keys, an operator, a trust service, a coordinator.

What stands in for the encoder and the trust service is in `tests.client_node.stand_ins`.
"""

from __future__ import annotations

import asyncio
import base64
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

with warnings.catch_warnings():  # spaCy imports typer, which uses names that click deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import typer  # noqa: F401

from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal
from client_node.api import create_app
from client_node.connections import ConnectionPolicy
from client_node.internal_api import create_internal_app
from client_node.parts import Parts
from client_node.pseudonym import pseudonym
from client_node.redaction import Redactor
from client_node.service import NodeService, open_node
from client_node.settings import NodeSettings
from models.features import FEATURES, FEATURES_DIGEST
from models.heads import first_weights
from models.release import Release, abstaining_release, release_to_dict
from models.update import weights_bytes, weights_digest
from policies.canonical import digest
from policies.node_policy import NodePolicy, node_policy_to_dict
from policies.standing import (
    Grant,
    Standing,
)
from policies.terms import Mechanism, Plan, RoundKind, RoundTerms, plan_to_dict, terms_to_dict
from policies.vocabulary import (
    AgeBand,
    Digest,
    Emotion,
    Modality,
    Purpose,
    ReleaseId,
    RunId,
    SubjectId,
)
from tests.client_node.stand_ins import NODE, FakeTrust, hash_encoder

START = 1_800_000_000.0
LABELS = (("frustrated", Emotion.ANGER), ("pleased", Emotion.JOY))
PSEUDONYM_KEY = b"k" * 64
API_KEY = "a" * 43
TRUST = "https://trust.test:8443"
RUN = RunId("run-1")


@dataclass
class Api:
    """Calls an app in this process, one request at a time."""

    app: FastAPI
    headers: dict[str, str]
    address: str = "127.0.0.1"

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET."""
        return asyncio.run(self._send("GET", path, options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST."""
        return asyncio.run(self._send("POST", path, options))

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        transport = httpx.ASGITransport(app=self.app, client=(self.address, 123))
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            return await client.request(method, path, headers=headers, **options)


@dataclass
class World:
    """Everything around one node, with a clock that only tests move."""

    folder: Path
    now: float = START
    policy_changes: dict[str, Any] = field(default_factory=dict)
    plan_changes: dict[str, Any] = field(default_factory=dict)
    redactor: Any = None

    def __post_init__(self) -> None:
        self.operator = SigningKey.generate("operator")
        self.coordinator = SigningKey.generate("coordinator")
        self.node_key = SigningKey.generate(NODE)
        self.trust = FakeTrust(SigningKey.generate("trust"), self.node_key, self.clock)
        self.settings_values = self._write_files()
        self._opened: list[Any] = []
        self._apps: dict[tuple[Any, int], tuple[NodeService, FastAPI]] = {}

    def clock(self) -> float:
        """Return the time that the test set."""
        return self.now

    def settings(self, **changed: Any) -> NodeSettings:
        """Return the node's settings."""
        return NodeSettings(**(self.settings_values | changed))

    def parts(self) -> Parts:
        """Return the small parts from outside."""
        return Parts(
            clock=self.clock,
            encoder=hash_encoder(),
            redactor=self.redactor,
            transport=httpx.MockTransport(self.trust.handle),
        )

    def open(self, **changed: Any) -> NodeService:
        """Start a node on this folder."""
        node = open_node(self.settings(**changed), self.parts())
        self._opened.append(node)
        return node

    def close(self) -> None:
        """Close everything that was opened."""
        for opened in reversed(self._opened):
            opened.close()

    def api(self, node: NodeService) -> Api:
        """Return the branch's interface to a node."""
        return Api(self._app(create_app, node), {"Authorization": f"Bearer {API_KEY}"})

    def executor(self, node: NodeService) -> Api:
        """Return the executor's interface to a node."""
        return Api(self._app(create_internal_app, node), {})

    def _app(self, create: Callable[[NodeService], FastAPI], node: NodeService) -> FastAPI:
        """Return a node's application, made once: making one takes longer than asking it."""
        key = create, id(node)
        if key not in self._apps:
            self._apps[key] = node, create(node)
        return self._apps[key][1]

    def subject(self, customer: str) -> SubjectId:
        """Return a customer's pseudonym."""
        return pseudonym(customer, key=PSEUDONYM_KEY)

    def standing(self, customer: str, *purposes: Purpose, **changed: Any) -> Standing:
        """Return an informed adult's standing with these grants."""
        grants = tuple(
            Grant(
                purpose=purpose,
                modalities=frozenset({Modality.TEXT}),
                notice_version=1,
                explicit=True,
                granted_at=int(START) - 10,
                expires_at=int(START) + 10**7,
            )
            for purpose in purposes
        )
        plain = Standing(
            subject=self.subject(customer),
            as_of=int(self.now),
            age=AgeBand.ADULT,
            grants=grants,
            informed_at=int(START) - 10,
        )
        return replace(plain, **changed)

    def policy(self) -> NodePolicy:
        """Return the node's policy."""
        plain = NodePolicy(
            node=NODE,
            version=1,
            minimum_noise_multiplier=0.5,
            maximum_epsilon=8.0,
            maximum_delta=1e-5,
            minimum_people=1,
            allowed_plans=frozenset({digest(plan_to_dict(self.plan()))}),
            allowed_fabs=frozenset({Digest("f" * 64)}),
            labels=LABELS,
            period_s=86_400,
            connections=frozenset({"trust.test:8443"}),
        )
        return replace(plain, **self.policy_changes)

    def plan(self) -> Plan:
        """Return the run's plan."""
        plain = Plan(
            name="demo",
            labels=LABELS,
            features=FEATURES,
            encoder_digest=FEATURES_DIGEST,
            rounds=3,
            epsilon=4.0,
            delta=1e-5,
            mechanism=Mechanism(
                clip=1.0,
                noise_multiplier=4.0,
                sample_rate=0.5,
                nominal_people=10,
                steps=2,
                learning_rate=0.1,
                momentum=0.0,
                max_turns=4,
                count_noise=4.0,
            ),
            minimum_people=1,
            minimum_nodes=1,
            deadline_s=1.0,
        )
        return replace(plain, **self.plan_changes)

    def terms(self, round_number: int = 1, **changed: Any) -> RoundTerms:
        """Return a round's terms."""
        plan = self.plan()
        plain = RoundTerms(
            run=RUN,
            round_number=round_number,
            plan_digest=digest(plan_to_dict(plan)),
            plan=plan,
            fab_digest=Digest("f" * 64),
            base_release=ReleaseId("release-0"),
            weights_digest=weights_digest(self.weights()),
            issued_at=int(self.now),
            expires_at=int(self.now) + 60,
        )
        return replace(plain, **changed)

    def weights(self) -> np.ndarray[Any, Any]:
        """Return where the plan's part begins: weights of zero, for a linear head."""
        return first_weights(self.plan())

    def ask_round(
        self, round_number: int = 1, *, key: SigningKey | None = None, **changed: Any
    ) -> bytes:
        """Seal a round's terms."""
        data = base64.b64encode(weights_bytes(self.weights())).decode()
        body = {"terms": terms_to_dict(self.terms(round_number, **changed)), "weights": data}
        return seal("terms", body, key or self.coordinator)

    def ask_evaluation(self, round_number: int = 1, **changed: Any) -> bytes:
        """Seal an evaluation's terms."""
        data = base64.b64encode(weights_bytes(self.weights())).decode()
        terms = self.terms(round_number, **({"kind": RoundKind.EVALUATE} | changed))
        return seal(
            "evaluation", {"terms": terms_to_dict(terms), "weights": data}, self.coordinator
        )

    def ask_enrolment(self, **changed: Any) -> bytes:
        """Seal an enrolment."""
        return seal("enrolment", {"terms": terms_to_dict(self.terms(**changed))}, self.coordinator)

    def coordinator_log(self) -> EvidenceLog:
        """Open the coordinator's log."""
        log = EvidenceLog(
            self.folder / "coordinator" / "log.db",
            self.coordinator,
            origin="undertone/coordinator",
            clock=self.clock,
        )
        self._opened.append(log)
        return log

    def release(self, number: int = 0, *, weights: np.ndarray[Any, Any] | None = None) -> Release:
        """Return a release, abstaining without weights."""
        plain = abstaining_release(LABELS, FEATURES_DIGEST)
        return replace(
            plain,
            release_id=ReleaseId(f"release-{number}"),
            weights=weights,
            abstain_below=1.0 if weights is None else 0.0,
        )

    def publish(
        self, log: EvidenceLog, release: Release, *, key: SigningKey | None = None
    ) -> bytes:
        """Log, prove and seal a release."""
        value = release_to_dict(release)
        event = Event(
            kind=EventKind.RELEASE_PUBLISHED,
            at=self.now,
            fields={
                "release": release.release_id,
                "digest": digest(value),
                "run": None,
                "approved_by": "ada",
            },
        )
        index = log.append(event)
        body = {
            "release": value,
            "leaf": base64.b64encode(log.entry(index).leaf).decode(),
            "proof": log.receipt(index),
        }
        return seal("release", body, key or self.coordinator)

    def angry_weights(self) -> np.ndarray[Any, Any]:
        """Return weights that always read the first label."""
        weights = self.weights()
        weights[-1, 0] = 40.0  # the constant feature: always the first label
        return weights

    def _write_files(self) -> dict[str, Any]:
        self.folder.mkdir(exist_ok=True)
        self.node_key.save(self.folder / "node.key")
        for name, content in (
            ("pseudonym.key", PSEUDONYM_KEY),
            ("api.keys", f"crm:{API_KEY}".encode()),
        ):
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)
        self.seal_policy()
        return {
            "node": NODE,
            "company": "acme",
            "folder": self.folder / "state",
            "api_keys_file": self.folder / "api.keys",
            "signing_key": self.folder / "node.key",
            "pseudonym_key_file": self.folder / "pseudonym.key",
            "trust_url": TRUST,
            "trust_key": str(self.trust.key.verify_key),
            "coordinator_key": str(self.coordinator.verify_key),
            "operator_key": str(self.operator.verify_key),
            "policy_file": self.folder / "policy.json",
            "socket_path": self.folder / "node.sock",
        }

    def seal_policy(self, *, key: SigningKey | None = None) -> None:
        """Write the node's policy, sealed."""
        envelope = seal("node-policy", node_policy_to_dict(self.policy()), key or self.operator)
        (self.folder / "policy.json").write_bytes(envelope)


class Branch(NamedTuple):
    """A world with its open node; shown by its name, where all of it would fill a report."""

    world: World
    opened: NodeService

    def __repr__(self) -> str:
        return "a branch"


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    """Return the real redactor, loaded once."""
    return Redactor.load()


@pytest.fixture
def world(tmp_path: Path, redactor: Redactor) -> Iterator[World]:
    """Return a fresh world."""
    made = World(tmp_path / "node", redactor=redactor)
    yield made
    made.close()


@pytest.fixture
def make_world(tmp_path: Path, redactor: Redactor) -> Iterator[Callable[..., World]]:
    """Return a maker of worlds that differ."""
    made: list[World] = []

    def make(**changed: Any) -> World:
        """Make one world."""
        made.append(World(tmp_path / f"node-{len(made)}", redactor=redactor, **changed))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def policy_of_connections() -> ConnectionPolicy:
    """Return a policy with the trust service alone."""
    return ConnectionPolicy(allowed=frozenset({"trust.test:8443"}))


@pytest.fixture
def little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let eight people suffice; how much noise there is otherwise has tests of its own."""
    monkeypatch.setattr("client_node.uses.segments.LEAST_NOISE", 1.0)
