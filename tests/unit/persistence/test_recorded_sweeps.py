"""Jobs with a sweep in durable runs and caches: each row is the circuit that it would be alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from typer.testing import CliRunner

import pennylane_qexec as qexec
from pennylane_qexec.circuits.serialization import results_of, results_text, sweep_of
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.cli import app
from pennylane_qexec.job import Call, Job, Sweep
from pennylane_qexec.persistence.cache.keys import Keys
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.expansion import rows_of
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip


class Known(ScriptedExecutor):
    """An executor whose results may be cached."""

    @property
    def identity(self) -> str:
        return "known"

    def repeats(self, circuit: Any) -> bool:
        return not circuit.shots

    @property
    def ran(self) -> int:
        """How many circuits it was given."""
        return sum(map(len, self.batches))


class Crash(Exception):
    """What ends a program in these tests."""


@contextmanager
def crashing(run: Any) -> Iterator[Any]:
    """A run that is left by an error at its end."""
    with suppress(Crash), run as opened:
        yield opened
        raise Crash


def sweep(*angles: float, shots: int | None = None) -> Sweep:
    one = sweep_of_circuit(flip(0.0, shots))
    assert one is not None
    return replace(one, parameters=np.array(angles)[:, None])


def job(cluster: qexec.QCluster, given: Sweep) -> Job:
    (executor,) = cluster.executors
    return Job(given.template, executor, Call(), sweep=given)


def answers(cluster: qexec.QCluster, *angles: float, shots: int | None = None) -> list[float]:
    """The results of the rows of a sweep."""
    (outcome,) = cluster.run([job(cluster, sweep(*angles, shots=shots))])
    return [float(result) for result in outcome.result]


def alone(cluster: qexec.QCluster, angle: float, shots: int | None = None) -> float:
    """The result of a circuit that is no row of a sweep."""
    (outcome,) = cluster.run([Job(flip(angle, shots), *cluster.executors, Call())])
    return float(outcome.result)


@pytest.fixture
def cache(tmp_path: Path) -> qexec.Cache:
    return qexec.Cache(tmp_path / "cache.db")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


# -- caches


def test_a_sweep_that_was_run_is_answered(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    first = answers(cluster, 0.1, 0.2, 0.3)
    np.testing.assert_allclose(first, np.cos([0.1, 0.2, 0.3]))
    assert answers(cluster, 0.1, 0.2, 0.3) == first
    assert executor.ran == 3


@pytest.mark.slow
def test_only_the_rows_that_are_not_known_are_run_and_results_are_in_order(
    open_cluster: Any, cache: qexec.Cache
) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    answers(cluster, 0.2, 0.4)
    np.testing.assert_allclose(answers(cluster, 0.1, 0.2, 0.3, 0.4, 0.5), np.cos([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert executor.ran == 5


def test_a_circuit_answers_a_row_and_a_row_answers_a_circuit(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    alone(cluster, 0.1)
    np.testing.assert_allclose(answers(cluster, 0.1, 0.2), np.cos([0.1, 0.2]))
    np.testing.assert_allclose(alone(cluster, 0.2), np.cos(0.2))
    assert executor.ran == 2


def test_the_outcome_of_a_sweep_has_used_what_its_unknown_rows_have(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known(cost={"per_circuit": 2.0})], cache=cache)
    answers(cluster, 0.2)
    (outcome,) = cluster.run([job(cluster, sweep(0.1, 0.2, 0.3))])
    assert (outcome.circuits, outcome.cost, outcome.executor) == (2, 4.0, "scripted")


def test_the_history_tells_known_rows_from_those_that_ran(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known()], cache=cache)
    answers(cluster, 0.1, 0.2)
    answers(cluster, 0.1, 0.3, 0.2)
    last = list(cluster.history)[-3:]
    assert sorted((row.backend, row.circuits) for row in last) == [("cache", 0), ("cache", 0), ("scripted", 1)]
    assert sorted(row.circuit.numbers for row in last) == [(0.1,), (0.2,), (0.3,)]
    assert answers(cluster, 0.3, 0.1) == answers(cluster, 0.1, 0.3)[::-1]


def test_equal_rows_with_shots_are_different_measurements(open_cluster: Any, tmp_path: Path) -> None:
    cluster = open_cluster([executor := Known(seed=5)], cache=qexec.Cache(tmp_path / "cache.db", shots=True))
    first = answers(cluster, 1.3, 1.3, 1.3, shots=1000)
    assert len(set(first)) == 3
    assert answers(cluster, 1.3, 1.3, 1.3, shots=1000) == first
    assert executor.ran == 3


def test_equal_rows_without_shots_run_once(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    np.testing.assert_allclose(answers(cluster, 0.1, 0.2, 0.1, 0.1), np.cos([0.1, 0.2, 0.1, 0.1]))
    (future,) = cluster.submit([job(cluster, sweep(0.3, 0.3, 0.2))])
    np.testing.assert_allclose(future.result().result, np.cos([0.3, 0.3, 0.2]))
    assert executor.ran == 3


def test_rows_between_known_ones_draw_by_their_own_numbers(open_cluster: Any, tmp_path: Path) -> None:
    angles = (0.5, 1.0, 1.5, 2.0), (0.5, 1.1, 1.5, 1.2, 1.3)
    drawn = []
    for options in ({}, {"cache": tmp_path / "cache.db"}):
        for each in angles:
            cluster = open_cluster([{"type": "default.qubit"}], seed=3, **options)
            drawn.append(answers(cluster, *each, shots=1000))
            cluster.close()  # then its results are in the cache
    assert drawn[:2] == drawn[2:]
    assert cluster.history.totals.circuits == 3


@pytest.mark.parametrize("gate", [qml.RX(0.1, 0), qml.PauliRot(0.1, "XY", [0, 1]), qml.CRot(0.1, 0.2, 0.3, [1, 0])])
@pytest.mark.parametrize("shots", [None, 10, (5, 5)])
@pytest.mark.parametrize("number", [None, 7])
def test_a_row_has_the_key_of_its_circuit(gate: Any, shots: Any, number: int | None) -> None:
    executor, energy = Known(), qml.Hamiltonian([0.5, 0.2], [qml.Z(0), qml.X(1) @ qml.Y(0)])
    one = sweep_of_circuit(QuantumScript([gate, qml.CNOT([0, 1]), gate], [qml.expval(energy)], shots=shots))
    assert one is not None
    rows = np.array([one.parameters[0] + step for step in (0.0, 0.5, 0.0)])
    whole = Job(one.template, executor, sweep=replace(one, parameters=rows), number=number)
    apart = rows_of(whole)
    keys, alone = Keys({executor: "known"}, shots=True), Keys({executor: "known"}, shots=True)
    found = keys.of_rows(whole)
    assert found == [alone.of(each) for each in apart]
    assert len({key["scripted"] for key in found}) == (2 if shots is None else 3)


def test_rows_with_shots_are_not_cached_unless_asked_for(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    answers(cluster, 0.3, 0.4, shots=100)
    answers(cluster, 0.3, 0.4, shots=100)
    assert executor.ran == 4


def test_submitted_sweeps_and_circuits_each_have_their_future(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known()], cache=cache)
    other = Job(flip(0.5), *cluster.executors, Call())
    found = cluster.submit([job(cluster, sweep(0.1, 0.2)), other, job(cluster, sweep(0.2, 0.3))])
    first, second, third = [future.result().result for future in found]
    np.testing.assert_allclose([*first, second, *third], np.cos([0.1, 0.2, 0.5, 0.2, 0.3]))


def test_the_error_of_a_row_is_that_of_its_sweep(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known(failures=[RuntimeError("no")] * 9)], cache=cache, retry={"attempts": 1})
    (future,) = cluster.submit([job(cluster, sweep(0.1, 0.2))])
    with pytest.raises(qexec.ExecutorError, match="no"):
        future.result()
    with pytest.raises(qexec.ExecutorError, match="no"):
        answers(cluster, 0.1, 0.2)


# -- durable runs


def test_a_sweep_that_had_finished_is_answered_from_the_store(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([executor := Known()])
    with crashing(durable_run("run", store)):
        before = answers(cluster, 0.1, 0.2, 0.3, shots=50)
    with durable_run("run", store) as run:
        assert answers(cluster, 0.1, 0.2, 0.3, shots=50) == before
        assert (run.replayed, run.executed) == (3, 0)
        answers(cluster, 0.4, shots=50)
        assert run.executed == 1
    assert executor.shots_run == 200


def test_the_outcome_of_an_answered_sweep_is_that_of_the_one_that_ran(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([Known(cost={"per_shot": 0.5})])
    outcomes = []
    for _ in range(2):
        with crashing(durable_run("run", store)):
            (future,) = cluster.submit([job(cluster, sweep(0.1, 0.2, shots=10))])
            outcomes.append(future.result())
    first, again = outcomes
    assert (again.circuits, again.shots, again.cost, again.executor) == (2, 20, 10.0, "scripted")
    assert again.result == first.result
    assert (again.cost, again.finished, again.submitted) == (first.cost, first.finished, again.submitted)


def test_the_rows_of_a_sweep_take_numbers_of_their_own(open_cluster: Any, store: Any) -> None:
    drawn = []
    for name in ("one", "other"):
        cluster = open_cluster([{"type": "default.qubit", "seed": 3}])
        with durable_run(name, store):
            drawn.append([*answers(cluster, *[1.0] * 4, shots=10_000), alone(cluster, 1.0, 10_000)])
    assert len(set(drawn[0])) == 5
    assert drawn[0] == drawn[1]


def test_with_a_seed_of_the_cluster_no_circuit_draws_as_a_row_of_a_sweep_does(open_cluster: Any) -> None:
    cluster = open_cluster(["default.qubit"], seed=3)
    drawn = [*answers(cluster, *[1.0] * 3, shots=10_000), *answers(cluster, *[1.0] * 3, shots=10_000)]
    drawn += [alone(cluster, 1.0, 10_000) for _ in range(3)]
    assert len(set(drawn)) == 9


def test_a_durable_run_with_a_cache_runs_unknown_rows_only(open_cluster: Any, store: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([executor := Known()], cache=cache)
    answers(cluster, 0.2)
    with durable_run("run", store):
        np.testing.assert_allclose(answers(cluster, 0.1, 0.2, 0.3), np.cos([0.1, 0.2, 0.3]))
    with durable_run("run", store):
        np.testing.assert_allclose(answers(cluster, 0.1, 0.2, 0.3), np.cos([0.1, 0.2, 0.3]))
    assert executor.ran == 3


def test_a_cancelled_sweep_gives_up_its_rows(open_cluster: Any, store: Any) -> None:
    qpu = FakeQPU(polls=None)
    cluster = open_cluster([qpu])
    with crashing(durable_run("run", store)):
        (future,) = cluster.submit([job(cluster, sweep(0.1, 0.2, shots=10))])
        assert future.cancel()
    assert future.cancelled()


def stored(store: Any, name: str = "run") -> list[Any]:
    """The records of a run, with their results."""
    return store.refresh([row.id for row in store.jobs(store.run(name).id)])


def test_a_sweep_is_one_record_with_one_template_and_one_array(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([Known()])
    with durable_run("run", store):
        answers(cluster, *np.linspace(0, 1, 100), shots=7)
    (row,) = stored(store)
    assert (row.circuits, row.shots, row.state) == (100, 700, "done")
    (text,) = store.circuits([row.circuit]).values()
    assert len(sweep_of(text)) == 100
    assert len(results_of(row.result)) == 100


def test_a_sweep_recorded_as_circuits_by_an_earlier_version_is_answered(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([executor := Known()])
    with crashing(durable_run("run", store)):
        jobs = [Job(flip(angle, 50), executor, Call()) for angle in (0.1, 0.2, 0.3)]
        before = [float(one.result) for one in cluster.run(jobs)]
    with durable_run("run", store) as run:
        assert answers(cluster, 0.1, 0.2, 0.3, shots=50) == before
        answers(cluster, 0.4, 0.5, shots=50)
    assert (run.replayed, run.executed) == (3, 2)
    assert [row.circuits for row in stored(store)] == [1, 1, 1, 2]


def test_a_sweep_that_cannot_be_compared_is_recorded_as_circuits(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([Known()])
    with durable_run("run", store):
        (outcome,) = cluster.run([job(cluster, replace(sweep(0.1, 0.2), key=None))])
    np.testing.assert_allclose(outcome.result, np.cos([0.1, 0.2]))
    assert [row.circuits for row in stored(store)] == [1, 1]


@pytest.mark.parametrize("options", [{"max_circuits": 2}, {"max_shots": 100}], ids=str)
def test_a_sweep_that_a_backend_does_not_take_as_one_job_is_recorded_in_pieces_to_be_found_there(
    open_cluster: Any, store: Any, options: dict[str, int]
) -> None:
    cluster = open_cluster([qpu := FakeQPU(**options)])
    with durable_run("run", store):
        assert len(answers(cluster, *np.linspace(0, 1, 5), shots=50)) == 5
    assert [row.rows for row in stored(store)] == [2, 2, 1]
    assert {row.remote_id for row in stored(store)} == set(qpu.jobs)
    assert len(qpu.jobs) == len(qpu.labelled) == 3


def test_the_third_time_that_a_sweep_is_asked_for_it_gets_the_third_results(open_cluster: Any, store: Any) -> None:
    cluster = open_cluster([Known()])
    with crashing(durable_run("run", store)):
        before = [answers(cluster, 1.0, 1.1, shots=1000) for _ in range(3)]
    with durable_run("run", store):
        assert [answers(cluster, 1.0, 1.1, shots=1000) for _ in range(3)] == before
    assert len({tuple(one) for one in before}) == 3


@pytest.mark.parametrize(
    ("angles", "shots", "difference"),
    [
        ((0.1, 0.25, 0.3), None, r"in circuit 2 of 3 that are asked for together, operation 1 is RX\(0.25"),
        ((0.1, 0.2), None, "circuits that are asked for together: 2 in place of 3"),
        ((0.1, 0.2, 0.3), 5, "in circuit 1 of 3 that are asked for together, the shots are"),
    ],
)
def test_a_run_says_where_a_sweep_is_another_one(
    open_cluster: Any, store: Any, angles: Any, shots: Any, difference: str
) -> None:
    cluster = open_cluster([Known()])
    with crashing(durable_run("run", store)):
        answers(cluster, 0.1, 0.2, 0.3)
    with crashing(durable_run("run", store)), pytest.raises(qexec.ReplayMismatchError, match=difference):
        answers(cluster, *angles, shots=shots)
    with crashing(durable_run("run", store)), pytest.raises(qexec.ReplayMismatchError, match="1 in place of 3"):
        alone(cluster, 0.1)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([0.1, 0.2], "has 2 parts in place of 3"),
        ([0.1, 0.2, float("nan")], "expected a finite number"),
        ([0.1, 0.2, "x"], "is not that of"),
    ],
)
def test_recorded_results_that_cannot_be_those_of_a_sweep_are_refused(
    open_cluster: Any, store: Any, tmp_path: Path, results: Any, said: str
) -> None:
    cluster = open_cluster([Known()])
    with crashing(durable_run("run", store)):
        answers(cluster, 0.1, 0.2, 0.3)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE qexec_jobs SET result = ?", (results_text(results),))
    connection.close()
    with crashing(durable_run("run", store)), pytest.raises(qexec.errors.StoreError, match=said):
        answers(cluster, 0.1, 0.2, 0.3)


def test_the_command_line_counts_the_circuits_of_sweeps(open_cluster: Any, store: Any, tmp_path: Path) -> None:
    cluster = open_cluster([Known()])
    with crashing(durable_run("run", store)):
        alone(cluster, 0.7, 10)
        answers(cluster, 0.1, 0.2, 0.3, shots=10)
        alone(cluster, 0.8, 10)
    said = CliRunner().invoke(app, ["runs", "--json", "--store", str(tmp_path / "runs.db")])
    (run,) = json.loads(said.output)["runs"]
    assert (run["circuits"]["done"], run["shots"]) == (5, 50)
    assert [row.number for row in stored(store)] == [0, 1, 4]


def wait_until_sent(store: Any, number: int) -> None:
    while len([row for row in stored(store) if row.state == "sent"]) < number:
        pass


def test_a_sweep_at_a_backend_is_picked_up_by_its_id(open_cluster: Any, store: Any) -> None:
    qpu = FakeQPU(polls=None)
    with crashing(durable_run("run", store)):
        cluster = open_cluster([qpu])
        cluster.submit([job(cluster, sweep(0.1, 0.2, shots=10)), job(cluster, sweep(0.3, shots=10))])
        wait_until_sent(store, 2)
    later = qpu.another()
    later._polls = 1
    cluster = open_cluster([later])
    with durable_run("run", store) as run:
        assert len(answers(cluster, 0.1, 0.2, shots=10)) == 2
        assert len(answers(cluster, 0.3, shots=10)) == 1
    assert later.adopted == list(qpu.jobs)
    assert (run.picked_up, run.executed) == (3, 0)
    assert [row.circuits for row in stored(store)] == [2, 1]


@pytest.mark.parametrize("limits", [{"max_circuits": 2}, {"max_shots": 20}])
def test_a_sweep_too_large_for_one_job_of_a_backend_is_recorded_and_picked_up_in_pieces(
    open_cluster: Any, store: Any, limits: Any
) -> None:
    qpu, angles = FakeQPU(polls=None, **limits), (0.1, 0.2, 0.3, 0.4, 0.5)
    with crashing(durable_run("run", store)):
        cluster = open_cluster([qpu])
        cluster.submit([job(cluster, sweep(*angles, shots=10))])
        wait_until_sent(store, 1)
    later = qpu.another()
    later._polls = 1
    cluster = open_cluster([later])
    with durable_run("run", store) as run:
        assert len(answers(cluster, *angles, shots=10)) == 5
    assert [row.rows for row in stored(store)] == [2, 2, 1]
    assert run.picked_up + run.executed == 5
    assert run.picked_up >= 2
    assert sum(map(len, later.jobs.values())) == 5
