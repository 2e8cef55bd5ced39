"""Choose the settings of private training on public data that no result is reported on.

`python -m tests.bench.tuning --data DIR --json` prints one row for each setting and task, and
the chosen one, by the mean over tasks of macro-F1 as a ratio to the non-private central head
on the same rows. Two stages, since near the top seeds differ more than settings do: the whole
grid on a few seeds, then the best three on fresh ones, where a setting that samples fewer
people a round wins if it is within one standard error (paired by seed) of the best. Six nodes,
ten rounds, epsilon 2 for a person at a node at delta 1e-5 with the head count inside, uniform
mean of the nodes, and the mean of the weights over the second half of the rounds.

Trying many settings needs a fast path: `FastNode` never forms a person's gradient, and
clips by the norm that the turns' inner products give. Before anything is tried it must agree
with `models.private_training` to 1e-5 on a round with the same noise. Its noise is seeded,
which the product's never is: nobody in these texts is protected by this program.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.accounting import calibrate
from models.bags import Bags
from models.central import fit_central
from models.encoder import Encoder
from models.evaluation import macro_f1, predict
from models.heads import LinearHead
from models.private_training import train_round
from policies.terms import Mechanism
from tests.bench.tuning_tasks import Task, load_tasks
from tests.models.fakes import NOW, Replayed, training_permit

EPSILON, DELTA, ROUNDS, COUNT_NOISE = 2.0, 1e-5, 10, 50.0
AIM, AIM_LABELS = 0.88, 3
MAX_TURNS = 8
FINALISTS, FRESH_SEEDS = 3, 6

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is tuned; the noise follows from it."""

    clip: float
    learning_rate: float
    momentum: float
    steps: int
    sample_rate: float

    def mechanism(self, *, nominal_people: int) -> Mechanism:
        """Return the mechanism that spends the whole budget in ten rounds."""
        return Mechanism(
            clip=self.clip,
            noise_multiplier=calibrate(
                epsilon=EPSILON,
                delta=DELTA,
                rounds=ROUNDS,
                steps=self.steps,
                sample_rate=self.sample_rate,
                count_noise=COUNT_NOISE,
            ),
            sample_rate=self.sample_rate,
            nominal_people=nominal_people,
            steps=self.steps,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            max_turns=MAX_TURNS,
            count_noise=COUNT_NOISE,
        )


CENTRE = Setting(clip=0.5, learning_rate=8.0, momentum=0.0, steps=30, sample_rate=0.1)
GRID = (
    CENTRE,
    *(replace(CENTRE, learning_rate=rate) for rate in (2.0, 4.0, 6.0, 12.0)),
    *(replace(CENTRE, clip=clip, learning_rate=4.0 / clip) for clip in (0.25, 0.35, 1.0)),
    *(replace(CENTRE, momentum=0.9, learning_rate=rate) for rate in (0.3, 1.0)),
    replace(CENTRE, momentum=0.5, learning_rate=4.0),
    replace(CENTRE, sample_rate=0.2),
    replace(CENTRE, steps=10, learning_rate=16.0),
    replace(CENTRE, steps=60, learning_rate=4.0),
)
"""The centre, and what lies around it along each axis; found coarser by hand on these tasks."""


class FastNode:
    """A node's people as padded turns with their inner products `(person, turn, turn)`."""

    def __init__(self, bags: Bags, *, labels: int) -> None:
        owners, inverse = np.unique(bags.owners, return_inverse=True)
        self.people = len(owners)
        order = np.argsort(inverse, kind="stable")
        sizes = np.bincount(inverse)
        place = np.arange(len(inverse)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept = place < MAX_TURNS
        width = int(min(MAX_TURNS, sizes.max()))
        self._rows = np.full((self.people, width), len(inverse))
        self._rows[inverse[order][kept], place[kept]] = order[kept]
        self._features = np.vstack([bags.features, np.zeros((1, bags.features.shape[1]))])
        self._truth = np.vstack([np.eye(labels)[bags.labels], np.zeros((1, labels))])
        turns = self._features[self._rows]
        self._products = np.einsum("ptf,psf->pts", turns, turns)
        self._there = (self._rows < len(inverse))[..., None]

    def clipped_sum(
        self, weights: FloatArray, sampled: npt.NDArray[np.bool_], clip: float
    ) -> FloatArray:
        """Return the sum over sampled people of each one's clipped gradient."""
        rows = self._rows[sampled]
        turns = self._features[rows.ravel()]
        scores = turns @ weights
        errors = np.exp(scores - scores.max(axis=1, keepdims=True))
        errors = errors / errors.sum(axis=1, keepdims=True) - self._truth[rows.ravel()]
        errors = errors.reshape(*rows.shape, -1) * self._there[sampled]
        squares = np.einsum("pts,ptl,psl->p", self._products[sampled], errors, errors)
        norms = np.sqrt(np.maximum(squares, 0.0))
        errors *= (clip / np.maximum(norms, clip))[:, None, None]
        return np.asarray(turns.T @ errors.reshape(len(turns), -1))

    def train_round(self, weights: FloatArray, m: Mechanism, noise: Replayed) -> FloatArray:
        """Do what `models.private_training.train_round` does."""
        velocity = np.zeros_like(weights)
        for _ in range(m.steps):
            sampled = noise.poisson_sample(self.people, rate=m.sample_rate)
            total = self.clipped_sum(weights, sampled, m.clip)
            total += noise.gaussian(weights.shape, std=m.noise_multiplier * m.clip)
            velocity = m.momentum * velocity + total / (m.sample_rate * m.nominal_people)
            weights = weights - m.learning_rate * velocity
        return weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A task with its fast nodes and the score of the non-private central head."""

    task: Task
    nodes: tuple[FastNode, ...]
    central: float


def prepare(task: Task) -> Prepared:
    """Fit the central head and check the fast path against the product's.

    Raises:
        SystemExit: The two paths differ.
    """
    nodes = tuple(FastNode(bags, labels=task.labels) for bags in task.nodes)
    gap = _disagreement(task.nodes[0], nodes[0], labels=task.labels)
    if gap > 1e-5:
        sys.exit(f"the fast path differs from models.private_training by {gap:.2e} on {task.name}")
    pooled = task.pooled()
    weights = fit_central(pooled.features, pooled.labels, task.labels, owners=pooled.owners)
    return Prepared(task=task, nodes=nodes, central=score(task, weights))


def _disagreement(bags: Bags, fast: FastNode, *, labels: int) -> float:
    """Return the largest difference of one round's weights between the two paths."""
    m = replace(CENTRE, steps=5).mechanism(nominal_people=500)
    start = np.zeros((bags.features.shape[1], labels))
    real = train_round(
        start,
        bags,
        mechanism=m,
        labels=labels,
        permit=training_permit(),
        now=NOW,
        noise=Replayed(),
    )
    other = fast.train_round(start, m, Replayed())
    return float(np.abs(real - other).max() / max(1.0, np.abs(real).max()))


def federate(prepared: Prepared, setting: Setting, *, seed: int) -> FloatArray:
    """Return the release candidate of ten rounds over the nodes."""
    task = prepared.task
    m = setting.mechanism(nominal_people=task.nominal_people)
    noise = [Replayed(seed=1000 * seed + 2 * place) for place in range(len(prepared.nodes))]
    weights = np.zeros((task.features.shape[1], task.labels))
    late = []
    for number in range(1, ROUNDS + 1):
        replies = [
            node.train_round(weights, m, drawn)
            for node, drawn in zip(prepared.nodes, noise, strict=True)
        ]
        weights = np.mean(replies, axis=0)
        if number > ROUNDS // 2:
            late.append(weights)
    return np.asarray(np.mean(late, axis=0))


def score(task: Task, weights: npt.NDArray[np.floating]) -> float:
    """Return macro-F1 on the task's rows apart."""
    return macro_f1(task.truth, predict(weights, task.features), n_labels=task.labels)


def ratios(prepared: Sequence[Prepared], setting: Setting, *, seeds: range) -> FloatArray:
    """Return the ratios to central `(task, seed)`."""
    return np.array(
        [
            [score(p.task, federate(p, setting, seed=seed)) / p.central for seed in seeds]
            for p in prepared
        ]
    )


def choose(finals: Mapping[Setting, FloatArray]) -> Setting:
    """Return the best mean, or the cheapest setting within one paired standard error of it.

    `finals` holds `(task, seed)` ratios on the same fresh seeds; two seeds at least.
    """
    by_seed = {setting: found.mean(axis=0) for setting, found in finals.items()}
    best = max(by_seed, key=lambda setting: float(by_seed[setting].mean()))

    def close(setting: Setting) -> bool:
        gap = by_seed[best] - by_seed[setting]
        return bool(gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap)))

    return min(filter(close, by_seed), key=lambda setting: setting.steps * setting.sample_rate)


def threshold(prepared: Sequence[Prepared], setting: Setting, *, answered: float) -> float:
    """Return the threshold at which the share `answered` of the first task's turns is read."""
    task = prepared[0].task
    weights = federate(prepared[0], setting, seed=0).astype(np.float32)
    head = LinearHead(labels=tuple(map(str, range(task.labels))), weights=weights)
    confidence = head.probabilities(task.features).max(axis=1)
    return float(np.floor(20 * np.quantile(confidence, 1 - answered)) / 20)


def rows(prepared: Sequence[Prepared], *, seeds: int) -> Iterator[dict[str, object]]:
    """Yield a row for each setting, for each finalist on fresh seeds, then the chosen one's."""
    means: dict[Setting, float] = {}
    for setting in GRID:
        means[setting] = float(ratios(prepared, setting, seeds=range(seeds)).mean())
        yield _row(f"mean ratio {_words(setting)}", means[setting])
    finals: dict[Setting, FloatArray] = {}
    for setting in sorted(means, key=means.__getitem__, reverse=True)[:FINALISTS]:
        finals[setting] = ratios(prepared, setting, seeds=range(seeds, seeds + FRESH_SEEDS))
        yield _row(f"mean ratio on fresh seeds {_words(setting)}", float(finals[setting].mean()))
    best = choose(finals)
    for p, found in zip(prepared, finals[best], strict=True):
        yield _row(f"{p.task.name} central macro-F1", p.central)
        yield _row(
            f"{p.task.name} ratio to central, chosen {_words(best)}",
            float(found.mean()),
            aim=AIM if p.task.labels == AIM_LABELS else None,
        )
    yield _row("abstain_below for 95 % answered", threshold(prepared, best, answered=0.95))


def _words(setting: Setting) -> str:
    """Return the setting in one line."""
    return (
        f"clip {setting.clip:g} learning_rate {setting.learning_rate:g} momentum "
        f"{setting.momentum:g} steps {setting.steps} sample_rate {setting.sample_rate:g}"
    )


def _row(name: str, value: float, *, aim: float | None = None) -> dict[str, object]:
    """Return a row as every benchmark prints it."""
    return {
        "name": name,
        "value": round(value, 4),
        "unit": "ratio",
        "aim": aim,
        "held": None if aim is None else value >= aim,
    }


def main() -> None:
    """Read the arguments, tune, and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with text/*.csv.gz")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    asked = parser.parse_args()
    prepared = [prepare(task) for task in load_tasks(asked.data, Encoder.load(threads=2))]
    found = []
    for row in rows(prepared, seeds=asked.seeds):
        found.append(row)
        print(f"{row['value']:<8} {row['name']}", file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
