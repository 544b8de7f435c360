"""Who waits for jobs to change: requests that are held until then."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from pennylane_qexec.server.records import JobStatus

_FRESH = 2.0  # seconds for which a change is remembered


class StatusWaiters:
    """Wakes those who wait for the status of a job to change. It belongs to an event loop.

    The last changes are remembered for a moment: one that comes between the reading of a status and the wait is not
    missed. Older ones are not, since another server may have changed the status again.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: OrderedDict[str, tuple[JobStatus | None, float]] = OrderedDict()
        self._waiting: dict[str, list[_Waiter]] = {}

    def jobs(self) -> list[str]:
        """The ids of the jobs that somebody waits for."""
        return list(self._waiting)

    def changed(self, job: str, status: JobStatus | None) -> None:
        """A job has got another status, or was deleted (``None``)."""
        self._last[job] = (status, self._clock())
        self._last.move_to_end(job)
        self._forget()
        self.seen(job, status)

    def seen(self, job: str, status: JobStatus | None) -> None:
        """A job was found to have a status, or to be no more (``None``): wake those who know another one."""
        for waiter in list(self._waiting.get(job, ())):
            if waiter.known is not status:
                waiter.end()

    async def wait(self, job: str, known: JobStatus, seconds: float) -> None:
        """Wait until the status of a job is another one than that known, but not longer than so many seconds."""
        self._forget()
        status, _ = self._last.get(job, (known, 0.0))
        if status is not known:
            return
        waiter = _Waiter(known)
        waiting = self._waiting.setdefault(job, [])
        waiting.append(waiter)
        timer = asyncio.get_running_loop().call_later(seconds, waiter.end)
        try:
            await waiter.over
        finally:
            timer.cancel()
            waiting.remove(waiter)
            if not waiting and self._waiting.get(job) is waiting:
                del self._waiting[job]

    def wake_all(self) -> None:
        """Let nobody wait any longer."""
        for job in self.jobs():
            self.seen(job, None)

    def _forget(self) -> None:
        while self._last:
            job, (_, when) = next(iter(self._last.items()))
            if self._clock() - when < _FRESH:
                return
            del self._last[job]


class _Waiter:
    """Somebody who waits for a job that has a status to get another one."""

    def __init__(self, known: JobStatus) -> None:
        self.known = known
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
