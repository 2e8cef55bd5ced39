"""A federation in one process: the product's own round and aggregation, with nothing around them.

`models.private_training.train_round` at each node, with noise of the operating system, and
`coordinator.aggregation` at the centre; no gate, log or ledger, whose cost is the same whatever
is learnt. Permits are made up: the texts are public.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coordinator.aggregation import average, candidate
from models.accounting import calibrate
from models.bags import Bags
from models.private_training import train_round
from policies.parts import Basis
from policies.terms import Mechanism
from tests.bench.learning_tasks import Task
from tests.models.fakes import NOW, training_permit

DELTA = 1e-5
HEAD_COUNT_NOISE = 20.0
MAX_TURNS = 8
FloatArray = npt.NDArray[np.float32]
PERMIT = training_permit(10_000)


def table_noise(epsilon: float) -> float:
    """Return the standard deviation of a node's one table of counts (`models.private_counts`).

    Two Gaussians on the same people cost what one costs whose precision is the sum of theirs:
    so head count and table enter the accounting as one count.
    """
    return 40.0 / epsilon


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is tuned; the noise follows from it.

    From a shipped head the learning rate is in proportion to the declared people:
    `nominal_people / people_a_rate`, so that noise moves the weights alike at every size.
    """

    clip: float
    people_a_rate: float
    momentum: float
    steps: int
    sample_rate: float
    rounds: int
    basis: Basis = Basis.PLAIN

    def mechanism(self, *, epsilon: float, nominal_people: int) -> Mechanism:
        """Return the mechanism that spends the whole budget, both counts of a run inside."""
        count_noise = (HEAD_COUNT_NOISE**-2 + table_noise(epsilon) ** -2) ** -0.5
        return Mechanism(
            clip=self.clip,
            noise_multiplier=calibrate(
                epsilon=epsilon,
                delta=DELTA,
                rounds=self.rounds,
                steps=self.steps,
                sample_rate=self.sample_rate,
                count_noise=count_noise,
            ),
            sample_rate=self.sample_rate,
            nominal_people=nominal_people,
            steps=self.steps,
            learning_rate=nominal_people / self.people_a_rate,
            momentum=self.momentum,
            max_turns=MAX_TURNS,
            count_noise=count_noise,
            basis=self.basis,
        )

    def words(self) -> str:
        """Return the setting in one line."""
        return (
            f"clip {self.clip:g}, rate people/{self.people_a_rate:g}, momentum {self.momentum:g}, "
            f"{self.rounds} rounds of {self.steps} steps at {self.sample_rate:g}, {self.basis}"
        )


def federate(task: Task, setting: Setting, *, epsilon: float) -> FloatArray:
    """Return the release candidate of a run over the task's nodes from the public start."""
    mechanism = setting.mechanism(epsilon=epsilon, nominal_people=task.nominal_people)
    weights, aggregates = task.start, []
    for _ in range(setting.rounds):
        weights = average([train_at(bags, weights, mechanism) for bags in task.nodes])
        aggregates.append(weights)
    return candidate(aggregates)


def train_at(bags: Bags, weights: FloatArray, mechanism: Mechanism) -> FloatArray:
    """Return one node's update."""
    return train_round(
        weights,
        bags,
        mechanism=mechanism,
        labels=weights.shape[1],
        permit=PERMIT,
        now=NOW,
    )
