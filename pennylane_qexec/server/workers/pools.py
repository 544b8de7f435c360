"""Pools of worker processes: one for all that compute, one for each executor whose jobs wait for others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import psutil

from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.server.catalogue import DRY_RUN
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.settings import Settings
from pennylane_qexec.server.sources import Source
from pennylane_qexec.server.turns import Turns
from pennylane_qexec.server.workers.processes import WorkerProcess
from pennylane_qexec.server.workers.worker import Programs, WorkerSetup

logger = logging.getLogger("pennylane_qexec.server")

MOST_WAITING = 64
"""The most jobs of an executor that wait for others at the same time."""

_LONGEST_PAUSE = 60.0  # seconds between two attempts to start processes that die before they are ready


def pools_of(
    settings: Settings,
    sources: Mapping[str, Source],
    programs: Callable[[Mapping[str, Source], Limits], Programs],
    changed: Callable[[], None],
) -> dict[str, WorkerPool]:
    """The pools of a server, by the names of executors.

    Args:
        settings: of the server.
        sources: what runs jobs, by those names.
        programs: makes what carries out tasks in worker processes.
        changed: called when a task may begin that could not before.
    """
    memory = settings.worker_memory or psutil.virtual_memory().total

    def setup(of: Mapping[str, Source], tasks: int) -> bytes:
        return WorkerSetup(programs(of, settings.limits), tasks, memory, settings.log_level).dumps()

    def pool(of: Mapping[str, Source], processes: int, tasks: int, threads: int | None) -> WorkerPool:
        return WorkerPool(partial(setup, of, tasks), processes, tasks, threads, changed)

    local = {name: source for name, source in sources.items() if not source.waits}
    processes = settings.workers or max(1, cores() - 1)
    together = pool(local, processes, 1, max(1, cores() // processes))
    others = {name: pool({name: one}, 1, MOST_WAITING, None) for name, one in sources.items() if one.waits}
    return {**others, **dict.fromkeys([*local, DRY_RUN], together)}


class WorkerPool:
    """Worker processes that are alike: several with one task at a time, or one with many tasks that wait for others.

    Args:
        setup: makes what a new process is sent first; called in a thread.
        processes: how many there may be.
        tasks: how many each may have at the same time.
        threads: for OpenMP, in each; ``None`` to let it choose.
        changed: called when a task may begin that could not before.
        clock: seconds, from any start.

    Attributes:
        processes: the same.
        tasks: the same.
        turns: whose turn it is here.
    """

    def __init__(
        self,
        setup: Callable[[], bytes],
        processes: int,
        tasks: int,
        threads: int | None,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._setup = setup
        self.processes = processes
        self.tasks = tasks
        self.turns = Turns()
        self._threads = threads
        self._notify = changed
        self._clock = clock
        self._workers: list[WorkerProcess] = []
        self._failures = 0
        self._not_before = 0.0
        self._closed = False
        self._starts: set[asyncio.Task[Any]] = set()

    @property
    def waits(self) -> bool:
        """Whether tasks wait for others. Otherwise they compute, and a task is stopped by killing its process."""
        return self.tasks > 1

    @property
    def free(self) -> int:
        """How many tasks could begin now."""
        return sum(self.tasks - len(worker) for worker in self._workers if worker.ready)

    @property
    def may_grow(self) -> bool:
        """Whether one more process may be started now."""
        in_time = self._clock() >= self._not_before
        return in_time and not self._closed and len(self._workers) + len(self._starts) < self.processes

    def worker(self) -> WorkerProcess | None:
        """The process that has the fewest tasks, if one more may begin there."""
        idle = [worker for worker in self._workers if worker.ready and len(worker) < self.tasks]
        return min(idle, key=len, default=None)

    def grow(self, wanted: int) -> None:
        """Start processes for so many tasks that could not begin, unless some are about to be ready."""
        if not self.may_grow:
            return
        starting = sum(not worker.started for worker in self._workers) + len(self._starts)
        allowed = self.processes - len(self._workers) - len(self._starts)
        for _ in range(min(-(-wanted // self.tasks) - starting, allowed)):
            start = asyncio.create_task(self._start())
            self._starts.add(start)
            start.add_done_callback(self._starts.discard)

    def keep_warm(self) -> None:
        """Start a process if there is none."""
        if not self._workers and not self._starts:
            self.grow(1)

    async def close(self) -> None:
        """Kill all processes."""
        self._closed = True
        while self._starts or self._workers:
            for worker in self._workers:
                worker.kill()
            await asyncio.gather(*self._starts, *[worker.wait() for worker in self._workers])

    async def _start(self) -> None:
        setup = await asyncio.to_thread(self._setup)
        self._workers.append(WorkerProcess(setup, self._threads, self._changed))

    def _changed(self, worker: WorkerProcess) -> None:
        if worker.ended:
            self._workers.remove(worker)
            if not worker.started and not self._closed:
                self._failures += 1
                pause = min(2.0**self._failures, _LONGEST_PAUSE)
                self._not_before = self._clock() + pause
                logger.error("a worker process ended before it was ready; the next one is started in %g s", pause)
        else:
            self._failures = 0
        self._notify()
