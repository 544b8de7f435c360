"""Sixteen threads at once on one cluster device: each result is what the same call gives when it is made alone.

Threads call copies of one QNode, because a QNode keeps its last circuit; a QElectron makes that copy itself.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from pennylane import numpy as pnp

import pennylane_qexec as qexec

pytestmark = [pytest.mark.integration, pytest.mark.slow]

THREADS = 16
CALLS = 32
PLACES = [np.array([0.3 + 0.01 * number, 0.7 - 0.02 * number]) for number in range(4)]

Call = Callable[[Any, np.ndarray], Any]


@pytest.fixture(scope="module")
def device() -> Iterator[Any]:
    with qexec.ClusterDevice(2, executors=["lightning.qubit", "default.qubit"]) as opened:
        yield opened


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    """Threads take turns fifty times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)


def circuit(x: Any, y: Any = 0.4) -> Any:
    qml.RX(x[0], 0)
    qml.RY(x[1] * y, 1)
    qml.CNOT([0, 1])
    qml.adjoint(qml.ctrl(qml.RZ, control=1))(x[0], wires=0)
    qml.RX(x[0] * x[1], 1)
    return qml.expval(qml.Z(0) @ qml.X(1) + 0.3 * qml.Z(1))


def value(qnode: Any, x: np.ndarray) -> Any:
    return qnode(x)


def gradient(qnode: Any, x: np.ndarray) -> Any:
    return qml.grad(qnode)(pnp.array(x, requires_grad=True))


def hessian(qnode: Any, x: np.ndarray) -> Any:
    return qml.jacobian(qml.grad(qnode))(pnp.array(x, requires_grad=True))


def gradient_through_a_gradient_step(qnode: Any, x: np.ndarray) -> Any:
    """Without isolation, some of these can be wrong: the inner derivative takes the number of the outer one."""

    def after_a_step(place: Any) -> Any:
        y = pnp.array(0.4, requires_grad=True)
        return qnode(place, y) * qnode(place, y - 0.1 * qml.grad(qnode, argnums=1)(place, y))

    return qml.grad(after_a_step)(pnp.array(x, requires_grad=True))


def gradient_by_jax(qnode: Any, x: np.ndarray) -> Any:
    return jax.grad(qnode)(jax.numpy.array(x))


def gradient_by_torch(qnode: Any, x: np.ndarray) -> Any:
    place = torch.tensor(x, requires_grad=True)
    qnode(place).backward()
    return place.grad.numpy()


def optimisation(qnode: Any, x: np.ndarray) -> Any:
    optimizer, place = qml.GradientDescentOptimizer(0.2), pnp.array(x, requires_grad=True)
    for _ in range(3):
        place, cost = optimizer.step_and_cost(qnode, place)
    return [*place, cost]


def metric(qnode: Any, x: np.ndarray) -> Any:
    return qml.metric_tensor(qnode, approx="block-diag")(pnp.array(x, requires_grad=True))


def shifts(qnode: Any, x: np.ndarray) -> Any:
    return qml.gradients.param_shift(qnode)(pnp.array(x, requires_grad=True))


def extrapolation_of_noise(qnode: Any, x: np.ndarray) -> Any:
    folded = qml.noise.mitigate_with_zne(
        qnode, [1, 2, 3], qml.noise.fold_global, qml.noise.poly_extrapolate, extrapolate_kwargs={"order": 2}
    )
    return folded(x)


def drawing(qnode: Any, x: np.ndarray) -> Any:
    return [ord(letter) for letter in qml.draw(qnode)(x)]


def check_in_threads(call: Call, qnode: Any) -> None:
    """Make a call alone at every place, and then at all places at once."""
    alone = [call(qnode, x) for x in PLACES]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(lambda number: call(copy.copy(qnode), PLACES[number % len(PLACES)]), range(CALLS)))
    wrong = [number for number, one in enumerate(together) if not np.allclose(one, alone[number % len(PLACES)])]
    assert wrong == []


@pytest.mark.parametrize("method", ["parameter-shift", "adjoint", "finite-diff"])
@pytest.mark.parametrize("call", [value, gradient, gradient_by_jax, gradient_by_torch])
def test_what_sixteen_threads_compute_is_what_one_computes(device: Any, method: str, call: Call) -> None:
    check_in_threads(call, qml.QNode(circuit, device, diff_method=method))


@pytest.mark.parametrize("call", [hessian, gradient_through_a_gradient_step])
def test_second_derivatives_in_sixteen_threads_are_right(device: Any, call: Call) -> None:
    check_in_threads(call, qml.QNode(circuit, device, diff_method="parameter-shift", max_diff=2))


@pytest.mark.parametrize("call", [value, gradient, hessian, gradient_through_a_gradient_step, gradient_by_torch])
def test_backpropagation_in_sixteen_threads_is_right(call: Call) -> None:
    with qexec.ClusterDevice(2, executors="default.qubit") as simulator:
        check_in_threads(call, qml.QNode(circuit, simulator, diff_method="backprop", max_diff=2))


@pytest.mark.parametrize("call", [optimisation, metric, shifts, extrapolation_of_noise, drawing])
def test_loops_and_transforms_in_sixteen_threads_do_what_they_do_in_one(device: Any, call: Call) -> None:
    check_in_threads(call, qml.QNode(circuit, device, diff_method="parameter-shift"))


def test_one_compiled_gradient_in_sixteen_threads_is_right(device: Any) -> None:
    compiled = jax.jit(jax.grad(qml.QNode(circuit, device, diff_method="parameter-shift")))
    check_in_threads(lambda _, x: compiled(jax.numpy.array(x)), circuit)


def test_a_tracker_counts_every_execution_of_sixteen_threads(device: Any) -> None:
    qnode = qml.QNode(circuit, device)
    with qml.Tracker(device) as tracker, ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: copy.copy(qnode)(PLACES[0]), range(20 * THREADS)))
    assert tracker.totals["batches"] == 20 * THREADS
