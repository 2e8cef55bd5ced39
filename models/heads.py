"""The linear head: the small network that is trained in the federation, on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import WeightsInvalid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearHead:
    """One weight for each feature and label; the last feature is constant, so there is no bias.

    `weights` is `(feature, label)`.

    Raises:
        WeightsInvalid: The weights do not have one column for each label.
    """

    labels: tuple[str, ...]
    weights: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[1] != len(self.labels):  # noqa: PLR2004
            raise WeightsInvalid(
                f"{len(self.labels)} labels need weights of shape (feature, {len(self.labels)}), "
                f"got {self.weights.shape}"
            )

    def logits(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` scores for features `(..., feature)`."""
        return features.astype(np.float64) @ self.weights.astype(np.float64)

    def probabilities(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` probabilities that sum to one, by a shifted softmax."""
        return softmax(self.logits(features))


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the softmax over the last axis, shifted so that no exponential overflows."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))
