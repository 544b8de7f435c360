"""From templates of PennyLane to parametrised circuits of Qiskit.

Wire number ``k`` becomes qubit number ``k``. PennyLane's first wire is the highest bit of an outcome's number, Qiskit's
qubit 0 the lowest, so that measured wires go into classical bits the other way around: the number of a bit string that
Qiskit counts is then the number of PennyLane's outcome.

Importing this imports Qiskit, so it is imported when the first circuit is converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pennylane.operation import Operator
from pennylane.wires import Wires
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Barrier, ParameterVector
from qiskit.circuit.library import GlobalPhaseGate

from pennylane_qexec.executors.qiskit.gates import instructions

REGISTER = "c"
"""The name of the register that is measured into."""


class Parametrised(NamedTuple):
    """A template in Qiskit.

    Attributes:
        circuit: the circuit, a qubit for each wire, without measurements.
        parameters: its ``P`` parameters, in the order of a row of the template.
        wires: the wires, in the order of the qubits.
    """

    circuit: QuantumCircuit
    parameters: ParameterVector
    wires: Wires

    def measured(self, wires: Wires) -> QuantumCircuit:
        """The circuit with measurements of ``M`` wires into one register: outcomes have PennyLane's numbers."""
        return measured(self.circuit, self.wires.indices(wires))


def parametrised(operations: Sequence[Operator], slots: Sequence[int], wires: Wires) -> Parametrised:
    """Convert the operations of a template.

    Args:
        operations: operations that can be converted, as they come from a ``QiskitBinder``; a cell's, for instance,
            which begin with those of its template.
        slots: which of them have parameters, as :attr:`Template.slots`.
        wires: all wires, in the order of the qubits.
    """
    parameters = ParameterVector("p", sum(len(operations[slot].data) for slot in slots))
    remaining = iter(parameters)
    circuit = QuantumCircuit(len(wires))
    place = {wire: index for index, wire in enumerate(wires)}
    variable = frozenset(slots)
    for index, operation in enumerate(operations):
        numbers = [next(remaining) if index in variable else number for number in operation.data]
        _append(circuit, operation, numbers, place)
    return Parametrised(circuit, parameters, Wires(wires))


def measured(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """A copy of a circuit that measures qubits, the last one into classical bit 0."""
    copy = circuit.copy()
    if qubits:
        copy.add_register(ClassicalRegister(len(qubits), REGISTER))
        copy.measure(list(qubits), range(len(qubits) - 1, -1, -1))
    return copy


def _append(circuit: QuantumCircuit, operation: Operator, numbers: Sequence[Any], place: dict[Any, int]) -> None:
    for instruction, wires in instructions(operation, numbers):
        if isinstance(instruction, GlobalPhaseGate):
            circuit.global_phase += instruction.params[0]
        elif isinstance(instruction, Barrier) and not wires:
            circuit.barrier()
        else:
            circuit.append(instruction, [place[wire] for wire in wires], copy=False)
