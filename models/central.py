"""The non-private head to compare with: what pooling everybody's data would give.

Never a product's model: a benchmark and the demo's harness fit it, to say what privacy costs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from models.errors import EvaluationInvalid
from models.evaluation import IntArray, macro_f1

STRENGTHS = (1.0, 10.0, 100.0)
"""Inverse strengths of the L2 penalty that `fit_central` chooses from."""

_FOLDS = 3
_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-4


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
