"""Choose the settings of private training, each set's on the *other* sets than itself.

`python -m tests.bench.tuning --data DIR --epsilon 2 --json` tries a grid from the shipped public
head on the three federations of `tests.bench.learning_tasks` by the product's own round
(`tests.bench.federate`) and prints a row for each setting: its mean ratio to the non-private
central head over tasks and draws. What is reported for one set takes the setting that is best on
the mean of the other two; its own rows choose nothing. The choices are copied by hand into
`tests.bench.private_learning`, so that a plan is fixed before anything is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deploy.report import Row, rows_to_json
from models.central import fit_central
from policies.parts import Basis
from tests.bench.federate import FloatArray, Setting, federate
from tests.bench.learning_tasks import TASKS, Task, load_task

CENTRE = Setting(clip=0.5, people_a_rate=200.0, momentum=0.0, steps=30, sample_rate=0.1, rounds=10)
WHITENED = replace(CENTRE, basis=Basis.WHITENED)
GRID = (
    CENTRE,
    *(replace(CENTRE, people_a_rate=rate) for rate in (50.0, 100.0)),
    replace(CENTRE, steps=60),
    *(replace(WHITENED, people_a_rate=rate) for rate in (50.0, 100.0, 200.0)),
    *(replace(WHITENED, people_a_rate=rate, clip=1.0) for rate in (100.0, 200.0, 400.0)),
    *(
        replace(WHITENED, people_a_rate=rate, sample_rate=0.5, steps=6)
        for rate in (10.0, 20.0, 40.0)
    ),
)
"""What suited in the features as they are, of a wider grid, and what lies around it in the
whitened ones: twice the clip, few large steps, rates on both sides of what suits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A task and the score of the non-private central head."""

    task: Task
    central: float

    def ratio(self, weights: FloatArray) -> float:
        """Return a head's score as a ratio to the central one's."""
        return self.task.score(weights) / self.central


def prepare(task: Task) -> Prepared:
    """Fit the central head."""
    pooled = task.pooled()
    weights = fit_central(pooled.features, pooled.labels, len(task.labels), owners=pooled.owners)
    return Prepared(task=task, central=task.score(weights))


def choose(ratios: Mapping[Setting, Mapping[str, Sequence[float]]], *, apart: str) -> Setting:
    """Return the setting with the best mean over all tasks but the one that is kept apart."""

    def mean(setting: Setting) -> float:
        found = ratios[setting]
        return float(np.mean([np.mean(found[name]) for name in found if name != apart]))

    return max(ratios, key=mean)


def rows(prepared: Sequence[Prepared], *, epsilon: float, draws: int) -> list[Row]:
    """Return a row for each setting and for each set's choice."""
    ratios: dict[Setting, dict[str, list[float]]] = {}
    made = []
    for setting in GRID:
        ratios[setting] = {
            one.task.name: [
                one.ratio(federate(one.task, setting, epsilon=epsilon)) for _ in range(draws)
            ]
            for one in prepared
        }
        for name, found in ratios[setting].items():
            made.append(_row(f"{name}, epsilon {epsilon:g}: {setting.words()}", found))
            print(made[-1].value, made[-1].name, file=sys.stderr, flush=True)
    for one in prepared:
        best = choose(ratios, apart=one.task.name)
        found = [
            value for name, some in ratios[best].items() if name != one.task.name for value in some
        ]
        made.append(_row(f"for {one.task.name}, chosen on the others: {best.words()}", found))
        print(made[-1].value, made[-1].name, file=sys.stderr, flush=True)
    return made


def _row(name: str, found: Sequence[float]) -> Row:
    return Row(name=name, value=round(float(np.mean(found)), 4), unit="of central")


def main() -> None:
    """Read the arguments, tune, and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tuning")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/*.csv.gz")
    parser.add_argument("--epsilon", type=float, default=2.0)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    asked = parser.parse_args()
    prepared = [prepare(load_task(name, asked.data)) for name in TASKS]
    found = rows(prepared, epsilon=asked.epsilon, draws=asked.draws)
    if asked.json:
        print(rows_to_json(found))
        return
    for row in found:
        print(f"{row.value!s:<8} {row.name}")


if __name__ == "__main__":
    main()
