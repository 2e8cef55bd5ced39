"""A local head that never leaves: what a node may add to the federation's for itself.

The node fits a head on its own people, held towards the federation's, and goes from the one to
the other by the share that does best on people it held apart. Nothing of it is private in the
sense of `models.accounting`, and nothing of it may leave: not the head, not the share, not how
well it does. It is personal data: whoever withdraws is out of it when it is fitted anew, from
the vault, as it is after every withdrawal and every release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.bags import Bags
from models.evaluation import macro_f1, predict
from models.heads import softmax
from models.person_gradients import usable_turns

FloatArray = npt.NDArray[np.float64]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PULLS = (1e-2, 1e-3, 1e-4)
"""How strongly the local head is held towards the federation's, a turn."""
_FOLDS = 5
_FEWEST = 2 * _FOLDS
"""People below which a node keeps the federation's head."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Personal:
    """A head `(feature, label)` for this node alone, and how far it is from the federation's."""

    weights: npt.NDArray[np.float32]
    share: float


def personal_head(weights: npt.NDArray[np.floating[Any]], bags: Bags) -> Personal:
    """Return the node's own head; the federation's where that does no worse.

    Share and pull are chosen by cross-validation with whole people in one fold; folds go by the
    order of `owners`, so the same bags give the same head.
    """
    start = weights.astype(np.float64)
    keep = usable_turns(bags.features, bags.labels, labels=weights.shape[1])
    features, truth = bags.features[keep].astype(np.float64), bags.labels[keep]
    owners, person = np.unique(bags.owners[keep], return_inverse=True)
    if len(owners) < _FEWEST:
        return Personal(weights=weights.astype(np.float32), share=0.0)
    fold = person % _FOLDS
    scores = {
        (pull, share): score
        for pull in PULLS
        for share, score in _cross_validated(start, features, truth, fold, pull=pull).items()
    }
    pull, share = max(scores, key=lambda tried: (scores[tried], -tried[1]))
    local = _fit(start, features, truth, pull=pull) if share else start
    return Personal(weights=(start + share * (local - start)).astype(np.float32), share=share)


def _cross_validated(
    start: FloatArray,
    features: FloatArray,
    truth: npt.NDArray[np.integer[Any]],
    fold: npt.NDArray[np.intp],
    *,
    pull: float,
) -> dict[float, float]:
    """Return the macro-F1 of each share over rows that the local head did not see."""
    told = {share: np.zeros(len(truth), dtype=np.int64) for share in SHARES}
    for held in range(_FOLDS):
        apart = fold == held
        local = _fit(start, features[~apart], truth[~apart], pull=pull)
        for share, said in told.items():
            said[apart] = predict(start + share * (local - start), features[apart])
    labels = start.shape[1]
    return {share: macro_f1(truth, said, n_labels=labels) for share, said in told.items()}


def _fit(
    start: FloatArray, features: FloatArray, truth: npt.NDArray[np.integer[Any]], *, pull: float
) -> FloatArray:
    """Return the head with the least mean cross-entropy plus `pull / 2` times its way squared."""
    wanted = np.eye(start.shape[1])[truth]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        moved = flat.reshape(start.shape) - start
        shares = softmax(features @ (start + moved))
        likely = np.maximum((shares * wanted).sum(axis=1), 1e-300)
        slope = features.T @ (shares - wanted) / len(truth) + pull * moved
        return float(-np.log(likely).mean() + pull / 2 * (moved**2).sum()), slope.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x).reshape(start.shape)
