"""Databases are brought up to date when they are opened."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from fakes.earlier_store import make_store_of_0001
from sqlalchemy import create_engine

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import NewJob, open_store
from pennylane_qexec.persistence.store.sql import MIGRATIONS
from pennylane_qexec.persistence.store.tables import REVISION, VERSION_TABLE, metadata


def test_the_migrations_end_at_the_tables_of_today(tmp_path: Path) -> None:
    open_store(tmp_path / "new.db").close()
    with create_engine(f"sqlite:///{tmp_path}/new.db").connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_store_of_the_first_version_is_brought_up_to_date_with_what_it_has(tmp_path: Path) -> None:
    make_store_of_0001(f"sqlite:///{tmp_path}/old.db")
    with open_store(tmp_path / "old.db") as store:
        run = store.run("vqe")
        assert (run.id, run.seed, run.argv, run.finished, run.concurrent) == (7, 42, ("vqe.py",), True, False)
        (job,) = store.record(7, [NewJob(0, "key0", "digest0", "circuit 0")])
        assert (job.state, job.result) == ("done", "the result")
        assert (job.circuits, job.rows) == (1, 1)
        store.note_concurrent(7)
    with open_store(tmp_path / "old.db") as store:
        assert store.run("vqe").concurrent


def test_the_last_migration_is_the_one_that_opening_looks_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [REVISION]


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path / "new.db").close()
    with sqlite3.connect(tmp_path / "new.db") as later:
        later.execute(f"UPDATE {VERSION_TABLE} SET version_num = '2042'")
    with pytest.raises(StoreError, match="made by a later version of pennylane-qexec: its tables are at '2042'"):
        open_store(tmp_path / "new.db")
    with sqlite3.connect(tmp_path / "new.db") as damaged:
        damaged.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", ("[" * 100_000,))
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "new.db")
    assert len(str(caught.value)) < 500


def test_tables_of_other_programs_stay(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shared.db") as other:
        other.execute("CREATE TABLE jobs (x)")
    open_store(tmp_path / "shared.db").close()
    assert other.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_threads_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    def run(number: int) -> str:
        with open_store(tmp_path / "new.db") as store:
            return store.open_run(f"run {number}").name

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(run, range(4)))
    with open_store(tmp_path / "new.db") as store:
        assert sorted(run.name for run in store.runs()) == names
