"""Differentiating what ran later, in the thread that asks for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
import torch
from beside import PATIENCE
from pennylane import numpy as pnp

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor

ANGLES = [0.1, 0.7, -1.3]
METHODS = ["best", "adjoint", "parameter-shift", "backprop"]

pytestmark = pytest.mark.timeout(120)
by_method = pytest.mark.parametrize("method", METHODS)


def turn(angle: Any) -> Any:
    qml.RX(angle, 0)
    return qml.expval(qml.Z(0))


@pytest.fixture
def turned(electron: Any) -> Any:
    """A function that makes QElectrons of one qubit, whose expectation value is the cosine of the angle."""

    def make(executors: Any = None, **options: Any) -> qexec.QElectron:
        return electron(qml.QNode(turn, qml.device("default.qubit", wires=1), **options), executors=executors)

    return make


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Numbers of 64 bits in jax, for as long as the test takes."""
    with jax.enable_x64(True):
        yield


def in_parallel(circuit: Any, angles: Any) -> Any:
    """The sum of the cosines of the angles, all of which run at the same time."""
    futures = [circuit.run_later(angle) for angle in angles]
    return sum(future.result(PATIENCE) for future in futures)


@by_method
def test_autograd_differentiates_a_sum_of_futures(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method)
    gradient = qml.grad(lambda angles: in_parallel(circuit, angles))(pnp.array(ANGLES))
    assert np.allclose(gradient, -np.sin(ANGLES))


@by_method
def test_torch_differentiates_a_sum_of_futures(turned: Any, method: str) -> None:
    angles = torch.tensor(ANGLES, dtype=torch.float64, requires_grad=True)
    in_parallel(turned(diff_method=method), angles).backward()
    assert np.allclose(angles.grad, -np.sin(ANGLES))


@pytest.mark.slow
@by_method
def test_jax_differentiates_a_sum_of_futures(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method)
    gradient = jax.grad(lambda angles: in_parallel(circuit, angles))(jax.numpy.array(ANGLES))
    assert np.allclose(gradient, -np.sin(ANGLES))


@pytest.mark.slow
@by_method
def test_jax_compiles_functions_that_run_circuits_later(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method)
    gradient = jax.jit(jax.grad(lambda angles: in_parallel(circuit, angles)))
    assert np.allclose(gradient(jax.numpy.array(ANGLES)), -np.sin(ANGLES))


@pytest.mark.parametrize("method", ["best", "backprop"])
def test_jax_maps_functions_that_run_circuits_later(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method)
    mapped = jax.vmap(lambda angle: circuit.run_later(angle).result(PATIENCE))
    assert np.allclose(mapped(jax.numpy.array(ANGLES)), np.cos(ANGLES))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["parameter-shift", "backprop"])
def test_hessians_go_through_futures(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method, max_diff=2)

    def cost(angle: Any) -> Any:
        return circuit.run_later(angle).result(PATIENCE)

    assert float(qml.grad(qml.grad(cost))(pnp.array(0.7))) == pytest.approx(-np.cos(0.7))
    assert float(jax.hessian(cost)(jax.numpy.array(0.7))) == pytest.approx(-np.cos(0.7))
    hessian = torch.autograd.functional.hessian(cost, torch.tensor(0.7, dtype=torch.float64))
    assert float(hessian) == pytest.approx(-np.cos(0.7))


@pytest.mark.parametrize("method", ["best", "parameter-shift", "backprop"])
def test_torch_differentiates_what_another_thread_asked_for(turned: Any, method: str) -> None:
    angle = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    future = turned(diff_method=method).run_later(angle)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: future.result(PATIENCE).backward()).result(PATIENCE)
    assert float(angle.grad) == pytest.approx(-np.sin(0.7))


@pytest.mark.parametrize("method", ["best", "parameter-shift"])
def test_jax_differentiates_what_depends_on_another_future(turned: Any, method: str) -> None:
    circuit = turned(diff_method=method)

    def cost(angle: Any) -> Any:
        return circuit.run_later(circuit.run_later(angle).result(PATIENCE)).result(PATIENCE)

    exact = np.sin(np.cos(0.7)) * np.sin(0.7)
    assert float(jax.grad(cost)(jax.numpy.array(0.7))) == pytest.approx(exact)
    assert float(qml.grad(cost)(pnp.array(0.7))) == pytest.approx(exact)


def test_all_circuits_of_a_gradient_arrive_in_one_batch(turned: Any) -> None:
    executor = ScriptedExecutor()
    circuit = turned(executor, diff_method="parameter-shift")
    qml.grad(lambda angle: circuit.run_later(angle).result(PATIENCE))(pnp.array(0.7))
    assert [len(batch) for batch in executor.batches] == [3]


def test_a_result_asked_for_twice_is_differentiated_twice(turned: Any) -> None:
    angle = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    future = turned().run_later(angle)
    (future.result(PATIENCE) + future.result(PATIENCE)).backward()
    assert float(angle.grad) == pytest.approx(-2 * np.sin(0.7))


@pytest.mark.parametrize("make", [np.array, pnp.array, torch.tensor], ids=["numpy", "pnp", "torch"])
@pytest.mark.parametrize("gated", [False, True], ids=["bare", "scripted"])
def test_an_argument_may_be_changed_in_place_while_its_circuit_is_under_way(
    turned: Any, gated: bool, make: Any
) -> None:
    """As for a call, the value counts that it has when ``run_later`` returns."""
    gate = threading.Event()
    circuit = turned(ScriptedExecutor(gate=gate) if gated else None)
    angle = make(0.7)
    future = circuit.run_later(angle)
    angle += 1.0
    gate.set()
    assert float(future.result(PATIENCE)) == pytest.approx(np.cos(0.7))
