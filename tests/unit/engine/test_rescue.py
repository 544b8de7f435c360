"""What the engine does about a fault depends on whose it is."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)


class Refusal(Exception):
    """What a provider's client raises for an answer with this status."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"the provider answers {status}")
        self.status_code = status
        self.retry_after = retry_after


class Outage(FakeQPU):
    """Takes jobs, which do not end until it is back, and says whether it is online."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.back = threading.Event()

    def status(self) -> qexec.Status:
        return qexec.Status(online=not self.submitted.is_set() or self.back.is_set())

    def poll(self, job_id: str) -> JobState:
        return super().poll(job_id) if self.back.is_set() else JobState.WAITING


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 3600.0)


def first(circuit: QuantumScript, executors: Sequence[Any]) -> Any:
    """A selector: always the first executor."""
    return executors[0]


def ended(futures: Sequence[Any]) -> list[Any]:
    """The outcomes or errors of futures."""
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    return [future.exception() or future.result() for future in futures]


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("error", [Refusal(401), Refusal(404), qexec.NoAccessError("no account"), ImportError("none")])
def test_an_executor_at_fault_is_set_aside_at_once_and_its_circuits_go_on_together(
    open_cluster: Any, error: Exception
) -> None:
    bad, good = ScriptedExecutor("bad", failures=[error] * 9), ScriptedExecutor("good")
    cluster = open_cluster([bad, good], selector=first, retry=AT_ONCE)
    for _ in range(2):
        assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(6)]), np.cos(0.1 * np.arange(6)))
    assert len(bad.batches) == 1
    assert [len(batch) for batch in good.batches] == [6, 6]


@pytest.mark.usefixtures("long_pauses")
def test_what_waits_for_an_executor_at_fault_goes_on_elsewhere_together(open_cluster: Any) -> None:
    bad, good = ScriptedExecutor("bad", failures=[Refusal(403)] * 9, max_circuits=2), ScriptedExecutor("good")
    cluster = open_cluster([bad, good], retry=AT_ONCE)
    outcomes = ended(cluster.submit([Job(flip(0.1 * index), bad) for index in range(10)]))
    assert [outcome.executor for outcome in outcomes] == ["good"] * 10
    assert (len(bad.batches), [len(batch) for batch in good.batches]) == (1, [10])


@pytest.mark.usefixtures("long_pauses")
def test_what_waits_for_the_only_executor_fails_with_it_rather_than_wait_for_probes(open_cluster: Any) -> None:
    bad = ScriptedExecutor("bad", failures=[Refusal(401)] * 9, max_circuits=1)
    errors = ended(open_cluster([bad], retry=AT_ONCE).submit([Job(flip(0.1), bad) for _ in range(5)]))
    assert len(bad.batches) == 1
    assert all(isinstance(error, qexec.ExecutorError) and error.cause.status_code == 401 for error in errors)
    assert "failed at attempt 1: Refusal" in str(errors[0])
    assert "was set aside before the first attempt: Refusal" in str(errors[-1])


@pytest.mark.parametrize("error", [Refusal(400), MemoryError("too big")])
def test_a_circuit_at_fault_is_found_and_goes_on_alone(open_cluster: Any, error: Exception) -> None:
    bad, good = ScriptedExecutor("bad", failures=[error, None, error]), ScriptedExecutor("good")
    cluster = open_cluster([bad, good], selector=first, retry=AT_ONCE)
    assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(3)]), np.cos(0.1 * np.arange(3)))
    assert [len(batch) for batch in bad.batches] == [3, 1, 1, 1]
    assert [len(batch) for batch in good.batches] == [1]


def test_a_busy_provider_is_asked_again_after_the_time_that_it_asks_for(open_cluster: Any) -> None:
    busy = ScriptedExecutor(failures=[Refusal(429, retry_after=0.05)])
    (outcome,) = ended(open_cluster([busy], retry=AT_ONCE).submit([Job(flip(0.3), busy)]))
    assert outcome.attempt == 2
    assert outcome.started - outcome.submitted >= 0.05


def test_rather_than_wait_longer_than_the_longest_delay_circuits_go_on(open_cluster: Any) -> None:
    busy, good = ScriptedExecutor("busy", failures=[Refusal(429, retry_after=3600)] * 9), ScriptedExecutor("good")
    cluster = open_cluster([busy, good], selector=first, retry=AT_ONCE)
    for _ in range(2):
        assert np.allclose(cluster.execute([flip(0.1), flip(0.2)]), np.cos([0.1, 0.2]))
    assert len(busy.batches) == 1


# -- executors that go offline while circuits wait for them


def test_what_waits_behind_jobs_of_a_backend_that_went_offline_goes_on_elsewhere(open_cluster: Any) -> None:
    out, good = Outage("out", workers=1, max_circuits=2), FakeQPU("good", workers=1)
    cluster = open_cluster([out, good])
    futures = cluster.submit([*[Job(flip(0.1 * index), out) for index in range(6)], Job(flip(0.0), good)])
    assert [outcome.executor for outcome in ended(futures[2:])] == ["good"] * 5
    assert not any(future.done() for future in futures[:2])
    out.back.set()
    assert [outcome.executor for outcome in ended(futures[:2])] == ["out"] * 2
    assert len(out.jobs) == 1


@pytest.mark.slow  # for it is asked every second
def test_it_is_also_noticed_if_nothing_else_happens(open_cluster: Any) -> None:
    out, good = Outage("out", workers=1, max_circuits=2), FakeQPU("good")
    futures = open_cluster([out, good]).submit([Job(flip(0.1 * index), out) for index in range(6)])
    assert [outcome.executor for outcome in ended(futures[2:])] == ["good"] * 4
    out.back.set()
    ended(futures)


def test_without_failover_circuits_wait_until_their_backend_is_back(open_cluster: Any) -> None:
    out, good = Outage("out", workers=1, max_circuits=2), FakeQPU("good")
    cluster = open_cluster([out, good], failover=False)
    futures = cluster.submit([*[Job(flip(0.1 * index), out) for index in range(6)], Job(flip(0.0), good)])
    ended(futures[6:])
    out.back.set()
    assert [outcome.executor for outcome in ended(futures[:6])] == ["out"] * 6


# -- the circuit breaker: executors that are down are probed


class Busy(FakeQPU):
    """Does not take its first jobs, and says that nothing ran then."""

    def __init__(self, times: int, **options: Any) -> None:
        super().__init__("busy", **options)
        self._times = times

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        self._times -= 1
        if self._times >= 0:
            raise ConnectionRefusedError("come back later")
        return super().submit(circuits)

    def ran_nothing(self, error: BaseException) -> bool:
        return isinstance(error, ConnectionRefusedError)


class Clocked(ScriptedExecutor):
    """Notes when each batch came, in seconds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.moments: list[float] = []

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Any]:
        self.moments.append(time.monotonic())
        return super().run(circuits)


@pytest.fixture
def pauses_from_20_ms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.engine.lane.FIRST_PAUSE", 0.02)


@pytest.mark.usefixtures("pauses_from_20_ms")
def test_an_executor_that_is_down_is_probed_with_one_circuit_and_comes_back(open_cluster: Any) -> None:
    down = ScriptedExecutor(failures=[RuntimeError("out of order")] * 5, max_circuits=3)
    cluster = open_cluster([down], retry=qexec.retries.backoff(attempts=9, initial=0))
    outcomes = ended(cluster.submit([Job(flip(0.1 * index), down) for index in range(9)]))
    assert [outcome.result for outcome in outcomes] == pytest.approx(np.cos(0.1 * np.arange(9)))
    first_ones, probes, after = down.batches[:3], down.batches[3:6], down.batches[6:]
    assert [len(batch) for batch in first_ones] == [3, 3, 1]
    assert [len(batch) for batch in probes] == [1, 1, 1]
    assert [len(batch) for batch in after] == [1, 1, 1, 1, 1, 3]


@pytest.mark.usefixtures("pauses_from_20_ms")
def test_circuits_that_were_never_tried_wait_for_the_probe_as_well(open_cluster: Any) -> None:
    down = ScriptedExecutor(failures=[RuntimeError("out of order")] * 3, max_circuits=4)
    cluster = open_cluster([down], retry=qexec.retries.never())
    for _ in range(3):
        ended(cluster.submit([Job(flip(0.1), down)]))
    ended(cluster.submit([Job(flip(0.1), down) for _ in range(9)]))
    assert [len(batch) for batch in down.batches[3:]] == [1, 4, 4]


@pytest.mark.usefixtures("pauses_from_20_ms")
def test_pauses_between_probes_grow(open_cluster: Any) -> None:
    down = Clocked(failures=[RuntimeError("out of order")] * 5, max_circuits=1)
    cluster = open_cluster([down], retry=qexec.retries.backoff(attempts=9, initial=0))
    ended(cluster.submit([Job(flip(0.1), down)]))
    assert all(gap >= pause for gap, pause in zip(np.diff(down.moments)[2:], (0.02, 0.04, 0.08), strict=True))


@pytest.mark.usefixtures("pauses_from_20_ms")
def test_probes_are_charged_as_any_attempt_and_not_twice(open_cluster: Any) -> None:
    down = ScriptedExecutor(failures=[RuntimeError("out of order")] * 5, max_circuits=2, cost={"per_shot": 0.01})
    budget = qexec.Budget(cost=1000)
    cluster = open_cluster([down], retry=qexec.retries.backoff(attempts=9, initial=0), budget=budget)
    ended(cluster.submit([Job(flip(0.1, shots=10), down) for _ in range(6)]))
    asked = sum(len(batch) for batch in down.batches)
    assert budget.used[:2] == (10 * asked, asked)
    assert budget.used.cost == pytest.approx(0.1 * asked)
    assert budget.reserved == (0, 0, 0.0, 0.0)


@pytest.mark.usefixtures("pauses_from_20_ms")
def test_a_probe_that_the_backend_does_not_take_costs_nothing(open_cluster: Any) -> None:
    busy, budget = Busy(5, cost={"per_shot": 0.01}), qexec.Budget(cost=1000)
    cluster = open_cluster([busy], retry=qexec.retries.backoff(attempts=9, initial=0), budget=budget)
    (outcome,) = ended(cluster.submit([Job(flip(0.0, shots=10), busy)]))
    assert (outcome.attempt, len(busy.jobs)) == (6, 1)
    assert budget.used[:2] == (10, 1)
    assert budget.reserved == (0, 0, 0.0, 0.0)


class Hiccup(FakeQPU):
    """Does not take the first submission, for a reason that is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__(polls=1)
        self.error: Exception | None = error
        self.submissions: list[int] = []

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        self.submissions.append(len(circuits))
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().submit(circuits)


@pytest.mark.parametrize("error", [ConnectionError("the line is dead"), Refusal(503)])
def test_after_a_fault_of_the_line_a_batch_is_tried_again_as_one(error: Exception) -> None:
    qpu = Hiccup(error)
    with qexec.QCluster(qpu, retry=AT_ONCE) as cluster:
        cluster.execute([flip(0.1 * place, 10) for place in range(4)])
    assert qpu.submissions == [4, 4]


def test_after_a_fault_that_may_be_of_one_circuit_each_is_tried_by_itself() -> None:
    qpu = Hiccup(RuntimeError("something is wrong with one of them"))
    with qexec.QCluster(qpu, retry=AT_ONCE) as cluster:
        cluster.execute([flip(0.1 * place, 10) for place in range(4)])
    assert qpu.submissions == [4, 1, 1, 1, 1]
