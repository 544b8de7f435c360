"""The scheduler of a server: which job runs when and where, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from pennylane_qexec.errors import WorkerDiedError
from pennylane_qexec.server.allowances import Allowance
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.metrics import Metrics
from pennylane_qexec.server.programs import Answer, Task
from pennylane_qexec.server.records import JobStatus, Records, ServerJob
from pennylane_qexec.server.settings import Settings
from pennylane_qexec.server.sources import Source
from pennylane_qexec.server.turns import MOST_TOGETHER
from pennylane_qexec.server.waiters import StatusWaiters
from pennylane_qexec.server.workers.pools import WorkerPool, pools_of
from pennylane_qexec.server.workers.processes import TaskStoppedError, WorkerProcess
from pennylane_qexec.server.workers.worker import Programs, ServerPrograms

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("pennylane_qexec.server")

MAX_TIME = 1305
"""IBM's code for a job that ran longer than it may."""

USAGE_LIMIT = 1217
"""IBM's code for a job of a user who has used what they may."""

_THREADS = 4  # for what is asked of the records
_WATCH = 0.05  # seconds between two looks at jobs of other servers that somebody waits for
_TEND = 0.5  # seconds between two looks at what was asked elsewhere
_LOOKS_PER_LEASE = 6
_MOST_ATTEMPTS = 2  # at a job whose process dies
_MOST_SERVERS = 5  # at a job whose servers die
_PAUSE = 1.0  # seconds after an error of the store's
_LONGEST_RETRY = 60  # seconds

_DIED = "{}, at the second attempt too. Send less at a time, or fewer qubits."
_SERVERS_DIED = "the server was ended while it ran this job, {} times, and does not try again."
_TOO_LONG = "the job ran longer than the {:g} seconds that it may (max_execution_time)."
_NO_BACKEND = "this server does not have the backend {!r} any more. Take one of service.backends()."
_NO_PAYLOAD = "the payload of the job is lost."


@dataclass(eq=False)
class _Run:
    """Jobs that run as one task.

    Attributes:
        jobs: the jobs.
        pool: where.
        worker: the process that has them.
        task: the task.
        began: when it began, by a clock that never jumps.
        cancelled: ids of those that are to be cancelled.
        lost: ids of those that this server has no more.
        too_long: whether it has run longer than it may.
        ending: whether it has ended, and that is being recorded.
        done: what carries it out.
    """

    jobs: Sequence[ServerJob]
    pool: WorkerPool
    worker: WorkerProcess
    task: Task
    began: float = field(default_factory=time.monotonic)
    cancelled: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    too_long: bool = False
    ending: bool = False
    done: asyncio.Task[None] | None = None

    @property
    def seconds(self) -> float:
        """For how long it has run, for each of its jobs."""
        return (time.monotonic() - self.began) / len(self.jobs)


class Scheduler:
    """Runs the jobs that wait in the records, in worker processes, and wakes those who wait for them.

    All methods belong to one event loop. What blocks is done in threads.

    Args:
        records: of jobs and sessions; other servers may share them.
        catalogue: of the backends that jobs name.
        sources: what runs jobs, by the names of the executors of published backends.
        settings: of the server.
        metrics: what it counts.
        programs: makes what carries out tasks in worker processes.
    """

    def __init__(
        self,
        records: Records,
        catalogue: Catalogue,
        sources: Mapping[str, Source],
        settings: Settings,
        metrics: Metrics,
        programs: Callable[[Catalogue, Mapping[str, Source], Limits], Programs] = ServerPrograms,
    ) -> None:
        self._records = records
        self._catalogue = catalogue
        self._settings = settings
        self._metrics = metrics
        self._allowance = Allowance.of(settings)
        self._threads = ThreadPoolExecutor(_THREADS, "qexec-scheduler")
        self._wake = asyncio.Event()
        self._waiters = StatusWaiters()
        self._pools = pools_of(settings, sources, partial(programs, catalogue), self._wake.set)
        self._running: dict[str, _Run] = {}
        self._claiming: set[str] = set()
        self._cancelled: set[str] = set()
        """Ids of jobs that are to be cancelled, and are about to begin."""
        self._strange: set[str] = set()
        """Ids of jobs that this server had at the last look, without knowing of them."""
        self._alone: set[str] = set()
        """Ids of jobs that failed together with others."""
        self._backlog = True
        """Whether jobs may wait that could begin if there were a place."""
        self._queued = 0
        self._seconds_per_job = 1.0
        self._stopping = False
        self._out_of_time = False
        """Whether it is stopping, and what ran had its time to end."""
        self._stopped = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    # What the rest of the server asks for

    async def start(self) -> None:
        """Begin to run jobs, those that dead servers have left first."""
        await self._call(self._records.renew)
        for job in await self._call(self._records.recover):
            logger.warning("job %s of a server that is no more waits again", job)
        self._wake.set()
        steps: list[tuple[Callable[[], Awaitable[None]], float]] = [(self._dispatch, 0.0), (self._tend, _TEND)]
        steps.append((self._show_life, self._records.lease / _LOOKS_PER_LEASE))
        if self._records.shared:
            steps.append((self._watch_others, _WATCH))
        self._background = [asyncio.create_task(self._repeat(step, pause)) for step, pause in steps]
        for pool in set(self._pools.values()):
            if not pool.waits:
                pool.keep_warm()

    async def stop(self, grace: float) -> None:
        """Begin no more jobs, and let those that run end; what still runs then waits for the next server.

        Args:
            grace: how long they may go on, in seconds.
        """
        if self._stopping:
            await self._stopped.wait()
            return
        self._stopping = True
        try:
            await self._stop_all(grace)
        finally:
            self._stopped.set()
            self._waiters.wake_all()
            self._threads.shutdown(wait=False)

    def submitted(self, job: str) -> None:
        """A job was recorded."""
        self._queued += 1
        self._backlog = True
        self._wake.set()

    async def wait(self, job: str, known: JobStatus, seconds: float) -> None:
        """Wait until the status of a job is another one than that known, but not longer than so many seconds."""
        if not self._stopped.is_set():
            await self._waiters.wait(job, known, seconds)

    async def cancel(self, job: str) -> None:
        """A job was cancelled in the records, or deleted: stop it if it runs here."""
        run = self._running.get(job)
        if run is not None:
            self._cancel(run, job)
        elif job in self._claiming:
            self._cancelled.add(job)
        else:
            self._alone.discard(job)
            self._waiters.changed(job, None)

    def estimated_wait(self) -> float:
        """How long a new job waits before it runs, in seconds, if those that wait take as long as the last ones did."""
        places = sum(pool.processes * pool.tasks for pool in set(self._pools.values()))
        return self._queued * self._seconds_per_job / places

    def retry_after(self) -> int:
        """After how many seconds a client for whom there is no room may try again."""
        return min(_LONGEST_RETRY, 1 + round(self.estimated_wait() / 10))

    # Jobs begin

    def _pool_of(self, job: ServerJob) -> WorkerPool | None:
        backend = self._catalogue.find(job.backend)
        return None if backend is None else self._pools.get(backend.executor)

    def _runs(self) -> list[_Run]:
        return list(dict.fromkeys(self._running.values()))

    async def _dispatch(self) -> None:
        """Begin what may begin, when something has changed."""
        await self._wake.wait()
        self._wake.clear()
        if self._stopping:
            return
        pools = set(self._pools.values())
        if not self._backlog or not any(pool.free or pool.may_grow for pool in pools):
            return
        self._backlog = False
        waiting: dict[WorkerPool | None, list[ServerJob]] = {}
        found = await self._call(self._records.queued, MOST_TOGETHER)
        for job in found:
            waiting.setdefault(self._pool_of(job), []).append(job)
        unknown = waiting.pop(None, [])
        if unknown and not self._records.shared:  # else, another server may have that backend
            await self._refuse(unknown)
        groups = [(pool, group) for pool in pools for group in self._next_groups(pool, waiting.get(pool, []))]
        if groups:
            await self._begin(groups)
        left = len(found) - len(unknown) - sum(len(group) for _, group in groups)
        if left or len(found) >= MOST_TOGETHER:  # there may be more than were shown
            self._backlog = True
        if groups and self._backlog:
            self._wake.set()

    def _next_groups(self, pool: WorkerPool, waiting: Sequence[ServerJob]) -> list[list[ServerJob]]:
        running = Counter(job.user for run in self._runs() if run.pool is pool for job in run.jobs)
        groups = pool.turns.choose(waiting, running, pool.free, self._alone)
        pool.grow(len(waiting) - sum(map(len, groups)))
        return groups

    async def _begin(self, groups: Sequence[tuple[WorkerPool, list[ServerJob]]]) -> None:
        ids = [job.id for _, group in groups for job in group]
        self._claiming.update(ids)
        try:
            claimed, payloads, used = await self._call(self._claim, ids)
            for pool, group in groups:
                jobs = [claimed[job.id] for job in group if job.id in claimed]
                await self._begin_group(pool, jobs, payloads, used)
        finally:
            self._claiming.difference_update(ids)
            self._cancelled.difference_update(ids)

    def _claim(self, ids: Sequence[str]) -> tuple[dict[str, ServerJob], dict[str, bytes], dict[str, float]]:
        """Claim jobs, and read the payloads of those that this server has got; in a thread.

        Returns:
            The jobs and their payloads, and what their users have used, if there is a limit to that.
        """
        claimed = {job.id: job for job in self._records.claim(ids)}
        users = {job.user for job in claimed.values()} if self._allowance.seconds is not None else set()
        used = {user: self._allowance.used(self._records, user) for user in users}
        return claimed, self._records.payloads(list(claimed)), used

    def _objection(self, job: ServerJob, used: Mapping[str, float]) -> str | None:
        """Why a job may not begin, for what its user's jobs have used, those too that run here.

        One that was begun before may have been paid for, and goes on.
        """
        if job.attempt > 1:
            return None
        running = sum(run.seconds for run in self._runs() for other in run.jobs if other.user == job.user)
        return self._allowance.objection(job.user, used.get(job.user, 0.0) + running)

    async def _begin_group(
        self, pool: WorkerPool, jobs: Sequence[ServerJob], payloads: Mapping[str, bytes], used: Mapping[str, float]
    ) -> None:
        begin = []
        for job in jobs:
            if job.cancel_requested or job.id in self._cancelled:
                await self._finish(job, JobStatus.CANCELLED)
            elif job.attempt > _MOST_SERVERS:
                await self._finish(job, JobStatus.FAILED, reason=_SERVERS_DIED.format(job.attempt - 1))
            elif job.id not in payloads:
                await self._finish(job, JobStatus.FAILED, reason=_NO_PAYLOAD)
            elif objection := self._objection(job, used):
                await self._finish(job, JobStatus.FAILED, reason=objection, code=USAGE_LIMIT)
            else:
                begin.append(job)
        worker, backend = pool.worker(), self._catalogue.find(jobs[0].backend) if jobs else None
        if not begin:
            return
        if worker is None or backend is None or self._stopping:  # the process has ended meanwhile
            await self._requeue(begin)
            return
        ids = tuple(job.id for job in begin)
        task = Task(begin[0].program, backend, ids, tuple(payloads[job] for job in ids), self._settings.store)
        run = _Run(begin, pool, worker, task)
        run.done = asyncio.create_task(self._carry_out(run, worker.begin(task)))
        self._running.update(dict.fromkeys(ids, run))
        for job in begin:
            self._queued = max(0, self._queued - 1)
            self._metrics.queue_seconds.labels(job.program).observe(max(0.0, (job.started or 0.0) - job.created))
            self._waiters.changed(job.id, JobStatus.RUNNING)
        self._metrics.running.set(len(self._running))

    async def _refuse(self, jobs: Sequence[ServerJob]) -> None:
        for job in await self._call(self._records.claim, [job.id for job in jobs]):
            await self._finish(job, JobStatus.FAILED, reason=_NO_BACKEND.format(job.backend))

    # Jobs end

    async def _carry_out(self, run: _Run, answers: Awaitable[list[Answer]]) -> None:
        timer = asyncio.get_running_loop().call_later(self._limit(run), self._stop_late, run)
        try:
            end = await self._ending(run, answers)
            run.ending = True
            await end
        finally:
            timer.cancel()
            for job in run.jobs:
                self._running.pop(job.id, None)
            self._metrics.running.set(len(self._running))
            self._wake.set()

    async def _ending(self, run: _Run, answers: Awaitable[list[Answer]]) -> Awaitable[None]:
        """What is to be done when a task has ended."""
        try:
            return self._end(run, await answers)
        except TaskStoppedError:
            return self._end_stopped(run)
        except WorkerDiedError as error:
            return self._end_dead(run, error)

    async def _end(self, run: _Run, answers: Sequence[Answer]) -> None:
        self._seconds_per_job += 0.1 * (run.seconds - self._seconds_per_job)
        for job, answer in zip(run.jobs, answers, strict=True):
            if answer.cancelled:
                status = JobStatus.CANCELLED
            else:
                status = JobStatus.FAILED if answer.result is None else JobStatus.COMPLETED
            what = {"result": answer.result, "reason": answer.reason, "code": answer.code, "seconds": answer.seconds}
            await self._finish(job, status, **what)

    async def _end_stopped(self, run: _Run) -> None:
        """What was stopped is cancelled, if that was meant for it; what ran with it waits again."""
        seconds, alone, again = run.seconds, len(run.jobs) == 1, []
        for job in run.jobs:
            if job.id in run.lost:
                self._waiters.changed(job.id, None)
            elif job.id in run.cancelled:
                await self._finish(job, JobStatus.CANCELLED, seconds=seconds)
            elif run.too_long and alone:
                reason = _TOO_LONG.format(self._limit(run))
                await self._finish(job, JobStatus.CANCELLED, reason=reason, code=MAX_TIME, seconds=seconds)
            else:
                again.append(job)
        await self._requeue(again)

    async def _end_dead(self, run: _Run, error: WorkerDiedError) -> None:
        """What killed its process is run again once; what ran with others, by itself."""
        self._metrics.restarts.labels("died").inc()
        if len(run.jobs) > 1:
            await self._requeue(run.jobs)
            return
        (job,) = run.jobs
        if job.id in run.cancelled:
            await self._finish(job, JobStatus.CANCELLED, seconds=run.seconds)
        elif job.attempt >= _MOST_ATTEMPTS:
            await self._finish(job, JobStatus.FAILED, reason=_DIED.format(error), seconds=run.seconds)
        else:
            logger.warning("job %s is run again: %s", job.id, error)
            await self._requeue([job], failed=True)

    async def _finish(self, job: ServerJob, status: JobStatus, **what: Any) -> None:
        if await self._insist(partial(self._records.finish, job.id, status, **what)):
            seconds = what.get("seconds", 0.0)
            self._metrics.finished.labels(job.program, status.value).inc()
            self._metrics.job_seconds.labels(job.program).observe(seconds)
            said = {"job": job.id, "user": job.user, "program": job.program, "backend": job.backend}
            logger.info("a job ended: %s", status.value.lower(), extra={**said, "seconds": round(seconds, 3)})
        self._alone.discard(job.id)
        self._waiters.changed(job.id, status)

    async def _requeue(self, jobs: Sequence[ServerJob], failed: bool = False) -> None:
        ids = [job.id for job in jobs]
        if len(ids) > 1 or failed:
            self._alone.update(ids)  # before they can be found
        again = await self._insist(partial(self._records.requeue, ids, failed=failed)) if ids else []
        self._alone.difference_update(set(ids).difference(again))
        self._queued += len(again)
        self._backlog = True
        for job in ids:
            self._waiters.changed(job, JobStatus.QUEUED if job in again else JobStatus.CANCELLED)

    # What stops jobs

    def _limit(self, run: _Run) -> float:
        """How long a task may run. What waits for others does so for long, if its user has not said for how long."""
        most = self._settings.max_seconds
        limits = [most if job.max_seconds is None else min(most, job.max_seconds) for job in run.jobs]
        return float("inf") if run.pool.waits and min(limits) == most else min(limits)

    def _stop_late(self, run: _Run) -> None:
        run.too_long = True
        self._stop(run, "time")

    def _cancel(self, run: _Run, job: str) -> None:
        if job not in run.cancelled:
            run.cancelled.add(job)
            self._stop(run, "cancelled")

    def _stop(self, run: _Run, cause: str) -> None:
        if run.ending:
            return
        if not run.pool.waits:
            self._metrics.restarts.labels(cause).inc()
        run.worker.stop(run.task, kill=not run.pool.waits)

    # What comes back over and over

    async def _repeat(self, step: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do something over and over, whatever happens, until the server stops."""
        while not self._stopping or step != self._dispatch:
            try:
                await step()
            except Exception:  # the store's, mostly, which may come back
                logger.exception("the scheduler goes on after an error")
                await asyncio.sleep(_PAUSE)
                self._backlog = True
                self._wake.set()
            await asyncio.sleep(pause)

    async def _tend(self) -> None:
        """Look at what was asked of other servers, or of the store, and for jobs that others have submitted."""
        known = list(self._running.items())
        held = await self._call(self._records.held)
        for job, run in known:
            if job not in held:
                run.lost.add(job)
                self._stop(run, "lost")
            elif held[job]:
                self._cancel(run, job)
        strange = held.keys() - self._running.keys() - self._claiming
        if forgotten := sorted(strange & self._strange):  # claimed, but the store did not say so
            logger.warning("jobs %s were claimed in vain, and wait again", ", ".join(forgotten))
            await self._call(partial(self._records.requeue, forgotten))
        self._strange = strange
        self._queued = sum((await self._call(self._records.queue_lengths)).values())
        for pool in set(self._pools.values()):
            if not pool.waits:
                pool.keep_warm()
        self._backlog = True
        self._wake.set()

    async def _show_life(self) -> None:
        """Show that this server lives, take over the jobs of dead ones, and close sessions whose time is over."""
        await self._call(self._records.renew)
        for job in await self._call(self._records.recover):
            logger.warning("job %s of a server that is no more waits again", job)
        for job in await self._call(self._records.expire_sessions):
            self._waiters.changed(job, JobStatus.CANCELLED)

    async def _watch_others(self) -> None:
        """Look at the jobs that somebody waits for: other servers may run them."""
        jobs = [job for job in self._waiters.jobs() if job not in self._running]
        if jobs:
            found = await self._call(self._records.watch, jobs)
            for job in jobs:
                self._waiters.seen(job, found[job][0] if job in found else None)

    async def _stop_all(self, grace: float) -> None:
        self._wake.set()
        dispatch, *others = self._background
        await asyncio.wait([dispatch, *[run.done for run in self._runs() if run.done is not None]], timeout=grace)
        self._out_of_time = True
        await asyncio.wait([dispatch])
        for run in self._runs():
            run.worker.stop(run.task, kill=True)  # what a vendor has is found by the next server
        await asyncio.gather(*[run.done for run in self._runs() if run.done is not None], return_exceptions=True)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, *[pool.close() for pool in set(self._pools.values())], return_exceptions=True)

    async def _insist(self, ask: Callable[[], T]) -> T:
        """Ask the records until they answer: a result is not given up because the store is away."""
        while True:
            try:
                return await self._call(ask)
            except Exception:
                if self._out_of_time:
                    raise
                logger.exception("the store did not take what became of a job; trying again")
                await asyncio.sleep(_PAUSE)

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
