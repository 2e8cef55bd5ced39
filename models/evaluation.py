"""How good a head is: macro-F1, and a table by label.

Pure functions over arrays that the caller may already see. A figure computed from people's
data that leaves a node has a ledger entry, which is the caller's to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import EvaluationInvalid

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """Precision, recall and F1 of one label, each 0 where it is not defined, and its support."""

    precision: float
    recall: float
    f1: float
    support: int


def label_table(truth: IntArray, predicted: IntArray, *, n_labels: int) -> tuple[LabelFigures, ...]:
    """Return the figures of each label, in order; `truth` and `predicted` are `(turn,)`.

    Raises:
        EvaluationInvalid: The two differ in length, or hold an index that is no label.
    """
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise EvaluationInvalid(f"truth is {truth.shape} and predicted {predicted.shape}")
    both = np.concatenate([truth, predicted])
    if both.size and not (both.min() >= 0 and both.max() < n_labels):
        raise EvaluationInvalid(f"an index lies outside the {n_labels} labels")
    table = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(table, (truth, predicted), 1)
    return tuple(_figures(table, label) for label in range(n_labels))


def macro_f1(truth: IntArray, predicted: IntArray, *, n_labels: int) -> float:
    """Return the mean F1 over all labels; one that never occurs nor is predicted counts as 0.

    Raises:
        EvaluationInvalid: As `label_table`.
    """
    table = label_table(truth, predicted, n_labels=n_labels)
    return float(np.mean([figures.f1 for figures in table]))


def unweighted_recall(truth: IntArray, predicted: IntArray, *, n_labels: int) -> float:
    """Return the mean recall over labels (UAR), each label alike however rare.

    Raises:
        EvaluationInvalid: As `label_table`.
    """
    table = label_table(truth, predicted, n_labels=n_labels)
    return float(np.mean([figures.recall for figures in table]))


def predict(weights: npt.NDArray[Any], features: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the most likely label of each row: `(turn,)` from `(turn, feature)`."""
    return np.asarray((features @ weights).argmax(axis=1), dtype=np.int64)


def _figures(table: npt.NDArray[np.int64], label: int) -> LabelFigures:
    """Return one label's figures from the table of truth (rows) and prediction (columns)."""
    right, told, support = table[label, label], table[:, label].sum(), table[label].sum()
    return LabelFigures(
        precision=float(right / told) if told else 0.0,
        recall=float(right / support) if support else 0.0,
        f1=float(2 * right / (told + support)) if told + support else 0.0,
        support=int(support),
    )
