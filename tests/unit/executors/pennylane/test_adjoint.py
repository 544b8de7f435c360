"""The adjoint method of default.qubit and lightning.qubit, where PennyLane's own programs for it go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp


def exact(function: Any, x: Any) -> tuple[Any, Any]:
    """The value and the derivative by backpropagation."""
    qnode = qml.QNode(function, qml.device("default.qubit"), diff_method="backprop")
    return qnode(x), qml.jacobian(qnode)(x)


def test_probabilities_behind_a_constant_are_those_of_the_circuit(open_device: Any) -> None:
    def function(x: Any) -> Any:
        qml.RX(2.62, 0)
        qml.RY(x, 0)
        return qml.probs(wires=0)

    x = pnp.array(2.542, requires_grad=True)
    qnode = qml.QNode(function, open_device("default.qubit"), diff_method="adjoint")
    value, derivative = exact(function, x)
    assert np.allclose(qnode(x), value)
    assert np.allclose(qml.jacobian(qnode)(x), derivative)


def test_probabilities_of_wires_used_in_another_order_are_differentiated_rightly(open_device: Any) -> None:
    def function(x: Any) -> Any:
        qml.RY(x, 2)
        qml.CRX(1.1, [2, 0])
        qml.RX(0.4, 1)
        return qml.probs(wires=[0, 1])

    x = pnp.array(0.7, requires_grad=True)
    qnode = qml.QNode(function, open_device("default.qubit"), diff_method="adjoint")
    value, derivative = exact(function, x)
    assert np.allclose(qnode(x), value)
    assert np.allclose(qml.jacobian(qnode)(x), derivative)


@pytest.mark.parametrize("kind", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("gate", [qml.PauliRot, qml.MultiRZ, qml.RX])
def test_rows_come_once(open_device: Any, kind: str, gate: Any) -> None:
    more = {"pauli_word": "X"} if gate is qml.PauliRot else {}

    def function(x: Any) -> Any:
        qml.H(0)
        gate(x, wires=[0], **more)
        return qml.expval(qml.Z(0) + qml.Y(0))

    qnode = qml.QNode(function, open_device(kind), diff_method="adjoint")
    x = torch.tensor([0.3, 0.9], requires_grad=True, dtype=torch.float64)
    value = qnode(x)
    value.sum().backward()
    right = [exact(function, pnp.array(one, requires_grad=True)) for one in (0.3, 0.9)]
    assert np.allclose(value.detach(), [one for one, _ in right])
    assert np.allclose(x.grad, [derivative for _, derivative in right])


def constants_behind(x: Any) -> Any:
    qml.RX(x, 0)
    qml.U2(0.5 * x, 0.61, wires=0)
    qml.Rot(0.1, 0.2, 0.3, 0)
    qml.CRot(0.1, 0.2, 0.3, wires=[0, 1])
    qml.prod(qml.RX(0.1, 0), qml.RY(0.3, 1))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["thread", "process"])
@pytest.mark.parametrize("measured", [lambda: qml.expval(qml.Z(0)), lambda: qml.probs(wires=[1, 0])])
def test_constants_of_gates_with_several_numbers_are_counted(parallel: str, measured: Any) -> None:
    """PennyLane passes over them, and gives zero for the derivative by what comes before them."""

    def circuit(x: Any) -> Any:
        constants_behind(x)
        return measured()

    x = pnp.array(0.4)
    right = qml.jacobian(qml.QNode(circuit, qml.device("default.qubit", wires=2), diff_method="backprop"))(x)
    executor = {"type": "default.qubit", "parallel": parallel, "workers": 1}
    with qml.device("qexec.cluster", executors=[executor], wires=2) as device:
        for method in ("best", "adjoint"):
            found = qml.jacobian(qml.QNode(circuit, device, diff_method=method))(x)
            assert np.allclose(found, right, atol=1e-8)
            assert np.abs(found).max() > 0.1


@pytest.mark.parametrize(
    "gate",
    [
        lambda: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(2)), 0),
        lambda: qml.adjoint(qml.PauliRot(0.3, "XY", [0, 1])),
        lambda: qml.adjoint(qml.ApproxTimeEvolution(qml.X(0) + qml.Z(1), 0.7, 1)),
        lambda: qml.adjoint(qml.Rot(0.1, 0.2, 0.3, 0)),
        lambda: qml.CRot(0.1, 0.2, 0.3, [0, 1]),
        lambda: qml.ControlledQubitUnitary(np.array([[0, 1j], [1, 0]]), [0, 1]),
        lambda: qml.ctrl(qml.StronglyEntanglingLayers(np.ones((1, 1, 3)), [1]), 0),
    ],
)
@pytest.mark.parametrize("method", ["best", "adjoint"])
def test_gates_without_a_kernel_in_lightning_are_counted(open_device: Any, gate: Any, method: str) -> None:
    """Lightning passes over some, and gives zero for all derivatives; of others it raises errors."""

    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        gate()
        qml.RY(x[1], 0)
        qml.adjoint(qml.PauliRot)(x[0], "XZ", [1, 0])
        return qml.expval(qml.X(0)), qml.expval(qml.Z(1))

    x = pnp.array([0.4, 0.9])
    bare = qml.QNode(circuit, qml.device("default.qubit"), diff_method="backprop")
    right = qml.jacobian(lambda x: pnp.stack(bare(x)))(x)
    qnode = qml.QNode(circuit, open_device("lightning.qubit"), diff_method=method)
    found = qml.jacobian(lambda x: pnp.stack(qnode(x)))(x)
    assert np.allclose(found, right, atol=1e-8)
    assert np.all(np.abs(found).max(axis=0) > 0.1)


@pytest.mark.parametrize("wires", [[0, 1], [2, 0], [3, 1], ["a", "b"]])
@pytest.mark.parametrize(
    "measured",
    [
        lambda wires: qml.vn_entropy([wires[1]]),
        lambda wires: qml.mutual_info([wires[0]], [wires[1]]),
        lambda wires: qml.purity([wires[0]]),
    ],
)
def test_entropies_are_of_the_wires_that_are_named(open_device: Any, wires: Any, measured: Any) -> None:
    """PennyLane takes their names for places among the wires."""

    def circuit(x: Any) -> Any:
        qml.RX(x, wires[0])
        qml.CNOT(wires)
        return measured(wires)

    x = pnp.array(0.7, requires_grad=True)
    value, derivative = exact(circuit, x)
    qnode = qml.QNode(circuit, open_device("default.qubit"), diff_method="adjoint")
    assert np.allclose(qnode(x), value)
    assert np.allclose(qml.jacobian(qnode)(x), derivative)
