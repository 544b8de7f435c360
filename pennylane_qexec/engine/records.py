"""What the engine writes down of a job, for its caller (outcome) and for the history (row)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from pennylane.tape import QuantumScript

from pennylane_qexec.engine.history import History, Row, compact
from pennylane_qexec.engine.sketches import Sketcher
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.engine.worker import Ran
from pennylane_qexec.errors import ExecutorError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Job, JobState, Outcome, Result

CACHE = "cache"
"""The name of the backend, in outcomes and histories, of what was not run."""


class Times(NamedTuple):
    """When a job was submitted and started, in seconds since 1970, and how many attempts it took."""

    submitted: float
    started: float
    attempt: int = 1


def record_done(
    history: History, executor: Executor, jobs: Sequence[Job], ran: Ran, times: Sequence[Times], batch: int, size: int
) -> list[Outcome]:
    """Write jobs that are done into the history, and make their outcomes.

    Args:
        history: where to write.
        executor: who ran them.
        jobs: the jobs.
        ran: their results, and the seconds of their batch.
        times: of each job.
        batch: number of the batch.
        size: circuits in the batch, over which its seconds are shared.
    """
    now, seconds = time.time(), ran.seconds / size
    name = executor.name
    sketcher = Sketcher()
    rows, outcomes = [], []
    for job, result, (submitted, started, attempt) in zip(jobs, ran.results, times, strict=True):
        shots = job.shots
        backend = executor.place(job.circuit, job.call)
        cost = executor.charges(job.circuit, job.call).of(1, shots, seconds)
        rows.append(
            Row(
                compact(job.circuit, sketcher),
                name,
                backend,
                shots,
                batch,
                attempt,
                JobState.DONE,
                submitted,
                started,
                now,
                seconds,
                cost,
            )
        )
        outcomes.append(Outcome(result, name, shots, batch, attempt, submitted, started, now, cost, backend, seconds))
    history.add(rows)
    return outcomes


def record_answered(history: History, answered: Sequence[tuple[QuantumScript, Executor, Result]]) -> list[Outcome]:
    """Write jobs that a cache answered into the history, and make their outcomes: batch 0, attempt 0, no cost.

    Args:
        history: where to write.
        answered: of each job the circuit, the executor whose result it is, and the result.
    """
    now, sketcher = time.time(), Sketcher()
    rows, outcomes = [], []
    for circuit, executor, result in answered:
        shots = executor.with_shots(circuit).shots.total_shots or 0
        sketch = compact(circuit, sketcher)
        rows.append(Row(sketch, executor.name, CACHE, shots, 0, 0, JobState.DONE, now, now, now))
        outcomes.append(Outcome(result, executor.name, shots, 0, 0, now, now, now, 0.0, CACHE))
    history.add(rows)
    return outcomes


def record_failed(history: History, ticket: Ticket, error: BaseException) -> None:
    """Write a job that failed or was cancelled into the history."""
    job, executor, now = ticket.job, ticket.executor, time.time()
    cause = error.cause if isinstance(error, ExecutorError) else error
    row = Row(
        circuit=compact(job.circuit),
        executor=executor.name if executor is not None else "",
        backend=executor.backend if executor is not None else "",
        shots=job.shots,
        batch=0,
        attempt=ticket.attempts,
        state=ticket.state,
        submitted=ticket.submitted,
        started=ticket.started if ticket.started > ticket.submitted else now,
        finished=now,
        error=f"{type(cause).__name__}: {cause}",
    )
    history.add([row])
