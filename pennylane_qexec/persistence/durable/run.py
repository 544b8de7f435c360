"""An open durable run: what a program asks for in a ``with`` block, recorded so that it can go on after a crash."""

from __future__ import annotations

import contextvars
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, final

from pennylane_qexec.concurrency import context
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.concurrency.futures import AskedFuture, wait_for_all
from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.persistence.durable.completions import RunCompletions
from pennylane_qexec.persistence.durable.jobs import (
    RunCall,
    RunEntry,
    is_recorded,
    is_written_whole,
    most_at_backends,
    serialize,
)
from pennylane_qexec.persistence.durable.journal import Journal
from pennylane_qexec.persistence.durable.recovery import Recovery
from pennylane_qexec.persistence.durable.transitions import Transitions
from pennylane_qexec.persistence.expansion import pieces_of, rows_of, run_apart, submit_apart
from pennylane_qexec.persistence.runners import BaseRunner, Runner
from pennylane_qexec.persistence.store import Mark, State, Store
from pennylane_qexec.persistence.store.database import LostStoreError
from pennylane_qexec.policies.budgets import Budget

T = TypeVar("T")
logger = logging.getLogger("pennylane_qexec")

_BEATS = 3
"""How often in each lease a run shows that it lives."""

_PATIENCE = 30.0
"""Seconds to wait, at the end, for what is being sent."""


current: Callable[[], OpenRun | None] = context.current_run
"""The durable run that circuits asked for here belong to."""


@final
class OpenRun:
    """A durable run that is open: the runner of clusters whose circuits belong to it.

    Args:
        name: of the run.
        store: where it is recorded.
        lease: seconds after which a process that is not heard of counts as dead.
        budget: a limit for the run.
        versions: a text that says with which versions it runs.
        resumes: whether the run asks for what was left when it goes on.
        closes_store: whether to close the store with the run.

    Attributes:
        name: of the run.
        id: of the run, in the store.
        begun_with: the versions with which it was begun.
        journal: what is recorded.
        completions: what is run, and how it ends.
        recovery: what was recorded before.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        lease: float,
        budget: Budget | None,
        versions: str,
        resumes: bool,
        closes_store: bool,
    ) -> None:
        self._was_finished = _is_finished(store, name)
        run = store.open_run(name, sys.argv, versions)
        self.name, self.id, self.begun_with = name, run.id, run.versions
        self._process = os.getpid()
        self._store = store
        self._closes_store = closes_store
        self._seed = run.seed
        self._worker = f"{store.worker}/{secrets.token_hex(4)}"
        self._choices: dict[Any, Any] = {}
        self._marks: set[str] = set()
        self._lock = threading.Lock()
        self._has_claimed = False
        self.journal = Journal(store, run, self._worker, lease)
        self._transitions = Transitions(store, run.id, self._worker, lease, resumes)
        self.completions = RunCompletions(self.journal, self._transitions, budget, self._wait_for_others)
        self.recovery = Recovery(self.journal, self._transitions, self.completions, budget)
        self._stopped = threading.Event()
        show = partial(self._show_life, lease / _BEATS)
        threading.Thread(target=show, name=f"qexec-heartbeat-{name}", daemon=True).start()
        if self.journal.unasked:
            logger.info("the durable run %r goes on: %d circuits are recorded", name, self.journal.circuits_left)

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened it, and none that was forked from it."""
        return self._process == os.getpid()

    def mark(self, name: str, value: float | None) -> None:
        """Name the place between what was asked for and what comes next."""
        with self._lock:
            if name in self._marks:
                raise ConfigurationError(
                    f"the durable run {self.name!r} has set the mark {name!r} already: give each place a name of its "
                    "own, such as f'step {step}'."
                )
            self._store.mark(self.id, Mark(name, self.journal.place, value))
            self._marks.add(name)

    def policies(self, usual: T, anew: Callable[[int], T]) -> T:
        """The policies of a cluster in this run.

        Args:
            usual: what they are elsewhere.
            anew: makes them, starting anew, with a seed.
        """
        with self._lock:
            if usual not in self._choices:
                self._choices[usual] = anew(self._seed)
            chosen: T = self._choices[usual]
            return chosen

    def run(self, runner: Runner, engine: BaseRunner, jobs: Sequence[Job]) -> list[Outcome]:
        """Let jobs run that the run has no results of, and wait; as :meth:`Engine.run`."""
        apart = [self._parts_of(job, engine) for job in jobs]
        if any(parts[0] is not job for job, parts in zip(jobs, apart, strict=True)):
            return run_apart(partial(self.run, runner, engine), jobs, apart)
        recorded = [is_recorded(job, engine) for job in jobs]
        if not all(recorded):
            chosen, others = _split(jobs, recorded)
            done = iter(self.run(runner, engine, chosen) if chosen else [])
            rest = iter(runner.run(others))
            return [next(done) if is_one else next(rest) for is_one in recorded]
        if in_engine_thread() and not engine.runs_here(jobs):
            return runner.run(jobs)  # which refuses
        entries, mine = self._entries_of(jobs, RunCall(runner, engine, _yes, contextvars.copy_context()))
        if mine and engine.runs_here([entry.job for entry in mine]):
            self.completions.run(runner, mine)
        else:
            self.completions.begin(mine)
        try:
            return wait_for_all([entry.future for entry in entries])
        except BaseException:
            _drop(entries)
            raise

    def submit(
        self, runner: Runner, engine: BaseRunner, jobs: Sequence[Job], asked: Callable[[], bool] | None = None
    ) -> list[AskedFuture[Outcome]]:
        """Let jobs run that the run has no results of; as :meth:`Engine.submit`."""
        apart = [self._parts_of(job, engine) for job in jobs]
        if any(parts[0] is not job for job, parts in zip(jobs, apart, strict=True)):
            return submit_apart(partial(self.submit, runner, engine), jobs, apart, asked)
        recorded = [is_recorded(job, engine) for job in jobs]
        chosen, others = _split(jobs, recorded)
        entries, mine = self._entries_of(chosen, RunCall(runner, engine, asked, contextvars.copy_context()))
        self.completions.begin(mine)
        for entry in mine:
            if entry.inner is None and entry.over and not entry.future.cancelled():
                entry.future.result()  # raises the error for which it was not even sent
        own, rest = iter(entries), iter(runner.submit(others, asked) if others else [])
        return [next(own).future if is_one else next(rest) for is_one in recorded]

    def _parts_of(self, job: Job, engine: BaseRunner) -> list[Job]:
        """The jobs that are recorded of a job: of a sweep, itself, or pieces that are one job of a backend each.

        Its circuits, if it cannot be written, or they were recorded so when there were no sweeps.
        """
        if job.sweep is None:
            return [job]
        if not is_written_whole(job.sweep) or (self.journal.unasked and self._has_rows(job, engine)):
            return rows_of(job)
        most = most_at_backends(job, engine)
        if most < job.rows and self.journal.knows(*serialize([job], engine)):
            return [job]  # when it was recorded, the backend took more
        return pieces_of(job, most)

    def _has_rows(self, job: Job, engine: BaseRunner) -> bool:
        """Whether the circuits of a sweep are recorded, and the sweep is not."""
        if job.sweep is None or self.journal.knows(*serialize([job], engine)):
            return False
        first = rows_of(replace(job, sweep=job.sweep.part(slice(1))))
        knows = self.journal.knows
        return knows(*serialize(first, engine)) and all(map(knows, serialize(rows_of(job), engine)))

    def _entries_of(self, jobs: Sequence[Job], call: RunCall) -> tuple[list[RunEntry], list[RunEntry]]:
        """The entries of a call; and those of them that are to be run."""
        if not jobs:
            return [], []
        first, taken = self.journal.take(serialize(jobs, call.engine), jobs)
        entries: list[RunEntry] = []
        for job, (row, _) in zip(jobs, taken, strict=True):
            entry = RunEntry(replace(job, number=first, follower=self._transitions), row, call)
            first += job.rows
            entry.future.add_done_callback(partial(self.completions.dropped, entry))
            entries.append(entry)
        new = [entry for entry, (_, is_new) in zip(entries, taken, strict=True) if is_new]
        old = [entry for entry, (_, is_new) in zip(entries, taken, strict=True) if not is_new]
        self._transitions.add(entries)
        self.completions.expect(len(entries))
        try:
            mine = [*new, *(self.recovery.take_up(old) if old else [])]
        except Exception as error:
            self.completions.fail(entries, error)
            raise
        self._has_claimed = self._has_claimed or any(entry.state is not State.DONE for entry in entries)
        return entries, mine

    def _wait_for_others(self, entries: list[RunEntry]) -> None:
        self.recovery.wait_for_others(entries)

    def _beat(self) -> bool:
        """Show that the run lives; says whether others believe it, as far as it has anything that they could take."""
        has_claimed = self._has_claimed
        return self._store.renew(self._worker) or not has_claimed

    def _show_life(self, pause: float) -> None:
        """Show that the run lives until it is closed, in a thread that nothing else can keep busy."""
        presumed_dead = False
        while not self._stopped.wait(pause):
            try:
                alive = self._beat()
            except LostStoreError as error:
                logger.error("the durable run %r cannot go on: %s", self.name, error)
                self.completions.stop(error)
                return
            except Exception as error:
                if self._stopped.is_set():
                    return
                logger.warning("the durable run %r could not show that it lives: %s", self.name, error)
                continue
            if not alive and not presumed_dead:
                logger.warning(
                    "the durable run %r was taken for dead by another process, which goes on with it", self.name
                )
            presumed_dead = not alive

    def close(self, finished: bool) -> None:
        """Wait until all circuits have ended.

        Args:
            finished: whether the run has come to its end; if not, nobody waits for what has not ended.
        """
        if not self.is_here:
            return  # what was forked has neither its threads nor its jobs
        try:
            if finished:
                self.completions.drain()
                self._finish()
            elif self._was_finished and not (self.journal.recorded or self.completions.executed):
                self._store.finish_run(self.name)  # a program that asked for something else has changed nothing
        finally:
            try:
                self._leave_the_rest()
            finally:
                self._stopped.set()
                self.completions.events.close()
                try:
                    self._store.leave(self._worker)
                finally:
                    if self._closes_store:
                        self._store.close()

    def _finish(self) -> None:
        self._store.finish_run(self.name)
        if self._transitions.resumes and not self.journal.used:
            logger.warning(
                "nothing was asked for in the durable run %r: only what runs on clusters and their devices is recorded",
                self.name,
            )
        if self.journal.unasked:
            logger.warning(
                "the durable run %r ended without asking for %d of the circuits that it has recorded: was it a program "
                "that does less?",
                self.name,
                self.journal.circuits_left,
            )

    def _leave_the_rest(self) -> None:
        """Leave what has not ended, and say which jobs still run."""
        _drop(self._transitions.entries)
        self.completions.drain()
        self._transitions.wait_for_outgoing(_PATIENCE)
        if jobs := self._transitions.left_at_backends(self.completions.left):
            logger.warning(
                "jobs of the durable run %r still run, and are picked up when the program is run again: %s",
                self.name,
                ", ".join(f"{job_id!r} at {executor!r}" for executor, job_id in jobs),
            )


def _is_finished(store: Store, name: str) -> bool:
    """Whether there is a run of a name, which came to its end."""
    try:
        return store.run(name).finished
    except StoreError:
        return False


def _split(jobs: Sequence[Job], recorded: Sequence[bool]) -> tuple[list[Job], list[Job]]:
    """Those that are recorded, and the others."""
    pairs = list(zip(jobs, recorded, strict=True))
    return [job for job, is_one in pairs if is_one], [job for job, is_one in pairs if not is_one]


def _drop(entries: Sequence[RunEntry]) -> None:
    """Wait no longer for entries that have not ended: they are asked for when the program is run again."""
    going = [entry for entry in entries if not entry.future.done()]
    for entry in going:
        entry.left = True
    for entry in going:  # who waits for several of them cancels the others
        entry.future.cancel()


def _yes() -> bool:
    return True
