"""The rivals of a federation: nobody private, and everybody alone. The harness's heavy part.

Run in a process of its own, by `deploy.apart`, so that its memory is given back. "Alone" is
private at the same epsilon; its permits come from a gate over a scratch log, because there is
no other way to a private computation.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.gate import BATCH_SUBJECT, Gate
from audit.log import EvidenceLog
from audit.signing import SigningKey
from client_node.redaction import Redactor
from deploy.harness import Comparison, FloatArray, Measured, Recall, score, trainable
from deploy.turns import Turn
from models.accounting import epsilon_at_nodes
from models.bags import Bags
from models.central import fit_central
from models.encoder import Encoder
from models.pretrained import public_head
from models.private_training import train_round
from policies.decision import Facts, UseRequest
from policies.engine import PolicyEngine
from policies.permit import Permit
from policies.standing import Governance, Grant, Standing
from policies.terms import Plan
from policies.vocabulary import Action, AgeBand, Modality, NodeId, Purpose, SubjectId


def measure(turns: Sequence[Turn], labels: Sequence[str], encoder: Path | None) -> Measured:
    """Redact and encode every turn as a node would."""
    redactor = Redactor.load(encoder)
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
    names = tuple(name for name, _ in plan.labels)
    shipped = public_head(names)
    nothing = np.zeros((plan.features, len(names)), dtype=np.float32)
    start = nothing if shipped is None else shipped.weights
    alone = {}
    with tempfile.TemporaryDirectory() as folder:
        gate = _scratch_gate(Path(folder))
        for branch, mask in people.items():
            bags = Bags(
                features=measured.features[mask],
                labels=measured.labels[mask],
                owners=owners[mask],
            )
            alone[branch] = score(_train_alone(start, bags, plan, gate), turns, measured)
    k = max(1, _largest_k(turns))
    return Comparison(
        central=score(central, turns, measured),
        shipped=None if shipped is None else score(shipped.weights, turns, measured),
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


def _train_alone(start: FloatArray, bags: Bags, plan: Plan, gate: Gate) -> FloatArray:
    """Run the plan's rounds on one branch; the candidate is the mean over the second half."""
    weights = start
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
        subject=BATCH_SUBJECT,
        facts=Facts(protected=True),
    )
    return gate.open_batch(request, played, governance, context={"run": "alone"})
