"""Made-up branches for the portal's coordinator: they sign and answer as real ones would.

Their people are numbers drawn from a seed and nobody's; so heads really learn, and what they say
of accuracy, calibration and gaps is measured and not written down.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from audit.signing import SigningKey, VerifyKey, seal, unseal
from coordinator.courier import CourierQueue, Job
from coordinator.errors import CourierClosed
from deploy.portal_history import MovedClock
from models.bags import Bags
from models.evaluation_set import EvaluationSet, set_bytes
from models.fairness import Groups
from models.heads import plan_head
from models.private_counts import ALL_ROWS, noisy_counts
from models.update import Update, update_to_dict, weights_from_bytes
from policies.canonical import digest
from policies.terms import Plan, plan_from_dict
from policies.vocabulary import Digest, Emotion, NodeId, RunId

LABELS = (("frustrated", Emotion.ANGER), ("neutral", Emotion.NEUTRAL), ("content", Emotion.JOY))
FEATURES = 6
ENCODER = Digest("5e" * 32)
"""A digest that no encoder has: these features are of nobody's words."""
_PEOPLE, _TURNS = 2_000, 3
_STEP = 0.3
_WAIT_S = 0.5
FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(slots=True)
class Branch:
    """One branch: its key, its made-up people, and how it answers."""

    node: NodeId
    key: SigningKey
    coordinator: VerifyKey
    bags: Bags
    random: np.random.Generator

    def answer(self, payload: bytes) -> bytes:
        """Return the signed reply to one envelope of the coordinator."""
        kind = str(json.loads(payload)["kind"])
        body = unseal(kind, payload, self.coordinator)
        if kind == "release":
            told = {"release": body["release"]["release_id"], "digest": digest(body["release"])}
            return seal("release-loaded", told, self.key)
        if kind == "enrolment":
            return seal("ready", {"terms_digest": digest(body["terms"])}, self.key)
        made = self._table if kind == "evaluation" else self._step
        plan = plan_from_dict(body["terms"]["plan"])
        shape = (plan.features, len(plan.labels))
        weights = weights_from_bytes(base64.b64decode(body["weights"]), shape=shape)
        update = Update(
            run=RunId(body["terms"]["run"]),
            round_number=body["terms"]["round_number"],
            node=self.node,
            terms_digest=digest(body["terms"]),
            weights=made(plan, weights).astype(np.float32),
        )
        sealed = "table" if kind == "evaluation" else "update"
        return seal(sealed, update_to_dict(update), self.key)

    def _step(self, plan: Plan, weights: FloatArray) -> FloatArray:
        """Go towards what separates the labels, with noise as the plan's epsilon would bring."""
        noise = self.random.normal(scale=0.8 / plan.epsilon, size=weights.shape)
        return weights + _STEP * (2 * _centres() - weights) + noise

    def _table(self, plan: Plan, weights: FloatArray) -> FloatArray:
        if plan.evaluation is None:
            raise ValueError("an evaluation of a plan that has none")
        table = noisy_counts(
            plan_head(plan, weights),
            self.bags,
            max_turns=plan.mechanism.max_turns,
            std=plan.evaluation.noise,
            groups=np.zeros(len(self.bags.owners), np.int64),
            n_groups=1,
            rows=ALL_ROWS,
        )
        return table.reshape(-1, table.shape[2])


@dataclass(slots=True, kw_only=True)
class Branches:
    """The coordinator's fleet (`coordinator.fleet.Fleet`); `away` are not heard.

    `before` is called before each exchange, so that a story can act in the middle of a run.
    """

    queue: CourierQueue
    clock: MovedClock
    branches: dict[int, Branch] = field(default_factory=dict)
    away: set[NodeId] = field(default_factory=set)
    before: Callable[[], None] = lambda: None
    _registered: int = 0
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to carry; more than once does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry, name="branches", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Wait for the end, which the closed queue brings."""
        if self._thread is not None:
            self._thread.join()

    def register(self, supernode_key: str) -> int:
        """Give ids in order; a made-up branch has no key in Flower."""
        del supernode_key
        self._registered += 1
        return self._registered

    def online(self) -> frozenset[int]:
        """Return who is heard."""
        return frozenset(n for n, one in self.branches.items() if one.node not in self.away)

    def processes(self) -> dict[str, int]:
        """There are none."""
        return {}

    def _carry(self) -> None:
        while True:
            try:
                job = self.queue.next(wait_s=_WAIT_S)
            except CourierClosed:
                return
            if job is not None:
                self._answer(job)

    def _answer(self, job: Job) -> None:
        self.before()
        if self.clock.follow is None:
            self.clock.now += 4.0  # an answer takes until the deadline
        else:
            time.sleep(1.0)
        known = self.online()
        asked = {n: self.branches[n] for n in job.payloads if n in known}
        self.queue.deliver(
            job.exchange, {n: one.answer(job.payloads[n]) for n, one in asked.items()}
        )


def make_branch(node: str, key: SigningKey, coordinator: VerifyKey, *, seed: int) -> Branch:
    """Return a branch with made-up people of its own."""
    random = np.random.default_rng(seed)
    truth = random.integers(len(LABELS), size=_PEOPLE * _TURNS)
    bags = Bags(
        features=_turns(random, truth, spread=1.0),
        labels=truth,
        owners=np.repeat(np.arange(_PEOPLE), _TURNS),
    )
    return Branch(node=NodeId(node), key=key, coordinator=coordinator, bags=bags, random=random)


def made_up_set(seed: int) -> bytes:
    """Return an evaluation set of 200 made-up people, of whom one group is harder to read."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(200), 2)
    truth = random.integers(len(LABELS), size=len(owners))
    older = (owners % 2).astype(np.int64)
    spread = np.where(older == 1, 1.35, 0.95)[:, None]
    made = EvaluationSet(
        name="made-up-people",
        digest=Digest(""),
        features_digest=ENCODER,
        labels=tuple(name for name, _ in LABELS),
        features=_turns(random, truth, spread=spread),
        truth=truth,
        owners=owners,
        groups=(Groups(attribute="age", names=("under 40", "40 and over"), places=older),),
    )
    return set_bytes(made)


def _turns(
    random: np.random.Generator, truth: npt.NDArray[np.int64], *, spread: Any
) -> npt.NDArray[np.float32]:
    """Return features `(turn, feature)` around the centre of each turn's label."""
    around = random.normal(size=(len(truth), FEATURES)) * spread
    return np.asarray(_centres().T[truth] + around, np.float32)


def _centres() -> FloatArray:
    """Return the centres `(feature, label)` that the labels lie around."""
    return 0.9 * np.kron(np.eye(len(LABELS)), np.ones((FEATURES // len(LABELS), 1)))
