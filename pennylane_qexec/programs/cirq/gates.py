"""What Cirq's gates are in PennyLane, up to a phase of the whole circuit.

Importing this imports Cirq, so it is imported when the first circuit of Cirq is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cirq
import numpy as np
import pennylane as qml
from pennylane.operation import Operator

MATRIX_QUBITS = 3
"""The most qubits of a gate that is read as its matrix; others are taken apart first."""

MOST_MATRIX_QUBITS = 10
"""The most qubits of a gate that is read as its matrix because it cannot be taken apart."""

_WHOLE: dict[type, Callable[[Sequence[int]], Operator]] = {
    cirq.XPowGate: qml.X,
    cirq.YPowGate: qml.Y,
    cirq.ZPowGate: qml.Z,
    cirq.HPowGate: qml.H,
    cirq.CXPowGate: qml.CNOT,
    cirq.CZPowGate: qml.CZ,
    cirq.SwapPowGate: qml.SWAP,
    cirq.CCXPowGate: qml.Toffoli,
    cirq.CCZPowGate: qml.CCZ,
}
"""What powers with an exponent of 1 are, or of any other odd number."""

_POWERS: dict[type, Callable[[float, Sequence[int]], Operator]] = {
    cirq.XPowGate: qml.RX,
    cirq.YPowGate: qml.RY,
    cirq.ZPowGate: qml.PhaseShift,
    cirq.CZPowGate: qml.ControlledPhaseShift,
    cirq.XXPowGate: qml.IsingXX,
    cirq.YYPowGate: qml.IsingYY,
    cirq.ZZPowGate: qml.IsingZZ,
}
"""What powers are turns by: the exponent in half turns."""


def known(operation: cirq.Operation) -> Operator | Callable[[Sequence[int]], Operator] | None:
    """What an operation of Cirq is, as something that takes wires; ``None`` if it has to be taken apart."""
    gate = operation.gate
    kind = next((each for each in type(gate).__mro__ if each in _WHOLE or each in _POWERS), None)
    if kind is not None and isinstance(gate, cirq.EigenGate):
        exponent = float(gate.exponent)
        if kind in _WHOLE and exponent % 2 == 1:
            return _WHOLE[kind]
        if kind in _POWERS:
            return lambda wires: _POWERS[kind](np.pi * exponent, wires)
    return matrix(operation) if len(operation.qubits) <= MATRIX_QUBITS else None


def matrix(operation: cirq.Operation) -> Callable[[Sequence[int]], Operator] | None:
    """What takes wires and makes an operation's matrix an operator; ``None`` if it has none, or one that is too big."""
    if len(operation.qubits) > MOST_MATRIX_QUBITS or not cirq.has_unitary(operation):
        return None
    return lambda wires: qml.QubitUnitary(cirq.unitary(operation), wires)
