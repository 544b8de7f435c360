"""Evolutions are differentiated by their time, whatever their operator, one by one and in batches."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp
from pennylane.exceptions import QuantumFunctionError
from pennylane.ops.functions import bind_new_parameters
from pennylane.tape import QuantumScript, make_qscript

from pennylane_qexec.circuits.evolutions import TimeEvolution
from pennylane_qexec.circuits.structure import NotExpandedError, rows_of

TERMS = qml.dot([0.7, -0.4], [qml.X(0) @ qml.X(1), qml.Z(0)])

EVOLUTIONS: dict[str, Callable[[Any], Any]] = {
    "word": lambda x: qml.evolve(qml.X(0) @ qml.Y(1), x),
    "scaled word": lambda x: qml.evolve(0.7 * qml.X(0), x),
    "product with a scaled factor": lambda x: qml.evolve((0.7 * qml.X(0)) @ qml.X(1), x),
    "sum": lambda x: qml.evolve(0.3 * qml.X(0) + 0.2 * qml.Z(1), x),
    "sum with a scaled factor": lambda x: qml.evolve((0.3 * qml.X(0)) @ qml.X(1) + qml.Z(0), x),
    "Hamiltonian": lambda x: qml.evolve(qml.Hamiltonian([0.3, 0.2], [qml.X(0), qml.Z(1)]), x),
    "Hermitian": lambda x: qml.evolve(qml.Hermitian(np.array([[1, 0.5], [0.5, -1]]), 0), x),
    "projector": lambda x: qml.evolve(qml.Projector([1], 0), x),
    "sum on one wire": lambda x: qml.evolve(qml.X(0) + qml.Z(0), x),
    "sum with frequencies 1, 2, 3 and 5": lambda x: qml.evolve(1.5 * qml.X(0) + qml.Z(1), x),
    "sum with frequencies near to each other": lambda x: qml.evolve(qml.X(0) + 0.4999 * qml.Z(1), x),
    "sum whose frequencies differ by rounding": lambda x: qml.evolve(0.3 * qml.X(0) + 0.1 * qml.Z(1), x),
    "sum of almost nothing": lambda x: qml.evolve(1e-9 * qml.X(0) + 1e-9 * qml.Z(0), x),
    "small sum": lambda x: qml.evolve(0.01 * qml.X(0) + 0.007 * qml.Z(1), x),
    "controlled sum": lambda x: qml.ctrl(qml.evolve(qml.X(0) + 0.3 * qml.Z(0), x), control=1),
    "inverse sum": lambda x: qml.adjoint(qml.evolve(qml.X(0) + 0.3 * qml.Z(1), x)),
    "inverse": lambda x: qml.adjoint(qml.evolve(0.7 * qml.X(0), x)),
    "controlled": lambda x: qml.ctrl(qml.evolve(0.7 * qml.X(0), x), control=1),
    "product formula": lambda x: qml.TrotterProduct(TERMS, x, n=2, order=2),
    "inverse product formula": lambda x: qml.adjoint(qml.TrotterProduct(TERMS, x, n=2)),
    "controlled rotation": lambda x: qml.ctrl(qml.PauliRot(x, "Y", 0), control=1),
    "controlled rotation of many": lambda x: qml.ctrl(qml.MultiRZ(x, [0]), control=1),
}
WITHOUT_SHIFTS: dict[str, Callable[[Any], Any]] = {
    "exponential": lambda x: qml.exp(qml.X(0) + 0.3 * qml.Z(0), -1j * x),
    "product with a sum": lambda x: qml.prod(qml.evolve(qml.X(0) + qml.Z(0), x), qml.X(1)),
}

MATRICES = frozenset({"sum with a scaled factor", "Hamiltonian", "Hermitian", "projector"}) | {
    name for name in EVOLUTIONS if "sum" in name
}
"""Those that are no gates of most backends."""


def _right(name: str, x: Any) -> Any:
    """The derivative by backpropagation in PyTorch: with Autograd, PennyLane's matrices of sums are not unitary."""
    given = torch.tensor(x, requires_grad=True, dtype=torch.float64)
    _node(name, qml.device("default.qubit"), "backprop")(given).sum().backward()
    return given.grad.numpy()


def _node(name: str, device: Any, method: str) -> Any:
    @qml.qnode(device, diff_method=method)
    def circuit(x: Any) -> Any:
        qml.Hadamard(1)
        qml.RX(x, 0)
        {**EVOLUTIONS, **WITHOUT_SHIFTS}[name](x)
        qml.RX(0.4, 0)
        return qml.expval(qml.Y(0) + qml.Z(0) @ qml.X(1))

    return circuit


@pytest.mark.slow
@pytest.mark.parametrize("x", [0.4, [0.4, 1.1]], ids=["one", "batch"])
@pytest.mark.parametrize("name", EVOLUTIONS)
def test_evolutions_are_differentiated_by_shifts(open_device: Any, name: str, x: Any) -> None:
    """PennyLane gives few of them other numbers (an IndexError), and takes no batches of them apart."""

    def derivative(node: Any) -> Any:
        return qml.grad(lambda one: qml.math.sum(node(one)))(pnp.array(x))

    right = _right(name, x)
    assert derivative(_node(name, open_device("default.qubit", 2), "parameter-shift")) == pytest.approx(right)


@pytest.mark.parametrize("name", [*EVOLUTIONS, *WITHOUT_SHIFTS])
def test_matrices_are_unitary_with_autograd(open_device: Any, name: str) -> None:
    """In PennyLane's, sums of terms that share wires are taken for gates: values outside of all bounds."""
    node = _node(name, open_device("default.qubit", 2), "best")
    right = _node(name, qml.device("default.qubit"), "backprop")(0.4)
    assert node(pnp.array(0.4, requires_grad=True)) == pytest.approx(right)
    assert qml.grad(node)(pnp.array(0.4)) == pytest.approx(_right(name, 0.4))
    circuit = make_qscript(node.func)(pnp.array(0.4, requires_grad=True))
    assert node.device.cluster.execute([circuit])[0] == pytest.approx(right)
    assert node.device.execute((circuit,))[0] == pytest.approx(right)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EVOLUTIONS if name not in MATRICES])
def test_evolutions_in_pytorch_are_differentiated_on_aer(open_device: Any, name: str) -> None:
    right = _right(name, 0.4)
    x = torch.tensor(0.4, requires_grad=True, dtype=torch.float64)
    _node(name, open_device("aer", 2), "best")(x).backward()
    assert float(x.grad) == pytest.approx(right, abs=1e-6)


def test_numbers_of_the_operator_are_not_taken_for_constants(open_device: Any) -> None:
    @qml.qnode(open_device("default.qubit", 1), diff_method="parameter-shift")
    def circuit(x: Any) -> Any:
        qml.evolve(qml.s_prod(x, qml.X(0)) + qml.Z(0), x)
        return qml.expval(qml.Z(0))

    with pytest.raises(QuantumFunctionError, match="differentiated by its time only"):
        circuit(torch.tensor(0.6, requires_grad=True, dtype=torch.float64))


def test_the_factor_of_a_word_is_differentiated_with_the_time(open_device: Any) -> None:
    def derivative(device: Any, method: str) -> float:
        @qml.qnode(device, diff_method=method)
        def circuit(x: Any) -> Any:
            qml.RY(0.3, 0)
            qml.evolve(qml.prod(qml.s_prod(x, qml.X(0)), qml.X(1)), x)
            return qml.expval(qml.Z(0))

        x = torch.tensor(0.6, requires_grad=True, dtype=torch.float64)
        circuit(x).backward()
        return float(x.grad)

    right = derivative(qml.device("default.qubit"), "backprop")
    assert derivative(open_device("lightning.qubit", 2), "parameter-shift") == pytest.approx(right)


def test_a_batch_of_exponentials_is_not_taken_apart_and_a_sentence_says_so() -> None:
    circuit = QuantumScript([qml.exp(qml.Y(0), 1j * np.array([0.6, 0.7]))], [qml.expval(qml.Z(0))])
    with pytest.raises(NotExpandedError, match="call the QNode for each row"):
        rows_of(circuit)


def test_an_evolution_is_given_a_new_time_and_travels() -> None:
    given = TimeEvolution(qml.Hamiltonian([0.3, 0.2], [qml.X(0), qml.Z(1)]), 0.4)
    other = bind_new_parameters(pickle.loads(pickle.dumps(given)), [0.9])
    assert isinstance(other, TimeEvolution)
    assert np.allclose(other.matrix(), qml.evolve(given.base, 0.9).matrix())


def test_second_derivatives_of_evolutions_by_sums_are_right(open_device: Any) -> None:
    device = open_device("default.qubit", 2)
    node = qml.QNode(_node("sum", device, "best").func, device, diff_method="parameter-shift", max_diff=2)
    step = 1e-4
    right = (_right("sum", 0.4 + step) - _right("sum", 0.4 - step)) / (2 * step)
    assert qml.grad(qml.grad(node))(pnp.array(0.4)) == pytest.approx(right, abs=1e-5)


SCALED = 0.7 * (qml.X(0) @ qml.X(1))

EXPONENTIALS: dict[str, Callable[[Any], Any]] = {
    "scaled word": lambda c: qml.exp(SCALED, c),
    "scaled factor": lambda c: qml.exp((0.7 * qml.X(0)) @ qml.X(1), c),
    "inverse": lambda c: qml.adjoint(qml.exp(SCALED, c)),
    "controlled": lambda c: qml.ctrl(qml.exp(SCALED, c), control=2),
    "product": lambda c: qml.prod(qml.exp(SCALED, c), qml.Y(1)),
    "other basis": lambda c: qml.change_op_basis(qml.Hadamard(0), qml.exp(SCALED, c)),
    "selected": lambda c: qml.Select([qml.exp(SCALED, c), qml.X(0)], control=[2]),
    "conditional": lambda c: qml.cond(qml.measure(2), qml.ops.Exp)(SCALED, c),
}
"""Operations that PennyLane asks for a decomposition, by which it multiplies arrays and tensors in place."""


def _exponential(name: str, device: Any, method: str | None) -> Any:
    @qml.qnode(device, diff_method=method)
    def circuit(coefficient: Any) -> Any:
        qml.Hadamard(2)
        qml.RY(0.4, 0)
        qml.RX(0.3, 1)
        EXPONENTIALS[name](coefficient)
        qml.RX(0.2, 0)
        return qml.expval(qml.Z(0) @ qml.Z(1) + qml.Y(0) + 0.3 * qml.Y(1))

    return circuit


@pytest.mark.parametrize("method", ["best", "parameter-shift"])
@pytest.mark.parametrize("name", EXPONENTIALS)
def test_coefficients_of_exponentials_are_multiplied_once(open_device: Any, name: str, method: str) -> None:
    plain = _exponential(name, qml.device("default.qubit"), None)
    right, step = plain(0.7j), 1e-5
    slope = (plain(1j * (0.7 - step)) - plain(1j * (0.7 + step))) / (2 * step)
    node = _exponential(name, open_device("lightning.qubit", 3), method)
    x = pnp.array([-0.7], requires_grad=True)
    constants = [pnp.array(0.7j, requires_grad=False), torch.tensor(0.7j, dtype=torch.complex128)]
    assert [float(node(one)) for one in [-1j * x[0], *constants]] == pytest.approx([right] * 3, abs=1e-6)
    assert qml.grad(lambda x: node(-1j * x[0]))(x) == pytest.approx([slope], abs=1e-6)
    if method == "parameter-shift":
        time = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
        node(-1j * time).backward()
        assert float(time.grad) == pytest.approx(slope, abs=1e-6)
    assert [complex(one) for one in constants] == [0.7j] * 2


@pytest.mark.parametrize(
    "coefficient",
    [np.array(0.7j), pnp.array(0.7j), torch.tensor(0.7j, dtype=torch.complex128)],
    ids=lambda c: str(type(c)),
)
def test_coefficients_given_to_a_cluster_stay_as_they_are(open_device: Any, coefficient: Any) -> None:
    right = _exponential("scaled word", qml.device("default.qubit"), None)(0.7j)
    device = open_device("lightning.qubit", 3)
    circuit = make_qscript(_exponential("scaled word", device, None).func)(coefficient)
    assert device.cluster.execute([circuit])[0] == pytest.approx(right, abs=1e-6)
    assert device.execute((circuit,))[0] == pytest.approx(right, abs=1e-6)
    assert complex(coefficient) == 0.7j


@pytest.mark.parametrize("method", ["parameter-shift", "finite-diff"])
def test_an_array_of_the_users_is_a_coefficient_where_nothing_is_differentiated(open_device: Any, method: str) -> None:
    right, coefficient = _exponential("scaled word", qml.device("default.qubit"), None)(0.7j), np.array(0.7j)
    assert _exponential("scaled word", open_device("aer", 3), method)(coefficient) == pytest.approx(right, abs=1e-6)
    assert complex(coefficient) == 0.7j


@pytest.mark.parametrize("around", [lambda one: one, qml.adjoint, lambda one: qml.ctrl(one, 2)])
def test_a_derivative_by_nothing_but_a_number_of_an_operator_is_refused(open_device: Any, around: Any) -> None:
    """PennyLane shows interfaces no such number, so that it would be zero."""

    @qml.qnode(open_device("aer", 3), diff_method="parameter-shift")
    def circuit(x: Any) -> Any:
        around(qml.evolve(qml.s_prod(x, qml.X(0) @ qml.X(1)), 0.7))
        return qml.expval(qml.Z(0))

    assert float(circuit(pnp.array(0.6, requires_grad=True))) <= 1.0
    with pytest.raises(QuantumFunctionError, match="Multiply the time"):
        qml.grad(circuit)(pnp.array(0.6, requires_grad=True))


@pytest.mark.parametrize("method", ["finite-diff", "parameter-shift"])
def test_the_factor_of_an_operator_is_differentiated_beside_other_numbers(open_device: Any, method: str) -> None:
    def ansatz(x: Any, y: Any) -> Any:
        qml.RY(y, 0)
        qml.evolve(qml.s_prod(x, qml.X(0) @ qml.Z(1)), 0.7)
        return qml.expval(qml.Z(0))

    node = qml.QNode(ansatz, open_device("lightning.qubit", 2), diff_method=method)
    plain, step = qml.QNode(ansatz, qml.device("default.qubit"), diff_method=None), 1e-5
    x, y = pnp.array(-0.7, requires_grad=True), pnp.array(0.3, requires_grad=True)
    right = [
        (plain(-0.7 + step, 0.3) - plain(-0.7 - step, 0.3)) / (2 * step),
        (plain(-0.7, 0.3 + step) - plain(-0.7, 0.3 - step)) / (2 * step),
    ]
    assert np.array(qml.grad(node)(x, y)) == pytest.approx(right, abs=1e-5)
