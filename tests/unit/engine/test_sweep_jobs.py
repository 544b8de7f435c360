"""Jobs of sweeps: their rows are treated as circuits are, by limits, failures, budgets, histories and seeds."""

from __future__ import annotations

import concurrent.futures
import pickle
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.engine import placement, process_pool, records
from pennylane_qexec.engine.worker import complete, perform
from pennylane_qexec.job import Affinity, Job, JobState, Result, Sweep, Work
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 20.0  # seconds after which a test that hangs fails
FOREVER = 3600.0  # seconds: a batching window that a test never sees the end of
AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)
ANGLES = 0.1 * np.arange(49)


class Native(ScriptedExecutor):
    """Takes sweeps as they are.

    Attributes:
        sweeps: how many rows each had.
    """

    def __init__(self, name: str = "native", **options: Any) -> None:
        super().__init__(name, **options)
        self.sweeps: list[int] = []

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        self.sweeps.append(len(sweep))
        return self.run(sweep.circuits())


class Picky(ScriptedExecutor):
    """Fails on whole batches because of circuits in them, those with these angles."""

    def __init__(self, *angles: float, error: Exception, local: bool = False, **options: Any) -> None:
        super().__init__("picky", **options)
        self._angles = angles
        self._error = error
        self._local = local

    @property
    def local(self) -> bool:
        return self._local

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        if any(circuit.operations[0].data[0] in self._angles for circuit in circuits):
            self.batches.append(tuple(circuits))
            raise self._error
        return super().run(circuits)


class Returns(qexec.Executor):
    """Returns what it was told to for each sweep."""

    def __init__(self, *rows: Any, local: bool = False, **options: Any) -> None:
        super().__init__("returns", **options)
        self._rows = rows
        self._local = local

    @property
    def local(self) -> bool:
        return self._local

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        raise AssertionError("it runs sweeps")

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        return list(self._rows)


class Until(ScriptedExecutor):
    """Waits until an event is set, for those batches that are not the first."""

    def __init__(self, event: threading.Event, **options: Any) -> None:
        super().__init__("until", **options)
        self._event = event
        self.second = threading.Event()

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        if self.batches:
            self.second.set()
            self._event.wait()
        return super().run(circuits)


class Follower:
    """Follows jobs, and remembers which were sent."""

    label = "label"
    may_be_there = False

    def __init__(self) -> None:
        self.followed: list[int] = []

    @contextmanager
    def sending(self, jobs: Sequence[Job], executor: Any) -> Any:
        self.followed += [job.rows for job in jobs]
        yield self

    def sent(self, remote_id: str) -> None:
        pass

    def leaves(self, jobs: Sequence[Job]) -> bool:
        return False


def sweep(angles: Any = ANGLES, shots: int | None = None) -> Sweep:
    one = sweep_of_circuit(flip(0.0, shots))
    assert one is not None
    return replace(one, parameters=np.array(angles, dtype=float)[:, None])


def job(executor: Any, angles: Any = ANGLES, shots: int | None = None, **options: Any) -> Job:
    rows = sweep(angles, shots)
    return Job(rows.template, executor, sweep=rows, **options)


def sizes(executor: Any) -> list[int]:
    return [len(batch) for batch in executor.batches]


def check(outcome: Any, angles: Any = ANGLES) -> None:
    assert outcome.result == pytest.approx(np.cos(angles))


def total(cluster: qexec.QCluster, name: str) -> Any:
    return sum(getattr(row, name) for row in cluster.history)


# Batches


def test_a_sweep_is_one_batch_and_its_result_is_the_list_of_those_of_its_rows(open_cluster: Any) -> None:
    executor = Native()
    (outcome,) = open_cluster([executor]).run([job(executor)])
    check(outcome)
    assert executor.sweeps == [49]


def test_sweeps_share_a_batch_with_sweeps_and_not_with_circuits(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    jobs = [job(executor), job(executor, ANGLES[:3]), Job(flip(0.5), executor), job(executor, ANGLES[:2])]
    first, second, third, fourth = open_cluster([executor]).run(jobs)
    assert sizes(executor) == [52, 1, 2]
    check(first)
    check(second, ANGLES[:3])
    check(fourth, ANGLES[:2])
    assert float(third.result) == pytest.approx(np.cos(0.5))


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"), [({"max_circuits": 20}, [20, 20, 9]), ({"max_shots": 1000}, [10, 10, 10, 10, 9])], ids=str
)
def test_a_sweep_that_is_too_large_for_a_batch_runs_in_parts(
    open_cluster: Any, options: dict[str, int], expected: list[int], local: bool
) -> None:
    executor = Picky(error=RuntimeError(), local=local, **options)
    cluster = open_cluster([executor])
    (outcome,) = cluster.run([job(executor, np.pi * np.arange(49), shots=100)])
    assert [round(value) for value in outcome.result] == [1 - 2 * (row % 2) for row in range(49)]
    assert sizes(executor) == expected
    assert (outcome.shots, outcome.circuits, executor.load().waiting) == (4900, 49, 0)


def test_what_is_left_of_a_sweep_shares_a_batch_with_the_next(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=60)
    for outcome in open_cluster([executor]).run([job(executor) for _ in range(3)]):
        check(outcome)
    assert sizes(executor) == [60, 60, 27]


def test_a_large_sweep_runs_in_chunks(open_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_MOST_MADE", 10)
    monkeypatch.setattr(placement, "_MOST_ROWS", 30)
    bound, native = ScriptedExecutor("bound"), Native()
    cluster = open_cluster([bound, native])
    for outcome in cluster.run([job(bound), job(native)]):
        check(outcome)
    assert sizes(bound) == [10, 10, 10, 10, 9]
    assert native.sweeps == [30, 19]


def test_a_backend_with_a_queue_gets_sweeps_as_one_job(open_cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_MOST_MADE", 10)
    qpu = FakeQPU()
    for outcome in open_cluster([qpu]).run([job(qpu), job(qpu)]):
        check(outcome)
    assert [len(circuits) for circuits in qpu.jobs.values()] == [98]


def test_rows_end_the_window(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=50, batch_window=FOREVER)
    cluster = open_cluster([executor])
    futures = [future for _ in range(2) for future in cluster.submit([job(executor, ANGLES[:25])])]
    for future in futures:
        check(future.result(PATIENCE), ANGLES[:25])
    assert sizes(executor) == [50]


def test_several_workers_share_a_sweep(open_cluster: Any) -> None:
    executor = ScriptedExecutor(workers=3)
    (outcome,) = open_cluster([executor]).run([job(executor)])
    check(outcome)
    assert sorted(sizes(executor)) == [4, 9, 9, 9, 9, 9]


def test_whoever_is_free_takes_a_part_of_a_sweep(open_cluster: Any) -> None:
    executors = [ScriptedExecutor("one"), ScriptedExecutor("two")]
    (outcome,) = open_cluster(executors, selector="least_loaded").run([job(None)])
    check(outcome)
    assert sum(map(sum, map(sizes, executors))) == 49
    assert min(map(len, map(sizes, executors))) > 0


def test_sweeps_that_belong_together_stay_whole(open_cluster: Any) -> None:
    executors = [ScriptedExecutor("one"), ScriptedExecutor("two")]
    affinity = Affinity()
    cluster = open_cluster(executors, selector="least_loaded")
    for outcome in cluster.run([job(None, affinity=affinity) for _ in range(3)]):
        check(outcome)
    assert sorted(map(sum, map(sizes, executors))) == [0, 147]


def test_waiting_rows_are_counted(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    futures = cluster.submit([job(executor)])
    assert executor.started.wait(PATIENCE)
    futures += cluster.submit([job(executor, ANGLES[:5])])
    gate.set()
    concurrent.futures.wait(futures, PATIENCE)
    assert executor.load().waiting == 0
    assert executor.load().circuits_per_second > 0


def test_one_sweep_of_heavy_circuits_does_not_run_in_the_calling_thread() -> None:
    executor = qexec.executor("lightning.qubit")
    circuit = QuantumScript([qml.RX(0.1, wire) for wire in range(20)], [qml.expval(qml.Z(0))])
    assert placement.seconds(executor, (circuit,), 49) == pytest.approx(49 * placement.seconds(executor, (circuit,)))
    assert placement.uses_processes(executor, (circuit,), 49)


# Cancellation, timeouts


@pytest.mark.parametrize("options", [{}, {"max_circuits": 20}], ids=str)
def test_a_sweep_is_cancelled_with_all_its_parts(open_cluster: Any, options: dict[str, int]) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, **options)
    budget = qexec.Budget(circuits=49)
    cluster = open_cluster([executor], budget=budget)
    (future,) = cluster.submit([job(executor)])
    assert executor.started.wait(PATIENCE)
    assert future.started is not None
    assert future.cancel()
    gate.set()
    cluster.close()
    assert len(executor.batches) == 1
    assert {row.state for row in cluster.history} == {JobState.CANCELLED}
    assert len(cluster.history) == 49
    assert executor.load().waiting == 0


def test_closing_cancels_parts(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = Until(gate, max_circuits=20)
    cluster = open_cluster([executor])
    (future,) = cluster.submit([job(executor)])
    assert executor.second.wait(PATIENCE)
    threading.Thread(target=cluster.close).start()
    with pytest.raises(qexec.JobCancelledError):
        future.result(PATIENCE)
    gate.set()
    assert sorted(row.state for row in cluster.history) == [JobState.CANCELLED] * 29 + [JobState.DONE] * 20


def test_a_sweep_times_out_with_all_its_parts(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, max_circuits=20)
    with pytest.raises(qexec.JobTimeoutError, match="scripted"):
        open_cluster([executor], timeout=0.01).run([job(executor)])
    gate.set()


# Failures


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("error", "attempt"), [(RuntimeError("a bad moment"), 8), (ValueError("a bad circuit"), 1)])
def test_a_bad_row_is_found_by_halves_and_named(open_cluster: Any, error: Exception, attempt: int, local: bool) -> None:
    executor = Picky(ANGLES[17], error=error, local=local)
    cluster = open_cluster([executor], retry=AT_ONCE)
    with pytest.raises(qexec.ExecutorError, match="on row 17 of a sweep") as raised:
        cluster.run([job(executor)])
    assert (raised.value.row, raised.value.attempt, raised.value.cause) == (17, attempt, error)
    assert pickle.loads(pickle.dumps(raised.value)).row == 17
    assert len(executor.batches) <= 14
    failed = [row for row in cluster.history if row.state is JobState.FAILED]
    assert [row.fingerprint for row in failed] == [fingerprint(sweep().circuit(17))]


def test_what_has_succeeded_is_not_run_again(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[None, RuntimeError("once")], max_circuits=20)
    cluster = open_cluster([executor], retry=AT_ONCE)
    (outcome,) = cluster.run([job(executor)])
    check(outcome)
    assert sizes(executor) == [20, 20, 10, 10, 9] or sizes(executor) == [20, 20, 9, 10, 10]
    assert outcome.attempt == 2


def test_a_lost_line_is_no_row_s_fault_and_the_sweep_stays_whole(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[ConnectionError("gone")] * 2)
    (outcome,) = open_cluster([executor], retry=AT_ONCE).run([job(executor)])
    check(outcome)
    assert sizes(executor) == [49] * 3
    assert outcome.attempt == 3


def test_a_sweep_fails_over_as_a_sweep(open_cluster: Any) -> None:
    trap = ScriptedExecutor("trap", failures=[ImportError("no such module")] * 9)
    native = Native()
    (outcome,) = open_cluster([trap, native]).run([job(trap)])
    check(outcome)
    assert (sizes(trap), native.sweeps, outcome.executor) == ([49], [49], "native")


def test_only_the_rows_that_an_executor_cannot_do_fail_over(open_cluster: Any) -> None:
    picky, native = Picky(ANGLES[17], error=ValueError("not here")), Native()
    cluster = open_cluster([picky, native])
    (outcome,) = cluster.run([job(picky)])
    check(outcome)
    assert native.sweeps == [1]
    assert [row.executor for row in cluster.history].count("native") == 1


@pytest.mark.parametrize("limit", [None, 7])
def test_parts_fail_over_to_executors_with_other_limits(open_cluster: Any, limit: int | None) -> None:
    trap = ScriptedExecutor("trap", failures=[ImportError("no such module")] * 9, max_circuits=20)
    other = ScriptedExecutor("other", max_circuits=limit)
    (outcome,) = open_cluster([trap, other]).run([job(trap)])
    check(outcome)
    assert max(sizes(other)) <= (limit or 49)


def test_budgets_count_rows_and_every_attempt_at_them(open_cluster: Any) -> None:
    budget = qexec.Budget(circuits=1000, shots=100_000)
    executor = Picky(ANGLES[17], error=RuntimeError("a bad moment"))
    cluster = open_cluster([executor], retry=AT_ONCE, budget=budget)
    with pytest.raises(qexec.ExecutorError):
        cluster.run([job(executor, shots=100)])
    run = sum(sizes(executor))
    assert (budget.used.circuits, budget.used.shots) == (run, 100 * run)
    assert (budget.left.circuits, budget.left.shots) == (1000 - run, 100_000 - 100 * run)
    assert cluster.history.totals[:2] == (run, 100 * run)


@pytest.mark.parametrize("options", [{}, {"max_circuits": 20}], ids=str)
def test_a_sweep_reserves_what_its_rows_need(open_cluster: Any, options: dict[str, int]) -> None:
    executor = ScriptedExecutor(**options)
    budget = qexec.Budget(circuits=100)
    cluster = open_cluster([executor], budget=budget)
    cluster.run([job(executor)])
    assert budget.used.circuits == 49
    cluster.run([job(executor)])
    with pytest.raises(qexec.BudgetExceededError):
        cluster.run([job(executor, ANGLES[:3])])
    assert budget.used.circuits == 98


def test_parts_that_wait_give_back_what_they_reserve_when_the_sweep_is_cancelled(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, max_circuits=20)
    budget = qexec.Budget(circuits=49)
    cluster = open_cluster([executor], budget=budget)
    (future,) = cluster.submit([job(executor)])
    assert executor.started.wait(PATIENCE)
    future.cancel()
    assert budget.left.circuits == 29
    gate.set()


# Results


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_wrong_number_of_rows_is_an_error_that_says_how_many(open_cluster: Any, number: int, local: bool) -> None:
    executor = Returns(*[0.5] * number, local=local)
    cluster = open_cluster([executor], retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError, match=f"{number} results were returned for the 3 circuits of a sweep"):
        cluster.run([job(executor, ANGLES[:3])])


@pytest.mark.parametrize("value", [None, np.nan, "0.5", np.array([0.5, 0.5]), np.array(np.inf), {"0": 1}], ids=str)
@pytest.mark.parametrize("place", [0, 2])
def test_a_malformed_result_of_a_row_is_refused(open_cluster: Any, value: Any, place: int) -> None:
    rows: list[Any] = [0.5, 0.5, 0.5]
    rows[place] = value
    executor = Returns(*rows)
    with pytest.raises(qexec.ExecutorError):
        open_cluster([executor], retry=qexec.retries.never()).run([job(executor, ANGLES[:3])])


@pytest.mark.parametrize(
    ("measurements", "good", "bad"),
    [
        ([qml.expval(qml.Z(0)), qml.var(qml.Z(0))], (0.5, np.array(0.1)), [(0.5,), (0.5, np.nan), (0.5, "a"), 0.5]),
        ([qml.probs(wires=0)], np.array([0.5, 0.5]), [np.array([0.5, 0.6]), np.array([]), "0.5"]),
        ([qml.counts(wires=0)], {"0": 10}, [{"0": 9}, {"2": 10}, 0.5]),
    ],
    ids=["estimates", "probs", "counts"],
)
def test_rows_are_checked_as_circuits_are(measurements: Any, good: Any, bad: Sequence[Any]) -> None:
    one = sweep_of_circuit(QuantumScript([qml.RX(0.1, 0)], measurements, shots=10))
    assert one is not None
    work = Work((one.template,), sweeps=(replace(one, parameters=np.zeros((3, 1))),))
    executor = ScriptedExecutor()
    assert complete(executor, work, [[good] * 3]) == [[good] * 3]
    for other in bad:
        with pytest.raises((qexec.ResultError, RuntimeError)):
            complete(executor, work, [[good, other, good]])


# Histories


def test_a_history_has_a_row_for_each_circuit_and_adds_up(open_cluster: Any) -> None:
    executor = ScriptedExecutor(cost={"per_circuit": 0.1, "per_shot": 0.003})
    cluster = open_cluster([executor])
    (outcome,) = cluster.run([job(executor, shots=100)])
    assert len(cluster.history) == len(list(cluster.history)) == len(cluster.history.to_dataframe()) == 49
    for name in ("circuits", "shots", "cost", "seconds"):
        assert total(cluster, name) == getattr(outcome, name)
    assert {row.batch for row in cluster.history} == {outcome.batch}
    expected = [fingerprint(circuit) for circuit in sweep(shots=100).circuits()]
    assert [row.fingerprint for row in cluster.history] == expected
    assert list(cluster.history.to_dataframe().fingerprint) == expected
    for index in (0, 48, -1, -49):
        assert cluster.history[index].fingerprint == expected[index]
    assert [row.fingerprint for row in cluster.history[3:5]] == expected[3:5]
    for index in (49, -50):
        with pytest.raises(IndexError):
            cluster.history[index]


def test_a_table_by_job_has_one_row_for_a_sweep(open_cluster: Any) -> None:
    executor = ScriptedExecutor(max_circuits=20)
    cluster = open_cluster([executor])
    cluster.run([Job(flip(0.3), executor), job(executor), job(executor, ANGLES[:5])])
    table = cluster.history.to_dataframe(by="job")
    assert list(table.columns) == ["fingerprint", "circuits", *list(cluster.history.to_dataframe().columns)[1:]]
    assert list(table.circuits) == [1, 49, 5]
    assert list(table.fingerprint) == [fingerprint(flip(0.3)), *[fingerprint(sweep().circuit(0))] * 2]
    assert table.seconds_running.sum() == pytest.approx(cluster.history.to_dataframe().seconds_running.sum())
    with pytest.raises(qexec.ConfigurationError, match="'batch'"):
        cluster.history.to_dataframe(by="batch")  # type: ignore[arg-type]


def test_a_table_by_job_says_that_one_of_the_rows_failed(open_cluster: Any) -> None:
    executor = Picky(ANGLES[17], error=ValueError("a bad circuit"))
    cluster = open_cluster([executor])
    with pytest.raises(qexec.ExecutorError):
        cluster.run([job(executor)])
    (only,) = cluster.history.to_dataframe(by="job").itertuples()
    assert (only.state, only.circuits) == ("failed", 49)
    assert "a bad circuit" in only.error


@pytest.mark.parametrize("limit", [0, 10, 49, 60])
def test_the_limit_of_a_history_counts_circuits(open_cluster: Any, limit: int) -> None:
    executor = ScriptedExecutor()
    cluster = open_cluster([executor], history_limit=limit)
    cluster.run([job(executor)])
    cluster.run([job(executor, ANGLES[:5])])
    assert (len(cluster.history), cluster.history.dropped) == (min(limit, 54), 54 - min(limit, 54))
    expected = [fingerprint(circuit) for circuit in [*sweep().circuits(), *sweep(ANGLES[:5]).circuits()]]
    assert [row.fingerprint for row in cluster.history] == expected[54 - min(limit, 54) :]
    assert cluster.history.totals.circuits == 54


def test_rows_tell_of_parameters_as_they_were_when_the_sweep_ran(open_cluster: Any) -> None:
    executor = ScriptedExecutor()
    cluster = open_cluster([executor])
    asked = job(executor)
    cluster.run([asked])
    assert asked.sweep is not None
    asked.sweep.parameters[:] = 0.0
    assert [row.fingerprint for row in cluster.history] == [fingerprint(circuit) for circuit in sweep().circuits()]


@pytest.mark.parametrize("few", [0, 4096])
@pytest.mark.parametrize("kind", ["state", "observable", "neither"])
def test_rows_of_templates_with_more_than_plain_gates_have_the_fingerprints_of_what_ran(
    open_cluster: Any, monkeypatch: pytest.MonkeyPatch, kind: str, few: int
) -> None:
    monkeypatch.setattr(records, "_FEW_NUMBERS", few)
    state, matrix = np.array([0.6, 0.8]), np.eye(2)
    first = qml.StatePrep(state, 0) if kind == "state" else qml.adjoint(qml.T(0))
    observable = qml.Hermitian(matrix, 0) if kind == "observable" else qml.Z(0)
    one = sweep_of_circuit(QuantumScript([first, qml.RX(0.1, 0)], [qml.expval(observable)]))
    assert one is not None
    rows = replace(one, parameters=np.array([[0.1], [0.2]]))
    executor = ScriptedExecutor()
    cluster = open_cluster([executor])
    cluster.run([Job(rows.template, executor, sweep=rows)])
    ran = [fingerprint(circuit) for circuit in rows.circuits()]
    state[:] = [1.0, 0.0]
    matrix[:] = 0.0
    assert [row.fingerprint for row in cluster.history] == ran


# Elsewhere: worker processes, clusters inside, second executors, durable runs


def test_a_sweep_travels_as_one_template_and_one_array() -> None:
    rows = sweep(np.zeros(1000))
    small = len(process_pool.pickled(Work((rows.template,), sweeps=(rows.part(slice(1)),))))
    assert len(process_pool.pickled(Work((rows.template,), sweeps=(rows,)))) < small + 8 * 1000 + 100
    tape = qml.tape.QuantumTape(rows.template.operations, rows.template.measurements)
    work = pickle.loads(process_pool.pickled(Work((tape,), sweeps=(replace(rows, template=tape),))))
    assert {type(one) for one in (*work.circuits, work.sweeps[0].template)} == {QuantumScript}
    assert perform(ScriptedExecutor(), work).results == [[1.0] * 1000]


def test_the_hands_of_a_pool_share_a_sweep(open_cluster: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        cluster = open_cluster([{"type": "default.qubit", "parallel": pool, "workers": 2}])
        (outcome,) = cluster.run([job(cluster.executors[0])])
    check(outcome)
    assert len({row.batch for row in cluster.history}) == 4


@pytest.mark.parametrize("options", [{}, {"max_circuits": 20}], ids=str)
def test_a_cluster_inside_runs_sweeps_and_says_what_they_have_used(open_cluster: Any, options: dict[str, int]) -> None:
    inner = open_cluster([ScriptedExecutor(cost={"per_circuit": 0.1}, **options)])
    outer = open_cluster([inner, ScriptedExecutor("beside")])
    (outcome,) = outer.run([job(outer.executors[0], shots=10)])
    assert len(outcome.result) == 49
    assert (outcome.circuits, outcome.shots) == (49, 490)
    assert outcome.cost == pytest.approx(4.9)
    assert total(outer, "cost") == pytest.approx(4.9)


def test_a_sweep_that_runs_for_long_is_given_to_a_second_executor_whole(open_cluster: Any) -> None:
    slow, fast = FakeQPU("slow", polls=None), FakeQPU("fast")
    cluster = open_cluster([slow, fast], hedge=0.001)
    (outcome,) = cluster.run([job(slow)])
    check(outcome)
    assert [len(circuits) for circuits in fast.jobs.values()] == [49]
    assert slow.stopped.wait(PATIENCE)
    assert len(cluster.history) == 49


def test_parts_that_run_for_long_are_given_to_a_second_executor_and_stay_parts_of_one_job(open_cluster: Any) -> None:
    slow, fast = FakeQPU("slow", polls=None, max_circuits=20), FakeQPU("fast")
    cluster = open_cluster([slow, fast], hedge=0.001)
    (outcome,) = cluster.run([job(slow)])
    check(outcome)
    assert list(cluster.history.to_dataframe(by="job").circuits) == [49]


def test_a_sweep_is_not_given_to_a_second_executor_that_takes_less(open_cluster: Any) -> None:
    slow, small, fast = FakeQPU("slow", polls=None), FakeQPU("small", max_circuits=20), FakeQPU("fast")
    cluster = open_cluster([slow, small, fast], hedge=0.001)
    check(cluster.run([job(slow)])[0])
    assert small.jobs == {}


@pytest.mark.parametrize(("limit", "followed"), [(None, [49, 49]), (60, [49, 49]), (20, [])])
def test_a_durable_run_is_told_of_whole_sweeps_only(open_cluster: Any, limit: int | None, followed: list[int]) -> None:
    qpu, follower = FakeQPU(max_circuits=limit), Follower()
    for outcome in open_cluster([qpu]).run([job(qpu, follower=follower, number=first) for first in (0, 49)]):
        check(outcome)
    assert follower.followed == followed
    assert sum(map(len, qpu.jobs.values())) == 98


# Seeds


class Seeded(ScriptedExecutor):
    """Draws the shots of circuits by their numbers, after the failures that it was told to have."""

    def __init__(self, **options: Any) -> None:
        super().__init__("seeded", **options)
        self.seen: list[tuple[int, ...]] = []

    def perform(self, work: Work) -> Sequence[Result]:
        self.seen.append(work.numbers)
        self.run(work.circuits)
        return self._simulator.perform(work)


@pytest.mark.parametrize(
    "options",
    [{}, {"max_circuits": 20}, {"workers": 3}, {"failures": [RuntimeError("once"), None, RuntimeError("twice")]}],
    ids=["whole", "in parts", "by several hands", "after failures"],
)
def test_with_a_seed_rows_draw_what_circuits_draw_one_by_one(open_cluster: Any, options: dict[str, Any]) -> None:
    def drawn(asked: Any, **options: Any) -> list[float]:
        executor = Seeded(seed=None, **options)
        cluster = open_cluster([executor], seed=5, retry=AT_ONCE)
        values = []
        for outcome in cluster.run(asked(executor)):
            values += outcome.result if isinstance(outcome.result, list) else [outcome.result]
        return list(map(float, values))

    def plain(executor: Any) -> list[Job]:
        return [Job(flip(0.7, 1000), executor) for _ in range(31)]

    def mixed(executor: Any) -> list[Job]:
        first, last = Job(flip(0.7, 1000), executor), Job(flip(0.7, 1000), executor)
        return [first, job(executor, [0.7] * 25, 1000), job(executor, [0.7] * 4, 1000), last]

    expected = drawn(plain)
    assert drawn(mixed, **options) == expected
    assert len(set(expected)) > 8  # of 31 values with a spread of 0.02
