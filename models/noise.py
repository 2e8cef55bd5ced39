"""Randomness that protects people, from the operating system's generator and from no seed.

Private training takes a `Noise` as an argument. The product passes `SYSTEM_NOISE`; there is
no seed to set, to store or to leak. Tests pass fixed implementations of their own.

Floating point and the generator are answered in `docs/decisions/0010-floating-point-and-the-
generator.md`. In short: what leaves lies on a public grid, to which the sum and the noise are
rounded each on their own, so that noise is added in exact integers and its low bits, through
which textbook noise leaks (Mironov 2012), are gone.
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
_GRID_BITS = 30
"""A sum is rounded to 2**-30 of its sensitivity; below 2**22 numbers, that is 2**-19 of it."""


class Noise(Protocol):
    """Give the two kinds of randomness that a private step needs."""

    def gaussian(self, shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
        """Return independent normal values of the shape, mean 0, standard deviation `std`."""

    def poisson_sample(self, count: int, *, rate: float) -> npt.NDArray[np.bool_]:
        """Return a mask `(count,)`: each person is in with probability `rate`, on their own."""


def gaussian(shape: tuple[int, ...], *, std: float) -> npt.NDArray[np.float64]:
    """Return normal noise from the operating system's generator.

    Each value is the sum of four independent Box-Muller draws, halved, so that it cannot be
    traced back to the random bits (Holohan & Braghin 2021, section 5).

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


def with_noise(
    values: npt.NDArray[np.float64], *, sensitivity: float, multiplier: float, noise: Noise
) -> npt.NDArray[np.float64]:
    """Return the values plus Gaussian noise of `multiplier * sensitivity`, on a public grid.

    Rounding the noise to the grid is the same as rounding the noisy sum, which is
    post-processing; rounding the values first may move neighbours apart by one step of the
    grid a number, which `models.person_gradients.SLACK` leaves room for.
    """
    grid = math.ldexp(1.0, math.frexp(sensitivity)[1] - 1 - _GRID_BITS)
    drawn = noise.gaussian(values.shape, std=multiplier * sensitivity)
    return np.asarray((np.rint(values / grid) + np.rint(drawn / grid)) * grid)


def noisy_count(count: int, *, std: float, noise: Noise = SYSTEM_NOISE) -> int:
    """Return a head count with Gaussian noise, a whole number; one person moves it by one.

    The caller charges `models.accounting.count_curve` before it looks at the result.
    """
    return count + round(float(noise.gaussian((1,), std=std)[0]))


def _words(count: int) -> npt.NDArray[np.uint64]:
    """Return `count` uniform integers of 53 bits."""
    return np.frombuffer(os.urandom(8 * count), dtype="<u8") >> np.uint64(64 - _BITS)


def _uniform(count: int) -> npt.NDArray[np.float64]:
    """Return `count` uniform numbers in (0, 1], never 0, so that their logarithm is finite."""
    return np.ldexp((_words(count) + np.uint64(1)).astype(np.float64), -_BITS)
