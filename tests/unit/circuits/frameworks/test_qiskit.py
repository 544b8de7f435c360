"""Circuits of Qiskit: what is measured into which bit, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from exactly import probabilities
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Gate, Parameter
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Kraus, Statevector

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError


def test_a_program_knows_framework_name_and_no_shots() -> None:
    program = frameworks.read(QuantumCircuit(1, name="bell"))
    assert (program.framework, program.name, program.shots) == ("qiskit", "bell", None)
    assert not program.circuit.shots


def test_a_circuit_without_measurements_counts_all_qubits() -> None:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    assert probabilities(frameworks.read(circuit)) == {"001": 1.0}


def test_bits_that_are_never_written_are_0() -> None:
    circuit = QuantumCircuit(1, 3)
    circuit.x(0)
    circuit.measure(0, 1)
    assert probabilities(frameworks.read(circuit)) == {"010": 1.0}


def test_the_last_measurement_into_a_bit_is_the_one_that_counts() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure([0, 1], [0, 0])
    assert probabilities(frameworks.read(circuit)) == {"0": 1.0}


def test_a_qubit_may_be_measured_into_two_bits() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(1)
    circuit.measure([1, 1], [0, 1])
    program = frameworks.read(circuit)
    assert probabilities(program) == {"11": 1.0}
    assert program.circuit.measurements[0].wires.tolist() == [1]


def test_bits_without_registers_are_a_group_of_their_own() -> None:
    circuit = QuantumCircuit([Clbit(), Clbit()], QuantumRegister(1), ClassicalRegister(2, "c"))
    circuit.x(0)
    circuit.measure(0, 0)
    assert probabilities(frameworks.read(circuit)) == {"00 01": 1.0}


def test_qubits_that_nothing_happens_to_have_no_wires() -> None:
    circuit = QuantumCircuit(127, 2)
    circuit.h(90)
    circuit.cx(90, 3)
    circuit.barrier()
    circuit.measure([3, 90], [0, 1])
    assert set(frameworks.read(circuit).circuit.wires) == {3, 90}


def test_delays_identities_and_phases_are_nothing_and_barriers_stay_where_something_happened() -> None:
    circuit = QuantumCircuit(3, 1, global_phase=0.3)
    circuit.barrier()
    circuit.h(0)
    circuit.id(1)
    circuit.delay(10, 1)
    circuit.barrier()
    circuit.h(0)
    circuit.barrier()
    circuit.measure(0, 0)
    assert frameworks.read(circuit).circuit.operations == [qml.H(0), qml.Barrier([0]), qml.H(0)]


def test_a_vector_at_the_beginning_is_prepared_and_later_on_made_of_gates() -> None:
    vector = np.array([0.6, 0, 0.48j, 0.64])
    circuit = QuantumCircuit(3)
    circuit.h(2)
    circuit.initialize(vector, [2, 0])
    wanted = QuantumCircuit(3)
    wanted.initialize(vector, [2, 0])
    assert probabilities(frameworks.read(circuit)) == pytest.approx(Statevector(wanted).probabilities_dict())
    assert probabilities(frameworks.read(wanted)) == pytest.approx(Statevector(wanted).probabilities_dict())
    assert [type(one) for one in frameworks.read(wanted).circuit.operations] == [qml.StatePrep]


def test_a_vector_on_fresh_qubits_is_prepared_at_the_beginning_even_if_others_have_been_used() -> None:
    circuit = QuantumCircuit(3)
    circuit.h(1)
    circuit.initialize([0.6, 0, 0.48j, 0.64], [2, 0])
    circuit.cx(2, 1)
    assert [type(one) for one in frameworks.read(circuit).circuit.operations] == [qml.StatePrep, qml.H, qml.CNOT]
    assert probabilities(frameworks.read(circuit)) == pytest.approx(Statevector(circuit).probabilities_dict())


def test_the_second_of_two_vectors_is_made_of_gates() -> None:
    circuit = QuantumCircuit(3)
    circuit.initialize([0.6, 0, 0.48j, 0.64], [2, 0])
    circuit.initialize([0.6, 0.8j], 1)
    operations = frameworks.read(circuit).circuit.operations
    assert sum(isinstance(one, qml.StatePrep) for one in operations) == 1
    assert probabilities(frameworks.read(circuit)) == pytest.approx(Statevector(circuit).probabilities_dict())


def test_a_circuit_without_qubits_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="without qubits"):
        frameworks.read(QuantumCircuit(0, 2))


@pytest.mark.parametrize("state", [2, "01", "+r"])
def test_initialising_by_a_number_or_letters_is_qiskits(state: Any) -> None:
    circuit = QuantumCircuit(2)
    circuit.initialize(state, [0, 1])
    assert probabilities(frameworks.read(circuit)) == pytest.approx(Statevector(circuit).probabilities_dict())


def test_instructions_with_measurements_inside_are_taken_apart() -> None:
    inner = QuantumCircuit(2, 2, name="inner")
    inner.x(0)
    inner.measure([0, 1], [1, 0])
    circuit = QuantumCircuit(2, 2)
    circuit.append(inner.to_instruction(), [1, 0], [0, 1])
    assert probabilities(frameworks.read(circuit)) == {"10": 1.0}


def test_parameters_without_values_are_named() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("theta") + Parameter("phi"), 0)
    with pytest.raises(ConfigurationError, match=r"phi, theta.*assign_parameters"):
        frameworks.read(circuit)


def test_parameters_with_values_are_numbers() -> None:
    circuit = QuantumCircuit(1)
    theta = Parameter("theta")
    circuit.rx(2 * theta, 0)
    (operation,) = frameworks.read(circuit.assign_parameters({theta: 0.2})).circuit.operations
    assert type(operation.data[0]) is float
    assert operation.data[0] == pytest.approx(0.4)


def a_mystery() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.append(Gate("mystery", 1, []), [0])
    return circuit


def noise() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.append(Kraus([np.eye(2) * 0.6, np.diag([0.8, -0.8])]).to_instruction(), [0])
    return circuit


def a_variable() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.store(circuit.add_var("flag", False), circuit.clbits[0])
    return circuit


def a_wide_mystery() -> QuantumCircuit:
    circuit = QuantumCircuit(11)
    circuit.append(Gate("wide", 11, []), range(11))
    return circuit


NAMELESS = [(a_mystery, "'mystery'"), (noise, "'kraus'"), (a_variable, "'store'"), (a_wide_mystery, "'wide'")]


@pytest.mark.parametrize(("make", "name"), NAMELESS)
def test_an_instruction_that_is_no_gate_is_named(make: Callable[[], QuantumCircuit], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        frameworks.read(make())


@pytest.mark.parametrize("seed", range(12))
def test_random_circuits_have_the_probabilities_of_qiskits_own_simulation(seed: int) -> None:
    assert_has_qiskits_probabilities(seed, depth=4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 220))
def test_many_random_circuits_have_the_probabilities_of_qiskits_own_simulation(seed: int) -> None:
    assert_has_qiskits_probabilities(seed, depth=12)


def assert_has_qiskits_probabilities(seed: int, depth: int) -> None:
    number = 2 + seed % 4
    circuit = random_circuit(number, depth, max_operands=4, measure=True, seed=seed)
    found = probabilities(frameworks.read(circuit))
    circuit.remove_final_measurements()
    wanted = Statevector(circuit).probabilities_dict()
    assert all(abs(found.get(key, 0.0) - wanted.get(key, 0.0)) < 1e-9 for key in {**found, **wanted})
