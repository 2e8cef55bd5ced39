"""The demo's own measurements, outside the federation: what it would cost and what it reaches.

The harness reads the data itself, so it is not a node and not a product: its figures are for
the reader of the demo, and nothing it scores feeds back into a run. Held-out rows never enter
a node. The comparison "each branch alone" is private at the same epsilon; its permits come
from a gate over a scratch log, because there is no other way to a private computation.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.gate import Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey
from client_node.redaction import Redactor
from deploy.turns import Turn
from models.accounting import epsilon_at_nodes
from models.encoder import Encoder
from models.evaluation import fit_central, macro_f1, predict
from models.private_training import Bags, train_round
from policies.decision import Facts, UseRequest
from policies.engine import PolicyEngine
from policies.permit import Permit
from policies.standing import Governance, Grant, Standing
from policies.terms import Plan
from policies.vocabulary import Action, AgeBand, Modality, NodeId, Purpose, SubjectId

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Personal data found, by kind, on the marks of the data; `missed_names` for the reader."""

    found: Mapping[str, int]
    marked: Mapping[str, int]
    missed_names: tuple[str, ...]

    def overall(self) -> float | None:
        """Return the share of all marks that was found, or None where nothing is marked."""
        marked = sum(self.marked.values())
        return sum(self.found.values()) / marked if marked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Features `(turn, feature)` and labels of the turns, in their order, and the recall."""

    features: FloatArray
    labels: NDArray[np.int64]
    recall: Recall


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Macro-F1 on the held-out rows: not private and central, and each branch alone, private.

    `largest_k` is at how many branches the most connected person trains (only a benchmark may
    know that: companies are never linked), `epsilon_at_k` what that composes to.
    """

    central: float
    alone: Mapping[str, float]
    largest_k: int
    epsilon_at_k: float


def measure(turns: Sequence[Turn], labels: Sequence[str], *, encoder: Path | None) -> Measured:
    """Redact and encode every turn as a node would."""
    redactor = Redactor.load()
    redactions = [redactor.redact(turn.text) for turn in turns]
    found: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    missed: list[str] = []
    for turn, redaction in zip(turns, redactions, strict=True):
        for start, end, kind in turn.marks:
            marked[kind] += 1
            if all(any(s.start <= i < s.end for s in redaction.spans) for i in (start, end - 1)):
                found[kind] += 1
            elif kind == "PERSON":
                missed.append(turn.text[start:end])
    index = {label: number for number, label in enumerate(labels)}
    return Measured(
        features=Encoder.load(encoder).encode([redaction.text for redaction in redactions]),
        labels=np.array([index[turn.label] for turn in turns]),
        recall=Recall(found=found, marked=marked, missed_names=tuple(missed)),
    )


def trainable(turn: Turn) -> bool:
    """Tell whether the rules let this turn teach: held-in, consented, of an adult."""
    return not turn.dev and Purpose.TRAINING in turn.purposes and turn.age is AgeBand.ADULT


def score(weights: FloatArray, turns: Sequence[Turn], measured: Measured) -> float:
    """Return the macro-F1 of a linear head `(feature, label)` on the held-out turns."""
    dev = np.array([turn.dev for turn in turns])
    predicted = predict(weights, measured.features[dev])
    return macro_f1(measured.labels[dev], predicted, n_labels=weights.shape[1])


def compare(turns: Sequence[Turn], measured: Measured, plan: Plan) -> Comparison:
    """Train the two rivals of the federation on the same people and features."""
    people = {
        branch: np.array([trainable(turn) and turn.branch == branch for turn in turns])
        for branch in sorted({turn.branch for turn in turns})
    }
    everyone = np.logical_or.reduce(list(people.values()))
    owners = _owners(turns)
    central = fit_central(
        measured.features[everyone],
        measured.labels[everyone],
        len(plan.labels),
        owners=owners[everyone],
    )
    alone = {}
    with tempfile.TemporaryDirectory() as folder:
        gate = _scratch_gate(Path(folder))
        for branch, mask in people.items():
            bags = Bags(
                features=measured.features[mask],
                labels=measured.labels[mask],
                owners=owners[mask],
            )
            alone[branch] = score(_train_alone(bags, plan, gate), turns, measured)
    k = max(1, _largest_k(turns))
    return Comparison(
        central=score(central, turns, measured),
        alone=alone,
        largest_k=k,
        epsilon_at_k=epsilon_at_nodes(plan, k),
    )


def _largest_k(turns: Sequence[Turn]) -> int:
    places: dict[str, set[str]] = {}
    for turn in turns:
        if trainable(turn):
            places.setdefault(turn.customer, set()).add(turn.branch)
    return max((len(branches) for branches in places.values()), default=0)


def _owners(turns: Sequence[Turn]) -> NDArray[np.int64]:
    names = {name: number for number, name in enumerate(sorted({t.customer for t in turns}))}
    return np.array([names[turn.customer] for turn in turns])


def _train_alone(bags: Bags, plan: Plan, gate: Gate) -> FloatArray:
    """Run the plan's rounds on one branch; the candidate is the mean over the second half."""
    weights = np.zeros((plan.features, len(plan.labels)), dtype=np.float32)
    kept = []
    for round_number in range(1, plan.rounds + 1):
        weights = train_round(
            weights,
            bags,
            mechanism=plan.mechanism,
            labels=len(plan.labels),
            permit=_scratch_permit(gate, people=len(np.unique(bags.owners))),
            now=time.time(),
        )
        if 2 * round_number > plan.rounds:
            kept.append(weights)
    mean: FloatArray = np.mean(kept, axis=0, dtype=np.float32)
    return mean


def _scratch_gate(folder: Path) -> Gate:
    key = SigningKey.generate("harness")
    log = EvidenceLog(folder / "log.db", key, origin="harness", clock=time.time)
    return Gate(engine=PolicyEngine.load(), log=log, clock=time.time, batch_key=bytes(32))


def _scratch_permit(gate: Gate, *, people: int) -> Permit:
    now = int(time.time())
    grant = Grant(
        purpose=Purpose.TRAINING,
        modalities=frozenset({Modality.TEXT}),
        notice_version=1,
        explicit=True,
        granted_at=now,
        expires_at=now + 3600,
    )
    played = [
        Standing(
            subject=SubjectId(f"played-{number}"),
            as_of=now,
            age=AgeBand.ADULT,
            informed_at=now,
            grants=(grant,),
        )
        for number in range(people)
    ]
    governance = Governance(
        as_of=now,
        stopped=False,
        dpia_purposes=frozenset({Purpose.TRAINING}),
        minimum_notice=1,
        standing_max_age_s=3600,
    )
    request = UseRequest(
        node=NodeId("harness"),
        action=Action.TRAIN,
        purpose=Purpose.TRAINING,
        subject=SubjectId("batch"),
        facts=Facts(protected=True),
    )
    return gate.open_batch(request, played, governance, context={"run": "alone"})
