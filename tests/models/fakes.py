"""Permits, plans and fixed noise for the tests of `models`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from policies.permit import Permit
from policies.terms import Mechanism, Plan
from policies.vocabulary import (
    Action,
    DecisionId,
    Digest,
    Emotion,
    Modality,
    NodeId,
    Purpose,
    SubjectId,
)

NOW = 1_000.0
DIGEST = Digest("ab" * 32)
LABELS = (("frustration", Emotion.ANGER), ("calm", Emotion.NEUTRAL), ("joy", Emotion.JOY))


def permit(
    *subjects: str, action: Action = Action.TRAIN, purpose: Purpose = Purpose.TRAINING
) -> Permit:
    """Return a permit that is valid at `NOW`, as the gate would make it."""
    return Permit(
        decision_id=DecisionId("decision-1"),
        node=NodeId("node-1"),
        action=action,
        purpose=purpose,
        modality=Modality.TEXT,
        subjects=frozenset(SubjectId(subject) for subject in subjects),
        use=None,
        policy_digest=DIGEST,
        log_index=0,
        issued_at=NOW - 1,
        expires_at=NOW + 30,
    )


def training_permit(people: int = 10_000) -> Permit:
    """Return a training permit for a batch of that many people."""
    return permit(*(f"person-{number}" for number in range(people)))


def mechanism(**changes: Any) -> Mechanism:
    """Return a mechanism of one unsampled step of plain descent, with changes."""
    return Mechanism(
        **{
            "clip": 0.5,
            "noise_multiplier": 2.0,
            "sample_rate": 1.0,
            "nominal_people": 4,
            "steps": 1,
            "learning_rate": 1.0,
            "momentum": 0.0,
            "max_turns": 8,
            "count_noise": 50.0,
            **changes,
        }
    )


def plan(**changes: Any) -> Plan:
    """Return a plan of ten rounds with the mechanism changed."""
    return Plan(
        name="test",
        labels=LABELS,
        features=385,
        encoder_digest=DIGEST,
        rounds=10,
        epsilon=2.0,
        delta=1e-5,
        mechanism=mechanism(
            **{"steps": 30, "sample_rate": 0.1, "noise_multiplier": 3.9, **changes}
        ),
        minimum_people=1,
        minimum_nodes=1,
        deadline_s=1.0,
    )


@dataclass(frozen=True, slots=True)
class Silence:
    """Noise of zero; everybody is sampled."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return zeros."""
        del std
        return np.zeros(shape)

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return everybody."""
        del rate
        return np.ones(count, dtype=np.bool_)


class Replayed:
    """The same noise and the same sample at each use, from a seed; the first people only."""

    def __init__(self, *, seed: int = 0, people: int | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._sampling = np.random.default_rng(seed + 1)
        self._people = people

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return seeded normal values."""
        return self._random.normal(scale=std, size=shape)

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return a seeded sample of the first `people`; nobody after them is in."""
        first = count if self._people is None else min(self._people, count)
        mask = np.zeros(count, dtype=np.bool_)
        mask[:first] = self._sampling.random(first) < rate
        return mask


def bags(*, people: int, features: int = 6, labels: int = 3, seed: int = 0) -> Bags:
    """Return made-up bags of one to five turns, norms about one."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(people), random.integers(1, 6, people))
    rows = random.normal(size=(len(owners), features)) / np.sqrt(features)
    return Bags(
        features=rows.astype(np.float32),
        labels=random.integers(0, labels, len(owners)),
        owners=random.permutation(owners),
    )


def joined(first: Bags, second: Bags) -> Bags:
    """Return the turns of both, the second's after the first's."""
    return Bags(
        features=np.vstack([first.features, second.features]),
        labels=np.append(first.labels, second.labels),
        owners=np.append(first.owners, second.owners),
    )


def one_person(*, turns: int, owner: int, features: int = 6, value: float = 1.0) -> Bags:
    """Return the bag of one person who said the same thing `turns` times."""
    return Bags(
        features=np.full((turns, features), value, dtype=np.float32),
        labels=np.ones(turns, dtype=np.int64),
        owners=np.full(turns, owner),
    )
