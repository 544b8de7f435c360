"""Ten thousand calls that wait for slow backends."""

from __future__ import annotations

import threading

import numpy as np
import pennylane as qml
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.job import JobState
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 10_000
MOST_THREADS = 64
PATIENCE = 240.0


class SlowQPU(FakeQPU):
    """Runs nothing before its gate is opened."""

    def __init__(self, name: str, gate: threading.Event) -> None:
        super().__init__(name, polls=1, max_circuits=500)
        self._gate = gate

    def poll(self, job_id: str) -> JobState:
        return super().poll(job_id) if self._gate.is_set() else JobState.RUNNING


def turned(executors: object) -> qexec.QElectron:
    @qexec.qelectron(executors=executors)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> object:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    return circuit


def test_ten_thousand_futures_wait_in_few_threads_and_all_are_right() -> None:
    gate = threading.Event()
    circuit = turned([SlowQPU(name, gate) for name in ("a", "b", "c")])
    before = threading.active_count()
    angles = np.linspace(0, 6, CALLS)
    futures = [circuit.run_later(angle) for angle in angles]
    assert not any(future.done() for future in futures)
    assert threading.active_count() - before <= MOST_THREADS
    gate.set()
    assert np.allclose([future.result(PATIENCE) for future in futures], np.cos(angles))
    assert {len(future.outcomes) for future in futures} == {1}


def test_calls_that_wait_at_the_same_time_share_full_batches() -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, max_circuits=100, parallel="thread")
    circuit = turned(executor)
    angles = np.linspace(0, 6, 200)
    futures = [circuit.run_later(angle) for angle in angles]
    assert executor.started.wait(PATIENCE)
    gate.set()
    assert np.allclose(qexec.gather(futures), np.cos(angles))
    assert len(executor.batches) <= 3
    assert max(map(len, executor.batches)) <= 100


def test_a_loop_of_calls_becomes_a_few_jobs_of_a_backend_with_a_queue() -> None:
    """Each job of such a backend costs a place in its queue. Circuits come at less than 0.1 s from each other."""
    qpu = FakeQPU(max_circuits=100)
    circuit = turned(qpu)
    futures = [circuit.run_later(angle) for angle in np.linspace(0, 6, 200)]
    qexec.gather(futures)
    assert len(qpu.jobs) < 100
