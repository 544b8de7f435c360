"""The end of a cluster: jobs, threads and callers that wait all come to theirs."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.job import Job
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails


def job(executor: qexec.Executor | None) -> Job:
    return Job(flip(0.1), executor)


def test_closing_ends_every_future(hanging: Any) -> None:
    cluster = qexec.QCluster([hanging, FakeQPU(polls=None), ScriptedExecutor()], selector="least_loaded")
    busy, qpu, _ = cluster.executors
    futures = cluster.submit([job(busy), job(busy), job(qpu), *[job(None)] * 2])
    assert hanging.started.wait(PATIENCE)
    cluster.close()
    assert all(future.done() for future in futures)
    assert {type(future.exception(0)) for future in futures[:3]} == {qexec.JobCancelledError}


def test_closing_cancels_what_runs_at_a_backend() -> None:
    qpu = FakeQPU(polls=None)
    with qexec.QCluster([qpu]) as cluster:
        cluster.submit([job(qpu)])
        assert qpu.submitted.wait(PATIENCE)
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == ["fake-qpu-1"]


def test_closing_ends_what_another_thread_waits_for(hanging: Any) -> None:
    cluster = qexec.QCluster([hanging])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cluster.execute, [flip(0.1)])
        assert hanging.started.wait(PATIENCE)
        cluster.close()
        assert isinstance(waiting.exception(PATIENCE), qexec.JobCancelledError)


def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    with qexec.QCluster([ScriptedExecutor(workers=2, max_circuits=1), FakeQPU()]) as cluster:
        cluster.execute([flip(0.1) for _ in range(8)])
        started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(PATIENCE)
    assert started
    assert not any(thread.is_alive() for thread in started)


def test_closing_again_does_nothing() -> None:
    cluster = qexec.QCluster([ScriptedExecutor()])
    cluster.execute([flip(0.1)])
    cluster.close()
    cluster.close()


@pytest.mark.parametrize("executor", ["default.qubit", ScriptedExecutor()])
def test_a_closed_cluster_says_so(executor: Any) -> None:
    cluster = qexec.QCluster([executor])
    cluster.close()
    with pytest.raises(qexec.ConfigurationError, match="this cluster is closed: open a new one"):
        cluster.execute([flip(0.1)])


def test_a_cluster_can_be_closed_by_what_is_called_when_a_job_ends() -> None:
    executor = ScriptedExecutor()
    cluster = qexec.QCluster([executor])
    closed = threading.Event()
    (future,) = cluster.submit([job(executor)])
    future.add_done_callback(lambda _: (cluster.close(), closed.set()))
    assert closed.wait(PATIENCE)


def test_a_cluster_that_is_forgotten_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    cluster = qexec.QCluster([{"type": "default.qubit", "parallel": "thread"}])
    cluster.execute([flip(0.1, shots=10)])
    threads = set(threading.enumerate()) - before
    assert threads
    del cluster
    for _ in range(600):  # the engine's thread may be busy with the end of the last batch, and hold it, for a moment
        gc.collect()
        for thread in threads:
            thread.join(timeout=0.1)
        if not any(thread.is_alive() for thread in threads):
            return
    pytest.fail("threads of a forgotten cluster still live after a minute")
