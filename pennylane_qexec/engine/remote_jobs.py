"""Batches at backends with a queue: whether they were sent, what has become of them, how they are cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from pennylane_qexec.concurrency.clock import Clock
from pennylane_qexec.concurrency.lifecycle import PATIENCE
from pennylane_qexec.engine.worker import complete
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, UnansweredError
from pennylane_qexec.executors import QueuedExecutor
from pennylane_qexec.job import Job, JobState, OutgoingJobs, Result, Work
from pennylane_qexec.policies.retries import is_permanent

Submission = Future[str]
Threads = Callable[[Callable[[], Any]], Future[Any]]
"""Has a function run in one of a lane's threads."""

T = TypeVar("T")

_HICCUPS = 5
_LONGEST_PAUSE = 60.0
_ANSWERS = (ConfigurationError, JobFailedError, JobCancelledError)
"""What is raised by a backend, or its client, that knows what it says."""

logger = logging.getLogger("pennylane_qexec")


class Polling:
    """Asks for one job. A backend that does not answer is asked again: to send the job again would cost it again.

    Args:
        executor: whose backend has the job.
        threads: has a function run in a thread.
        job_id: the backend's id of the job, or the label that it was sent with.
        followed: whether the job belongs to a durable run, for which it is not given up after a few attempts, but after
            the executor's ``patience``.
        clock: by which it waits.
    """

    def __init__(self, executor: QueuedExecutor, threads: Threads, job_id: str, followed: bool, clock: Clock) -> None:
        self._clock = clock
        self._executor = executor
        self._threads = threads
        self._job_id = job_id
        self._followed = followed

    async def adopt(self, work: Work) -> None:
        """Take the job over from the process that sent it."""
        await self._persistently(lambda: self._executor.adopt_work(self._job_id, work))

    async def found(self) -> str | None:
        """The id of the job with this label."""
        return await self._persistently(lambda: self._executor.find(self._job_id))

    async def end(self) -> JobState:
        """Wait for the end of the job."""
        interval = self._executor.poll_interval
        while not (state := await self._persistently(lambda: self._executor.poll(self._job_id))).final:
            await self._clock.sleep(interval)
            interval = min(2 * interval, self._executor.poll_interval_max)
        return state

    async def results(self, state: JobState, work: Work) -> list[Result]:
        """The results of the job, which has ended.

        Args:
            state: in which it ended.
            work: what it was sent with.
        """
        if state is not JobState.DONE:
            await self._call(lambda: self._executor.fetch(self._job_id))
            raise JobFailedError(self._executor.name, self._job_id, f"it ended as {state}")
        results = await self._persistently(lambda: self._executor.fetch(self._job_id))
        return complete(self._executor, work, work.by_sweep(results) if work.sweeps else list(results))

    async def _persistently(self, function: Callable[[], T]) -> T:
        pause, attempt, began = self._executor.poll_interval, 1, self._clock.monotonic()
        while True:
            try:
                return await self._call(function)
            except Exception as error:
                waited = self._clock.monotonic() - began
                if not self._asks_again(error, attempt, waited):
                    if self._followed and not isinstance(error, _ANSWERS):
                        raise UnansweredError(self._executor.name, self._job_id, waited) from error
                    raise
                logger.log(
                    logging.WARNING if attempt <= _HICCUPS else logging.DEBUG,
                    "executor %r did not answer (%r); asking again",
                    self._executor.name,
                    error,
                )
            await self._clock.sleep(pause)
            attempt += 1
            pause = min(2 * pause, _LONGEST_PAUSE if self._followed else self._executor.poll_interval_max)

    def _asks_again(self, error: Exception, attempt: int, waited: float) -> bool:
        if isinstance(error, _ANSWERS):
            return False
        if self._followed:
            return waited < self._executor.patience
        return attempt <= _HICCUPS and not is_permanent(error)

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._threads(function))


@dataclass
class SentBatch:
    """What is known of a batch on its way.

    Attributes:
        jobs: the jobs of the batch.
        work: what they are sent as; ``None`` for the jobs as they are.
        in_parts: whether they are parts of jobs, which a durable run does not know: it sends those again, whole.
        reached: whether its executor may have begun with it.
        begun: whether it was being submitted to a backend with a queue.
        outgoing: what it is sent in, if a durable run follows it.
    """

    jobs: Sequence[Job] = ()
    work: Work | None = None
    in_parts: bool = False
    reached: bool = False
    begun: bool = False
    outgoing: OutgoingJobs | None = None

    def submitted(self, executor: QueuedExecutor, work: Work) -> str:
        """Submit the batch, and tell who follows it. Returns the backend's id of it."""
        follower = self.jobs[0].follower if self.jobs and not self.in_parts else None
        if follower is None:
            self.begun = True
            return executor.submit_work(work)
        with follower.sending(self.jobs, executor) as outgoing:
            self.begun, self.outgoing = True, outgoing
            job_id = executor.find(outgoing.label) if outgoing.may_be_there else None
            if job_id is None:
                job_id = executor.submit_work(work, outgoing.label)
            outgoing.sent(job_id)
        return job_id

    @property
    def followed(self) -> bool:
        """Whether a durable run follows it."""
        return bool(self.jobs) and self.jobs[0].follower is not None

    @property
    def stays(self) -> bool:
        """Whether it is left at the backend if nobody waits for it any more, as somebody will later."""
        follower = self.jobs[0].follower if self.jobs and not self.in_parts else None
        return follower is not None and follower.leaves(self.jobs)


_ATTEMPTS = 5


@dataclass(eq=False)
class _Cancellation:
    """A job on its way to being cancelled.

    Attributes:
        executor: whose backend has it.
        threads: where to do it.
        job_id: the backend's id of it; ``None`` while it is being submitted.
        submission: brings the id, if it is being submitted.
        error: what the backend said when it was last asked to cancel the job.
    """

    executor: QueuedExecutor
    threads: Threads
    job_id: str | None = None
    submission: Submission | None = None
    error: Exception | None = None

    def cancel(self) -> None:
        """Cancel the job, at once. One that the backend does not know is not there."""
        if self.job_id is not None:
            try:
                self.executor.cancel(self.job_id)
            except ConfigurationError as error:
                logger.debug("job %r at executor %r is not cancelled: %s", self.job_id, self.executor.name, error)

    def __str__(self) -> str:
        job = "a job that was being submitted" if self.job_id is None else repr(self.job_id)
        return f"{job} at {self.executor.name!r}" + (f" ({self.error!r})" if self.error is not None else "")


class Cancellations:
    """What is being cancelled at backends. Used in the engine's thread, but for :meth:`say_what_is_left`.

    Args:
        owner: the engine, which must not be forgotten before everything is cancelled.
        clock: the engine's.
    """

    def __init__(self, owner: object, clock: Clock) -> None:
        self._clock = clock
        self._owner = owner
        self._under_way: dict[asyncio.Task[None], _Cancellation] = {}
        self._failed: list[_Cancellation] = []
        self._ending = False
        self._said = False

    def cancel(self, executor: QueuedExecutor, job_id: str, threads: Threads) -> None:
        """Cancel a job.

        Args:
            executor: whose backend has it.
            job_id: the backend's id of it.
            threads: where to do it.
        """
        self._begin(_Cancellation(executor, threads, job_id))

    def cancel_submitted(self, executor: QueuedExecutor, submission: Submission, threads: Threads) -> None:
        """Cancel a job that is being submitted, when its id is there; see :meth:`cancel`."""
        self._begin(_Cancellation(executor, threads, submission=submission))

    async def over(self) -> None:
        """Wait until all are cancelled, for a limited time; and say which are not, and still run."""
        self._ending = True
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=PATIENCE)
        self.say_what_is_left()
        late = list(self._under_way.items())
        for task, _ in late:
            task.cancel()
        await asyncio.gather(*(task for task, _ in late), return_exceptions=True)
        for _, cancellation in late:
            _cancel_late(cancellation)

    def say_what_is_left(self) -> None:
        """Say which jobs have not been cancelled, once. Used in any thread."""
        left = [*self._failed, *list(self._under_way.values())]
        if left and not self._said:
            self._said = True
            _warn(left)

    def _begin(self, cancellation: _Cancellation) -> None:
        task = asyncio.get_running_loop().create_task(_carry_out(cancellation, self._clock))
        self._under_way[task] = cancellation
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        cancellation = self._under_way.pop(task)
        if task.cancelled() or cancellation.error is None:
            return
        if self._ending:
            self._failed.append(cancellation)
        else:
            _warn([cancellation])


async def _carry_out(cancellation: _Cancellation, clock: Clock) -> None:
    """Cancel a job, if need be when it has been submitted; after a hiccup of the network, again."""
    if cancellation.submission is not None:
        try:
            cancellation.job_id = await asyncio.wrap_future(cancellation.submission)
        except Exception:
            return  # it was not submitted
    interval = cancellation.executor.poll_interval
    for attempt in range(_ATTEMPTS):
        try:
            await asyncio.wrap_future(cancellation.threads(cancellation.cancel))
            cancellation.error = None
            return
        except Exception as error:
            cancellation.error = error
        if attempt < _ATTEMPTS - 1:
            await clock.sleep(interval * 2**attempt)


def _cancel_late(cancellation: _Cancellation) -> None:
    """Cancel a job that could not be waited for, if the program goes on for so long."""
    if cancellation.job_id is not None or cancellation.submission is None:
        cancellation.threads(cancellation.cancel)
        return

    def cancel(submission: Submission) -> None:
        if not submission.cancelled() and submission.exception() is None:
            cancellation.executor.cancel(submission.result())

    cancellation.submission.add_done_callback(cancel)


def _warn(left: Sequence[_Cancellation]) -> None:
    logger.warning(
        "%d jobs that nobody waits for could not be cancelled and may still run: %s. Cancel them at the provider.",
        len(left),
        ", ".join(sorted(map(str, left))),
    )
