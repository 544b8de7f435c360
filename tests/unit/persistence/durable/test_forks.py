"""Runs that are forked: what came along is replayed bit for bit, and nothing of it is run or paid again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from pennylane_qexec import Budget, BudgetExceededError, ClusterDevice, ConfigurationError, QCluster
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import Mark, Store, open_store
from pennylane_qexec.testing.fakes import ScriptedExecutor, flip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


def values(cluster: QCluster, *angles: float) -> list[float]:
    return [float(result) for result in cluster.execute([flip(angle, 50) for angle in angles])]


def test_what_came_along_is_replayed_and_another_program_goes_on(store: Store) -> None:
    executor = ScriptedExecutor(cost={"per_shot": 0.01})
    with QCluster(executor) as cluster:
        with durable_run("first", store) as run:
            before = values(cluster, 0.1, 0.2)
            run.mark("step 1")
            values(cluster, 0.3)
        store.fork_run("first", "second", "step 1")
        executor.shots_run = 0
        with durable_run("second", store) as run:
            assert values(cluster, 0.1, 0.2) == before
            assert executor.shots_run == 0
            values(cluster, 0.9)
        assert (run.replayed, run.executed, executor.shots_run) == (2, 1, 50)


def test_a_budget_of_a_fork_counts_what_the_fork_has_run(store: Store) -> None:
    with QCluster(ScriptedExecutor()) as cluster:
        with durable_run("first", store):
            values(cluster, 0.1, 0.2)
        store.fork_run("first", "second")
        with durable_run("second", store, budget=Budget(shots=50)):
            values(cluster, 0.1, 0.2)
            values(cluster, 0.3)
            with pytest.raises(BudgetExceededError):
                values(cluster, 0.4)


def test_marks_are_set_again_where_they_are_when_the_program_runs_again(store: Store) -> None:
    with QCluster(ScriptedExecutor()) as cluster:
        for steps in (2, 3):
            with durable_run("run", store) as run:
                for step in range(steps):
                    values(cluster, 0.1 * step, 0.2)
                    run.mark(f"step {step}", np.array(0.5 * step))
    assert store.marks(store.run("run").id) == [Mark("step 0", 2, 0.0), Mark("step 1", 4, 0.5), Mark("step 2", 6, 1.0)]


def test_marks_that_make_no_sense_are_refused(store: Store) -> None:
    run = durable_run("run", store)
    with pytest.raises(ConfigurationError, match="not open"):
        run.mark("early")
    with QCluster(ScriptedExecutor()) as cluster, run:
        values(cluster, 0.1)
        run.mark("step")
        with pytest.raises(ConfigurationError, match="has set the mark 'step' already"):
            run.mark("step")
        with pytest.raises(ConfigurationError, match="number"):
            run.mark("40")
        with pytest.raises(ConfigurationError, match="must be a real number"):
            run.mark("next", "low")


def test_a_fork_of_a_descent_by_shots_is_the_same_up_to_the_mark_bit_for_bit(store: Store) -> None:
    def energy(angles: Any) -> Any:
        qml.RY(angles[0], wires=0)
        qml.RY(angles[1], wires=1)
        qml.CNOT(wires=[0, 1])
        return qml.expval(qml.Z(0) @ qml.Z(1))

    def descend(name: str, rates: list[float]) -> tuple[list[Any], Any]:
        executors = [{"type": "lightning.qubit", "seed": 7}, {"type": "default.qubit", "seed": 8}]
        with ClusterDevice(wires=2, executors=executors, selector="random", seed=3) as device:
            qnode = qml.set_shots(qml.QNode(energy, device, diff_method="parameter-shift"), 100)
            path, angles = [], qml.numpy.array([0.1, 0.2], requires_grad=True)
            with durable_run(name, store) as run:
                for step, rate in enumerate(rates):
                    angles = qml.GradientDescentOptimizer(rate).step(qnode, angles)
                    path.append(np.asarray(angles))
                    run.mark(f"step {step}")
            return path, run

    path, _ = descend("slow", [0.1] * 4)
    point = store.fork_run("slow", "fast", "step 1").fork_point
    other, run = descend("fast", [0.1, 0.1, 0.4, 0.4])
    assert [each.tobytes() for each in other[:2]] == [each.tobytes() for each in path[:2]]
    assert other[3].tobytes() != path[3].tobytes()
    assert run.replayed == point == run.executed
    again, run = descend("slow", [0.1] * 4)
    assert [each.tobytes() for each in again] == [each.tobytes() for each in path]
    assert run.executed == 0
