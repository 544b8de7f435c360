"""Work in the engine's thread beside the jobs, such as waiting for a job that another process has sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from pennylane_qexec.errors import JobCancelledError

T = TypeVar("T")


class Errands:
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
