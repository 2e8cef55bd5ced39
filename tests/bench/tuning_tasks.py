"""Tasks to tune private training on: public texts cut into six made-up nodes.

The settings of a plan may not come from the data they are reported on, so there are no
customers of airlines here. The shape is what counts: six nodes of some hundred people, about
two turns each. Where a set knows no persons of that kind they are made up, and said so:

- goemotions: comments, three sentiments; made-up people of 1.9 comments on average, nodes of
  very different size;
- meld: seven emotions; a person is a character in one dialogue, a node is a set of dialogues;
- isear: seven emotions; a respondent's answers two by two, a respondent at one node only.

maia_support is left out: 192 conversations over four companies are some fifty people a node,
where epsilon 2 drowns any head of this size.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from models.encoder import Encoder
from models.label_sets import label_sets
from policies.redacted import RedactedText

NODES = 6

IntArray = npt.NDArray[np.int64]
Row = Mapping[str, str]

_SENTIMENT = {
    member: label.name
    for label in label_sets()["sentiment"].labels
    for member in (label.members if label.name != "neutral" else {"neutral"})
}
"""The shipped gatherings, without what is neither: a comment of surprise has no sentiment here."""
_GOEMOTIONS_PEOPLE = (400, 600, 800, 900, 1100, 1500)
_TURNS_EACH = 1.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One data set as a federation: bags of each node, and rows apart to score on."""

    name: str
    labels: int
    nodes: tuple[Bags, ...]
    features: npt.NDArray[np.float32]
    truth: IntArray

    @property
    def nominal_people(self) -> int:
        """Return the public constant: the mean node rounded to a hundred, one for all nodes."""
        people = [len(np.unique(bags.owners)) for bags in self.nodes]
        return max(100, round(float(np.mean(people)) / 100) * 100)

    def pooled(self) -> Bags:
        """Return everybody's turns together, owners told apart between nodes."""
        return Bags(
            features=np.vstack([bags.features for bags in self.nodes]),
            labels=np.concatenate([bags.labels for bags in self.nodes]),
            owners=np.concatenate(
                [bags.owners * NODES + node for node, bags in enumerate(self.nodes)]
            ),
        )


def load_tasks(data: Path, encoder: Encoder) -> tuple[Task, ...]:
    """Read and encode the tasks from the folder of data sets."""
    random = np.random.default_rng(20)
    return (
        _task("goemotions", encoder, *_goemotions(data, random)),
        _task("meld", encoder, *_meld(data, random)),
        _task("isear", encoder, *_isear(data, random)),
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a gzipped CSV that have a text."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["text"].strip()]


def _goemotions(data: Path, random: np.random.Generator) -> tuple[list[Row], list[Row]]:
    """Return rows whose labels agree on a sentiment, with a made-up owner and node each."""
    rows: list[Row] = [
        {**row, "label": sentiment}
        for row in read_rows(data / "text" / "goemotions.csv.gz")
        if (sentiment := _sentiment(row["labels"].split(";")))
    ]
    dev = [row for row in rows if row["split"] == "dev"]
    train = (row for row in rows if row["split"] == "train")
    sizes = np.repeat(np.arange(NODES), _GOEMOTIONS_PEOPLE)
    kept: list[Row] = []
    for owner, node in enumerate(sizes):
        turns = islice(train, int(random.geometric(1 / _TURNS_EACH)))
        kept += [{**row, "owner": str(owner), "node": str(node)} for row in turns]
    return kept, dev


def _sentiment(labels: Sequence[str]) -> str | None:
    """Return the sentiment all labels share, or None."""
    found = {_SENTIMENT.get(label) for label in labels}
    return found.pop() if len(found) == 1 else None


def _meld(data: Path, random: np.random.Generator) -> tuple[list[Row], list[Row]]:
    """Return rows with a character in a dialogue as owner, whole dialogues at one node."""
    rows = read_rows(data / "text" / "meld.csv.gz")
    dialogues = sorted({row["dialogue"] for row in rows})
    node = dict(zip(dialogues, random.integers(NODES, size=len(dialogues)), strict=True))
    named = [
        {**row, "owner": f"{row['dialogue']}/{row['subject']}", "node": str(node[row["dialogue"]])}
        for row in rows
    ]
    return _split(named)


def _isear(data: Path, random: np.random.Generator) -> tuple[list[Row], list[Row]]:
    """Return rows with two answers of a respondent as owner, whole respondents at one node."""
    rows = read_rows(data / "text" / "isear.csv.gz")
    respondents = sorted({row["subject"] for row in rows})
    node = dict(zip(respondents, random.integers(NODES, size=len(respondents)), strict=True))
    told = dict.fromkeys(respondents, -1)
    named = []
    for row in rows:
        subject = row["subject"]
        told[subject] += 1
        named.append(
            {**row, "owner": f"{subject}/{told[subject] // 2}", "node": str(node[subject])}
        )
    return _split(named)


def _split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows to train on and those to score on."""
    train = [row for row in rows if row["split"] == "train"]
    return train, [row for row in rows if row["split"] == "dev"]


def _task(name: str, encoder: Encoder, train: list[Row], dev: list[Row]) -> Task:
    """Encode the rows and cut them into nodes."""
    labels = {label: place for place, label in enumerate(sorted({row["label"] for row in train}))}
    features = encoder.encode([RedactedText(text=row["text"]) for row in train + dev])
    truth = np.array([labels[row["label"]] for row in train + dev])
    owners = np.unique([row["owner"] for row in train], return_inverse=True)[1]
    node: npt.NDArray[Any] = np.array([int(row["node"]) for row in train])
    held = features[: len(train)], truth[: len(train)]
    return Task(
        name=name,
        labels=len(labels),
        nodes=tuple(
            Bags(
                features=held[0][node == place],
                labels=held[1][node == place],
                owners=owners[node == place],
            )
            for place in range(NODES)
        ),
        features=features[len(train) :],
        truth=truth[len(train) :],
    )
