"""Randomness that protects people, from the operating system's generator and from no seed.

Private training takes a `Noise` as an argument. The product passes `SYSTEM_NOISE`; there is
no seed to set, to store or to leak. Tests pass fixed implementations of their own.

Position on floating point. Textbook Gaussian noise in binary floating point leaks through
its gaps and low bits (Mironov 2012; Jin et al. 2022). Three things stand against that here:
(1) each value is the sum of four independent Box-Muller draws, halved, so that its grid is
far too fine to be inverted (Holohan & Braghin 2021, section 5; Opacus' secure mode does the
same); (2) noise is added in float64 to a sum of at most a few thousand clipped gradients;
(3) what leaves is the float32 rounding of many steps, not one noisy sum. Together these are
a mitigation and no proof. An exact sampler exists, and was measured: OpenDP 0.16 takes
160 ms for the 2,695 values of one step in float64 and 38 ms on integers, that is 1.1 to 4.8 s
for the thirty steps of a round against 0.03 s here, where a node has a second to reply.
"""

from __future__ import annotations

import math
import os
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

_BITS = 53
_DRAWS = 4


class Noise(Protocol):
    """Give the two kinds of randomness that a private step needs."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return independent normal values of the shape, mean 0, standard deviation `std`."""

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return a mask `(count,)`: each person is in with probability `rate`, on their own."""


def gaussian(shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
    """Return normal noise from the operating system's generator (module docstring, (1)).

    Box & Muller 1958: the root of -2 ln u1 times the cosine of 2 pi u2 is standard normal for
    u1, u2 uniform. The largest value that can come out is 17 standard deviations; what lies
    beyond has probability below 1e-63.

    Raises:
        ValueError: `std` is negative or not finite.
    """
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"a standard deviation is finite and not negative, got {std}")
    size = math.prod(shape)
    radius, angle = _uniform(2 * _DRAWS * size).reshape(2, _DRAWS, size)
    draws = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    return np.asarray(draws.sum(axis=0) * (std / math.sqrt(_DRAWS))).reshape(shape)


def poisson_sample(count: int, *, rate: float) -> npt.NDArray[np.bool_]:
    """Return a Poisson sample of people; the rate is met to 2**-53 and never exceeded.

    Raises:
        ValueError: `rate` is outside [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a sampling rate lies in [0, 1], got {rate}")
    return _words(count) < np.uint64(math.floor(math.ldexp(rate, _BITS)))


class SystemNoise:
    """Draw from the operating system's generator, the only `Noise` of the product."""

    __slots__ = ()

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return `gaussian(shape, std=std)` of this module."""
        return gaussian(shape, std=std)

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return `poisson_sample(count, rate=rate)` of this module."""
        return poisson_sample(count, rate=rate)


SYSTEM_NOISE = SystemNoise()


def noisy_count(count: int, *, std: float, noise: Noise = SYSTEM_NOISE) -> float:
    """Return a head count with Gaussian noise; one person moves the count by at most one.

    The caller charges `models.accounting.count_curve` before it looks at the result.
    """
    return float(count + noise.gaussian((1,), std=std)[0])


def _words(count: int) -> npt.NDArray[np.uint64]:
    """Return `count` uniform integers of 53 bits."""
    return np.frombuffer(os.urandom(8 * count), dtype="<u8") >> np.uint64(64 - _BITS)


def _uniform(count: int) -> npt.NDArray[np.float64]:
    """Return `count` uniform numbers in (0, 1], never 0, so that their logarithm is finite."""
    return np.ldexp((_words(count) + np.uint64(1)).astype(np.float64), -_BITS)
