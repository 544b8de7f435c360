"""Circuits that an executor failed on go to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result
from pennylane_qexec.testing import ScriptedExecutor, flip

AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)
ALWAYS = [RuntimeError("out of order")] * 100


class BrokenQubit(qml.devices.DefaultQubit):
    """A simulator that prepares circuits as usual, and fails when it runs or differentiates them."""

    def __init__(self, error: type[Exception] = RuntimeError) -> None:
        super().__init__(wires=2)
        self._error = error

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        raise self._error("out of order")

    def compute_derivatives(self, circuits: Any, execution_config: Any = None) -> Any:
        raise self._error("out of order")

    def execute_and_compute_derivatives(self, circuits: Any, execution_config: Any = None) -> Any:
        raise self._error("out of order")


class Picky(ScriptedExecutor):
    """Fails on whole batches because of one circuit in them, the one with this angle."""

    def __init__(self, angle: float) -> None:
        super().__init__("picky")
        self._angle = angle

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        if any(circuit.operations[0].data[0] == self._angle for circuit in circuits):
            raise ValueError("a bad circuit")
        return super().run(circuits)


def first(circuit: QuantumScript, executors: Sequence[Any]) -> Any:
    """A selector: always the first executor."""
    return executors[0]


def who_ran(cluster: qexec.QCluster) -> list[str]:
    return [row.executor for row in cluster.history if row.state == "done"]


def test_what_one_executor_cannot_do_another_does(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=ALWAYS), ScriptedExecutor("good")
    cluster = open_cluster([broken, good], selector=first, retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.3)]), np.cos(0.3))
    assert who_ran(cluster) == ["good"]


def test_an_executor_uses_up_its_attempts_before_another_takes_over(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=ALWAYS), ScriptedExecutor("good")
    cluster = open_cluster([broken, good], selector=first, retry=qexec.retries.backoff(2, initial=0))
    cluster.execute([flip(0.3)])
    assert (len(broken.batches), len(good.batches)) == (2, 1)
    assert cluster.history[0].attempt == 3


def test_a_permanent_error_goes_to_another_executor_at_once(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=[ValueError("no such gate")]), ScriptedExecutor("good")
    open_cluster([broken, good], selector=first, retry=AT_ONCE).execute([flip(0.3)])
    assert (len(broken.batches), len(good.batches)) == (1, 1)


def test_only_the_bad_circuit_of_a_batch_moves_on(open_cluster: Any) -> None:
    cluster = open_cluster([Picky(0.2), ScriptedExecutor("good")], selector=first, retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.1), flip(0.2), flip(0.3)]), np.cos([0.1, 0.2, 0.3]))
    assert sorted(who_ran(cluster)) == ["good", "picky", "picky"]


def test_without_failover_the_error_of_the_executor_is_raised(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=ALWAYS), ScriptedExecutor("good")
    cluster = open_cluster([broken, good], selector=first, failover=False, retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError) as raised:
        cluster.execute([flip(0.3)])
    assert raised.value.executor == "broken"
    assert good.batches == []


def test_when_all_fail_the_error_names_the_last_and_counts_all_attempts(open_cluster: Any) -> None:
    broken, worse = ScriptedExecutor("broken", failures=ALWAYS), ScriptedExecutor("worse", failures=ALWAYS)
    cluster = open_cluster([broken, worse], selector=first, retry=qexec.retries.backoff(2, initial=0))
    with pytest.raises(qexec.ExecutorError) as raised:
        cluster.execute([flip(0.3)])
    assert (raised.value.executor, raised.value.attempt) == ("worse", 4)


def test_a_circuit_does_not_go_to_an_executor_that_rejects_it(open_cluster: Any) -> None:
    broken = ScriptedExecutor("broken", failures=[ValueError("no")])
    cluster = open_cluster([broken, {"type": "default.qubit", "wires": ["elsewhere"]}])
    with pytest.raises(qexec.ExecutorError) as raised:
        cluster.execute([flip(0.3)])
    assert raised.value.executor == "broken"


def test_shots_of_a_share_that_failed_are_run_elsewhere_and_none_twice(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=ALWAYS), ScriptedExecutor("good")
    cluster = open_cluster([broken, good], split="uniform", retry=qexec.retries.never())
    (counts,) = cluster.execute([QuantumScript([qml.X(0)], [qml.counts(wires=[0])], shots=101)])
    assert {key: int(value) for key, value in counts.items()} == {"1": 101}
    assert (broken.shots_run, good.shots_run) == (0, 101)


def test_late_bound_circuits_do_not_go_back_to_an_executor_that_failed_on_them(open_cluster: Any) -> None:
    broken, good = ScriptedExecutor("broken", failures=[ValueError("no")] * 100), ScriptedExecutor("good")
    cluster = open_cluster([broken, good], selector="least_loaded", retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(6)]), np.cos(0.1 * np.arange(6)))
    assert set(who_ran(cluster)) == {"good"}


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_a_simulator_that_fails_in_the_calling_thread_is_replaced(open_device: Any, error: type[Exception]) -> None:
    device = open_device([BrokenQubit(error), "lightning.qubit"], wires=2, selector=first, retry=AT_ONCE)

    @qml.qnode(device)
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    assert circuit(0.4) == pytest.approx(np.cos(0.4))
    assert who_ran(device.cluster) == ["lightning.qubit"]


def test_several_circuits_that_fail_in_the_calling_thread_all_go_on(open_cluster: Any) -> None:
    cluster = open_cluster([BrokenQubit(ValueError), "lightning.qubit"], selector=first, retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(4)]), np.cos(0.1 * np.arange(4)))


def test_without_failover_a_failure_in_the_calling_thread_is_raised(open_cluster: Any) -> None:
    cluster = open_cluster([BrokenQubit()], failover=False, retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError, match="RuntimeError: out of order") as raised:
        cluster.execute([flip(0.1)])
    assert raised.value.attempt == 1


def test_a_failure_of_one_simulator_leaves_the_results_of_the_other(open_cluster: Any) -> None:
    cluster = open_cluster([BrokenQubit(ValueError), "lightning.qubit"], retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(6)]), np.cos(0.1 * np.arange(6)))
    assert len(who_ran(cluster)) == 6


def test_adjoint_derivatives_go_on_elsewhere(open_device: Any) -> None:
    device = open_device([BrokenQubit(), "lightning.qubit"], wires=2, selector=first, retry=AT_ONCE)

    @qml.qnode(device, diff_method="adjoint")
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    assert qml.grad(circuit)(pnp.array(0.4, requires_grad=True)) == pytest.approx(-np.sin(0.4))
    assert set(who_ran(device.cluster)) == {"lightning.qubit"}


@pytest.mark.parametrize("other", ["cirq.simulator", "default.mixed", "aer"])
def test_another_executor_makes_mid_circuit_measurements_in_a_way_of_its_own(open_device: Any, other: str) -> None:
    device = open_device([BrokenQubit(), {"type": other, "wires": 3}], selector=first, retry=qexec.retries.never())

    @qml.qnode(device, shots=100)
    def without(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    @qml.qnode(device, shots=100)
    def measured(x: float) -> Any:
        qml.RX(x, 0)
        outcome = qml.measure(0)
        qml.cond(outcome, qml.X)(1)
        return qml.expval(qml.Z(1)), qml.expval(outcome)

    assert without(np.pi) == -1
    assert np.allclose(measured(np.pi), (-1, 1))
    assert set(who_ran(device.cluster)) == {other}
