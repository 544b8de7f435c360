"""Caches and their stores: results outlive the process, and a store that fails fails nothing."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs

import pennylane_qexec as qexec
from pennylane_qexec.circuits.serialization import result_text
from pennylane_qexec.persistence.cache import write_behind
from pennylane_qexec.persistence.cache.cache import Memory
from pennylane_qexec.persistence.cache.keys import ForeignError, copied
from pennylane_qexec.persistence.cache.location import bytes_of, in_words
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.testing import flip

PROGRAM = """
import sys
import pennylane_qexec as qexec
from pennylane_qexec.testing import flip

cluster = qexec.QCluster(["default.qubit"], cache=True)
print(cluster.execute([flip(0.3)])[0].hex(), cluster.history[-1].backend)
# The program ends without closing the cluster.
"""


def kept(path: Path) -> int:
    with open_store(path) as store:
        return store.cache_info().entries


def test_another_cluster_with_the_same_file_is_answered(open_cluster: Any, tmp_path: Path) -> None:
    first = open_cluster(["default.qubit"], cache=str(tmp_path / "cache.db"))
    result = first.execute([flip(0.3)])
    first.close()
    second = open_cluster(["default.qubit"], cache=str(tmp_path / "cache.db"))
    found = second.execute([flip(0.3)])
    assert found == result
    assert type(found[0]) is type(result[0])
    assert second.history[-1].backend == "cache"


def test_clusters_share_a_cache(open_cluster: Any, tmp_path: Path) -> None:
    cache = qexec.Cache(tmp_path / "cache.db")
    first, second = (open_cluster(["default.qubit"], cache=cache) for _ in range(2))
    first.execute([flip(0.3)])
    first.close()
    second.execute([flip(0.3)])
    assert second.history[-1].backend == "cache"


@pytest.mark.slow
def test_a_program_that_ends_leaves_what_it_computed_to_the_next(tmp_path: Path) -> None:
    environment = {**os.environ, "QEXEC_CACHE": str(tmp_path / "mine.db")}
    said = [programs.run(PROGRAM, environment=environment) for _ in range(2)]
    first, second = (done.stdout.split() for done in said)
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("default.qubit", "cache")


def test_the_users_own_cache_is_in_the_users_cache_folder(
    open_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QEXEC_CACHE", raising=False)
    monkeypatch.setattr(
        "pennylane_qexec.persistence.cache.location.user_cache_path", lambda name: tmp_path / "new" / name
    )
    cluster = open_cluster(["default.qubit"], cache=True)
    cluster.execute([flip(0.3)])
    cluster.close()
    assert kept(tmp_path / "new" / "pennylane_qexec" / "results.db") == 1


@pytest.mark.parametrize("damage", ["nonsense", '{"format": "result"}', ""])
def test_a_damaged_result_is_run_again(open_cluster: Any, tmp_path: Path, damage: str) -> None:
    first = open_cluster(["default.qubit"], cache=tmp_path / "cache.db")
    result = first.execute([flip(0.3)])
    first.close()
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("UPDATE qexec_cache SET result = ?", (damage,))
    database.close()
    second = open_cluster(["default.qubit"], cache=tmp_path / "cache.db")
    assert second.execute([flip(0.3)]) == result
    assert second.history[-1].backend == "default.qubit"


@pytest.mark.slow
@pytest.mark.parametrize(
    "result",
    [np.zeros((8, 2), dtype=int), "0.3", (0.1, 0.2), {"00": 50}, np.zeros(50), np.full((50, 2), 2)],
    ids=lambda result: str(type(result)),
)
def test_what_cannot_be_the_result_of_a_circuit_is_said_and_run_again(
    open_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, result: Any
) -> None:
    samples = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.sample(wires=[0, 1])], shots=50)
    options = {"executors": [qexec.executor("default.qubit", seed=7)], "cache": {"url": tmp_path / "cache.db"}}
    first = open_cluster(**options)
    (before,) = first.execute([samples])
    first.close()
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("UPDATE qexec_cache SET result = ?", (result_text(result),))
    database.close()
    second = open_cluster(**options)
    (after,) = second.execute([samples])
    assert np.shape(after) == np.shape(before) == (50, 2)
    assert second.history[-1].backend == "default.qubit"
    assert "is not that of sample(wires=[0, 1]) on 'default.qubit', and its circuit runs again" in caplog.text
    second.close()
    third = open_cluster(**options)
    assert np.array_equal(third.execute([samples])[0], after)
    assert third.history[-1].backend == "cache"


def test_a_store_that_fails_is_logged_once_and_memory_goes_on(
    open_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = open_cluster(["default.qubit"], cache=tmp_path / "cache.db")
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("DROP TABLE qexec_cache")
    database.close()
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        for angle in (0.1, 0.2, 0.1):
            cluster.execute([flip(angle)])
    assert cluster.history[-1].backend == "cache"
    assert [record.getMessage() for record in caplog.records if "goes on in memory" in record.getMessage()] != []
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_a_store_that_is_locked_holds_nobody_up(
    open_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = open_cluster(["default.qubit"], cache=tmp_path / "cache.db")
    other = sqlite3.connect(tmp_path / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        np.testing.assert_allclose(cluster.execute([flip(0.3)]), np.cos(0.3))
        cluster.cache.flush()  # as at the end of the program
        cluster.execute([flip(0.3)])
    other.execute("ROLLBACK")
    other.close()
    assert cluster.history[-1].backend == "cache"
    assert "is locked by another program" in caplog.text


def test_a_folder_that_cannot_be_written_is_logged_and_memory_has_to_do(
    open_cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        cluster = open_cluster(["default.qubit"], cache=tmp_path / "file" / "cache.db")
    assert "in memory only" in caplog.text
    cluster.execute([flip(0.3)])
    cluster.execute([flip(0.3)])
    assert cluster.history[-1].backend == "cache"
    assert cluster.cache.url == ""
    assert (cluster.cache.info().entries, cluster.cache.clear()) == (0, 0)


def test_a_store_keeps_no_more_than_its_size(tmp_path: Path) -> None:
    with qexec.Cache(tmp_path / "cache.db", size=2000) as cache:
        for number in range(20):
            cache.put([(f"{number:032}", np.zeros(20))])
            cache.flush()
        assert 0 < cache.info().bytes <= 2000


def test_results_that_come_soon_after_each_other_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_behind, "_TOGETHER", 3600.0)
    with open_store(tmp_path / "cache.db") as store:
        written: list[int] = []
        put = store.cache_put

        def put_counted(items: list[Any], most_bytes: int) -> None:
            written.append(len(items))
            put(items, most_bytes)

        monkeypatch.setattr(store, "cache_put", put_counted)
        cache = qexec.Cache(store)
        for number in range(3):
            cache.put([(f"{number:032}", 1.0)])
        cache.flush()
        assert written == [3]
        cache.put([(f"{number:032}", 1.0) for number in range(10, 510)])  # many are written at once
        cache.flush()
        assert sum(written) == 503
        assert store.cache_info().entries == 503


def test_who_waits_for_results_does_not_wait_for_those_that_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(write_behind, "_TOGETHER", 3600.0)
    with open_store(tmp_path / "cache.db") as store:
        cache, put = qexec.Cache(store), store.cache_put

        def put_while_others_go_on(items: list[Any], most_bytes: int) -> None:
            if items[0].key == "first":
                cache.put([("later", 2.0)])
            put(items, most_bytes)

        monkeypatch.setattr(store, "cache_put", put_while_others_go_on)
        cache.put([("first", 1.0)])
        cache.flush()
        assert store.cache_get(["first", "later"]).keys() == {"first"}
        cache.flush()
        assert store.cache_get(["first", "later"]).keys() == {"first", "later"}
    assert not caplog.records


def test_another_cache_on_the_file_finds_what_waits_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_behind, "_TOGETHER", 3600.0)
    with qexec.Cache(tmp_path / "cache.db") as one, qexec.Cache(tmp_path / "cache.db") as other:
        other.open()
        one.put([("a", 1.0)])
        assert other.get(["a"]) == {"a": 1.0}


def test_results_that_a_store_did_not_take_in_time_do_not_come_after_it_was_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(write_behind, "_TOGETHER", 0.0)
    with open_store(tmp_path / "cache.db") as store:
        cache, put = qexec.Cache(store), store.cache_put
        begun, goes_on = threading.Event(), threading.Event()

        def put_late(items: list[Any], most_bytes: int) -> None:
            begun.set()
            goes_on.wait(60)
            put(items, most_bytes)

        monkeypatch.setattr(store, "cache_put", put_late)
        cache.put([("a", 1.0)])
        assert begun.wait(60)
        cache.put([("b", 2.0)])
        with monkeypatch.context() as patched:
            patched.setattr(write_behind, "_AT_LEAVING", 0.0)
            cache.flush()
        goes_on.set()
        cache.clear()
        cache.flush()
        assert store.cache_info().entries == 0
    assert "1 results are not kept" in caplog.text


def test_where_no_thread_can_be_started_results_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    with open_store(tmp_path / "cache.db") as store:
        cache = qexec.Cache(store)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            cache.put([("a", 1.0)])
        assert store.cache_info().entries == 1
        cache.put([("b", 2.0)])
        cache.flush()
        assert store.cache_info().entries == 2


FORKING = """
import atexit, multiprocessing, sys, threading
import pennylane_qexec as qexec
from pennylane_qexec.persistence.cache import write_behind

write_behind._TOGETHER = 3600.0
cache = qexec.Cache(sys.argv[1])
cache.put([("parent", 1.0)])
child = multiprocessing.get_context("fork").Process(target=cache.put, args=([("child", 2.0)],))
child.start()
child.join()
after_main = threading.Thread(target=lambda: (threading.main_thread().join(), cache.put([("thread", 3.0)])))
after_main.start()
atexit.register(cache.put, [("at exit", 4.0)])
"""


@pytest.mark.slow
def test_the_end_of_a_program_of_its_threads_and_of_a_forked_process_wait_for_their_results(tmp_path: Path) -> None:
    programs.run(FORKING, str(tmp_path / "cache.db"))
    assert kept(tmp_path / "cache.db") == 4


def test_a_cache_is_cleared_in_memory_and_in_the_store(tmp_path: Path) -> None:
    with qexec.Cache(tmp_path / "cache.db") as cache:
        cache.put([("a", 1.0), ("b", 2.0)])
        assert cache.info().entries == 2
        assert cache.clear() == 2
        assert cache.get(["a", "b"]) == {}


def test_a_store_given_is_not_closed(tmp_path: Path) -> None:
    with open_store(tmp_path / "cache.db") as store:
        with qexec.Cache(store) as cache:
            cache.put([("a", 1.0)])
        assert store.cache_info().entries == 1


def test_memory_forgets_what_was_not_used_for_longest() -> None:
    memory = Memory(3000)
    memory.put([("a", np.zeros(100)), ("b", np.zeros(100))])
    memory.get(["a"])
    memory.put([("c", np.zeros(100))])
    assert sorted(memory.get(["a", "b", "c"])) == ["a", "c"]


def test_what_is_larger_than_memory_is_not_kept_there() -> None:
    memory = Memory(3000)
    memory.put([("a", np.zeros(1000))])
    assert memory.get(["a"]) == {}


RESULTS = [
    1.5,
    np.float64(1.5),
    np.float32(1.5),
    np.array(1.5),
    np.arange(6, dtype=np.int8).reshape(2, 3),
    (np.array([1 + 2j]), {"00": 5, np.str_("01"): np.int64(6)}),
    [(), None, True],
]


@pytest.mark.parametrize("result", RESULTS, ids=repr)
def test_results_come_back_from_the_store_as_they_were(tmp_path: Path, result: Any) -> None:
    with qexec.Cache(tmp_path / "cache.db") as cache:
        cache.put([("a", copied(result))])
    with qexec.Cache(tmp_path / "cache.db") as cache:
        assert repr(cache.get(["a"])["a"]) == repr(result)


@pytest.mark.parametrize(
    "result",
    [{1, 2}, np.array([None]), (1.0, [object()]), np.ma.array([1.0])],
    ids=["a set", "an array of objects", "an object in a list", "a masked array"],
)
def test_what_is_not_plain_is_not_copied(result: Any) -> None:
    with pytest.raises(ForeignError):
        copied(result)


@pytest.mark.parametrize(
    ("text", "number"), [(7, 7), ("7 B", 7), ("1 GB", 10**9), ("1.5 MiB", 3 * 2**19), ("2kB", 2000), ("1 KiB", 1024)]
)
def test_sizes_are_read(text: Any, number: int) -> None:
    assert bytes_of(text) == number


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "GB", "1 XB", "-1 GB", "0 GB", None])
def test_wrong_sizes_are_refused(wrong: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="is no size"):
        bytes_of(wrong)


def test_sizes_are_written_for_people() -> None:
    assert [in_words(size) for size in (999, 1500, 2 * 10**9, 3 * 10**12)] == ["999 B", "1.5 kB", "2 GB", "3 TB"]
