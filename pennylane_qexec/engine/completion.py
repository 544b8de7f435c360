"""Where jobs enter the engine and where they end: the one place where a job is settled and its future resolved."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.futures import resolve
from pennylane_qexec.engine.batch import Ticket
from pennylane_qexec.engine.history import History, record_failed
from pennylane_qexec.errors import JobCancelledError, JobTimeoutError, QExecError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import JobState, Outcome
from pennylane_qexec.policies.budgets import Account

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

    @contextmanager
    def announced(self, jobs: int) -> Iterator[None]:
        """Hand in jobs that the program waits for before it ends. Used in any thread.

        Until they end, this keeps the engine alive, whose method is called when a job times out.
        """
        lifecycle.begin(self, jobs)
        try:
            yield
        except BaseException:
            lifecycle.end(self, jobs)
            raise

    def take(self, ticket: Ticket) -> None:
        """From now on, see to it that the ticket comes to its end."""
        self._unfinished.add(ticket)
        loop = asyncio.get_running_loop()
        account = ticket.account
        # Were the future to keep its ticket, thousands of them would wait for the garbage collector.
        reference = weakref.ref(ticket)
        ticket.future.add_done_callback(
            lambda future: _cancel(account, loop, self._cancelled, reference) if future.cancelled() else None
        )
        if self._timeout is not None:
            ticket.timer = loop.call_later(self._timeout, self._timed_out, ticket, self._timeout)

    def settle(self, ticket: Ticket, state: JobState, value: Outcome | BaseException) -> None:
        """Bring a ticket to its end. A ticket that has come to its end already stays as it is."""
        if ticket not in self._unfinished:
            return
        self._unfinished.discard(ticket)
        ticket.state = state
        ticket.leave = None
        ticket.close_account()
        if ticket.timer is not None:
            ticket.timer.cancel()
        if isinstance(value, BaseException):
            record_failed(self._history, ticket, value)
        try:
            # What is called when the future is done belongs to whoever asked for the job, and runs in their context.
            ticket.context.copy().run(resolve, ticket.future, value)
        finally:
            if ticket.kept:
                lifecycle.end(self)

    def close(self) -> None:
        """Cancel every ticket that is left."""
        for ticket in list(self._unfinished):
            ticket.go()  # one that is to be tried again after a pause would be, with nobody to wait for it
            error = JobCancelledError("the cluster was closed before the job ended.")
            self.settle(ticket, JobState.CANCELLED, error)

    def let_go(self) -> None:
        """Have every ticket leave wherever it waits or runs, and bring none to its end."""
        for ticket in list(self._unfinished):
            ticket.go()

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

    def _cancelled(self, reference: weakref.ref[Ticket]) -> None:
        ticket = reference()
        if ticket is not None and ticket in self._unfinished:
            ticket.go()
            self.settle(ticket, JobState.CANCELLED, JobCancelledError("the job was cancelled."))


def _cancel(
    account: Account | None, loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any
) -> None:
    """Give back at once what is reserved, and have the engine's thread call a function.

    When that thread has ended, so have all tickets.
    """
    if account is not None:
        account.close()
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
