"""The engine's event loop, in a thread that starts when it is first needed and ends when its owner is gone.

Background tasks, such as waiting for a job that another process has sent, run in it beside the jobs.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any, TypeVar

from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.errors import JobCancelledError

T = TypeVar("T")


class BackgroundTasks:
    """Coroutines, each with a future for those outside. Used in the engine's thread."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]], future: Future[T]) -> None:
        """Run a coroutine, and give its result, or its error, to a future. Cancelling that gives it up."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(_run(work, future))
        self._tasks.add(task)
        future.add_done_callback(lambda future: _cancel(loop, task) if future.cancelled() else None)
        task.add_done_callback(lambda task: self._over(task, future))

    def abandon(self) -> list[asyncio.Task[Any]]:
        """Give up everything; returns the tasks that end because of it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def _over(self, task: asyncio.Task[Any], future: Future[Any]) -> None:
        self._tasks.discard(task)
        if not future.done():  # it was given up before it began
            future.set_exception(JobCancelledError("the cluster was closed before the job ended."))


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    with suppress(RuntimeError):  # when the loop has ended, so has the task
        loop.call_soon_threadsafe(task.cancel)


async def _run(work: Callable[[], Coroutine[Any, Any, T]], future: Future[T]) -> None:
    try:
        result = await work()
    except Exception as error:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)


class _Here(threading.local):
    """What is different in engines' threads."""

    serves = False


_here = _Here()


def in_engine_thread() -> bool:
    """Whether this is called in the thread of some engine, as what is called when a job ends is."""
    return _here.serves


def serve_here() -> None:
    """Count this thread as one of an engine's, as it brings results too."""
    _here.serves = True


class LoopThread:
    """One daemon thread with an event loop.

    Args:
        on_error: a bound method, called as asyncio's exception handler when a callback or task fails. It does not keep
            its object alive.
    """

    def __init__(self, on_error: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]) -> None:
        self._on_error = weakref.WeakMethod(on_error)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls = _Calls()

    @property
    def is_current(self) -> bool:
        """Whether this is called in the thread itself."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Let the thread call a function; start the thread if it does not run. Not safe to call from two threads."""
        if self._loop is None:
            loop = asyncio.new_event_loop()
            loop.set_exception_handler(_handler(self._on_error))
            thread = threading.Thread(target=_serve, args=(loop,), daemon=True, name="qexec-engine")
            thread.start()
            self._loop, self._thread = loop, thread
            weakref.finalize(self, _stop, loop)
        self._calls.put(self._loop, function, arguments)

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Future[None] | None:
        """Run a coroutine in the thread; returns what ends with it, or ``None`` if the thread was never started."""
        return None if self._loop is None else asyncio.run_coroutine_threadsafe(work(), self._loop)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the thread as the last thing it does, and wait for its end."""
        thread = self._thread
        if (ended := self.begin(last)) is not None and self._loop is not None and thread is not None:
            interrupts.wait(lambda seconds: bool(wait([ended], seconds).done))
            ended.result()
            _stop(self._loop)
            interrupts.wait(lambda seconds: has_ended(thread, seconds))


class _Calls:
    """Calls on their way to the loop. It is woken once for all that come until it gets there: waking it costs most."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._woken = False

    def put(self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Add a call."""
        self._calls.append((function, arguments))
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._make, loop)

    def _make(self, loop: asyncio.AbstractEventLoop) -> None:
        self._woken = False
        try:
            while self._calls:
                function, arguments = self._calls.popleft()
                function(*arguments)
        finally:
            if self._calls:
                loop.call_soon(self._make, loop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    _here.serves = True
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def has_ended(thread: threading.Thread, timeout: float | None) -> bool:
    """Whether a thread has ended, after waiting for that for some seconds."""
    thread.join(timeout)
    return not thread.is_alive()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


def _handler(reference: weakref.WeakMethod[Any]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        method = reference()
        if method is not None:
            method(loop, context)

    return handle
