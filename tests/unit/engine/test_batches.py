"""How circuits are gathered into batches, and where the batches run."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Call, Job, Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
FOREVER = 3600.0  # seconds: a batching window that a test never sees the end of


class Witness(qexec.Executor):
    """Notes the thread and the value of a context variable of every batch."""

    def __init__(self, local: bool = False, **options: Any) -> None:
        super().__init__("witness", **options)
        self._local = local
        self.threads: list[int] = []
        self.notes: list[str] = []

    @property
    def local(self) -> bool:
        return self._local

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        self.threads.append(threading.get_ident())
        self.notes.append(NOTE.get())
        return [0.0] * len(circuits)


class Meeting(qexec.Executor):
    """Goes on only when two batches run at the same time."""

    def __init__(self, **options: Any) -> None:
        super().__init__("meeting", **options)
        self._barrier = threading.Barrier(2)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        self._barrier.wait(PATIENCE)
        return [0.0] * len(circuits)


class OpensGate(ScriptedExecutor):
    """Opens a gate when it has run a number of circuits."""

    def __init__(self, gate: threading.Event, circuits: int, **options: Any) -> None:
        super().__init__("free", **options)
        self._opened = gate
        self._left = circuits

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        results = super().run(circuits)
        self._left -= len(circuits)
        if self._left <= 0:
            self._opened.set()
        return results


NOTE = contextvars.ContextVar("NOTE", default="")


def jobs(executor: qexec.Executor | None, number: int, shots: int | None = None, call: Call | None = None) -> list[Job]:
    return [Job(flip(0.1 * index, shots), executor, call or Call()) for index in range(number)]


def sizes(executor: Any) -> list[int]:
    return [len(batch) for batch in executor.batches]


def finish(futures: Sequence[concurrent.futures.Future[Any]]) -> list[Any]:
    return [future.result(PATIENCE) for future in futures]


def test_circuits_that_arrive_together_run_in_one_batch(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    results = open_cluster([executor]).execute([flip(0.1 * index) for index in range(5)])
    assert sizes(executor) == [5]
    assert np.allclose(results, np.cos(0.1 * np.arange(5)))


def test_circuits_that_arrive_while_a_batch_runs_make_the_next_one(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    futures = cluster.submit(jobs(executor, 1))
    assert executor.started.wait(PATIENCE)
    for job in jobs(executor, 4):
        futures += cluster.submit([job])
    gate.set()
    finish(futures)
    assert sizes(executor) == [1, 4]


def test_max_circuits_cuts_batches(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=2)
    open_cluster([executor]).execute([flip(0.1) for _ in range(5)])
    assert sizes(executor) == [2, 2, 1]


def test_max_shots_cuts_batches(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_shots=100)
    open_cluster([executor]).execute([flip(0.1, shots) for shots in (40, 40, 40, 60, 100)])
    assert sizes(executor) == [2, 2, 1]


def test_a_circuit_with_more_shots_than_max_shots_is_refused(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor(max_shots=100)])
    with pytest.raises(qexec.NoExecutorError, match="100 shots"):
        cluster.execute([flip(0.1, 101)])


def test_the_window_of_a_cluster_gathers_separate_submissions(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=3)
    cluster = open_cluster([executor], batch_window=FOREVER)
    futures = [future for job in jobs(executor, 3) for future in cluster.submit([job])]
    finish(futures)
    assert sizes(executor) == [3]


def test_the_window_of_an_executor_goes_before_that_of_its_cluster(open_cluster: Any) -> None:
    patient, hasty = ScriptedExecutor("patient", batch_window=FOREVER), ScriptedExecutor("hasty")
    cluster = open_cluster([patient, hasty])
    (waiting,) = cluster.submit(jobs(patient, 1))
    finish(cluster.submit(jobs(hasty, 1)))
    assert not waiting.done()
    assert patient.batches == []


def test_enough_shots_end_the_window(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_shots=100, batch_window=FOREVER)
    cluster = open_cluster([executor])
    futures = [future for job in jobs(executor, 2, shots=50) for future in cluster.submit([job])]
    finish(futures)
    assert sizes(executor) == [2]


def test_a_batch_that_is_not_full_runs_when_its_window_is_over(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=100, batch_window=0.01)
    finish(open_cluster([executor]).submit(jobs(executor, 2)))
    assert sizes(executor) == [2]


def test_different_calls_do_not_share_a_batch(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    second_order = Call(config=ExecutionConfig(derivative_order=2))
    finish(open_cluster([executor]).submit([*jobs(executor, 2), *jobs(executor, 3, call=second_order)]))
    assert sizes(executor) == [2, 3]


def test_equal_calls_share_a_batch(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    one, other = Call(config=ExecutionConfig()), Call(config=ExecutionConfig())
    finish(open_cluster([executor]).submit([*jobs(executor, 2, call=one), *jobs(executor, 3, call=other)]))
    assert sizes(executor) == [5]


def test_a_backend_with_a_queue_gets_its_circuits_as_one_job(open_cluster: Any) -> None:
    qpu = FakeQPU()
    results = open_cluster([qpu]).execute([flip(0.1 * index) for index in range(20)])
    assert [len(circuits) for circuits in qpu.jobs.values()] == [20]
    assert np.allclose(results, np.cos(0.1 * np.arange(20)))


def test_a_free_executor_pulls_what_waits_while_another_is_busy(open_cluster: Any) -> None:
    gate = threading.Event()
    busy, free = ScriptedExecutor("busy", gate=gate), OpensGate(gate, circuits=7)
    cluster = open_cluster([busy, free], selector="least_loaded")
    results = cluster.execute([flip(0.1 * index) for index in range(8)])
    assert np.allclose(results, np.cos(0.1 * np.arange(8)))
    assert (sum(sizes(busy)), sum(sizes(free))) == (1, 7)


@pytest.mark.parametrize("limit", [None, 4])
def test_backends_with_queues_share_what_waits_for_whoever_is_free(open_cluster: Any, limit: int | None) -> None:
    qpus = [FakeQPU(f"qpu-{number}", max_circuits=limit) for number in range(3)]
    open_cluster(qpus, selector="least_loaded").execute([flip(0.1 * index) for index in range(90)])
    done = [sum(map(len, qpu.jobs.values())) for qpu in qpus]
    assert sum(done) == 90
    assert min(done) >= 10


def test_an_executor_pulls_only_circuits_it_can_run(open_cluster: Any) -> None:
    narrow, wide = {"type": "default.qubit", "wires": [0], "name": "narrow"}, ScriptedExecutor("wide")
    cluster = open_cluster([narrow, wide], selector="least_loaded")
    assert np.allclose(cluster.execute([flip(0.3, wire=1)] * 6), np.cos(0.3))
    assert {row.executor for row in cluster.history} == {"wide"}


def test_two_workers_run_two_batches_at_once(open_cluster: Any) -> None:
    executor = Meeting(workers=2)
    assert open_cluster([executor]).execute([flip(0.1), flip(0.2)]) == [0.0, 0.0]


def test_one_worker_runs_one_batch_at_a_time(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, max_circuits=1)
    other = ScriptedExecutor("other")
    cluster = open_cluster([executor, other])
    futures = cluster.submit(jobs(executor, 2))
    assert executor.started.wait(PATIENCE)
    finish(cluster.submit(jobs(other, 1)))
    assert sizes(executor) == [1]
    gate.set()
    finish(futures)
    assert sizes(executor) == [1, 1]


def test_small_circuits_of_a_local_simulator_run_in_the_calling_thread(open_cluster: Any) -> None:
    executor = Witness(local=True)
    open_cluster([executor]).execute([flip(0.1)])
    assert executor.threads == [threading.get_ident()]


def test_small_circuits_of_a_simulator_start_no_thread(open_cluster: Any) -> None:
    before = set(threading.enumerate())
    results = open_cluster(["lightning.qubit", "default.qubit"]).execute([flip(0.1, wire=0), flip(0.2, wire=0)])
    assert np.allclose(results, np.cos([0.1, 0.2]))
    assert set(threading.enumerate()) <= before


def test_a_local_simulator_told_to_use_threads_does_not_run_in_the_calling_thread(open_cluster: Any) -> None:
    executor = Witness(local=True, parallel="thread")
    open_cluster([executor]).execute([flip(0.1)])
    assert len(executor.threads) == 1
    assert threading.get_ident() not in executor.threads


def test_what_is_not_a_local_simulator_does_not_run_in_the_calling_thread(open_cluster: Any) -> None:
    executor = Witness(local=False)
    open_cluster([executor]).execute([flip(0.1)])
    assert threading.get_ident() not in executor.threads


def test_an_asynchronous_call_does_not_run_in_the_calling_thread(open_cluster: Any) -> None:
    executor = Witness(local=True)
    finish(open_cluster([executor]).submit(jobs(executor, 1)))
    assert threading.get_ident() not in executor.threads


@pytest.mark.parametrize("local", [True, False])
def test_context_variables_of_the_caller_follow_into_the_executor(open_cluster: Any, local: bool) -> None:
    executor = Witness(local=local)
    cluster = open_cluster([executor])
    token = NOTE.set("from the caller")
    try:
        cluster.execute([flip(0.1)])
    finally:
        NOTE.reset(token)
    assert executor.notes == ["from the caller"]
