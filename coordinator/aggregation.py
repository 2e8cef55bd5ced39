"""Average what nodes sent, with uniform public weights.

A node counts once whatever its number of people: weighting by people would publish it. Pure
functions on arrays `(feature, label)`; what arrives is private already, so nothing here adds
noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coordinator.errors import AggregationRejected

Weights = NDArray[np.float32]

LARGEST_WEIGHT = 1e6
"""No head of features of norm one needs such a number; one node could drown all others by it."""


def average(updates: Sequence[Weights]) -> Weights:
    """Return the mean of the updates, computed in float64.

    Raises:
        AggregationRejected: There are none, or shapes differ, or a number is not finite.
    """
    if not updates:
        raise AggregationRejected("there is nothing to average")
    if len({update.shape for update in updates}) != 1:
        raise AggregationRejected("updates of different shapes cannot be averaged")
    mean = np.asarray(np.mean(np.stack(updates), axis=0, dtype=np.float64), dtype=np.float32)
    if not np.isfinite(mean).all():
        raise AggregationRejected("the average is not finite")
    return mean


def candidate(aggregates: Sequence[Weights]) -> Weights:
    """Return the release candidate: the mean of the second half of a run's aggregates.

    Averaging iterates removes part of the noise that each carries (Polyak and Juditsky 1992)
    and costs no privacy, because it reads only what was published.

    Raises:
        AggregationRejected: No round counted.
    """
    return average(aggregates[len(aggregates) // 2 :])


def in_bounds(weights: Weights, *, shape: tuple[int, int]) -> bool:
    """Return whether the array has the shape and only finite numbers of a sane size."""
    return weights.shape == shape and bool((np.abs(weights) <= LARGEST_WEIGHT).all())
