"""Stores are opened by a path, a URL or themselves; what cannot be opened says why, and shows no password."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.persistence.store import open_store


def test_a_path_a_url_and_a_store_open_the_same_store(tmp_path: Path) -> None:
    path = tmp_path / "a 100% store.db"
    with open_store(path) as store:
        store.open_run("vqe")
        assert open_store(store) is store
    for again in (str(path), f"sqlite:///{path}"):
        with open_store(again) as store:
            assert [run.name for run in store.runs()] == ["vqe"]


def test_a_store_stays_where_it_was_opened_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///vqe.db") as store:
        assert store.url == f"sqlite+pysqlite:///{tmp_path}/vqe.db"


def test_a_store_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with open_store("~/vqe.db"):
        assert (tmp_path / "vqe.db").exists()


@pytest.mark.parametrize("nowhere", ["sqlite://", "", ":memory:", "sqlite:///file::memory:?uri=true"])
def test_a_store_in_memory_is_refused(nowhere: str) -> None:
    with pytest.raises(ConfigurationError, match="lost with its process"):
        open_store(nowhere)


@pytest.mark.parametrize("store", [None, 7, True])
def test_what_is_no_store_is_refused(store: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"names no store\. Give a file such as 'vqe\.db'"):
        open_store(store)


def test_other_databases_are_refused_without_showing_their_password() -> None:
    with pytest.raises(ConfigurationError, match="'mysql' is no kind of store") as caught:
        open_store("mysql://user:secret@host/database")
    assert "secret" not in str(caught.value)


def test_a_broken_url_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ConfigurationError, match="begins with 'postgresql://' is none") as caught:
        open_store("postgresql://user:secret@host:port/database")
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_server_that_is_not_there_is_an_error_without_the_password() -> None:
    with pytest.raises(StoreError, match=r"cannot be reached\. Start the server") as caught:
        open_store("postgresql+psycopg://user:secret@127.0.0.1:1/database")
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "secret" not in f"{chain} {chain!r}"
        chain = chain.__cause__ or chain.__context__
    assert "user:***@" in str(caught.value)


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'pennylane-qexec\[postgresql\]'"):
        open_store("postgresql://user@127.0.0.1:1/database")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("nothing of a database\n" * 100)
    with pytest.raises(StoreError, match=r"is not a SQLite database\. Give another file"):
        open_store(path)
    assert path.read_text() == "nothing of a database\n" * 100


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be opened\. Its folder must exist"):
        open_store(tmp_path / "nowhere" / "vqe.db")


def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    me = os.geteuid()
    os.seteuid(me or 65534)  # root may write everywhere
    try:
        with pytest.raises(StoreError, match=r"cannot be opened\. Its folder must exist, and you must be allowed"):
            open_store(locked / "vqe.db")
    finally:
        os.seteuid(me)


def test_a_file_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vqe.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE something (x)")
    with pytest.raises(StoreError, match=r"cannot be written\. Give a file"):
        open_store(f"sqlite:///file:{path}?mode=ro&uri=true")


def test_a_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"at least 3\.35 is needed"):
        open_store(tmp_path / "vqe.db")
