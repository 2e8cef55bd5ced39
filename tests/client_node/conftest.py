"""One small world for the node's tests: keys, an operator, a trust service, a coordinator.

The trust service here is a handler behind httpx's own transport: it verifies the node's
signatures and seals real envelopes. The encoder is a hash with the right shape; the real one
is in a slow test.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

with warnings.catch_warnings():  # spaCy imports typer, which uses names that click deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import typer  # noqa: F401

from audit.events import Event, EventKind
from audit.log import EvidenceLog
from audit.signing import SigningKey, seal, verify_request
from client_node.api import create_app
from client_node.connections import ConnectionPolicy
from client_node.internal_api import create_internal_app
from client_node.parts import Parts
from client_node.pseudonym import pseudonym
from client_node.redaction import Redactor
from client_node.service import NodeService, open_node
from client_node.settings import NodeSettings
from models.encoder import Encoder
from models.features import FEATURES, FEATURES_DIGEST
from models.heads import first_weights
from models.release import Release, abstaining_release, release_to_dict
from models.update import weights_bytes, weights_digest
from policies.canonical import digest
from policies.redacted import PublicText, RedactedText
from policies.standing import (
    Governance,
    Grant,
    Standing,
    governance_to_dict,
    standing_to_dict,
)
from policies.terms import (
    Mechanism,
    NodePolicy,
    Plan,
    RoundKind,
    RoundTerms,
    node_policy_to_dict,
    plan_to_dict,
    terms_to_dict,
)
from policies.vocabulary import (
    AgeBand,
    Digest,
    Emotion,
    Modality,
    NodeId,
    Purpose,
    ReleaseId,
    RunId,
    SubjectId,
)

NODE = NodeId("branch-1")
START = 1_800_000_000.0
LABELS = (("frustrated", Emotion.ANGER), ("pleased", Emotion.JOY))
PSEUDONYM_KEY = b"k" * 64
API_KEY = "a" * 43
TRUST = "https://trust.test:8443"
RUN = RunId("run-1")


class HashEncoder(Encoder):
    """Features from a hash of the text: the right shape and norm, no network."""

    def encode(self, texts: Sequence[RedactedText | PublicText]) -> np.ndarray[Any, Any]:
        """Return features `(text, 385)` that depend on the text alone."""
        rows = np.zeros((len(texts), FEATURES), np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.sha256(text.text.encode()).digest()[:8], "big")
            vector = np.random.default_rng(seed).normal(size=FEATURES - 1)
            rows[row, :-1] = vector / np.linalg.norm(vector)
            rows[row, -1] = 1.0
        return rows / np.float32(np.sqrt(2))


def hash_encoder() -> HashEncoder:
    """Return the encoder that needs no weights."""
    return HashEncoder(digest=FEATURES_DIGEST, _tokenizer=None, _session=None)


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
class FakeTrust:
    """Seals standing envelopes for one node and takes its acknowledgements."""

    key: SigningKey
    node_key: SigningKey
    clock: Callable[[], float]
    away: bool = False
    sequence: int = 0
    changes: list[tuple[int, Standing]] = field(default_factory=list)
    withdrawn: list[tuple[int, SubjectId, Purpose | None]] = field(default_factory=list)
    challenge: list[int] = field(default_factory=list)
    acknowledged: list[dict[str, Any]] = field(default_factory=list)
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stopped: bool = False
    notice: str = "We analyse emotion in your messages."
    dpia: frozenset[Purpose] = frozenset(Purpose) - {Purpose.OFFERS}
    max_age_s: int = 60
    more: bool = False
    holds: list[dict[str, Any]] | None = field(default_factory=list)
    receipts: int | None = None
    """How many receipts to give for many grants; as many as there are, if None."""

    def put(self, standing: Standing) -> None:
        """Record a change of somebody's standing."""
        self.sequence += 1
        self.changes.append((self.sequence, standing))

    def withdraw(self, standing: Standing, purpose: Purpose | None) -> None:
        """Record a change that destroys keys."""
        self.put(standing)
        self.withdrawn.append((self.sequence, standing.subject, purpose))

    def envelope(self, *, after: int = 0, **changed: Any) -> bytes:
        """Seal what changed after a sequence, freshly dated."""
        governance = Governance(
            as_of=int(self.clock()),
            stopped=self.stopped,
            dpia_purposes=self.dpia,
            minimum_notice=1,
            standing_max_age_s=self.max_age_s,
        )
        latest = {s.subject: s for n, s in self.changes if n > after}
        body = {
            "node": NODE,
            "sequence": self.sequence,
            "issued_at": int(self.clock()),
            "governance": governance_to_dict(governance),
            "standings": [standing_to_dict(s) for s in latest.values()],
            "withdrawn": [
                {"subject": s, "purpose": p and p.value} for n, s, p in self.withdrawn if n > after
            ],
            "challenge": self.challenge,
            "more": self.more,
            "holds": self.holds,
        }
        return seal("standing", body | changed, self.key)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one signed request of the node."""
        if self.away:
            raise httpx.ConnectError("away")
        path = request.url.raw_path.decode()
        if path.startswith("/v1/witness"):
            return httpx.Response(404)  # this one is no witness
        verify_request(
            request.headers,
            method=request.method,
            path=path,
            body=request.content,
            find_key=lambda _: self.node_key.verify_key,
            now=self.clock(),
        )
        if path.startswith("/v1/standing"):
            after = int(request.url.params["after"])
            return httpx.Response(200, content=self.envelope(after=after))
        if path.startswith("/v1/notices/"):
            texts = {"en": self.notice}
            return httpx.Response(200, json={"version": 1, "texts": texts, "material": False})
        body = json.loads(request.content)
        if path == "/v1/acknowledgements":
            self.acknowledged.append(body)
        else:
            self.received.append((path, body))
        if "grants" in body:
            count = len(body["grants"]) if self.receipts is None else self.receipts
            return httpx.Response(201, json={"receipts": [{"record": "r1"}] * count})
        if path == "/v1/invitations":
            return httpx.Response(201, json={"invitation_token": "t", "until": 1})
        return httpx.Response(201, json={"record": "r1"})


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
        return Api(create_app(node), {"Authorization": f"Bearer {API_KEY}"})

    def executor(self, node: NodeService) -> Api:
        """Return the executor's interface to a node."""
        return Api(create_internal_app(node), {})

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
