"""A job on its way through the engine; that of a sweep may run in parts."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, field
from itertools import chain, count
from operator import attrgetter
from typing import Any

from pennylane_qexec.concurrency.clock import Clock, Timer
from pennylane_qexec.concurrency.context import current
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Call, Job, JobState, Outcome, Usage, shared_out
from pennylane_qexec.policies.budgets import Account, Budget


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
        divisible: whether its sweep, if it is one, may run in parts.
        division: of its sweep, if that runs in parts; theirs, too.
        first_row: of a part, where in the sweep it begins.
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
    divisible: bool = True
    division: Division | None = None
    first_row: int = 0
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

    def fits(self, other: QueuedJob) -> bool:
        """Whether it may be in a batch with another one: sweeps with sweeps, and parts of what is followed apart."""
        mine, job = self.job, other.job
        if self.alone or mine.follower is not job.follower or (mine.sweep is None) is not (job.sweep is None):
            return False
        followed_alike = job.follower is None or (self.division is None) is (other.division is None)
        return followed_alike and same_call(mine.call, job.call)

    @property
    def parts(self) -> list[QueuedJob]:
        """What has not ended of a job that somebody waits for: its parts, if it runs in parts."""
        return [self] if self.division is None else list(self.division.parts)

    @property
    def number(self) -> int:
        """The number of the division that it is a part of; 0 if it is of none."""
        return 0 if self.division is None else self.division.number

    @property
    def row(self) -> int | None:
        """Which circuit of a sweep it is; ``None`` if it is several, or of none."""
        return self.first_row if self.job.sweep is not None and self.job.rows == 1 else None

    def as_part(self) -> QueuedJob:
        """What may be divided in its place: all of its sweep as one part, if it is none."""
        if self.division is not None:
            return self
        part = copy(self)
        part.division = self.division = Division(self, part)
        part.timer = None
        if self.account is not None:
            part.account = self.account.part(self.account, 1, 1)
        return part

    def take_out(self, rows: int) -> QueuedJob:
        """The first rows of a part, as another part; this one keeps the others."""
        assert self.division is not None
        taken, number = copy(self), self.job.rows
        taken.job, self.job = self.job.part(0, rows), self.job.part(rows, number)
        self.first_row += rows
        taken.tried = set(self.tried)
        shares = [shared_out(usage, (rows, number - rows)) for usage in self.spent]
        taken.spent, self.spent = [share for share, _ in shares], [share for _, share in shares]
        if self.account is not None and self.division.whole.account is not None:
            taken.account = self.division.whole.account.part(self.account, rows, number)
        self.division.parts[taken] = None
        return taken

    def halves(self) -> list[QueuedJob]:
        """Its sweep in two parts; if it is one circuit, only itself."""
        if self.job.rows == 1:
            return [self]
        rest = self.as_part()
        return [rest.take_out((self.job.rows + 1) // 2), rest]


_numbers = count(1)


class Division:
    """Keeps the parts in which a sweep runs: together they are the job that somebody waits for.

    Args:
        whole: that job.
        part: all of it, before it is divided.

    Attributes:
        whole: the same.
        parts: those that have not ended.
        number: tells the parts of one sweep from others in the history, which has what ends by itself under 0.
    """

    def __init__(self, whole: QueuedJob, part: QueuedJob) -> None:
        self.whole = whole
        self.parts: dict[QueuedJob, None] = {part: None}
        self.number = next(_numbers)
        self._outcomes: list[tuple[int, Outcome]] = []
        whole.leave = lambda _: self._go()

    def done(self, part: QueuedJob, outcome: Outcome) -> Outcome | None:
        """Take the outcome of a part; returns that of the sweep, if it was the last one."""
        del self.parts[part]
        self._outcomes.append((part.first_row, outcome))
        if self.parts:
            return None
        outcomes = [outcome for _, outcome in sorted(self._outcomes, key=lambda one: one[0])]
        return Outcome.of_parts(outcomes, list(chain.from_iterable(map(attrgetter("result"), outcomes))))

    def _go(self) -> None:
        for part in list(self.parts):
            part.go()


def circuits_in(queued_jobs: Iterable[QueuedJob]) -> int:
    """How many circuits jobs are together."""
    return sum(queued_job.job.rows for queued_job in queued_jobs)


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
