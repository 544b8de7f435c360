"""From sweeps to jobs: what executors that go by structure run as sweeps, and others circuit by circuit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import is_

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.cluster.planning import CallPlanner, RefusedError
from pennylane_qexec.job import Job, Postprocessing, Result, Sweep, only


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
    expanded = list(map(planner, sweep.circuits()))

    def joined(results: Sequence[Result]) -> list[Result]:
        remaining = iter(results)
        return [post([next(remaining) for _ in batch]) for batch, post in expanded]

    return planner.jobs([one for batch, _ in expanded for one in batch]), joined


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
