"""Executors get NumPy's numbers, whatever interface the circuit was written in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.parameters import unwrapped
from pennylane_qexec.testing import ScriptedExecutor


def turn(x: Any) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def test_a_circuit_of_plain_numbers_is_left_as_it_is() -> None:
    gates = [qml.RX(0.1, 0), qml.RY(np.float64(1), 0), qml.QubitUnitary(np.eye(2), 0)]
    circuit = QuantumScript(gates, [qml.expval(2.0 * qml.X(0))], shots=10)
    assert unwrapped(circuit) is circuit


@pytest.mark.parametrize("where", ["operation", "observable"])
@pytest.mark.parametrize("interface", ["torch", "autograd"])
def test_numbers_of_an_interface_become_numpys(where: str, interface: str) -> None:
    import torch

    number = torch.tensor(0.5, requires_grad=True) if interface == "torch" else qml.numpy.array(0.5)
    angle, factor = (number, 2.0) if where == "operation" else (0.5, number)
    circuit = unwrapped(QuantumScript([qml.RX(angle, 0)], [qml.expval(factor * qml.X(0))], shots=10))
    data = [*circuit.operations[0].data, *circuit.measurements[0].obs.data]
    assert [type(value) in (float, np.float64, np.ndarray) for value in data] == [True, True]
    assert circuit.shots.total_shots == 10


@pytest.mark.parametrize("interface", ["torch", "autograd", "jax"])
def test_an_executor_sees_numpys_numbers_and_the_gradient_is_right(interface: str) -> None:
    executor = ScriptedExecutor()
    with qml.device("qexec.cluster", wires=1, executors=[executor]) as device:
        circuit = qml.QNode(
            lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1],
            device,
            diff_method="parameter-shift",
            interface=interface,
        )
        assert _gradient(circuit, interface, 0.4) == pytest.approx(-np.sin(0.4), abs=1e-6)
    data = [value for batch in executor.batches for one in batch for gate in one.operations for value in gate.data]
    assert len(data) == 3
    assert all(type(value).__module__ in ("builtins", "numpy") for value in data)


def _gradient(circuit: Any, interface: str, x: float) -> float:
    if interface == "torch":
        import torch

        angle = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        circuit(angle).backward()
        return float(angle.grad)
    if interface == "jax":
        import jax

        return float(jax.grad(circuit)(x))
    return float(qml.grad(circuit)(qml.numpy.array(x)))


def test_what_backpropagation_records_is_left_alone() -> None:
    executor = qexec.executor("default.qubit", wires=1)
    with qml.device("qexec.cluster", wires=1, executors=[executor]) as device:
        circuit = qml.QNode(turn, device, diff_method="backprop")
        assert float(qml.grad(circuit)(qml.numpy.array(0.4))) == pytest.approx(-np.sin(0.4))
