"""qexec runs and qexec run-info: what durable runs have recorded."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import string
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pennylane_qexec.cli import app
from pennylane_qexec.persistence.store import Ended, Mark, NewJob, Store, open_store

ERROR = "JobFailedError('north', 'n-7', 'the [cryostat] is warm')"


def _said(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def _record(store: Store) -> None:
    """A run with eight circuits: done, done, two sent, one being sent, two failed, one waiting."""
    run = store.open_run("h2-vqe", ["vqe.py", "--steps", "9"], "python 3.11, numpy 2")
    new = [NewJob(n, f"k{n}", f"d{n}", "c", "north" if n % 2 else "south", "qpu", 100) for n in range(8)]
    ids = [job.id for job in store.record(run.id, new, "me", 1000.0)]
    store.done([Ended(job, "r", seconds=1.5, cost=0.25) for job in ids[:2]], "me")
    store.sending(ids[2:4], "me", "label", "north")
    store.sent(ids[2:4], "me", "n-3")
    store.sending(ids[4:5], "me", "qexec-1-5")
    store.failed([Ended(job, error=ERROR, finished=1000.0 + job) for job in ids[5:7]], "me")
    store.open_run("qaoa")
    store.finish_run("qaoa")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store with two runs."""
    file = tmp_path_factory.mktemp("stores") / "runs.db"
    moments = iter(range(10**9, 10**9 + 100))
    with open_store(file, clock=lambda: float(next(moments))) as store:
        _record(store)
    return file


def test_runs_are_listed_with_what_they_have_used(path: Path) -> None:
    told = json.loads(_said("runs", "--store", str(path), "--json").stdout)
    assert path.name in told["store"]
    qaoa, vqe = told["runs"]
    forked = ["parent", "fork_point", "copied"]
    assert list(vqe) == ["name", "begun", "opened", "finished", *forked, "circuits", "shots", "seconds", "cost"]
    assert [vqe[name] for name in forked] == [None, None, 0]
    assert (qaoa["name"], qaoa["finished"], qaoa["shots"]) == ("qaoa", True, 0)
    assert (vqe["name"], vqe["finished"]) == ("h2-vqe", False)
    assert vqe["begun"].startswith("2001-09-09T01:46:4")
    assert vqe["circuits"] == {"done": 2, "failed": 2, "cancelled": 0, "at_backends": 3, "waiting": 1}
    assert (vqe["shots"], vqe["seconds"], vqe["cost"]) == (200, 3.0, 0.5)


def test_people_get_a_table_of_runs(path: Path) -> None:
    told = _said("runs", "--store", f"sqlite:///{path}")
    assert told.exit_code == 0, told.output
    for text in ("h2-vqe", "2001-09-09 01:46", "not finished", "2 done", "3 at backends", "0.50"):
        assert text in told.stdout


def test_a_run_is_shown_by_executor_with_its_jobs_at_backends_and_its_errors(path: Path) -> None:
    told = json.loads(_said("run-info", "h2-vqe", "--store", str(path), "--json").stdout)
    assert (told["argv"], told["versions"]) == (["vqe.py", "--steps", "9"], "python 3.11, numpy 2")
    executors = {one["executor"]: one["circuits"] for one in told["executors"]}
    assert executors["north"] == {"done": 1, "failed": 1, "cancelled": 0, "at_backends": 2, "waiting": 1}
    assert [(one["executor"], one["job"], one["arrived"], one["circuits"]) for one in told["at_backends"]] == [
        ("north", "n-3", True, 2),
        ("south", "qexec-1-5", False, 1),
    ]
    assert [(one["circuit"], one["error"]) for one in told["errors"]] == [(7, ERROR), (6, ERROR)]


def test_a_run_is_forked_at_a_number_of_circuits_or_a_mark(path: Path, tmp_path: Path) -> None:
    file = str(shutil.copy(path, tmp_path / "runs.db"))
    told = json.loads(_said("runs", "fork", "h2-vqe", "--at", "2", "colder", "--store", file, "--json").stdout)
    assert (told["name"], told["parent"], told["fork_point"], told["copied"]) == ("colder", "h2-vqe", 2, 2)
    assert (told["shots"], told["cost"], told["circuits"]["done"]) == (0, 0.0, 0)
    words = " ".join(_said("run-info", "colder", "--store", file).stdout.split())
    assert "forked from h2-vqe at circuit 2, which had 2 of the circuits done" in words
    with open_store(file) as store:
        store.mark(store.run("h2-vqe").id, Mark("step 1", 1))
    told = _said("runs", "fork", "h2-vqe", "new", "--at", "step 1", "--store", file)
    assert "new has what h2-vqe had recorded up to circuit 1." in " ".join(told.stdout.split())
    refused = _said("runs", "fork", "h2-vqe", "newer", "--store", file)
    assert (refused.exit_code, "3 of the first 8 circuits" in " ".join(refused.stderr.split())) == (2, True)


def test_people_get_tables_of_a_run_and_each_error_once(path: Path) -> None:
    told = _said("run-info", "h2-vqe", "--store", str(path))
    assert told.exit_code == 0, told.output
    words = " ".join(told.stdout.split())
    for text in ("vqe.py --steps 9", "n-3", "perhaps, with the label qexec-1-5", "Circuit 7 and 1 more failed"):
        assert text in words
    assert words.count("the [cryostat] is warm") == 1


def test_the_store_is_that_of_the_environment_if_none_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_STORE", str(path))
    assert len(json.loads(_said("runs", "--json").stdout)["runs"]) == 2


@pytest.mark.parametrize("command", [["runs"], ["run-info", "vqe"]])
def test_without_a_store_both_ways_to_name_one_are_told(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QEXEC_STORE", raising=False)
    told = _said(*command, "--json")
    assert told.exit_code == 2
    assert "--store, or in the environment variable QEXEC_STORE" in json.loads(told.stdout)["error"]


@pytest.mark.parametrize("url", ["other.db", "sqlite:///other.db"])
def test_a_store_that_is_not_there_is_not_made(url: str, tmp_path: Path) -> None:
    told = _said("runs", "--store", url, "--json")
    assert told.exit_code == 2
    assert "there is no file 'other.db'" in json.loads(told.stdout)["error"]
    assert not (tmp_path / "other.db").exists()


def test_of_a_run_that_is_not_there_the_others_are_named(path: Path) -> None:
    told = _said("run-info", "h2", "--store", str(path), "--json")
    assert told.exit_code == 2
    assert "no run is called 'h2'. Known: h2-vqe, qaoa" in json.loads(told.stdout)["error"]


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    open_store(tmp_path / "empty.db").close()
    assert "There are no runs in" in _said("runs", "--store", str(tmp_path / "empty.db")).stdout


def test_a_password_is_never_shown() -> None:
    told = _said("runs", "--store", "postgresql://me:s3cr3t@127.0.0.1:1/nothing?connect_timeout=1", "--json")
    assert told.exit_code == 2
    assert "s3cr3t" not in told.output


@contextmanager
def not_root() -> Iterator[None]:
    """As somebody whom the rights of files mean something to."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("log", ["none", "left by a killed program"])
def test_a_store_is_read_where_nobody_can_write(log: str) -> None:
    folder = Path(tempfile.mkdtemp())
    path = folder / "runs.db"
    try:
        with open_store(path) as store:
            store.open_run("h2-vqe")
            if log != "none":
                for end in ("", "-wal", "-shm"):
                    shutil.copy(folder / f"runs.db{end}", folder / f"killed.db{end}")
                path = folder / "killed.db"
            store.runs()
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        with not_root():
            for command in (["runs"], ["runs", "--json"], ["run-info", "h2-vqe"]):
                said = CliRunner().invoke(app, [*command, "--store", str(path)])
                assert said.exit_code == 0, said.output
                assert "h2-vqe" in said.output
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_names_that_give_orders_to_a_terminal_are_shown_as_text(tmp_path: Path) -> None:
    odd = "\x1b]0;owned\x07\x1b[31m[red]\u202ered\x9b2J"
    with open_store(tmp_path / "runs.db") as store:
        run = store.open_run("vqe", [odd], versions=odd).id
        new = [NewJob(n, f"key{n}", f"digest{n}", "circuit", executor=odd, backend=odd) for n in range(2)]
        first, second = store.record(run, new, "me", 9.0)
        store.failed([Ended(first.id, error=f"{odd}\nand more")], "me")
        store.sending([second.id], "me", odd)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE qexec_runs SET name = ?", (odd,))
    connection.close()
    for command in (["runs"], ["run-info", odd]):
        said = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "runs.db")])
        assert said.exit_code == 0, said.output
        assert set(said.output) - set(string.printable) <= set("─│┌┐└┘├┤┬┴┼━┃┏┓┗┛┡┩╇┳╈┻"), set(said.output)
        assert r"\x1b]0;owned\x07" in said.output
        assert r"[red]" in said.output
    said = CliRunner().invoke(app, ["run-info", f"no{odd}", "--store", str(tmp_path / "runs.db")])
    assert "\x1b" not in said.output
    assert "\x9b" not in said.output
