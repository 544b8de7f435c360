"""Workers are known by names, and dead ones by what cannot be otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pennylane_qexec.persistence.store import NewJob, open_store, workers
from pennylane_qexec.persistence.store.records import WorkerHeartbeat
from pennylane_qexec.persistence.store.workers import Heartbeats, new_worker, surely_dead

NAME = "from pennylane_qexec.persistence.store.workers import new_worker; print(new_worker(), flush=True); input()"


def _another() -> tuple[subprocess.Popen[str], str]:
    """A process that waits, and its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_process_is_alive_until_it_is_killed() -> None:
    process, name = _another()
    assert not surely_dead(name)
    process.kill()
    while not surely_dead(name):  # as a zombie first
        process.poll()
    process.communicate()
    assert surely_dead(name)


def test_this_process_is_alive() -> None:
    assert not surely_dead(new_worker())


def test_the_number_of_a_dead_process_may_be_that_of_another_one() -> None:
    machine, pid, begun, chance = new_worker().split("/")
    assert surely_dead(f"{machine}/{pid}/{int(begun or 7) + 1}/{chance}") == bool(begun)


def test_where_there_is_no_proc_processes_are_told_apart_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LINUX", False)
    name = new_worker()
    machine, pid, begun, chance = name.split("/")
    assert not surely_dead(name)
    assert surely_dead(f"{machine}/{pid}/{int(begun) - 1}/{chance}")
    assert not surely_dead(f"{machine}/{pid}//{chance}")  # as earlier versions wrote it
    process, _ = _another()
    other = f"{machine}/{process.pid}/{workers._begun(process.pid)}/{chance}"
    assert not surely_dead(other)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert surely_dead(other)  # as a zombie
    process.communicate()
    assert surely_dead(other)


def test_of_other_machines_nothing_is_known() -> None:
    assert not surely_dead("elsewhere/99999999/1/abc")
    assert not surely_dead("me")


def test_jobs_of_a_killed_process_of_this_machine_are_free_at_once(tmp_path: Path) -> None:
    process, name = _another()
    with open_store(tmp_path / "store.db") as store:
        (job,) = store.record(store.open_run("vqe").id, [NewJob(0, "k", "c", "t")])
        store.claim([job.id], name, lease=1e6)
        assert store.claim([job.id], store.worker, lease=1e6) == []
        process.kill()
        process.communicate()
        assert [one.id for one in store.claim([job.id], store.worker, lease=1e6)] == [job.id]


def test_a_heart_has_beaten_lately_in_the_first_quarter_of_its_lease() -> None:
    now = 100.0
    beats = Heartbeats(lambda: now)
    assert not beats.lately("a", 40.0)
    beats.note("a", 40.0, 95.0)
    assert beats.lately("a", 40.0)
    assert not beats.lately("a", 41.0)
    assert not beats.lately("b", 40.0)
    now = 105.0
    assert not beats.lately("a", 40.0)


def test_a_heart_has_stopped_when_it_was_watched_for_a_lease_without_a_beat() -> None:
    now = 0.0
    watch = Heartbeats(lambda: now)
    assert watch.stopped([WorkerHeartbeat("a", 1, 10.0), WorkerHeartbeat("b", 1, 10.0)]) == []
    now = 9.0
    assert watch.stopped([WorkerHeartbeat("a", 2, 10.0), WorkerHeartbeat("b", 1, 10.0)]) == []
    now = 11.0
    assert watch.stopped([WorkerHeartbeat("a", 2, 10.0), WorkerHeartbeat("b", 1, 10.0)]) == [
        WorkerHeartbeat("b", 1, 10.0)
    ]
