"""Ways to wait for many futures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

from pennylane_qexec import interrupts
from pennylane_qexec.errors import ConfigurationError


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
def bar(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, and the function that moves it on by one."""
    if not shown:
        yield lambda: None
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
        yield lambda: bar.advance(task)
