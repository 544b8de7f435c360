"""Who waits for a job to change."""

from __future__ import annotations

import asyncio

from pennylane_qexec.server.records import JobStatus
from pennylane_qexec.server.waiters import StatusWaiters

QUEUED, RUNNING = JobStatus.QUEUED, JobStatus.RUNNING


async def ends(waiters: StatusWaiters, known: JobStatus = QUEUED) -> asyncio.Task[None]:
    """Somebody who waits for a job."""
    task = asyncio.create_task(waiters.wait("a", known, 60.0))
    await asyncio.sleep(0)
    return task


def test_a_change_wakes_all_who_know_another_status() -> None:
    async def scenario() -> None:
        waiters = StatusWaiters()
        first, second, knows = await ends(waiters), await ends(waiters), await ends(waiters, RUNNING)
        waiters.changed("b", RUNNING)
        assert not first.done()
        waiters.changed("a", RUNNING)
        await asyncio.gather(first, second)
        assert not knows.done()
        assert waiters.jobs() == ["a"]
        waiters.wake_all()
        await knows
        assert waiters.jobs() == []

    asyncio.run(scenario())


def test_a_change_between_the_reading_of_a_status_and_the_wait_is_not_missed() -> None:
    async def scenario() -> None:
        now = 100.0
        waiters = StatusWaiters(lambda: now)
        waiters.changed("a", RUNNING)
        await waiters.wait("a", QUEUED, 60.0)
        assert not (await ends(waiters, RUNNING)).done()
        now += 10.0  # another server may have changed it again
        assert not (await ends(waiters, QUEUED)).done()
        waiters.wake_all()

    asyncio.run(scenario())


def test_a_job_that_is_deleted_is_waited_for_no_longer() -> None:
    async def scenario() -> None:
        waiters = StatusWaiters()
        waiting = await ends(waiters)
        waiters.changed("a", None)
        await waiting

    asyncio.run(scenario())


def test_the_wait_ends_after_its_time_and_nothing_is_left_of_it() -> None:
    async def scenario() -> None:
        waiters = StatusWaiters()
        await waiters.wait("a", QUEUED, 0.0)
        assert waiters.jobs() == []
        (await ends(waiters)).cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiters.jobs() == []

    asyncio.run(scenario())
