"""Rows that somebody has changed by hand: refused by the name of run, circuit and column."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pennylane_qexec.cli import app
from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import Cached, NewJob, Store, open_store

_OF_JOBS = {
    "state": ["lost", "", 7, b"done"],
    "shots": [-1, 1.5, "many", b"\xff"],
    "number": ["first", -1],
    "attempt": [0, "x"],
    "submitted": ["yesterday", 1e300, -1e300],
    "started": [float("inf"), "x"],
    "finished": ["x", 1e18],
    "seconds": [-1.0, "x"],
    "cost": [float("-inf"), "x", -3],
    "circuits": [-1, "x"],
    "rows": [0, "x"],
    "executor": [b"x"],
    "error": [b"x"],
    "remote_index": ["x", -1],
    "worker": [b"x"],
}
_OF_RUNS = {
    "seed": [-1, "x", 1.5],
    "argv": ["{", "7", '{"a": 1}', "[7]", "[" * 100_000, b"[]"],
    "versions": [b"x"],
    "created": ["x", 1e18],
    "opened": [float("inf")],
}


def _cases(columns: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{value!r:.20}") for name, values in columns.items() for value in values
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "store.db"
    with open_store(place) as store:
        run = store.open_run("vqe").id
        store.record(
            run, [NewJob(number, f"key{number}", f"digest{number}", "circuit") for number in range(3)], "me", 9.0
        )
        store.cache_put([Cached("key", "result")], 1000)
    return place


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path) as opened:
        yield opened


def _change(path: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("column", "value"), _cases(_OF_JOBS))
def test_a_column_of_a_job_that_cannot_be_is_refused_by_its_name(
    path: Path, store: Store, column: str, value: Any
) -> None:
    _change(path, f"UPDATE qexec_jobs SET {column} = ? WHERE id = 2", value)
    which = "circuit 2" if column != "number" else "circuit .*"
    with pytest.raises(StoreError, match=f"{which} of the run 'vqe' has .* as its '{column}' in the store") as caught:
        list(store.jobs())
    assert len(str(caught.value)) < 400
    with pytest.raises(StoreError, match=column):
        store.refresh([1, 2, 3])


@pytest.mark.parametrize(("column", "value"), _cases(_OF_RUNS))
def test_a_column_of_a_run_that_cannot_be_is_refused_by_its_name(
    path: Path, store: Store, column: str, value: Any
) -> None:
    _change(path, f"UPDATE qexec_runs SET {column} = ?", value)
    with pytest.raises(StoreError, match=f"the run 'vqe' has .* as its '{column}' in the store") as caught:
        store.runs()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("table", "column", "value"), [("jobs", "state", "x"), ("runs", "seed", "x"), ("jobs", "shots", -1)]
)
@pytest.mark.parametrize("command", [["runs"], ["runs", "--json"], ["run-info", "vqe"], ["run-info", "vqe", "--json"]])
def test_commands_show_what_cannot_be_without_a_traceback(
    path: Path, command: list[str], table: str, column: str, value: Any
) -> None:
    _change(path, f"UPDATE qexec_{table} SET {column} = ? WHERE id = 1", value)
    said = CliRunner().invoke(app, [*command, "--store", str(path)])
    assert said.exit_code == 2
    assert isinstance(said.exception, SystemExit)
    assert f"as its '{column}' in the store" in " ".join(said.output.split())


def test_a_state_that_there_is_not_is_not_left_out_of_the_counts(path: Path, store: Store) -> None:
    _change(path, "UPDATE qexec_jobs SET state = 'x' WHERE id = 1")
    with pytest.raises(StoreError, match="a circuit of the run 'vqe' has 'x' as its 'state'"):
        store.counts(1)


def test_a_name_that_is_no_text_is_shown_among_those_that_are_known(path: Path, store: Store) -> None:
    _change(path, "UPDATE qexec_runs SET name = x'ff'")
    with pytest.raises(StoreError, match=r"no run is called 'vqe'. Known: b'\\xff'"):
        store.run("vqe")


@pytest.mark.parametrize("values", ["state = 'sending', finished = 7.0", "state = 'failed'", "finished = 7.0"])
def test_a_job_that_has_ended_and_has_not_is_refused(path: Path, store: Store, values: str) -> None:
    _change(path, f"UPDATE qexec_jobs SET {values} WHERE id = 2")
    with pytest.raises(StoreError, match=r"circuit 2 of the run 'vqe' has .* as its 'finished' in the store"):
        store.refresh([2])
    with pytest.raises(StoreError, match="'finished'"):
        list(store.jobs())


@pytest.mark.parametrize("holder", [None, "nobody", "me"])
def test_jobs_of_a_worker_that_is_not_among_the_workers_are_free(path: Path, store: Store, holder: str | None) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE qexec_jobs SET worker = ?", (holder,))
        connection.execute("UPDATE qexec_jobs SET state = 'sending' WHERE id = 2")
        connection.execute("UPDATE qexec_workers SET id = 'another one'")
    connection.close()
    claimed = store.claim([1, 2, 3], "third", 9.0)
    assert [(job.id, job.state, job.worker) for job in claimed] == [
        (1, "claimed", "third"),
        (2, "sending", "third"),
        (3, "claimed", "third"),
    ]


def test_a_worker_whose_lease_is_no_number_is_refused(path: Path, store: Store) -> None:
    store.record(1, [NewJob(7, "key", "digest", "circuit")], "other", 9.0)
    _change(path, "UPDATE qexec_workers SET lease = 'x' WHERE id = 'other'")
    with pytest.raises(StoreError, match="the worker 'other' has 'x' as its 'lease'"):
        store.claim([4], "third", 9.0)


def test_a_cache_whose_times_are_none_is_refused(path: Path, store: Store) -> None:
    _change(path, "UPDATE qexec_cache SET created = 'x'")
    with pytest.raises(StoreError, match="the cache has 'x' as its 'created'"):
        store.cache_info()


def test_a_circuit_whose_text_is_none_is_refused(path: Path, store: Store) -> None:
    _change(path, "UPDATE qexec_circuits SET text = x'ff' WHERE digest = 'digest1'")
    with pytest.raises(StoreError, match="the circuit 'digest1' has"):
        store.circuits(["digest1"])
