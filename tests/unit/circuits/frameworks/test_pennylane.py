"""Circuits of PennyLane: tapes, QNodes and functions; counts are written, other results stay what they are."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from exactly import probabilities
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError


def test_a_circuit_without_measurements_counts_all_wires() -> None:
    program = frameworks.read(QuantumScript([qml.X("b"), qml.CNOT(["b", "a"]), qml.Identity("c")], shots=7))
    assert (program.framework, program.shots, program.circuit.shots.total_shots) == ("pennylane", 7, None)
    assert program.circuit.measurements == [qml.counts(wires=["b", "a", "c"])]
    assert probabilities(program) == {"110": 1.0}
    assert probabilities(program, "little") == {"011": 1.0}


@pytest.mark.parametrize("measured", [[], [qml.counts()]])
def test_wires_with_numbers_are_counted_by_size_as_simulators_do(measured: Any) -> None:
    program = frameworks.read(QuantumScript([qml.X(1), qml.Identity(0)], measured))
    assert probabilities(program) == {"01": 1.0}


def test_counts_of_wires_are_in_their_order() -> None:
    program = frameworks.read(QuantumScript([qml.X(2)], [qml.counts(wires=[2, 0, 1])]))
    assert probabilities(program) == {"100": 1.0}
    assert probabilities(program, "big") == {"100": 1.0}
    assert probabilities(program, "little") == {"001": 1.0}


@pytest.mark.parametrize("alone", [True, False])
def test_counts_of_measurements_in_the_middle_have_bits(alone: bool) -> None:
    def circuit() -> Any:
        qml.X(0)
        first = qml.measure(0, reset=True)
        qml.cond(first, qml.X)(1)
        second = qml.measure(0)
        return qml.counts(first) if alone else qml.counts([second, first])

    assert probabilities(frameworks.read(circuit)) == {"1" if alone else "01": 1.0}


OWN = {
    "an expectation value": lambda: [qml.expval(qml.Z(0))],
    "probabilities": lambda: [qml.probs(wires=[0])],
    "two counts": lambda: [qml.counts(wires=[0]), qml.counts(wires=[1])],
    "counts of an observable": lambda: [qml.counts(qml.X(0))],
    "samples": lambda: [qml.sample(wires=[0])],
}


@pytest.mark.parametrize("what", OWN)
def test_results_that_are_no_counts_of_bits_stay_pennylanes(what: str) -> None:
    circuit = QuantumScript([qml.RX(0.3, 0), qml.H(1)], OWN[what](), shots=10)
    program = frameworks.read(circuit)
    assert program.bits is None
    assert qml.equal(program.circuit, circuit.copy(shots=None))


def test_counts_of_computed_outcomes_stay_pennylanes() -> None:
    def circuit() -> Any:
        return qml.counts(qml.measure(0) + 2 * qml.measure(1))

    assert frameworks.read(circuit).bits is None


def test_counts_of_outcomes_that_did_not_come_are_kept() -> None:
    program = frameworks.read(QuantumScript([qml.X(0)], [qml.counts(all_outcomes=True)]))
    assert program.circuit.measurements[0].all_outcomes


def test_a_qnode_brings_its_circuit_its_shots_and_the_wires_of_its_device() -> None:
    @qml.set_shots(100)
    @qml.transforms.cancel_inverses
    @qml.qnode(qml.device("default.qubit", wires=3))
    def bell(angle: float = 0.2) -> Any:
        qml.H(1)
        qml.H(1)
        qml.RX(angle, 1)
        return qml.counts()

    program = frameworks.read(bell)
    assert (program.shots, program.name) == (100, "bell")
    assert program.circuit.operations == [qml.RX(0.2, 1)]
    assert program.circuit.measurements == [qml.counts(wires=[0, 1, 2])]


def test_a_function_may_return_nothing() -> None:
    def turn() -> None:
        qml.X(0)

    program = frameworks.read(turn)
    assert (program.name, probabilities(program)) == ("turn", {"1": 1.0})


def test_numbers_of_an_interface_become_numpys() -> None:
    assert_plain(qml.numpy.array(0.5))


@pytest.mark.slow
def test_numbers_of_torch_and_jax_become_numpys() -> None:
    import jax
    import torch

    assert_plain(torch.tensor(0.5, requires_grad=True))
    assert_plain(jax.numpy.array(0.5))


def assert_plain(number: Any) -> None:
    (operation,) = frameworks.read(QuantumScript([qml.RX(number, 0)])).circuit.operations
    assert type(operation.data[0]) in (float, np.float64, np.ndarray)


def test_functions_with_their_arguments_bound_and_methods_are_functions() -> None:
    class Turns:
        def both(self) -> None:
            qml.X(0)
            qml.Identity(1)

    assert probabilities(frameworks.read(Turns().both)) == {"10": 1.0}
    assert probabilities(frameworks.read(partial(needs_values, np.pi, phase=0.0))) == pytest.approx({"1": 1.0})


def needs_values(angle: float, *others: float, phase: float) -> None:
    qml.RX(angle, 0)


def several() -> qml.QNode:
    @qml.transforms.split_non_commuting
    @qml.qnode(qml.device("default.qubit"))
    def circuit() -> Any:
        return qml.expval(qml.X(0)), qml.expval(qml.Z(0))

    return circuit


REFUSED = {
    "arguments of a function": (lambda: needs_values, "angle, phase.*make_qscript"),
    "arguments of a QNode": (lambda: qml.QNode(needs_values, qml.device("default.qubit")), "angle, phase.*construct"),
    "several circuits": (several, "2 circuits.*construct_batch"),
    "a shot vector": (lambda: QuantumScript([qml.X(0)], shots=(10, 20)), "shot vector"),
    "broadcasting": (lambda: QuantumScript([qml.RX([0.1, 0.2], 0)]), "broadcast_expand"),
    "a function of something else": (lambda: dict, "<class 'dict'>|type"),
    "a function that does nothing": (lambda: lambda: None, "no operations"),
    "an empty circuit": (QuantumScript, "without wires"),
    "a list": (lambda: [QuantumScript()], "one by one"),
    "a number": (lambda: 5, "builtins.int"),
    "None": (lambda: None, "NoneType"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_circuit_is_refused(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(ConfigurationError, match=message):
        frameworks.read(make())


def test_broadcasted_circuits_of_pennylanes_own_results_are_read() -> None:
    assert frameworks.read(QuantumScript([qml.RX([0.1, 0.2], 0)], [qml.expval(qml.Z(0))])).bits is None


def test_only_lists_and_tuples_are_many() -> None:
    circuit = QuantumScript([qml.X(0)])
    assert frameworks.one_or_many(circuit) == ([circuit], False)
    assert frameworks.one_or_many([circuit]) == ([circuit], True)
    assert frameworks.one_or_many((circuit, circuit)) == ([circuit, circuit], True)
    assert frameworks.one_or_many("OPENQASM 3.0;") == (["OPENQASM 3.0;"], False)


def test_reading_leaves_alone_what_is_being_recorded_here_and_in_other_threads() -> None:
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.rx(0.3, 1)
    circuit.csx(0, 1)

    def read_often() -> None:
        for _ in range(20):
            frameworks.read(circuit)

    frameworks.read(circuit)
    thread = threading.Thread(target=read_often)
    with qml.queuing.AnnotatedQueue() as queue:
        thread.start()
        recorded = [qml.RX(0.1, index) for index in range(500)]
        frameworks.read(circuit)
        thread.join()
    assert list(queue.queue) == recorded


def _turned() -> qml.QNode:
    def turned(angle: float) -> Any:
        qml.RX(angle, 0)
        return qml.counts()

    return qml.QNode(turned, qml.device("default.qubit", wires=1), shots=10)


def test_a_qnode_with_its_arguments_is_its_circuit_and_is_not_run() -> None:
    qnode = _turned()
    with qml.Tracker(qnode.device) as tracker:
        program = frameworks.read(partial(qnode, np.pi))
    assert tracker.totals == {}
    assert program.shots == 10
    assert probabilities(program) == pytest.approx({"1": 1.0})


def test_a_function_that_calls_a_qnode_is_no_quantum_function() -> None:
    with pytest.raises(ConfigurationError, match="give the QNode"):
        frameworks.read(lambda: _turned()(np.pi))
