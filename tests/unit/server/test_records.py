"""What servers record of jobs, in both databases."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.postgresql import PostgresServer
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pennylane_qexec.server.records import (
    JobFilter,
    JobStatus,
    NewServerJob,
    NewServerSession,
    QueueFullError,
    Records,
    ServerJob,
    SessionMode,
    User,
    lists,
    open_records,
)
from pennylane_qexec.testing.stores.jobs import ManualClock

ANN, BOB, ROOT = User("ann"), User("bob"), User("root", admin=True)
LEASE = 20.0
MANY = 1000
CLAIMS = """
import os, random, sys
from pennylane_qexec.server.records import open_records

with open_records(sys.argv[1]) as records:
    random.seed(int(sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    while waiting := records.queued(20):
        ids = [job.id for job in waiting]
        print(*[job.id for job in records.claim(random.sample(ids, min(3, len(ids))))])
    sys.stdout.flush()
    os._exit(0)  # as if killed: else the jobs wait again
"""
PAYLOAD = b'{"pubs": []}'


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store, to be copied: it takes a while to make one."""
    path = tmp_path_factory.mktemp("records") / "empty.db"
    open_records(path).close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(shutil.copy(request.getfixturevalue("empty"), tmp_path / "store.db"))
    return str(request.getfixturevalue("postgres").new_place())


class Clocks:
    def __init__(self) -> None:
        self.now = ManualClock()
        self.monotonic = ManualClock(0.0)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def opened(place: str, clocks: Clocks) -> Iterator[Callable[[], Records]]:
    """Opens the records of servers of one store, and closes them at the end."""
    servers: list[Records] = []

    def another() -> Records:
        servers.append(open_records(place, lease=LEASE, clock=clocks.now, monotonic=clocks.monotonic))
        return servers[-1]

    yield another
    for server in servers:
        server.close()


@pytest.fixture
def records(opened: Callable[[], Records]) -> Records:
    return opened()


def new(job: str, user: str = "ann", backend: str = "fake_manila") -> NewServerJob:
    return NewServerJob(job, user, "sampler", backend)


def add(records: Records, *jobs: NewServerJob) -> list[str]:
    for job in jobs:
        records.add(job, PAYLOAD, MANY)
    return [job.id for job in jobs]


def status(records: Records, job: str) -> JobStatus:
    return records.watch([job])[job][0]


# Submitting


def test_a_job_that_was_submitted_is_there_for_every_server(
    records: Records, opened: Callable[[], Records], clocks: Clocks
) -> None:
    job = NewServerJob(
        *("j", "ann", "estimator", "fake_kyiv@aer"),
        tags=("π", "x", "x"),
        log_level="DEBUG",
        max_seconds=7.5,
        private=True,
        runtime="image",
        calibration_id="c",
        key="k",
    )
    records.add(job, b"\x00\xff", MANY)
    found = opened().job("j", ANN)
    expected = ServerJob(**{name: getattr(job, name) for name in NewServerJob.__dataclass_fields__})
    assert found == replace(expected, tags=("π", "x"), created=clocks.now.now)
    assert opened().params("j", ANN) == b"\x00\xff"
    assert (opened().result("j", ANN), opened().logs("j", ANN)) == (None, "")


def test_a_job_that_is_recorded_again_stays_as_it_is(records: Records) -> None:
    add(records, new("j"))
    records.claim(["j"])
    records.add(replace(new("j"), user="bob", tags=("t",)), b"other", MANY)
    job = records.job("j", ANN)
    assert job is not None
    assert (job.status, job.tags, records.params("j", ANN)) == (JobStatus.RUNNING, (), PAYLOAD)


def test_no_more_jobs_wait_than_may(records: Records) -> None:
    for number in range(3):
        records.add(new(f"j{number}"), PAYLOAD, 3)
    with pytest.raises(QueueFullError, match="3 jobs wait, which is as many as this server takes"):
        records.add(new("j3"), PAYLOAD, 3)
    assert records.job("j3", ANN) is None
    records.claim(["j0"])
    records.add(new("j3"), PAYLOAD, 3)


def test_texts_that_databases_cannot_hold_do_no_harm(records: Records) -> None:
    odd = "a\x00\ud800"
    add(records, NewServerJob("j", odd, "sampler", odd, tags=(odd,), runtime=odd))
    assert records.job(odd, ROOT) is None
    assert records.session(odd, ROOT) is None
    assert records.cancel(odd, ROOT) is None
    assert records.find(odd) is None
    assert records.jobs(ROOT, JobFilter(tags=(odd,), backend=odd))[1] == 1
    records.claim(["j"])
    assert records.finish("j", JobStatus.FAILED, odd, odd, log=odd)
    assert records.result("j", ROOT) == records.logs("j", ROOT) == "a\\x00\\ud800"


# Running


def test_jobs_are_claimed_in_the_order_asked_with_their_payloads(records: Records, clocks: Clocks) -> None:
    add(records, new("a"), new("b"), new("c"))
    clocks.now.now += 5
    claimed = records.claim(["c", "nobody's", "a", "c"])
    assert [(job.id, job.status, job.started) for job in claimed] == [
        ("c", JobStatus.RUNNING, clocks.now.now),
        ("a", JobStatus.RUNNING, clocks.now.now),
    ]
    assert {job.server for job in claimed} == {records.server}
    assert records.payloads(["a", "b", "c"]) == {"a": PAYLOAD, "c": PAYLOAD}
    assert records.claim(["a", "b"]) == [records.job("b", ANN)]
    assert records.claim([]) == []


def test_no_job_is_claimed_by_two_servers(records: Records, opened: Callable[[], Records]) -> None:
    ids = add(records, *(new(f"j{number}") for number in range(60)))
    servers, got, ready = [opened() for _ in range(4)], [], threading.Barrier(4)

    def claim(server: Records, seed: int) -> None:
        chance = random.Random(seed)
        ready.wait()
        for _ in range(20):
            got.extend((job.id, server.server) for job in server.claim(chance.sample(ids, 7)))

    threads = [threading.Thread(target=claim, args=(server, seed)) for seed, server in enumerate(servers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(dict(got)) > 50
    assert {job: found.server for job in ids if (found := records.job(job, ROOT)) and found.server} == dict(got)


@pytest.mark.slow
def test_no_job_is_claimed_by_two_processes(records: Records, place: str) -> None:
    ids = add(records, *(new(f"j{number}") for number in range(90)))
    command = [sys.executable, "-c", CLAIMS, place]
    processes = [
        subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    got = [job for process in processes for job in process.communicate("now\n", timeout=120)[0].split()]
    assert sorted(got) == sorted(ids)


def test_a_job_ends_once_and_only_for_the_server_that_has_it(
    records: Records, opened: Callable[[], Records], clocks: Clocks
) -> None:
    add(records, new("j"))
    assert not records.finish("j", JobStatus.COMPLETED, "too early")
    records.claim(["j"])
    assert not opened().finish("j", JobStatus.COMPLETED, "another's")
    clocks.now.now += 3
    assert records.finish("j", JobStatus.FAILED, "Traceback", "it broke", 1517, 2.5, "a log")
    at, clocks.now.now = clocks.now.now, clocks.now.now + 1
    assert not records.finish("j", JobStatus.COMPLETED, "again")
    job = records.job("j", ANN)
    assert job is not None
    assert (job.status, job.reason, job.reason_code) == (JobStatus.FAILED, "it broke", 1517)
    assert (job.finished, job.seconds) == (at, 2.5)
    assert (records.result("j", ANN), records.logs("j", ANN)) == ("Traceback", "a log")
    assert records.params("j", ANN) == PAYLOAD
    assert records.claim(["j"]) == []


def test_an_end_that_is_recorded_again_because_nobody_heard_of_it_is_recorded(records: Records) -> None:
    add(records, new("j"))
    records.claim(["j"])
    assert records.finish("j", JobStatus.COMPLETED, "result", seconds=2.0)
    assert records.finish("j", JobStatus.COMPLETED, "result", seconds=2.0)  # at the same time by the clock
    assert records.usage(ANN) == 2.0


def test_jobs_of_a_server_that_shows_no_heartbeat_wait_again(
    records: Records, opened: Callable[[], Records], clocks: Clocks
) -> None:
    add(records, new("a"), new("b"), new("c"))
    others = opened()
    records.claim(["a", "b"])
    others.claim(["c"])
    records.cancel("b", ANN)
    assert others.recover() == []
    clocks.monotonic.now += LEASE - 1
    records.renew()
    assert others.recover() == []
    clocks.monotonic.now += LEASE - 1
    assert others.recover() == []
    clocks.monotonic.now += 1
    assert others.recover() == ["a"]
    assert [status(others, job) for job in "abc"] == [JobStatus.QUEUED, JobStatus.CANCELLED, JobStatus.RUNNING]
    assert not records.finish("a", JobStatus.COMPLETED, "too late")
    (job,) = others.claim(["a"])
    assert job.attempt == 2
    records.renew()
    assert records.recover() == []


def test_jobs_of_a_server_that_nobody_knows_wait_again(records: Records, opened: Callable[[], Records]) -> None:
    add(records, new("j"))
    gone = opened()
    gone.claim(["j"])
    gone._transactions.write(lambda c: c.exec_driver_sql("DELETE FROM qexec_workers"))
    assert records.recover() == ["j"]


def test_a_server_that_closes_leaves_its_jobs_to_others(records: Records, opened: Callable[[], Records]) -> None:
    add(records, new("a"), new("b"))
    going = opened()
    going.claim(["a", "b"])
    going.cancel("b", ANN)
    going.close()
    going.close()
    (job,) = records.claim(["a", "b"])
    assert (job.id, job.attempt) == ("a", 1)
    assert status(records, "b") is JobStatus.CANCELLED


def test_jobs_that_a_server_gives_back_wait_again(records: Records, opened: Callable[[], Records]) -> None:
    add(records, new("a"), new("b"), new("c"))
    records.claim(["a", "b"])
    records.cancel("b", ANN)
    assert opened().requeue(["a", "b", "c"]) == []
    assert records.requeue(["a", "b", "c"], failed=True) == ["a"]
    assert status(records, "b") is JobStatus.CANCELLED
    assert [job.attempt for job in records.claim(["a", "c"])] == [2, 1]
    assert records.requeue(["a"]) == ["a"]
    assert [job.attempt for job in records.claim(["a"])] == [2]


def test_jobs_wait_in_queues_of_sessions_and_users_at_each_backend(records: Records) -> None:
    records.add_session(NewServerSession("s", "ann", "ideal", SessionMode.BATCH))
    for number in range(20):
        add(records, new(f"ann{number}"))
    add(records, new("bob0", "bob"), new("ideal0", backend="ideal"), new("bob1", "bob"))
    add(records, replace(new("s0", backend="ideal"), session="s"))
    assert [job.id for job in records.queued(2)] == ["ann0", "ann1", "bob0", "ideal0", "bob1", "s0"]
    records.claim(["ann0", "bob0"])
    assert [job.id for job in records.queued(1)] == ["ann1", "ideal0", "bob1", "s0"]
    assert len(records.queued(100)) == 22
    assert records.queue_lengths() == {"fake_manila": 20, "ideal": 2}
    records.claim([job.id for job in records.queued(100)])
    assert (records.queued(1), records.queue_lengths()) == ([], {})


def test_the_status_of_many_jobs_is_seen_at_once(records: Records) -> None:
    add(records, new("a"), new("b"))
    records.claim(["b"])
    records.cancel("b", ANN)
    assert records.watch(["b", "nobody's", "a"]) == {"a": (JobStatus.QUEUED, False), "b": (JobStatus.RUNNING, True)}
    assert records.watch([]) == {}


def test_a_server_sees_which_jobs_it_has_and_which_of_them_are_to_be_cancelled(
    records: Records, opened: Callable[[], Records]
) -> None:
    add(records, *map(new, "abcd"))
    records.claim(["a", "b", "c"])
    opened().claim(["d"])
    records.cancel("b", ANN)
    records.finish("c", JobStatus.COMPLETED, "result")
    assert records.held() == {"a": False, "b": True}


# What users do


def test_a_job_that_waits_is_cancelled_one_that_runs_is_to_be_and_one_that_ended_stays(records: Records) -> None:
    add(records, new("a"), new("b"))
    assert records.cancel("a", ANN) is JobStatus.QUEUED
    assert records.cancel("a", ANN) is JobStatus.CANCELLED
    assert records.claim(["a", "b"])[0].id == "b"
    assert records.cancel("b", ROOT) is JobStatus.RUNNING
    assert records.watch(["b"]) == {"b": (JobStatus.RUNNING, True)}
    assert records.finish("b", JobStatus.COMPLETED, "it was done before")
    assert records.cancel("b", ANN) is JobStatus.COMPLETED
    assert records.cancel("nobody's", ROOT) is None


def test_a_job_is_deleted_unless_it_runs(records: Records, clocks: Clocks) -> None:
    add(records, replace(new("a"), tags=("t",)), new("b"))
    records.claim(["a"])
    assert records.delete("a", ANN) is JobStatus.RUNNING
    records.finish("a", JobStatus.COMPLETED, "result", seconds=4.0)
    assert records.delete("a", ANN) is JobStatus.COMPLETED
    assert records.delete("b", ANN) is JobStatus.QUEUED
    assert records.delete("b", ANN) is None
    assert records.jobs(ROOT, JobFilter(tags=("t",))) == ([], 0)
    assert (records.params("a", ANN), records.result("a", ANN)) == (None, None)
    assert records.usage(ANN) == 4.0


def test_what_a_private_job_was_asked_is_forgotten_when_it_ends_and_its_result_when_it_was_read(
    records: Records,
) -> None:
    private = replace(new("a"), private=True)
    add(records, private, replace(private, id="b"), replace(private, id="c"))
    records.claim(["a", "b"])
    assert records.params("a", ANN) == PAYLOAD
    records.finish("a", JobStatus.COMPLETED, "result", log="a log")
    records.cancel("b", ANN)
    records.requeue(["b"])
    records.cancel("c", ANN)
    assert [records.params(job, ANN) for job in "abc"] == [None] * 3
    assert (records.result("a", ANN), records.result("a", ANN)) == ("result", None)
    assert records.logs("a", ANN) == "a log"


def test_of_two_who_read_a_private_result_at_once_one_gets_it(
    records: Records, opened: Callable[[], Records], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(records, replace(new("a"), private=True))
    records.claim(["a"])
    records.finish("a", JobStatus.COMPLETED, "result")
    other, found, got = opened(), lists.result, []

    def found_by_both(*asked: Any) -> Any:
        row = found(*asked)
        monkeypatch.setattr(lists, "result", found)
        got.append(other.result("a", ANN))
        return row

    monkeypatch.setattr(lists, "result", found_by_both)
    assert (records.result("a", ANN), got) == (None, ["result"])


def test_tags_are_replaced(records: Records) -> None:
    add(records, replace(new("j"), tags=("old", "both")))
    assert records.set_tags("j", ANN, ["both", "new", "new"])
    assert not records.set_tags("nobody's", ANN, ["x"])
    job = records.job("j", ANN)
    assert job is not None
    assert job.tags == ("both", "new")
    wanted = [("old",), ("new",), ("new", "both"), ("new", "old")]
    assert [records.jobs(ANN, JobFilter(tags=tags))[1] for tags in wanted] == [0, 1, 1, 0]
    assert records.set_tags("j", ROOT, [])
    assert records.jobs(ANN, JobFilter(tags=("new",)))[1] == 0


@pytest.fixture
def several(records: Records, clocks: Clocks) -> Records:
    """Jobs 0 to 7, one submitted each second from 1000 on; 6 and 7 are Bob's."""
    clocks.now.now = 1000.0
    records.add_session(NewServerSession("s", "ann", "ideal", SessionMode.BATCH))
    for number in range(8):
        job = NewServerJob(
            str(number),
            "ann" if number < 6 else "bob",
            "sampler" if number % 2 else "estimator",
            "ideal" if number in (2, 3) else "fake_manila",
            session="s" if number == 3 else None,
            tags=("t", "u") if number == 4 else ("t",) if number == 5 else (),
        )
        records.add(job, PAYLOAD, MANY)
        clocks.now.now += 1
    records.claim(["0", "1", "6"])
    records.finish("1", JobStatus.COMPLETED, "result")
    records.finish("6", JobStatus.FAILED)
    return records


@pytest.mark.parametrize(
    ("user", "wanted", "found", "number"),
    [
        (ANN, JobFilter(), "543210", 6),
        (ANN, JobFilter(ascending=True), "012345", 6),
        (ANN, JobFilter(limit=2), "54", 6),
        (ANN, JobFilter(limit=2, offset=3), "21", 6),
        (ANN, JobFilter(offset=9), "", 6),
        (BOB, JobFilter(), "76", 2),
        (ROOT, JobFilter(), "76543210", 8),
        (ROOT, JobFilter(user="bob"), "76", 2),
        (BOB, JobFilter(user="ann"), "", 0),
        (ANN, JobFilter(backend="ideal"), "32", 2),
        (ANN, JobFilter(program="sampler"), "531", 3),
        (ANN, JobFilter(pending=True), "54320", 5),
        (ANN, JobFilter(pending=False), "1", 1),
        (ROOT, JobFilter(status=JobStatus.FAILED), "6", 1),
        (ROOT, JobFilter(status=JobStatus.RUNNING), "0", 1),
        (ANN, JobFilter(tags=("t",)), "54", 2),
        (ANN, JobFilter(tags=("u", "t")), "4", 1),
        (ANN, JobFilter(session="s"), "3", 1),
        (ANN, JobFilter(created_after=1004.0), "54", 2),
        (ANN, JobFilter(created_before=1001.0), "10", 2),
        (ANN, JobFilter(created_after=1001.0, created_before=1003.0, program="sampler"), "31", 2),
    ],
)
def test_jobs_are_found_by_what_is_wanted_of_them(
    several: Records, user: User, wanted: JobFilter, found: str, number: int
) -> None:
    jobs, total = several.jobs(user, wanted)
    assert ("".join(job.id for job in jobs), total) == (found, number)


def test_jobs_submitted_at_the_same_time_are_in_one_page_each(records: Records) -> None:
    ids = add(records, *(new(f"j{number}") for number in range(25)))
    pages = [records.jobs(ANN, JobFilter(limit=10, offset=offset))[0] for offset in (0, 10, 20)]
    assert [job.id for page in pages for job in page] == ids[::-1]


def test_users_see_and_change_only_what_is_theirs(several: Records) -> None:
    before = several.jobs(ROOT, JobFilter()), several.session("s", ROOT)
    for job in ("1", "3"):
        assert several.job(job, BOB) is None
        assert several.params(job, BOB) is None
        assert several.result(job, BOB) is None
        assert several.logs(job, BOB) == ""
        assert several.cancel(job, BOB) is None
        assert several.delete(job, BOB) is None
        assert not several.set_tags(job, BOB, ["mine"])
    assert several.session("s", BOB) is None
    assert several.sessions(BOB) == []
    assert not several.update_session("s", BOB, accepting_jobs=False)
    assert several.close_session("s", BOB) is None
    assert (several.jobs(ROOT, JobFilter()), several.session("s", ROOT)) == before
    assert several.result("1", ROOT) == "result"


def test_what_a_user_used_is_known_by_day_and_stays_when_jobs_are_deleted(records: Records, clocks: Clocks) -> None:
    clocks.now.now = 10.75 * 86400
    for day in range(3):
        for user in ("ann", "bob"):
            job = f"{user}{day}"
            add(records, new(job, user))
            records.claim([job])
            records.finish(job, JobStatus.COMPLETED, "result", seconds=10.0**day)
        clocks.now.now += 86400
    assert [records.usage(ANN, since * 86400) for since in (0, 10, 11, 11.9, 13)] == [111.0, 111.0, 110.0, 110.0, 0.0]
    assert records.expire(before=1e9) == 6
    assert (records.usage(ANN), records.usage(BOB), records.usage(User("nobody"))) == (111.0, 111.0, 0.0)


def test_only_old_jobs_that_have_ended_expire(records: Records, clocks: Clocks) -> None:
    records.add_session(NewServerSession("s", "ann", "fake_manila", SessionMode.BATCH))
    add(records, replace(new("old"), session="s"), new("running"), new("waiting"), new("young"))
    records.claim(["old", "running", "young"])
    records.finish("old", JobStatus.COMPLETED, "result")
    records.close_session("s", ANN)
    clocks.now.now += 100
    records.finish("young", JobStatus.COMPLETED, "result")
    assert records.expire(clocks.now.now) == 1
    assert [job.id for job in records.jobs(ANN, JobFilter())[0]] == ["young", "waiting", "running"]
    assert records.sessions(ROOT) == []


# Statements


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # PostgreSQL looks at all rows of a table that is small
def test_nothing_that_is_done_often_looks_at_all_jobs(several: Records) -> None:
    done: list[tuple[str, object]] = []

    def note(connection: object, cursor: object, statement: str, parameters: object, *_: object) -> None:
        done.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        several.add(new("new"), PAYLOAD, MANY)
        several.queued(3)
        several.claim(["new"])
        several.watch(["new", "1"])
        several.payloads(["new"])
        several.finish("new", JobStatus.COMPLETED, "result")
        several.held()
        several.recover()
        several.job("1", ANN)
        several.result("1", ANN)
        several.cancel("2", ANN)
        several.find("token")
        several.usage(ANN)
        several.session("s", ANN)
        several.jobs(ANN, JobFilter(pending=True))
        several.jobs(ROOT, JobFilter())
        several.jobs(ROOT, JobFilter(tags=("t",)))
        several.expire(2000.0)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert ("PRAGMA synchronous=FULL", ()) in done  # so that a power cut loses no job that was taken
    looked = []

    def explain(connection: object) -> None:
        for statement, parameters in done:
            if re.match("SELECT|UPDATE|DELETE|WITH", statement):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                looked.extend(
                    (row[3], statement)
                    for row in plan
                    if re.fullmatch(r"SCAN qexec_server_(jobs|params|results|tags|tokens)", row[3])
                )

    several._reads.read(explain)
    assert looked == []
