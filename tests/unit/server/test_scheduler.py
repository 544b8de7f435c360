"""What becomes of jobs, in worker processes whose programs do what payloads say."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.server_programs import fake_programs

from pennylane_qexec.errors import StoreError
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.metrics import Metrics
from pennylane_qexec.server.records import (
    JobStatus,
    NewServerJob,
    NewServerSession,
    Records,
    ServerJob,
    SessionMode,
    User,
    open_records,
)
from pennylane_qexec.server.scheduler import MAX_TIME, USAGE_LIMIT, Scheduler
from pennylane_qexec.server.settings import Settings
from pennylane_qexec.server.sources import Kind, Source
from pennylane_qexec.server.turns import MOST_TOGETHER

pytestmark = pytest.mark.slow

ADMIN = User("admin", admin=True)
SOURCES = {"aer": Source("aer", Kind.AER, {}), "vendor": Source("vendor", Kind.EXECUTOR, None, waits=True)}
LOCAL, VENDOR = "ideal", "ideal@vendor"
PATIENCE = 60.0


class Server:
    """A scheduler, and what a test does with it."""

    def __init__(self, folder: Path, records: Records, scheduler: Scheduler, metrics: Metrics) -> None:
        self.folder = folder
        self.records = records
        self.scheduler = scheduler
        self.metrics = metrics

    async def submit(self, job: str, payload: dict[str, Any], backend: str = LOCAL, **what: Any) -> None:
        """Submit a job; it notes when it begins in the file of its name."""
        new = NewServerJob(job, what.pop("user", "ann"), "sampler", backend, **what)
        content = json.dumps({"file": str(self.folder / f"{job}.log"), **payload}).encode()
        await asyncio.to_thread(self.records.add, new, content, 10_000)
        self.scheduler.submitted(job)

    async def job(self, job: str) -> ServerJob:
        found = await asyncio.to_thread(self.records.job, job, ADMIN)
        assert found is not None
        return found

    async def ended(self, job: str) -> ServerJob:
        """A job when it has ended."""
        return await self.until(job, lambda found: found.status.final)

    async def begun(self, job: str) -> ServerJob:
        """A job when it runs, and its program too."""
        while not (self.folder / f"{job}.log").exists():
            await asyncio.sleep(0.005)
        return await self.until(job, lambda found: found.status is JobStatus.RUNNING)

    async def until(self, job: str, is_so: Callable[[ServerJob], bool]) -> ServerJob:
        async with asyncio.timeout(PATIENCE):
            while not is_so(found := await self.job(job)):
                await self.scheduler.wait(job, found.status, PATIENCE)
        return found

    async def cancel(self, job: str) -> JobStatus | None:
        status = await asyncio.to_thread(self.records.cancel, job, ADMIN)
        await self.scheduler.cancel(job)
        return status

    def fifo(self, name: str = "fifo") -> str:
        """What a job waits for, until :meth:`release`."""
        path = self.folder / name
        os.mkfifo(path)
        return str(path)

    async def release(self, fifo: str) -> None:
        await asyncio.to_thread(lambda: Path(fifo).open("wb").close())

    def tasks(self, job: str) -> list[str]:
        """The ids of the jobs of the tasks in which a job began."""
        return (self.folder / f"{job}.log").read_text().split()

    def restarts(self, cause: str) -> float:
        found = self.metrics.registry.get_sample_value("qexec_worker_restarts_total", {"cause": cause})
        return found or 0.0


@asynccontextmanager
async def running_server(
    folder: Path, settings: Settings | None = None, grace: float = 0.0, **open_with: Any
) -> AsyncIterator[Server]:
    settings = settings or Settings(workers=1, store=str(folder / "qexec.db"))
    records, metrics = open_records(settings.store, **open_with), Metrics()
    scheduler = Scheduler(records, Catalogue(list(SOURCES)), SOURCES, settings, metrics, fake_programs)
    await scheduler.start()
    try:
        yield Server(folder, records, scheduler, metrics)
    finally:
        await scheduler.stop(grace)
        records.close()


def run(folder: Path, scenario: Callable[[Server], Awaitable[None]], **what: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE), running_server(folder, **what) as server:
            await scenario(server)

    asyncio.run(limited())


# What programs answer


def test_jobs_end_as_their_programs_say(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        await server.submit("good", {"say": "a result"})
        await server.submit("large", {"say": "x", "times": 1_000_000, "padding": "y" * 1_000_000})
        await server.submit("bad", {"fail": "this circuit has no qubits"})
        await server.submit("ours", {"raise": True})
        await server.submit("exit", {"exit": True})
        await server.submit("unknown", {}, backend="nowhere")
        good, bad, ours = await server.ended("good"), await server.ended("bad"), await server.ended("ours")
        assert (good.status, good.seconds, good.attempt) == (JobStatus.COMPLETED, 0.5, 1)
        assert server.records.result("good", ADMIN) == "a result"
        assert (await server.ended("large")).status is JobStatus.COMPLETED
        assert server.records.result("large", ADMIN) == "x" * 1_000_000
        assert (bad.status, bad.reason, bad.reason_code) == (JobStatus.FAILED, "this circuit has no qubits", 1517)
        assert ours.status is JobStatus.FAILED
        assert "ValueError" in ours.reason
        assert "secret" not in ours.reason
        assert "SystemExit" not in (await server.ended("exit")).reason.replace("RuntimeError", "")
        assert "does not have the backend 'nowhere'" in (await server.ended("unknown")).reason
        assert server.restarts("died") == 0

    run(tmp_path, scenario)


def test_a_worker_process_of_aers_imports_neither_pennylane_nor_what_the_server_is_made_of() -> None:
    program = (
        "import sys; from pennylane_qexec.server.workers.worker import ServerPrograms; "
        "from pennylane_qexec.server.sources import Kind, Source; "
        "found = {'sqlalchemy', 'pydantic', 'fastapi'} & set(sys.modules); assert not found, found; "
        "ServerPrograms(None, {'aer': Source('aer', Kind.AER, {})}, None).warm_up(); "
        "assert 'qiskit_aer' in sys.modules; assert 'pennylane' not in sys.modules, 'it takes seconds, and 300 MB'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Cancelling


def test_a_job_that_waits_is_cancelled_and_never_begins(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo = server.fifo()
        await server.submit("first", {"fifo": fifo})
        await server.begun("first")
        await server.submit("second", {})
        waiting = asyncio.create_task(server.scheduler.wait("second", JobStatus.QUEUED, PATIENCE))
        await asyncio.sleep(0)
        assert await server.cancel("second") is JobStatus.QUEUED
        await waiting
        await server.release(fifo)
        assert (await server.ended("first")).status is JobStatus.COMPLETED
        assert (await server.ended("second")).status is JobStatus.CANCELLED
        assert not (tmp_path / "second.log").exists()

    run(tmp_path, scenario)


def test_a_job_that_runs_is_cancelled_with_its_process_and_the_next_one_gets_a_new_one(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo = server.fifo()
        await server.submit("first", {"fifo": fifo})
        await server.submit("second", {})
        await server.begun("first")
        assert await server.cancel("first") is JobStatus.RUNNING
        first = await server.ended("first")
        assert (first.status, first.reason_code) == (JobStatus.CANCELLED, None)
        assert (await server.ended("second")).status is JobStatus.COMPLETED
        assert (server.restarts("cancelled"), server.restarts("died")) == (1, 0)

    run(tmp_path, scenario)


def test_other_tasks_are_not_affected_by_a_cancelled_one(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifos = [server.fifo("a"), server.fifo("b")]
        for job, fifo in zip(("one", "two"), fifos, strict=True):
            await server.submit(job, {"fifo": fifo})
        await server.begun("one")
        await server.begun("two")
        await server.cancel("one")
        await server.release(fifos[1])
        assert (await server.ended("one")).status is JobStatus.CANCELLED
        assert (await server.ended("two")).status is JobStatus.COMPLETED
        assert server.tasks("two") == ["two"]

    run(tmp_path, scenario, settings=Settings(workers=2, store=str(tmp_path / "qexec.db")))


def test_jobs_that_begin_at_once_get_a_process_each(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        for pair in ("ab", "cd"):  # the second pair finds two processes that have nothing to do
            fifos = [server.fifo(job) for job in pair]
            for job, fifo in zip(pair, fifos, strict=True):
                new, content = NewServerJob(job, "ann", "sampler", LOCAL), {"fifo": fifo, "file": f"{fifo}.log"}
                server.records.add(new, json.dumps(content).encode(), 10)
            server.scheduler.submitted(pair[0])
            for job in pair:
                await server.begun(job)
            for fifo in fifos:
                await server.release(fifo)
            for job in pair:
                assert (await server.ended(job)).status is JobStatus.COMPLETED

    run(tmp_path, scenario, settings=Settings(workers=2, store=str(tmp_path / "qexec.db")))


def test_a_job_that_waits_for_others_is_told_that_it_is_cancelled_and_its_process_lives_on(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo, told = server.fifo(), tmp_path / "told"
        await server.submit("one", {"holds": str(told)}, VENDOR)
        await server.submit("two", {"fifo": fifo}, VENDOR)
        await server.begun("one")
        await server.begun("two")
        await server.cancel("one")
        assert (await server.ended("one")).status is JobStatus.CANCELLED
        await server.release(fifo)
        assert (await server.ended("two")).status is JobStatus.COMPLETED
        while not told.exists() or not told.read_text():
            await asyncio.sleep(0.005)
        assert server.restarts("cancelled") == 0

    run(tmp_path, scenario)


def test_what_was_cancelled_in_the_store_alone_is_noticed(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        await server.submit("one", {"fifo": server.fifo()})
        await server.begun("one")
        with open_records(tmp_path / "qexec.db") as elsewhere:
            assert elsewhere.cancel("one", ADMIN) is JobStatus.RUNNING
        assert (await server.ended("one")).status is JobStatus.CANCELLED

    run(tmp_path, scenario)


def test_a_job_that_is_cancelled_while_it_is_claimed_does_not_begin(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        claim = server.records.claim
        loop = asyncio.get_running_loop()

        def cancelled_meanwhile(ids: Any) -> Any:
            claimed = claim(ids)
            if claimed:
                asyncio.run_coroutine_threadsafe(server.cancel("one"), loop).result()
            return claimed

        server.records.claim = cancelled_meanwhile  # type: ignore[method-assign]
        await server.submit("one", {})
        assert (await server.ended("one")).status is JobStatus.CANCELLED
        assert not (tmp_path / "one.log").exists()

    run(tmp_path, scenario)


# Limits


def test_a_job_that_runs_longer_than_it_may_is_cancelled_with_the_code_for_that(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        await server.submit("one", {"fifo": server.fifo("a")}, max_seconds=0.2)
        await server.submit("two", {"fifo": server.fifo("b")}, VENDOR, max_seconds=0.2)
        for job in ("one", "two"):
            found = await server.ended(job)
            assert (found.status, found.reason_code) == (JobStatus.CANCELLED, MAX_TIME)
            assert "longer than the 0.2 seconds" in found.reason
        assert server.restarts("time") == 1
        await server.submit("three", {})
        assert (await server.ended("three")).status is JobStatus.COMPLETED
        await server.release(server.folder / "b")

    run(tmp_path, scenario)


def test_waiting_jobs_of_a_user_who_has_used_what_they_may_fail_unless_they_were_begun_before(tmp_path: Path) -> None:
    with open_records(tmp_path / "qexec.db") as earlier:
        for job in ("one", "begun"):
            earlier.add(NewServerJob(job, "ann", "sampler", LOCAL), b'{"say": "a result"}', 10)
        earlier.claim(["one", "begun"])
        earlier.finish("one", JobStatus.COMPLETED, seconds=1.5)
        earlier.requeue(["begun"], failed=True)
        for user in ("ann", "bob"):
            earlier.add(NewServerJob(f"of {user}", user, "sampler", LOCAL), b'{"say": "a result"}', 10)

    async def scenario(server: Server) -> None:
        of_ann = await server.ended("of ann")
        assert (of_ann.status, of_ann.reason_code, of_ann.seconds) == (JobStatus.FAILED, USAGE_LIMIT, 0.0)
        assert of_ann.reason == "'ann' has used the 1.5 seconds that a user may in 28 days."
        for job in ("begun", "of bob"):
            assert (await server.ended(job)).status is JobStatus.COMPLETED

    run(tmp_path, scenario, settings=Settings(workers=1, store=str(tmp_path / "qexec.db"), usage_limit=1.5))


def test_a_job_that_wants_more_memory_than_there_is_fails_and_its_process_lives_on(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        await server.submit("one", {"bytes": 10**9})
        found = await server.ended("one")
        assert found.status is JobStatus.FAILED
        assert "more memory" in found.reason
        assert server.restarts("died") == 0

    settings = Settings(workers=1, store=str(tmp_path / "qexec.db"), worker_memory=500_000_000)
    run(tmp_path, scenario, settings=settings)


# Processes that die


def test_a_job_whose_process_dies_is_run_again_once(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        await server.submit("once", {"kill": 1, "say": "at last"})
        await server.submit("always", {"kill": 9})
        await server.submit("vendor", {"kill": 1}, VENDOR)
        once, always, vendor = [await server.ended(job) for job in ("once", "always", "vendor")]
        assert (once.status, once.attempt, server.tasks("once")) == (JobStatus.COMPLETED, 2, ["once"] * 2)
        assert (always.status, server.tasks("always")) == (JobStatus.FAILED, ["always"] * 2)
        assert "signal 9" in always.reason
        assert "second attempt" in always.reason
        assert vendor.status is JobStatus.COMPLETED
        assert server.restarts("died") == 4

    run(tmp_path, scenario)


# Jobs that run together


async def together(server: Server, payloads: dict[str, dict[str, Any]]) -> str:
    """Jobs that wait together, of one key. Gives the fifo of the one that they wait for."""
    fifo = server.fifo("before")
    await server.submit("before", {"fifo": fifo})
    await server.begun("before")
    for number, (job, payload) in enumerate(payloads.items()):
        await server.submit(job, payload, key="k", user=f"user{number}")
    return fifo


def test_jobs_of_equal_keys_run_as_one_task(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo = await together(server, {"one": {"say": "1"}, "two": {"say": "2"}, "three": {"fail": "bad"}})
        await server.release(fifo)
        found = [await server.ended(job) for job in ("one", "two", "three")]
        assert [job.status for job in found] == [JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED]
        assert [server.records.result(job, ADMIN) for job in ("one", "two")] == ["1", "2"]
        assert server.tasks("two") == ["one,two,three"]

    run(tmp_path, scenario)


def test_a_cancelled_job_of_several_that_run_as_one_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        gate = server.fifo("gate")
        fifo = await together(server, {"one": {}, "two": {"fifo": gate}, "three": {}})
        await server.release(fifo)
        await server.begun("two")
        await server.cancel("two")
        assert (await server.ended("two")).status is JobStatus.CANCELLED
        for job in ("one", "three"):
            found = await server.ended(job)
            assert (found.status, found.attempt) == (JobStatus.COMPLETED, 1)
            assert server.tasks(job)[-1] == job  # by itself

    run(tmp_path, scenario)


def test_a_process_that_dies_of_one_of_several_jobs_lets_the_others_end(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo = await together(server, {"one": {"say": "1"}, "two": {"kill": 9}})
        await server.release(fifo)
        one, two = await server.ended("one"), await server.ended("two")
        assert (one.status, two.status) == (JobStatus.COMPLETED, JobStatus.FAILED)
        assert "signal 9" in two.reason

    run(tmp_path, scenario)


# Turns


def test_many_jobs_of_a_user_do_not_delay_the_one_of_another(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        fifo = server.fifo()
        await server.submit("before", {"fifo": fifo}, user="ann")
        await server.begun("before")
        for number in range(100):
            await server.submit(f"ann{number}", {"file": str(tmp_path / "order")}, user="ann")
        await server.submit("bob", {"file": str(tmp_path / "order")}, user="bob")
        await server.release(fifo)
        await server.ended("bob")
        assert (tmp_path / "order").read_text().split().index("bob") <= 1
        assert server.scheduler.estimated_wait() > 0
        assert server.scheduler.retry_after() >= 1

    run(tmp_path, scenario)


def test_jobs_of_a_session_that_ends_are_cancelled_and_those_who_wait_for_them_hear_of_it(tmp_path: Path) -> None:
    later = [0.0]

    async def scenario(server: Server) -> None:
        new = NewServerSession("s", "ann", LOCAL, SessionMode.BATCH, max_ttl=1000.0)
        server.records.add_session(new)
        gates = [server.fifo("a"), server.fifo("b")]
        await server.submit("one", {"fifo": gates[0]}, session="s")
        await server.submit("two", {"fifo": gates[1]}, session="s")
        await server.begun("one")
        later[0] = 1001.0
        assert (await server.ended("two")).status is JobStatus.CANCELLED
        await server.release(gates[0])
        assert (await server.ended("one")).status is JobStatus.COMPLETED

    run(tmp_path, scenario, lease=0.3, clock=lambda: time.time() + later[0])


# The end of a server


def test_a_server_that_stops_lets_jobs_end_and_leaves_the_rest_to_the_next_one(tmp_path: Path) -> None:
    async def first(server: Server) -> None:
        fifo = server.fifo()
        await server.submit("ends", {"fifo": fifo})
        await server.begun("ends")
        await server.submit("left", {"say": "by the next one"})
        stop = asyncio.create_task(server.scheduler.stop(PATIENCE))
        await server.release(fifo)
        await stop
        assert (await server.job("ends")).status is JobStatus.COMPLETED
        assert (await server.job("left")).status is JobStatus.QUEUED

    async def second(server: Server) -> None:
        await server.submit("holds", {"fifo": server.fifo("held")})
        assert (await server.ended("left")).status is JobStatus.COMPLETED
        await server.begun("holds")
        await server.scheduler.stop(0.0)
        found = await server.job("holds")
        assert (found.status, found.attempt) == (JobStatus.QUEUED, 1)

    run(tmp_path, first)
    run(tmp_path, second)


def test_a_server_that_stops_has_patience_with_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.server.scheduler._PAUSE", 0.0)

    async def scenario(server: Server) -> None:
        fifo, finish, failures = server.fifo(), server.records.finish, [StoreError("gone"), StoreError("gone")]

        def finish_later(*args: Any, **kwargs: Any) -> bool:
            if failures:
                raise failures.pop()
            return finish(*args, **kwargs)

        monkeypatch.setattr(server.records, "finish", finish_later)
        await server.submit("ends", {"fifo": fifo, "say": "a result"})
        await server.begun("ends")
        stop = asyncio.create_task(server.scheduler.stop(PATIENCE))
        await asyncio.sleep(0)  # until it has begun to stop
        await server.release(fifo)
        await stop
        assert failures == []
        assert (await server.job("ends")).status is JobStatus.COMPLETED

    run(tmp_path, scenario)


def test_jobs_of_a_dead_server_are_taken_over(tmp_path: Path) -> None:
    with open_records(tmp_path / "qexec.db") as dead:
        dead.add(NewServerJob("one", "ann", "sampler", LOCAL), b"{}", 10)
        assert dead.claim(["one"])
        dead.server = dead.server.replace(f"/{os.getpid()}/", "/4194305/")  # no process has such a number
        dead.add(NewServerJob("two", "ann", "sampler", LOCAL), b"{}", 10)
        assert dead.claim(["two"])

        async def scenario(server: Server) -> None:
            found = await server.ended("two")
            assert (found.status, found.attempt) == (JobStatus.COMPLETED, 2)
            assert (await server.job("one")).status is JobStatus.RUNNING  # that one lives

        run(tmp_path, scenario)


# What may be missed


def test_a_job_that_was_claimed_when_the_store_went_away_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Records, ids: Sequence[str]) -> dict[str, bytes]:
        monkeypatch.undo()
        raise StoreError("the store is away")

    async def scenario(server: Server) -> None:
        monkeypatch.setattr(Records, "payloads", away)
        await server.submit("job", {"say": "a result"})
        job = await server.ended("job")
        assert (job.status, job.attempt) == (JobStatus.COMPLETED, 1)

    run(tmp_path, scenario)


def test_nothing_waits_for_the_next_look_at_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.server.scheduler._TEND", 2 * PATIENCE)

    async def scenario(server: Server) -> None:
        fifo = server.fifo()
        await server.submit("before", {"fifo": fifo})
        await server.begun("before")
        many = [f"job{number}" for number in range(MOST_TOGETHER + 2)]  # more than are found in one look
        for job in many:
            await server.submit(job, {})
        await server.submit("dies", {"kill": 1})
        await server.release(fifo)
        for job in ("before", *many, "dies"):
            assert (await server.ended(job)).status is JobStatus.COMPLETED
        await server.submit("last", {})
        assert (await server.ended("last")).status is JobStatus.COMPLETED

    run(tmp_path, scenario)
