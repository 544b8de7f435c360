"""A job on its way through the engine, and batches of such jobs that run together."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

from pennylane_qexec.concurrency.clock import Clock, Timer
from pennylane_qexec.concurrency.context import current
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.engine.accounting import settle_attempt, shots_of, used
from pennylane_qexec.engine.placement import BatchRunner
from pennylane_qexec.engine.remote_jobs import Cancellations, SentBatch
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.executors import DelegatingExecutor, Executor
from pennylane_qexec.job import Call, Job, JobState, Outcome, Usage
from pennylane_qexec.policies.budgets import Account, Budget, pass_on


@dataclass(eq=False, slots=True, weakref_slot=True)
class QueuedJob:
    """A job, its future, and where it stands. Only the engine changes it, and only in the engine's thread.

    Attributes:
        job: the job; its executor changes when it fails over.
        context: the context variables of its caller.
        waited_for: says whether somebody waits for it; default: whether somebody waits for its future.
        future: what the caller waits for.
        depth: how many batches its caller runs inside of.
        kept: whether the program does not end before the job.
        submitted, started: seconds since 1970.
        since: when it was submitted, on the monotonic clock.
        attempts: attempts on all executors; ``attempts_here`` on the present one.
        tried: executors it has failed on for good.
        error: what went wrong last.
        account: what it has reserved of the budgets that count for it; ``None`` if none does.
        spent: what attempts that failed have used; two jobs that race for one circuit share it.
        alone: whether it must not share a batch, since a batch with it has failed.
        leave: takes it out of wherever it waits or runs.
    """

    job: Job
    clock: InitVar[Clock]
    context: contextvars.Context
    waited_for: Callable[[], bool] | None = None
    kept: bool = False
    account: Account | None = None
    future: AskedFuture[Outcome] = field(default_factory=AskedFuture)
    depth: int = 0
    submitted: float = 0.0
    started: float = 0.0
    since: float = 0.0
    state: JobState = JobState.WAITING
    executor: Executor | None = None
    attempts: int = 0
    attempts_here: int = 0
    spent: list[Usage] = field(default_factory=list)
    tried: set[Executor] = field(default_factory=set)
    error: BaseException | None = None
    alone: bool = False
    leave: Callable[[QueuedJob], Any] | None = None
    timer: Timer | None = None

    def __post_init__(self, clock: Clock) -> None:
        self.executor, self.depth = self.job.executor, current().depth
        self.submitted = self.started = clock.time()
        self.since = clock.monotonic()

    @property
    def asked(self) -> bool:
        """Whether somebody waits for it."""
        return self.future.asked if self.waited_for is None else self.waited_for()

    def go(self) -> None:
        """Leave wherever it waits or runs."""
        if self.leave is not None:
            self.leave(self)
            self.leave = None

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that count for it."""
        return () if self.account is None else self.account.budgets

    def sets_out(self) -> bool:
        """Say that an attempt begins; false if it must not, as the job was cancelled."""
        return self.account is None or self.account.send()

    def close_account(self) -> None:
        """Give back what is reserved for attempts that are not made."""
        if self.account is not None:
            self.account.close()

    def fits(self, job: Job) -> bool:
        """Whether it may be in a batch with this job."""
        return not self.alone and self.job.follower is job.follower and same_call(self.job.call, job.call)


def queued_jobs_of(
    jobs: Sequence[Job],
    clock: Clock,
    asked: Callable[[], bool] | None,
    kept: bool = False,
    accounts: Sequence[Account] | None = None,
) -> list[QueuedJob]:
    """Jobs for the jobs of one caller, who is the one that calls this."""
    context = contextvars.copy_context()
    each: Sequence[Account | None] = accounts or [None] * len(jobs)
    return [QueuedJob(job, clock, context, asked, kept, account) for job, account in zip(jobs, each, strict=True)]


def always() -> bool:
    """Somebody waits for a job."""
    return True


def same_call(one: Call, other: Call) -> bool:
    """Whether two calls are equal; configurations that cannot be compared are different."""
    if one is other:
        return True
    try:
        return bool(one == other)
    except ValueError:
        return False


@dataclass(eq=False)
class Batch:
    """Jobs that run together.

    Attributes:
        number: its number, for the history.
        queued_jobs: who is in it, results in this order.
        clock: the engine's.
        gone: those of them that nobody waits for any more.
        jobs: its jobs, as they are sent.
        carried: what it ends with.
        sending: whether it has reached the executor.
        began: when it was started, on the monotonic clock.
    """

    number: int
    queued_jobs: list[QueuedJob]
    clock: Clock
    gone: set[QueuedJob] = field(default_factory=set)
    jobs: Sequence[Job] = ()
    carried: asyncio.Future[BatchResult] | None = None
    sending: SentBatch = field(default_factory=SentBatch)
    began: float = 0.0

    def start(self) -> None:
        """Note that it runs."""
        now = self.clock.time()
        self.began = self.clock.monotonic()
        self.jobs = self.sending.jobs = [queued_job.job for queued_job in self.queued_jobs]
        for queued_job in self.queued_jobs:
            queued_job.state = JobState.RUNNING
            queued_job.started = queued_job.future.started = now
            queued_job.leave = self.leave

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
        seconds = (self.clock.monotonic() - self.began) / len(self.queued_jobs)
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
        arrived: when the last of them came, on the monotonic clock.
        running: the batches that run.
        carrier: carries them.
    """

    def __init__(self, executor: Executor, depth: int, cancellations: Cancellations, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self.depth = depth
        self.waiting: deque[QueuedJob] = deque()
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
        self._gathered = len(self.waiting)
        self._executor.meter.add(len(queued_jobs))

    def evacuate(self) -> list[QueuedJob]:
        """Take out everything that waits."""
        waiting = list(self.waiting)
        self.waiting.clear()
        self._forget(waiting)
        return waiting

    def take(self, number: int, probe: bool) -> Batch | None:
        """The next batch: jobs from the front that may run together, as many as the limits allow.

        It is ``None`` if all that waited was cancelled meanwhile.

        Args:
            number: of the batch.
            probe: whether it finds out if the executor is up again: one circuit is enough for that.
        """
        first = self.waiting.popleft()
        queued_jobs, shots = [first], self._shots(first)
        most = 1 if first.alone or probe or not self.waiting else self._batch_size(first)
        while self.waiting and len(queued_jobs) < most and self._go_together(first, self.waiting[0]):
            shots += self._shots(self.waiting[0])
            if self._executor.max_shots is not None and shots > self._executor.max_shots:
                break
            queued_jobs.append(self.waiting.popleft())
        going = [queued_job for queued_job in queued_jobs if queued_job.sets_out()]
        if len(going) < len(queued_jobs):
            self._forget([queued_job for queued_job in queued_jobs if queued_job not in going])
        return Batch(number, going, self._clock) if going else None

    def _shots(self, queued_job: QueuedJob) -> int:
        """The shots that count for the most that a batch may have, if there is a limit."""
        return 0 if self._executor.max_shots is None else shots_of(self._executor, queued_job.job)

    def _go_together(self, first: QueuedJob, other: QueuedJob) -> bool:
        """Whether two jobs may share a batch. What hands circuits on has them counted for the same budgets."""
        return other.fits(first.job) and (not self._hands_on or other.budgets == first.budgets)

    def _forget(self, queued_jobs: Sequence[QueuedJob]) -> None:
        """Jobs do not wait here any more."""
        for queued_job in queued_jobs:
            queued_job.leave = None
        self._executor.meter.add(-len(queued_jobs))

    def _batch_size(self, first: QueuedJob) -> int:
        """As many as wait; where batches share the work, two for each hand, so that all end about together.

        The two are equal parts of what was there when the last jobs came: a batch has costs of its own.
        """
        waiting = len(self.waiting) + 1
        size = self._executor.max_circuits or waiting
        hands = self.carrier.hands_for(first.job.circuit, waiting)
        return min(size, math.ceil(self._gathered / (2 * hands))) if hands > 1 else size

    def _drop(self, queued_job: QueuedJob) -> None:
        self.waiting.remove(queued_job)
        self._executor.meter.add(-1)
