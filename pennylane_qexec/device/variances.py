"""Derivatives of variances of sums by parameter shifts, of which PennyLane returns another number.

It takes the square of whatever is no matrix for a constant, as that of a Pauli word is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pennylane as qml
from pennylane.exceptions import QuantumFunctionError
from pennylane.measurements import MeasurementProcess, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Prod
from pennylane.ops.op_math import CompositeOp, SymbolicOp
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

Differentiate = Callable[[QuantumScript], tuple[Sequence[QuantumScript], Callable[[Any], Any]]]
"""Makes circuits, and what makes a derivative of their results, of a circuit."""


def squares(tape: QuantumScript) -> dict[int, Operator]:
    """The squares of the observables whose variances PennyLane would get wrong, by the index of the measurement.

    Raises:
        QuantumFunctionError: such a square cannot be measured.
    """
    variances = [(place, one) for place, one in enumerate(tape.measurements) if isinstance(one, VarianceMP)]
    with QueuingManager.stop_recording():
        found = {place: _square(one) for place, one in variances if one.obs is not None}
    return {place: square for place, square in found.items() if square is not None}


def _square(measurement: MeasurementProcess) -> Operator | None:
    observable: Any = measurement.obs
    factors = observable.operands if isinstance(observable, Prod) else [observable]
    if not any(isinstance(one, CompositeOp | SymbolicOp) for one in factors):
        return None
    words = observable.pauli_rep
    if words is None:
        if isinstance(observable, Prod) and all(map(_is_squared, factors)):
            return None
        raise QuantumFunctionError(
            f"{measurement} has no derivative by parameter shifts here (PennyLane returns another number). Write the "
            "observable as a sum of products of Paulis, or as a matrix, qml.Hermitian; or return the expectation "
            "values of the observable and of its square."
        )
    square = words @ words
    square.simplify()
    if all(len(word) == 0 for word in square):
        return None
    for word in square:
        square[word] = qml.math.real(square[word])
    return square.operation(wire_order=observable.wires)


def _is_squared(factor: Any) -> bool:
    """Whether PennyLane squares a factor of a product, or it is one whose square is 1."""
    if isinstance(factor, CompositeOp | SymbolicOp):
        return bool(factor.pauli_rep) and [abs(one) for one in factor.pauli_rep.values()] == [1.0]
    return True


def by_squares(tape: QuantumScript, of: dict[int, Operator], differentiate: Differentiate) -> Any:
    """The derivative of a circuit as that of squares, less twice the mean times its derivative.

    Args:
        tape: the circuit.
        of: what :func:`squares` returned for it.
        differentiate: what differentiates circuits that measure neither.
    """
    with QueuingManager.stop_recording():
        measured = [qml.expval(one.obs) if place in of else one for place, one in enumerate(tape.measurements)]
        means = tape.copy(measurements=measured, trainable_params=tape.trainable_params)
        of_squares = tape.copy(measurements=list(map(qml.expval, of.values())), trainable_params=tape.trainable_params)
    mean_tapes, of_means = differentiate(means)
    square_tapes, of_squared = differentiate(of_squares)

    def of_shots(result: Any, mean: Any, square: Any) -> Any:
        results, parts = ((result,), (mean,)) if len(measured) == 1 else (result, list(mean))
        squared = iter((square,) if len(of) == 1 else square)
        found = [
            _of_variance(results[place], part, next(squared)) if place in of else part
            for place, part in enumerate(parts)
        ]
        return found[0] if len(found) == 1 else tuple(found)

    def postprocess(results: Any) -> Any:
        result, *others = results
        parts = of_means(tuple(others[: len(mean_tapes)])), of_squared(tuple(others[len(mean_tapes) :]))
        if tape.shots.has_partitioned_shots:
            return tuple(map(of_shots, result, *parts))
        return of_shots(result, *parts)

    return [means, *mean_tapes, *square_tapes], postprocess


def _of_variance(mean: Any, by_mean: Any, by_square: Any) -> Any:
    if isinstance(by_mean, tuple | list):
        return tuple([_of_variance(mean, *pair) for pair in zip(by_mean, by_square, strict=True)])
    return by_square - 2 * mean * by_mean
