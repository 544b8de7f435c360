"""Futures of QNode calls that run later, and of any function that is run later in a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pennylane_qexec.concurrency import context, interrupts, isolation, lifecycle
from pennylane_qexec.concurrency.context import OutcomeLog
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.concurrency.thread_pool import tamed
from pennylane_qexec.job import Outcome, Result
from pennylane_qexec.redaction.display import even_incomplete

_beginning = threading.Lock()


class Later(AskedFuture[Any], ABC):
    """What a call that runs later will return: a :class:`concurrent.futures.Future` that can also be awaited.

    It works with :func:`concurrent.futures.wait` and :func:`concurrent.futures.as_completed`. ``await future`` works in
    any event loop, and cancels the call if the task that waits is cancelled. Callbacks run in a thread of the cluster,
    so they should be short.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    @property
    @abstractmethod
    def outcomes(self) -> tuple[Outcome, ...]:
        """Who ran each circuit that has run until now, with how many shots, when, and at what cost."""

    def cancel(self) -> bool:
        """Give the call up: what waits is taken out of the queue, what runs is stopped where the backend can.

        Returns:
            Whether it was given up; ``False`` if it has ended already, or cannot be stopped.
        """
        if not super().cancel():
            return False
        self._begin()
        return True

    @even_incomplete
    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "under way"
        return f"<{type(self).__name__} {state} at {id(self):#x}>"

    def __await__(self) -> Generator[Any, None, Any]:
        self._asked = True
        return asyncio.wrap_future(self).__await__()

    def _begin(self) -> bool:
        """Say that the result is about to come; false if the future was cancelled, or somebody has said so already."""
        with _beginning:
            if self._begun:
                return False
            self._begun = True
        return self.set_running_or_notify_cancel()

    def _end(self, error: BaseException | None = None) -> None:
        """Bring the future to its end, unless it has come to it."""
        if self._begin():
            if error is None:
                self.set_result(None)
            else:
                self.set_exception(error)


class CircuitFuture(Later):
    """The future of :meth:`QElectron.run_later`.

    It is done when all circuits of the call are. What PennyLane, transforms and merges compute of their results is
    computed once, by whoever asks for the result first, in his thread: there the result can be differentiated.
    """

    def __init__(self) -> None:
        super().__init__()
        self._jobs: Sequence[Future[Outcome]] = ()
        self._outcomes: tuple[Outcome, ...] = ()
        self._finish: Callable[[Sequence[Result]], Any] | None = None
        self._finishing = threading.Lock()
        self._value: Any = None
        self._error: BaseException | None = None
        self._left = 0
        self._at_once = False
        here = context.current()
        self._log = None if here.depth else here.outcome_log

    def follow(
        self, jobs: Sequence[Future[Outcome]], finish: Callable[[Sequence[Result]], Any], at_once: bool = False
    ) -> CircuitFuture:
        """Be done when these jobs are.

        Args:
            jobs: futures of the circuits of the call.
            finish: makes the call's result of the circuits' results.
            at_once: whether to call it as soon as they are there, in whatever thread brings them.
        """
        self._finish = finish
        self._at_once = at_once
        self._jobs = jobs
        self._left = len(jobs)
        for job in jobs:
            job.add_done_callback(self._note)
        if not jobs:
            self._end()
        if self.cancelled():
            self._cancel_jobs()
        return self

    def fail(self, error: BaseException) -> CircuitFuture:
        """Be done now, since the circuits could not be sent."""
        self._end(error=error)
        return self

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Who ran each circuit that has run until now, with how many shots, when, and at what cost."""
        done = [job for job in self._jobs if job.done() and not job.cancelled() and job.exception() is None]
        return self._outcomes or tuple(job.result() for job in done)

    def cancel(self) -> bool:
        """Give the call up: circuits that wait leave the queue, those that run are stopped where the backend can.

        Returns:
            Whether it was given up; ``False`` if it has ended already.
        """
        if not super().cancel():
            return False
        self._cancel_jobs()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """What the QElectron returns for these arguments, as soon as it is there.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.

        Raises:
            ExecutorError: a circuit failed wherever it was tried.
            TimeoutError: it was not there in time. The circuits go on running.
            concurrent.futures.CancelledError: the call was cancelled.
        """
        super().result(timeout)
        self._compute()
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What :meth:`result` would raise, as soon as that is known; ``None`` if nothing.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.
        """
        error = super().exception(timeout)
        if error is not None:
            return error
        self._compute()
        return self._error

    def _note(self, job: Future[Outcome]) -> None:
        """A circuit has ended."""
        if job.cancelled():
            if not self.cancelled():
                self.cancel()
            return
        error = job.exception()
        if error is not None:
            self._end(error=error)
            self._cancel_jobs()
            return
        with _beginning:
            self._left -= 1
            left = self._left
        if not left:
            self._outcomes = tuple(job.result() for job in self._jobs)
            self._jobs = ()
            if self._log is not None:
                self._log.note(self._outcomes)
            if self._at_once:
                self._compute()
            self._end()

    def _cancel_jobs(self) -> None:
        for job in self._jobs:
            job.cancel()

    def _compute(self) -> None:
        interrupts.acquire(self._finishing)
        try:
            if self._finish is None:
                return
            try:
                self._value = self._finish([outcome.result for outcome in self._outcomes])
            except Exception as error:
                self._error = error
            # After Ctrl-C, in contrast, somebody may ask again.
            self._finish = None
        finally:
            self._finishing.release()


_HANDS = (16, 8, 4, 2)
"""Threads for functions, for functions that these run later, and so on; the last number is for all that are deeper."""


class FunctionFuture(Later):
    """The future of :func:`run_later`."""

    def __init__(self) -> None:
        super().__init__()
        self._log = OutcomeLog()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Who ran each circuit that the function has run until now, with how many shots, when, and at what cost."""
        return tuple(self._log.outcomes)

    def run(self, depth: int, function: Callable[[], Any]) -> None:
        """Call the function and come to an end, unless the future was cancelled."""
        if not self._begin():
            return
        context.set_current(context.current()._replace(function_depth=depth, outcome_log=self._log))
        try:
            self.set_result(tamed(function))
        except Exception as error:
            self.set_exception(error)


class _Background:
    """Threads in which functions run: a pool for each depth of nesting.

    A function waits only for functions deeper than itself, and those have threads of their own. So however many wait,
    some function can always run.
    """

    def __init__(self) -> None:
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._unfinished: set[FunctionFuture] = set()

    def start(self, function: Callable[[], Any]) -> FunctionFuture:
        """Run a function in a thread."""
        isolation.install()
        future, depth = FunctionFuture(), context.current().function_depth
        self._pool(depth).submit(contextvars.copy_context().run, future.run, depth + 1, function)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def _pool(self, depth: int) -> ThreadPoolExecutor:
        with self._lock:
            if not self._pools:
                lifecycle.wait_at_exit(self._wait)
            if depth not in self._pools:
                hands = _HANDS[min(depth, len(_HANDS) - 1)]
                self._pools[depth] = ThreadPoolExecutor(hands, thread_name_prefix=f"qexec-later-{depth}")
            return self._pools[depth]

    def _wait(self) -> bool:
        """Wait for all functions; says whether there were any."""
        unfinished = list(self._unfinished)
        interrupts.wait(lambda seconds: not concurrent.futures.wait(unfinished, seconds).not_done)
        return bool(unfinished)


_background = _Background()


def run_here(function: Callable[[], Any]) -> FunctionFuture:
    """Call a function here and now, and return the future of its result."""
    isolation.install()
    future = FunctionFuture()
    contextvars.copy_context().run(future.run, context.current().function_depth + 1, function)
    return future


def start(function: Callable[[], Any]) -> FunctionFuture:
    """Run a function in a thread, and return the future of its result at once."""
    return _background.start(function)
