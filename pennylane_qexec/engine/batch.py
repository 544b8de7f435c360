"""Batches of jobs that run together, and how they are made of those that wait."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pennylane_qexec.concurrency.clock import Clock
from pennylane_qexec.engine.accounting import settle_attempt, shots_of, used
from pennylane_qexec.engine.batch_sweeps import BatchSweeps
from pennylane_qexec.engine.placement import BatchRunner, is_one_batch, most_rows
from pennylane_qexec.engine.queued_jobs import QueuedJob, circuits_in
from pennylane_qexec.engine.remote_jobs import Cancellations, SentBatch
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.executors import DelegatingExecutor, Executor, QueuedExecutor
from pennylane_qexec.job import Job, JobState, Usage, Work
from pennylane_qexec.policies.budgets import pass_on


@dataclass(eq=False)
class Batch:
    """Jobs that run together.

    Attributes:
        number: its number, for the history.
        queued_jobs: who is in it, results in this order.
        clock: the engine's.
        gone: those of them that nobody waits for any more.
        jobs: its jobs, as they are sent.
        rows: how many circuits they are.
        carried: what it ends with.
        sending: whether it has reached the executor.
        began: when it was started, on the monotonic clock.
        sweeps: its jobs, as the executor is given them, once it is.
    """

    number: int
    queued_jobs: list[QueuedJob]
    clock: Clock
    gone: set[QueuedJob] = field(default_factory=set)
    jobs: Sequence[Job] = ()
    rows: int = 0
    carried: asyncio.Future[BatchResult] | None = None
    sending: SentBatch = field(default_factory=SentBatch)
    began: float = 0.0
    sweeps: BatchSweeps | None = None

    def start(self) -> None:
        """Note that it runs."""
        now = self.clock.time()
        self.began = self.clock.monotonic()
        self.jobs = self.sending.jobs = [queued_job.job for queued_job in self.queued_jobs]
        self.sending.in_parts = self.queued_jobs[0].division is not None
        self.rows = circuits_in(self.queued_jobs)
        for queued_job in self.queued_jobs:
            queued_job.state = JobState.RUNNING
            queued_job.started = queued_job.future.started = now
            queued_job.leave = self.leave

    def work(self, executor: Executor) -> Work:
        """What the executor is given."""
        self.sweeps = BatchSweeps(executor, self.jobs)
        self.sending.work = self.sweeps.work
        return self.sweeps.work

    def counted(self, ran: BatchResult) -> BatchResult:
        """What each of its jobs has returned and used, of what the executor has."""
        assert self.sweeps is not None  # it has run
        return self.sweeps.counted(ran)

    def context(self, hands_on: bool) -> contextvars.Context:
        """The context variables to run it with: those of the first caller.

        What is asked for inside of it counts for budgets only if the executor hands circuits on, and is then counted
        there in place of here.
        """
        context = self.queued_jobs[0].context.copy()
        if (account := self.queued_jobs[0].account) is not None:
            context.run(pass_on, account.budgets if hands_on else ())
        if hands_on:
            for queued_job in self.queued_jobs:
                if queued_job.account is not None:
                    queued_job.account.hand_on()
        return context

    def settle(self, executor: Executor, usages: Sequence[Usage]) -> None:
        """Settle what its circuits have used of budgets; if an executor hands them on, that is counted there.

        Args:
            executor: who had it.
            usages: what each circuit has used; none of them if nothing has run.
        """
        accounts = [queued_job.account for queued_job in self.queued_jobs]
        if any(accounts):
            settle_attempt(accounts, () if isinstance(executor, DelegatingExecutor) else usages)

    def settle_failed(self, executor: Executor, error: Exception | None = None) -> Sequence[Usage]:
        """Settle after an attempt that failed, or (without an error) was given up: what was sent counts as used.

        Returns:
            What each of its circuits has used; none of them if nothing has run, or if it is known to another only.
        """
        nothing_ran = not self.sending.reached or (error is not None and executor.ran_nothing(error))
        seconds = (self.clock.monotonic() - self.began) / self.rows
        usages = [] if nothing_ran or isinstance(executor, DelegatingExecutor) else used(executor, self.jobs, seconds)
        self.settle(executor, usages)
        for queued_job, usage in zip(self.queued_jobs, usages, strict=False):
            queued_job.spent.append(usage)
        return usages

    def leave(self, queued_job: QueuedJob) -> None:
        """A job is not wanted any more; the batch is given up when none of it is."""
        self.gone.add(queued_job)
        if len(self.gone) == len(self.queued_jobs) and self.carried is not None:
            self.carried.cancel()


class Level:
    """What waits for an executor and runs on it at one depth of nested calls. Used in the engine's thread.

    The levels of a lane have separate threads and share no batch, since what runs at one depth may be waiting for what
    waits at the next.

    Args:
        executor: the lane's.
        depth: how many batches the callers run inside of.
        cancellations: what is being cancelled at backends.
        clock: the engine's.

    Attributes:
        waiting: the jobs that wait, in order.
        circuits: how many circuits they are.
        arrived: when the last of them came, on the monotonic clock.
        running: the batches that run.
        carrier: carries them.
    """

    def __init__(self, executor: Executor, depth: int, cancellations: Cancellations, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self.depth = depth
        self.waiting: deque[QueuedJob] = deque()
        self.circuits = 0
        self.arrived = 0.0
        self._gathered = 0
        self.running: set[Batch] = set()
        self.carrier = BatchRunner(executor, cancellations, clock, depth)
        self._hands_on = isinstance(executor, DelegatingExecutor)

    def admit(self, queued_jobs: Sequence[QueuedJob], arrived: float, first: bool = False) -> None:
        """Let jobs wait here, the last of which came at the time given: behind those that do, or ``first``."""
        for queued_job in queued_jobs:
            circuit = self._executor.with_shots(queued_job.job.circuit)
            if circuit is not queued_job.job.circuit:
                queued_job.job = replace(queued_job.job, circuit=circuit)
            queued_job.leave = self._drop
            queued_job.executor = self._executor
        if first:
            self.waiting.extendleft(reversed(queued_jobs))
        else:
            self.waiting.extend(queued_jobs)
        self.arrived = arrived
        more = circuits_in(queued_jobs)
        self.circuits = self._gathered = self.circuits + more
        self._executor.meter.add(more)

    def evacuate(self) -> list[QueuedJob]:
        """Take out everything that waits."""
        waiting = list(self.waiting)
        self.waiting.clear()
        self.circuits = 0
        self._forget(waiting)
        return waiting

    def take(self, number: int, probe: bool) -> Batch | None:
        """The next batch: jobs from the front that may run together, as many as the limits allow.

        Of a sweep with more circuits than there is room for, the first ones go, and the others wait on. The batch is
        ``None`` if all that waited was cancelled meanwhile.

        Args:
            number: of the batch.
            probe: whether it finds out if the executor is up again: one circuit is enough for that.
        """
        first = self.waiting[0]
        room, shots = 1 if probe else self._batch_size(first), self._executor.max_shots
        queued_jobs: list[QueuedJob] = []
        while self.waiting and room and (not queued_jobs or self._go_together(first, self.waiting[0])):
            taken = self._take_first(room, shots, least=not queued_jobs)
            if taken is None:
                break
            queued_jobs.append(taken)
            room = 0 if first.alone else max(0, room - taken.job.rows)
            shots = None if shots is None else shots - shots_of(self._executor, taken.job)
        going = [queued_job for queued_job in queued_jobs if queued_job.sets_out()]
        if len(going) < len(queued_jobs):
            self._forget([queued_job for queued_job in queued_jobs if queued_job not in going])
        return Batch(number, going, self._clock) if going else None

    def _take_first(self, room: int, shots: int | None, least: bool) -> QueuedJob | None:
        """Take out what waits at the front, or so many of its circuits as fit; ``None`` if none does.

        Args:
            room: circuits for which there is room.
            shots: shots for which there is; ``None`` for any.
            least: whether one circuit goes in any case, and what must not be divided.
        """
        queued_job = self.waiting[0]
        fit = rows = queued_job.job.rows
        if shots is not None and (each := shots_of(self._executor, queued_job.job) // rows):
            fit = min(rows, max(0, shots) // each)
        fit = min(fit, room)
        if fit < rows and not self._may_divide(queued_job, least):
            fit = rows if least else 0
        fit = max(fit, int(least))
        if not fit:
            return None
        if fit == rows:
            self.waiting.popleft()
        else:
            self.waiting[0] = queued_job.as_part()
            queued_job = self.waiting[0].take_out(fit)
        self.circuits -= fit
        return queued_job

    def _may_divide(self, queued_job: QueuedJob, first: bool) -> bool:
        """Whether a sweep may run in parts. A durable run finds it at a backend with a queue only if it is whole."""
        if queued_job.job.follower is None or not isinstance(self._executor, QueuedExecutor):
            return queued_job.divisible
        return queued_job.divisible and first and not is_one_batch(self._executor, queued_job.job)

    def _go_together(self, first: QueuedJob, other: QueuedJob) -> bool:
        """Whether two jobs may share a batch. What hands circuits on has them counted for the same budgets."""
        return other.fits(first) and (not self._hands_on or other.budgets == first.budgets)

    def _forget(self, queued_jobs: Sequence[QueuedJob]) -> None:
        """Jobs do not wait here any more."""
        for queued_job in queued_jobs:
            queued_job.leave = None
        self._executor.meter.add(-circuits_in(queued_jobs))

    def _batch_size(self, first: QueuedJob) -> int:
        """As many circuits as wait; where batches share the work, two for each hand, so that all end about together.

        The two are equal parts of what was there when the last jobs came: a batch has costs of its own.
        """
        waiting = self.circuits
        if first.job.sweep is not None:
            size = min(waiting, most_rows(self._executor))
        else:
            size = 1 if first.alone else self._executor.max_circuits or waiting
        if size == 1 or waiting == 1:
            return 1
        hands = self.carrier.hands_for(first.job.circuit, waiting)
        return min(size, math.ceil(self._gathered / (2 * hands))) if hands > 1 else size

    def _drop(self, queued_job: QueuedJob) -> None:
        self.waiting.remove(queued_job)
        self.circuits -= queued_job.job.rows
        self._executor.meter.add(-queued_job.job.rows)
