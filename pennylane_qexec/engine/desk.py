"""Where tickets are handed in and settled: the one place where a job comes to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pennylane_qexec.engine.history import History
from pennylane_qexec.engine.records import record_failed
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.errors import JobCancelledError, JobTimeoutError, QExecError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import JobState, Outcome

logger = logging.getLogger("pennylane_qexec")


class Desk:
    """Keeps the tickets that somebody waits for. Used in the engine's thread.

    Args:
        history: where jobs that failed or were cancelled are written.
        timeout: seconds that a job may take; ``None`` for no limit.
        note_timeout: called with the executor on which a job was running when its time was over.
    """

    def __init__(self, history: History, timeout: float | None, note_timeout: Callable[[Executor], None]) -> None:
        self._history = history
        self._timeout = timeout
        self._note_timeout = note_timeout
        self._unfinished: set[Ticket] = set()

    def take(self, ticket: Ticket) -> None:
        """From now on, see to it that the ticket comes to its end."""
        self._unfinished.add(ticket)
        loop = asyncio.get_running_loop()
        ticket.future.add_done_callback(
            lambda future: future.cancelled() and loop.call_soon_threadsafe(self._cancelled, ticket)
        )
        if self._timeout is not None:
            ticket.timer = loop.call_later(self._timeout, self._timed_out, ticket, self._timeout)

    def settle(self, ticket: Ticket, state: JobState, value: Outcome | BaseException) -> None:
        """Bring a ticket to its end. A ticket that has come to its end already stays as it is."""
        if ticket not in self._unfinished:
            return
        self._unfinished.discard(ticket)
        ticket.state = state
        if ticket.timer is not None:
            ticket.timer.cancel()
        if isinstance(value, BaseException):
            record_failed(self._history, ticket, value)
        if ticket.future.set_running_or_notify_cancel():
            if isinstance(value, BaseException):
                ticket.future.set_exception(value)
            else:
                ticket.future.set_result(value)

    def close(self) -> None:
        """Cancel every ticket that is left."""
        for ticket in list(self._unfinished):
            error = JobCancelledError("the cluster was closed before the job ended.")
            self.settle(ticket, JobState.CANCELLED, error)

    def broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something in the engine itself went wrong: nobody is left waiting."""
        cause = context.get("exception")
        logger.error("the engine failed: %s", context.get("message"), exc_info=cause)
        for ticket in list(self._unfinished):
            error = QExecError(f"the engine failed ({cause!r}). Please report this, with the log of 'pennylane_qexec'.")
            error.__cause__ = cause
            self.settle(ticket, JobState.FAILED, error)

    def _timed_out(self, ticket: Ticket, seconds: float) -> None:
        if ticket.state is JobState.RUNNING and ticket.executor is not None:
            self._note_timeout(ticket.executor)
        ticket.go()
        name = ticket.executor.name if ticket.executor is not None else None
        self.settle(ticket, JobState.FAILED, JobTimeoutError(seconds, name))

    def _cancelled(self, ticket: Ticket) -> None:
        if ticket in self._unfinished:
            ticket.go()
            self.settle(ticket, JobState.CANCELLED, JobCancelledError("the job was cancelled."))
