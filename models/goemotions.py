"""GoEmotions (Demszky et al. 2020) as the public base is taught from it: comments, 28 labels.

A tenth of train is kept apart, by a hash of the text, for every choice made after the adapter.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import TrainingInvalid
from models.label_sets import GOEMOTIONS, LabelSet, label_sets

KEPT_APART = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comments:
    """Texts with their labels `(text, 28)`, 0 or 1."""

    texts: tuple[str, ...]
    labels: npt.NDArray[np.float32]


def read(path: Path) -> dict[str, Comments]:
    """Return train, apart (of train) and dev, of a gzipped CSV with text, labels and split.

    Raises:
        TrainingInvalid: The file cannot be read, lacks a column or a part, or has a label that
            GoEmotions has not; says which.
    """
    parts: dict[str, list[dict[str, str]]] = {"train": [], "apart": [], "dev": []}
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                apart = row["split"] == "train" and _draw(row["text"]) < KEPT_APART
                parts["apart" if apart else row["split"]].append(row)
        return {name: _comments(rows) for name, rows in parts.items()}
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingInvalid(f"{path} cannot be read: {type(error).__name__}") from error
    except KeyError as error:
        raise TrainingInvalid(
            f"{path} has no {error}: columns are text, labels, split; splits are train and dev"
        ) from error


def _draw(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def _comments(rows: Sequence[Mapping[str, str]]) -> Comments:
    places = {name: place for place, name in enumerate(label_sets()[GOEMOTIONS].names)}
    labels = np.zeros((len(rows), len(places)), np.float32)
    if not rows:
        raise TrainingInvalid("no comments in one of the parts: train and dev are needed")
    for number, row in enumerate(rows):
        for label in row["labels"].split(";"):
            labels[number, places[label]] = 1
    return Comments(texts=tuple(" ".join(row["text"].split()) for row in rows), labels=labels)


def gathered(labels: npt.NDArray[np.float32], wanted: LabelSet) -> npt.NDArray[np.int64]:
    """Return for each comment the place of its one label in the set, -1 where there is none."""
    names = np.array(label_sets()[GOEMOTIONS].names)
    found = [wanted.gather(frozenset(names[row > 0])) for row in labels]
    return np.array([-1 if name is None else wanted.names.index(name) for name in found])
