"""The end of a cluster: jobs, threads and callers that wait all come to theirs."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.engine import remote_jobs
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


def test_what_is_to_be_tried_again_after_a_pause_is_not_when_the_cluster_closes(
    hanging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, skipped = time.monotonic, threading.Event()
    monkeypatch.setattr(time, "monotonic", lambda: usual() + (7200.0 if skipped.is_set() else 0.0))
    failing = ScriptedExecutor(failures=[RuntimeError("once")])
    cluster = qexec.QCluster([hanging, failing], failover=False, retry={"attempts": 2, "initial": 3600.0})
    futures = cluster.submit([job(hanging), job(failing)])
    assert hanging.started.wait(PATIENCE)
    while futures[1].started is None or failing.load().waiting:  # until it has failed
        assert not futures[1].done()
    for future in futures:
        future.add_done_callback(lambda _: skipped.set())
    cluster.close()
    assert isinstance(futures[1].exception(PATIENCE), qexec.JobCancelledError)
    assert (len(failing.batches), failing.load().waiting) == (1, 0)


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


@pytest.mark.slow
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


class Deaf(FakeQPU):
    """A backend that takes cancellations when an event is set; what it is to cancel, it notes before."""

    def __init__(self, name: str) -> None:
        super().__init__(name, polls=None, max_circuits=1)
        self.all_there = threading.Event()
        self.hears = threading.Event()

    def submit(self, circuits: Any) -> str:
        job_id = super().submit(circuits)
        if len(self.jobs) == 2:
            self.all_there.set()
        return job_id

    def cancel(self, job_id: str) -> None:
        self.hears.wait(PATIENCE)
        super().cancel(job_id)


def test_closing_waits_until_the_backend_has_taken_the_cancellation() -> None:
    qpu = FakeQPU(polls=None)
    with qexec.QCluster([qpu]) as cluster:
        cluster.submit([job(qpu)])
        assert qpu.submitted.wait(PATIENCE)
    assert qpu.cancelled == ["fake-qpu-1"]


def test_closing_says_in_one_warning_what_it_could_not_cancel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remote_jobs, "PATIENCE", 0.01)
    deaf = Deaf("deaf")
    cluster = qexec.QCluster([deaf])
    cluster.submit([job(deaf), job(deaf)])
    assert deaf.all_there.wait(PATIENCE)
    cluster.close()
    deaf.hears.set()
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "WARNING"
    assert "'deaf-1' at 'deaf', 'deaf-2' at 'deaf'" in caplog.text


def test_closing_again_does_not_say_it_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(remote_jobs, "PATIENCE", 0.01)
    deaf = Deaf("deaf")
    with qexec.QCluster([deaf]) as cluster:
        cluster.submit([job(deaf), job(deaf)])
        assert deaf.all_there.wait(PATIENCE)
        cluster.close()
        deaf.hears.set()
    assert len(caplog.records) == 1
