"""Durable runs whose store fails, or whose process is taken for dead."""

import sqlite3

import pytest

from pennylane_qexec import QCluster, StoreError
from pennylane_qexec.durable import durable_run
from pennylane_qexec.store import open_store
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip


def values(cluster, *angles):
    return [float(result) for result in cluster.execute([flip(angle, 20) for angle in angles])]


def pragma(store, text):
    store._gate.write(lambda connection: connection.exec_driver_sql(f"PRAGMA {text}").fetchall())


def fill(store, cluster, results):
    """Run circuits until the disk is full, which it is after the first two."""
    with durable_run("run", store):
        for place in range(100):
            results.append(values(cluster, float(place)))
            if place == 1:
                pragma(store, "max_page_count = 1")


def test_a_full_disk_is_an_error_and_what_was_recorded_is_not_lost(tmp_path):
    executor = ScriptedExecutor()
    with open_store(tmp_path / "runs.db") as store, QCluster(executor) as cluster:
        before = []
        with pytest.raises(StoreError, match="full"):
            fill(store, cluster, before)
        pragma(store, "max_page_count = 1000000")
        with durable_run("run", store) as run:
            assert [values(cluster, float(place)) for place in range(len(before))] == before
        assert run.executed <= 1
    assert executor.shots_run <= 20 * (len(before) + 1)


def test_a_locked_database_is_an_error_after_a_while_and_the_run_goes_on_later(tmp_path):
    executor = ScriptedExecutor()
    with open_store(tmp_path / "runs.db", patience=0.01) as store, QCluster(executor) as cluster:
        other = sqlite3.connect(tmp_path / "runs.db")
        with durable_run("run", store):
            before = values(cluster, 0.1)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="lock"):
                values(cluster, 0.2)
            other.rollback()
        with durable_run("run", store) as run:
            assert values(cluster, 0.1) == before
            values(cluster, 0.2)
        other.close()
    assert (run.replayed, run.executed) == (1, 1)
    assert executor.shots_run == 40


def test_a_job_that_was_sent_while_the_store_failed_is_found_again(tmp_path):
    class Locking(FakeQPU):
        """Locks the database when it has taken a job."""

        other = sqlite3.connect(tmp_path / "runs.db", check_same_thread=False, timeout=0.0)
        locks = True

        def submit_labelled(self, circuits, label):
            job_id = super().submit_labelled(circuits, label)
            if self.locks:
                self.other.execute("BEGIN IMMEDIATE")
            return job_id

    qpu = Locking(polls=1)
    with open_store(tmp_path / "runs.db", patience=0.01) as store, QCluster(qpu) as cluster:
        with durable_run("run", store):
            with pytest.raises(StoreError):
                values(cluster, 0.1)
            qpu.other.rollback()
        qpu.locks = False
        with durable_run("run", store):
            values(cluster, 0.1)
        qpu.other.close()
    assert len(qpu.jobs) == 1
