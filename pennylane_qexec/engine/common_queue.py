"""Jobs that any executor of a cluster may run wait in one queue, which its lanes share."""

from __future__ import annotations

from collections import Counter, deque

from pennylane_qexec.concurrency.clock import Clock
from pennylane_qexec.engine.queued_jobs import QueuedJob


class CommonQueue:
    """Jobs that belong to no executor yet, by the depth they were asked for at. Used in the engine's thread.

    Args:
        clock: the engine's.

    Attributes:
        arrived: when the last job came, on the monotonic clock.
        by_depth: the jobs, oldest first.
        circuits: how many circuits they are, by depth.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.arrived = 0.0
        self.by_depth: dict[int, deque[QueuedJob]] = {}
        self.circuits: Counter[int] = Counter()

    def put(self, queued_job: QueuedJob) -> None:
        """Let a job wait here."""
        self.arrived = self._clock.monotonic()
        queued_job.leave = self.remove
        self.by_depth.setdefault(queued_job.depth, deque()).append(queued_job)
        self.circuits[queued_job.depth] += queued_job.job.rows

    def remove(self, queued_job: QueuedJob) -> None:
        """Take a job out."""
        queued_jobs = self.by_depth[queued_job.depth]
        queued_jobs.remove(queued_job)
        self.circuits[queued_job.depth] -= queued_job.job.rows
        if not queued_jobs:
            del self.by_depth[queued_job.depth]

    def take_out(self, queued_job: QueuedJob, most: int) -> QueuedJob:
        """Take a job out, or so many circuits of its sweep. Those that go where others of a call go stay together."""
        if queued_job.job.rows <= most or queued_job.job.affinity is not None:
            self.remove(queued_job)
            return queued_job
        queued_jobs = self.by_depth[queued_job.depth]
        rest = queued_jobs[queued_jobs.index(queued_job)] = queued_job.as_part()
        self.circuits[queued_job.depth] -= most
        return rest.take_out(most)

    def clear(self) -> None:
        """Take all jobs out."""
        for queued_jobs in self.by_depth.values():
            for queued_job in queued_jobs:
                queued_job.leave = None
        self.by_depth.clear()
        self.circuits.clear()

    def of(self, depth: int) -> deque[QueuedJob]:
        """The jobs of one depth, oldest first."""
        return self.by_depth.get(depth, _NONE)

    def __len__(self) -> int:
        return sum(map(len, self.by_depth.values()))


_NONE: deque[QueuedJob] = deque(maxlen=0)
