"""Sweeps taken apart into several jobs, for what cannot take them whole, and put together again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.job import Affinity, Job, Outcome, Result


def rows_of(job: Job) -> list[Job]:
    """A job for each row of a job's sweep, with the number of the row; the job itself if it has no sweep."""
    if job.sweep is None:
        return [job]
    affinity, first = _affinity_of(job), job.number
    return [
        replace(job, circuit=circuit, sweep=None, affinity=affinity, number=None if first is None else first + row)
        for row, circuit in enumerate(job.sweep.circuits())
    ]


def pieces_of(job: Job, most: int) -> list[Job]:
    """A job's sweep in jobs of at most so many rows; the job itself if it has no more."""
    if job.rows <= most:
        return [job]
    whole = replace(job, affinity=_affinity_of(job))
    return [whole.part(start, min(start + most, job.rows)) for start in range(0, job.rows, most)]


def _affinity_of(job: Job) -> Affinity | None:
    """One executor runs a sweep, also if it is left to whoever is free first."""
    return Affinity() if job.executor is None and job.affinity is None else job.affinity


def run_apart(
    run: Callable[[Sequence[Job]], Sequence[Outcome]], jobs: Sequence[Job], apart: Sequence[Sequence[Job]]
) -> list[Outcome]:
    """The outcomes of jobs, in order.

    Args:
        run: runs jobs.
        jobs: the jobs.
        apart: each of them as it is, or its sweep as several jobs.
    """
    remaining = iter(run([part for parts in apart for part in parts]))
    found = [[next(remaining) for _ in parts] for parts in apart]
    return [
        own[0] if parts[0] is job else _joined_parts(parts, own)
        for job, parts, own in zip(jobs, apart, found, strict=True)
    ]


def submit_apart(
    submit: Callable[[Sequence[Job], Callable[[], bool] | None], Sequence[AskedFuture[Outcome]]],
    jobs: Sequence[Job],
    apart: Sequence[Sequence[Job]],
    asked: Callable[[], bool] | None,
) -> list[AskedFuture[Outcome]]:
    """A future for each job, in order. That of a sweep fails as soon as a part does, and the others are given up.

    Args:
        submit: lets jobs run.
        jobs: the jobs.
        apart: each of them as it is, or its sweep as several jobs.
        asked: says whether somebody waits; ``None`` if the futures say it.
    """
    futures: list[AskedFuture[Outcome]] = []
    waits = asked or (lambda: any(future.asked for future in futures))
    remaining = iter(submit([part for parts in apart for part in parts], waits))
    for job, parts in zip(jobs, apart, strict=True):
        own = [next(remaining) for _ in parts]
        futures.append(own[0] if parts[0] is job else joined_future(own, partial(_joined_parts, parts)))
    return futures


def _joined_parts(parts: Sequence[Job], outcomes: Sequence[Outcome]) -> Outcome:
    results: list[Result] = []
    for part, outcome in zip(parts, outcomes, strict=True):
        results += [outcome.result] if part.sweep is None else outcome.result
    return Outcome.of_parts(outcomes, results)


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
