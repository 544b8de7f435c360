"""Every kind of fault of a rehearsal, through a cluster with retries and failover: results and ledgers are right."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import JobState, VirtualClock, retries
from pennylane_qexec.executors import Executor
from pennylane_qexec.executors.rehearsal import Entry
from pennylane_qexec.testing import flip

CERTAIN = [0.0, np.pi, 0.0, np.pi, 0.0, np.pi]
PATIENT = retries.backoff(attempts=6, initial=0)


def qpu(name: str = "qpu", **options: Any) -> qexec.Rehearsal:
    """A rehearsal in virtual time that charges a dollar for each shot."""
    usual = {"queue": (10, 100), "shot_time": 0.01, "cost": {"per_shot": 1.0}, "clock": VirtualClock(), "seed": 4}
    return qexec.Rehearsal("lightning.qubit", name=name, **{**usual, **options})


class Told(qexec.Rehearsal):
    """A rehearsal that says when a job was cancelled: clusters do not wait for that."""

    def __init__(self, inner: str, **options: Any) -> None:
        super().__init__(inner, **options)
        self.cancelled = threading.Event()

    def cancel(self, job_id: str) -> None:
        super().cancel(job_id)
        self.cancelled.set()


def circuits(number: int = 6, shots: int = 10) -> list[QuantumScript]:
    """Circuits that differ, and whose results are certain: 1, -1, 1, ..."""
    return [flip(np.pi * index, shots) for index in range(number)]


def one_by_one(cluster: qexec.QCluster, wanted: Sequence[QuantumScript]) -> list[int]:
    """Run circuits in jobs of their own."""
    return [round(float(cluster.execute([circuit])[0])) for circuit in wanted]


def first(circuit: QuantumScript, executors: Sequence[Executor]) -> Executor:
    """A selector that takes the first executor."""
    return executors[0]


def done(*executors: qexec.Rehearsal) -> list[Entry]:
    """The jobs that are done."""
    return [job for executor in executors for job in executor.ledger if job.state is JobState.DONE]


def assert_nothing_was_done_twice(*executors: qexec.Rehearsal) -> None:
    """Every circuit was done in one job, and charged what was executed."""
    counts = Counter(one for job in done(*executors) for one in job.fingerprints)
    assert set(counts.values()) == {1}
    assert all(job.executed == sum(job.shots) == job.cost and job.fetched for job in done(*executors))


@pytest.mark.parametrize("kind", ["refused", "lost", "failed", "late", "unanswered", "hiccups"])
def test_results_are_right_whatever_goes_wrong(kind: str, open_cluster: Any) -> None:
    executor = qpu(failure_rate={kind: 0.3})
    assert one_by_one(open_cluster([executor], retry=PATIENT), circuits()) == [1, -1, 1, -1, 1, -1]
    assert_nothing_was_done_twice(executor)
    assert len(done(executor)) == 6
    charged = {"lost": 60, "refused": 60, "failed": 10 * len(executor.ledger)}.get(kind, 60)
    assert sum(job.cost for job in executor.ledger) == charged
    assert (len(executor.ledger) > 6) == (kind in ("lost", "failed"))


def test_what_goes_wrong_in_many_ways_at_once_still_ends_well(open_cluster: Any) -> None:
    rates = dict.fromkeys(["refused", "lost", "failed", "late", "unanswered", "hiccups"], 0.15)
    executors = [qpu(f"q{index}", failure_rate=rates, clock=VirtualClock()) for index in range(3)]
    assert one_by_one(open_cluster(executors, retry=PATIENT), circuits(12)) == [1, -1] * 6
    assert_nothing_was_done_twice(*executors)


def test_a_batch_is_one_job(open_cluster: Any) -> None:
    executor = qpu()
    assert [round(float(one)) for one in open_cluster([executor]).execute(circuits())] == [1, -1] * 3
    assert [len(job.shots) for job in executor.ledger] == [6]


def test_an_outage_sends_circuits_to_others(open_cluster: Any) -> None:
    clock = VirtualClock()
    down, up = qpu("down", outages=[(0, 3600)], clock=clock), qpu("up", clock=clock)
    cluster = open_cluster([down, up], selector=first)
    assert one_by_one(cluster, circuits()) == [1, -1] * 3
    assert (len(done(down)), len(done(up))) == (0, 6)
    clock.reach(3600)
    assert one_by_one(cluster, [flip(0.0, 11)]) == [1]
    assert len(done(down)) == 1


def test_what_runs_when_an_outage_begins_fails_and_goes_on_elsewhere(open_cluster: Any) -> None:
    clock = VirtualClock()
    down = qpu("down", queue=0, shot_time=10, outages=[(50, 3600)], outages_kill=True, clock=clock)
    up = qpu("up", queue=0, shot_time=10, clock=clock)
    assert one_by_one(open_cluster([down, up], selector=first, retry=retries.never()), [flip(0.0, 10)]) == [1]
    assert [(job.state, job.executed, job.cost) for job in down.ledger] == [(JobState.FAILED, 5, 0)]
    assert_nothing_was_done_twice(down, up)


def test_when_one_dies_for_good_the_others_take_over(open_cluster: Any) -> None:
    clock = VirtualClock()
    dying, other = qpu("dying", failure_rate={"dies_after": 3}, clock=clock), qpu("other", clock=clock)
    cluster = open_cluster([dying, other], selector=first, retry=retries.backoff(2, initial=0))
    assert one_by_one(cluster, circuits(8)) == [1, -1] * 4
    assert [job.state for job in dying.ledger] == [JobState.DONE] * 3 + [JobState.FAILED]
    assert len(done(other)) == 5
    assert not dying.status().online
    assert_nothing_was_done_twice(dying, other)


def test_a_job_that_is_in_flight_dies_with_its_backend() -> None:
    executor = qpu(failure_rate={"dies_after": 1})
    before = executor.submit([flip(0.0, 10)])
    last = executor.submit([flip(0.1, 10)])
    assert [executor.poll(before), executor.poll(last)] == [JobState.FAILED] * 2
    with pytest.raises(qexec.JobFailedError, match="died"):
        executor.fetch(before)
    with pytest.raises(ConnectionError):
        executor.submit([flip(0.2, 10)])


def test_rejected_circuits_are_not_tried_again_and_go_elsewhere(open_cluster: Any) -> None:
    def has_pi(circuit: QuantumScript) -> bool:
        return bool(circuit.get_parameters() == [np.pi])

    asked: list[QuantumScript] = []

    def picky(circuit: QuantumScript) -> bool:
        asked.append(circuit)
        return has_pi(circuit)

    clock = VirtualClock()
    one, other = qpu("picky", failure_rate={"rejected": picky}, clock=clock), qpu("other", clock=clock)
    assert one_by_one(open_cluster([one, other], selector=first), circuits(3)) == [1, -1, 1]
    assert len(asked) == 3
    assert (len(done(one)), len(done(other))) == (2, 1)


def test_what_a_cluster_gives_up_is_cancelled_in_the_ledger() -> None:
    executor = Told("lightning.qubit", queue=100, clock=VirtualClock(), seed=4)
    executor.poll_interval = 3600  # the clock does not jump before a second poll
    with qexec.QCluster([executor], timeout=0.2) as cluster, pytest.raises(qexec.JobTimeoutError):
        cluster.execute([flip(0.1, 10)])
    assert executor.cancelled.wait(30)
    assert [(job.state, job.executed, job.cost) for job in executor.ledger] == [(JobState.CANCELLED, 0, 0)]


@pytest.mark.parametrize("shots", [10, None])
def test_what_never_ran_is_known_to_have_cost_nothing(shots: int | None) -> None:
    def ran_nothing(kind: str) -> bool:
        executor = qpu(failure_rate={kind: 1.0})
        with pytest.raises((ConnectionError, qexec.JobFailedError)) as raised:
            executor.run([flip(0.0, shots)])
        return executor.ran_nothing(raised.value)

    assert [ran_nothing(kind) for kind in ("lost", "failed", "refused")] == [True, False, True]


def test_a_run_with_faults_and_one_without_have_the_same_results(open_cluster: Any) -> None:
    wanted = [flip(0.1 * index, 50) for index in range(10)]
    rates = {"refused": 0.2, "lost": 0.1, "failed": 0.1, "hiccups": 0.2}
    calm, rough = qpu(), qpu(failure_rate=rates)
    expected = [float(one) for one in open_cluster([calm]).execute(wanted)]
    cluster = open_cluster([rough], retry=PATIENT)
    assert [float(cluster.execute([one])[0]) for one in wanted] == expected


def test_three_days_on_three_machines_pass_in_a_moment(open_cluster: Any) -> None:
    clock = VirtualClock()
    executors = [qpu(f"q{index}", queue=3600, clock=clock) for index in range(3)]
    cluster = open_cluster(executors)
    one_by_one(cluster, [flip(0.01 * index) for index in range(72)])
    assert clock.now() == pytest.approx(3 * 86_400)
    assert [len(done(executor)) for executor in executors] == [24, 24, 24]


def test_one_thread_finds_the_same_times_in_every_run(open_cluster: Any) -> None:
    def run() -> list[list[Entry]]:
        clock = VirtualClock()
        executors = [qpu(f"q{index}", failure_rate={"lost": 0.2, "late": 0.3}, clock=clock) for index in range(2)]
        one_by_one(open_cluster(executors, retry=PATIENT), circuits(10))
        return [executor.ledger for executor in executors]

    assert run() == run()


def test_polls_and_questions_are_counted_by_one_thread_at_a_time() -> None:
    executor = qpu()
    cloud = executor._backend

    class Watched:
        """A job that notes whether the lock of its fields was held when they were changed."""

        def __init__(self, record: Any) -> None:
            object.__setattr__(self, "record", record)
            object.__setattr__(self, "held", [])
            object.__setattr__(self, "polls", 0)
            object.__setattr__(self, "asked", 0)

        def __setattr__(self, name: str, value: Any) -> None:
            with ThreadPoolExecutor(1) as other:
                free = other.submit(cloud._lock.acquire, blocking=False).result()
            self.held.append((name, value, not free))

    job: Any = Watched(cloud.get(executor.submit([flip(0.0, 10)])).record)
    cloud.answers(job)
    cloud.answers_with_results(job)
    assert job.held == [("polls", 1, True), ("asked", 1, True)]
