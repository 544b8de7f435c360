"""Second derivatives are right, or refused with what to do. None is zero because somebody stopped recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp

import pennylane_qexec as qexec

X = 0.3
SECOND = -np.cos(X)
BACKPROPAGATING = ["default.qubit", "default.mixed", "jax"]
OTHERS = ["lightning.qubit", "reference.qubit", "aer"]
REFUSED = pytest.raises(qml.exceptions.QuantumFunctionError, match="max_diff=2")


def turn(x: Any) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def by_autograd(circuit: Any) -> float:
    return float(qml.grad(qml.grad(circuit))(pnp.array(X, requires_grad=True)))


def by_torch(circuit: Any) -> float:
    return float(torch.autograd.functional.hessian(circuit, torch.tensor(X, dtype=torch.float64)))


def by_jax(circuit: Any) -> float:
    return float(jax.hessian(circuit)(X))


def by_jax_in_reverse_twice(circuit: Any) -> float:
    return float(jax.grad(jax.grad(circuit))(X))


INTERFACES: dict[str, Callable[[Any], float]] = {
    "autograd": by_autograd,
    "torch": by_torch,
    "jax": by_jax,
    "jax in reverse": by_jax_in_reverse_twice,
}


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    """Numbers of 64 bits in jax, for as long as the test takes."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=INTERFACES.values(), ids=INTERFACES)
def second(request: Any) -> Any:
    """A second derivative, by an interface."""
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("executors", BACKPROPAGATING)
@pytest.mark.parametrize("order", [1, 2])
def test_they_are_right_where_the_device_backpropagates(
    open_device: Any, second: Any, executors: Any, order: int
) -> None:
    assert second(qml.QNode(turn, open_device(executors), max_diff=order)) == pytest.approx(SECOND)


@pytest.mark.slow
@pytest.mark.parametrize("executors", OTHERS)
def test_they_are_right_with_max_diff(open_device: Any, second: Any, executors: Any) -> None:
    assert second(qml.QNode(turn, open_device(executors), max_diff=2)) == pytest.approx(SECOND)


@pytest.mark.parametrize("executors", OTHERS)
def test_without_max_diff_they_are_refused(open_device: Any, second: Any, executors: Any) -> None:
    with REFUSED:
        second(qml.QNode(turn, open_device(executors)))


@pytest.mark.parametrize("method", ["parameter-shift", "adjoint", "finite-diff", "hadamard"])
def test_they_are_refused_with_every_method_that_is_asked_for(open_device: Any, second: Any, method: str) -> None:
    with REFUSED:
        second(qml.QNode(turn, open_device("default.qubit", 2), diff_method=method))


@pytest.mark.parametrize("executors", ["lightning.qubit", "aer"])
def test_they_are_refused_for_qelectrons_too(second: Any, executors: str) -> None:
    node = qml.QNode(turn, qml.device("default.qubit", wires=1))
    with qexec.qelectron(node, executors=executors) as circuit, REFUSED:
        second(circuit)


@pytest.mark.slow
def test_they_are_right_for_qelectrons_of_their_own_device(second: Any) -> None:
    with qexec.qelectron(qml.QNode(turn, qml.device("default.qubit", wires=1))) as circuit:
        assert second(circuit) == pytest.approx(SECOND)


@pytest.mark.parametrize("method", ["adjoint", "parameter-shift"])
def test_derivatives_by_two_parameters_one_inside_the_other_are_refused(open_device: Any, method: str) -> None:
    @qml.qnode(open_device("lightning.qubit"), diff_method=method)
    def circuit(x: Any, y: Any) -> Any:
        qml.RX(x, 0)
        qml.RX(y, 0)
        return qml.expval(qml.Z(0))

    with REFUSED:
        qml.grad(lambda y: qml.grad(lambda x: circuit(x, y))(pnp.array(X)))(pnp.array(0.2))
    with REFUSED:
        jax.grad(lambda y: jax.grad(lambda x: circuit(x, y))(X))(0.2)
    x, y = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (X, 0.2))
    (first,) = torch.autograd.grad(circuit(x, y), x, create_graph=True)
    with REFUSED:
        torch.autograd.grad(first, y)


@pytest.mark.parametrize("method", ["adjoint", "parameter-shift"])
def test_derivatives_of_what_is_made_of_a_first_derivative_linearly_are_right(open_device: Any, method: str) -> None:
    circuit = qml.QNode(turn, open_device("lightning.qubit"), diff_method=method)
    slope, angle = (torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (2.0, X))
    (first,) = torch.autograd.grad(slope * circuit(angle), angle, create_graph=True)
    (mixed,) = torch.autograd.grad(first, slope)
    assert float(mixed) == pytest.approx(-np.sin(X))
    assert float(jax.grad(lambda slope: jax.grad(lambda x: slope * circuit(x))(X))(2.0)) == pytest.approx(-np.sin(X))


def test_autograd_does_not_lose_what_a_first_derivative_is_multiplied_with(open_device: Any) -> None:
    def mixed(circuit: Any) -> float:
        outer = qml.grad(lambda slope: qml.grad(lambda x: slope * circuit(x))(pnp.array(X)))
        return float(outer(pnp.array(2.0)))

    assert mixed(qml.QNode(turn, open_device("default.qubit"))) == pytest.approx(-np.sin(X))
    assert mixed(qml.QNode(turn, open_device("lightning.qubit"), max_diff=2)) == pytest.approx(-np.sin(X))
    for method in ("adjoint", "parameter-shift", "finite-diff"):
        with REFUSED:
            mixed(qml.QNode(turn, open_device("lightning.qubit"), diff_method=method))


def test_autograd_does_not_lose_it_with_methods_of_users_and_of_continuous_variables(open_device: Any) -> None:
    @qml.transform
    def shifts(tape: Any, argnum: Any = None) -> Any:
        return qml.gradients.param_shift(tape, argnum=argnum)

    def displaced(x: Any) -> Any:
        qml.Displacement(x, 0.2, 0)
        return qml.expval(qml.QuadX(0))

    def mixed(circuit: Any) -> float:
        return float(qml.grad(lambda s: qml.grad(lambda x: s * circuit(x))(pnp.array(X)))(pnp.array(2.0)))

    for function, executors, method in ((turn, "aer", shifts), (displaced, "default.gaussian", "best")):
        device = open_device(executors)
        once, twice = (qml.QNode(function, device, diff_method=method, max_diff=order) for order in (1, 2))
        with REFUSED:
            mixed(once)
        assert mixed(twice) == pytest.approx(float(qml.grad(once)(pnp.array(X))))


def test_the_third_derivative_is_refused_where_two_were_asked_for(open_device: Any) -> None:
    circuit = qml.QNode(turn, open_device("lightning.qubit"), max_diff=2)
    with pytest.raises(qml.exceptions.QuantumFunctionError, match="max_diff=3"):
        qml.grad(qml.grad(qml.grad(circuit)))(pnp.array(X))


def two_results(x: Any) -> Any:
    qml.RX(x, 0)
    qml.RY(2 * x, 0)
    return qml.expval(qml.Z(0)), qml.expval(qml.X(0))


def two_shapes(x: Any) -> Any:
    qml.RX(x, 0)
    qml.RY(2 * x, 0)
    return qml.expval(qml.Z(0)), qml.probs(wires=0)


def weighed(circuit: Any) -> Any:
    """A function of all results of a circuit."""

    def function(x: Any) -> Any:
        first, second = circuit(x)
        return 0.7 * first + 0.3 * (second[0] if qml.math.shape(second) else second)

    return function


@pytest.mark.parametrize("method", ["best", "parameter-shift", "finite-diff", "hadamard"])
def test_autograd_is_refused_those_of_several_results_that_pennylane_makes_zero(open_device: Any, method: str) -> None:
    circuit = qml.QNode(two_results, open_device("lightning.qubit"), diff_method=method, max_diff=2)
    with pytest.raises(qml.exceptions.QuantumFunctionError, match="one result"):
        by_autograd(weighed(circuit))


@pytest.mark.parametrize("executors", ["default.qubit", "jax"])
def test_those_of_several_results_are_right_where_the_device_backpropagates(open_device: Any, executors: str) -> None:
    right = by_jax(weighed(qml.QNode(two_results, qml.device("default.qubit"))))
    assert by_autograd(weighed(qml.QNode(two_results, open_device(executors)))) == pytest.approx(right)


@pytest.mark.slow
def test_those_of_several_results_are_right_where_pennylane_keeps_them(open_device: Any, second: Any) -> None:
    device = open_device("lightning.qubit")
    for function in (two_shapes, two_results):
        if function is two_results and second is by_autograd:
            continue  # refused
        right = by_jax(weighed(qml.QNode(function, qml.device("default.qubit"))))
        assert second(weighed(qml.QNode(function, device, max_diff=2))) == pytest.approx(right)


def test_autograd_does_not_lose_what_several_results_are_multiplied_with(open_device: Any) -> None:
    def mixed(circuit: Any) -> float:
        outer = qml.grad(lambda slope: qml.grad(lambda x: slope * weighed(circuit)(x))(pnp.array(X)))
        return float(outer(pnp.array(2.0)))

    right = mixed(qml.QNode(two_results, qml.device("default.qubit")))
    assert mixed(qml.QNode(two_results, open_device("lightning.qubit"), max_diff=2)) == pytest.approx(right)
