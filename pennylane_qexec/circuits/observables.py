"""The numbers of observables that programs measure again and again, and write into."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from pennylane.measurements import ExpectationMP, MeasurementProcess, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import LinearCombination, Prod, SProd, Sum
from pennylane.ops.op_math import CompositeOp, SymbolicOp

OF_OBSERVABLES = (ExpectationMP, VarianceMP)
"""Measurements that are their observable and nothing else."""

_SCALARS = frozenset({float, int, np.float64})


class Numbers(NamedTuple):
    """The numbers of an observable, by which it is seen whether it has changed.

    Attributes:
        data: its parameters.
        coefficients: those of a Hamiltonian, which has them twice: in its terms, and in what it was made of, which may
            be an array that a program writes into.
        types: of all of them.
        bits: of all of them as doubles: zero has two signs, and is equal to itself.
    """

    data: tuple[float, ...]
    coefficients: tuple[float, ...]
    types: tuple[type, ...]
    bits: bytes


def numbers_of_observable(measurement: MeasurementProcess) -> Numbers | None:
    """The numbers of the observable that is all there is in a measurement.

    Returns:
        ``None`` if there are none, or others than plain ones, or the measurement is more than its observable.
    """
    observable: Any = measurement.obs
    if type(measurement) not in OF_OBSERVABLES or not type(observable).__module__.startswith("pennylane."):
        return None
    data = tuple(observable.data)
    if not data or not _SCALARS.issuperset(map(type, data)):
        return None
    coefficients: tuple[Any, ...] = ()
    if type(observable) is LinearCombination:
        given = observable.coeffs
        coefficients = tuple(given.tolist() if type(given) is np.ndarray else given)
    types = tuple(map(type, data + coefficients))
    if not _SCALARS.issuperset(types):
        return None
    try:
        return Numbers(data, coefficients, types, array("d", data + coefficients).tobytes())
    except OverflowError:
        return None


def is_seen_by_its_numbers(observable: Operator) -> bool:
    """Whether an observable has not changed as long as the numbers of its measurement have not.

    Of a Hamiltonian within another operator it cannot be seen whether a program has written into its coefficients.
    """
    terms = observable.ops if type(observable) is LinearCombination else [observable]
    left: list[Any] = list(terms)
    while left:
        part = left.pop()
        if type(part) is SProd:
            left.append(part.base)
        elif type(part) in (Sum, Prod):
            left += part.operands
        elif part.data or type(part).__module__ not in _LETTERS:
            return False
    return True


def hamiltonians_in(operator: Operator) -> Iterator[LinearCombination]:
    """The Hamiltonians in an operator, which may be one itself."""
    left: list[Any] = [operator]
    while left:
        part = left.pop()
        if isinstance(part, LinearCombination):
            yield part
            left += part.ops
        elif isinstance(part, CompositeOp):
            left += part.operands
        elif isinstance(part, SymbolicOp):
            left.append(part.base)
        elif isinstance(part, Operator) and part.hyperparameters:
            left += [each for each in part.hyperparameters.values() if isinstance(each, Operator)]


_LETTERS = frozenset({"pennylane.ops.qubit.non_parametric_ops", "pennylane.ops.identity"})
"""Where the operators are that have nothing but wires."""
