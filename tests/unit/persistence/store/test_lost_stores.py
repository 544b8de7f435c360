"""Stores whose files are deleted, moved, replaced or restored from a backup while they are open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import Cached, Ended, NewJob, State, open_store
from pennylane_qexec.persistence.store.database import LostStoreError

_LEASE = 1000.0


def _delete(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink()


def _move(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def _replace(path: Path) -> None:
    open_store(path.with_name("other.db")).close()
    path.with_name("other.db").replace(path)


def _delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def _delete_index(path: Path) -> None:
    path.with_name(path.name + "-shm").unlink()


def _delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


_WAYS = [_delete, _move, _replace, _delete_log, _delete_index, _delete_folder]
_JOB, _NEXT = (NewJob(number, f"key{number}", f"digest{number}", "circuit") for number in range(2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "store.db"


def _saved(error: BaseException) -> Path:
    """The file that an error says the records are in."""
    return Path(str(error).split("is saved in '")[1].split("'")[0])


@pytest.mark.parametrize("happens", _WAYS)
def test_nothing_is_begun_in_a_store_that_the_next_program_would_not_find(
    path: Path, happens: Callable[[Path], None]
) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        (mine,) = store.record(run, [_JOB], "me", _LEASE)
        happens(path)
        begins: list[Callable[[], object]] = [
            lambda: store.open_run("vqe"),
            lambda: store.record(run, [_NEXT]),
            lambda: store.record(run, [_NEXT], "me", _LEASE),
            lambda: store.claim([mine.id], "other", _LEASE),
            lambda: store.renew("me"),
            lambda: store.sending([mine.id], "me", "label"),
            lambda: store.cache_put([Cached("key", "result")], 1000),
        ]
        for begin in begins:
            with pytest.raises(StoreError, match="while this program had it open: nothing else is begun"):
                begin()


@pytest.mark.parametrize("happens", _WAYS)
def test_what_was_recorded_until_the_end_is_saved_and_can_be_put_back(
    path: Path, happens: Callable[[Path], None]
) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        first, second = store.record(run, [_JOB, _NEXT], "me", _LEASE)
        store.sending([first.id, second.id], "me", "label")
        happens(path)
        with pytest.raises(LostStoreError) as caught:
            store.renew("me")
        store.sent([first.id, second.id], "me", "remote")
        store.done([Ended(first.id, "the result")], "me")
    saved = _saved(caught.value)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    path.parent.mkdir(exist_ok=True)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    saved.replace(path)
    with open_store(path) as store:
        rows = store.refresh([first.id, second.id])
        assert [(row.state, row.remote_id, row.result) for row in rows] == [
            ("done", "remote", "the result"),
            ("sent", "remote", None),
        ]


def test_a_store_that_takes_the_place_of_a_deleted_one_loses_nothing_to_it(path: Path) -> None:
    with open_store(path) as old:
        old.open_run("old")
        _delete(path)
        with open_store(path) as new:
            run = new.open_run("new").id
            with pytest.raises(LostStoreError, match="was replaced by another file"):
                old.renew("me")
            old.close()
            new.record(run, [_JOB])
            with open_store(path) as again:
                assert [one.name for one in again.runs()] == ["new"]


def test_a_backup_that_is_copied_over_an_open_store_is_noticed(path: Path) -> None:
    with open_store(path) as store:
        store.open_run("vqe")
    backup = shutil.copy(path, path.with_name("backup.db"))
    with open_store(path) as store:
        run = store.run("vqe").id
        store.record(run, [NewJob(number, f"key{number}", f"digest{number}", "x" * 9000) for number in range(20)])
    with open_store(path) as store:
        store.open_run("vqe")
        assert store.record(run, [_JOB])
        shutil.copyfile(backup, path)
        with pytest.raises(LostStoreError, match=r"was overwritten by another file, such as a backup.*copy the backup"):
            store.record(run, [NewJob(30, "key", "digest", "circuit")])


def test_an_emptied_file_is_noticed(path: Path) -> None:
    with open_store(path) as store:
        store.open_run("vqe")
        path.write_bytes(b"")
        with pytest.raises(LostStoreError, match="was overwritten"):
            store.renew("me")


@pytest.mark.parametrize("begin", ["renew", "sending", "record", "claim"])
def test_a_run_that_is_deleted_or_replaced_within_the_database_is_noticed(path: Path, begin: str) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        (job,) = store.record(run, [_JOB], "me", _LEASE)
        other = sqlite3.connect(path)
        other.execute("UPDATE qexec_runs SET seed = 1")
        other.execute("DELETE FROM qexec_workers")  # as where the database was restored
        other.commit()
        other.close()
        begins: dict[str, Callable[[], object]] = {
            "renew": lambda: store.renew("me"),
            "sending": lambda: store.sending([job.id], "me", "label"),
            "record": lambda: store.record(run, [_NEXT], "me", _LEASE),
            "claim": lambda: store.claim([job.id], "me", _LEASE),
        }
        with pytest.raises(LostStoreError, match="has the run 'vqe' no more, which this program has open"):
            begins[begin]()
        assert store.counts(run) == {State.CLAIMED: 1}


def test_a_link_that_leads_to_another_file_is_noticed(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with open_store(link) as store:
        store.open_run("vqe")
        assert not store.renew("me")
        open_store(path.with_name("other.db")).close()
        link.unlink()
        link.symlink_to(path.with_name("other.db"))
        with pytest.raises(LostStoreError, match="was replaced by another file"):
            store.renew("me")


def test_files_that_other_programs_open_and_close_stay_the_same(path: Path) -> None:
    with open_store(path) as store:
        run = store.open_run("vqe").id
        for number in range(3):
            with open_store(path) as other:
                other.record(run, [NewJob(number, f"key{number}", f"digest{number}", "x" * 9000)])
            other = sqlite3.connect(path)
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("VACUUM")
            other.close()
            assert not store.renew("me")
    assert sorted(each.name for each in path.parent.iterdir()) == ["store.db"]


def test_a_forked_process_makes_no_new_store_in_place_of_a_deleted_one(path: Path) -> None:
    with open_store(path) as store:
        _delete(path)
        child = os.fork()
        if not child:  # nothing here may get back to pytest
            try:
                store.runs()
            except LostStoreError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not path.exists()


def test_a_store_named_by_a_uri_of_sqlite_is_watched_too(path: Path) -> None:
    with open_store(f"sqlite:///file:{path}?uri=true") as store:
        store.open_run("vqe")
        _delete(path)
        with pytest.raises(LostStoreError, match="was deleted or moved"):
            store.renew("me")
