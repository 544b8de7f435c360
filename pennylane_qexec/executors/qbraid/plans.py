"""What circuits are run as by a device of qBraid.

It gets Qiskit's circuits, in gates that every conversion of qBraid knows. Wire number ``k`` is qubit number ``k``, and
all qubits are measured, qubit ``k`` into classical bit ``k``. So outcomes mean the same whether a device counts
classical bits, or all of its qubits, as those of some vendors do. Importing this imports Qiskit, so it is imported when
the first job is sent.
"""

from __future__ import annotations

from typing import final

import numpy as np
from pennylane.wires import Wires
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.circuit.library import Initialize, StatePreparation

from pennylane_qexec.circuits.qiskit.preparation import REGISTER, parametrised
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.executors.remote.plans import CountsProgram

_COMMON = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "rx", "ry", "rz", "cx", "cz", "swap")
"""Gates that OpenQASM 2 and 3, Cirq, Braket, Quil, pytket and IonQ's language have."""


def sendable(basis: Template, wires: Wires, takes_qiskit: bool) -> QuantumCircuit:
    """The parametrised circuit for a basis, with all its qubits measured.

    Args:
        basis: the operations.
        wires: in the order of the qubits.
        takes_qiskit: whether the device takes Qiskit's circuits, with whatever gates they have.
    """
    converted = parametrised(basis.circuit.operations, basis.slots, wires)
    circuit = _from_zero(converted.circuit)
    if not takes_qiskit:
        circuit = _in_common_gates(circuit)
    qubits = range(circuit.num_qubits)
    circuit.add_register(ClassicalRegister(len(qubits), REGISTER))
    circuit.measure(qubits, qubits)
    return circuit


def _from_zero(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit without resets, which many devices have not: qubits begin in the state 0."""
    prepared = circuit.copy_empty_like()
    for instruction in circuit:
        operation = instruction.operation
        if isinstance(operation, Initialize):
            operation = StatePreparation(operation.params)
        prepared.append(operation, instruction.qubits, copy=False)
    return prepared


def _in_common_gates(circuit: QuantumCircuit) -> QuantumCircuit:
    bare = circuit.copy_empty_like()
    for instruction in circuit:
        if instruction.name != "barrier":
            bare.append(instruction)
    if any(instruction.name not in _COMMON for instruction in bare):
        bare = transpile(bare, basis_gates=list(_COMMON), optimization_level=0)
    # Nothing that is measured depends on it, and not every language can say it.
    bare.global_phase = 0
    return bare


@final
class CircuitsProgram(CountsProgram):
    """The circuits of Qiskit that circuits of one structure are run as.

    Args:
        template: the structure.
        takes_qiskit: whether the device takes Qiskit's circuits.
    """

    def __init__(self, template: Template, takes_qiskit: bool) -> None:
        super().__init__(template)
        self._circuits = [sendable(basis, self.wires, takes_qiskit) for basis in self.bases]

    def circuits(self, parameters: np.ndarray) -> list[QuantumCircuit]:
        """What is run for the ``R`` rows of a matrix of parameters, ``(R, P)``, row by row."""
        return [_with_numbers(circuit, row) for row in parameters for circuit in self._circuits]


def _with_numbers(circuit: QuantumCircuit, row: np.ndarray) -> QuantumCircuit:
    numbers = {parameter: float(row[parameter.index]) for parameter in circuit.parameters}
    return circuit.assign_parameters(numbers) if numbers else circuit.copy()
