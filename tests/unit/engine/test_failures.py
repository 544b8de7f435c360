"""What happens when an executor fails on circuits: retries, and what the caller is told."""

from __future__ import annotations

import concurrent.futures
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pennylane.exceptions import DecompositionUndefinedError, DeviceError, QuantumFunctionError, WireError
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState, Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)
PERMANENT = [ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, DeviceError, WireError]


class Picky(ScriptedExecutor):
    """Fails on whole batches because of one circuit in them, the one with this angle."""

    def __init__(self, angle: float, error: Exception) -> None:
        super().__init__("picky")
        self._angle = angle
        self._error = error

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        if any(circuit.operations[0].data[0] == self._angle for circuit in circuits):
            self.batches.append(tuple(circuits))
            raise self._error
        return super().run(circuits)


class Returns(qexec.Executor):
    """Returns what it was told to, whatever the circuits."""

    def __init__(self, value: Any, local: bool = False) -> None:
        super().__init__("returns")
        self._value = value
        self._local = local

    @property
    def local(self) -> bool:
        return self._local

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return self._value  # type: ignore[no-any-return]


class Panic(BaseException):
    """What Rust code raises beside the rules."""


class Hiccup(FakeQPU):
    """Cannot be reached at the first poll."""

    def poll(self, job_id: str) -> JobState:
        if not self._polled[job_id]:
            self._polled[job_id] += 1
            raise ConnectionError("a hiccup of the network")
        return super().poll(job_id)


def outcomes(cluster: qexec.QCluster, executor: qexec.Executor | None, angles: Sequence[float]) -> list[Any]:
    """The outcome or the error of a circuit for each angle."""
    futures = cluster.submit([Job(flip(angle), executor) for angle in angles])
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    return [future.exception() or future.result() for future in futures]


def test_a_batch_that_failed_is_tried_again(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[RuntimeError("once"), OSError("twice")])
    (outcome,) = outcomes(open_cluster([executor], retry=AT_ONCE), executor, [0.3])
    assert outcome.result == pytest.approx(np.cos(0.3))
    assert outcome.attempt == 3


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_executor_gets_as_many_attempts_as_the_retry_policy_says(open_cluster: Any, attempts: int) -> None:
    executor = ScriptedExecutor(failures=[RuntimeError("again")] * 9)
    (error,) = outcomes(open_cluster([executor], retry=qexec.retries.backoff(attempts, initial=0)), executor, [0.1])
    assert isinstance(error, qexec.ExecutorError)
    assert (error.attempt, len(executor.batches)) == (attempts, attempts)


def test_never_means_one_attempt(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[RuntimeError("once")])
    with pytest.raises(qexec.ExecutorError, match="attempt 1: RuntimeError: once"):
        open_cluster([executor], retry=qexec.retries.never()).execute([flip(0.1)])


@pytest.mark.parametrize("kind", PERMANENT)
def test_an_error_that_is_the_fault_of_the_circuit_is_not_tried_again(open_cluster: Any, kind: type[Exception]) -> None:
    executor = ScriptedExecutor(failures=[kind("a bad circuit")])
    with pytest.raises(qexec.ExecutorError) as raised:
        open_cluster([executor], retry=AT_ONCE).execute([flip(0.1)])
    assert (raised.value.attempt, len(executor.batches)) == (1, 1)


@pytest.mark.parametrize("error", [ValueError("a bad circuit"), RuntimeError("a bad moment")])
def test_one_bad_circuit_does_not_sink_the_others_of_its_batch(open_cluster: Any, error: Exception) -> None:
    executor = Picky(0.2, error)
    good, bad, fine = outcomes(open_cluster([executor], retry=AT_ONCE), executor, [0.1, 0.2, 0.3])
    assert len(executor.batches[0]) == 3
    assert isinstance(bad, qexec.ExecutorError)
    assert bad.cause is error
    assert [good.result, fine.result] == pytest.approx([np.cos(0.1), np.cos(0.3)])


def test_an_executor_error_says_who_failed_how_often_and_why(open_cluster: Any) -> None:
    cause = RuntimeError("the laser is off")
    executor = ScriptedExecutor("trap", failures=[cause] * 2)
    with pytest.raises(qexec.ExecutorError, match="'trap' failed at attempt 2: RuntimeError: the laser is") as raised:
        open_cluster([executor], retry=qexec.retries.backoff(2, initial=0)).execute([flip(0.1)])
    assert (raised.value.executor, raised.value.attempt, raised.value.cause) == ("trap", 2, cause)
    assert raised.value.__cause__ is cause


def test_an_executor_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(qexec.ExecutorError("trap", 2, OSError(5, "the laser is off"))))
    assert (error.executor, error.attempt) == ("trap", 2)
    assert isinstance(error.__cause__, OSError)
    assert "the laser is off" in str(error)


def test_a_timeout_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(qexec.JobTimeoutError(2.5, "trap")))
    assert (error.seconds, error.executor) == (2.5, "trap")


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("results", [[], [0.0] * 3])
def test_an_executor_that_returns_the_wrong_number_of_results_fails(
    open_cluster: Any, results: list[float], local: bool
) -> None:
    cluster = open_cluster([Returns(results, local)], retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError, match=f"{len(results)} results were returned for 1 circuits"):
        cluster.execute([flip(0.1)])


def test_an_executor_that_returns_nothing_fails(open_cluster: Any) -> None:
    with pytest.raises(qexec.ExecutorError, match="TypeError"):
        open_cluster([Returns(None)], retry=AT_ONCE).execute([flip(0.1)])


def test_a_panic_of_native_code_is_an_executor_error(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[Panic("index out of bounds")])
    with pytest.raises(qexec.ExecutorError, match="Panic: index out of bounds"):
        open_cluster([executor], retry=qexec.retries.never()).execute([flip(0.1)])


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_an_executor_that_exits_does_not_take_the_cluster_with_it(open_cluster: Any, error: BaseException) -> None:
    executor = ScriptedExecutor(failures=[error])
    cluster = open_cluster([executor], retry=qexec.retries.never())
    (failed,) = outcomes(cluster, executor, [0.1])
    assert isinstance(failed, qexec.ExecutorError)
    assert outcomes(cluster, executor, [0.3])[0].result == pytest.approx(np.cos(0.3))


@pytest.mark.parametrize("end", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_ends_badly_at_its_backend_is_an_executor_error(open_cluster: Any, end: JobState) -> None:
    qpu = FakeQPU(ends=end)
    with pytest.raises(qexec.ExecutorError, match=f"'fake-qpu-1' failed at 'fake-qpu': it ended as {end}"):
        open_cluster([qpu], retry=qexec.retries.never()).execute([flip(0.1)])


def test_a_backend_that_brings_nothing_in_place_of_a_result_fails(open_cluster: Any) -> None:
    class Empty(FakeQPU):
        def fetch(self, job_id: str) -> Sequence[Result]:
            return [None] * len(self.jobs[job_id])

    with pytest.raises(qexec.ExecutorError, match="None was returned"):
        open_cluster([Empty()], retry=qexec.retries.never()).execute([flip(0.1)])


def test_a_job_that_ended_badly_at_its_backend_is_submitted_again(open_cluster: Any) -> None:
    qpu = FakeQPU(ends=JobState.FAILED)
    with pytest.raises(qexec.ExecutorError):
        open_cluster([qpu], retry=qexec.retries.backoff(2, initial=0)).execute([flip(0.1)])
    assert list(qpu.jobs) == ["fake-qpu-1", "fake-qpu-2"]


def test_a_hiccup_while_polling_does_not_submit_the_job_twice(open_cluster: Any) -> None:
    qpu = Hiccup()
    assert np.allclose(open_cluster([qpu], retry=AT_ONCE).execute([flip(0.3)]), np.cos(0.3))
    assert list(qpu.jobs) == ["fake-qpu-1"]


class OwnError(Exception):
    """A user's own, which adds nothing to what an exception is."""


class NumberedError(Exception):
    """A user's own, which would not be itself without its number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


KINDS: list[Exception] = [
    ValueError("bad"),
    NotImplementedError("not here"),
    KeyError("missing"),
    QuantumFunctionError("no function"),
    DecompositionUndefinedError("no gates"),
    OwnError("mine"),
]


@pytest.mark.parametrize("cause", KINDS, ids=repr)
def test_what_catches_an_executors_exception_catches_the_executor_error_too(
    open_cluster: Any, cause: Exception
) -> None:
    cluster = open_cluster([ScriptedExecutor("trap", failures=[cause] * 3)], retry=qexec.retries.never())
    with pytest.raises(type(cause)) as raised:
        cluster.execute([flip(0.1)])
    error = raised.value
    assert isinstance(error, qexec.ExecutorError)
    assert (type(error).__name__, error.executor, error.attempt, error.cause) == ("ExecutorError", "trap", 1, cause)
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, type(cause))
    assert isinstance(copy, qexec.ExecutorError)
    assert (copy.executor, copy.attempt, str(copy)) == ("trap", 1, str(error))


@pytest.mark.parametrize("cause", [NumberedError(3), OSError(5, "off"), qexec.ConfigurationError("no")], ids=repr)
def test_an_executor_error_is_not_of_a_class_that_it_could_not_stand_for(cause: Exception) -> None:
    error = qexec.ExecutorError("trap", 1, cause)
    assert type(error) is qexec.ExecutorError
    assert pickle.loads(pickle.dumps(error)).attempt == 1


@pytest.mark.parametrize("cause", KINDS, ids=repr)
def test_what_the_only_executor_raises_when_it_prepares_a_circuit_can_be_caught(
    open_cluster: Any, cause: Exception
) -> None:
    class Choosy(ScriptedExecutor):
        def binder(self, config: Any, circuit: Any) -> Any:
            raise cause

    with pytest.raises(type(cause)) as raised:
        open_cluster([Choosy("trap")]).execute([flip(0.1)])
    assert isinstance(raised.value, qexec.NoExecutorError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with pytest.raises(qexec.NoExecutorError) as of_two:
        open_cluster([Choosy("trap"), Choosy("other")]).execute([flip(0.1)])
    assert type(of_two.value) is qexec.NoExecutorError
