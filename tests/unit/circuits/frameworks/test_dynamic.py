"""Measurements in the middle, and what depends on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from exactly import probabilities
from pennylane.ops import Conditional, MidMeasure
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit.classical import expr
from qiskit.circuit.random import random_circuit
from qiskit_aer import AerSimulator

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.mid_circuit import dynamic_part


def two_registers() -> QuantumCircuit:
    """Three qubits, registers of two and three bits; the second register is 2 after the first measurement."""
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(3, "b"))
    circuit.x(0)
    circuit.measure(0, circuit.cregs[1][1])
    return circuit


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    circuit.measure([1, 2], circuit.cregs[0])
    return circuit


def if_a_bit_is_1() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.if_test((circuit.cregs[1][1], 1)):
        circuit.x(2)
    return measured(circuit)


def if_a_register_is_else() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.if_test((circuit.cregs[1], 3)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.x(2)
    return measured(circuit)


def if_in_an_if() -> QuantumCircuit:
    circuit = two_registers()
    circuit.measure(1, circuit.cregs[1][0])
    with circuit.if_test((circuit.cregs[1], 2)):
        with circuit.if_test((circuit.cregs[1][0], 0)) as otherwise:
            circuit.x(1)
        with otherwise:
            circuit.x(2)
    return measured(circuit)


def if_an_expression() -> QuantumCircuit:
    circuit = two_registers()
    a, b = circuit.cregs
    with circuit.if_test(expr.logic_and(expr.less(b, 3), expr.logic_not(expr.bit_xor(b[1], a[0])))):
        circuit.x(1)
    with circuit.if_test(expr.greater(expr.bit_and(b, 6), 1)):
        circuit.x(2)
    with circuit.if_test(expr.equal(expr.bit_not(b), 5)):
        circuit.x(1)
    return measured(circuit)


def switch() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.switch(circuit.cregs[1]) as case:
        with case(0, 4):
            circuit.x(0)
        with case(2):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.x(2)
    with circuit.switch(circuit.cregs[0][0]) as case:
        with case(True):
            circuit.x(1)
        with case(case.DEFAULT):
            circuit.x(2)
    return measured(circuit)


def turns_of_a_loop() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.for_loop(range(3)) as turn:
        circuit.rx(3.141592653589793 * turn, 1)
    return measured(circuit)


def reset_and_again() -> QuantumCircuit:
    circuit = two_registers()
    circuit.reset(0)
    circuit.x(2)
    circuit.reset(2)
    circuit.cx(0, 1)
    circuit.x(0)
    circuit.measure(0, circuit.cregs[1][2])
    return measured(circuit)


def overwritten() -> QuantumCircuit:
    circuit = two_registers()
    circuit.x(0)
    circuit.measure(0, circuit.cregs[1][1])
    circuit.x(0)
    circuit.measure(0, circuit.cregs[1][0])
    return measured(circuit)


CASES = [
    if_a_bit_is_1,
    if_a_register_is_else,
    if_in_an_if,
    if_an_expression,
    switch,
    turns_of_a_loop,
    reset_and_again,
    overwritten,
]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_always_comes_out_comes_out_here(make: Callable[[], QuantumCircuit]) -> None:
    circuit = make()
    (wanted,) = AerSimulator().run(circuit, shots=20).result().get_counts()
    assert probabilities(frameworks.read(circuit)) == pytest.approx({wanted: 1.0})


def test_a_condition_may_look_at_a_bit_of_a_register() -> None:
    circuit = two_registers()
    with circuit.if_test(expr.index(circuit.cregs[1], 1)):
        circuit.x(2)
    assert probabilities(frameworks.read(measured(circuit))) == {"010 10": 1.0}


def test_what_is_in_a_box_is_read() -> None:
    circuit = two_registers()
    with circuit.box(), circuit.if_test((circuit.cregs[1], 2)):
        circuit.x(2)
    assert probabilities(frameworks.read(measured(circuit))) == {"010 10": 1.0}


def test_a_measurement_is_in_the_middle_if_its_qubit_is_used_again() -> None:
    circuit = QuantumCircuit(2, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.measure(1, 0)
    circuit.h(0)
    circuit.measure(0, 0)
    program = frameworks.read(circuit)
    assert probabilities(program) == pytest.approx({"0": 0.5, "1": 0.5})
    assert sum(isinstance(one, MidMeasure) for one in program.circuit.operations) == 1


def test_resets_that_nothing_follows_are_left_out_and_so_are_those_of_fresh_qubits() -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.reset([0, 1])
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    circuit.reset([0, 1])
    program = frameworks.read(circuit)
    assert [one.name for one in program.circuit.operations] == ["PauliX"]
    assert probabilities(program) == {"01": 1.0}


def test_conditions_on_bits_never_measured_are_decided_at_once() -> None:
    circuit = QuantumCircuit(1, 2)
    with circuit.if_test((circuit.clbits[0], 0)) as otherwise:
        circuit.x(0)
    with otherwise:
        circuit.h(0)
    circuit.measure(0, 1)
    program = frameworks.read(circuit)
    assert not any(isinstance(one, Conditional) for one in program.circuit.operations)
    assert probabilities(program) == {"10": 1.0}


def test_teleportation_by_measured_bits_brings_the_state_over() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.ry(0.9, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[1], 1)):
        circuit.x(2)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.z(2)
    circuit.ry(-0.9, 2)
    circuit.measure(2, 2)
    wanted = dict.fromkeys(("000", "001", "010", "011"), 0.25)
    assert probabilities(frameworks.read(circuit)) == pytest.approx(wanted)


def test_conditions_can_be_pickled_and_have_fingerprints() -> None:
    import pickle

    from pennylane_qexec.circuits.fingerprint import fingerprint

    one, other = frameworks.read(if_an_expression()).circuit, frameworks.read(if_an_expression()).circuit
    assert fingerprint(one) == fingerprint(other) == fingerprint(pickle.loads(pickle.dumps(one)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_circuits_with_conditions_and_resets_count_as_in_aer(seed: int) -> None:
    """Each outcome comes as often in 20000 shots of Aer as its probability here says, to six sigma, at least 6."""
    circuit = random_circuit(3, 6, measure=True, conditional=True, reset=True, seed=seed)
    expected = probabilities(frameworks.read(circuit))
    simulator = AerSimulator(seed_simulator=seed)
    counts = simulator.run(transpile(circuit, simulator, optimization_level=0), shots=20000).result().get_counts()
    assert set(counts) <= set(expected)
    for key, probability in expected.items():
        sigma = max(np.sqrt(20000 * probability * (1 - probability)), 1.0)
        assert abs(counts.get(key, 0) - 20000 * probability) < 6 * sigma


def a_while_loop() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.x(0)
    return circuit


def a_loop_that_breaks() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.for_loop(range(3)):
        circuit.x(0)
        circuit.break_loop()
    return circuit


def a_measurement_in_an_if() -> QuantumCircuit:
    circuit = two_registers()
    with circuit.if_test((circuit.cregs[1], 2)):
        circuit.measure(2, 0)
    return circuit


def a_condition_on_many_bits() -> QuantumCircuit:
    circuit = QuantumCircuit(13, 13)
    circuit.measure(range(13), range(13))
    with circuit.if_test((circuit.cregs[0], 2)):
        circuit.x(0)
    return circuit


BEYOND = [
    (a_while_loop, "a 'while_loop'"),
    (a_loop_that_breaks, "a 'break_loop'"),
    (a_measurement_in_an_if, "a measurement within an if"),
    (a_condition_on_many_bits, "a condition on 13 measured bits"),
]


@pytest.mark.parametrize(("make", "reason"), BEYOND, ids=lambda one: getattr(one, "__name__", None))
def test_what_pennylane_cannot_say_stays_as_it_is_with_the_reason(
    make: Callable[[], QuantumCircuit], reason: str
) -> None:
    part = dynamic_part(frameworks.read(make()).circuit)
    assert part is not None
    assert part.hyperparameters["reason"] == reason
