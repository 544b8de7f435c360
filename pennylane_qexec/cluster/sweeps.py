"""From sweeps to jobs, and from jobs to sweeps, for executors that go by structure; others run circuit by circuit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, chain
from operator import is_
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import fuse, sweep_of_circuit
from pennylane_qexec.cluster.planning import CallPlanner, RefusedError, Settings, run_together
from pennylane_qexec.cluster.validation import check_circuits
from pennylane_qexec.concurrency.differentiation import is_plain
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.job import (
    Call,
    Job,
    Outcome,
    Postprocessing,
    Result,
    Sweep,
    Usage,
    only,
    shared_out,
    without_derivatives,
)


def jobs_of(sweep: Sweep, planner: CallPlanner) -> tuple[list[Job], Callable[[Sequence[Result]], list[Result]]]:
    """The jobs of a sweep, and what makes the results of its rows of theirs.

    Args:
        sweep: the sweep.
        planner: prepares its template, or all its circuits, for executors.

    Raises:
        NoExecutorError, PolicyError, ConfigurationError: as for its circuits.
    """
    try:
        shared = planner.shared_out(sweep)
    except RefusedError:  # one by one they are handed on to others
        shared = []
    jobs: list[Job] = []
    finish: list[tuple[list[int], int, Callable[[Sequence[Result]], list[Result]]]] = []
    for rows, (circuits, postprocess) in shared:
        own = sweep if len(rows) == len(sweep) else sweep.part(rows)
        parts = [_part_of(own, circuit) for circuit in circuits]
        if None in parts:
            break
        jobs += [replace(planner.job(circuit), sweep=part) for circuit, part in zip(circuits, parts, strict=True)]
        finish.append((rows, len(parts), _by_row(postprocess)))
    if finish and len(finish) == len(shared):
        return jobs, finish[0][2] if len(finish) == 1 else partial(_in_order, finish)
    separate, each = run_together(list(map(planner, sweep.circuits())))
    return planner.jobs(separate), each


def submit_sweeps(
    cluster: Any, sweeps: Sequence[Sweep], config: ExecutionConfig | None = None, number: int | None = None
) -> tuple[list[AskedFuture[Outcome]], Callable[[Sequence[Outcome]], list[list[Result]]]]:
    """Let a cluster run circuits that nobody differentiates, as few jobs, and return at once.

    Args:
        cluster: the cluster.
        sweeps: the circuits; one that cannot be compared with others is a sweep of one row without a key.
        config: the execution configuration asked for.
        number: by which, and by those that follow, executors with a seed draw the circuits' shots; ``None`` to leave
            the numbers to the cluster.

    Returns:
        A future for each job, and what makes the results of the rows of each sweep of the outcomes of all.

    Raises:
        NoExecutorError, PolicyError, ConfigurationError, BudgetExceededError: as for the circuits one by one.
    """
    check_circuits([sweep.template for sweep in sweeps])
    planner = CallPlanner(cluster, Settings(without_derivatives(config or ExecutionConfig())))
    planned = [jobs_of(sweep, planner) for sweep in sweeps]
    jobs = [job for own, _ in planned for job in own]
    if number is not None:
        firsts = accumulate([job.rows for job in jobs], initial=number)
        jobs = [replace(job, number=first) for job, first in zip(jobs, firsts, strict=False)]

    def finish(outcomes: Sequence[Outcome]) -> list[list[Result]]:
        remaining = iter(outcomes)
        return [each([next(remaining).result for _ in own]) for own, each in planned]

    return cluster.submit(jobs), finish


def sweeps_of(circuits: Sequence[QuantumScript]) -> list[tuple[Sequence[int], Sweep]]:
    """Circuits as sweeps, each with the places of its rows among the circuits; see :func:`submit_sweeps`."""
    return [
        (one.indices, Sweep(one.template.circuit, one.parameters, one.template.slots, one.template.key))
        for one in fuse(circuits)
    ]


def _in_order(
    parts: Sequence[tuple[list[int], int, Callable[[Sequence[Result]], list[Result]]]], results: Sequence[Result]
) -> list[Result]:
    """The results of the rows of a sweep that was shared out, of those of the jobs of all parts."""
    remaining = iter(results)
    found: dict[int, Result] = {}
    for rows, jobs, postprocess in parts:
        found.update(zip(rows, postprocess([next(remaining) for _ in range(jobs)]), strict=True))
    return [found[row] for row in range(len(found))]


def _part_of(sweep: Sweep, circuit: QuantumScript) -> Sweep | None:
    """A sweep of what was made of the template of another; ``None`` if its gates are not those of the template."""
    given, operations = sweep.template.operations, circuit.operations
    if len(operations) < len(given) or not all(map(is_, given, operations)):
        return None
    same = len(operations) == len(given) and len(circuit.measurements) == len(sweep.template.measurements)
    if (
        same
        and sweep.template.shots == circuit.shots
        and all(map(is_, sweep.template.measurements, circuit.measurements))
    ):
        return replace(sweep, template=circuit)
    own = sweep_of_circuit(circuit)
    if own is None:
        return None
    rows = np.repeat(own.parameters, len(sweep), axis=0)
    rows[:, : sweep.parameters.shape[1]] = sweep.parameters
    return replace(own, parameters=rows)


def _by_row(postprocess: Postprocessing) -> Callable[[Sequence[Result]], list[Result]]:
    """What makes the results of the rows of a sweep of those of its parts."""
    if postprocess is only:
        return lambda results: list(results[0])
    return lambda results: [postprocess(row) for row in zip(*results, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class JobGroup:
    """Jobs that run as one.

    Attributes:
        job: what is run.
        members: for each of the jobs, in the order of its rows: its place among all, and how many rows it has;
            ``None`` for a circuit.
    """

    job: Job
    members: tuple[tuple[int, int | None], ...]

    @classmethod
    def of(cls, place: int, job: Job) -> JobGroup:
        """A job by itself."""
        return cls(job, ((place, None if job.sweep is None else job.rows),))

    def outcomes(self, outcome: Outcome) -> Iterator[tuple[int, Outcome]]:
        """The outcome of each of the jobs, with its place: its part of what all have used together."""
        if len(self.members) == 1:
            yield self.members[0][0], outcome
            return
        sizes = [rows or 1 for _, rows in self.members]
        shares = shared_out(Usage(outcome.circuits, outcome.shots, outcome.cost, outcome.seconds), sizes)
        start = 0
        for (place, rows), size, share in zip(self.members, sizes, shares, strict=True):
            result = outcome.result[start] if rows is None else outcome.result[start : start + size]
            yield (
                place,
                replace(
                    outcome,
                    result=result,
                    circuits=share.circuits,
                    shots=share.shots,
                    cost=share.cost or 0.0,
                    seconds=share.seconds or 0.0,
                ),
            )
            start += size


def grouped(groups: Sequence[JobGroup]) -> list[JobGroup]:
    """Put jobs together that differ in numbers only, so that they run as sweeps.

    Those are of one executor, which goes by structure. What was numbered, for a seed, is put together if its numbers
    follow one another: a sweep has its own number, and those that follow.
    """
    calls: list[Call] = []
    alike: dict[Hashable, list[JobGroup]] = {}
    for group in groups:
        alike.setdefault(_kind(group.job, calls) or id(group), []).append(group)
    return list(chain.from_iterable([_fused(some) if len(some) > 1 else some for some in alike.values()]))


def _kind(job: Job, calls: list[Call]) -> Hashable:
    """What jobs have in common that may be one sweep; ``None`` if a job stays by itself."""
    by_structure = job.executor is not None and job.executor.by_structure
    if not by_structure or job.call.method != "execute" or job.vector is not None:
        return None
    if job.sweep is None and not is_plain(job.circuit):
        return None  # results are made of an interface's numbers, which a matrix has not
    call = next((known for known in calls if known is job.call or known == job.call), None)
    if call is None:
        calls.append(call := job.call)
    # What a circuit remembers, such as the shots it was asked with, is in its type.
    return id(job.executor), id(call), type(job.circuit)


def _fused(groups: Sequence[JobGroup]) -> list[JobGroup]:
    single = [group for group in groups if group.job.sweep is None]
    parts: list[tuple[Sweep | None, Sequence[JobGroup]]] = [
        (group.job.sweep, [group]) for group in groups if group.job.sweep is not None
    ]
    for found in fuse([group.job.circuit for group in single]):
        template, own = found.template, [single[index] for index in found.indices]
        whole = Sweep(template.circuit, found.parameters, template.slots, template.key)
        parts.append((whole if template.key is not None else None, own))
    alike: dict[Hashable, list[tuple[Sweep, Sequence[JobGroup]]]] = {}
    left: list[JobGroup] = []
    for sweep, some in parts:
        if sweep is None or sweep.key is None:
            left += some
        else:
            alike.setdefault(sweep.key, []).append((sweep, some))
    return [*left, *chain.from_iterable(map(_joined, alike.values()))]


def _joined(parts: Sequence[tuple[Sweep, Sequence[JobGroup]]]) -> Iterator[JobGroup]:
    """One sweep of several of one structure; several, where numbers do not follow one another."""
    groups = [group for _, own in parts for group in own]
    rows = np.concatenate([sweep.parameters for sweep, _ in parts])
    starts = [*accumulate([group.job.rows for group in groups], initial=0)]
    first, sweep = 0, parts[0][0]
    for last, group in enumerate(groups):
        follows = None if group.job.number is None else group.job.number + group.job.rows
        if last + 1 < len(groups) and groups[last + 1].job.number == follows:
            continue
        own = groups[first : last + 1]
        if len(own) == 1:
            yield group
        else:
            joined = replace(sweep, parameters=rows[starts[first] : starts[last + 1]])
            job = replace(own[0].job, circuit=sweep.template, sweep=joined)
            yield JobGroup(job, tuple(chain.from_iterable([one.members for one in own])))
        first = last + 1
