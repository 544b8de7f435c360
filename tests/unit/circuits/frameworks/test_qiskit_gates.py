"""Every gate of Qiskit's library does in PennyLane what it does in Qiskit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.circuit import library
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Clifford, Operator, SparsePauliOp, random_clifford, random_unitary

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.qiskit.gates import FIXED, TURNS, convertible
from pennylane_qexec.circuits.qiskit.preparation import parametrised

STANDARD = {
    name: gate
    for name, gate in get_standard_gate_name_mapping().items()
    if name not in ("measure", "reset", "delay", "global_phase")
}


def with_numbers(gate: Any) -> Any:
    numbers = [0.37, -1.1, 2.3, 0.71][: len(gate.params)]
    return gate.base_class(*numbers) if numbers else gate


def applied(gate: Any, number: int) -> QuantumCircuit:
    """A gate on qubits from the last to the first: whoever confuses their order is found out."""
    circuit = QuantumCircuit(number)
    circuit.append(gate, list(range(number))[::-1])
    return circuit


def matrix(circuit: QuantumCircuit) -> np.ndarray:
    script = QuantumScript(frameworks.read(circuit).circuit.operations)
    order = list(range(circuit.num_qubits))[::-1]
    return np.asarray(qml.matrix(script, wire_order=order)) if script.operations else np.eye(2**circuit.num_qubits)


def assert_same_up_to_a_phase(found: np.ndarray, wanted: np.ndarray) -> None:
    phase = np.vdot(wanted, found)
    assert np.allclose(found, wanted * phase / abs(phase), atol=1e-10)


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_a_standard_gate_has_its_matrix_and_if_it_is_in_the_tables_its_phase_too(name: str) -> None:
    circuit = applied(with_numbers(STANDARD[name]), STANDARD[name].num_qubits)
    found, wanted = matrix(circuit), Operator(circuit).data
    if name in FIXED or name in TURNS:
        assert np.allclose(found, wanted, atol=1e-12)
    assert_same_up_to_a_phase(found, wanted)


@pytest.mark.parametrize("name", sorted(FIXED | set(TURNS)))
def test_what_is_read_and_written_again_is_the_same_gate(name: str) -> None:
    circuit = applied(with_numbers(STANDARD[name]), STANDARD[name].num_qubits)
    operations = frameworks.read(circuit).circuit.operations
    if all(map(convertible, operations)):
        again = parametrised(operations, (), qml.wires.Wires(range(circuit.num_qubits))).circuit
        assert np.allclose(Operator(again).data, Operator(circuit).data, atol=1e-12)


OTHERS = {
    "controls that are 0": (library.XGate().control(3, ctrl_state=5), 4),
    "a controlled turn": (library.RYGate(0.3).control(2, ctrl_state=1), 3),
    "a controlled phase of several": (library.MCPhaseGate(0.4, 2), 3),
    "a controlled gate without a table": (library.RZXGate(0.3).control(1), 3),
    "a controlled swap on 0": (library.SwapGate().control(1, ctrl_state=0), 3),
    "a controlled controlled gate": (library.CRXGate(0.3).control(1, ctrl_state=0), 3),
    "a controlled gate whose phase is controlled too": (library.CUGate(0.3, 0.8, 1.3, 1.8).control(2, ctrl_state=1), 4),
    "a unitary": (library.UnitaryGate(random_unitary(8, seed=1)), 3),
    "a controlled unitary": (library.UnitaryGate(random_unitary(2, seed=1)).control(1), 2),
    "a diagonal": (library.DiagonalGate(np.exp(1j * np.array([0.1, 0.4, 0.9, 2.0]))), 2),
    "a permutation": (library.PermutationGate([2, 0, 1]), 3),
    "an evolution": (library.PauliEvolutionGate(SparsePauliOp(["XY", "ZZ"], [0.3, 1.2]), 0.7), 2),
    "a Pauli string": (library.PauliGate("XYZ"), 3),
    "a Fourier transform": (library.QFTGate(3), 3),
    "a preparation of a state": (library.StatePreparation([0.6, 0, 0, 0.8j]), 2),
    "a Clifford": (random_clifford(3, seed=2), 3),
    "a power of a gate": (library.iSwapGate().power(0.5), 2),
    "an inverse": (library.CSXGate().inverse(), 2),
    "a global phase": (library.GlobalPhaseGate(0.3), 0),
}


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("what", OTHERS)
def test_other_gates_are_taken_apart_or_become_matrices(what: str) -> None:
    gate, number = OTHERS[what]
    circuit = QuantumCircuit(max(number, 1))
    circuit.append(gate, list(range(number))[::-1])
    wanted = Operator(circuit).data
    assert_same_up_to_a_phase(matrix(circuit), wanted)


def test_a_gate_that_has_the_name_of_another_is_what_its_definition_says() -> None:
    inner = QuantumCircuit(1, name="h")
    inner.rx(0.3, 0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    assert_same_up_to_a_phase(matrix(circuit), Operator(library.RXGate(0.3)).data)


def test_cliffords_are_no_instructions_and_become_matrices() -> None:
    circuit = QuantumCircuit(2)
    circuit.append(Clifford(QuantumCircuit(2)), [0, 1])
    assert [operation.name for operation in frameworks.read(circuit).circuit.operations] == ["QubitUnitary"]
