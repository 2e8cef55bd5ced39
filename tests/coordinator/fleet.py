"""A whole fleet in memory: nodes that sign and answer as a real one would, or misbehave."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit.events import Event
from audit.signing import SigningKey, VerifyKey, seal, unseal
from coordinator.budget_ledger import CentralLedger
from coordinator.courier import Courier
from coordinator.journal import Journal
from coordinator.replies import envelope_kind
from coordinator.rounds import Centre, Run
from coordinator.tables import open_store
from models.update import Update, update_to_dict, weights_from_bytes
from policies.canonical import digest
from policies.terms import Mechanism, Plan, plan_to_dict
from policies.vocabulary import Digest, Emotion, NodeId, ReleaseId, RunId

LABELS = (("negative", Emotion.ANGER), ("neutral", Emotion.NEUTRAL), ("positive", Emotion.JOY))
NODES = tuple(NodeId(name) for name in ("north", "south", "west"))


def make_plan(**changes: Any) -> Plan:
    """Return a small valid plan."""
    mechanism = Mechanism(
        clip=1.0,
        noise_multiplier=1.1,
        sample_rate=0.1,
        nominal_people=100,
        steps=2,
        learning_rate=0.5,
        momentum=0.9,
        max_turns=10,
        count_noise=20.0,
    )
    values: dict[str, Any] = {
        "name": "small",
        "labels": LABELS,
        "features": 5,
        "encoder_digest": Digest("e" * 64),
        "rounds": 4,
        "epsilon": 2.0,
        "delta": 1e-5,
        "mechanism": mechanism,
        "minimum_people": 10,
        "minimum_nodes": 2,
        "deadline_s": 1.0,
    }
    return Plan(**(values | changes))


def make_run(plan: Plan) -> Run:
    """Return a run of the plan."""
    return Run(
        run=RunId("run-1"),
        plan=plan,
        plan_digest=digest(plan_to_dict(plan)),
        fab_digest=Digest("f" * 64),
        base_release=ReleaseId("release-0"),
        start=np.zeros((plan.features, len(plan.labels)), np.float32),
    )


@dataclass(slots=True)
class MemoryNode:
    """A node that verifies what it is sent and adds its own step to the weights."""

    node: NodeId
    key: SigningKey
    coordinator: VerifyKey
    step: float = 1.0
    quality: list[float] = field(default_factory=lambda: [0.5])
    """How often the head is right, one evaluation after another; the last goes on."""
    seen: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, payload: bytes, kind: str) -> bytes | None:
        """Answer an enrolment with ready, and terms with an update."""
        body = unseal(kind, payload, self.coordinator)
        self.seen.append(body)
        if kind == "enrolment":
            return seal("ready", {"terms_digest": digest(body["terms"])}, self.key)
        if kind == "evaluation":
            return seal("table", update_to_dict(self.table(body)), self.key)
        return self.sign(self.update(body))

    def update(self, body: dict[str, Any]) -> Update:
        """Return the update that the terms ask for."""
        terms = body["terms"]
        shape = (terms["plan"]["features"], len(terms["plan"]["labels"]))
        weights = weights_from_bytes(base64.b64decode(body["weights"]), shape=shape)
        return Update(
            run=RunId(terms["run"]),
            round_number=terms["round_number"],
            node=self.node,
            terms_digest=digest(terms),
            weights=(weights + np.float32(self.step)).astype(np.float32),
        )

    def table(self, body: dict[str, Any]) -> Update:
        """Return the table that an evaluation asks for: a thousand turns of each label."""
        terms = body["terms"]
        right = self.quality.pop(0) if len(self.quality) > 1 else self.quality[0]
        rows = 1000 * np.array([1.0, 1.0, right, 1.0, 0.9], np.float32)
        return Update(
            run=RunId(terms["run"]),
            round_number=terms["round_number"],
            node=self.node,
            terms_digest=digest(terms),
            weights=np.repeat(rows[:, None], len(terms["plan"]["labels"]), axis=1),
        )

    def sign(self, update: Update) -> bytes:
        """Return the update, signed."""
        return seal("update", update_to_dict(update), self.key)


Answer = Callable[[bytes, str], bytes | None]


@dataclass(slots=True)
class MemoryCourier:
    """Ask each node in turn; None is late. `before` is called before each exchange."""

    nodes: dict[NodeId, Answer]
    before: Callable[[int], None] = lambda _: None
    exchanges: int = 0

    def exchange(
        self, payloads: Mapping[NodeId, bytes], *, deadline_s: float
    ) -> Mapping[NodeId, bytes]:
        """Carry the payloads."""
        assert deadline_s > 0
        self.exchanges += 1
        self.before(self.exchanges)
        replies = {n: self.nodes[n](p, envelope_kind(p)) for n, p in payloads.items()}
        return {node: reply for node, reply in replies.items() if reply is not None}


@dataclass(slots=True)
class Play:
    """A centre and its fleet, ready for one run."""

    plan: Plan = field(default_factory=make_plan)
    key: SigningKey = field(default_factory=lambda: SigningKey.generate("coordinator"))
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    nodes: dict[NodeId, MemoryNode] = field(default_factory=dict)
    courier: MemoryCourier = field(default_factory=lambda: MemoryCourier(nodes={}))
    journal: Journal = field(init=False)
    ledger: CentralLedger = field(init=False)
    now: float = 1000.0

    def __post_init__(self) -> None:
        engine = open_store(None)
        self.journal = Journal(engine, clock=self.clock)
        self.ledger = CentralLedger(
            engine, epsilon_ceiling=5.0, delta_ceiling=1e-4, clock=self.clock
        )
        for name in NODES:
            node = MemoryNode(name, SigningKey.generate(name), self.key.verify_key)
            self.nodes[name] = node
            self.courier.nodes[name] = node.answer

    def clock(self) -> float:
        """Return a time that moves on by itself."""
        self.now += 0.1
        return self.now

    @property
    def keys(self) -> dict[NodeId, VerifyKey]:
        """The registered keys."""
        return {name: node.key.verify_key for name, node in self.nodes.items()}

    def begin(self) -> Run:
        """Reserve and open the run."""
        run = make_run(self.plan)
        self.ledger.reserve_run(run.run, self.plan)
        self.journal.open_run(run.run, run.plan_digest)
        return run

    def centre(self, courier: Courier | None = None) -> Centre:
        """Return the centre."""
        return Centre(
            courier=courier or self.courier,
            ledger=self.ledger,
            journal=self.journal,
            key=self.key,
            record=self.events.append,
            clock=self.clock,
            stop=self.stop,
            permitted=lambda: None,
        )
