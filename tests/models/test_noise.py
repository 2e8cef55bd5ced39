"""Claims about the randomness that protects people."""

from __future__ import annotations

import inspect
import os
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from models import noise
from models.noise import SYSTEM_NOISE, gaussian, noisy_count, poisson_sample, with_noise
from models.person_gradients import SLACK
from models.update import LARGEST_SIZE
from tests.models.fakes import Silence

DRAWS = 100_000
FALSE_ALARM = 1e-6


def test_gaussian_noise_is_normal() -> None:
    """The draws pass a Kolmogorov-Smirnov test, a mean test and a variance test."""
    draws = gaussian((DRAWS,), std=3.0) / 3.0
    assert stats.kstest(draws, "norm").pvalue > FALSE_ALARM
    assert 2 * stats.norm.sf(abs(draws.mean()) * DRAWS**0.5) > FALSE_ALARM
    share = stats.chi2.cdf(float((draws**2).sum()), DRAWS)
    assert FALSE_ALARM / 2 < share < 1 - FALSE_ALARM / 2


def test_gaussian_noise_has_normal_tails() -> None:
    """Draws beyond three standard deviations are as frequent as they should be."""
    beyond = int((np.abs(gaussian((DRAWS,), std=1.0)) > 3).sum())
    assert stats.binomtest(beyond, DRAWS, 2 * stats.norm.sf(3)).pvalue > FALSE_ALARM


def test_gaussian_noise_is_independent_between_neighbours() -> None:
    """Draws next to each other, and their squares, are not correlated."""
    draws = gaussian((DRAWS,), std=1.0)
    for values in (draws, draws**2):
        assert stats.pearsonr(values[:-1], values[1:]).pvalue > FALSE_ALARM


def test_gaussian_noise_never_repeats() -> None:
    """Two calls share no value: there is no seed to start again from."""
    first, second = gaussian((1000,), std=1.0), gaussian((1000,), std=1.0)
    assert not np.intersect1d(first, second).size


def test_all_randomness_is_the_operating_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system's generator repeats itself so does the noise: nothing else goes in."""

    def drawn(first: int) -> tuple[bytes, bytes]:
        stream = np.random.default_rng(first)
        monkeypatch.setattr(noise, "os", SimpleNamespace(urandom=stream.bytes))
        return gaussian((50,), std=1.0).tobytes(), poisson_sample(500, rate=0.5).tobytes()

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_noise_is_added_on_a_public_grid() -> None:
    """What leaves is a multiple of the grid: no low bit of the sum or of the noise is left."""
    values = np.random.default_rng(0).normal(size=(300, 7))
    for sensitivity in (0.3, 0.5, 1.0, 7.0):
        grid = 2.0 ** (np.floor(np.log2(sensitivity)) - 30)
        noisy = with_noise(values, sensitivity=sensitivity, multiplier=2.0, noise=SYSTEM_NOISE)
        assert (noisy / grid == np.rint(noisy / grid)).all()
        alone = with_noise(values, sensitivity=sensitivity, multiplier=2.0, noise=Silence())
        assert np.abs(alone - values).max() <= grid / 2


def test_the_grid_moves_neighbours_apart_by_less_than_the_slack() -> None:
    """Sums of people a clip apart stay a clip apart on the grid, for the largest head of all."""
    grid, clip = 2.0**-31, 0.5
    apart = np.sqrt(LARGEST_SIZE) * grid
    assert apart <= clip * SLACK / 4


def test_gaussian_noise_takes_four_draws_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floating-point mitigation: four pairs of 64 random bits go into each value."""
    asked: list[int] = []

    def count(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    monkeypatch.setattr(noise, "os", SimpleNamespace(urandom=count))
    gaussian((10,), std=1.0)
    assert asked == [10 * 4 * 2 * 8]


def test_noise_takes_no_seed() -> None:
    """No function or method of the product's noise has a parameter that could be a seed."""
    callables = [
        gaussian,
        poisson_sample,
        noisy_count,
        with_noise,
        *vars(noise.SystemNoise).values(),
    ]
    names = {p for c in callables if inspect.isfunction(c) for p in inspect.signature(c).parameters}
    assert names <= {
        *{"self", "shape", "std", "count", "rate", "noise"},
        *{"values", "sensitivity", "multiplier"},
    }
    assert not any(hasattr(noise, word) for word in ("seed", "default_rng", "manual_seed"))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_poisson_sample_meets_its_rate(rate: float) -> None:
    """The number of sampled people is binomial with the public rate."""
    sampled = int(poisson_sample(DRAWS, rate=rate).sum())
    assert stats.binomtest(sampled, DRAWS, rate).pvalue > FALSE_ALARM


def test_poisson_sample_of_nobody_is_empty() -> None:
    """A node without people samples nobody and does not fail."""
    assert poisson_sample(0, rate=0.5).shape == (0,)


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_gaussian_noise_refuses_a_wrong_deviation(std: float) -> None:
    """A deviation that is negative or not finite is an error, not silence."""
    with pytest.raises(ValueError, match="standard deviation"):
        gaussian((1,), std=std)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_poisson_sample_refuses_a_wrong_rate(rate: float) -> None:
    """A rate outside [0, 1] is an error."""
    with pytest.raises(ValueError, match="rate"):
        poisson_sample(1, rate=rate)


def test_system_noise_keeps_shape_and_deviation() -> None:
    """The product's noise gives the asked shape and spread."""
    draws = SYSTEM_NOISE.gaussian((300, 300), std=0.5)
    assert draws.shape == (300, 300)
    assert draws.std() == pytest.approx(0.5, rel=0.02)
    assert SYSTEM_NOISE.poisson_sample(7, rate=1.0).all()


def test_noisy_count_adds_noise_to_the_count() -> None:
    """Without noise it is the count, with noise it is hardly ever."""
    assert noisy_count(41, std=5.0, noise=Silence()) == 41
    assert {noisy_count(41, std=50.0) for _ in range(20)} != {41}
