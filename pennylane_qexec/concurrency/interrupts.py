"""Waiting in a way that Ctrl-C always ends.

Python calls the handler of a signal between two steps of the main thread. A signal that comes just before a wait begins
is not seen until the wait is over. And what the handler raises in a callback of the garbage collector, as JAX has one,
is printed and forgotten. So the main thread waits in slices, and knows afterwards whether the handler was called.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

SLICE = 0.25
"""Seconds after which the main thread looks up."""


class _Handler:
    """Handles Ctrl-C while the main thread waits: as Python does, and remembers it."""

    def __init__(self) -> None:
        self.called = False
        self.gives_up = False

    def __call__(self, number: int, frame: Any) -> None:
        self.called = True
        signal.default_int_handler(number, frame)


_handler = _Handler()


@contextmanager
def noticed() -> Iterator[None]:
    """While this lasts, Ctrl-C in the main thread is raised at the latest when it ends.

    A handler of the user's own is left where it is.
    """
    if not _in_main_thread():
        yield
        return
    outermost = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if outermost:
        signal.signal(signal.SIGINT, _handler)
    try:
        yield
        if _handler.called:
            raise KeyboardInterrupt
    finally:
        _handler.called = False
        if outermost and signal.getsignal(signal.SIGINT) is _handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def wait(step: Callable[[float | None], bool], timeout: float | None = None) -> bool:
    """Wait for something, in slices where this is the main thread.

    Args:
        step: waits for so many seconds, or without a limit, and returns whether what is waited for is there.
        timeout: the most seconds to wait; ``None`` for as long as it takes.

    Returns:
        Whether it is there.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if not _in_main_thread():
        return step(timeout)
    end = None if timeout is None else time.monotonic() + timeout
    with noticed():
        while not step(_pause(end)):
            if _handler.called or _handler.gives_up:
                raise KeyboardInterrupt
            if end is not None and time.monotonic() >= end:
                return False
    return True


def as_completed(futures: Collection[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
    """Futures as they end, as :func:`concurrent.futures.as_completed` gives them.

    Args:
        futures: futures.
        timeout: seconds from now until all must have ended; ``None`` for no limit.

    Raises:
        TimeoutError: not all have ended in time.
        KeyboardInterrupt: Ctrl-C.
    """
    if not _in_main_thread():
        yield from concurrent.futures.as_completed(futures, timeout)
        return
    left, end = set(futures), None if timeout is None else time.monotonic() + timeout
    while left:
        ending = concurrent.futures.as_completed(left, _pause(end))
        while (future := _next(ending)) is not None:
            left.discard(future)
            yield future
        if left and end is not None and time.monotonic() >= end:
            raise TimeoutError(f"{len(left)} (of {len(futures)}) futures unfinished")


def _next(ending: Iterator[Future[T]]) -> Future[T] | None:
    with noticed():
        try:
            return next(ending, None)
        except TimeoutError:
            return None


def _pause(end: float | None) -> float:
    return SLICE if end is None else max(0.0, min(SLICE, end - time.monotonic()))


def acquire(lock: threading.Lock) -> None:
    """Acquire a lock."""
    if not lock.acquire(blocking=False):
        wait(lambda seconds: lock.acquire(timeout=-1 if seconds is None else seconds))


def give_up() -> None:
    """Let no wait of the main thread last any longer, as the user has asked a second time for the program's end."""
    _handler.gives_up = True


def end_program() -> None:
    """End the program, which is about to end, as one that Ctrl-C has ended: shells see the status 130.

    What is registered with ``atexit`` is called; threads are not waited for.
    """
    atexit._run_exitfuncs()
    end_now()


def end_now() -> None:
    """End the program as Ctrl-C does where nothing handles it, but for what its standard output still holds."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if os.name == "posix":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
