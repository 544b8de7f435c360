"""Variances of sums, whose squares PennyLane takes for constants, are differentiated right, or refused."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.exceptions import QuantumFunctionError

pytestmark = pytest.mark.slow

X = [0.4, -1.1, 0.7]
MATRIX = np.array([[1, 0.3], [0.3, -2]])

RIGHT = {
    "a sum": lambda: qml.var(qml.Z(0) + qml.X(1)),
    "a Hamiltonian": lambda: qml.var(qml.Hamiltonian([0.5, 0.3, 0.2], [qml.Z(0), qml.X(1), qml.Z(2)])),
    "anticommuting terms": lambda: qml.var(qml.Hamiltonian([0.5, 0.3], [qml.Z(0) @ qml.Z(1), qml.X(0)])),
    "a multiple": lambda: qml.var(2 * qml.Z(0)),
    "a multiple of a sum": lambda: qml.var(2 * (qml.Z(0) + qml.X(1))),
    "a product with a sum": lambda: qml.var(qml.prod(qml.Z(0) + 0.5 * qml.I(0), qml.Z(1))),
    "a word": lambda: qml.var(qml.Z(0) @ qml.X(1)),
    "a matrix": lambda: qml.var(qml.Hermitian(MATRIX, 0)),
    "a product with a matrix": lambda: qml.var(qml.Hermitian(MATRIX, 0) @ qml.Z(1)),
    "a projector": lambda: qml.var(qml.Projector([0], [1])),
    "several": lambda: (qml.var(qml.Z(0) + qml.X(1)), qml.probs(wires=[0]), qml.var(qml.Hermitian(MATRIX, 2))),
}

REFUSED = {
    "a multiple of a matrix": lambda: qml.var(2 * qml.Hermitian(MATRIX, 0)),
    "a sum with a matrix": lambda: qml.var(qml.Z(0) + qml.Hermitian(MATRIX, 1)),
    "a product of a matrix with a multiple": lambda: qml.var(qml.Hermitian(MATRIX, 0) @ (2 * qml.Z(1))),
}


def circuit_of(measured: Any) -> Any:
    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.RY(x[1], 1)
        qml.RY(0.3, 2)
        qml.CNOT([0, 1])
        qml.RX(x[2], 1)
        return measured()

    return circuit


@pytest.mark.parametrize("max_diff", [1, 2])
@pytest.mark.parametrize("measured", RIGHT.values(), ids=RIGHT)
def test_the_derivative_of_a_variance_is_that_of_backpropagation(
    open_device: Any, measured: Any, max_diff: int
) -> None:
    circuit = circuit_of(measured)
    node = qml.QNode(circuit, open_device("default.qubit", None), diff_method="parameter-shift", max_diff=max_diff)
    right = qml.QNode(circuit, qml.device("default.qubit"), diff_method="backprop")
    found, expected = (jax.tree.leaves(jax.jacobian(each)(jax.numpy.array(X))) for each in (node, right))
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-5)  # single precision


def test_each_number_of_a_shot_vector_has_the_derivative_of_a_variance(open_device: Any) -> None:
    circuit = circuit_of(lambda: (qml.probs(wires=[0]), qml.var(qml.Z(0) + qml.X(1))))
    node = qml.QNode(circuit, open_device("default.qubit", None), diff_method="parameter-shift")
    found = jax.jacobian(qml.set_shots(node, (4000, 9000)))(jax.numpy.array(X))
    right = jax.jacobian(qml.QNode(circuit, qml.device("default.qubit"), diff_method="backprop"))(jax.numpy.array(X))
    assert len(found) == 2
    for of_bin in found:
        # A square counts half twice, of at most 4 each; a mean of at most 2 counts 2 * 2 times: below 10 / sqrt(shots).
        assert np.allclose(of_bin[1], right[1], rtol=0, atol=6.5 * 10 / np.sqrt(4000))
        assert np.allclose(of_bin[0], right[0], rtol=0, atol=6.5 / np.sqrt(4000))


@pytest.mark.parametrize("measured", REFUSED.values(), ids=REFUSED)
def test_a_variance_whose_square_cannot_be_measured_is_refused(open_device: Any, measured: Any) -> None:
    node = qml.QNode(circuit_of(measured), open_device("default.qubit", None), diff_method="parameter-shift")
    with pytest.raises(QuantumFunctionError, match="has no derivative by parameter shifts here"):
        qml.grad(node)(pnp.array(X))
