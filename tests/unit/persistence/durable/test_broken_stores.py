"""Durable runs whose store fails, or whose process is taken for dead."""

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from pennylane_qexec import QCluster, StoreError
from pennylane_qexec.job import Job
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.persistence.store.sql import open_to_read
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip


def values(cluster, *angles):
    return [float(result) for result in cluster.execute([flip(angle, 20) for angle in angles])]


def pragma(store, text):
    store._transactions.write(lambda connection: connection.exec_driver_sql(f"PRAGMA {text}").fetchall())


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


def deleted(path):
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink()


def test_a_store_that_is_deleted_under_a_run_ends_it_and_nothing_is_paid_for_twice(tmp_path):
    path, executor = tmp_path / "runs.db", ScriptedExecutor()
    with QCluster(executor) as cluster:
        with durable_run("run", path):
            before = values(cluster, 0.1, 0.2)
            deleted(path)
            with pytest.raises(StoreError, match=r"was deleted or moved.* is saved in '"):
                values(cluster, 0.3)
        (tmp_path / "runs.db.saved-1").rename(path)
        with durable_run("run", path) as run:
            assert values(cluster, 0.1, 0.2) == before
            values(cluster, 0.3)
    assert (run.replayed, run.executed) == (2, 1)
    assert executor.shots_run == 60


def test_a_job_that_is_at_a_backend_when_the_store_is_deleted_is_not_sent_again(tmp_path):
    class Deleting(FakeQPU):
        """Deletes the store when it has taken a job."""

        def submit_labelled(self, circuits, label):
            if not self.jobs:
                deleted(tmp_path / "runs.db")
            return super().submit_labelled(circuits, label)

    qpu = Deleting(polls=1)
    with QCluster(qpu) as cluster:
        with durable_run("run", tmp_path / "runs.db"):
            first = values(cluster, 0.1)  # was sent before anybody could know
            with pytest.raises(StoreError):
                values(cluster, 0.2)
        (tmp_path / "runs.db.saved-1").rename(tmp_path / "runs.db")
        with durable_run("run", tmp_path / "runs.db"):
            assert values(cluster, 0.1) == first
    assert len(qpu.jobs) == 1


def test_what_waits_for_an_executor_is_not_begun_when_the_store_is_deleted(tmp_path):
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate)
    with QCluster(executor) as cluster, suppress(StoreError), durable_run("run", tmp_path / "runs.db") as run:
        first = cluster.submit([Job(flip(0.1, 20), executor)])
        assert executor.started.wait(60)
        rest = cluster.submit([Job(flip(angle, 20), executor) for angle in (0.2, 0.3)])
        deleted(tmp_path / "runs.db")
        run._run._show_life(0.001)  # which ends with that
        gate.set()
        for future in rest:
            with pytest.raises(StoreError, match="was deleted or moved"):
                future.result(60)
        assert first[0].result(60).shots == 20
    assert executor.shots_run == 20


def test_a_run_that_has_not_asked_for_anything_yet_is_not_taken_for_dead(tmp_path):
    with open_store(tmp_path / "runs.db") as store, durable_run("run", store) as run:
        assert run._run._beat()


@pytest.mark.parametrize("change", ["qexec_jobs DROP COLUMN claim", "qexec_version RENAME COLUMN version_num TO x"])
def test_a_store_with_other_tables_is_closed_all_the_same(tmp_path, change):
    path = tmp_path / "runs.db"
    with QCluster(ScriptedExecutor()) as cluster:
        with durable_run("run", path):
            values(cluster, 0.1)
        with sqlite3.connect(path) as connection:
            connection.execute(f"ALTER TABLE {change}")
        connection.close()
        with pytest.raises(StoreError, match="has other tables"), durable_run("run", path):
            values(cluster, 0.1, 0.2)
        with suppress(StoreError), open_to_read(path):
            pass
    files = Path("/proc/self/fd")
    assert not files.exists() or str(path) not in {os.path.realpath(one) for one in files.iterdir()}
