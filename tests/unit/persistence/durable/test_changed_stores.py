"""Durable runs whose store somebody has changed: what cannot be is refused, and never becomes a number."""

import logging
import sqlite3

import numpy as np
import pennylane as qml
import pytest

from pennylane_qexec import QCluster, StoreError
from pennylane_qexec.circuits.serialization import result_text
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.job import Job
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.durable.opening import open_run
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip

SAMPLES = np.zeros(8, dtype=int)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def change(path, statement, *values):
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def sampled():
    return qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.probs(wires=[0])], shots=100)


def test_a_share_with_fewer_samples_than_were_asked_for_is_refused(path):
    executors = [ScriptedExecutor(name) for name in ("left", "right")]
    with QCluster(executors, split="uniform") as cluster:
        with durable_run("run", path):
            (before,) = cluster.execute([sampled()])
        with durable_run("run", path):
            assert np.array_equal(cluster.execute([sampled()])[0], before)
        change(path, "UPDATE qexec_jobs SET result = ? WHERE number = 0", result_text(SAMPLES))
        with (
            durable_run("run", path),
            pytest.raises(StoreError, match=r"'result' of circuit 1 of the durable run 'run'"),
        ):
            cluster.execute([sampled()])


WRONG = {
    "a text": (result_text("0.3"), "is not that of .*expected a number"),
    "two numbers": (result_text((0.1, 0.2)), "is not that of .*expected a number"),
    "no number": (result_text(float("nan")), "expected a finite number"),
    "no document": ("{", "cannot be read"),
    "nothing": (None, "is empty"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("executor", [ScriptedExecutor, lambda: DeviceExecutor("default.qubit", name="scripted")])
def test_what_cannot_be_the_result_of_a_circuit_is_refused_by_its_name(path, executor, text, why):
    with QCluster(executor()) as cluster:
        with durable_run("vqe", path):
            cluster.execute([flip(0.1), flip(0.2)])
        change(path, "UPDATE qexec_jobs SET result = ? WHERE number = 1", text)
        with durable_run("vqe", path) as run:
            with pytest.raises(StoreError, match=f"'result' of circuit 2 of the durable run 'vqe'.*{why}"):
                cluster.execute([flip(0.1), flip(0.2)])
            assert run.executed == 0


def counted(kind):
    return qml.tape.QuantumScript([qml.RX(0.3, 0)], [kind], shots=10)


CHANGED = {
    "negative counts": (counted(qml.counts(wires=[0])), {"0": 13, "1": -3}, "whole numbers of at least 0"),
    "fractions of counts": (counted(qml.counts(wires=[0])), {"0": 9.5, "1": 0.5}, "whole numbers of at least 0"),
    "bits that are none": (counted(qml.sample(wires=[0])), np.full((10, 1), 2), "samples of bits"),
    "no eigenvalues": (counted(qml.sample(qml.Z(0))), np.full(10, 0.5), "samples of"),
    "no distribution": (counted(qml.probs(wires=[0])), np.array([5.0, -3.0]), "add up to 1"),
    "no exact distribution": (
        qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.probs(wires=[0])]),
        np.array([0.5, 0.6]),
        "add up to 1",
    ),
    "no state": (qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.state()]), np.array([np.nan, 1]), "a finite state"),
}

SIMULATORS = {
    "default.qubit": lambda: DeviceExecutor("default.qubit", name="simulator", seed=7),
    "lightning.qubit": lambda: DeviceExecutor("lightning.qubit", name="simulator", seed=7),
    "a hybrid": lambda: Hybrid(["default.qubit", "default.mixed"], name="simulator"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("circuit", "result", "why"), CHANGED.values(), ids=CHANGED.keys())
@pytest.mark.parametrize("executor", SIMULATORS.values(), ids=SIMULATORS.keys())
def test_what_a_simulator_cannot_have_returned_is_refused_although_it_has_the_right_form(
    path, executor, circuit, result, why
):
    with QCluster(executor()) as cluster:
        for replayed in (0, 1):
            with durable_run("vqe", path) as run:
                cluster.execute([circuit])
            assert run.replayed == replayed
        change(path, "UPDATE qexec_jobs SET result = ?", result_text(result))
        with durable_run("vqe", path), pytest.raises(StoreError, match=f"circuit 1 of the durable run 'vqe'.*{why}"):
            cluster.execute([circuit])


def test_a_distribution_of_a_state_of_another_norm_is_replayed_as_it_was(path):
    circuit = qml.tape.QuantumScript([qml.StatePrep([1, 1], 0, validate_norm=False)], [qml.probs(wires=[0])])
    with QCluster("default.qubit") as cluster:
        for _ in range(2):
            with durable_run("vqe", path) as run:
                assert np.array_equal(cluster.execute([circuit])[0], [1, 1])
    assert run.replayed == 1


def test_a_result_of_an_executor_that_is_there_no_more_is_checked_for_its_form(path):
    with QCluster(ScriptedExecutor("old")) as cluster, durable_run("vqe", path):
        cluster.execute([flip(0.1)])
    change(path, "UPDATE qexec_jobs SET result = ?", result_text((0.1, 0.2)))
    refused = pytest.raises(StoreError, match="expected a number")
    with QCluster(ScriptedExecutor("new")) as cluster, durable_run("vqe", path), refused:
        cluster.execute([flip(0.1)])


def test_a_circuit_whose_result_cannot_be_recorded_runs_again_and_is_counted(path, caplog):
    class Odd(ScriptedExecutor):
        """Returns what cannot be written."""

        def run(self, circuits):
            return [np.array(result, dtype=object) for result in super().run(circuits)]

        def check_results(self, work, results):
            """Whatever it is."""

    executor = Odd()
    with QCluster(executor) as cluster, caplog.at_level(logging.WARNING):
        for _ in range(2):
            with durable_run("vqe", path) as run:
                cluster.execute([flip(0.1, 20)])
            assert (run.replayed, run.executed) == (0, 1)
    assert executor.shots_run == 40
    assert "a result cannot be recorded, and its circuit will run again" in caplog.text


def test_a_circuit_that_was_sent_and_is_another_one_in_the_store_by_now_is_refused(path):
    qpu = FakeQPU(polls=None)
    with open_store(path) as store, QCluster(qpu) as cluster:
        run = open_run("vqe", store, 1000, None)
        jobs = [Job(flip(angle, 20), qpu) for angle in (0.1, 0.2)]
        futures = run.submit(cluster._engine, cluster._engine, jobs)
        while [row.state for row in store.jobs()] != ["sent", "sent"]:
            assert not any(future.done() for future in futures)
        run.close(finished=False)
        where = "digest = (SELECT circuit FROM qexec_jobs WHERE number = 1)"
        change(path, f"UPDATE qexec_circuits SET text = '{{}}' WHERE {where}")
        with durable_run("vqe", store), pytest.raises(StoreError, match="the text of circuit 2, which was sent to"):
            cluster.execute([flip(0.1, 20)])
