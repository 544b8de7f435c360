"""What new users stumbled over."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from circuits import NO_RETRY, qnode, turn
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result
from pennylane_qexec.testing import ScriptedExecutor


class Forgetful(qexec.Executor):
    """An executor whose author forgot to return the results."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return [None for _ in circuits]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["best", "parameter-shift", "backprop"])
def test_jax_differentiates_a_function_that_runs_later(electron: Any, method: str) -> None:
    circuit = electron(qnode(diff_method=method), executors="default.qubit")
    gradient = jax.grad(lambda x: qexec.run_later(lambda y: 2 * circuit(y), x).result(PATIENCE))
    assert float(gradient(0.3)) == pytest.approx(-2 * np.sin(0.3), abs=1e-5)


@pytest.mark.parametrize("executors", ["default.qubit", ["default.qubit", "default.qubit"], [qexec.Simulator()]])
def test_derivatives_on_simulators_like_the_qnodes_are_those_of_the_qnode(electron: Any, executors: Any) -> None:
    circuit = electron(qnode(), executors=executors)
    angle = pnp.array(0.3, requires_grad=True)
    assert type(circuit(angle)) is type(qnode()(angle))
    assert float(qml.jacobian(qml.grad(circuit))(angle)) == pytest.approx(-np.cos(0.3))


def test_none_is_no_result(electron: Any) -> None:
    circuit = electron(qnode(), executors=Forgetful(), retry=NO_RETRY)
    with pytest.raises(qexec.ExecutorError, match="None was returned in place of the result"):
        circuit.run_later(0.3).result(PATIENCE)


def test_turns_are_taken_by_those_who_can_run_the_circuits() -> None:
    def counted(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.counts()

    able = [qexec.Simulator(name=name) for name in ("a", "b")]
    node = qml.set_shots(qml.QNode(counted, qml.device("default.qubit", wires=1)), 30)
    with qexec.qelectron(node, executors=[*able, qexec.Simulator(shots=None, name="analytic")]) as circuit:
        for _ in range(12):
            circuit(0.3)
        ran = [row.executor for row in circuit.history]
    assert (ran.count("a"), ran.count("b")) == (6, 6)


def test_map_takes_arguments_that_are_the_same_in_every_call(electron: Any) -> None:
    def scaled(x: Any, factor: Any) -> Any:
        return turn(factor * x)

    circuit = electron(qml.QNode(scaled, qml.device("default.qubit", wires=1)))
    assert np.allclose(circuit.map([0.1, 0.2], factor=3.0), np.cos([0.3, 0.6]))


def test_gather_puts_exceptions_in_the_place_of_results(electron: Any, gate: Any) -> None:
    circuit = electron(qnode(), executors=ScriptedExecutor(gate=gate, parallel="thread"))
    futures = [circuit.run_later(0.1), circuit.run_later(0.2)]
    futures[1].cancel()
    gate.set()
    good, cancelled = qexec.gather(futures, return_exceptions=True)
    assert float(good) == pytest.approx(np.cos(0.1))
    assert isinstance(cancelled, CancelledError)


def test_gather_may_have_enough_of_waiting(electron: Any, gate: Any) -> None:
    circuit = electron(qnode(), executors=ScriptedExecutor(gate=gate))
    with pytest.raises(TimeoutError):
        qexec.gather([circuit.run_later(0.1)], timeout=0.01)


@pytest.mark.parametrize("given", [[1, 2], [[0.1]], "ab"], ids=["numbers", "results", "text"])
def test_gather_refuses_what_is_no_future(given: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="is no future: give what run_later"):
        qexec.gather(given)


def test_a_future_alone_is_gathered_too(electron: Any) -> None:
    assert np.allclose(qexec.gather(electron(qnode()).run_later(0.3)), [np.cos(0.3)])


def test_workflows_are_left_to_workflow_engines() -> None:
    with pytest.raises(AttributeError, match="Workflows are left to workflow engines"):
        _ = qexec.electron
