"""Jobs of circuits that differ in numbers only, which an executor is given as sweeps; each still has its own end.

So a row that fails, is cancelled or comes too late loses nothing but itself, and budgets, caches and durable runs know
circuits. That is what an experiment's table of values needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pennylane_qexec.circuits.templates import Fused, fuse, unfused
from pennylane_qexec.concurrency.differentiation import is_plain
from pennylane_qexec.engine.accounting import counted
from pennylane_qexec.engine.placement import most_rows
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.executors import DelegatingExecutor, Executor
from pennylane_qexec.job import Job, Sweep, Work, shared_out

_LEAST = 16
"""How many rows the sweeps of a batch have on average, if they are several: each is run by itself."""


class BatchSweeps:
    """The jobs of a batch, as the executor is given them.

    Args:
        executor: who runs them.
        jobs: the jobs.

    Attributes:
        work: what the executor is given.
    """

    def __init__(self, executor: Executor, jobs: Sequence[Job]) -> None:
        self._executor = executor
        self._jobs = jobs
        self._groups = _groups(executor, jobs)
        self.work = Work.of(jobs)
        if self._groups:
            self._sweeps = tuple(map(_sweep_of, self._groups))
            self.work = Work(tuple([one.template for one in self._sweeps]), self.work.call, sweeps=self._sweeps)

    def counted(self, ran: BatchResult) -> BatchResult:
        """What each of the jobs has returned, and what it has used.

        Args:
            ran: what the executor returned.
        """
        if not self._groups:
            return counted(self._executor, self._jobs, ran)
        jobs = [replace(self._jobs[0], circuit=sweep.template, sweep=sweep) for sweep in self._sweeps]
        ran = counted(self._executor, jobs, ran)
        shares = [shared_out(usage, [1] * job.rows) for job, usage in zip(jobs, ran.usages, strict=True)]
        results, usages = (
            unfused(zip(self._groups, each, strict=True), len(self._jobs)) for each in (ran.results, shares)
        )
        return BatchResult(results, ran.seconds, tuple(usages))


def _sweep_of(group: Fused) -> Sweep:
    return Sweep(group.template.circuit, group.parameters, group.template.slots, group.template.key)


def _groups(executor: Executor, jobs: Sequence[Job]) -> list[Fused]:
    """The circuits of jobs by structure; none if they do not go out as sweeps, or these would be too small."""
    circuits = [job.circuit for job in jobs] if _may_be_sweeps(executor, jobs) else []
    kinds = {tuple(map(type, circuit.operations)) for circuit in circuits}
    if len(set(map(type, circuits))) != 1 or not _are_few(len(kinds), jobs) or not all(map(is_plain, circuits)):
        return []
    groups = fuse(circuits)
    return groups if _are_few(len(groups), jobs) else []


def _are_few(kinds: int, jobs: Sequence[Job]) -> bool:
    return kinds == 1 or kinds * _LEAST <= len(jobs)


def _may_be_sweeps(executor: Executor, jobs: Sequence[Job]) -> bool:
    """Whether jobs may go out as sweeps.

    With a seed, numbers are drawn circuit by circuit. What a durable run follows is looked for as it was recorded, and
    a cluster inside of this one looks after circuits itself.
    """
    if not executor.takes_sweeps or executor.has_seed or isinstance(executor, DelegatingExecutor):
        return False
    if not 1 < len(jobs) <= most_rows(executor) or jobs[0].call.method != "execute":
        return False
    return all(job.alike and job.follower is None and job.number is None for job in jobs)
