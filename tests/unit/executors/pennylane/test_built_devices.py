"""The devices that an executor builds, and keeps."""

from __future__ import annotations

import gc
import weakref

import pennylane as qml
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec


def test_devices_built_for_many_sets_of_wires_do_not_pile_up() -> None:
    executor = qexec.DeviceExecutor("cirq.simulator")
    devices = []
    for wire in range(20):
        circuit = QuantumScript([qml.X(wire)], [qml.probs(wires=[wire])])
        executor.run([circuit])
        devices.append(weakref.ref(executor.device(circuit)))
    gc.collect()
    assert sum(device() is not None for device in devices) <= 8


def test_another_way_to_decompose_is_another_program() -> None:
    executor = qexec.DeviceExecutor("lightning.qubit", wires=2)
    circuit = QuantumScript([qml.QFT(wires=[0, 1])], [qml.probs(wires=[0, 1])])
    plain = executor.run([circuit])[0]
    with qml.decomposition.toggle_graph_ctx(True):
        by_graph = executor.run([circuit])[0]
    assert qml.math.allclose(plain, by_graph)


def test_the_pool_that_a_device_would_open_in_every_call_is_replaced_by_warm_workers() -> None:
    executor = qexec.executor("default.qubit", wires=1, max_workers=2)
    assert (executor.workers, executor.parallel) == (2, "process")
    assert executor.device().preprocess_transforms() is not None
    assert executor.device()._max_workers is None
