"""Hedging: a circuit that runs for long is given to a second executor, and the first result counts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
SOON = 0.001


class Stuck(FakeQPU):
    """A backend whose jobs never end."""

    def __init__(self, name: str = "stuck", **options: Any) -> None:
        super().__init__(name, polls=None, **options)


class Until(FakeQPU):
    """A backend whose jobs are done, or fail, when an event is set."""

    def __init__(self, name: str, event: threading.Event, ends: JobState = JobState.DONE) -> None:
        super().__init__(name, polls=1, ends=ends)
        self._event = event

    def poll(self, job_id: str) -> JobState:
        return super().poll(job_id) if self._event.is_set() or job_id in self.cancelled else JobState.RUNNING

    def fetch(self, job_id: str) -> Sequence[Any]:
        if self.poll(job_id) is JobState.FAILED:
            raise qexec.JobFailedError(self.name, job_id, "burnt")
        return super().fetch(job_id)


class Follower:
    """Follows jobs, and remembers nothing."""

    label = "label"
    may_be_there = False

    @contextmanager
    def sending(self, jobs: Sequence[Job], executor: Any) -> Iterator[Any]:
        yield self

    def sent(self, remote_id: str) -> None:
        pass

    def leaves(self, jobs: Sequence[Job]) -> bool:
        return False


class _Listener(logging.Handler):
    def __init__(self, words: str, heard: threading.Event) -> None:
        super().__init__()
        self._words, self._heard = words, heard

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self._heard.set()


@contextmanager
def listening(words: str) -> Iterator[threading.Event]:
    """An event that is set when the engine says something."""
    logger, event = logging.getLogger("pennylane_qexec"), threading.Event()
    listener, level = _Listener(words, event), logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield event
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


def job(executor: qexec.Executor | None, angle: float = 0.1, shots: int | None = None, **options: Any) -> Job:
    return Job(flip(angle, shots), executor, **options)


def angles(executor: ScriptedExecutor) -> list[float]:
    return [circuit.operations[0].data[0] for batch in executor.batches for circuit in batch]


@pytest.fixture
def open_hedged(open_cluster: Any) -> Callable[..., Any]:
    """Opens a cluster that hedges very soon."""
    return lambda executors, **options: open_cluster(executors, **{"hedge": SOON, **options})


def test_a_circuit_that_hangs_is_answered_by_another_executor(open_hedged: Any) -> None:
    stuck, other = Stuck(), ScriptedExecutor("other")
    cluster = open_hedged([stuck, other])
    (outcome,) = cluster.run([job(stuck)])
    assert outcome.result == pytest.approx(np.cos(0.1))
    assert (outcome.executor, outcome.attempt) == ("other", 2)


def test_without_a_hedge_a_circuit_stays_where_it_is(open_cluster: Any) -> None:
    held, other = threading.Event(), ScriptedExecutor("other")
    first = Until("first", held)
    cluster = open_cluster([first, other])
    (future,) = cluster.submit([job(first)])
    assert first.submitted.wait(PATIENCE)
    cluster.run([job(other)])
    held.set()
    assert future.result(PATIENCE).executor == "first"
    assert len(angles(other)) == 1


def test_who_comes_second_is_cancelled_at_its_backend(open_hedged: Any) -> None:
    stuck = Stuck()
    open_hedged([stuck, ScriptedExecutor("other")]).run([job(stuck)])
    assert stuck.stopped.wait(PATIENCE)
    assert stuck.cancelled == ["stuck-1"]


def test_if_the_first_executor_is_first_the_second_is_cancelled(open_hedged: Any) -> None:
    second = Stuck("second")
    first = Until("first", second.submitted)
    (outcome,) = open_hedged([first, second]).run([job(first)])
    assert (outcome.executor, outcome.attempt) == ("first", 2)
    assert second.stopped.wait(PATIENCE)
    assert (first.cancelled, second.cancelled) == ([], ["second-1"])


def test_there_is_one_row_for_a_circuit_that_two_executors_had(open_hedged: Any) -> None:
    stuck = Stuck()
    cluster = open_hedged([stuck, ScriptedExecutor("other")])
    cluster.run([job(stuck)])
    cluster.close()
    assert [(row.executor, row.attempt, str(row.state)) for row in cluster.history] == [("other", 2, "done")]


def test_all_circuits_of_a_job_that_hangs_go_to_the_other_executor_together(open_hedged: Any) -> None:
    stuck, other = Stuck(), ScriptedExecutor("other")
    outcomes = open_hedged([stuck, other]).run([job(stuck, 0.1 * index) for index in range(5)])
    assert [outcome.result for outcome in outcomes] == pytest.approx(np.cos(0.1 * np.arange(5)))
    assert [len(batch) for batch in other.batches] == [5]


def test_a_hedge_keeps_to_the_limits_of_the_other_executor(open_hedged: Any) -> None:
    stuck, other = Stuck(), ScriptedExecutor("other", max_circuits=2)
    open_hedged([stuck, other]).run([job(stuck, 0.1 * index) for index in range(5)])
    assert [len(batch) for batch in other.batches] == [2, 2, 1]


def test_circuits_that_wait_go_before_a_hedge(open_hedged: Any) -> None:
    gate = threading.Event()
    stuck, busy = Stuck(), ScriptedExecutor("busy", gate=gate, max_circuits=1)
    cluster = open_hedged([stuck, busy])
    running = cluster.submit([job(busy, 0.2)])
    assert busy.started.wait(PATIENCE)
    waiting = cluster.submit([job(busy, 0.3)])
    hanging = cluster.submit([job(stuck, 0.1)])
    assert stuck.submitted.wait(PATIENCE)
    gate.set()
    assert [future.result(PATIENCE).executor for future in (*running, *waiting, *hanging)] == ["busy"] * 3
    assert angles(busy) == [0.2, 0.3, 0.1]


def test_an_executor_that_cannot_run_the_circuit_is_not_chosen(open_hedged: Any) -> None:
    stuck, small, other = Stuck(), ScriptedExecutor("small", max_shots=10), ScriptedExecutor("other")
    (outcome,) = open_hedged([stuck, small, other]).run([job(stuck, shots=100)])
    assert outcome.executor == "other"
    assert small.batches == []


def test_if_the_second_executor_fails_the_first_goes_on(open_hedged: Any) -> None:
    with listening("executor 'other' failed on 1 circuits") as failed:
        first, other = Until("first", failed), ScriptedExecutor("other", failures=[RuntimeError("no")])
        (outcome,) = open_hedged([first, other]).run([job(first)])
    assert outcome.executor == "first"
    assert len(other.batches) == 1


def test_if_the_first_executor_fails_the_second_goes_on(open_hedged: Any) -> None:
    with listening("executor 'first' failed on 1 circuits") as failed:
        second = Until("second", failed)
        first = Until("first", second.submitted, JobState.FAILED)
        (outcome,) = open_hedged([first, second]).run([job(first)])
    assert (outcome.executor, outcome.attempt) == ("second", 2)
    assert (len(first.jobs), len(second.jobs)) == (1, 1)


def test_if_both_executors_fail_the_circuit_goes_to_a_third(open_hedged: Any) -> None:
    gate = threading.Event()
    with listening("executor 'first' failed on 1 circuits") as failed:
        second = Until("second", failed, JobState.FAILED)
        first = Until("first", second.submitted, JobState.FAILED)
        third = ScriptedExecutor("third", gate=gate)
        cluster = open_hedged([first, second, third], retry={"attempts": 1})
        (busy,) = cluster.submit([job(third, 0.2, follower=Follower())])  # not hedged, and nothing is hedged here
        assert third.started.wait(PATIENCE)
        (future,) = cluster.submit([job(first)])
        assert failed.wait(PATIENCE)
        gate.set()
        assert busy.result(PATIENCE).executor == "third"
        outcome = future.result(PATIENCE)
        assert (outcome.executor, outcome.attempt) == ("third", 3)


def test_if_both_executors_fail_and_there_is_no_other_it_is_an_error(open_hedged: Any) -> None:
    with listening("executor 'first' failed on 1 circuits") as failed:
        second = Until("second", failed, JobState.FAILED)
        first = Until("first", second.submitted, JobState.FAILED)
        cluster = open_hedged([first, second], retry={"attempts": 1})
        with pytest.raises(qexec.ExecutorError, match="burnt"):
            cluster.run([job(first)])


def test_cancelling_reaches_both_backends(open_hedged: Any) -> None:
    first, second = Stuck("first"), Stuck("second")
    (future,) = open_hedged([first, second]).submit([job(first)])
    assert second.submitted.wait(PATIENCE)
    assert future.cancel()
    assert first.stopped.wait(PATIENCE)
    assert second.stopped.wait(PATIENCE)


def test_the_timeout_counts_from_the_submission_and_reaches_both_backends(open_hedged: Any) -> None:
    first, second = Stuck("first"), Stuck("second")
    (future,) = open_hedged([first, second], timeout=0.1).submit([job(first)])
    assert isinstance(future.exception(PATIENCE), qexec.JobTimeoutError)
    assert first.stopped.wait(PATIENCE)
    assert second.stopped.wait(PATIENCE)


def test_closing_reaches_both_backends(open_hedged: Any) -> None:
    first, second = Stuck("first"), Stuck("second")
    cluster = open_hedged([first, second])
    cluster.submit([job(first)])
    assert second.submitted.wait(PATIENCE)
    cluster.close()
    assert (first.cancelled, second.cancelled) == (["first-1"], ["second-1"])


def test_both_attempts_count_for_a_budget(open_hedged: Any) -> None:
    stuck, budget = Stuck(), qexec.Budget(shots=250)
    cluster = open_hedged([stuck, ScriptedExecutor("other")], budget=budget)
    cluster.run([job(stuck, shots=100)])
    cluster.close()
    assert (budget.used.shots, budget.reserved.shots) == (200, 0)


def test_what_a_budget_does_not_allow_is_not_hedged_and_no_error(open_hedged: Any) -> None:
    with listening("is not given to a second one") as refused:
        first, other, budget = Until("first", refused), ScriptedExecutor("other"), qexec.Budget(shots=150)
        cluster = open_hedged([first, other], budget=budget)
        (outcome,) = cluster.run([job(first, shots=100)])
    assert (outcome.executor, outcome.attempt, budget.used.shots) == ("first", 1, 100)
    assert other.batches == []


def test_a_share_that_hangs_is_hedged_as_a_whole_and_no_shot_is_invented(open_hedged: Any) -> None:
    stuck, good = Stuck(), ScriptedExecutor("good")
    cluster = open_hedged([stuck, good], split="uniform")
    circuit = QuantumScript(flip(0.1).operations, [qml.counts(wires=[0])], shots=100)
    (result,) = cluster.execute([circuit])
    assert sum(result.values()) == 100
    assert sorted((row.executor, row.shots) for row in cluster.history) == [("good", 50), ("good", 50)]


def test_a_circuit_that_a_durable_run_follows_is_not_hedged(open_hedged: Any) -> None:
    followed, stuck, other = Until("followed", event := threading.Event()), Stuck(), ScriptedExecutor("other")
    cluster = open_hedged([followed, stuck, other])
    (future,) = cluster.submit([job(followed, 0.2, follower=Follower())])
    assert followed.submitted.wait(PATIENCE)
    cluster.run([job(stuck)])  # which started later, and is hedged
    event.set()
    assert future.result(PATIENCE).executor == "followed"
    assert angles(other) == [0.1]


def test_stragglers_are_found_by_how_long_others_take(open_hedged: Any) -> None:
    stuck, other = Stuck(), ScriptedExecutor("other")
    cluster = open_hedged([stuck, other], hedge={"known": 3, "least": 0.0})
    (hanging,) = cluster.submit([job(stuck)])
    assert stuck.submitted.wait(PATIENCE)
    for _ in range(3):
        assert not hanging.done()
        cluster.run([job(other)])
    assert hanging.result(PATIENCE).executor == "other"
