"""A job on its way through the engine."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from typing import Any

from pennylane_qexec.budget import Account, Budget
from pennylane_qexec.engine import nesting
from pennylane_qexec.engine.futures import AskedFuture
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Call, Job, JobState, Outcome, Usage


class Ticket:
    """A job, its future, and where it stands. Only the engine changes it, and only in the engine's thread.

    Attributes:
        job: the job; its executor changes when it fails over.
        future: what the caller waits for.
        depth: how many batches its caller runs inside of.
        kept: whether the program does not end before the job.
        submitted, started: seconds since 1970.
        since: when it was submitted, on the monotonic clock.
        attempts: attempts on all executors; ``attempts_here`` on the present one.
        tried: executors it has failed on for good.
        error: what went wrong last.
        account: what it has reserved of the budgets that count for it; ``None`` if none does.
        spent: what attempts that failed have used; two tickets that race for one circuit share it.
        alone: whether it must not share a batch, since a batch with it has failed.
        leave: takes it out of wherever it waits or runs.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "account",
        "alone",
        "attempts",
        "attempts_here",
        "context",
        "depth",
        "error",
        "executor",
        "future",
        "job",
        "kept",
        "leave",
        "since",
        "spent",
        "started",
        "state",
        "submitted",
        "timer",
        "tried",
    )

    def __init__(
        self,
        job: Job,
        context: contextvars.Context,
        asked: Callable[[], bool] | None = None,
        kept: bool = False,
        account: Account | None = None,
    ) -> None:
        self.job = job
        self.account = account
        self.context = context
        self.future: AskedFuture[Outcome] = AskedFuture()
        self._asked = asked
        self.kept = kept
        self.depth = nesting.depth()
        self.submitted = time.time()
        self.since = time.monotonic()
        self.started = self.submitted
        self.state = JobState.WAITING
        self.executor: Executor | None = job.executor
        self.attempts = 0
        self.attempts_here = 0
        self.spent: list[Usage] = []
        self.tried: set[Executor] = set()
        self.error: BaseException | None = None
        self.alone = False
        self.leave: Callable[[Ticket], Any] | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody waits for it."""
        return self.future.asked if self._asked is None else self._asked()

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


def tickets_of(
    jobs: Sequence[Job],
    asked: Callable[[], bool] | None,
    kept: bool = False,
    accounts: Sequence[Account] | None = None,
) -> list[Ticket]:
    """Tickets for the jobs of one caller, who is the one that calls this."""
    context = contextvars.copy_context()
    if accounts is None:
        return [Ticket(job, context, asked, kept) for job in jobs]
    return [Ticket(job, context, asked, kept, account) for job, account in zip(jobs, accounts, strict=True)]


def same_call(one: Call, other: Call) -> bool:
    """Whether two calls are equal; configurations that cannot be compared are different."""
    if one is other:
        return True
    try:
        return bool(one == other)
    except ValueError:
        return False
