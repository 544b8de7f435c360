"""How jobs end before they have a result: timeouts, cancellation, interrupts; and the futures that say so."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, as_completed, wait
from typing import Any

import numpy as np
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState, Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails


class HeldQPU(FakeQPU):
    """A backend whose jobs are done when an event is set; results are zeros."""

    poll_interval_max = 0.02

    def __init__(self, enough: int = 1, **options: Any) -> None:
        super().__init__(polls=1, **options)
        self._enough = enough
        self.full = threading.Event()
        self.release = threading.Event()

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        job_id = super().submit(circuits)
        if len(self.jobs) >= self._enough:
            self.full.set()
        return job_id

    def poll(self, job_id: str) -> JobState:
        return super().poll(job_id) if self.release.is_set() or job_id in self.cancelled else JobState.RUNNING

    def fetch(self, job_id: str) -> Sequence[Result]:
        return [0.0] * len(self.jobs[job_id])


class Taciturn(FakeQPU):
    """A backend that does not take cancellations the first few times, or ever."""

    def __init__(self, silent: float, **options: Any) -> None:
        super().__init__(polls=None, **options)
        self._silent = silent
        self.asked = 0

    def cancel(self, job_id: str) -> None:
        self.asked += 1
        if self.asked <= self._silent:
            raise ConnectionError("nobody answers")
        super().cancel(job_id)


class SlowToTake(FakeQPU):
    """A backend that tells the id of a job when an event is set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(polls=None, **options)
        self.taken = threading.Event()

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        job_id = super().submit(circuits)
        self.taken.wait(PATIENCE)
        return job_id


class Interrupts(qexec.Executor):
    """A local simulator in which somebody presses Ctrl-C."""

    def __init__(self) -> None:
        super().__init__("interrupts")
        self.runs = 0

    @property
    def local(self) -> bool:
        return True

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        self.runs += 1
        raise KeyboardInterrupt


def interrupted_when(event: threading.Event) -> Any:
    """A way to wait, in which somebody presses Ctrl-C in the main thread when the event is set."""
    wait_for = threading.Condition.wait

    def wait(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is not threading.main_thread() or condition is event._cond:
            return wait_for(condition, timeout)
        condition.release()  # as waiting does: the engine's thread needs it until the event is set
        event.wait(PATIENCE)
        condition.acquire()
        raise KeyboardInterrupt

    return wait


def job(executor: qexec.Executor | None, angle: float = 0.1) -> Job:
    return Job(flip(angle), executor)


def states(cluster: qexec.QCluster) -> list[str]:
    return [str(row.state) for row in cluster.history]


def test_a_circuit_that_takes_too_long_is_a_timeout_error(open_cluster: Any, hanging: Any) -> None:
    with pytest.raises(qexec.JobTimeoutError, match=r"no result after 0\.05 s on executor 'hangs-once'") as raised:
        open_cluster([hanging], timeout=0.05).execute([flip(0.1)])
    assert isinstance(raised.value, TimeoutError)
    assert (raised.value.seconds, raised.value.executor) == (0.05, "hangs-once")


def test_after_a_timeout_its_executor_runs_the_next_circuit(open_cluster: Any, hanging: Any) -> None:
    cluster = open_cluster([hanging], timeout=0.5)
    with pytest.raises(qexec.JobTimeoutError):
        cluster.execute([flip(0.1)])
    assert cluster.execute([flip(0.1)]) == [0.0]


def test_waiting_counts_towards_the_timeout(open_cluster: Any, hanging: Any) -> None:
    cluster = open_cluster([hanging], selector="least_loaded", timeout=0.05)
    running, waiting = cluster.submit([job(hanging), job(None)])
    assert isinstance(running.exception(PATIENCE), qexec.JobTimeoutError)
    assert isinstance(waiting.exception(PATIENCE), qexec.JobTimeoutError)


def test_a_timeout_cancels_the_job_at_its_backend(open_cluster: Any) -> None:
    qpu = FakeQPU(polls=None)
    (future,) = open_cluster([qpu], timeout=0.05).submit([job(qpu)])
    assert isinstance(future.exception(PATIENCE), qexec.JobTimeoutError)
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == list(qpu.jobs)


def test_a_waiting_job_that_is_cancelled_never_runs(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    (running,) = cluster.submit([job(executor, 0.1)])
    assert executor.started.wait(PATIENCE)
    cancelled, waiting = cluster.submit([job(executor, 0.2), job(executor, 0.3)])
    assert cancelled.cancel()
    gate.set()
    assert running.result(PATIENCE).result == pytest.approx(np.cos(0.1))
    assert waiting.result(PATIENCE).result == pytest.approx(np.cos(0.3))
    assert [circuit.operations[0].data[0] for batch in executor.batches for circuit in batch] == [0.1, 0.3]
    assert sorted(states(cluster)) == ["cancelled", "done", "done"]


def test_a_running_job_can_be_cancelled_and_its_executor_goes_on(open_cluster: Any, hanging: Any) -> None:
    cluster = open_cluster([hanging])
    (running,) = cluster.submit([job(hanging)])
    assert hanging.started.wait(PATIENCE)
    assert running.cancel()
    assert cluster.execute([flip(0.1)]) == [0.0]
    assert states(cluster) == ["cancelled", "done"]


def test_cancelling_what_runs_at_a_backend_reaches_the_backend(open_cluster: Any) -> None:
    qpu = FakeQPU(polls=None)
    (future,) = open_cluster([qpu]).submit([job(qpu)])
    assert qpu.submitted.wait(PATIENCE)
    assert future.cancel()
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == ["fake-qpu-1"]


def test_a_batch_goes_on_while_somebody_wants_one_of_its_circuits(open_cluster: Any) -> None:
    qpu = HeldQPU()
    cancelled, wanted = open_cluster([qpu]).submit([job(qpu), job(qpu)])
    assert qpu.full.wait(PATIENCE)
    assert cancelled.cancel()
    qpu.release.set()
    assert wanted.result(PATIENCE).result == 0.0
    assert qpu.cancelled == []


def test_a_job_that_has_ended_cannot_be_cancelled(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    (future,) = open_cluster([executor]).submit([job(executor)])
    future.result(PATIENCE)
    assert not future.cancel()


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_first_error_cancels_the_rest_of_the_call(open_cluster: Any, order: list[int]) -> None:
    qpu = FakeQPU(polls=None)
    both = [qpu, ScriptedExecutor("broken", failures=[ValueError("no")], gate=qpu.submitted)]
    with pytest.raises(qexec.ExecutorError):
        open_cluster([both[index] for index in order], failover=False).execute([flip(0.1), flip(0.2)])
    assert qpu.stopped.wait(PATIENCE)


@pytest.mark.slow
def test_an_interrupt_while_waiting_cancels_what_runs(open_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted, qpu = ScriptedExecutor(), FakeQPU(polls=None)
    cluster = open_cluster([scripted, qpu])
    cluster.run([job(scripted)])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Condition, "wait", interrupted_when(qpu.submitted))
        with pytest.raises(KeyboardInterrupt):
            cluster.run([job(qpu)])
    assert qpu.stopped.wait(PATIENCE)


def test_an_interrupt_in_the_calling_thread_is_raised_and_not_tried_again(open_cluster: Any) -> None:
    executor = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        open_cluster([executor, ScriptedExecutor()]).execute([flip(0.1)])
    assert executor.runs == 1


@pytest.mark.slow
def test_thousands_of_waiting_jobs_need_few_threads(open_cluster: Any) -> None:
    qpu = HeldQPU(enough=500, max_circuits=1)
    before = threading.active_count()
    futures = open_cluster([qpu]).submit([job(qpu, 0.001 * index) for index in range(2000)])
    assert qpu.full.wait(PATIENCE)
    assert threading.active_count() - before <= 8
    qpu.release.set()
    assert {future.result(PATIENCE).result for future in futures} == {0.0}
    assert len(qpu.jobs) == 2000


def test_futures_are_those_of_the_standard_library(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    futures = open_cluster([executor]).submit([job(executor, 0.1 * index) for index in range(5)])
    assert wait(futures, PATIENCE).done == set(futures)
    assert set(as_completed(futures, PATIENCE)) == set(futures)


def test_waiting_for_a_cancelled_future_ends(open_cluster: Any, hanging: Any) -> None:
    (future,) = open_cluster([hanging]).submit([job(hanging)])
    assert hanging.started.wait(PATIENCE)
    future.cancel()
    assert wait([future], PATIENCE).done == {future}
    assert list(as_completed([future], PATIENCE)) == [future]
    with pytest.raises(CancelledError):
        future.result(0)


def test_cancelling_reaches_the_backends_of_a_cluster_inside(open_cluster: Any) -> None:
    qpu = FakeQPU(polls=None)
    outer = open_cluster([open_cluster([qpu])])
    (future,) = outer.submit([job(outer.executors[0])])
    assert qpu.submitted.wait(PATIENCE)
    assert future.cancel()
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == ["fake-qpu-1"]


def test_a_backend_that_does_not_take_a_cancellation_is_asked_again(open_cluster: Any) -> None:
    qpu = Taciturn(silent=4)
    (future,) = open_cluster([qpu]).submit([job(qpu)])
    assert qpu.submitted.wait(PATIENCE)
    future.cancel()
    assert qpu.stopped.wait(PATIENCE)


def test_a_job_that_could_not_be_cancelled_is_named(open_cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    qpu = Taciturn(silent=float("inf"))
    cluster = open_cluster([qpu])
    (future,) = cluster.submit([job(qpu)])
    assert qpu.submitted.wait(PATIENCE)
    future.cancel()
    cluster.close()
    assert "1 jobs that nobody waits for could not be cancelled and may still run: 'fake-qpu-1' at 'fake-qpu'" in (
        caplog.text
    )
    assert qpu.asked == 5


def test_a_job_that_is_being_submitted_is_cancelled_when_its_id_is_there(open_cluster: Any) -> None:
    qpu = SlowToTake()
    (future,) = open_cluster([qpu]).submit([job(qpu)])
    assert qpu.submitted.wait(PATIENCE)
    future.cancel()
    qpu.taken.set()
    assert qpu.stopped.wait(PATIENCE)
    assert qpu.cancelled == ["fake-qpu-1"]
