"""Qiskit's circuits in PennyLane, with their classical registers.

Qubit number ``k`` becomes wire number ``k``. Importing this imports Qiskit, so it is imported when the first circuit is
read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pennylane as qml
from qiskit import QuantumCircuit
from qiskit.circuit import BreakLoopOp, ContinueLoopOp, ControlFlowOp, ControlledGate, Delay, Instruction, Store
from qiskit.circuit.library import (
    CUGate,
    GlobalPhaseGate,
    IGate,
    Initialize,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator as MatrixOf

from pennylane_qexec.circuits.frameworks.builder import BeyondPennyLaneError, CircuitBuilder
from pennylane_qexec.circuits.qiskit.control_flow import Flow, loop_parameters, write_control_flow
from pennylane_qexec.circuits.qiskit.gates import FIXED, TURNS, fixed
from pennylane_qexec.errors import ConfigurationError

MATRIX_QUBITS = 10
"""The most qubits of an instruction that is read as its matrix, because Qiskit says nothing else of it."""

_NOTHING = (IGate, Delay, GlobalPhaseGate)
"""Instructions that change no outcome."""

_NOT_PENNYLANES = (BreakLoopOp, ContinueLoopOp, Store)
"""Instructions on the way through a circuit, and on classical bits, that PennyLane has nothing like."""

_STANDARD = get_standard_gate_name_mapping()

ClassicalBits = Mapping[Any, Any]
"""For the classical bits of a circuit, those of the outermost circuit."""


def draft_of(circuit: QuantumCircuit) -> CircuitBuilder:
    """Write down a circuit; its classical bits are the bits of the draft.

    Raises:
        ConfigurationError: it has unbound parameters, or something that cannot be said in PennyLane.
    """
    unbound = set(circuit.parameters) - loop_parameters(circuit) if circuit.num_parameters else ()
    if unbound:
        names = ", ".join(sorted(parameter.name for parameter in unbound))
        raise ConfigurationError(
            f"circuit {circuit.name!r} has parameters without values: {names}. Give them values with "
            "circuit.assign_parameters({...}); in OpenQASM, write numbers in place of them."
        )
    draft = CircuitBuilder()
    _write(draft, circuit, range(circuit.num_qubits), {bit: bit for bit in circuit.clbits})
    return draft


def registers(circuit: QuantumCircuit) -> list[list[Any]]:
    """The classical bits of a circuit, register by register; bits without a register stand where they were added."""
    owner: dict[Any, Any] = {}
    for register in circuit.cregs:
        for bit in register:
            owner.setdefault(bit, register)
    groups: list[list[Any]] = []
    last: Any = object()
    for bit in circuit.clbits:
        if owner.get(bit) != last:
            last = owner.get(bit)
            groups.append([])
        groups[-1].append(bit)
    return groups


def _write(draft: CircuitBuilder, circuit: QuantumCircuit, qubits: Sequence[int], bits: ClassicalBits) -> None:
    """Write down what a circuit does, whose qubits are ``qubits`` of the draft."""
    place = dict(zip(circuit.qubits, qubits, strict=True))
    for item in circuit.data:
        name = item.name
        wires = tuple([place[qubit] for qubit in item.qubits])
        if name in FIXED and item.is_standard_gate():
            draft.apply(fixed(name, wires), wires)
        elif name in TURNS and item.is_standard_gate():
            draft.apply(TURNS[name](*_numbers(item), wires), wires)
        elif name == "measure":
            draft.measure(wires[0], bits[item.clbits[0]])
        elif name == "barrier":
            draft.barrier(wires)
        elif name == "reset":
            draft.reset(wires[0])
        else:
            _write_other(draft, item.operation, wires, [bits[bit] for bit in item.clbits], bits)


def _numbers(gate: Any) -> list[float]:
    """The numbers of a gate."""
    numbers = list(map(float, gate.params))
    if not all(map(isfinite, numbers)):
        raise ConfigurationError(f"gate {gate.name!r} of Qiskit with {numbers}: its numbers must be finite.")
    return numbers


def _write_other(
    draft: CircuitBuilder, operation: Any, wires: Sequence[int], clbits: Sequence[Any], bits: ClassicalBits
) -> None:
    if isinstance(operation, _NOTHING):
        return
    if isinstance(operation, _NOT_PENNYLANES):
        raise BeyondPennyLaneError(
            f"a {operation.name!r} of Qiskit: PennyLane has nothing like it. Write the circuit without it.",
            f"a {operation.name!r}",
        )
    if isinstance(operation, ControlFlowOp):
        write_control_flow(Flow(draft, _write, bits), operation, wires, clbits)
    elif isinstance(operation, UnitaryGate):
        _write_matrix(draft, operation.params[0], wires)
    elif isinstance(operation, Initialize) and _is_vector(operation) and draft.can_prepare(wires):
        draft.prepare(qml.StatePrep(_amplitudes(operation), wires[::-1]), wires)
    elif isinstance(operation, ControlledGate) and _base(operation) is not None:
        _write_controlled(draft, operation, wires)
    elif isinstance(operation, Instruction) and operation.definition is not None:
        inner = operation.definition
        _write(draft, inner, wires, dict(zip(inner.clbits, clbits, strict=True)))
    else:
        _write_matrix(draft, _matrix(operation), wires)


def _write_controlled(draft: CircuitBuilder, gate: Any, wires: Sequence[int]) -> None:
    number = gate.num_ctrl_qubits
    make = _base(gate)
    assert make is not None
    values = [bool(gate.ctrl_state >> place & 1) for place in range(number)]
    base = make(wires[number:])
    draft.apply(qml.ctrl(base, control=wires[:number], control_values=values), wires)


def _base(gate: Any) -> Callable[[Sequence[int]], Any] | None:
    """What a controlled gate controls, as an operator of the wires; ``None`` if that is no gate of the tables."""
    base = gate.base_gate
    standard = _STANDARD.get(base.name)
    # A CU has a phase that its base gate does not know of; with more controls, the base gate has it as a number.
    if isinstance(gate, CUGate) or standard is None or base.base_class is not standard.base_class:
        return None
    if len(base.params) != len(standard.params):
        return None
    if base.name in FIXED:
        return lambda wires: fixed(base.name, tuple(wires))
    if base.name in TURNS:
        return lambda wires: TURNS[base.name](*_numbers(base), wires)
    return None


def _write_matrix(draft: CircuitBuilder, matrix: Any, wires: Sequence[int]) -> None:
    if wires:
        draft.apply(qml.QubitUnitary(np.asarray(matrix, dtype=complex), wires[::-1]), wires)


def _matrix(operation: Any) -> np.ndarray:
    if operation.num_qubits > MATRIX_QUBITS or operation.num_clbits:
        raise ConfigurationError(_not_known(operation) + f"has no definition, and more than {MATRIX_QUBITS} qubits.")
    try:
        return np.asarray(MatrixOf(operation).data)
    except QiskitError as error:
        raise ConfigurationError(_not_known(operation) + f"has neither a definition nor a matrix ({error}).") from error


def _not_known(operation: Any) -> str:
    return f"instruction {operation.name!r} of Qiskit: take it out, or apart with circuit.decompose(); it "


def _is_vector(operation: Any) -> bool:
    """Whether an initialisation is by amplitudes. Those by letters or a number are a few gates."""
    return len(operation.params) == 2**operation.num_qubits and not isinstance(operation.params[0], str)


def _amplitudes(operation: Any) -> np.ndarray:
    numbers = np.asarray([complex(number) for number in operation.params])
    return np.asarray(numbers / np.linalg.norm(numbers))
