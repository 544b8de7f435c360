"""What jobs are going to use of budgets, and what they have used."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pennylane_qexec.budget import NOTHING, Account, Amount, Budget, amount, in_force, opened, settle
from pennylane_qexec.engine import nesting
from pennylane_qexec.executors import objection_to_shots
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Job

_INSTANT = 1e-6
"""Seconds, the shortest that is reserved: where all have been used, not even what takes an unknown time is sent."""


def accounts_of(jobs: Sequence[Job], executors: Collection[Executor], own: Budget | None) -> list[Account] | None:
    """Reserve for the first attempt at each of the jobs of a call.

    Args:
        jobs: the jobs.
        executors: who may run those jobs that are left to whoever is free first.
        own: the budget of the cluster.

    Returns:
        An account for each job; ``None`` if no budget counts for the call.

    Raises:
        BudgetExceededError: they do not fit, all together.
    """
    budgets = in_force(own, inside=nesting.depth() > 0)
    if not budgets or not jobs:
        return None
    return opened(budgets, [_first(job, executors) for job in jobs])


def expected(executor: Executor, job: Job) -> Amount:
    """What an attempt at a job on an executor is going to use, as far as that is known."""
    shots = executor.with_shots(job.circuit).shots.total_shots or 0
    price = executor.charges(job.circuit, job.call)
    seconds = executor.load().seconds(1, shots) or _INSTANT
    return amount(shots, 1, price.of(1, shots, seconds), seconds)


def measured(executor: Executor, job: Job, seconds: float) -> Amount:
    """What an attempt at a job has used.

    Args:
        executor: who had it.
        job: the job.
        seconds: its part of the running time of its batch.
    """
    price = executor.charges(job.circuit, job.call)
    return amount(job.shots, 1, price.of(1, job.shots, seconds), seconds)


def settle_attempt(
    executor: Executor, jobs: Sequence[Job], accounts: Sequence[Account | None], seconds: float, used: bool = True
) -> None:
    """Count what an attempt at a batch has used.

    Args:
        executor: who had it.
        jobs: the jobs of the batch.
        accounts: their accounts; ``None`` for those for which no budget counts.
        seconds: the running time of the batch.
        used: whether anything is to be counted.
    """
    each = seconds / len(jobs)
    counted = [(job, account) for job, account in zip(jobs, accounts, strict=True) if account is not None]
    amounts = [measured(executor, job, each) if used else NOTHING for job, _ in counted]
    settle([account for _, account in counted], amounts)


def chosen(accounts: Sequence[Account] | None, indices: Sequence[int]) -> Sequence[Account] | None:
    """The accounts of some of the jobs of a call."""
    if accounts is None or len(indices) == len(accounts):
        return accounts
    return [accounts[index] for index in indices]


def given_back_on_error(accounts: Sequence[Account] | None) -> AbstractContextManager[Any]:
    """If an error ends this, what is reserved for attempts that have not begun is given back."""
    return _UNCOUNTED if accounts is None else _GivenBack(accounts)


_UNCOUNTED: AbstractContextManager[Any] = nullcontext()


class _GivenBack:
    __slots__ = ("_accounts",)

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = accounts

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for account in self._accounts:
                account.close()


def _first(job: Job, executors: Collection[Executor]) -> Amount:
    if job.executor is not None:
        return expected(job.executor, job)
    able = [executor for executor in executors if objection_to_shots(executor, job.circuit) is None]
    amounts = [expected(executor, job) for executor in able] or [amount(job.shots, 1, 0.0, 0.0)]
    shots, circuits, cost, seconds = map(max, zip(*amounts, strict=True))
    return shots, circuits, cost, seconds
