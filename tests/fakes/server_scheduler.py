"""A scheduler that runs nothing: a test says when a job begins and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pennylane_qexec.server.records import JobStatus, Records


class FakeScheduler:
    """Stands in for the scheduler of the server's application."""

    last: FakeScheduler

    def __init__(self, records: Records, catalogue: Any, sources: Any, settings: Any, metrics: Any) -> None:
        type(self).last = self
        self.records = records
        self.sources = sources
        self.jobs: list[str] = []
        self.cancelled: list[str] = []
        self.waits: list[float] = []
        self.stopped: float | None = None
        self.fails = False
        self.meanwhile: list[Callable[[], None]] = []
        """What happens while somebody waits for a job, one for each that does."""
        self._changed: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def stop(self, grace: float) -> None:
        self.stopped = grace

    def submitted(self, job: str) -> None:
        if self.fails:
            raise RuntimeError("the scheduler is broken")
        self.jobs.append(job)

    async def wait(self, job: str, known: JobStatus, seconds: float) -> None:
        self.waits.append(seconds)
        event = self._changed.setdefault(job, asyncio.Event())
        if self.meanwhile:
            self._loop.run_in_executor(None, self.meanwhile.pop(0))
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return

    async def cancel(self, job: str) -> None:
        self.cancelled.append(job)

    def retry_after(self) -> int:
        return 7

    # what tests say

    def begin(self, job: str) -> None:
        assert self.records.claim([job])
        self._wake(job)

    def end(self, job: str, status: JobStatus = JobStatus.COMPLETED, **what: Any) -> None:
        assert self.records.finish(job, status, **what)
        self._wake(job)

    def run(self, job: str, result: str = '{"a":1}') -> None:
        self.begin(job)
        self.end(job, result=result, seconds=1.5, log="it ran")

    def _wake(self, job: str) -> None:
        event = self._changed.pop(job, None)
        if event is not None:
            self._loop.call_soon_threadsafe(event.set)
