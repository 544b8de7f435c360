"""Stores whose server goes and comes back, whose wire is cut, whose processes are killed or many."""

from __future__ import annotations

import pickle
import random
import secrets
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fakes.earlier_store import make_store_of_0001
from fakes.postgresql import PostgresServer
from fakes.severed import Severed
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from pennylane_qexec import Cache
from pennylane_qexec.cli import app
from pennylane_qexec.errors import QExecError, StoreError
from pennylane_qexec.persistence.store import Ended, NewJob, State, Store, open_store
from pennylane_qexec.persistence.store.tables import VERSION_TABLE, metadata

pytestmark = pytest.mark.integration

_LEASE = 1000.0

WORKS_UNTIL_KILLED = """
import sys
from pennylane_qexec.store import Ended, NewJob, open_store

with open_store(sys.argv[1]) as store:
    run = store.open_run("vqe")
    for first in range(0, 10**6, 10):
        new = [NewJob(n, f"k{n}", f"d{n}", f"circuit {n}") for n in range(first, first + 10)]
        jobs = store.record(run.id, new, store.worker, 1000.0)
        store.claim([job.id for job in jobs], store.worker, 1000.0)
        store.sent([job.id for job in jobs], store.worker, f"remote {first}")
        print("sent", first, flush=True)
        store.done([Ended(job.id, f"result {job.number}") for job in jobs], store.worker)
        print("done", first, flush=True)
"""
CLAIMS = """
import random, sys
from pennylane_qexec.store import open_store

with open_store(sys.argv[1]) as store:
    ids = [job.id for job in store.jobs()]
    random.Random(int(sys.argv[2])).shuffle(ids)
    print("ready", flush=True)
    input()
    claimed = [store.claim(ids[start : start + 2], store.worker, 1000.0) for start in range(0, len(ids), 2)]
    print(*(job.id for jobs in claimed for job in jobs), flush=True)
    input()  # lives until all have claimed: what a dead process had is free
"""
OPENS = "import sys; from pennylane_qexec.store import open_store; open_store(sys.argv[1]).open_run(sys.argv[2])"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.new_place()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store is: in either database."""
    return str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("url")


def _jobs(store: Store, count: int) -> list[int]:
    run = store.open_run("vqe").id
    return [job.id for job in store.record(run, [NewJob(n, f"k{n}", f"d{n}", "circuit") for n in range(count)])]


def test_a_server_that_was_started_again_is_not_noticed(server: PostgresServer, url: str) -> None:
    with open_store(url) as store:
        ids = _jobs(store, 3)
        store.claim(ids, "me", _LEASE)
        server.stop("immediate")
        server.start()
        assert store.sent(ids, "me", "remote") == ids
        server.stop("fast")
        server.start()
        assert [job.remote_id for job in store.refresh(ids)] == ["remote"] * 3


def test_a_server_that_is_away_for_a_while_is_waited_for(server: PostgresServer, url: str) -> None:
    with open_store(url) as store:
        ids = _jobs(store, 3)
        store.claim(ids, "me", _LEASE)
        server.stop("immediate")
        back = threading.Timer(0.5, server.start)
        back.start()
        assert store.done([Ended(job, "result") for job in ids], "me") == ids
        back.join()
        assert {job.result for job in store.refresh(ids)} == {"result"}


def test_a_server_that_stays_away_is_an_error_and_nothing_acknowledged_is_lost(
    server: PostgresServer, url: str
) -> None:
    with open_store(url, patience=0.3) as store:
        ids = _jobs(store, 3)
        store.claim(ids, "me", _LEASE)
        server.stop("immediate")
        try:
            with pytest.raises(StoreError, match=r"cannot be reached\. Start the server"):
                store.done([Ended(job, "result") for job in ids], "me")
        finally:
            server.start()
        assert [job.state for job in store.refresh(ids)] == ["claimed"] * 3
        assert store.done([Ended(job, "result") for job in ids], "me") == ids


@pytest.mark.parametrize("word", [b"COMMIT", b"UPDATE", b"INSERT"])
def test_what_is_done_when_the_wire_is_cut_is_done_once(server: PostgresServer, word: bytes) -> None:
    with Severed(server.port) as wire, open_store(server.new_place(wire.port)) as store:
        run = store.open_run("vqe").id
        wire.cut_after(word)
        ids = [job.id for job in store.record(run, [NewJob(n, f"k{n}", f"d{n}", "circuit") for n in range(5)])]
        wire.cut_after(word)
        assert [job.id for job in store.claim(ids, "me", _LEASE)] == ids
        assert store.claim(ids, "me", _LEASE) == []
        wire.cut_after(word)
        assert store.sent(ids, "me", "remote") == ids
        wire.cut_after(word)
        assert store.done([Ended(job, "result", cost=1.0) for job in ids], "me") == ids
        assert [(job.state, job.cost, job.attempt) for job in store.refresh(ids)] == [("done", 1.0, 1)] * 5
        assert wire.cuts >= 2


def test_a_table_that_another_program_has_locked_is_an_error_and_free_again_later(url: str) -> None:
    with open_store(url, patience=0.2) as store:
        ids = _jobs(store, 1)
        with create_engine(url).begin() as other:
            other.execute(text("LOCK TABLE qexec_jobs"))
            with pytest.raises(StoreError, match=r"is locked by another program\. End that program"):
                store.claim(ids, "me", _LEASE)
        assert [job.id for job in store.claim(ids, "me", _LEASE)] == ids


def test_a_run_that_is_deleted_or_restored_otherwise_while_it_is_open_is_noticed(url: str) -> None:
    with open_store(url) as store:
        ids = _jobs(store, 2)
        store.claim(ids, "me", _LEASE)
        with create_engine(url).begin() as other:
            other.execute(text("TRUNCATE qexec_runs, qexec_circuits, qexec_workers RESTART IDENTITY CASCADE"))
        with open_store(url) as restored:
            _jobs(restored, 2)
        for begin in (
            lambda: store.renew("me"),
            lambda: store.sending(ids, "me", "label"),
            lambda: store.claim(ids, "me", _LEASE),
        ):
            with pytest.raises(StoreError, match="has the run 'vqe' no more, which this program has open"):
                begin()


def test_a_password_is_in_no_error(server: PostgresServer) -> None:
    password = secrets.token_hex(8)
    with pytest.raises(StoreError, match="does not let us in") as caught:
        open_store(f"postgresql://nobody-we-know:{password}@127.0.0.1:{server.port}/postgres")
    assert password not in "".join(traceback.format_exception(caught.value))


def test_a_database_that_is_not_there_is_an_error(server: PostgresServer, url: str) -> None:
    with pytest.raises(StoreError, match=r"does not let us in\. Correct the name of the database"):
        open_store(f"postgresql://qexec:secret@127.0.0.1:{server.port}/nowhere")


def test_the_migrations_end_at_the_tables_of_today_in_postgresql_too(url: str) -> None:
    open_store(url).close()
    with create_engine(url).connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_store_of_the_first_version_is_brought_up_to_date_in_postgresql_too(url: str) -> None:
    make_store_of_0001(url)
    with open_store(url) as store:
        store.note_concurrent(7)
        assert (store.run("vqe").concurrent, store.run("vqe").seed) == (True, 42)
        assert store.record(7, [NewJob(0, "key0", "digest0", "circuit 0")])[0].result == "the result"


def test_processes_may_open_a_new_database_at_once(place: str) -> None:
    command = [sys.executable, "-c", OPENS, place]
    started = [subprocess.Popen([*command, f"run {number}"]) for number in range(6)]
    assert [process.wait(timeout=120) for process in started] == [0] * 6
    with open_store(place) as store:
        assert len(store.runs()) == 6


def test_four_processes_claim_each_of_four_hundred_jobs_once(place: str) -> None:
    with open_store(place) as store:
        ids = _jobs(store, 400)
    processes = [_started(CLAIMS, place, str(seed)) for seed in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("now\n")
        process.stdin.flush()
    claimed = [[int(job) for job in process.stdout.readline().split()] for process in processes]
    for process in processes:
        process.communicate("end\n")
    assert sorted(job for jobs in claimed for job in jobs) == ids


def test_nothing_acknowledged_is_lost_when_a_process_is_killed(place: str) -> None:
    chance = random.Random(7)
    acknowledged: dict[str, set[int]] = {"sent": set(), "done": set()}
    for _ in range(4):
        _work_and_be_killed(place, acknowledged, lines=chance.randrange(5, 60))
    with open_store(place) as store:
        run = store.run("vqe").id
        found = {job.number: job for job in store.refresh([job.id for job in store.jobs(run)])}
        assert len(acknowledged["done"]) > 5
        for first in acknowledged["sent"]:
            assert {found[number].remote_id for number in range(first, first + 10)} == {f"remote {first}"}
        for first in acknowledged["done"]:
            assert [found[n].result for n in range(first, first + 10)] == [
                f"result {n}" for n in range(first, first + 10)
            ]
        assert {job.state for job in found.values()} <= {State.DONE, State.SENT, State.CLAIMED, State.WAITING}


def _work_and_be_killed(place: str, acknowledged: dict[str, set[int]], lines: int) -> None:
    """Let a process work until it has said so many lines, kill it, and note all that it has said until then."""
    process = _started(WORKS_UNTIL_KILLED, place)
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    rest, _ = process.communicate()
    for line in [*said, *rest.splitlines(keepends=True)]:
        if line.endswith("\n"):
            word, first = line.split()
            acknowledged[word].add(int(first))


def _started(script: str, *arguments: str) -> Any:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


PASSWORD = "s3cr3t/pass-4711"
QUOTED = quote(PASSWORD, safe="")
REFUSED = {
    "wrong password": "postgresql://guarded:{password}@127.0.0.1:{port}/postgres",
    "wrong password in the query": "postgresql://guarded@127.0.0.1:{port}/postgres?password={password}",
    "unknown user": "postgresql://nobody-we-know:{password}@127.0.0.1:{port}/postgres",
    "unknown database": "postgresql://qexec:{password}@127.0.0.1:{port}/nowhere",
    "unknown option": "postgresql://qexec@127.0.0.1:{port}/postgres?password={password}&nonsense=1",
    "gone server": "postgresql://qexec:{password}@127.0.0.1:1/postgres?connect_timeout=1",
}


@pytest.fixture(scope="module")
def guarded(server: PostgresServer) -> PostgresServer:
    """The server, with a user who has a password."""
    server.guard("guarded", "pa55 w0rd")
    return server


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_the_password_of_a_server_that_refuses_leaves_nowhere(
    guarded: PostgresServer, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    url = given.format(password=QUOTED, port=guarded.port)
    with caplog.at_level("DEBUG"), pytest.raises(StoreError) as caught:
        open_store(url, patience=0.1)
    error = caught.value
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # the test's own has the URL
    told = traceback.TracebackException(StoreError, error, frames, capture_locals=True)
    cache = Cache(url)
    said = [
        *traceback.format_exception(error),
        *told.format(),
        repr(pickle.loads(pickle.dumps(error))),
        repr(cache),
        *[CliRunner().invoke(app, ["runs", *more, "--store", url]).output for more in ([], ["--json"])],
        CliRunner().invoke(app, ["cache", "info", "--store", url]).output,
    ]
    cache.close()
    said += [record.getMessage() for record in caplog.records]
    assert "4711" not in "".join(said).replace("\n", "")


def test_a_store_that_lets_us_in_hides_its_password_too(guarded: PostgresServer) -> None:
    place = f"postgresql://guarded:pa55%20w0rd@127.0.0.1:{guarded.port}/postgres"
    with open_store(place) as store:
        assert "w0rd" not in f"{store!r} {store.url}"
        with pytest.raises((TypeError, QExecError)) as caught:
            pickle.dumps(Cache(place))
        assert "w0rd" not in str(caught.value)
    shown = CliRunner().invoke(app, ["runs", "--store", place])
    assert shown.exit_code == 0
    assert "w0rd" not in shown.output
