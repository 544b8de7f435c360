"""Options, shots and second derivatives of the device's own parameter shifts, beside PennyLane's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import torch
from beside_pennylane import HOW, X, by_autograd, check, messages
from pennylane import numpy as pnp
from pennylane.exceptions import QuantumFunctionError

import pennylane_qexec as qexec

pytestmark = pytest.mark.slow

BY_SWEEPS, BY_PENNYLANE = "is differentiated by sweeps of", "is differentiated by PennyLane, circuit by circuit"
MATRIX = np.array([[1, 0.3], [0.3, -2]])


def prepare(x: Any) -> None:
    qml.RX(x[0], 0)
    qml.RY(x[1], 1)
    qml.CNOT([0, 1])
    qml.RZ(x[2], 1)


def circuit(x: Any) -> Any:
    prepare(x)
    return qml.expval(qml.X(1))


def several(x: Any) -> Any:
    prepare(x)
    return qml.var(qml.X(1)), qml.probs(wires=[0, 1])


def node_of(function: Any = circuit, **options: Any) -> qml.QNode:
    return qml.QNode(function, qml.device("default.qubit"), diff_method="parameter-shift", **options)


SWEPT: dict[str, Any] = {
    "shifts": {"shifts": [(0.3,), (0.4,), (1.0,)]},
    "argnum": {"argnum": [0, 2]},
    "one argnum": {"argnum": 1},
    "argnum of the first": {"argnum": [0]},
    "f0": {"f0": 0.3},
    "recipes": {"gradient_recipes": [[[0.5, 1, 0.3], [-0.5, 1, -0.3]], None, [[1, 1, 0], [-0.5, 1, -0.3]]]},
    "no fallback": {"fallback_fn": None},
    "broadcast": {"broadcast": True},
}


@pytest.mark.parametrize("how", ["autograd", "torch", "jax.jacrev", "jax.jit"])
@pytest.mark.parametrize("options", SWEPT.values(), ids=SWEPT)
def test_options_are_those_of_pennylane(open_device: Any, options: Any, how: str) -> None:
    assert BY_SWEEPS in check(node_of(gradient_kwargs=options), open_device("default.qubit"), HOW[how])


def test_options_are_not_those_of_the_call_before(open_device: Any) -> None:
    device = open_device("default.qubit")
    for options in ({}, *SWEPT.values(), {"argnum": [1]}, {}):
        check(node_of(gradient_kwargs=options), device)


def test_a_function_as_an_option_is_left_to_pennylane(open_device: Any) -> None:
    options = {"fallback_fn": qml.gradients.finite_diff}
    assert BY_PENNYLANE in check(node_of(gradient_kwargs=options), open_device("default.qubit"))


def test_an_option_that_there_is_not_is_an_error(open_device: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'h'"):
        by_autograd(node_of(gradient_kwargs={"h": 0.1}).update(device=open_device("default.qubit")))


@pytest.mark.parametrize("how", ["autograd", "torch", "jax.jacrev"])
def test_second_derivatives_are_left_to_pennylane(open_device: Any, how: str) -> None:
    assert "max_diff is not 1" in check(node_of(max_diff=2), open_device("default.qubit"), HOW[how])
    hessian = qml.jacobian(qml.grad(node_of(max_diff=2)))
    ours = qml.jacobian(qml.grad(node_of(max_diff=2).update(device=open_device("default.qubit"))))
    assert np.allclose(ours(pnp.array(X)), hessian(pnp.array(X)), rtol=0, atol=1e-10)


def test_a_second_derivative_that_was_not_announced_is_an_error(open_device: Any) -> None:
    node = node_of().update(device=open_device("default.qubit"))
    with pytest.raises(QuantumFunctionError, match="max_diff=2"):
        qml.jacobian(qml.grad(node))(pnp.array(X))


@pytest.mark.parametrize(("on_execution", "batches"), [(None, 1), (True, 1), (False, 2)])
@pytest.mark.parametrize("function", [circuit, several])
def test_value_and_gradient_are_one_batch_unless_the_user_says_no(
    open_device: Any, function: Any, on_execution: bool | None, batches: int
) -> None:
    device = open_device("default.qubit")
    options = {} if on_execution is None else {"grad_on_execution": on_execution}
    with qml.Tracker(device) as tracker:
        found = by_autograd(node_of(function, **options).update(device=device))
    assert np.allclose(found, by_autograd(node_of(function)), rtol=0, atol=1e-10)
    assert tracker.totals["batches"] == batches


def test_torch_without_gradients_runs_the_circuit_alone(open_device: Any) -> None:
    device = open_device("default.qubit")
    node = node_of().update(device=device)
    x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
    with qml.Tracker(device) as tracker, torch.no_grad():
        value = node(x)
    assert tracker.totals["executions"] == 1
    assert not value.requires_grad


MEASURED: dict[str, Any] = {
    "a letter": lambda: qml.expval(qml.Z(1)),
    "groups": lambda: qml.expval(qml.Hamiltonian([0.3, 0.2, 0.5], [qml.Z(0), qml.X(1), qml.Z(1) @ qml.Z(0)])),
    "probabilities": lambda: qml.probs(wires=[0, 1]),
    "a variance": lambda: qml.var(qml.Z(1)),
    "a variance of a matrix": lambda: qml.var(qml.Hermitian(MATRIX, 1)),
    "several": lambda: (qml.expval(qml.X(0)), qml.var(qml.Z(1)), qml.probs(wires=[0])),
}
COUNTED = ("executions", "shots", "simulations")


@pytest.mark.parametrize("shots", [500, (100, 200)])
@pytest.mark.parametrize("measured", MEASURED.values(), ids=MEASURED)
def test_shots_are_as_many_as_pennylane_takes_in_one_batch(open_device: Any, measured: Any, shots: Any) -> None:
    def function(x: Any) -> Any:
        prepare(x)
        return measured()

    shapes, counted, batches = [], [], []
    for device in (qml.device("default.qubit"), open_device("default.qubit")):
        with qml.Tracker(device) as tracker:
            found = by_autograd(qml.set_shots(node_of(function).update(device=device), shots))
        shapes.append(found.shape)
        counted.append([tracker.totals[name] for name in COUNTED])
        batches.append(tracker.totals["batches"])
    assert shapes[0] == shapes[1]
    assert counted[0] == counted[1]
    assert batches == [2, 1]


def test_with_shots_derivatives_have_the_mean_and_variance_of_two_shifts(open_device: Any) -> None:
    """100 gradients of 100 shots a circuit: means within 5.5 standard errors, variances within those of a logarithm."""
    repeats, shots = 100, 100
    gradient = qml.grad(qml.set_shots(node_of().update(device=open_device("default.qubit", seed=11)), shots))
    found = np.array([gradient(pnp.array(X)) for _ in range(repeats)])
    shifted = [[circuit_value(np.array(X) + step * np.eye(3)[index]) for step in STEPS] for index in range(3)]
    variance = np.sum(1 - np.array(shifted) ** 2, axis=1) / 4 / shots
    assert np.all(np.abs(found.mean(axis=0) - by_autograd(node_of())[0]) <= 5.5 * np.sqrt(variance / repeats) + 1e-12)
    is_random = variance > 1e-12
    assert np.all(found.var(axis=0)[~is_random] < 1e-12)
    quotient = found.var(axis=0)[is_random] / variance[is_random]
    assert np.all(np.abs(np.log(quotient)) < 5.5 * np.sqrt(2 / (repeats - 1)))


STEPS = (np.pi / 2, -np.pi / 2)


def circuit_value(x: Any) -> float:
    return float(qml.QNode(circuit, qml.device("default.qubit"), diff_method=None)(x))


class OneByOne(qexec.Executor):
    """A backend that says nothing of structures, and runs circuit by circuit."""

    name = "one by one"

    def run(self, circuits: Any) -> Any:
        return qml.execute(circuits, qml.device("default.qubit"), diff_method=None)


@pytest.mark.parametrize("function", [circuit, several])
def test_an_executor_that_does_not_go_by_structure_gets_the_circuits(open_device: Any, function: Any) -> None:
    assert BY_SWEEPS in check(node_of(function), open_device([OneByOne()]))


def test_a_structure_and_its_way_are_logged_once(open_device: Any) -> None:
    node = node_of().update(device=open_device("default.qubit"))
    with messages() as logged:
        for shift in (0.0, 0.1, 0.2):
            qml.grad(node)(pnp.array(X) + shift)
    assert len(logged) == 1
    assert logged[0].endswith("is differentiated by sweeps of 7 circuits, itself included.")
    refused = node_of(max_diff=2).update(device=node.device)
    with messages() as logged:
        for shift in (0.0, 0.1):
            qml.grad(refused)(pnp.array(X) + shift)
    assert [one.split(": ")[-1] for one in logged] == ["max_diff is not 1."]


def gradient_of_batch(device: Any, measured: Any, extra: Any = None) -> Any:
    """The derivative of two circuits of one call, of which only the first says how they are differentiated."""

    def total(x: Any) -> Any:
        with qml.queuing.AnnotatedQueue() as queue:
            prepare(x)
            if extra is not None:
                extra(x)
        operations = qml.tape.QuantumScript.from_queue(queue).operations
        first = qml.tape.QuantumScript([qml.RX(x[0], 0)], [qml.expval(qml.Z(0))])
        second = qml.tape.QuantumScript(operations, [measured()])
        results = qml.execute([first, second], device, diff_method="parameter-shift")
        return results[0] + pnp.sum(results[1])

    return qml.grad(total)(pnp.array(X))


SECOND: dict[str, Any] = {
    "other measurements": (lambda: qml.probs(wires=[1, 0]), None),
    "a variance": (lambda: qml.var(qml.X(1)), None),
    "a measured wire": (lambda: qml.expval(qml.X(1)), lambda x: qml.measure(0, reset=True)),
    "a batch": (lambda: qml.expval(qml.X(1)), lambda x: qml.RX(np.array([0.1, 0.2]), 1)),
}


@pytest.mark.parametrize(("measured", "extra"), SECOND.values(), ids=SECOND)
def test_circuits_of_one_call_need_not_be_alike(open_device: Any, measured: Any, extra: Any) -> None:
    found, expected = (
        gradient_of_batch(device, measured, extra)
        for device in (open_device("default.qubit"), qml.device("default.qubit"))
    )
    assert np.allclose(found, expected, rtol=0, atol=1e-10)


def test_a_purity_among_other_circuits_is_refused_too(open_device: Any) -> None:
    with pytest.raises(QuantumFunctionError, match="a purity is no expectation value"):
        gradient_of_batch(open_device("default.qubit"), lambda: qml.purity(0))
