"""What happens to files of SQLite: full disks, locks, damage, forks. Nothing that was acknowledged is lost."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, event, make_url

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import Ended, NewJob, Store, open_store
from pennylane_qexec.persistence.store import sqlite as sqlite_module
from pennylane_qexec.persistence.store.sql import migrate, revision
from pennylane_qexec.persistence.store.sqlite import SqliteTransactions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """Every connection to a database that is made, to be set in ways that stores have no option for."""
    made: list[Any] = []

    def note(connection: Any, _: Any) -> None:
        made.append(connection)

    event.listen(Engine, "connect", note)
    yield made
    event.remove(Engine, "connect", note)


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What nobody refers to is forgotten at once, and else it stays."""
    gc.disable()
    yield
    gc.enable()


def _job(number: int, size: int = 1000) -> NewJob:
    return NewJob(number, f"key{number}", f"digest{number}", "x" * size)


def _work(store: Store, run: int, acknowledged: list[int]) -> None:
    """Record and do jobs, and note those that were done."""
    for number in range(1000):
        (job,) = store.record(run, [_job(number)])
        store.claim([job.id], store.worker, 30.0)
        acknowledged += store.done([Ended(job.id, "y" * 1000)], store.worker)


def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(path: Path, connections: list[Any]) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        connections[-1].execute("PRAGMA max_page_count = 75")
        acknowledged: list[int] = []
        with pytest.raises(StoreError, match=r"the disk is full\. Make room"):
            _work(store, run, acknowledged)
        assert len(acknowledged) > 10
        connections[-1].execute("PRAGMA max_page_count = 1000000")
        store.record(run, [_job(5000)])
    with open_store(path) as store:
        done = [job.id for job in store.jobs(run) if job.state == "done"]
        assert done == acknowledged
        assert {job.result for job in store.refresh(done)} == {"y" * 1000}


def test_a_file_that_another_program_has_locked_is_an_error_and_free_again_later(path: Path) -> None:
    with open_store(path, patience=0.01) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"is locked by another program\. End that program"):
            store.open_run("vqe")
        assert store.runs() == []
        other.execute("ROLLBACK")
        other.close()
        assert store.open_run("vqe").name == "vqe"


def test_a_store_waits_for_a_program_that_has_the_file_locked(path: Path) -> None:
    with open_store(path) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.05, other.execute, ["COMMIT"]).start()
        assert store.open_run("vqe").name == "vqe"
        other.close()


def test_a_new_store_that_waited_for_another_program_to_begin_has_nothing_locked(
    path: Path, connections: list[Any], no_collection: None
) -> None:
    """Else its first transaction would be refused at once, for all its patience, while the other program writes."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    tries: list[str] = []

    def let_the_third_try_pass(statement: str) -> None:
        if "journal_mode=WAL" in statement:
            tries.append(statement)
            if len(tries) == 3:
                other.execute("COMMIT")

    def watch(connection: Any, _: Any) -> None:
        connection.set_trace_callback(let_the_third_try_pass)

    event.listen(Engine, "connect", watch)
    try:
        gate = SqliteTransactions(make_url(f"sqlite+pysqlite:///{path}"), patience=30.0)
    finally:
        event.remove(Engine, "connect", watch)
    connections[-1].set_trace_callback(None)
    assert len(tries) == 3
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE something (x)")
    threading.Timer(0.05, other.execute, ["COMMIT"]).start()
    assert gate.write(lambda _: "written") == "written"
    gate.close()
    other.close()


def test_an_error_about_a_row_that_is_kept_holds_nothing_of_the_file(path: Path, no_collection: None) -> None:
    with open_store(path) as store:
        for name in "abc":
            store.open_run(name)
        with sqlite3.connect(path) as other:
            other.execute("UPDATE qexec_runs SET seed = 'x' WHERE name = 'b'")
        with pytest.raises(StoreError, match="seed") as kept:
            store.runs()
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)  # nobody reads what was there
        assert "'b'" in str(kept.value)
        other.close()


def test_a_damaged_file_is_an_error_that_says_how_to_save_what_is_left(path: Path) -> None:
    with open_store(path) as store:
        store.record(store.open_run("vqe").id, [_job(number) for number in range(100)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"is damaged\. Keep a copy of it.*\.recover"), open_store(path) as store:
        list(store.jobs())


def test_a_process_that_was_forked_has_a_connection_and_a_name_of_its_own(path: Path) -> None:
    with open_store(path) as store:
        run, worker = store.open_run("vqe").id, store.worker
        child = os.fork()
        if not child:  # nothing here may get back to pytest
            try:
                store.record(run, [_job(1)])
                os._exit(0 if store.worker != worker else 2)
            finally:
                os._exit(1)
        store.record(run, [_job(2)])
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert sorted(job.number for job in store.jobs(run)) == [1, 2]
        assert store.worker == worker


def test_a_fork_while_another_thread_writes_does_no_harm(path: Path, connections: list[Any]) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        in_work, go_on = threading.Event(), threading.Event()

        def clock_that_waits() -> float:
            in_work.set()
            go_on.wait()
            return 0.0

        slow = open_store(path, clock=clock_that_waits)
        thread = threading.Thread(target=slow.record, args=(run, [_job(1)]))
        thread.start()
        in_work.wait()
        child = os.fork()
        if not child:
            try:
                os._exit(0 if slow.runs() else 2)  # the other thread, which has the lock, is not here
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        go_on.set()
        thread.join()
        slow.close()
        assert [job.number for job in store.jobs(run)] == [1]


def test_what_is_sent_is_written_through_to_the_disk(path: Path, connections: list[Any]) -> None:
    said: list[str] = []
    with open_store(path) as store:
        (job,) = store.record(store.open_run("vqe").id, [_job(1)])
        store.claim([job.id], "me", 30.0)
        connections[-1].set_trace_callback(said.append)
        store.sent([job.id], "me", "remote")
        store.done([Ended(job.id, "result")], "me")
    settings = [line for line in said if line.startswith(("PRAGMA", "BEGIN", "COMMIT"))]
    assert settings == [
        *("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT", "PRAGMA synchronous=NORMAL"),
        *("BEGIN IMMEDIATE", "COMMIT"),
    ]


def _insert(connection: Any, digest: str) -> None:
    connection.exec_driver_sql("INSERT INTO qexec_circuits (digest, text) VALUES (?, 'text')", (digest,))


def _digests(transactions: Any) -> list[str]:
    query = "SELECT digest FROM qexec_circuits ORDER BY digest"
    found: list[str] = transactions.read(lambda connection: connection.exec_driver_sql(query).scalars().all())
    return found


def test_ctrl_c_when_a_transaction_has_just_begun_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = sqlite_module.execute

    def execute_interrupted(connection: Any, text: str, *arguments: Any) -> Any:
        found = execute(connection, text, *arguments)
        if text.startswith("BEGIN"):
            raise KeyboardInterrupt
        return found

    with open_store(path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(sqlite_module, "execute", execute_interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.open_run("run")
        store.open_run("run")
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT name FROM qexec_runs").fetchall() == [("run",)]
        other.close()


def test_what_fails_in_a_transaction_or_is_refused_within_one_leaves_the_rest_as_it_was(path: Path) -> None:
    transactions = SqliteTransactions(make_url(f"sqlite:///{path}"), 1.0)
    migrate(transactions)

    def fail(connection: Any) -> None:
        _insert(connection, "failed")
        raise ValueError("in the middle")

    def write_within(connection: Any) -> None:
        _insert(connection, "outer")
        with pytest.raises(StoreError, match="within a transaction"):
            transactions.write(lambda inner: _insert(inner, "inner"))

    with pytest.raises(ValueError, match="in the middle"):
        transactions.write(fail)
    transactions.write(write_within)
    assert _digests(transactions) == ["outer"]
    transactions.close()


def test_tables_are_made_all_or_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade

    def upgrade_and_fail(*arguments: Any) -> None:
        upgrade(*arguments)
        raise OSError("no space left on device")

    transactions = SqliteTransactions(make_url(f"sqlite:///{path}"), 1.0)
    with monkeypatch.context() as patched:
        patched.setattr(command, "upgrade", upgrade_and_fail)
        with pytest.raises(OSError, match="no space"):
            migrate(transactions)
    assert transactions.read(revision) is None
    migrate(transactions)
    assert _digests(transactions) == []
    transactions.close()
