"""What jobs are going to use of budgets, and what they have used."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from operator import attrgetter

from pennylane_qexec.concurrency import context
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.executors import Executor, objection_to_shots
from pennylane_qexec.job import Job, Usage
from pennylane_qexec.policies.budgets import NOTHING, Account, Amount, Budget, amount, of_process, opened, settle

logger = logging.getLogger("pennylane_qexec")

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
    here = context.current()
    budgets: tuple[Budget, ...] = here.budgets
    if own is not None:
        budgets = (own, *budgets)
    if of_process and not here.depth:
        budgets = (*budgets, *of_process)
    if not budgets or not jobs:
        return None
    return opened(tuple(dict.fromkeys(budgets)), [_first(job, executors) for job in jobs])


def expected(executor: Executor, job: Job) -> Amount:
    """What an attempt at a job on an executor is going to use, as far as that is known."""
    usage, rows = executor.usage_of(job.circuit, job.call), job.rows
    seconds, cost = usage.seconds or _INSTANT, usage.cost
    if cost is None:
        cost = executor.charges(job.circuit, job.call).of(usage.circuits, usage.shots, seconds)
    return amount(usage.shots * rows, usage.circuits * rows, cost * rows, seconds * rows)


def shots_of(executor: Executor, job: Job) -> int:
    """The shots that an executor runs for a job, in all bases that are measured."""
    return executor.usage_of(job.circuit, job.call).shots * job.rows


def used(executor: Executor, jobs: Sequence[Job], each: float) -> list[Usage]:
    """What an attempt at jobs of one batch has used.

    Args:
        executor: who had them.
        jobs: the jobs.
        each: the part of each circuit in the running time of the batch, in seconds.
    """
    usages = []
    for job in jobs:
        rows = job.rows
        seconds = each * rows
        try:
            of_row = executor.usage_of(job.circuit, job.call)
            circuits, shots = of_row.circuits * rows, of_row.shots * rows
            cost = None if of_row.cost is None else of_row.cost * rows
            price = executor.charges(job.circuit, job.call)
        except Exception as error:  # the job has been run: what is known of it is better than an engine that stops
            logger.warning("executor %r does not say what a circuit has used: %r", executor.name, error)
            circuits, shots, cost = rows, job.shots, 0.0
        else:
            if price.per_second or cost is None:
                cost = price.of(circuits, shots, seconds)
        usages.append(Usage(circuits, shots, cost, seconds))
    return usages


def counted(executor: Executor, jobs: Sequence[Job], ran: BatchResult) -> BatchResult:
    """A batch that ran, with what each of its jobs has used; what the run itself has shown goes first."""
    each = ran.seconds / sum(map(attrgetter("rows"), jobs))
    if len(ran.usages) == len(jobs):
        usages = [usage._replace(seconds=each * job.rows) for job, usage in zip(jobs, ran.usages, strict=True)]
    else:
        usages = used(executor, jobs, each)
    return ran._replace(usages=tuple(usages))


def settle_attempt(accounts: Sequence[Account | None], usages: Sequence[Usage]) -> None:
    """Count what an attempt at a batch has used of budgets.

    Args:
        accounts: of its jobs; ``None`` for those for which no budget counts.
        usages: what each job has used; none of them if nothing is to be counted.
    """
    counting = [index for index, account in enumerate(accounts) if account is not None]
    amounts = [NOTHING] * len(counting)
    if usages:
        spent = map(usages.__getitem__, counting)
        amounts = [amount(shots, circuits, cost or 0.0, seconds or 0.0) for circuits, shots, cost, seconds in spent]
    settle([account for account in accounts if account is not None], amounts)


def chosen(accounts: Sequence[Account] | None, indices: Sequence[int]) -> Sequence[Account] | None:
    """The accounts of some of the jobs of a call."""
    if accounts is None or len(indices) == len(accounts):
        return accounts
    return [accounts[index] for index in indices]


def give_back(accounts: Sequence[Account] | None) -> None:
    """Give back what is reserved for attempts that have not begun, and will not."""
    for account in accounts or ():
        account.close()


def _first(job: Job, executors: Collection[Executor]) -> Amount:
    if job.executor is not None:
        return expected(job.executor, job)
    able = [executor for executor in executors if objection_to_shots(executor, job.circuit) is None]
    amounts = [expected(executor, job) for executor in able] or [amount(job.shots, job.rows, 0.0, 0.0)]
    shots, circuits, cost, seconds = map(max, zip(*amounts, strict=True))
    return shots, circuits, cost, seconds
