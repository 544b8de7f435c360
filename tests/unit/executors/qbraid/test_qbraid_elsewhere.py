"""qBraid's devices in clusters, behind the PennyLane device, and in QElectrons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes.qbraid_provider import FakeDevice, FakeProvider
from pennylane import numpy as pnp

import pennylane_qexec as qexec

SHOTS = 20_000


def executor(name: str, program: str = "qasm2", **options: Any) -> qexec.QBraidExecutor:
    """An executor of a fake vendor's device, which is asked for the state of its jobs without a pause."""
    made = qexec.QBraidExecutor(FakeProvider({name: FakeDevice(name, program=program, seed=5, **options)}), name)
    made.poll_interval = made.poll_interval_max = 0.001
    return made


def circuit(angle: Any) -> Any:
    qml.RX(angle, wires=0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


def test_a_gradient_is_that_of_the_circuit() -> None:
    """Each of the two shifted values has a standard error of at most 1 / sqrt(20000); the bound is six sigma."""
    with qml.device("qexec.cluster", wires=2, executors=[executor("sim"), executor("other", "qiskit")]) as device:
        node = qml.set_shots(qml.QNode(circuit, device), SHOTS)
        slope = qml.grad(node)(pnp.array(0.6))
    assert float(slope) == pytest.approx(-np.sin(0.6), abs=6 / np.sqrt(2 * SHOTS))


def test_shots_are_split_over_devices_and_merged_exactly() -> None:
    with qml.device(
        "qexec.cluster", wires=2, executors=[executor("sim"), executor("cirq", "cirq")], split="uniform"
    ) as device:

        @qml.set_shots(101)
        @qml.qnode(device)
        def flipped() -> Any:
            qml.X(0)
            return qml.counts(wires=[0, 1])

        assert flipped() == {"10": 101}
        assert sorted(device.history.to_dataframe().shots) == [50, 51]


def test_shot_vectors_have_a_result_for_each_number() -> None:
    with qml.device("qexec.cluster", wires=2, executors=[executor("sim")]) as device:
        node = qml.set_shots(qml.QNode(circuit, device), (10, 20, 20))
        assert node(0.0) == (1.0, 1.0, 1.0)


def test_qelectrons_run_later_and_share_batches() -> None:
    device = FakeDevice("sim", seed=5, states=("QUEUED", "RUNNING", "COMPLETED"))
    slow = qexec.QBraidExecutor(FakeProvider({"sim": device}), "sim")
    slow.poll_interval = slow.poll_interval_max = 0.001
    node = qml.set_shots(qml.QNode(circuit, qml.device("default.qubit", wires=2)), 50)
    with qexec.qelectron(node, executors=[slow]) as electron:
        values = [future.result() for future in [electron.run_later(angle) for angle in (0.0, np.pi, 0.0)]]
    assert values == [1.0, -1.0, 1.0]
    assert len(device.shots) < 3


def test_a_device_whose_jobs_fail_hands_over_to_another() -> None:
    broken = executor("broken", states=("QUEUED", "FAILED"), reason="too warm")
    with qexec.QCluster([broken, executor("sim")], retry=qexec.retries.never()) as cluster:
        tape = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))], shots=10)
        assert cluster.execute([tape, tape]) == [-1.0, -1.0]
