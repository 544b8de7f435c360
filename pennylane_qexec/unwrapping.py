"""Circuits with NumPy's numbers in place of those of an interface.

PennyLane does this too, for every operation of every circuit anew: it takes longer than running the circuits of a
gradient, whose numbers are NumPy's already.
"""

from __future__ import annotations

from operator import is_not

from pennylane.math import Interface
from pennylane.operation import Operator
from pennylane.ops import Adjoint, Evolution, SProd
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

from pennylane_qexec.recorded import is_plain

INTERFACES = (Interface.AUTOGRAD, Interface.TORCH)
"""Interfaces whose numbers are unwrapped here."""


def unwrapped(circuit: QuantumScript) -> QuantumScript:
    """The circuit with numeric parameters; itself if it has no others."""
    if is_plain(circuit):
        return circuit
    with QueuingManager.stop_recording():
        operations = list(map(unscaled, circuit.operations))
    if any(map(is_not, operations, circuit.operations)):
        circuit = circuit.copy(operations=operations, trainable_params=circuit.trainable_params)
    return convert_to_numpy_parameters(circuit)[0][0]


def unscaled(operation: Operator) -> Operator:
    """An evolution by a scaled operator as one by the operator, with the factor in its number; others as they are.

    Of the first kind PennyLane knows one number only, and gives it no other ones: it raises an IndexError.
    """
    if isinstance(operation, Evolution) and isinstance(operation.base, SProd):
        return unscaled(Evolution(operation.base.base, operation.param * operation.base.scalar))
    if isinstance(operation, Adjoint) and (base := unscaled(operation.base)) is not operation.base:
        return Adjoint(base)
    return operation
