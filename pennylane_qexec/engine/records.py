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
from pennylane_qexec.job import Job, JobState, Outcome, Result, together
from pennylane_qexec.scrubbing import scrub

CACHE = "cache"
"""The name of the backend, in outcomes and histories, of what was not run."""


class Times(NamedTuple):
    """When a job was submitted and started, in seconds since 1970, and how many attempts it took.

    Attributes:
        submitted: when it was.
        started: when its last attempt was.
        attempt: how many attempts there were.
    """

    submitted: float
    started: float
    attempt: int = 1


def record_done(
    history: History, executor: Executor, jobs: Sequence[Job], ran: Ran, times: Sequence[Times], batch: int
) -> list[Outcome]:
    """Write jobs that are done into the history, and make their outcomes.

    Args:
        history: where to write.
        executor: who ran them.
        jobs: the jobs.
        ran: their results, and what each has used.
        times: of each job.
        batch: number of the batch.
    """
    now = time.time()
    name = executor.name
    sketcher = Sketcher()
    rows, outcomes = [], []
    for job, result, usage, when in zip(jobs, ran.results, ran.usages, times, strict=True):
        submitted, started, attempt = when
        circuits, shots, cost, seconds = usage
        backend = executor.place(job.circuit, job.call)
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
                seconds or 0.0,
                cost or 0.0,
                "",
                circuits,
            )
        )
        times_of = (batch, attempt, submitted, started, now)
        outcomes.append(Outcome(result, name, shots, *times_of, cost or 0.0, backend, seconds or 0.0, circuits))
    history.add(rows)
    return outcomes


def record_answered(history: History, answered: Sequence[tuple[QuantumScript, Executor, Result]]) -> list[Outcome]:
    """Write jobs that a cache answered into the history, and make their outcomes: nothing was run, at no cost.

    Args:
        history: where to write.
        answered: of each job the circuit, the executor whose result it is, and the result.
    """
    now, sketcher = time.time(), Sketcher()
    rows, outcomes = [], []
    for circuit, executor, result in answered:
        sketch = compact(circuit, sketcher)
        rows.append(Row(sketch, executor.name, CACHE, 0, 0, 0, JobState.DONE, now, now, now, circuits=0))
        outcomes.append(Outcome(result, executor.name, 0, 0, 0, now, now, now, 0.0, CACHE, circuits=0))
    history.add(rows)
    return outcomes


def record_failed(history: History, ticket: Ticket, error: BaseException) -> None:
    """Write a job that failed or was cancelled into the history."""
    job, executor, now = ticket.job, ticket.executor, time.time()
    cause = error.cause if isinstance(error, ExecutorError) else error
    circuits, shots, cost, seconds = together(ticket.spent)
    row = Row(
        circuit=compact(job.circuit),
        executor=executor.name if executor is not None else "",
        backend=executor.backend if executor is not None else "",
        shots=shots,
        batch=0,
        attempt=ticket.attempts,
        state=ticket.state,
        submitted=ticket.submitted,
        started=ticket.started if ticket.started > ticket.submitted else now,
        finished=now,
        seconds=seconds or 0.0,
        cost=cost or 0.0,
        circuits=circuits,
        error=scrub(f"{type(cause).__name__}: {cause}"),
    )
    history.add([row])
