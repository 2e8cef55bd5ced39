"""The demo's own measurements, outside the federation: what it would cost and what it reaches.

The harness reads the data itself, so it is not a node and not a product: its figures are for
the reader of the demo, and nothing it scores feeds back into a run. Held-out rows never enter
a node. The heavy part, with encoder and training, is `deploy.rivals`, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.turns import Turn
from models.evaluation import macro_f1, predict
from policies.vocabulary import AgeBand, Purpose

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Personal data found, by kind, on the marks of the data; `missed_names` for the reader."""

    found: Mapping[str, int]
    marked: Mapping[str, int]
    missed_names: tuple[str, ...]

    def overall(self) -> float | None:
        """Return the share of all marks that was found, or None where nothing is marked."""
        marked = sum(self.marked.values())
        return sum(self.found.values()) / marked if marked else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Features `(turn, feature)` and labels of the turns, in their order, and the recall."""

    features: FloatArray
    labels: NDArray[np.int64]
    recall: Recall


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Macro-F1 on the held-out rows: not private and central, and each branch alone, private.

    `shipped` is that of the public head before any round, None where none fits the labels.

    `largest_k` is at how many branches the most connected person trains (only a benchmark may
    know that: companies are never linked), `epsilon_at_k` what that composes to.
    """

    central: float
    shipped: float | None
    alone: Mapping[str, float]
    largest_k: int
    epsilon_at_k: float


def trainable(turn: Turn) -> bool:
    """Tell whether the rules let this turn teach: held-in, consented, of an adult."""
    return not turn.dev and Purpose.TRAINING in turn.purposes and turn.age is AgeBand.ADULT


def score(weights: FloatArray, turns: Sequence[Turn], measured: Measured) -> float:
    """Return the macro-F1 of a linear head `(feature, label)` on the held-out turns."""
    dev = np.array([turn.dev for turn in turns])
    predicted = predict(weights, measured.features[dev])
    return macro_f1(measured.labels[dev], predicted, n_labels=weights.shape[1])
