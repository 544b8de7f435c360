"""Fingerprints: equal for equal circuits in every process, different for different ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.measurements import MeasurementValue
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript
from scipy import sparse
from scipy.stats import unitary_group

from pennylane_qexec.circuits.fingerprint import fingerprint

BELL = [qml.H(0), qml.CNOT([0, 1])]
HAMILTONIAN = qml.Hamiltonian([0.5, 0.2], [qml.Z(0) @ qml.Z(1), qml.X(0)])


def mid_measured(**options: Any) -> QuantumScript:
    """A circuit with two mid-circuit measurements, whose ids are new every time."""

    def circuit() -> Any:
        first = qml.measure(0, **options)
        second = qml.measure(1)
        qml.cond(first & ~second, qml.RX)(0.3, 2)
        return qml.expval(first), qml.probs(op=[second])

    with qml.queuing.AnnotatedQueue() as queue:
        circuit()
    return QuantumScript.from_queue(queue)


def with_operation(operation: Any) -> QuantumScript:
    return QuantumScript([*BELL, operation], [qml.expval(qml.Z(0))])


def with_measurement(measurement: Any, shots: Any = None) -> QuantumScript:
    return QuantumScript(BELL, [measurement], shots=shots)


def kinds() -> dict[str, QuantumScript]:
    """One circuit of many kinds; no two are equal."""
    matrix = unitary_group.rvs(32, random_state=1)
    operations = {
        "rotation": qml.RX(0.3, 0),
        "other wire": qml.RX(0.3, 1),
        "string wire": qml.RX(0.3, "0"),
        "other axis": qml.RY(0.3, 0),
        "other angle": qml.RX(0.3 + 1e-15, 0),
        "one turn more": qml.RX(0.3 + 2 * np.pi, 0),
        "broadcasted": qml.RX(np.array([0.3, 0.4]), 0),
        "general rotation": qml.Rot(0.1, 0.2, 0.3, 0),
        "adjoint": qml.adjoint(qml.RX(0.3, 0)),
        "power": qml.pow(qml.RX(0.3, 0), 2),
        "controlled": qml.ctrl(qml.RX(0.3, 0), control=1),
        "controlled on zero": qml.ctrl(qml.RX(0.3, 0), control=1, control_values=[0]),
        "exponential": qml.exp(qml.X(0), 0.3j),
        "evolution": qml.evolve(qml.X(0), 0.3),
        "product": qml.prod(qml.X(0), qml.Y(1)),
        "template": qml.QFT(wires=[0, 1]),
        "other template": qml.GroverOperator(wires=[0, 1]),
        "trotter": qml.TrotterProduct(HAMILTONIAN, 0.3, n=2),
        "matrix": qml.QubitUnitary(matrix, wires=range(5)),
        "sparse matrix": qml.QubitUnitary(sparse.csr_matrix(np.eye(4)), wires=[0, 1]),
        "basis state": qml.BasisState([0, 1], wires=[0, 1]),
        "amplitudes": qml.StatePrep(np.array([0.6, 0.8]), wires=0),
        "channel": qml.DepolarizingChannel(0.1, 0),
        "pauli word": qml.PauliRot(0.3, "XY", wires=[0, 1]),
    }
    measurements = {
        "probs": qml.probs(wires=[0, 1]),
        "probs of other wires": qml.probs(wires=[1, 0]),
        "variance": qml.var(qml.Z(0)),
        "hamiltonian": qml.expval(HAMILTONIAN),
        "hermitian": qml.expval(qml.Hermitian(np.diag([1.0, 2.0]), 0)),
        "projector": qml.expval(qml.Projector([0, 1], wires=[0, 1])),
        "state": qml.state(),
        "density matrix": qml.density_matrix([0]),
        "purity": qml.purity([0]),
        "entropy": qml.vn_entropy([0]),
        "entropy, base 2": qml.vn_entropy([0], log_base=2),
        "shadow": qml.shadow_expval(HAMILTONIAN, seed=3),
    }
    circuits = {name: with_operation(operation) for name, operation in operations.items()}
    circuits |= {name: with_measurement(measurement) for name, measurement in measurements.items()}
    circuits |= {
        "counts": with_measurement(qml.counts(), shots=10),
        "all counts": with_measurement(qml.counts(all_outcomes=True), shots=10),
        "samples": with_measurement(qml.sample(), shots=10),
        "more samples": with_measurement(qml.sample(), shots=11),
        "a shot vector": with_measurement(qml.sample(), shots=(5, 5)),
        "measured": mid_measured(),
        "measured and reset": mid_measured(reset=True),
        "postselected": mid_measured(postselect=1),
        "empty": QuantumScript([], []),
    }
    return circuits


def test_no_two_kinds_of_circuits_share_a_fingerprint() -> None:
    circuits = kinds()
    assert len(circuits) >= 30
    assert len({fingerprint(circuit) for circuit in circuits.values()}) == len(circuits)


def test_circuits_made_twice_have_equal_fingerprints() -> None:
    first, second = kinds(), kinds()
    assert {name: fingerprint(first[name]) for name in first} == {name: fingerprint(second[name]) for name in first}


@pytest.mark.slow
def test_fingerprints_are_the_same_in_another_process() -> None:
    script = (
        "import json, test_fingerprint as test; "
        "print(json.dumps({name: test.fingerprint(circuit) for name, circuit in test.kinds().items()}))"
    )
    there = json.loads(programs.run(script).stdout.splitlines()[-1])
    assert there == {name: fingerprint(circuit) for name, circuit in kinds().items()}


def test_two_large_unitaries_that_differ_in_the_middle_have_different_fingerprints() -> None:
    one = unitary_group.rvs(32, random_state=1)
    other = one.copy()
    other[16, 16] = np.nextafter(one[16, 16].real, 2) + 1j * one[16, 16].imag
    circuits = [
        with_operation(qml.QubitUnitary(matrix, wires=range(5), unitary_check=False)) for matrix in (one, other)
    ]
    assert fingerprint(circuits[0]) != fingerprint(circuits[1])


def test_ids_of_mid_circuit_measurements_do_not_matter() -> None:
    assert fingerprint(mid_measured()) == fingerprint(mid_measured())


def test_ids_of_combined_mid_circuit_measurements_do_not_matter() -> None:
    def circuit(first: str, second: str) -> QuantumScript:
        measured = [MidMeasure(wire, meas_uid=uid) for wire, uid in enumerate((first, second))]
        one, other = (MeasurementValue([measurement]) for measurement in measured)
        return QuantumScript(measured, [qml.expval(op=one + 2 * other)])

    assert fingerprint(circuit("a", "b")) == fingerprint(circuit("b", "a"))


def test_which_of_two_combined_measurements_is_doubled_matters() -> None:
    def circuit(first: int, second: int) -> QuantumScript:
        with qml.queuing.AnnotatedQueue() as queue:
            qml.expval(first * qml.measure(0) + second * qml.measure(1))
        return QuantumScript.from_queue(queue)

    assert fingerprint(circuit(1, 2)) != fingerprint(circuit(2, 1))


def test_which_mid_circuit_measurement_is_meant_matters() -> None:
    def circuit(chosen: int) -> QuantumScript:
        with qml.queuing.AnnotatedQueue() as queue:
            measured = [qml.measure(0), qml.measure(1)]
            qml.expval(measured[chosen])
        return QuantumScript.from_queue(queue)

    assert fingerprint(circuit(0)) != fingerprint(circuit(1))


def test_processing_of_mid_circuit_measurements_matters() -> None:
    def circuit(process: Callable[[Any], Any]) -> QuantumScript:
        with qml.queuing.AnnotatedQueue() as queue:
            qml.expval(process(qml.measure(0)))
        return QuantumScript.from_queue(queue)

    prints = [fingerprint(circuit(process)) for process in (lambda m: m, lambda m: 2 * m, lambda m: ~m)]
    assert len(set(prints)) == 3


def test_trainable_parameters_matter() -> None:
    circuits = [
        QuantumScript([qml.Rot(0.1, 0.2, 0.3, 0)], [], trainable_params=chosen) for chosen in ([0], [1], [0, 1])
    ]
    assert len({fingerprint(circuit) for circuit in circuits}) == 3


def test_the_order_of_operations_matters() -> None:
    one, other = QuantumScript([qml.X(0), qml.X(1)], []), QuantumScript([qml.X(1), qml.X(0)], [])
    assert fingerprint(one) != fingerprint(other)


def test_an_operation_is_not_mistaken_for_a_measurement_of_it() -> None:
    assert fingerprint(QuantumScript([qml.X(0)], [])) != fingerprint(QuantumScript([], [qml.expval(qml.X(0))]))


@pytest.mark.parametrize("make", [np.float64, np.array, qml.numpy.array])
def test_how_a_number_is_wrapped_does_not_matter(make: Callable[[float], Any]) -> None:
    def circuit(angle: Any) -> QuantumScript:
        return QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))], trainable_params=[0])

    assert fingerprint(circuit(make(0.3))) == fingerprint(circuit(0.3))


def test_a_circuit_and_its_copy_have_the_same_fingerprint() -> None:
    for circuit in kinds().values():
        assert fingerprint(circuit.copy(copy_operations=True)) == fingerprint(circuit)


def test_a_sum_has_the_same_fingerprint_when_pennylane_has_worked_out_its_groups() -> None:
    for operator in (qml.Hamiltonian([1.0, 0.5], [qml.Z(0), qml.X(0)]), qml.Z(0) + qml.X(0)):
        circuit = QuantumScript([], [qml.expval(operator)], shots=10)
        before = fingerprint(circuit)
        operator.compute_grouping()
        assert fingerprint(circuit) == before


def test_a_function_has_no_fingerprint() -> None:
    circuit = with_operation(qml.TrotterizedQfunc(0.1, qfunc=lambda time, wires: qml.RX(time, wires), n=1, wires=[0]))
    with pytest.raises(TypeError, match="is a function: its content cannot be compared"):
        fingerprint(circuit)


def test_an_object_without_content_has_no_fingerprint() -> None:
    with pytest.raises(TypeError, match="has no fingerprint"):
        fingerprint(QuantumScript([], [qml.probs(wires=[object()])]))
