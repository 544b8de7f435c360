"""A batch on its way to its executor: whether it has reached it, and who follows it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pennylane.tape import QuantumScript

from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.job import Job, Letter, Work


@dataclass
class Sending:
    """What is known of a batch on its way.

    Attributes:
        jobs: the jobs of the batch.
        reached: whether its executor may have begun with it.
        begun: whether it was being submitted to a backend with a queue.
        letter: what it is sent in, if a durable run follows it.
    """

    jobs: Sequence[Job] = ()
    reached: bool = False
    begun: bool = False
    letter: Letter | None = None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While this lasts, the batch has not reached its executor."""
        self.reached = False
        yield
        self.reached = True

    def submitted(self, executor: QueuedExecutor, circuits: Sequence[QuantumScript]) -> str:
        """Submit the batch, and tell who follows it. Returns the backend's id of it."""
        follower = self.jobs[0].follower if self.jobs else None
        numbers = Work.of(self.jobs).numbers if self.jobs else ()
        if follower is None:
            self.begun = True
            return executor.submit_numbered(circuits, "", numbers) if numbers else executor.submit(circuits)
        with follower.sending(self.jobs, executor) as letter:
            self.begun, self.letter = True, letter
            job_id = executor.find(letter.label) if letter.may_be_there else None
            if job_id is None:
                job_id = executor.submit_numbered(circuits, letter.label, numbers)
            letter.sent(job_id)
        return job_id

    @property
    def followed(self) -> bool:
        """Whether a durable run follows it."""
        return bool(self.jobs) and self.jobs[0].follower is not None

    @property
    def stays(self) -> bool:
        """Whether it is left at the backend if nobody waits for it any more, as somebody will later."""
        follower = self.jobs[0].follower if self.jobs else None
        return follower is not None and follower.leaves(self.jobs)
