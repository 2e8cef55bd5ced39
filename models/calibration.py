"""How far a head's confidence can be trusted, and when it had better say "not sure".

Probabilities are `(text, label)`, rows that sum to one; truth is `(text,)` with places of labels.
What is computed here from people's data at a node stays there, or needs a ledger entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.heads import softmax

Probabilities = npt.NDArray[np.float64]
Truth = npt.NDArray[np.integer[Any]]

_BINS = 15
_TEMPERATURES = np.exp(np.linspace(-2, 2, 161))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """The texts of one bin: how many, their mean confidence, and the share that was right."""

    texts: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: Probabilities, truth: Truth, *, bins: int = _BINS
) -> tuple[Reliability, ...]:
    """Return the reliability diagram over bins of equal width, empty ones left out (Guo 2017)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return tuple(
        Reliability(
            texts=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for each in range(bins)
        if (inside := place == each).any()
    )


def expected_calibration_error(
    probabilities: Probabilities, truth: Truth, *, bins: int = _BINS
) -> float:
    """Return the mean gap of confidence and accuracy over bins of equal width (Guo et al. 2017)."""
    found = reliability(probabilities, truth, bins=bins)
    gaps = sum(one.texts * abs(one.confidence - one.accuracy) for one in found)
    return gaps / max(1, len(truth))


def best_temperature(logits: npt.NDArray[np.float64], truth: Truth) -> float:
    """Return the divisor of the logits that makes the truth likeliest (Guo et al. 2017)."""
    rows = np.arange(len(truth))

    def surprise(temperature: float) -> float:
        likelihood = softmax(logits / temperature)[rows, truth]
        return float(-np.log(np.maximum(likelihood, 1e-300)).mean())

    return float(min(_TEMPERATURES, key=surprise))


def threshold_at_coverage(probabilities: Probabilities, coverage: float) -> float:
    """Return the confidence below which a share `1 - coverage` of these texts lies."""
    return float(np.quantile(probabilities.max(axis=1), 1 - coverage))


def risk_coverage(
    probabilities: Probabilities, truth: Truth
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return coverage and error when only the surest texts are answered, surest first.

    Both are `(text,)`: entry i is for answering i + 1 texts (El-Yaniv & Wiener 2010).
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    wrong = (probabilities.argmax(axis=1) != truth)[order]
    answered = np.arange(1, len(truth) + 1)
    return answered / max(1, len(truth)), np.cumsum(wrong) / answered


def fall_at_coverage(
    wrong: npt.NDArray[np.bool_], sureness: npt.NDArray[np.float64], coverage: float
) -> float:
    """Return by which share the error falls where only the surest texts are answered, 0 if none.

    `wrong` and `sureness` are `(text,)`; of texts as sure as each other the first are answered.
    """
    order = np.argsort(-sureness, kind="stable")
    answered = wrong[order][: math.ceil(coverage * len(wrong))]
    return float(1 - answered.mean() / wrong.mean()) if wrong.any() else 0.0


def promised_fall(probabilities: Probabilities, coverage: float) -> float:
    """Return the fall that these probabilities promise of themselves, were they honest.

    A ranking by confidence can do no better on labels as noisy as honest probabilities say.
    """
    doubt = np.sort(1 - probabilities.max(axis=1))
    answered = doubt[: math.ceil(coverage * len(doubt))]
    return float(1 - answered.mean() / doubt.mean()) if doubt.any() else 0.0


def error_at_coverage(probabilities: Probabilities, truth: Truth, coverage: float) -> float:
    """Return the error among the surest share of the texts."""
    shares, errors = risk_coverage(probabilities, truth)
    return float(errors[int(np.searchsorted(shares, coverage))])
