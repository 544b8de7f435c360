"""Circuits that a program leaves as they are do not go through it, and nobody sees a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors.pennylane.preparation import UnchangedCircuits, unchanged_by


def circuit(angle: Any, *more: Any, measured: Any = None, shots: int | None = 10) -> QuantumScript:
    return QuantumScript([qml.RX(angle, 0), qml.CNOT([0, 1]), *more], [measured or qml.expval(qml.Z(1))], shots=shots)


def bound(device: str, circuits: list[QuantumScript], **options: Any) -> list[tuple[QuantumScript, ...]]:
    executor = qexec.executor({"type": device, **options})
    binder = executor.binder(ExecutionConfig(), circuits[0])
    return [binder(one).circuits for one in circuits]


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
def test_plain_circuits_of_one_structure_are_bound_as_they_are(device):
    circuits = [circuit(angle) for angle in (0.1, 0.2, np.float64(0.3), np.array(0.4))]
    assert all(one is other for one, (other,) in zip(circuits, bound(device, circuits), strict=True))


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize(
    "odd",
    [
        lambda: circuit(np.array([0.1, 0.2])),
        lambda: circuit(0.1, qml.QFT([0, 1])),
        lambda: circuit(0.1, measured=qml.probs()),
        lambda: circuit(0.1, shots=None),
        lambda: circuit(0.1, qml.RX(0.1, 2)),
    ],
)
def test_an_odd_circuit_among_plain_ones_is_prepared_as_alone(device, odd):
    _, (*among,), *_ = bound(device, [circuit(0.1), odd(), circuit(0.2)])
    (alone,) = bound(device, [odd()])
    assert len(among) == len(alone)
    for one, other in zip(among, alone, strict=True):
        assert (one.operations, one.measurements, one.shots) == (other.operations, other.measurements, other.shots)


def test_wires_that_a_device_does_not_have_are_refused_among_others_too():
    executor = qexec.executor({"type": "lightning.qubit", "wires": 2})
    binder = executor.binder(ExecutionConfig(), circuit(0.1))
    binder(circuit(0.1))
    with pytest.raises(qml.exceptions.WireError):
        binder(circuit(0.1, qml.RX(0.1, 2)))


def test_measurements_that_a_device_does_not_take_are_refused_among_others_too():
    executor = qexec.executor("default.qubit")
    binder = executor.binder(ExecutionConfig(), circuit(0.1))
    binder(circuit(0.1))
    with pytest.raises(qml.exceptions.DeviceError):
        binder(circuit(0.1, measured=qml.state()))


def test_structures_that_never_come_again_are_soon_not_remembered_any_more():
    unchanged = UnchangedCircuits()
    for wire in range(20):
        one = QuantumScript([qml.RX(0.1, wire)], [qml.expval(qml.Z(0))])
        unchanged.note(one, (one,), lambda results: list(results))
    assert unchanged._tries == 0


def test_only_simulators_that_are_built_by_name_are_known_well_enough():
    given = qexec.executor(qml.device("default.qubit"))
    named = qexec.executor("default.qubit")
    plain, adjoint = ExecutionConfig(), ExecutionConfig(gradient_method="adjoint")
    program = object()
    assert unchanged_by(program, named._source, plain) is unchanged_by(program, named._source, plain)
    assert unchanged_by(program, named._source, plain) is not unchanged_by(object(), named._source, plain)
    assert unchanged_by(program, given._source, plain) is None
    assert unchanged_by(object(), named._source, ExecutionConfig(gradient_method="device")) is None
    by_adjoint = unchanged_by(object(), named._source, adjoint)
    assert by_adjoint is not None


def test_circuits_for_adjoint_derivatives_are_known_if_their_gates_have_one_number_at_most():
    """Which of the numbers of other gates are trainable decides on whether a program takes them apart."""
    of_values, of_derivatives = UnchangedCircuits(), UnchangedCircuits(differentiated=True)
    for gate, known in ((qml.RX(0.1, 0), True), (qml.IsingXX(0.1, [0, 1]), True), (qml.Rot(0.1, 0.2, 0.3, 0), False)):
        circuit = qml.tape.QuantumScript([gate], [qml.expval(qml.Z(0))])
        for memory, expected in ((of_values, True), (of_derivatives, known)):
            memory.note(circuit, [circuit], lambda results: results)
            assert memory.covers(circuit) is expected


@pytest.mark.parametrize("trained", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_adjoint_derivatives_are_right_whichever_numbers_of_a_structure_are_trained(trained):
    points = [np.array([0.3, 0.5, 0.7]), np.array([0.0, np.pi / 2, 0.1])]

    def turned(*angles):
        qml.Rot(*angles, wires=0)
        qml.CNOT([0, 1])
        qml.RX(angles[0], 1)
        return qml.expval(qml.Y(0) @ qml.X(1))

    for spec in ("default.qubit", "lightning.qubit"):
        with qml.device("qexec.cluster", wires=2, executors=[spec]) as device:
            ours = qml.QNode(turned, device, diff_method="adjoint")
            exact = qml.QNode(turned, qml.device("default.qubit"), diff_method="backprop")
            for point in points:
                angles = [qml.numpy.array(one, requires_grad=place in trained) for place, one in enumerate(point)]
                assert np.allclose(qml.grad(ours)(*angles), qml.grad(exact)(*angles), rtol=0, atol=1e-10)
