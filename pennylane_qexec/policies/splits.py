"""Splits: how a circuit's shots are shared out over executors.

A split is a function ``(circuit, executors) -> [(executor, shots), ...]``. The executors it is given are those of the
cluster that can run the circuit and are up. The shots it returns add up to those of the circuit, exactly
(``multiplier`` is the one exception); shares of no shots are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import AnalyticCircuitError, PolicyError
from pennylane_qexec.job import Outcome, Result, Share
from pennylane_qexec.policies.base import Weighted, Weights

Split = Callable[[QuantumScript, Sequence[Any]], Sequence[tuple[Any, int]]]


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Share ``total`` out in proportion to weights, by largest remainder; ties go to whoever comes first.

    Args:
        total: a number of things, at least 0.
        weights: ``K`` weights, none negative, at least one positive.

    Returns:
        ``K`` numbers that add up to ``total``; none differs from its exact share by 1 or more.

    Source:
        Hamilton's method: Balinski and Young, *Fair Representation*, 1982.
    """
    ratios = [Fraction(weight).as_integer_ratio() for weight in weights]
    scale = math.lcm(*[denominator for _, denominator in ratios])
    integers = [numerator * (scale // denominator) for numerator, denominator in ratios]
    quotas = [divmod(total * weight, sum(integers)) for weight in integers]
    shares = [share for share, _ in quotas]
    by_remainder = sorted(range(len(weights)), key=lambda index: -quotas[index][1])
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def uniform(circuit: QuantumScript, executors: Sequence[Any]) -> list[Share]:
    """Equal shares; what remains goes to the first executors, one shot each.

    Raises:
        AnalyticCircuitError: the circuit has no shots to share.
    """
    return _shared(circuit, executors, [1.0] * len(executors))


def multiplier(circuit: QuantumScript, executors: Sequence[Any]) -> list[Share]:
    """All the shots on every executor: ``K`` executors run ``K`` times the shots.

    Raises:
        AnalyticCircuitError: the circuit has no shots.
    """
    return [Share(executor, _shots(circuit)) for executor in executors]


def proportional(circuit: QuantumScript, executors: Sequence[Any]) -> list[Share]:
    """Share the shots in proportion to the measured throughput of the executors.

    An executor that has not run anything with shots yet counts as one of average throughput.

    Raises:
        AnalyticCircuitError: the circuit has no shots to share.
    """
    measured = [executor.load().shots_per_second for executor in executors]
    known = [rate for rate in measured if rate > 0]
    average = sum(known) / len(known) if known else 1.0
    return _shared(circuit, executors, [rate or average for rate in measured])


def weighted(weights: Mapping[str, float]) -> Split:
    """A split by weights.

    Args:
        weights: weight by executor's name; executors that are not named get nothing.

    Returns:
        A split, for ``split=``.

    Raises:
        PolicyError: no weight is positive, or one is negative or no number; when the cluster opens, a name it does
            not have.
    """
    return _ByWeight(Weights(weights))


@dataclass(frozen=True)
class _ByWeight(Weighted):
    """By these weights, largest remainder."""

    def __call__(self, circuit: QuantumScript, executors: Sequence[Any]) -> list[Share]:
        return _shared(circuit, executors, self.weights.of(executors))


def checked(returned: Any, total: int, candidates: Sequence[Any], adds_up: bool) -> list[Share]:
    """What a split returned, with one share for each executor and none without shots.

    Args:
        returned: what the split returned.
        total: the shots of the circuit.
        candidates: the executors the split was given.
        adds_up: whether the shares have to add up to ``total``.

    Raises:
        PolicyError: it is no list of pairs, names another executor, or its shots are no counts or do not add up.
    """
    try:
        shares = [Share(executor, shots) for executor, shots in returned]
    except (TypeError, ValueError):
        raise PolicyError(f"the split returned {returned!r}: return a list of pairs (executor, shots).") from None
    for executor, shots in shares:
        if executor not in candidates:
            raise PolicyError(f"the split gave shots to {executor!r}, which is none of the executors it was given.")
        if isinstance(shots, bool) or not isinstance(shots, int | np.integer) or shots < 0:
            raise PolicyError(f"the split gave {executor.name!r} {shots!r} shots: return whole numbers of at least 0.")
    given = sum(int(share.shots) for share in shares)
    if adds_up and given != total:
        raise PolicyError(
            f"the split shared out {given} shots of {total}. Make the shares add up exactly, for instance with "
            "splits.apportion(total, weights)."
        )
    return _joined(shares)


def _joined(shares: Sequence[Share]) -> list[Share]:
    """The shares with one for each executor, and none without shots."""
    shots: dict[Any, int] = {}
    for executor, number in shares:
        shots[executor] = shots.get(executor, 0) + int(number)
    return [Share(executor, number) for executor, number in shots.items() if number]


def _shared(circuit: QuantumScript, executors: Sequence[Any], weights: Sequence[float]) -> list[Share]:
    return [Share(*pair) for pair in zip(executors, apportion(_shots(circuit), weights), strict=True)]


def _shots(circuit: QuantumScript) -> int:
    shots = circuit.shots.total_shots
    if shots is None:
        raise AnalyticCircuitError(
            "an analytic circuit (shots=None) has no shots to share out: give shots with qml.set_shots, "
            "or use a selector."
        )
    return int(shots)


def is_built_in(split: Any) -> bool:
    """Whether a split is one of these, which divide the circuits of a sweep in the same way where that matters."""
    return split in (uniform, multiplier, proportional) or isinstance(split, _ByWeight)


BUILT_IN: Mapping[str, Split] = {"uniform": uniform, "multiplier": multiplier, "proportional": proportional}


def binned(bins: Sequence[int], shares: Sequence[int]) -> list[list[int]]:
    """Share the shots of each bin of a shot vector out, so that rows and columns add up.

    Args:
        bins: ``B`` numbers of shots.
        shares: ``K`` numbers of shots, adding up to a multiple of the sum of ``bins``.

    Returns:
        ``B`` rows of ``K`` numbers; column ``k`` adds up to ``shares[k]``.
    """
    left, rest, rows = list(shares), sum(bins), []
    for size in bins:
        row = apportion(sum(left) * size // rest, left)
        left = [have - take for have, take in zip(left, row, strict=True)]
        rest -= size
        rows.append(row)
    return rows


def by_bin(bins: Sequence[Sequence[int]], shares: Sequence[Share], raw: Sequence[Any]) -> list[list[Outcome]]:
    """For each bin, what every share that has shots in it measured there."""
    outcomes = []
    positions = [iter(range(len(bins))) for _ in shares]
    filled = [sum(1 for row in bins if row[index]) for index in range(len(shares))]
    for row in bins:
        outcomes.append(
            [
                Outcome(_results_of_bin(raw[index], filled[index], next(positions[index])), share.executor.name, shots)
                for index, (share, shots) in enumerate(zip(shares, row, strict=True))
                if shots
            ]
        )
    return outcomes


def _results_of_bin(results: Sequence[Result], bins: int, position: int) -> tuple[Result, ...]:
    return tuple(results) if bins == 1 else tuple(result[position] for result in results)
