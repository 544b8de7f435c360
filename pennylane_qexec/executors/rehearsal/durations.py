"""How long things take: a number of seconds, or a distribution of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pennylane_qexec.errors import ConfigurationError

Duration = Callable[[np.random.Generator], float]
"""Draws a number of seconds."""

_DRAWS = 101


@dataclass(frozen=True)
class _Constant:
    seconds: float

    def __call__(self, rng: np.random.Generator) -> float:
        return self.seconds


@dataclass(frozen=True)
class _Uniform:
    low: float
    high: float

    def __call__(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class _Lognormal:
    median: float
    sigma: float

    def __call__(self, rng: np.random.Generator) -> float:
        return float(self.median * np.exp(self.sigma * rng.standard_normal()))


def lognormal(median: float, sigma: float = 1.0) -> Duration:
    """Seconds whose logarithm is normally distributed: mostly short, sometimes very long, as queues are.

    Args:
        median: half of them are shorter, in seconds.
        sigma: the standard deviation of the logarithm; with 1, one of six is longer than 2.7 medians.

    Raises:
        ConfigurationError: an argument is negative.
    """
    return _Lognormal(seconds(median, "median"), seconds(sigma, "sigma"))


def duration(value: Any, option: str) -> Duration:
    """The distribution that a user's value means: a number, a pair ``(low, high)``, or a function of a generator.

    Args:
        value: the value.
        option: what it was given as, for errors.

    Raises:
        ConfigurationError: it is nothing of this, or negative.
    """
    if callable(value):
        return lambda rng: seconds(value(rng), f"{option}(generator)")
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise ConfigurationError(f"{option}={value!r} must be seconds, (low, high), or a function of a generator.")
        low, high = (seconds(one, option) for one in value)
        if low > high:
            raise ConfigurationError(f"{option}={value!r}: the first number, the shortest time, is the greater one.")
        return _Uniform(low, high)
    return _Constant(seconds(value, option))


def typical(draw: Duration) -> float:
    """The median of some draws, in seconds; always the same ones."""
    rng = np.random.default_rng(0)
    return statistics.median(draw(rng) for _ in range(_DRAWS))


def seconds(value: Any, option: str) -> float:
    """A number of seconds.

    Raises:
        ConfigurationError: it is no number, negative or infinite.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ConfigurationError(f"{option}={value!r} must be a number of at least 0.")
    return float(value)
