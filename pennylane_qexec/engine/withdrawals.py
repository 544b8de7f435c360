"""Jobs at backends with a queue that nobody waits for any more: they are cancelled there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.queued import QueuedExecutor

logger = logging.getLogger("pennylane_qexec")

PATIENCE = 10.0
"""Seconds that the end of a cluster, or of the program, waits for backends to take what is to be cancelled."""

_ATTEMPTS = 5

Submission = concurrent.futures.Future[str]
Threads = Callable[[Callable[[], Any]], concurrent.futures.Future[Any]]
"""Has a function run in one of a lane's threads."""


@dataclass(eq=False)
class _Withdrawal:
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


class Withdrawals:
    """What is being cancelled at backends. Used in the engine's thread, but for :meth:`say_what_is_left`.

    Args:
        owner: the engine, which must not be forgotten before everything is cancelled.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._under_way: dict[asyncio.Task[None], _Withdrawal] = {}
        self._failed: list[_Withdrawal] = []
        self._ending = False
        self._said = False

    def cancel(self, executor: QueuedExecutor, job_id: str, threads: Threads) -> None:
        """Cancel a job.

        Args:
            executor: whose backend has it.
            job_id: the backend's id of it.
            threads: where to do it.
        """
        self._begin(_Withdrawal(executor, threads, job_id))

    def cancel_submitted(self, executor: QueuedExecutor, submission: Submission, threads: Threads) -> None:
        """Cancel a job that is being submitted, when its id is there; see :meth:`cancel`."""
        self._begin(_Withdrawal(executor, threads, submission=submission))

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
        for _, withdrawal in late:
            _cancel_late(withdrawal)

    def say_what_is_left(self) -> None:
        """Say which jobs have not been cancelled, once. Used in any thread."""
        left = [*self._failed, *list(self._under_way.values())]
        if left and not self._said:
            self._said = True
            _warn(left)

    def _begin(self, withdrawal: _Withdrawal) -> None:
        task = asyncio.get_running_loop().create_task(_carry_out(withdrawal))
        self._under_way[task] = withdrawal
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        withdrawal = self._under_way.pop(task)
        if task.cancelled() or withdrawal.error is None:
            return
        if self._ending:
            self._failed.append(withdrawal)
        else:
            _warn([withdrawal])


async def _carry_out(withdrawal: _Withdrawal) -> None:
    """Cancel a job, if need be when it has been submitted; after a hiccup of the network, again."""
    if withdrawal.submission is not None:
        try:
            withdrawal.job_id = await asyncio.wrap_future(withdrawal.submission)
        except Exception:
            return  # it was not submitted
    interval = withdrawal.executor.poll_interval
    for attempt in range(_ATTEMPTS):
        try:
            await asyncio.wrap_future(withdrawal.threads(withdrawal.cancel))
            withdrawal.error = None
            return
        except Exception as error:
            withdrawal.error = error
        if attempt < _ATTEMPTS - 1:
            await asyncio.sleep(interval * 2**attempt)


def _cancel_late(withdrawal: _Withdrawal) -> None:
    """Cancel a job that could not be waited for, if the program goes on for so long."""
    if withdrawal.job_id is not None or withdrawal.submission is None:
        withdrawal.threads(withdrawal.cancel)
        return

    def cancel(submission: Submission) -> None:
        if not submission.cancelled() and submission.exception() is None:
            withdrawal.executor.cancel(submission.result())

    withdrawal.submission.add_done_callback(cancel)


def _warn(left: Sequence[_Withdrawal]) -> None:
    logger.warning(
        "%d jobs that nobody waits for could not be cancelled and may still run: %s. Cancel them at the provider.",
        len(left),
        ", ".join(sorted(map(str, left))),
    )
