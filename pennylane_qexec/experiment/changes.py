"""Where a series of distances changes: a self-starting CUSUM chart, of which no parameter need be known beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from scipy.special import ndtri, stdtr

BASELINE = 10
"""How many runs a baseline has at least. None of them is marked."""

LONGEST = 50
"""How many runs a baseline has at most: the latest."""

ALLOWANCE = 1.25
"""What is taken off each score before it is added up, in standard deviations: half the change that is looked for."""

THRESHOLD = 5.0
"""The sum from which a run is marked."""

_FARTHEST = 8.0


class Change(StrEnum):
    """What a run is marked with."""

    NONE = ""
    WORSE = "worse"
    BETTER = "better"


class Observation(Protocol):
    """What a backend's distance was in one run.

    Attributes:
        shots: how many were counted of each circuit.
        error: standard error of the distance, in as far as it is due to the number of shots; above 0.
    """

    @property
    def shots(self) -> tuple[int, ...]: ...
    @property
    def error(self) -> float: ...

    def distance_at(self, shots: tuple[int, ...]) -> float:
        """The distance to expect if no more than so many of its shots had been run, of each circuit."""
        ...


def changes(observations: Sequence[Observation]) -> list[Change]:
    """Mark the runs by which a backend has become worse or better.

    The first ten runs are the baseline. Each later one is compared with all runs before it, the latest fifty at most:
    the difference from their mean, over its standard error, has Student's distribution as long as nothing changes, and
    is made a normal score of it. What scores have above 1.25 (:data:`ALLOWANCE`) is added up, what they have below it
    is taken off, and the sum is 0 at least; a run that brings it to 5 (:data:`THRESHOLD`) is marked. A second sum does
    the same on the other side. While a sum is above 0, its runs are no part of the baseline. After a mark, a new
    baseline begins with the next run. Whether a run is marked depends on earlier ones only.

    The standard error has both the noise of the shots and what differs from run to run: it is estimated from the
    baseline, and is never taken to be less than that of the shots. Runs of different numbers of shots are compared at
    the same number: see :meth:`Observation.distance_at`.

    Args:
        observations: of one backend, in the order of time.

    Returns:
        A mark for each of them.

    Source:
        D. M. Hawkins, "Self-starting CUSUM charts for location and scale", *The Statistician* 36, 299 (1987); E. S.
        Page, "Continuous inspection schemes", *Biometrika* 41, 100 (1954), for the sums.
    """
    found = [Change.NONE] * len(observations)
    begin = end = 0  # of the baseline
    above = below = 0.0
    for number, one in enumerate(observations):
        if number - begin < BASELINE:
            end = number + 1
            continue
        score = _score(one, observations[max(begin, end - LONGEST) : end])
        above, below = max(0.0, above + score - ALLOWANCE), max(0.0, below - score - ALLOWANCE)
        if max(above, below) >= THRESHOLD:
            found[number] = Change.WORSE if above > below else Change.BETTER
            begin = end = number + 1
            above = below = 0.0
        elif not above and not below:
            end = number + 1
    return found


def _score(one: Observation, baseline: Sequence[Observation]) -> float:
    """How far a run is from its baseline: distributed as a normal score, if nothing has changed."""
    others = _of_most_shots(baseline)
    shots = _in_common([one, *others])
    distances = [other.distance_at(shots) for other in others]
    number = len(distances)
    mean = sum(distances) / number
    variance = sum((distance - mean) ** 2 for distance in distances) / (number - 1)
    of_shots = sum(other.error**2 for other in others) / number
    spread = max(variance, of_shots) + max(0.0, one.error**2 - of_shots)
    ratio = (one.distance_at(shots) - mean) / math.sqrt(spread * (1 + 1 / number))
    score = -float(ndtri(stdtr(number - 1, -abs(ratio))))
    return math.copysign(min(score, _FARTHEST), ratio)


def _of_most_shots(baseline: Sequence[Observation]) -> list[Observation]:
    """The baseline without the quarter that has the fewest shots, if others have more."""
    totals = [sum(other.shots) for other in baseline]
    least = sorted(totals)[len(totals) // 4]
    return [other for other, total in zip(baseline, totals, strict=True) if total >= least]


def _in_common(observations: Sequence[Observation]) -> tuple[int, ...]:
    """A number of shots of each circuit that all of them have."""
    columns = zip(*(one.shots for one in observations), strict=True)
    return tuple([column[0] if min(column) == max(column) else _rounded(min(column)) for column in columns])


def _rounded(shots: int) -> int:
    """A number of at most two digits and zeros, not above: so that few numbers of shots are to be computed for."""
    unit: int = 10 ** max(0, len(str(shots)) - 2)
    return shots // unit * unit
