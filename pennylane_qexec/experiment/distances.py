"""Distances of counts from a reference, with standard errors, and at fewer shots than were run.

The distance of counts from a distribution is on average larger than that of what the counts are drawn from, and all
the more so the fewer shots there are. Distances of different numbers of shots are therefore not compared. What can be
compared is the mean over all ways to draw an equal number of shots out of those that were run: as shots are
independent, that is on average what a run of so few shots would give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Kind = Literal["tvd", "hellinger"]

_WIDTHS = 9.0  # standard deviations of numbers that are drawn: what is beyond has no weight that a float could tell


@dataclass(frozen=True)
class Distribution:
    """What counts are compared with, or the counts themselves.

    Attributes:
        weights: counts or probabilities by outcome, none of them 0.
        shots: the sum of the counts; ``None`` if they are probabilities.
    """

    weights: Mapping[Any, float]
    shots: int | None

    def share(self, outcome: Any) -> float:
        """The probability of an outcome, as far as it is known."""
        return self.weights.get(outcome, 0) / (self.shots or 1)


def of_counts(counts: Mapping[Any, int]) -> Distribution:
    """The distribution of counts."""
    found = {outcome: int(number) for outcome, number in counts.items() if number}
    return Distribution(found, sum(found.values()))


@dataclass(frozen=True)
class Comparison:
    """The counts of one circuit and what they are compared with.

    Attributes:
        counts: what came back; at least one shot.
        reference: a distribution, or the counts of another backend.
        kind: which distance.
    """

    counts: Distribution
    reference: Distribution
    kind: Kind
    _at: dict[int, float] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def shots(self) -> int:
        """How many shots were counted; of two backends, the smaller number."""
        mine = self.counts.shots or 0
        return mine if self.reference.shots is None else min(mine, self.reference.shots)

    @cached_property
    def error(self) -> float:
        """Standard error of the distance, in as far as it is due to the number of shots; above 0.

        That of the total variation distance is that of the number of shots with outcomes that come more often than in
        the reference, with one shot more on either side, as the frequency of what never came is not known to be 0. That
        of the Hellinger distance is an upper bound, ``sqrt((1 + b) / (16 N))`` with the overlap ``b``: the first order
        of an expansion in the counts.
        """
        parts = [part for part in (self.counts, self.reference) if part.shots is not None]
        if self.kind == "hellinger":
            overlap = 1 - self.at(None) ** 2
            return math.sqrt(sum((1 + overlap) / (16 * (part.shots or 1)) for part in parts))
        more = self._more_often()
        return math.sqrt(sum(_variance(sum(map(part.share, more)), part.shots or 1) for part in parts))

    def at(self, shots: int | None) -> float:
        """The distance at so many shots: of all subsets of them, on average; ``None`` for that of all shots."""
        key = shots or 0
        if key not in self._at:
            self._at[key] = (self._tvd if self.kind == "tvd" else self._hellinger)(shots)
        return self._at[key]

    def _tvd(self, shots: int | None) -> float:
        mine, others = self.counts, self.reference
        if shots is None or (shots == mine.shots and others.shots in (None, shots)):
            seen = [abs(mine.share(one) - others.share(one)) for one in mine.weights]
        else:
            seen = [self._difference(one, shots) for one in mine.weights]
        unseen = max(0.0, 1 - math.fsum(map(others.share, mine.weights)))
        return 0.5 * (math.fsum(seen) + unseen)

    def _difference(self, outcome: Any, shots: int) -> float:
        """The mean difference of an outcome's frequencies."""
        low, drawn = _drawn(int(self.counts.weights[outcome]), self.counts.shots or 0, shots)
        if self.reference.shots is None:
            numbers = np.arange(low, low + len(drawn)) / shots
            return float(drawn @ abs(numbers - self.reference.share(outcome)))
        other_low, others = _drawn(int(self.reference.weights.get(outcome, 0)), self.reference.shots, shots)
        differences = np.arange(low, low + len(drawn))[:, None] - np.arange(other_low, other_low + len(others))
        return float(drawn @ abs(differences) @ others) / shots

    def _hellinger(self, shots: int | None) -> float:
        both = self.counts.weights.keys() & self.reference.weights.keys()
        overlap = math.fsum(_root(self.counts, one, shots) * _root(self.reference, one, shots) for one in both)
        return math.sqrt(max(0.0, 1 - overlap))

    def _more_often(self) -> list[Any]:
        """Outcomes that come more often than in the reference; of those that come as often, some, up to one half."""
        excess = {one: self.counts.share(one) - self.reference.share(one) for one in self.counts.weights}
        more = [one for one, difference in excess.items() if difference > 0]
        total = sum(map(self.counts.share, more))
        for one, difference in excess.items():
            if difference == 0 and total < 0.5:
                more.append(one)
                total += self.counts.share(one)
        return more


def _root(part: Distribution, outcome: Any, shots: int | None) -> float:
    """The mean square root of an outcome's frequency."""
    if shots is None or part.shots in (None, shots):
        return math.sqrt(part.share(outcome))
    low, drawn = _drawn(int(part.weights[outcome]), part.shots or 0, shots)
    return float(drawn @ np.sqrt(np.arange(low, low + len(drawn)) / shots))


def _variance(share: float, shots: int) -> float:
    """The variance of a frequency, as Laplace's rule of succession estimates it."""
    smoothed = (share * shots + 1) / (shots + 2)
    return smoothed * (1 - smoothed) / shots


@lru_cache(4096)
def _drawn(number: int, shots: int, drawn: int) -> tuple[int, NDArray[np.float64]]:
    """How many of the shots with some outcome are among those that are drawn without replacement.

    Args:
        number: the shots with the outcome.
        shots: all of them.
        drawn: how many are drawn.

    Returns:
        The smallest number that is looked at, and the probabilities of this and the following ones: a part of the
        hypergeometric distribution beyond which there is nothing to speak of.
    """
    mean = drawn * number / shots
    rest = (shots - drawn) / max(1, shots - 1)
    width = _WIDTHS * math.sqrt(mean * (1 - number / shots) * rest) + _WIDTHS**2
    low = max(0, drawn - (shots - number), math.floor(mean - width))
    high = min(number, drawn, math.ceil(mean + width))
    numbers = np.arange(low, high + 1)
    logarithms = _choices(number, numbers) + _choices(shots - number, drawn - numbers)
    weights = np.exp(logarithms - logarithms.max())
    return low, weights / weights.sum()


def _choices(of: int, some: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithms of binomial coefficients."""
    found: NDArray[np.float64] = gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1)
    return found
