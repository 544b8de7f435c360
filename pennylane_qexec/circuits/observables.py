"""The numbers of observables that programs measure again and again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pennylane.measurements import ExpectationMP, MeasurementProcess, VarianceMP
from pennylane.ops import LinearCombination

OF_OBSERVABLES = (ExpectationMP, VarianceMP)
"""Measurements that are their observable and nothing else."""

_SCALARS = frozenset({float, int, np.float64})


class Numbers(NamedTuple):
    """The numbers of an observable, by which it is seen whether it has changed.

    Attributes:
        data: its parameters.
        coefficients: those of a Hamiltonian, which has them twice: in its terms, and in what it was made of, which may
            be an array that a program writes into.
    """

    data: tuple[float, ...]
    coefficients: tuple[float, ...] = ()


def numbers_of_observable(measurement: MeasurementProcess) -> Numbers | None:
    """The numbers of the observable that is all there is in a measurement.

    Returns:
        ``None`` if there are none, or others than plain ones, or the measurement is more than its observable.
    """
    observable: Any = measurement.obs
    if type(measurement) not in OF_OBSERVABLES or not type(observable).__module__.startswith("pennylane."):
        return None
    data, coefficients = tuple(observable.data), ()
    if not data or not _SCALARS.issuperset(map(type, data)):
        return None
    if type(observable) is LinearCombination:
        given = observable.coeffs
        coefficients = tuple(given.tolist() if type(given) is np.ndarray else given)
    return Numbers(data, coefficients) if _SCALARS.issuperset(map(type, coefficients)) else None
