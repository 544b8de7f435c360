"""Errors in the places where threads and other processes are looked after: somebody is told, and the work goes on."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.engine import placement, process_pool
from pennylane_qexec.engine.worker import KEPT_EXECUTORS, BatchResult
from pennylane_qexec.executors.remote.jobs import RemoteJob
from pennylane_qexec.executors.runtime.sessions import PrimitiveJob
from pennylane_qexec.job import Job
from pennylane_qexec.persistence.cache import write_behind
from pennylane_qexec.persistence.durable.transitions import Transitions
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.testing import ScriptedExecutor, flip


class Worker:
    """A worker process that cannot be started at first."""

    refusals = 2
    alive = True

    def __init__(self, number: int, threads: int) -> None:
        if Worker.refusals:
            Worker.refusals -= 1
            raise OSError("no more processes")

    def wait_until_ready(self) -> None: ...

    def perform(self, key: str, executor: bytes, work: bytes) -> BatchResult:
        return BatchResult([0.5], 0.0)

    def kill(self) -> None: ...


def test_a_worker_that_cannot_be_started_fails_its_batch_and_the_next_one_gets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_pool, "_Worker", Worker)
    monkeypatch.setattr(process_pool, "cores", lambda: 1)
    monkeypatch.setattr(process_pool, "LINGER", 0.01)
    shared_pool, work = process_pool.ProcessPool(), SimpleNamespace(circuits=[flip(0.1)])
    executor = ScriptedExecutor(workers=1)
    shared_pool.lease()
    monkeypatch.setattr(process_pool, "pickled", pickle.dumps)
    monkeypatch.setattr(shared_pool, "pickled", lambda executor: ("key", b""))
    with pytest.raises(OSError, match="no more processes"):
        shared_pool.submit(executor, work).result(60)  # type: ignore[arg-type]
    assert shared_pool.submit(executor, work).result(60) == BatchResult([0.5], 0.0)  # type: ignore[arg-type]
    shared_pool.give_back()


def test_a_result_that_cannot_be_written_does_not_keep_others_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_behind.result_text

    def text(value: Any) -> str:
        if value == "strange":
            raise RecursionError("too deep")
        return real(value)

    monkeypatch.setattr(write_behind, "result_text", text)
    with open_store(tmp_path / "cache.db") as store:
        kept = write_behind.WriteBehindStore(store, 10**6)
        kept.put([("a", "strange"), ("b", 0.5)])
        kept.flush()
        kept.put([("c", 0.25)])
        kept.flush()
        assert kept.get(["a", "b", "c"]) == {"b": 0.5, "c": 0.25}


def test_nobody_is_left_waiting_when_the_failure_of_a_circuit_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Transitions, *_: Any) -> None:
        raise RuntimeError("not known")

    monkeypatch.setattr(Transitions, "failed", fail)
    with (
        qexec.durable_run("run", tmp_path / "run.db"),
        qexec.QCluster([Failing()], failover=False) as cluster,
        pytest.raises(qexec.ExecutorError, match="always"),
    ):
        cluster.execute([flip(0.1)])


class Failing(qexec.Executor):
    def run(self, circuits: Any) -> Any:
        raise ValueError("always")


class Sure(qexec.Executor):
    def run(self, circuits: Any) -> Any:
        return [0.5 for _ in circuits]


class Ending(qexec.Executor):
    def run(self, circuits: Any) -> Any:
        return [next(iter(())) for _ in circuits]


def test_the_end_of_an_iterator_is_an_error_of_the_executor_and_not_the_end_of_the_engine() -> None:
    with (
        qexec.QCluster([Ending()], retry={"attempts": 1}) as cluster,
        pytest.raises(qexec.ExecutorError, match="StopIteration"),
    ):
        cluster.execute([flip(0.1)])


class CancellingPool(ThreadPoolExecutor):
    """A pool that is shut down, with all that waits in it, as soon as it has something to do."""

    def submit(self, *call: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.cancel()
        return future


def test_nobody_is_left_waiting_for_what_a_pool_has_cancelled_when_it_was_shut_down() -> None:
    with (
        CancellingPool(1) as pool,
        qexec.QCluster([Sure(parallel=pool)], retry={"attempts": 1}, timeout=60) as cluster,
        pytest.raises(qexec.ExecutorError, match="CancelledError"),
    ):
        cluster.execute([flip(0.1)])


class IBMJob:
    """A job at Qiskit Runtime."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.cancelled = error, False

    def status(self) -> str:
        return "QUEUED"

    def cancel(self) -> None:
        if self.error is not None:
            raise self.error
        self.cancelled = True


def test_a_job_that_cannot_be_cancelled_does_not_keep_the_others_of_its_batch_from_it() -> None:
    first, second = IBMJob(ConnectionError("gone")), IBMJob(None)
    with pytest.raises(ConnectionError, match="gone"):
        RemoteJob((PrimitiveJob(first), PrimitiveJob(second)), None).cancel()
    assert second.cancelled


def test_a_process_of_a_pool_forgets_executors_of_which_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(placement, "_in_this_pool_process", kept)
    monkeypatch.setattr(placement, "perform", lambda executor, work: BatchResult([], 0.0))
    executor = pickle.dumps(qexec.DeviceExecutor("default.qubit"))
    with ThreadPoolExecutor(1) as pool:
        for number in range(KEPT_EXECUTORS + 3):
            pool.submit(placement._perform_in_pool, str(number), executor, pickle.dumps(None), 0, 0).result(60)
    assert len(kept) == KEPT_EXECUTORS
    assert "0" not in kept
    assert str(KEPT_EXECUTORS + 2) in kept


@pytest.mark.parametrize("asked", ["rejects", "status"])
def test_an_executor_that_does_not_answer_the_engine_gets_the_circuit_and_the_engine_goes_on(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    answer = getattr(ScriptedExecutor, asked)

    def answers_others(self: ScriptedExecutor, *circuits: Any) -> Any:
        if in_engine_thread():
            raise OSError("no network")
        return answer(self, *circuits)

    monkeypatch.setattr(ScriptedExecutor, asked, answers_others)
    with qexec.QCluster([ScriptedExecutor(), ScriptedExecutor()], selector="least_loaded") as cluster:
        jobs = [Job(flip(0.1)), Job(flip(0.2))]
        assert len([future.result(60) for future in cluster.submit(jobs)]) == 2


class Flipping(qexec.Executor):
    """An executor that can be sent to a pool."""

    def run(self, circuits: Sequence[QuantumScript]) -> list[float]:
        return [1.0 for _ in circuits]


def test_what_a_pool_cancels_before_it_begins_has_used_nothing() -> None:
    began, end = threading.Event(), threading.Event()

    def occupy() -> None:
        began.set()
        end.wait(60)

    pool, budget = ThreadPoolExecutor(1), qexec.Budget(circuits=5)
    pool.submit(occupy)
    assert began.wait(60)
    with qexec.QCluster([Flipping(parallel=pool)], budget=budget, retry={"attempts": 1}) as cluster:
        (future,) = cluster.submit([Job(flip(0.1), cluster.executors[0])])
        while not pool._work_queue.qsize():  # until it waits in the pool
            assert not future.done()
            end.wait(0.001)
        pool.shutdown(wait=False, cancel_futures=True)
        assert isinstance(future.exception(60), qexec.ExecutorError)
        end.set()
        assert budget.used.circuits == 0
        assert cluster.history.totals.circuits == 0
