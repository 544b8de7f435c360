"""Asking a backend with a queue what has become of a job, as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from pennylane.tape import QuantumScript

from pennylane_qexec.engine.worker import complete
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, UnansweredError
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.job import JobState, Result, Work
from pennylane_qexec.policies.retries import is_permanent

T = TypeVar("T")
Threads = Callable[[Callable[[], Any]], "Future[Any]"]

_HICCUPS = 5
_LONGEST_PAUSE = 60.0
_ANSWERS = (ConfigurationError, JobFailedError, JobCancelledError)
"""What is raised by a backend, or its client, that knows what it says."""

logger = logging.getLogger("pennylane_qexec")


class Inquiry:
    """Asks for one job. A backend that does not answer is asked again: to send the job again would cost it again.

    Args:
        executor: whose backend has the job.
        threads: has a function run in a thread.
        job_id: the backend's id of the job, or the label that it was sent with.
        followed: whether the job belongs to a durable run, for which it is not given up after a few attempts, but after
            the executor's ``patience``.
    """

    def __init__(self, executor: QueuedExecutor, threads: Threads, job_id: str, followed: bool) -> None:
        self._executor = executor
        self._threads = threads
        self._job_id = job_id
        self._followed = followed

    async def adopt(self, circuits: Sequence[QuantumScript]) -> None:
        """Take the job over from the process that sent it."""
        await self._persistently(lambda: self._executor.adopt(self._job_id, circuits))

    async def found(self) -> str | None:
        """The id of the job with this label."""
        return await self._persistently(lambda: self._executor.find(self._job_id))

    async def end(self) -> JobState:
        """Wait for the end of the job."""
        interval = self._executor.poll_interval
        while not (state := await self._persistently(lambda: self._executor.poll(self._job_id))).final:
            await asyncio.sleep(interval)
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
        return complete(self._executor, work, list(results))

    async def _persistently(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        pause, attempt, began = self._executor.poll_interval, 1, loop.time()
        while True:
            try:
                return await self._call(function)
            except Exception as error:
                waited = loop.time() - began
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
            await asyncio.sleep(pause)
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
