"""Circuits of Qiskit that PennyLane cannot say, such as loops that end when something has been measured.

They travel as one operation of PennyLane's, which holds Qiskit's circuit as it is: on wires for its qubits, and behind
them one wire for each classical bit. What is counted are the wires of the bits. Only backends that run Qiskit's
circuits themselves can run it; all others refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pennylane.measurements import CountsMP
from pennylane.operation import Operation
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.structure import wires_in

_BIT = "bit"


class QiskitCircuit(Operation):
    """One of Qiskit's circuits, with its measurements, as an operation that PennyLane knows nothing of.

    Args:
        qubits: how many qubits it has, which are the wires from 0 on.
        bits: how many classical bits it has.
        qpy: the circuit in Qiskit's format for circuits.
        size: how many instructions it has, those in loops that are known to run several times counted as often.
        flow: the names of its control flow, such as ``"while_loop"``, in alphabetical order.
        reason: what in it PennyLane has no word for, such as ``"a 'while_loop'"``.
    """

    num_params = 0
    grad_method = None

    def __init__(self, qubits: int, bits: int, qpy: bytes, size: int, flow: tuple[str, ...], reason: str) -> None:
        super().__init__(wires=Wires([*range(qubits), *bit_wires(bits)]))
        said = {"qubits": qubits, "bits": bits, "qpy": qpy, "size": size, "flow": flow, "reason": reason}
        self._hyperparameters = said

    @classmethod
    def _unflatten(cls, data: object, metadata: tuple[Wires, tuple[tuple[str, object], ...]]) -> QiskitCircuit:
        return cls(**dict(metadata[1]))  # type: ignore[arg-type]


def measured_in(circuit: QuantumScript) -> list[MidMeasure]:
    """The mid-circuit measurements of a circuit, in order."""
    return [operation for operation in circuit.operations if isinstance(operation, MidMeasure)]


def postselects(circuit: QuantumScript) -> bool:
    """Whether a circuit keeps the shots with some mid-circuit outcomes only."""
    return any(operation.postselect is not None for operation in measured_in(circuit))


def bit_wires(bits: int) -> list[str]:
    """The labels of the wires that stand for classical bits."""
    return [f"{_BIT} {number}" for number in range(bits)]


def script_of(operation: QiskitCircuit, bits: Sequence[int]) -> QuantumScript:
    """The circuit that runs an operation, and counts the outcomes of some of its classical bits.

    Args:
        operation: the operation.
        bits: the numbers of the bits, in the order of an outcome's characters.
    """
    labels = bit_wires(operation.hyperparameters["bits"])
    return QuantumScript([operation], [CountsMP(wires=Wires([labels[bit] for bit in bits]))])


def dynamic_part(circuit: QuantumScript) -> QiskitCircuit | None:
    """What is in a circuit that only Qiskit can say; ``None`` if there is nothing."""
    operations = circuit.operations
    if len(operations) == 1 and type(operations[0]) is QiskitCircuit:
        return operations[0]
    return None


def qubits_of(circuit: QuantumScript) -> int:
    """How many qubits a circuit needs: a wire for a classical bit is none."""
    part = dynamic_part(circuit)
    return len(wires_in(circuit)) if part is None else int(part.hyperparameters["qubits"])
