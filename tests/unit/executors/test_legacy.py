"""Devices of PennyLane's older interface: what they cannot do is refused, and what they do wrongly is mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

FLIP = qml.X(0)


def shadow(shots: Any) -> QuantumScript:
    return QuantumScript([FLIP], [qml.classical_shadow([0])], shots=shots)


def test_a_shadow_does_not_disturb_the_circuits_beside_it(open_cluster: Any) -> None:
    """pennylane-qiskit reads the results of the last job that the device ran; a shadow runs jobs of its own."""
    cluster = open_cluster("qiskit.aer", wires=1, retry=qexec.retries.never())
    counts = QuantumScript([FLIP], [qml.counts()], shots=5)
    first, taken, last = cluster.execute([counts, shadow(5), counts])
    assert len({row.batch for row in cluster.history}) == 1
    assert {str(key): int(count) for key, count in first.items()} == {"1": 5}
    assert {str(key): int(count) for key, count in last.items()} == {"1": 5}
    assert np.shape(taken) == (2, 5, 1)


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_every_number_of_a_shot_vector_gets_a_shadow_of_its_own(open_device: Any, name: str) -> None:
    results = qml.execute([shadow([3, 3, 2])], open_device(name, 1), diff_method=None)[0]
    assert [np.shape(result) for result in results] == [(2, 3, 1), (2, 3, 1), (2, 2, 1)]


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_a_circuit_that_needs_more_wires_than_the_device_has_is_refused(open_device: Any, name: str) -> None:
    @qml.qnode(open_device(name, 1), shots=5)
    def circuit() -> Any:
        return qml.expval(qml.measure(0))

    with pytest.raises(qexec.NoExecutorError, match=r"has the wires \[0\], and deferring .* takes \[0, 1\]"):
        circuit()


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
@pytest.mark.parametrize("measurement", [qml.state(), qml.vn_entropy([0]), qml.purity([0])], ids=str)
def test_measurements_of_the_state_are_refused_with_shots(open_device: Any, name: str, measurement: Any) -> None:
    device = open_device(name, 1)
    with pytest.raises(qexec.NoExecutorError, match=name):
        qml.execute([QuantumScript([FLIP], [measurement], shots=5)], device, diff_method=None)
    assert len(device.history) == 0


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
@pytest.mark.parametrize("measurement", [qml.sample(wires=[0]), qml.counts(wires=[0])], ids=str)
def test_samples_are_refused_without_shots(open_device: Any, name: str, measurement: Any) -> None:
    device = open_device(name, 1)
    with pytest.raises((qexec.NoExecutorError, qml.exceptions.DeviceError), match=r"shots|analytic"):
        qml.execute([QuantumScript([FLIP], [measurement])], device, diff_method=None)
    assert len(device.history) == 0


def test_analytic_circuits_on_aer_are_exact(open_device: Any) -> None:
    circuit = qml.QNode(lambda: (qml.RX(0.4, 0), qml.expval(qml.Z(0)))[1], open_device("qiskit.aer", 1))
    assert float(circuit()) == pytest.approx(np.cos(0.4))


def test_aer_with_a_backend_of_its_own_is_left_out_of_analytic_circuits() -> None:
    executor = qexec.executor("qiskit.aer", wires=1, backend="aer_simulator")
    assert "needs a number of shots" in str(executor.rejects(QuantumScript([FLIP], [qml.expval(qml.Z(0))])))


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_the_number_of_shots_changes_from_circuit_to_circuit(name: str) -> None:
    executor = qexec.executor(name, wires=1)
    circuits = [QuantumScript([FLIP], [qml.counts()], shots=shots) for shots in (3, 8, 3)]
    assert [sum(counts.values()) for counts in executor.run(circuits)] == [3, 8, 3]
