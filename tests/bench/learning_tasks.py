"""Federations to measure private learning on: public texts of real people, at their nodes.

- airlines: messages to six airlines; a node is an airline, a person one of its users;
- meld: four emotions of a television series as others report it; ten nodes of whole dialogues.
  The unit is a *dialogue*, never called a person: a character speaks in up to hundreds;
- isear: seven emotions told by respondents; a person is a respondent, at one of six nodes.

Runs begin at the shipped public head, as the product's do: at its columns for those labels that
it knows, at zero for shame and guilt, which it does not.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from models.bags import Bags
from models.evaluation import IntArray, macro_f1, predict, unweighted_recall
from models.label_sets import label_sets
from models.pretrained import public_head
from tests.bench.encoded import encoded

Row = Mapping[str, str]
Score = Callable[..., float]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One data set as a federation: bags of each node, and rows apart to score on.

    `places` `(row,)` is the node at which each of the rows apart would be read, `persons` whose
    it is, in the numbers of no bag; `names` are the nodes'.
    `largest_k` is at how many nodes the most connected person lies, which only a benchmark may
    know; `nominal_people` the public constant, one for all nodes.
    """

    name: str
    unit: str
    measure: str
    labels: tuple[str, ...]
    start: FloatArray
    nodes: tuple[Bags, ...]
    features: FloatArray
    truth: IntArray
    places: IntArray
    persons: IntArray
    names: tuple[str, ...]
    largest_k: int
    nominal_people: int

    def score(self, weights: FloatArray) -> float:
        """Return the task's measure of a head on the rows apart."""
        return self.score_of(predict(weights, self.features))

    def score_of(self, told: IntArray) -> float:
        """Return the task's measure of what was told of the rows apart."""
        scorer = macro_f1 if self.measure == "macro-F1" else unweighted_recall
        return scorer(self.truth, told, n_labels=len(self.labels))

    def pooled(self) -> Bags:
        """Return everybody's turns together; a person at several nodes is one."""
        return Bags(
            features=np.vstack([bags.features for bags in self.nodes]),
            labels=np.concatenate([bags.labels for bags in self.nodes]),
            owners=np.concatenate([bags.owners for bags in self.nodes]),
        )


def load_task(name: str, data: Path) -> Task:
    """Read and encode one task from the folder of data sets."""
    rows, labels, unit, measure = _READERS[name](data)
    train = [row["split"] == "train" for row in rows]
    features = encoded([row["text"] for row in rows])
    truth = np.array([labels.index(row["label"]) for row in rows])
    owners = np.unique([row["subject"] for row in rows], return_inverse=True)[1]
    places = sorted({row["node"] for row in rows})
    node = np.array([places.index(row["node"]) for row in rows])
    held = np.array(train)
    bags = [
        Bags(features=features[mine], labels=truth[mine], owners=owners[mine])
        for mine in (held & (node == place) for place in range(len(places)))
    ]
    people = [len(np.unique(one.owners)) for one in bags]
    at = np.unique(np.stack([owners[held], node[held]]), axis=1)[0]
    return Task(
        name=name,
        unit=unit,
        measure=measure,
        labels=labels,
        start=public_start(labels),
        nodes=tuple(bags),
        features=features[~held],
        truth=truth[~held],
        places=node[~held],
        persons=np.unique(owners[~held], return_inverse=True)[1],
        names=tuple(places),
        largest_k=int(np.bincount(at).max()),
        nominal_people=max(50, round(float(np.mean(people)) / 50) * 50),
    )


def public_start(labels: Sequence[str]) -> FloatArray:
    """Return the shipped head's columns for these labels, zero for those it does not know."""
    for known in label_sets().values():
        head = public_head(known.names)
        if head is not None and len(set(labels) & set(known.names)) >= min(4, len(labels)):
            start = np.zeros((len(head.weights), len(labels)), dtype=np.float32)
            for place, label in enumerate(labels):
                if label in known.names:
                    start[:, place] = head.weights[:, known.names.index(label)]
            return start
    raise ValueError(f"no shipped head knows any of {labels}")


def _read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a gzipped CSV that have a text."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["text"].strip()]


_Read = tuple[list[dict[str, str]], tuple[str, ...], str, str]


def _airlines(data: Path) -> _Read:
    rows = _read(data / "text" / "airline_tweets.csv.gz")
    named = [{**row, "label": row["sentiment"], "node": row["tenant"]} for row in rows]
    return named, ("negative", "neutral", "positive"), "person at a node", "macro-F1"


def _meld(data: Path) -> _Read:
    labels = ("anger", "joy", "neutral", "sadness")
    rows = [row for row in _read(data / "text" / "meld.csv.gz") if row["label"] in labels]
    dialogues = sorted({(row["split"], row["dialogue"]) for row in rows})
    node = dict(zip(dialogues, _dealt(len(dialogues), nodes=10), strict=True))
    named = [
        {
            **row,
            "subject": f"{row['split']}/{row['dialogue']}",
            "node": f"{node[row['split'], row['dialogue']]:02}",
        }
        for row in rows
    ]
    return named, labels, "dialogue", "UAR"


def _isear(data: Path) -> _Read:
    rows = _read(data / "text" / "isear.csv.gz")
    people = sorted({row["subject"] for row in rows})
    node = dict(zip(people, _dealt(len(people), nodes=6), strict=True))
    named = [{**row, "node": str(node[row["subject"]])} for row in rows]
    labels = ("anger", "disgust", "fear", "guilt", "joy", "sadness", "shame")
    return named, labels, "person", "macro-F1"


def _dealt(count: int, *, nodes: int) -> list[int]:
    """Return a node for each, the same in every run: public texts have no nodes of their own."""
    return [int(place) for place in np.random.default_rng(20).integers(nodes, size=count)]


_READERS: Mapping[str, Callable[[Path], _Read]] = MappingProxyType(
    {"airlines": _airlines, "meld": _meld, "isear": _isear}
)
TASKS = tuple(_READERS)
