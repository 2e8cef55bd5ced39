"""How good a head is: macro-F1, a table by label, and the non-private head to compare with.

Pure functions over arrays that the caller may already see. A figure computed from people's
data that leaves a node has a ledger entry, which is the caller's to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import EvaluationInvalid

IntArray = npt.NDArray[np.integer[Any]]

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of the L2 penalty that `fit_central` chooses from."""

_FOLDS = 3
_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-4


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


def predict(weights: npt.NDArray[Any], features: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the most likely label of each row: `(turn,)` from `(turn, feature)`."""
    return np.asarray((features @ weights).argmax(axis=1), dtype=np.int64)


def fit_central(
    features: npt.NDArray[Any], labels: IntArray, n_labels: int, *, owners: IntArray | None = None
) -> npt.NDArray[np.float32]:
    """Return the weights `(feature, label)` of a converged multinomial logistic regression.

    NOT private: what pooling everybody's data would give, for comparison alone. The strength
    of the penalty is chosen by cross-validation on these rows, whole people (`owners`) in one
    fold; without owners each row is a person.

    Raises:
        EvaluationInvalid: A label has no row, or too few people to cross-validate.
    """
    if set(np.unique(labels).tolist()) != set(range(n_labels)):
        raise EvaluationInvalid(f"each of the {n_labels} labels needs a row to fit on")
    groups = np.arange(len(labels)) if owners is None else owners
    if len(np.unique(groups)) < _FOLDS:
        raise EvaluationInvalid(f"at least {_FOLDS} people are needed to choose the strength")
    strength = max(
        STRENGTHS,
        key=lambda c: _cross_validated(features, labels, groups, n_labels=n_labels, strength=c),
    )
    coefficients = _fit(features, labels, strength=strength).coef_
    if n_labels == 2:  # noqa: PLR2004 (one row stands for both labels)
        coefficients = np.vstack([-coefficients / 2, coefficients / 2])
    return np.asarray(coefficients.T, dtype=np.float32)


def _cross_validated(
    features: npt.NDArray[Any],
    labels: IntArray,
    groups: IntArray,
    *,
    n_labels: int,
    strength: float,
) -> float:
    """Return the mean macro-F1 over folds that share no person."""
    scores = []
    for fit, held in StratifiedGroupKFold(_FOLDS).split(features, labels, groups):
        model = _fit(features[fit], labels[fit], strength=strength)
        scores.append(macro_f1(labels[held], model.predict(features[held]), n_labels=n_labels))
    return float(np.mean(scores))


def _fit(features: npt.NDArray[Any], labels: IntArray, *, strength: float) -> LogisticRegression:
    """Fit to convergence; the constant feature is the intercept."""
    model = LogisticRegression(
        C=strength, fit_intercept=False, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE
    )
    return model.fit(features.astype(np.float64), labels)


def _figures(table: npt.NDArray[np.int64], label: int) -> LabelFigures:
    """Return one label's figures from the table of truth (rows) and prediction (columns)."""
    right, told, support = table[label, label], table[:, label].sum(), table[label].sum()
    return LabelFigures(
        precision=float(right / told) if told else 0.0,
        recall=float(right / support) if support else 0.0,
        f1=float(2 * right / (told + support)) if told + support else 0.0,
        support=int(support),
    )
