"""The heads: the small networks that are trained in the federation, on frozen features.

A plan names one (`policies.parts`). A linear head's weights are `(feature, label)`. A head with a
hidden layer travels as one column `(number, 1)`: the first layer `(feature, hidden)`, then the
second `(hidden + 1, label)` with its constants last, each in row order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.errors import WeightsInvalid
from policies.canonical import digest
from policies.parts import Part
from policies.terms import Plan, plan_to_dict

Weights = npt.NDArray[np.floating[Any]]


class Head(Protocol):
    """What reads features: scores and probabilities of labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels, in the order of the scores."""
        ...

    @property
    def features(self) -> int:
        """Return how many features it takes."""
        ...

    @property
    def finite(self) -> bool:
        """Tell whether every weight is a number."""
        ...

    def logits(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` scores for features `(..., feature)`."""
        ...

    def probabilities(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` probabilities that sum to one, by a shifted softmax."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearHead:
    """One weight for each feature and label; the last feature is constant, so there is no bias.

    `weights` is `(feature, label)`.

    Raises:
        WeightsInvalid: The weights do not have one column for each label.
    """

    labels: tuple[str, ...]
    weights: Weights

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[1] != len(self.labels):  # noqa: PLR2004
            raise WeightsInvalid(
                f"{len(self.labels)} labels need weights of shape (feature, {len(self.labels)}), "
                f"got {self.weights.shape}"
            )

    @property
    def features(self) -> int:
        """Return how many features it takes."""
        return int(self.weights.shape[0])

    @property
    def finite(self) -> bool:
        """Tell whether every weight is a number."""
        return bool(np.isfinite(self.weights).all())

    def logits(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` scores for features `(..., feature)`."""
        return np.asarray(features.astype(np.float64) @ self.weights.astype(np.float64))

    def probabilities(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` probabilities that sum to one, by a shifted softmax."""
        return softmax(self.logits(features))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HiddenHead:
    """A layer of hidden units, each a hyperbolic tangent, before the labels.

    `first` is `(feature, hidden)`; `second` `(hidden + 1, label)`, its constants in the last row.
    """

    labels: tuple[str, ...]
    first: Weights
    second: Weights

    @property
    def features(self) -> int:
        """Return how many features it takes."""
        return int(self.first.shape[0])

    @property
    def finite(self) -> bool:
        """Tell whether every weight is a number."""
        return bool(np.isfinite(self.first).all() and np.isfinite(self.second).all())

    def logits(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` scores for features `(..., feature)`."""
        hidden = np.tanh(features.astype(np.float64) @ self.first.astype(np.float64))
        second = self.second.astype(np.float64)
        return np.asarray(hidden @ second[:-1] + second[-1])

    def probabilities(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return `(..., label)` probabilities that sum to one, by a shifted softmax."""
        return softmax(self.logits(features))


def head_of(labels: tuple[str, ...], weights: Weights, *, width: int) -> Head:
    """Return the head that weights make; `width` 0 is a linear one.

    Raises:
        WeightsInvalid: The weights do not fit the labels and the width.
    """
    if width == 0:
        return LinearHead(labels=labels, weights=weights)
    features, rest = divmod(weights.size - (width + 1) * len(labels), width)
    if weights.ndim != 2 or weights.shape[1] != 1 or rest or features < 1:  # noqa: PLR2004
        raise WeightsInvalid(
            f"weights of {width} hidden units and {len(labels)} labels are one column of "
            f"feature * {width} + {width + 1} * {len(labels)} numbers, got {weights.shape}"
        )
    first, second = unpacked(weights, width=width, labels=len(labels))
    return HiddenHead(labels=labels, first=first, second=second)


def as_head(weights: Weights | Head) -> Head:
    """Return a head as it is, and weights `(feature, label)` as a linear one."""
    if isinstance(weights, np.ndarray):
        return LinearHead(labels=tuple(map(str, range(weights.shape[1]))), weights=weights)
    return weights


def shape_of(*, features: int, labels: int, width: int) -> tuple[int, int]:
    """Return the shape in which a head's weights travel."""
    return (features * width + (width + 1) * labels, 1) if width else (features, labels)


def plan_shape(plan: Plan) -> tuple[int, int]:
    """Return the shape of a plan's weights and updates."""
    return shape_of(features=plan.features, labels=len(plan.labels), width=plan.width)


def plan_head(plan: Plan, weights: Weights) -> Head:
    """Return the head that a plan's weights make."""
    return head_of(tuple(name for name, _ in plan.labels), weights, width=plan.width)


def first_weights(plan: Plan) -> npt.NDArray[np.float32]:
    """Return where a plan begins that nothing published fits: it says every label as often.

    Hidden units must differ to learn different things. What they begin as is drawn from the
    plan's digest: public, the same for whoever computes it, and no noise that hides anybody.
    """
    if plan.part is Part.LINEAR:
        return np.zeros(plan_shape(plan), np.float32)
    drawn = np.random.default_rng(int(digest(plan_to_dict(plan)), 16))
    first = drawn.standard_normal((plan.features, plan.width))
    return packed(first, np.zeros((plan.width + 1, len(plan.labels)))).astype(np.float32)


def packed(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return two layers as one column `(number, 1)`."""
    return np.concatenate([first.ravel(), second.ravel()])[:, None]


def unpacked(weights: Weights, *, width: int, labels: int) -> tuple[Weights, Weights]:
    """Return the two layers of one column."""
    flat, last = weights.ravel(), (width + 1) * labels
    return flat[:-last].reshape(-1, width), flat[-last:].reshape(width + 1, labels)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the softmax over the last axis, shifted so that no exponential overflows."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))
