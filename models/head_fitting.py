"""The fitting of a head on public features: weights, penalty, temperature, thresholds.

Weights are fitted on train; whatever is chosen is chosen on the comments kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import f1_score

from models.calibration import best_temperature, threshold_at_coverage
from models.goemotions import Comments, gathered
from models.heads import softmax
from models.label_sets import LabelSet

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
COVERAGE = 0.8

FloatArray = npt.NDArray[np.float64]
Features = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A head `(feature, label)`, and the confidence below which it had better abstain."""

    weights: FloatArray
    penalty: float
    abstain_below: float | None = None
    thresholds: FloatArray | None = None


def fit_many(features: Features, comments: dict[str, Comments]) -> Fitted:
    """Return the head for the 28 labels, several of which may hold at once."""
    apart = comments["apart"].labels
    tried = {}
    for penalty in PENALTIES:
        weights = fit_head(
            features["train"], comments["train"].labels, penalty=penalty, exclusive=False
        )
        logits = features["apart"] @ weights
        likely = np.logaddexp(0, logits) - apart * logits
        tried[penalty] = (float(likely.mean()), weights, logits)
    best = min(tried, key=lambda penalty: tried[penalty][0])
    _, weights, logits = tried[best]
    return Fitted(weights=weights, penalty=best, thresholds=best_thresholds(logits, apart))


def fit_one(features: Features, comments: dict[str, Comments], wanted: LabelSet) -> Fitted:
    """Return the head for a set whose labels exclude each other, its confidence made honest."""
    truth = {name: gathered(part.labels, wanted) for name, part in comments.items()}
    known = {name: places >= 0 for name, places in truth.items()}
    one_of = np.eye(len(wanted.labels), dtype=np.float32)
    rows, right = features["train"][known["train"]], one_of[truth["train"][known["train"]]]
    apart, wanted_apart = features["apart"][known["apart"]], truth["apart"][known["apart"]]
    tried = {}
    for penalty in PENALTIES:
        weights = fit_head(rows, right, penalty=penalty, exclusive=True)
        said = (apart @ weights).argmax(axis=1)
        tried[penalty] = (f1_score(wanted_apart, said, average="macro"), weights)
    best = max(tried, key=lambda penalty: tried[penalty][0])
    logits = (apart @ tried[best][1]).astype(np.float64)
    weights = tried[best][1] / best_temperature(logits, wanted_apart)
    sure = threshold_at_coverage(softmax(apart @ weights), COVERAGE)
    return Fitted(weights=weights, penalty=best, abstain_below=sure)


def fit_head(
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
    *,
    penalty: float,
    exclusive: bool,
) -> FloatArray:
    """Return weights `(feature, label)` by L-BFGS: softmax where labels exclude each other.

    Exclusive labels weigh by the inverse root of how often they come, so that the rare ones are
    not unlearnt; the penalty is on the mean square of the weights.
    """
    rows, wanted = torch.tensor(features), torch.tensor(targets)
    weights = torch.zeros(rows.shape[1], wanted.shape[1], requires_grad=True)
    share = wanted.mean(0).clamp_min(1e-4).rsqrt()
    importance = (wanted * share).sum(1)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = rows @ weights
        if exclusive:
            each = -(wanted * logits.log_softmax(1)).sum(1)
            value = (each * importance).sum() / importance.sum()
        else:
            value = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        value = value + penalty * weights.square().mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy().astype(np.float64)


def best_thresholds(logits: FloatArray, labels: npt.NDArray[np.float32]) -> FloatArray:
    """Return for each label the logit at which the expected F1 is largest.

    Expected under probabilities that were made honest on these comments (Lipton, Elkan,
    Naryanaswamy 2014): a rare label has too few of them for its counted F1 to say much.
    """
    columns = zip(logits.T, labels.T, strict=True)
    return np.array([_best_threshold(column, truth) for column, truth in columns])


def _best_threshold(logits: FloatArray, truth: npt.NDArray[np.float32]) -> float:
    slope, shift = logistic_curve(logits, truth)
    order = np.argsort(-logits)
    likely = expit(slope * logits[order] + shift)
    answered = np.arange(1, len(logits) + 1)
    expected = 2 * np.cumsum(likely) / (answered + likely.sum())
    last = int(expected.argmax())
    return float(logits[order][last : last + 2].mean())


def logistic_curve(logits: FloatArray, truth: npt.NDArray[Any]) -> tuple[float, float]:
    """Return slope and shift of the likeliest logistic curve, drawn a little to (1, 0).

    After Platt (1999); scores and truth, 0 or 1, are `(text,)`.
    """

    def surprise(curve: FloatArray) -> float:
        drawn = curve[0] * logits + curve[1]
        prior = 4 * (curve[0] - 1) ** 2 + curve[1] ** 2
        return float(np.logaddexp(0, drawn).sum() - (truth * drawn).sum() + prior)

    slope, shift = minimize(surprise, np.array([1.0, 0.0])).x
    return float(slope), float(shift)
