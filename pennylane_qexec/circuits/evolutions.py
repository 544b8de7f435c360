"""Evolutions that can be given other times, taken apart in batches and differentiated, which PennyLane's own cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from operator import is_not
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.exceptions import QuantumFunctionError
from pennylane.operation import Operator
from pennylane.ops import CNOT, Adjoint, Conditional, Controlled, Evolution, Exp, Prod, SProd
from pennylane.ops.functions import bind_new_parameters
from pennylane.pytrees import flatten, unflatten
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript


class TimeEvolution(Evolution):
    """An evolution whose only number is the time.

    PennyLane's has the same number, but is given new ones as if those of its operator followed (an IndexError), has no
    number of dimensions, and asks of a batch of times whether it is zero. With Autograd its matrix is not unitary if
    terms of its operator share wires: while it is made, sums of terms are recorded as if they were gates.
    """

    has_generator = True
    ndim_params = (0,)

    def generator(self) -> Operator:
        """The operator, with the sign that PennyLane gives it."""
        return -1 * self.base

    def diagonalizing_gates(self) -> list[Operator]:
        """The gates, of which PennyLane's matrix for Autograd is made, and nothing else."""
        with QueuingManager.stop_recording():
            gates: list[Operator] = self.base.diagonalizing_gates()
        return [qml.apply(gate) for gate in gates] if QueuingManager.recording() else gates

    def __deepcopy__(self, memo: dict[int, Any]) -> TimeEvolution:
        """PennyLane copies the bases of controlled operations so; PyTorch refuses to copy most numbers, and JAX all."""
        copied: TimeEvolution = object.__new__(TimeEvolution)
        copied.__dict__.update(vars(self), _hyperparameters=dict(self.hyperparameters))
        return copied


@bind_new_parameters.register(TimeEvolution)
def _bound(operation: TimeEvolution, parameters: Sequence[Any]) -> TimeEvolution:
    return TimeEvolution(operation.base, parameters[0])


def with_times(circuit: QuantumScript) -> QuantumScript:
    """The circuit with evolutions that can be given other numbers; itself if it has no others.

    Raises:
        QuantumFunctionError: see :func:`with_time`.
    """
    return _changed(circuit, with_time)


def with_time(operation: Operator) -> Operator:
    """An evolution by a scaled operator as one by the operator, with the factor in its time; others as they are.

    Raises:
        QuantumFunctionError: another number of the operator is trainable, which would be taken for a constant.
    """
    if type(operation) is Evolution:
        is_known = not operation.base.data and operation.batch_size is None and is_word(operation.base)
        return operation if is_known else _with_time(operation)
    if isinstance(operation, Adjoint | Conditional | Controlled):
        is_copied = isinstance(operation, Controlled) and type(operation.base) is Evolution
        base = _with_time(operation.base) if is_copied else with_time(operation.base)
        return operation if base is operation.base else _around(operation, base)
    return operation


def _with_time(operation: Evolution) -> TimeEvolution:
    base = operation.base
    if isinstance(base, Prod):
        base = base.simplify()
    if isinstance(base, SProd):
        return _with_time(Evolution(base.base, operation.param * base.scalar))
    if any(map(qml.math.requires_grad, base.data)):
        raise QuantumFunctionError(
            f"numbers of {base} are trainable, and an evolution by it is differentiated by its time only. Write it as "
            "qml.TrotterProduct or qml.ApproxTimeEvolution; or use diff_method='backprop', on an executor that offers "
            "it."
        )
    return TimeEvolution(base, operation.param)


def is_word(operator: Operator) -> bool:
    """Whether an operator is a product of Pauli letters, with a factor."""
    return operator.pauli_rep is not None and len(operator.pauli_rep) == 1


def with_matrices(circuit: QuantumScript) -> QuantumScript:
    """The circuit with evolutions whose matrices are right with Autograd, see :class:`TimeEvolution`."""
    return _changed(circuit, _with_matrix)


def with_factors(circuit: QuantumScript) -> QuantumScript:
    """The circuit with exponentials whose coefficient nobody multiplies in place.

    PennyLane does, with the factor of the operator, each time it asks whether one has a decomposition: an array or
    tensor, which may be the user's own, is another number from then on.
    """
    if not any(map(_has_parts, map(type, circuit.operations))):
        return circuit
    changed = _changed(circuit, _with_factors)
    if changed is not circuit:
        numbers = changed.get_parameters(trainable_only=False)
        if len(numbers) != len(circuit.get_parameters(trainable_only=False)):
            changed.trainable_params = qml.math.get_trainable_indices(numbers)
    return changed


@cache
def _has_parts(kind: type[Operator]) -> bool:
    """Whether operations of a kind may be made of other operators."""
    if kind.__module__ == CNOT.__module__:  # controlled gates, each of one kind
        return False
    return issubclass(kind, Conditional) or kind._flatten is not Operator._flatten


def _with_factors(operation: Operator) -> Operator:
    if all(isinstance(number, int | float | complex) for number in operation.data):
        return operation
    if isinstance(operation, Conditional):  # which PennyLane does not flatten
        base = _with_factors(operation.base)
        return operation if base is operation.base else _around(operation, base)
    parts, structure = flatten(operation, is_leaf=_is_exponential)
    changed = [_with_factor(part) if _is_exponential(part) else part for part in parts]
    return unflatten(changed, structure) if any(map(is_not, changed, parts)) else operation


def _is_exponential(part: Any) -> bool:
    return type(part) is Exp


def _with_factor(operation: Exp) -> Exp:
    coefficient = operation.scalar
    if type(coefficient) is np.ndarray and not coefficient.ndim:
        return Exp(operation.base, coefficient.item())
    if not isinstance(coefficient, np.ndarray) and qml.math.get_interface(coefficient) != "torch":
        return operation
    base = operation.base.simplify()
    # A factor of 1 stays: without one, exponentials count as shifted by their coefficient, which is complex.
    return Exp(SProd(1.0, base.base), coefficient * base.scalar) if isinstance(base, SProd) else operation


def _changed(circuit: QuantumScript, change: Callable[[Operator], Operator]) -> QuantumScript:
    with QueuingManager.stop_recording():
        operations = list(map(change, circuit.operations))
    if any(map(is_not, operations, circuit.operations)):
        return circuit.copy(operations=operations, trainable_params=circuit.trainable_params)
    return circuit


def _with_matrix(operation: Operator) -> Operator:
    if type(operation) in (Evolution, Exp):
        is_right = is_word(operation.base) or qml.math.get_interface(operation.scalar) != "autograd"
        if is_right or np.any(qml.math.real(qml.math.unwrap([operation.coeff])[0])):
            return operation
        return TimeEvolution(operation.base, qml.math.real(1j * operation.coeff))
    if type(operation) is Prod:
        factors = list(map(_with_matrix, operation.operands))
        return Prod(*factors) if any(map(is_not, factors, operation.operands)) else operation
    if isinstance(operation, Adjoint | Conditional | Controlled):
        base = _with_matrix(operation.base)
        return operation if base is operation.base else _around(operation, base)
    return operation


def _around(operation: Any, base: Operator) -> Operator:
    if isinstance(operation, Adjoint):
        return Adjoint(base)
    if isinstance(operation, Conditional):
        return Conditional(operation.meas_val, base)
    return Controlled(
        base,
        operation.control_wires,
        control_values=operation.control_values,
        work_wires=operation.work_wires,
        work_wire_type=operation.work_wire_type,
    )
