"""Rehearsals by themselves: their time, their chance, their drift, their ledger. All time is virtual."""

from __future__ import annotations

import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import JobState, VirtualClock
from pennylane_qexec.executors.rehearsal import Drift, Faults, lognormal, read_ledger
from pennylane_qexec.testing import flip

DAY = 86_400.0


def qpu(inner: Any = "lightning.qubit", **options: Any) -> qexec.Rehearsal:
    """A rehearsal in virtual time, with a seed."""
    return qexec.Rehearsal(inner, **{"clock": VirtualClock(), "seed": 1, "name": "qpu", **options})


def drawn(shots: int = 20, angle: float = 1.0) -> QuantumScript:
    """A circuit whose samples show which random numbers they were drawn by."""
    return QuantumScript([qml.RX(angle, 0)], [qml.sample(wires=[0])], shots=shots)


def finish(executor: qexec.Rehearsal, job_id: str) -> JobState:
    """Poll a job until it has ended."""
    while not (state := executor.poll(job_id)).final:
        pass
    return state


def bits(results: Any) -> list[tuple[int, ...]]:
    """Samples that can be compared."""
    return [tuple(np.ravel(result).astype(int).tolist()) for result in results]


def test_a_job_waits_then_runs_then_is_done() -> None:
    clock = VirtualClock()
    executor = qpu(queue=100, overhead=5, shot_time=0.1, circuit_time=1, clock=clock)
    executor.run([flip(0.0, 20), flip(np.pi, 30)])
    (job,) = executor.ledger
    assert (job.submitted, job.started, job.ended) == (0, 100, pytest.approx(112))
    assert clock.now() == job.ended
    assert (job.state, job.executed, job.shots, job.fetched) == (JobState.DONE, 50, (20, 30), True)


def test_states_follow_the_clock() -> None:
    clock = VirtualClock()
    executor = qpu(queue=10, overhead=10, clock=clock)
    job_id = executor.submit([flip(0.0, 10)])
    states = []
    for _ in range(3):
        states.append(executor.poll(job_id))
        clock.advance(10)
    assert states == [JobState.WAITING, JobState.RUNNING, JobState.DONE]


def test_three_days_of_jobs_that_wait_in_line_pass_at_once() -> None:
    clock = VirtualClock()
    executor = qpu(overhead=3600, capacity=2, clock=clock)
    ids = [executor.submit([flip(0.1 * index)]) for index in range(144)]
    for job_id in ids:
        finish(executor, job_id)
        executor.fetch(job_id)
    assert clock.now() == 3 * DAY


def test_with_a_capacity_of_one_no_two_jobs_run_at_the_same_time() -> None:
    executor = qpu(queue=(0, 100), overhead=(1, 50))
    for index in range(30):
        finish(executor, executor.submit([flip(0.1 * index, 10)]))
    runs = sorted((job.started, job.ended) for job in executor.ledger)
    assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(runs))


def test_the_clock_stands_while_results_wait_to_be_fetched() -> None:
    clock = VirtualClock()
    first, second = (qpu(queue=wait, clock=clock, name=f"q{wait}") for wait in (10, 1000))
    one, other = first.submit([flip(0.1, 10)]), second.submit([flip(0.2, 10)])
    for _ in range(5):
        second.poll(other)
    assert clock.now() == 10
    first.fetch(one)
    for _ in range(3):
        second.poll(other)
    assert clock.now() == 1000


def test_a_job_that_nobody_fetches_does_not_stop_the_clock_for_good() -> None:
    clock = VirtualClock()
    executor = qpu(queue=(10, 1000), capacity=None, clock=clock)
    for index in range(5):
        executor.submit([flip(0.1 * index, 10)])
    finish(executor, executor.submit([flip(0.9, 10)]))
    assert clock.now() == executor.ledger[-1].ended


@pytest.mark.parametrize("value", [-1, "soon", (1,), (3, 2), float("inf"), True])
def test_times_that_make_no_sense_are_refused(value: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="queue="):
        qpu(queue=value)


@pytest.mark.parametrize(
    "options",
    [
        {"failure_rate": 1.5},
        {"failure_rate": {"lots": 0.1}},
        {"outages": [(2, 1)]},
        {"outages": [(0, 5), (4, 6)]},
        {"outages": [3]},
        {"drift": 0.1},
        {"drift": {"per_year": 1}},
        {"drift": {"most": 2}},
        {"clock": "fake"},
        {"capacity": 0},
        {"qubits": 2.5},
        {"seed": -1},
        {"inner": {"type": "aer", "seed": 3}},
        {"inner": "no.such.device"},
        {"failure_rate": {"dies_after": -1}},
        {"failure_rate": {"rejected": 3}},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(qexec.ConfigurationError):
        qpu(**options)


def test_lognormal_queues_have_their_median() -> None:
    """The logarithm of the median of 2001 draws is within 5 sigma: 5 * 1.2533 / sqrt(2001) is 0.14."""
    rng = np.random.default_rng(0)
    draw = lognormal(600, 1.0)
    assert np.log(np.median([draw(rng) for _ in range(2001)]) / 600) == pytest.approx(0, abs=0.14)


def test_one_seed_gives_the_same_times_and_results_in_any_order_and_batches() -> None:
    circuits = [drawn(20, 0.1 * index) for index in range(6)]
    together, alone = qpu(queue=(0, 100)), qpu(queue=(0, 100), capacity=None)
    results = together.run(circuits)
    backwards = [alone.run([circuit])[0] for circuit in reversed(circuits)]
    assert bits(results) == bits(reversed(backwards))
    again = qpu(queue=(0, 100), capacity=None)
    for circuit in circuits:
        again.run([circuit])
    waits = {job.fingerprints: pytest.approx(job.started - job.submitted) for job in alone.ledger}
    assert {job.fingerprints: job.started - job.submitted for job in again.ledger} == waits
    assert len({wait.expected for wait in waits.values()}) == 6


@pytest.mark.parametrize("inner", ["default.qubit", "lightning.qubit", "aer", {"type": "default.mixed", "wires": 2}])
def test_seeds_reach_inner_executors_that_are_specs(inner: Any) -> None:
    assert bits(qpu(inner).run([drawn()])) == bits(qpu(inner).run([drawn()]))
    assert bits(qpu(inner).run([drawn()])) != bits(qpu(inner, seed=2).run([drawn()]))


def test_equal_circuits_draw_numbers_of_their_own() -> None:
    executor = qpu()
    results = bits([*executor.run([drawn()] * 3), *executor.run([drawn()])])
    assert len(set(results)) == 4
    assert results == bits(qpu().run([drawn()] * 4))


def test_what_a_failed_job_would_have_drawn_is_drawn_by_the_next_one() -> None:
    failing, calm = qpu(failure_rate=1.0), qpu(queue=10)
    with pytest.raises(qexec.JobFailedError):
        failing.run([drawn()])
    job_id = calm.submit([drawn()])
    calm.cancel(job_id)
    assert bits(calm.run([drawn()])) == bits(qpu().run([drawn()]))
    assert failing.ledger[0].executed == 20


def test_threads_change_nothing_in_the_results() -> None:
    executor, circuits = qpu(queue=(0, 9)), [drawn(20, 0.1 * index) for index in range(12)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda circuit: executor.run([circuit])[0], circuits))
    assert bits(results) == bits(qpu().run(circuits))


def test_names_and_streams_tell_random_numbers_apart() -> None:
    def run(**options: Any) -> Any:
        return bits(qpu(**options).run([drawn()]))

    assert run(name="a") != run(name="b")
    assert run(name="a", stream="s") == run(name="b", stream="s")


def test_an_executor_given_as_an_object_is_used_as_it_is() -> None:
    inner = qexec.executor("default.qubit", seed=5)
    executor = qpu(inner, name=None)
    assert executor.name == "rehearsal:default.qubit"
    assert executor.backend == "default.qubit"
    assert bits(executor.run([drawn()])) == bits(qexec.executor("default.qubit", seed=5).run([drawn()]))


def test_executors_that_take_no_seed_run_too() -> None:
    members = ["default.qubit", "lightning.qubit"]
    assert float(qpu({"type": "hybrid", "members": members}).run([flip(0.0, 10)])[0]) == 1


def test_the_shots_of_the_inner_executor_are_those_that_count() -> None:
    executor = qpu(qexec.Simulator("default.qubit", shots=70))
    executor.run([flip(0.3, 5)])
    assert executor.ledger[0].shots == (70,)


def test_a_string_makes_one() -> None:
    executor = qexec.executor("rehearsal:default.qubit", seed=1, wires=2)
    assert isinstance(executor, qexec.Rehearsal)
    assert (executor.name, executor.backend, len(executor.wires or ())) == (
        "rehearsal:default.qubit",
        "default.qubit",
        2,
    )


def test_drift_flips_more_and_more_bits() -> None:
    """Each of 4000 shots of |0> is read as 1 with the job's probability; 5 sigma of 0.2 are 0.032."""
    executor = qpu(drift=Drift(start=0.0, per_job=0.1, most=0.2))
    circuit = QuantumScript([qml.I(0)], [qml.probs(wires=[0])], shots=4000)
    read = [float(executor.run([circuit])[0][1]) for _ in range(4)]
    assert read[0] == 0
    assert np.allclose(read, [0, 0.1, 0.2, 0.2], atol=0.032)


def test_drift_grows_with_time() -> None:
    """5 sigma of 2000 shots at 0.25 are 0.049."""
    clock = VirtualClock()
    executor = qpu(drift={"per_second": 0.25 / DAY}, clock=clock)
    clock.advance(DAY)
    circuit = QuantumScript([qml.I(0)], [qml.expval(qml.Z(0))], shots=2000)
    assert float(executor.run([circuit])[0]) == pytest.approx(0.5, abs=0.098)


@pytest.mark.parametrize(
    ("measurements", "sizes"),
    [
        ([qml.counts(wires=[0, 1])], 300),
        ([qml.counts(wires=[0, 1], all_outcomes=True)], 300),
    ],
)
def test_drift_keeps_the_shots(measurements: Any, sizes: int) -> None:
    circuit = QuantumScript([qml.H(0), qml.CNOT([0, 1])], measurements, shots=300)
    (counts,) = qpu(drift={"start": 0.3}).run([circuit])
    assert sum(counts.values()) == sizes
    assert len(counts) == 4


def test_with_drift_all_kinds_of_results_have_their_form() -> None:
    measured = [qml.expval(qml.X(0)), qml.var(qml.Z(1)), qml.sample(wires=[0, 1]), qml.probs(wires=[1])]
    circuit = QuantumScript([qml.H(0), qml.CNOT([0, 1])], measured, shots=(40, 60))
    (drifted,) = qpu("default.qubit", drift={"start": 0.1}).run([circuit])
    (plain,) = qpu("default.qubit").run([circuit])
    assert [[np.shape(one) for one in part] for part in drifted] == [[np.shape(one) for one in part] for part in plain]


def test_without_probability_drift_changes_no_result() -> None:
    circuit = QuantumScript([qml.RX(0.7, 0)], [qml.expval(qml.Z(0)), qml.counts(wires=[0])], shots=100)
    (drifted,), (plain,) = qpu(drift={"start": 0.0}).run([circuit]), qpu().run([circuit])
    assert drifted == plain


def test_drift_refuses_analytic_circuits() -> None:
    executor = qpu(drift={"start": 0.1})
    assert "circuit has none" in str(executor.rejects(flip(0.1)))
    with pytest.raises(ValueError, match="drift"):
        executor.submit([flip(0.1)])


def test_jobs_are_charged_for_what_they_run() -> None:
    executor = qpu(overhead=10, queue=5, cost={"per_shot": 0.01, "per_circuit": 1.0, "per_second": 0.1})
    executor.run([flip(0.1, 50), flip(0.2, 50)])
    assert executor.ledger[0].cost == pytest.approx(1 + 2 + 1)


def test_a_job_that_is_cancelled_while_it_runs_is_charged_for_what_it_has_run() -> None:
    clock = VirtualClock()
    executor = qpu(queue=100, shot_time=1, cost={"per_shot": 0.01}, clock=clock)
    running = executor.submit([flip(0.1, 100)])
    waiting = executor.submit([flip(0.2, 100)])
    clock.advance(125)
    executor.cancel(running)
    executor.cancel(waiting)
    first, second = executor.ledger
    assert (first.state, first.executed, first.cost) == (JobState.CANCELLED, 25, pytest.approx(0.25))
    assert (second.state, second.executed, second.cost, second.started) == (JobState.CANCELLED, 0, 0, None)
    with pytest.raises(qexec.JobCancelledError):
        executor.fetch(running)


def test_cancelling_a_job_that_is_done_changes_nothing() -> None:
    executor = qpu()
    job_id = executor.submit([flip(0.0, 10)])
    executor.cancel(job_id)
    assert executor.poll(job_id) is JobState.DONE
    assert float(executor.fetch(job_id)[0]) == 1


def test_the_ledgers_file_says_what_the_ledger_says(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    executor = qpu(ledger=path, queue=10, cost={"per_shot": 1.0}, failure_rate={"lost": 0.5})
    for index in range(10):
        job_id = executor.submit([flip(0.1 * index, 10)])
        if index == 2:
            executor.cancel(job_id)
        elif finish(executor, job_id) is JobState.DONE:
            executor.fetch(job_id)
    assert read_ledger(path) == executor.ledger
    assert {job.state for job in executor.ledger} == {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


def test_a_line_that_was_not_finished_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    qpu(ledger=path).run([flip(0.1, 10)])
    with path.open("a") as file:
        file.write('{"event": "subm')
    assert len(read_ledger(path)) == 1
    qpu(ledger=path, name="next").run([flip(0.1, 10)])
    assert [job.job_id for job in read_ledger(path)] == ["qpu-1", "next-1"]


def test_its_status_is_what_waits_and_for_how_long() -> None:
    executor = qpu(queue=10, overhead=100)
    assert executor.status() == qexec.Status(True, 0, 10)
    for index in range(3):
        executor.submit([flip(0.1 * index, 10)])
    assert executor.status() == qexec.Status(True, 3, 310)


def test_in_an_outage_nothing_is_taken_and_what_runs_waits() -> None:
    clock = VirtualClock()
    executor = qpu(overhead=100, outages=[(50, 80)], clock=clock)
    job_id = executor.submit([flip(0.0, 10)])
    clock.advance(60)
    assert not executor.status().online
    with pytest.raises(ConnectionError, match="offline"):
        executor.submit([flip(0.1, 10)])
    clock.advance(69)
    assert executor.poll(job_id) is JobState.RUNNING
    clock.advance(1)
    assert executor.poll(job_id) is JobState.DONE
    assert executor.status().online


def test_outages_that_kill_end_what_runs() -> None:
    executor = qpu(shot_time=1, cost={"per_shot": 1.0}, outages=[(50, 80)], outages_kill=True)
    with pytest.raises(qexec.JobFailedError, match="went down"):
        executor.run([flip(0.0, 100)])
    assert [(job.executed, job.cost, job.ended) for job in executor.ledger] == [(50, 0, 50)]


def test_one_that_dies_at_a_time_stays_dead() -> None:
    clock = VirtualClock()
    executor = qpu(overhead=60, failure_rate={"dies_at": 100}, clock=clock)
    executor.run([flip(0.0, 10)])
    with pytest.raises(qexec.JobFailedError, match="died"):
        executor.run([flip(0.0, 10)])
    assert clock.now() == 100
    clock.advance(DAY)
    assert not executor.status().online


def test_circuits_that_are_too_wide_are_refused_before_and_after() -> None:
    executor, wide = qpu(qubits=1), QuantumScript([qml.CNOT([0, 1])], [qml.probs(wires=[0])], shots=10)
    assert executor.rejects(wide) == "has 1 qubits"
    with pytest.raises(ValueError, match="has 1 qubits"):
        executor.submit([wide])


def test_an_unknown_job_is_refused() -> None:
    with pytest.raises(qexec.ConfigurationError, match="no job has the id 'x'"):
        qpu().poll("x")


def test_a_job_that_goes_on_cannot_be_fetched() -> None:
    executor = qpu(queue=10)
    with pytest.raises(ConnectionError, match="waiting"):
        executor.fetch(executor.submit([flip(0.1, 10)]))


def test_it_cannot_be_sent_to_another_process() -> None:
    with pytest.raises(TypeError, match="folder="):
        pickle.dumps(qpu())


def _rate(kind: str, rate: float, jobs: int = 200) -> tuple[float, float]:
    """How often a fault has happened in so many jobs, and one standard deviation of that."""
    executor = qpu("default.qubit", failure_rate=Faults(**{kind: rate}), capacity=None)
    happened = 0
    for index in range(jobs):
        try:
            job_id = executor.submit([flip(0.01 * index)])
            finish(executor, job_id)
            executor.fetch(job_id)
        except (ConnectionError, qexec.JobFailedError):
            happened += 1
    return happened / jobs, float(np.sqrt(rate * (1 - rate) / jobs))


@pytest.mark.parametrize("kind", ["refused", "lost", "failed", "unanswered"])
def test_faults_are_as_frequent_as_they_should_be(kind: str) -> None:
    """Within 4 sigma."""
    rate, sigma = _rate(kind, 0.2)
    assert rate == pytest.approx(0.2, abs=4 * sigma)


def test_polls_hiccup_as_often_as_they_should() -> None:
    """400 polls at a rate of 0.2: within 4 sigma, 0.08."""
    clock = VirtualClock()
    executor = qpu(queue=DAY, failure_rate={"hiccups": 0.2}, clock=clock)
    happened = 0
    for index in range(400):
        job_id = executor.submit([flip(0.01 * index, 1)])
        try:
            executor.poll(job_id)
        except ConnectionError:
            happened += 1
    assert happened / 400 == pytest.approx(0.2, abs=0.08)


def test_late_jobs_run_on_after_they_have_run() -> None:
    executor = qpu(overhead=10, failure_rate={"late": 1.0, "delay": 90})
    executor.run([flip(0.1, 10)])
    assert executor.ledger[0].ended == 100


def test_two_threads_share_one_virtual_clock() -> None:
    clock = VirtualClock()
    executors = [qpu(queue=(0, DAY), clock=clock, name=f"q{index}") for index in range(2)]
    barrier = threading.Barrier(2)

    def use(executor: qexec.Rehearsal) -> int:
        barrier.wait()
        return sum(round(float(executor.run([flip(0.0, 10)])[0])) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(use, executors)) == [20, 20]
    assert clock.now() >= max(job.ended or 0 for executor in executors for job in executor.ledger)
