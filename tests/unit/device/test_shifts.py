"""What PennyLane takes finite differences of is shifted, or refused where nothing would be left of these."""

from __future__ import annotations

import math
from typing import Any

import jax
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp
from pennylane.exceptions import QuantumFunctionError

SHOTS = 4000


def conditional(x: Any) -> Any:
    qml.Hadamard(0)
    qml.cond(qml.measure(0), qml.RX)(x, 1)
    return qml.expval(qml.Z(1))


def conditional_inverse(x: Any) -> Any:
    qml.Hadamard(0)
    qml.cond(qml.measure(0), qml.adjoint(qml.RX))(-x, 1)
    return qml.expval(qml.Z(1))


def conditional_product(x: Any) -> Any:
    qml.Hadamard(0)
    qml.cond(qml.measure(0), lambda: qml.TrotterProduct(0.25 * qml.X(1) + 0.25 * qml.X(1), x, n=2))()
    return qml.expval(qml.Z(1))


RIGHT = -math.sin(0.4) / 2


@pytest.mark.slow
@pytest.mark.parametrize("shots", [None, SHOTS])
@pytest.mark.parametrize("circuit", [conditional, conditional_inverse, conditional_product])
@pytest.mark.parametrize(
    ("executor", "interface"),
    [("cirq.simulator", "autograd"), ("lightning.qubit", "torch"), ("lightning.qubit", "jax")],
)
def test_conditional_gates_are_shifted(
    open_device: Any, executor: str, circuit: Any, interface: str, shots: int | None
) -> None:
    """PennyLane's finite differences are zero in single precision, and noise (1e5) with shots."""
    node = qml.set_shots(qml.QNode(circuit, open_device(executor, None), diff_method="parameter-shift"), shots)
    if interface == "torch":
        x = torch.tensor(0.4, requires_grad=True, dtype=torch.float64)
        node(x).backward()
        found = float(x.grad)
    else:
        found = float(qml.grad(node)(pnp.array(0.4)) if interface == "autograd" else jax.grad(node)(0.4))
    # At most 4 uses of the number, each by two estimates with factors of at most a quarter: 6.5 standard deviations.
    assert found == pytest.approx(RIGHT, abs=1e-5 if shots is None else 6.5 * math.sqrt(1 / (2 * SHOTS)))


def test_second_derivatives_of_conditional_gates_are_shifted(open_device: Any) -> None:
    node = qml.QNode(conditional, open_device("lightning.qubit", None), diff_method="parameter-shift", max_diff=2)
    assert qml.grad(qml.grad(node))(pnp.array(0.4)) == pytest.approx(-math.cos(0.4) / 2)


def test_shifted_circuits_have_conditional_gates_as_pennylane_has_them(open_device: Any) -> None:
    seen: set[type] = set()
    device = open_device("default.qubit", None)
    execute = device.cluster.run

    def run(jobs: Any, *rest: Any) -> Any:
        seen.update(type(one) for job in jobs for one in job.circuit.operations)
        return execute(jobs, *rest)

    device.cluster.run = run
    node = qml.QNode(conditional, device, diff_method="parameter-shift", mcm_method="tree-traversal")
    assert qml.grad(node)(pnp.array(0.4)) == pytest.approx(RIGHT)
    assert qml.ops.Conditional in seen
    assert not any(one.__name__ == "ShiftedConditional" for one in seen)


class Unknown(qml.operation.Operation):
    """A rotation of which PennyLane knows nothing but its matrix."""

    num_wires = 1
    num_params = 1
    ndim_params = (0,)

    @staticmethod
    def compute_matrix(angle: Any) -> Any:
        """That of the rotation."""
        return qml.RX.compute_matrix(angle)


def test_what_has_no_shifts_is_refused_with_shots(open_device: Any) -> None:
    def circuit(x: Any) -> Any:
        Unknown(x, wires=0)
        return qml.expval(qml.Z(0))

    node = qml.QNode(circuit, open_device("default.qubit", 1), diff_method="parameter-shift")
    assert qml.grad(node)(pnp.array(0.4)) == pytest.approx(-math.sin(0.4), abs=1e-5)
    with pytest.raises(QuantumFunctionError, match="nothing of finite differences"):
        qml.grad(qml.set_shots(node, SHOTS))(pnp.array(0.4))
    rough = qml.QNode(circuit, node.device, diff_method="finite-diff", gradient_kwargs={"h": 0.5}, shots=SHOTS)
    assert qml.grad(rough)(pnp.array(0.4)) == pytest.approx(-math.sin(0.4), abs=0.3 + 6.5 * math.sqrt(8 / SHOTS))
