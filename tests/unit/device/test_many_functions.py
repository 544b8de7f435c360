"""Functions that call QElectrons, run later themselves: gradients, loops, and functions that run others later."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from pennylane import numpy as pnp

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor

ANGLES = [0.1, 0.7, -1.3]
DEPTH = 5
WIDTH = 100

pytestmark = pytest.mark.timeout(300)


def test_a_gradient_runs_later(circuit: Any) -> None:
    futures = [qexec.run_later(qml.grad(circuit), pnp.array(angle)) for angle in ANGLES]
    assert np.allclose(qexec.gather(futures), -np.sin(ANGLES))


def test_a_float_has_the_gradient_that_it_has_now(circuit: Any) -> None:
    with pytest.warns(UserWarning, match="trainable"):
        now = qml.grad(circuit)(0.3)
    assert qexec.run_later(qml.grad(circuit), 0.3).result(PATIENCE) == now


def test_an_optimisation_loop_runs_later(circuit: Any) -> None:
    def minimum(start: float) -> float:
        optimizer, angle = qml.GradientDescentOptimizer(0.5), pnp.array(start)
        for _ in range(20):
            angle = optimizer.step(circuit, angle)
        return float(circuit(angle))

    assert np.allclose(qexec.gather([qexec.run_later(minimum, start) for start in (0.5, 1.0, 2.0)]), -1, atol=1e-3)


def test_functions_have_outcomes(turned_by: Any) -> None:
    circuit = turned_by([ScriptedExecutor("a"), ScriptedExecutor("b")])
    future = qexec.run_later(lambda: (circuit(0.1), circuit.run_later(0.2).result(PATIENCE), circuit.map([0.3, 0.4])))
    future.result(PATIENCE)
    assert sorted(outcome.executor for outcome in future.outcomes) == ["a", "a", "b", "b"]


def test_a_qelectron_given_to_run_later_runs_its_circuits_later(circuit: Any) -> None:
    assert float(qexec.run_later(circuit, 0.1, factor=2).result(PATIENCE)) == pytest.approx(np.cos(0.2))


def test_what_a_function_raises_its_future_raises(circuit: Any) -> None:
    future = qexec.run_later(lambda: circuit(0.1) / 0 if circuit.missing else None)
    assert isinstance(future.exception(PATIENCE), AttributeError)
    with pytest.raises(AttributeError, match="missing"):
        future.result()


def test_what_cannot_be_called_cannot_run_later() -> None:
    with pytest.raises(qexec.ConfigurationError, match="give the function and then its arguments"):
        qexec.run_later(0.3)


def test_a_function_that_waits_can_be_cancelled_and_one_that_runs_cannot() -> None:
    gate, begun, called = threading.Event(), threading.Barrier(17), []
    running = [qexec.run_later(lambda: (begun.wait(PATIENCE), gate.wait(PATIENCE))) for _ in range(16)]
    begun.wait(PATIENCE)
    waiting = qexec.run_later(called.append, 1)
    assert waiting.cancel()
    assert not running[0].cancel()
    gate.set()
    concurrent.futures.wait(running, PATIENCE)
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)
    assert called == []


def test_context_variables_reach_functions() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    future = qexec.run_later(variable.get)
    variable.set(8)
    assert future.result(PATIENCE) == 7


WAITS: dict[str, Callable[[list[Future[Any]]], list[Any]]] = {
    "result": lambda futures: [future.result() for future in futures],
    "gather": qexec.gather,
    "as_completed": lambda futures: [future.result() for future in qexec.as_completed(futures)],
    "wait": lambda futures: [future.result() for future in concurrent.futures.wait(futures).done],
}


@pytest.mark.slow
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_functions_nest_as_deep_and_as_wide_as_they_like(circuit: Any, wait: Any) -> None:
    """At each depth one function runs all that is deeper, and its siblings run a circuit each."""

    def nested(depth: int, number: int) -> float:
        if depth == DEPTH or number:
            return float(circuit.run_later(0.1 * number).result(PATIENCE))
        return sum(wait([qexec.run_later(nested, depth + 1, index) for index in range(WIDTH)]))

    leaves = np.cos(0.1 * np.arange(1, WIDTH))
    assert nested(0, 0) == pytest.approx(DEPTH * leaves.sum() + 1)


@pytest.mark.slow
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_all_siblings_may_wait_for_functions_of_their_own(circuit: Any, wait: Any) -> None:
    def outer(number: int) -> float:
        return sum(wait([qexec.run_later(inner, number, index) for index in range(3)]))

    def inner(number: int, index: int) -> float:
        return sum(
            wait(
                [
                    qexec.run_later(
                        lambda: float(circuit(0.1 * number)),
                    )
                    for _ in range(index + 1)
                ]
            )
        )

    results = qexec.gather([qexec.run_later(outer, number) for number in range(40)])
    assert np.allclose(results, 6 * np.cos(0.1 * np.arange(40)))
