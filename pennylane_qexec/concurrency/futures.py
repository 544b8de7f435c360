"""Futures that know whether somebody waits for them, and ways to wait for many of them."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from pennylane_qexec.concurrency import context, interrupts
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.errors import ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("pennylane_qexec")


class AskedFuture(Future[T], Generic[T]):
    """A future that notices when somebody waits for it: by :meth:`result`, or by :func:`concurrent.futures.wait`.

    Attributes:
        started: when the batch began that runs it now; UTC, in seconds since 1970; ``None`` before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self.started: float | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody has begun to wait for it."""
        return self._asked or bool(self._waiters)

    def result(self, timeout: float | None = None) -> T:
        """The result, as soon as it is there.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.

        Raises:
            TimeoutError: it was not there in time.
            concurrent.futures.CancelledError: the future was cancelled.
            ConfigurationError: this was called by what is called when a job ends, and the result is not there.
        """
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What :meth:`result` would raise, as soon as that is known; ``None`` if nothing.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.
        """
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        self._asked = True
        if self.done():
            return
        if timeout is None and in_engine_thread():
            raise ConfigurationError(
                "a function called when a job ends (add_done_callback) waits for another future, but it is called by "
                "the thread that would bring the result. Give the other future a callback, or wait in a thread of your "
                "own."
            )
        interrupts.wait(self._has_ended, timeout)

    def _has_ended(self, timeout: float | None) -> bool:
        try:
            super().exception(timeout)
        except TimeoutError:
            return False
        except CancelledError:
            pass
        return True


def resolve(future: AskedFuture[T], value: T | BaseException) -> None:
    """Bring a future to its end, unless it was cancelled; a value that is an exception is raised from it."""
    try:
        if future.set_running_or_notify_cancel():
            if isinstance(value, BaseException):
                future.set_exception(value)
            else:
                future.set_result(value)
    except BaseException:
        # Errors of callbacks are logged by the future; what is no error, such as sys.exit(), must not end the engine.
        logger.exception("what was called when a job ended did not return")


def wait(futures: Sequence[AskedFuture[T]]) -> list[T]:
    """The outcomes of all futures, in order. The first error in time, or Ctrl-C, cancels those that are left."""
    try:
        return wait_for_all(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def wait_for_all(futures: Sequence[AskedFuture[T]]) -> list[T]:
    """The outcomes of all futures, in order; raises the first error in time."""
    with context.waiting_for(futures):
        if len(futures) > 1:
            _wait_until_done(futures)
        return [future.result() for future in futures]


def _wait_until_done(futures: Sequence[Future[T]]) -> None:
    left: Collection[Future[T]] = futures

    def look(seconds: float | None) -> bool:
        nonlocal left
        done, left = concurrent.futures.wait(left, seconds, concurrent.futures.FIRST_EXCEPTION)
        for future in done:
            future.result()
        return not left

    interrupts.wait(look)


def gather(
    futures: Iterable[Future[Any]],
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    progress: bool = False,
) -> list[Any]:
    """The results of futures, in their order, when all are there.

    Args:
        futures: futures, of :meth:`QElectron.run_later`, :func:`run_later` or any other.
        timeout: seconds from now until all must have ended; ``None`` for no limit.
        return_exceptions: whether exceptions are put in the place of results, instead of raised.
        progress: whether to show a progress bar.

    Raises:
        Exception: what the first future that failed raises, as soon as it has failed. The others go on.
        TimeoutError: not all have ended in time. They go on.
        KeyboardInterrupt: Ctrl-C, which cancels those that have not ended.
    """
    futures = _checked(futures)
    try:
        for future in as_completed(futures, timeout=timeout, progress=progress):
            if not return_exceptions:
                future.result()
        return [_result_or_error(future) if return_exceptions else future.result() for future in futures]
    except KeyboardInterrupt:
        for future in futures:
            future.cancel()
        raise


def _checked(futures: Iterable[Future[Any]]) -> list[Future[Any]]:
    given: list[Any] = [futures] if isinstance(futures, Future) else list(futures)
    for future in given:
        if not isinstance(future, Future):
            raise ConfigurationError(
                f"{future!r} is no future: give what run_later(...) returned, several as in gather([future, future])."
            )
    return given


def _result_or_error(future: Future[Any]) -> Any:
    try:
        return future.result()
    except (Exception, CancelledError) as error:
        return error


def as_completed(
    futures: Iterable[Future[Any]], *, timeout: float | None = None, progress: bool = False
) -> Iterator[Future[Any]]:
    """Futures as they end, those first that end first.

    Args:
        futures: futures, of :meth:`QElectron.run_later`, :func:`run_later` or any other.
        timeout: seconds from now until all must have ended; ``None`` for no limit.
        progress: whether to show a progress bar.

    Raises:
        TimeoutError: not all have ended in time.
    """
    futures = _checked(futures)
    with bar(len(futures), progress) as advance:
        for future in interrupts.as_completed(futures, timeout):
            advance()
            yield future


@contextmanager
def bar(total: int, shown: bool) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, and the function that moves it on by some results."""
    if not shown:
        yield lambda results=1: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("results", total=total)
        yield lambda results=1: bar.advance(task, results)
