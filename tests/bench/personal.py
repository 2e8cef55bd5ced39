"""What a head of a node's own adds: `python -m tests.bench.personal --data DIR [--json]`.

The nodes of `tests.bench.learning_tasks`, each with `models.personal` as the product fits it, from
several releases: the shipped head before any run, and a run's at each epsilon with the settings of
`tests.bench.private_learning`, which were tuned on other sets. A gain is the difference in
macro-F1 on people (for meld: dialogues) who are in no node, with the 95 % interval of a bootstrap
over them; the calibration error is on the same. Grid and folds were written down before anything
was measured; that a gain must be sure at the node, and the fewest people, were looked at on isear
alone, which is therefore not reported unless asked for.

A node that keeps the release has a row that says nil.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.report import Row, at_most
from models.calibration import expected_calibration_error
from models.evaluation import IntArray, macro_f1
from models.heads import softmax
from models.personal import Personal, difference_interval, personal_head, tables_of
from tests.bench.federate import FloatArray, federate
from tests.bench.learning_tasks import TASKS, Task, load_task
from tests.bench.printed import print_rows
from tests.bench.private_learning import setting_at

EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0)
REPORTED = ("airlines", "meld")
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """Rows apart as they are read by a release alone, and with a local head."""

    truth: IntArray
    persons: IntArray
    before: Logits
    after: Logits

    @property
    def gain(self) -> float:
        """The difference in macro-F1."""
        labels = self.before.shape[1]
        scores = (
            macro_f1(self.truth, logits.argmax(axis=1), n_labels=labels)
            for logits in (self.before, self.after)
        )
        before, after = scores
        return after - before

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the gain over people."""
        person = np.unique(self.persons, return_inverse=True)[1]
        labels = self.before.shape[1]
        was, now = (
            tables_of(self.truth, logits.argmax(axis=1), person, labels=labels)
            for logits in (self.before, self.after)
        )
        return difference_interval(was, now)

    def calibration(self) -> tuple[float, float]:
        """Return the calibration error before and after."""
        before, after = (
            expected_calibration_error(softmax(logits), self.truth)
            for logits in (self.before, self.after)
        )
        return before, after


def read(task: Task, release: FloatArray, heads: Sequence[Personal]) -> Read:
    """Read each of the rows apart at its node."""
    rows = task.features.astype(np.float64)
    before = rows @ release.astype(np.float64)
    after = before.copy()
    for place, head in enumerate(heads):
        mine = task.places == place
        if head.share:
            after[mine] = rows[mine] @ head.weights.astype(np.float64) / head.temperature
    return Read(truth=task.truth, persons=task.persons, before=before, after=after)


def only(found: Read, mine: npt.NDArray[np.bool_]) -> Read:
    """Return some of the rows."""
    return Read(
        truth=found.truth[mine],
        persons=found.persons[mine],
        before=found.before[mine],
        after=found.after[mine],
    )


def measure(task: Task, *, draws: int, epsilons: Sequence[float]) -> Iterator[Row]:
    """Yield the rows of one task, from each release; of a run's the mean over draws."""
    yield from _from(task, "the shipped head", [task.start])
    for epsilon in epsilons:
        setting = setting_at(task.name, epsilon)
        runs = [federate(task, setting, epsilon=epsilon) for _ in range(draws)]
        yield from _from(task, f"a run's release at epsilon {epsilon:g}", runs)


def _from(task: Task, release: str, starts: Sequence[FloatArray]) -> Iterator[Row]:
    heads = [[personal_head(start, bags) for bags in task.nodes] for start in starts]
    reads = [read(task, *pair) for pair in zip(starts, heads, strict=True)]
    worse = 0
    for place, name in enumerate(task.names):
        mine = task.places == place
        people = len(np.unique(task.nodes[place].owners))
        what = f"{task.name} {name} ({people} people), from {release}"
        shares = [one[place].share for one in heads]
        row, high = _gain(what, [only(one, mine) for one in reads], shares=shares)
        worse += high < 0
        yield row
    shares = [head.share for one in heads for head in one]
    yield _gain(f"{task.name}, all nodes, from {release}", reads, shares=shares)[0]
    yield at_most(f"{task.name}, nodes surely worse, from {release}", worse, 0)
    before, after = np.mean([one.calibration() for one in reads], axis=0)
    yield at_most(
        f"{task.name}, calibration error with local heads, from {release}",
        round(float(after), 4),
        round(float(before), 4),
    )


def _gain(what: str, found: Sequence[Read], *, shares: Sequence[float]) -> tuple[Row, float]:
    """Return the row of a gain, mean over draws, and the upper end of its interval."""
    low, high = np.mean([one.interval for one in found], axis=0)
    gain = float(np.mean([one.gain for one in found]))
    taken = f"taken {sum(share > 0 for share in shares)} of {len(shares)}"
    nil = "nil, the release alone" if not any(shares) else f"[{low:+.4f}, {high:+.4f}]"
    return Row(name=f"{what}, gain", value=round(gain, 4), unit=f"{nil}, {taken}"), float(high)


def shown(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, each told on stderr as it comes."""
    made = []
    for row in rows:
        print(row.value, row.unit, row.name, file=sys.stderr, flush=True)
        made.append(row)
    return made


def main() -> None:
    """Read the arguments, measure, and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.personal")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/*.csv.gz")
    parser.add_argument("--draws", type=int, default=3, help="runs of the federation")
    parser.add_argument("--tasks", nargs="+", default=REPORTED, choices=TASKS)
    parser.add_argument("--epsilons", type=float, nargs="+", default=EPSILONS)
    parser.add_argument("--json", action="store_true", help="print a JSON list of rows")
    asked = parser.parse_args()
    rows = [
        row
        for name in asked.tasks
        for row in shown(
            measure(load_task(name, asked.data), draws=asked.draws, epsilons=asked.epsilons)
        )
    ]
    print_rows(rows, as_json=asked.json)


if __name__ == "__main__":
    main()
