"""Sweeps taken apart into jobs of one circuit each, for what cannot take them whole, and put together again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.job import Affinity, Job, Outcome, Result


def rows_of(job: Job) -> list[Job]:
    """A job for each row of a job's sweep, with the number of the row; the job itself if it has no sweep."""
    if job.sweep is None:
        return [job]
    affinity = job.affinity
    if job.executor is None and affinity is None:
        affinity = Affinity()  # one executor runs a sweep
    return [
        replace(
            job,
            circuit=circuit,
            sweep=None,
            affinity=affinity,
            number=None if job.number is None else job.number + row,
        )
        for row, circuit in enumerate(job.sweep.circuits())
    ]


def joined(outcomes: Sequence[Outcome], results: list[Result]) -> Outcome:
    """The outcome of a job with a sweep, of those of its parts: what they used is added up.

    Args:
        outcomes: of its parts; the last says who ran it.
        results: those of its rows.
    """
    return replace(
        outcomes[-1],
        result=results,
        shots=sum(outcome.shots for outcome in outcomes),
        attempt=max(outcome.attempt for outcome in outcomes),
        submitted=min(outcome.submitted for outcome in outcomes),
        started=min(outcome.started for outcome in outcomes),
        finished=max(outcome.finished for outcome in outcomes),
        cost=sum(outcome.cost for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
        circuits=sum(outcome.circuits for outcome in outcomes),
    )


def _joined_rows(outcomes: Sequence[Outcome]) -> Outcome:
    return joined(outcomes, [outcome.result for outcome in outcomes])


def run_by_rows(run: Callable[[Sequence[Job]], Sequence[Outcome]], jobs: Sequence[Job]) -> list[Outcome]:
    """The outcomes of jobs, in order.

    Args:
        run: runs jobs of one circuit each.
        jobs: the jobs.
    """
    apart = list(map(rows_of, jobs))
    remaining = iter(run([row for rows in apart for row in rows]))
    found = [[next(remaining) for _ in rows] for rows in apart]
    return [own[0] if job.sweep is None else _joined_rows(own) for job, own in zip(jobs, found, strict=True)]


def submit_by_rows(
    submit: Callable[[Sequence[Job], Callable[[], bool] | None], Sequence[AskedFuture[Outcome]]],
    jobs: Sequence[Job],
    asked: Callable[[], bool] | None,
) -> list[AskedFuture[Outcome]]:
    """A future for each job, in order. That of a sweep fails as soon as a row does, and the other rows are given up.

    Args:
        submit: lets jobs of one circuit each run.
        jobs: the jobs.
        asked: says whether somebody waits; ``None`` if the futures say it.
    """
    apart = list(map(rows_of, jobs))
    futures: list[AskedFuture[Outcome]] = []
    waits = asked or (lambda: any(future.asked for future in futures))
    remaining = iter(submit([row for rows in apart for row in rows], waits))
    for job, rows in zip(jobs, apart, strict=True):
        own = [next(remaining) for _ in rows]
        futures.append(own[0] if job.sweep is None else joined_future(own, _joined_rows))
    return futures


def joined_future(
    parts: Sequence[AskedFuture[Outcome]], join: Callable[[Sequence[Outcome]], Outcome]
) -> AskedFuture[Outcome]:
    """The future of a sweep whose parts run as jobs of their own: ends with the last of them, or with the first error.

    Args:
        parts: the futures of the parts, in order.
        join: makes the outcome of theirs.
    """
    future: AskedFuture[Outcome] = AskedFuture()
    left, lock = len(parts), threading.Lock()

    def ended(part: Future[Outcome]) -> None:
        nonlocal left
        if part.cancelled():
            future.cancel()
        elif (error := part.exception()) is not None:
            resolve(future, error)
        else:
            with lock:
                left -= 1
                is_last = not left
            if is_last:
                finish()

    def finish() -> None:
        try:
            value: Outcome | Exception = join([one.result() for one in parts])
        except Exception as raised:  # whatever it is, nobody is left waiting
            value = raised
        resolve(future, value)

    def give_up(_: Future[Outcome]) -> None:
        for part in parts:
            part.cancel()

    future.add_done_callback(give_up)
    for part in parts:
        part.add_done_callback(ended)
    if not parts:
        finish()
    return future
