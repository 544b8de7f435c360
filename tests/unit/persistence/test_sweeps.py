"""Jobs with a sweep in durable runs and caches: each row is the circuit that it would be alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.job import Call, Job, Sweep
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.testing import ScriptedExecutor, flip


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


def test_equal_rows_with_shots_are_different_measurements(open_cluster: Any, tmp_path: Path) -> None:
    cluster = open_cluster([executor := Known(seed=5)], cache=qexec.Cache(tmp_path / "cache.db", shots=True))
    first = answers(cluster, 1.3, 1.3, 1.3, shots=1000)
    assert len(set(first)) == 3
    assert answers(cluster, 1.3, 1.3, 1.3, shots=1000) == first
    assert executor.ran == 3


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
    qpu = qexec.testing.FakeQPU(polls=None)
    cluster = open_cluster([qpu])
    with crashing(durable_run("run", store)):
        (future,) = cluster.submit([job(cluster, sweep(0.1, 0.2, shots=10))])
        assert future.cancel()
    assert future.cancelled()
