"""How calls that run later end when they do not end well: errors, and who gives them up."""

from __future__ import annotations

import concurrent.futures
import traceback
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from circuits import NO_RETRY, Broken, qnode
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

pytestmark = pytest.mark.timeout(120)


class Picky(ScriptedExecutor):
    """Fails on batches with a circuit whose angle is negative."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        results = super().run(circuits)
        if any(circuit.operations[0].data[0] < 0 for circuit in circuits):
            raise ValueError("a negative angle")
        return results


def test_an_error_of_the_quantum_function_is_raised_with_the_result(electron: Any) -> None:
    def wrong(angle: float) -> Any:
        raise KeyError(angle)

    future = electron(qml.QNode(wrong, qml.device("default.qubit"))).run_later(0.3)
    assert isinstance(future.exception(PATIENCE), KeyError)
    with pytest.raises(KeyError, match=r"0\.3"):
        future.result()


def test_wrong_arguments_are_raised_with_the_result(electron: Any) -> None:
    with pytest.raises(TypeError, match="angle"):
        electron(qnode()).run_later().result(PATIENCE)


def test_an_error_of_an_executor_is_raised_with_its_origin(electron: Any) -> None:
    future = electron(qnode(), executors=Broken("fridge"), retry=NO_RETRY).run_later(0.3)
    with pytest.raises(qexec.ExecutorError, match="'fridge' failed at attempt 1") as raised:
        future.result(PATIENCE)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert "the_origin_of_the_error" in "".join(traceback.format_exception(raised.value))
    assert future.exception() is raised.value


def test_an_error_of_postprocessing_is_raised_with_the_result(electron: Any) -> None:
    @qml.transform
    def spoiled(tape: QuantumScript) -> Any:
        def postprocess(results: Any) -> Any:
            raise LookupError("spoiled")

        return (tape,), postprocess

    future = electron(spoiled(qnode())).run_later(0.3)
    assert isinstance(future.exception(PATIENCE), LookupError)
    for _ in range(2):
        with pytest.raises(LookupError, match="spoiled"):
            future.result()


def test_a_result_whose_computation_was_interrupted_can_be_asked_for_again(electron: Any) -> None:
    """As by Ctrl-C: what was interrupted is no result."""
    interruptions = iter([KeyboardInterrupt()])

    @qml.transform
    def interrupted(tape: QuantumScript) -> Any:
        def postprocess(results: Any) -> Any:
            for interruption in interruptions:
                raise interruption
            return results[0]

        return (tape,), postprocess

    future = electron(interrupted(qnode())).run_later(0.3)
    with pytest.raises(KeyboardInterrupt):
        future.result(PATIENCE)
    assert float(future.result(PATIENCE)) == pytest.approx(np.cos(0.3))


def test_a_circuit_that_fails_does_not_take_others_of_its_batch_with_it(electron: Any, gate: Any) -> None:
    executor = Picky(gate=gate, workers=1)
    circuit = electron(qnode(), executors=executor, retry=NO_RETRY)
    first = circuit.run_later(0.1)
    assert executor.started.wait(PATIENCE)
    good, bad, better = (circuit.run_later(angle) for angle in (0.2, -0.3, 0.4))
    gate.set()
    assert np.allclose([each.result(PATIENCE) for each in (first, good, better)], np.cos([0.1, 0.2, 0.4]))
    assert isinstance(bad.exception(PATIENCE), qexec.ExecutorError)


def test_a_call_that_waits_is_cancelled_and_never_runs(electron: Any, gate: Any) -> None:
    executor = ScriptedExecutor(gate=gate, workers=1)
    circuit = electron(qnode(), executors=executor)
    running = circuit.run_later(0.1)
    assert executor.started.wait(PATIENCE)
    waiting = circuit.run_later(0.2)
    assert waiting.cancel()
    gate.set()
    running.result(PATIENCE)
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE)
    assert waiting.cancelled()
    assert [each.operations[0].data[0] for batch in executor.batches for each in batch] == [0.1]


def test_a_call_that_runs_is_cancelled_at_its_backend(electron: Any) -> None:
    qpu = FakeQPU(polls=None)
    circuit = electron(qnode(), executors=qpu)
    future = circuit.run_later(0.1)
    assert qpu.submitted.wait(PATIENCE)
    assert future.cancel()
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == list(qpu.jobs)
    assert concurrent.futures.wait([future], PATIENCE).done == {future}


def test_closing_the_cluster_ends_what_is_under_way(electron: Any) -> None:
    qpu = FakeQPU(polls=None)
    circuit = electron(qnode(), executors=qpu)
    future = circuit.run_later(0.1)
    circuit.cluster.close()
    with pytest.raises((qexec.JobCancelledError, CancelledError)):
        future.result(PATIENCE)


@pytest.mark.timeout(30)
def test_after_a_call_was_cancelled_at_once_its_executor_runs_the_next(electron: Any) -> None:
    circuit = electron(qnode(), executors=ScriptedExecutor())
    circuit.run_later(0.2).cancel()  # which comes too late if the call was quick
    assert float(circuit.run_later(0.3).result(PATIENCE / 4)) == pytest.approx(np.cos(0.3))


@pytest.mark.timeout(60)
def test_cancelling_and_ending_at_the_same_time_end_in_one_of_both(electron: Any) -> None:
    circuit = electron(qnode(), executors=ScriptedExecutor())
    for _ in range(200):
        future = circuit.run_later(0.3)
        given_up = future.cancel()
        assert future.cancelled() == given_up
        if not given_up:
            assert float(future.result(PATIENCE)) == pytest.approx(np.cos(0.3))
    assert float(circuit(0.3)) == pytest.approx(np.cos(0.3))
