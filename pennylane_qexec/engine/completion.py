"""Where jobs enter the engine and where they end: the one place where a job is settled and its future resolved."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.futures import resolve
from pennylane_qexec.engine.history import History, record_failed
from pennylane_qexec.engine.queued_jobs import Division, QueuedJob
from pennylane_qexec.errors import JobCancelledError, JobTimeoutError, QExecError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import JobState, Outcome
from pennylane_qexec.policies.budgets import Account

logger = logging.getLogger("pennylane_qexec")


class Completions:
    """Keeps the jobs that somebody waits for. Used in the engine's thread.

    Args:
        history: where jobs that failed or were cancelled are written.
        timeout: seconds that a job may take; ``None`` for no limit.
        note_timeout: called with the executor on which a job was running when its time was over.
    """

    def __init__(self, history: History, timeout: float | None, note_timeout: Callable[[Executor], None]) -> None:
        self._history = history
        self._timeout = timeout
        self._note_timeout = note_timeout
        self._unfinished: set[QueuedJob] = set()

    def take(self, queued_job: QueuedJob) -> None:
        """From now on, see to it that the job comes to its end."""
        self._unfinished.add(queued_job)
        loop = asyncio.get_running_loop()
        account = queued_job.account
        # Were the future to keep its job, thousands of them would wait for the garbage collector.
        reference = weakref.ref(queued_job)
        queued_job.future.add_done_callback(
            lambda future: _cancel(account, loop, self._cancelled, reference) if future.cancelled() else None
        )
        if self._timeout is not None:
            queued_job.timer = self._history.clock.call_later(self._timeout, self._timed_out, queued_job, self._timeout)

    def settle(self, queued_job: QueuedJob, state: JobState, value: Outcome | BaseException) -> None:
        """Bring a job, or a part of one, to its end. What has come to its end already stays as it is."""
        division = queued_job.division
        if division is not None and queued_job in division.parts:
            self._settle_part(division, queued_job, state, value)
        if queued_job not in self._unfinished:
            return
        self._unfinished.discard(queued_job)
        if isinstance(value, BaseException):
            for part in queued_job.parts:
                part.state = state
                with suppress(Exception):  # nobody is left waiting because a circuit cannot be written down
                    record_failed(self._history, part, value)
        queued_job.state = state
        queued_job.leave = queued_job.division = None  # which keep it, and its parts
        queued_job.close_account()
        if queued_job.timer is not None:
            queued_job.timer.cancel()
        try:
            # What is called when the future is done belongs to whoever asked for the job, and runs in their context.
            queued_job.context.copy().run(resolve, queued_job.future, value)
        finally:
            if queued_job.kept:
                lifecycle.end(self)

    def _settle_part(
        self, division: Division, part: QueuedJob, state: JobState, value: Outcome | BaseException
    ) -> None:
        """Bring a part of a sweep to its end, and with it the sweep, if it is the last one or has failed."""
        part.leave = None
        part.close_account()
        if isinstance(value, Outcome):
            outcome = division.done(part, value)
            if outcome is not None:
                self.settle(division.whole, state, outcome)
            return
        del division.parts[part]
        part.state = state
        record_failed(self._history, part, value)
        division.whole.go()
        for other in list(division.parts):
            other.state = JobState.CANCELLED
            record_failed(self._history, other, JobCancelledError("the job was cancelled."))
        division.parts.clear()
        self.settle(division.whole, state, value)

    def close(self) -> None:
        """Cancel every job that is left."""
        for queued_job in list(self._unfinished):
            queued_job.go()  # one that is to be tried again after a pause would be, with nobody to wait for it
            error = JobCancelledError("the cluster was closed before the job ended.")
            self.settle(queued_job, JobState.CANCELLED, error)

    def let_go(self) -> None:
        """Have every job leave wherever it waits or runs, and bring none to its end."""
        for queued_job in list(self._unfinished):
            queued_job.go()

    def broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something in the engine itself went wrong: nobody is left waiting."""
        cause = context.get("exception")
        logger.error("the engine failed: %s", context.get("message"), exc_info=cause)
        for queued_job in list(self._unfinished):
            error = QExecError(f"the engine failed ({cause!r}). Please report this, with the log of 'pennylane_qexec'.")
            error.__cause__ = cause
            self.settle(queued_job, JobState.FAILED, error)

    def _timed_out(self, queued_job: QueuedJob, seconds: float) -> None:
        late = {part.executor for part in queued_job.parts if part.state is JobState.RUNNING}
        for executor in late:
            if executor is not None:
                self._note_timeout(executor)
        last = queued_job.parts[0].executor
        queued_job.go()
        self.settle(queued_job, JobState.FAILED, JobTimeoutError(seconds, last.name if last is not None else None))

    def _cancelled(self, reference: weakref.ref[QueuedJob]) -> None:
        queued_job = reference()
        if queued_job is not None and queued_job in self._unfinished:
            queued_job.go()
            self.settle(queued_job, JobState.CANCELLED, JobCancelledError("the job was cancelled."))


def _cancel(
    account: Account | None, loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any
) -> None:
    """Give back at once what is reserved, and have the engine's thread call a function.

    When that thread has ended, so have all jobs.
    """
    if account is not None:
        account.close()
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
