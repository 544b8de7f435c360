"""A durable run: what a program asks for in a ``with`` block, recorded so that it can go on after a crash."""

from __future__ import annotations

import contextvars
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, final

from pennylane_qexec.concurrency import context
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.persistence import store as stores
from pennylane_qexec.persistence.durable.completion import Ended, EventThread, HeartbeatThread, ResultRecorder
from pennylane_qexec.persistence.durable.execution import EntryRunner, leave, raise_what_was_refused, wait_or_leave
from pennylane_qexec.persistence.durable.jobs import RunCall, RunEntry, SerializedJob, is_recorded, written
from pennylane_qexec.persistence.durable.journal import Journal, JournalEntry
from pennylane_qexec.persistence.durable.recovery import RunRecovery
from pennylane_qexec.persistence.durable.transitions import JobStateWriter, SubmissionObserver
from pennylane_qexec.persistence.durable.versions import usage_of, versions, warn_of_other
from pennylane_qexec.persistence.runners import BaseRunner, Runner
from pennylane_qexec.persistence.store import State, Store, StoredJob
from pennylane_qexec.policies.amounts import Amounts
from pennylane_qexec.policies.budgets import Budget
from pennylane_qexec.redaction.display import even_incomplete

T = TypeVar("T")
logger = logging.getLogger("pennylane_qexec")

current: Callable[[], DurableRun | None] = context.current_run
"""The durable run that circuits asked for here belong to."""

_PATIENCE = 30.0
"""Seconds to wait, at the end, for what is being sent."""


@final
class DurableRun:
    """What :func:`durable_run` opens. Use it in a ``with`` statement.

    Attributes:
        name: of the run.
    """

    def __init__(self, name: str, store: Any, lease: float, budget: Budget | None, resumes: bool = True) -> None:
        self.name = name
        self._given = store
        self._lease = lease
        self._budget = budget
        self._resumes = resumes
        self._open = False
        self._process = os.getpid()

    @property
    def replayed(self) -> int:
        """How many circuits were answered from the store, since the run was entered."""
        return self._entered("replayed circuits")._resuming.replayed

    @property
    def picked_up(self) -> int:
        """How many circuits were fetched from backends that they had been sent to before."""
        return self._entered("picked up circuits")._resuming.picked_up

    @property
    def executed(self) -> int:
        """How many circuits were run."""
        return self._entered("run circuits")._running.executed + self._resuming.run_again

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened it, and none that was forked from it."""
        return self._process == os.getpid()

    def __enter__(self) -> Self:
        """Open the store, and let circuits belong to the run: those asked for in this context, and in other threads."""
        self.open()
        try:
            if self._budget is not None:
                self._budget.at_least(usage_of(self._store, self._run))
        except BaseException:
            self.close(finished=False)
            raise
        if self._budget is not None:
            self._budget.__enter__()
        context.enter_run(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all circuits of the run; after an error, leave those at backends there, and say which they are."""
        context.leave_run(self)
        if self._budget is not None:
            self._budget.__exit__(kind, error, traceback)
        self.close(finished=error is None)

    def open(self) -> None:
        """Open the store, and read what is recorded."""
        if self._open:
            raise ConfigurationError(f"the durable run {self.name!r} is open already.")
        self._process = os.getpid()
        self._store: Store = stores.open_store(self._given)
        try:
            self._take_up()
        except BaseException:
            self._close_store()
            raise
        self._open = True

    def close(self, finished: bool) -> None:
        """Wait until all circuits have ended, and close the store.

        Args:
            finished: whether the run has come to its end; if not, nobody waits for what has not ended.
        """
        if not self.is_here:
            return  # what was forked has neither its threads nor its jobs
        try:
            if finished:
                self._recorder.drain()
                self._finish()
        finally:
            try:
                self._leave_the_rest()
            finally:
                self._open = False
                self._heartbeat.stop()
                self._recorder.close()
                try:
                    self._store.leave(self._worker)
                finally:
                    self._close_store()

    def _leave_the_rest(self) -> None:
        """Leave what has not ended, and say which jobs still run."""
        leave(self._follower.entries)
        self._recorder.drain()
        self._writer.wait_for_outgoing(_PATIENCE)
        self._say_what_is_left()

    def _take_up(self) -> None:
        now = versions()
        run = self._store.open_run(self.name, sys.argv, now)
        warn_of_other(self.name, run.versions, now)
        self._worker = f"{self._store.worker}/{secrets.token_hex(4)}"
        self._concurrent, self._run = run.concurrent, run.id
        self._seed = run.seed
        self._choices: dict[Any, Any] = {}
        self._opener = threading.get_ident()
        self._askers: dict[str, int] = {}
        self._warned = False
        self._has_claimed = False
        self._lock = threading.Lock()
        self._writer = JobStateWriter(self._store, run.id, self._worker, self._lease)
        self._book = Journal(self._store, run, self._worker, self._lease)
        self._follower = SubmissionObserver(self._writer, self._resumes)
        self._recorder = EventThread(self._handle, f"qexec-run-{self.name}")
        self._settling = ResultRecorder(
            self._writer, self._follower, self._recorder, self._wait_for_others, self._resumes, self._in_vain
        )
        self._running = EntryRunner(self._recorder, self._settling, self._budget)
        self._resuming = RunRecovery(
            self._store,
            self._book,
            self._writer,
            self._follower,
            self._recorder,
            self._settling,
            self._running.begin,
            self._spent,
        )
        self._heartbeat = HeartbeatThread(self._beat, self._lease, self.name, self._lost)
        if self._book.unasked:
            logger.info("the durable run %r goes on: %d circuits are recorded", self.name, len(self._book.unasked))

    # -- for clusters

    def choosing(self, usual: T, anew: Callable[[int], T]) -> T:
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
        if not all(is_recorded(job, engine) for job in jobs):
            return self._run_mixed(runner, engine, jobs)
        if in_engine_thread() and not engine.runs_here(jobs):
            return runner.run(jobs)  # which refuses
        entries, mine = self._taken(jobs, RunCall(runner, engine, _yes, contextvars.copy_context()))
        if mine and engine.runs_here([entry.job for entry in mine]):
            self._running.here(runner, mine)
        else:
            self._running.begin(mine)
        return wait_or_leave(entries)

    def submit(
        self, runner: Runner, engine: BaseRunner, jobs: Sequence[Job], asked: Callable[[], bool] | None = None
    ) -> list[AskedFuture[Outcome]]:
        """Let jobs run that the run has no results of; as :meth:`Engine.submit`."""
        recorded = [is_recorded(job, engine) for job in jobs]
        others = [job for job, is_one in zip(jobs, recorded, strict=True) if not is_one]
        chosen = [job for job, is_one in zip(jobs, recorded, strict=True) if is_one]
        entries, mine = self._taken(chosen, RunCall(runner, engine, asked, contextvars.copy_context()))
        self._running.begin(mine)
        raise_what_was_refused(mine)
        own, rest = iter(entries), iter(runner.submit(others, asked) if others else [])
        return [next(own).future if is_one else next(rest) for is_one in recorded]

    # -- in the house

    def _run_mixed(self, runner: Runner, engine: BaseRunner, jobs: Sequence[Job]) -> list[Outcome]:
        recorded = [is_recorded(job, engine) for job in jobs]
        chosen = [job for job, is_one in zip(jobs, recorded, strict=True) if is_one]
        done = iter(self.run(runner, engine, chosen) if chosen else [])
        rest = iter(runner.run([job for job, is_one in zip(jobs, recorded, strict=True) if not is_one]))
        return [next(done) if is_one else next(rest) for is_one in recorded]

    def _taken(self, jobs: Sequence[Job], asking: RunCall) -> tuple[list[RunEntry], list[RunEntry]]:
        """The entries of a call; and those of them that are to be run."""
        texts = written(jobs, asking.engine)
        with self._lock:
            self._note_thread(texts, jobs)
            taken = self._book.take(texts, jobs, strict=not self._concurrent)
        entries = [self._entry(job, one, asking) for job, one in zip(jobs, taken, strict=True)]
        self._follower.add(entries)
        self._recorder.expect(len(entries))
        new = [entry for entry, one in zip(entries, taken, strict=True) if one.new]
        old = [entry for entry, one in zip(entries, taken, strict=True) if not one.new]
        try:
            mine = [*new, *(self._resuming.begin(old) if old else [])]
            self._has_claimed = self._has_claimed or any(entry.state is not State.DONE for entry in entries)
            return entries, mine
        except Exception as error:
            self._settling.settle([Ended(entry, error) for entry in entries])
            raise

    def _entry(self, job: Job, taken: JournalEntry, asking: RunCall) -> RunEntry:
        entry = RunEntry(replace(job, number=taken.number, follower=self._follower), taken.row, asking)
        entry.future.add_done_callback(partial(self._running.dropped, entry))
        return entry

    def _note_thread(self, texts: Sequence[SerializedJob], jobs: Sequence[Job]) -> None:
        """Note that several threads ask: then nobody knows what the next circuit should be."""
        me = threading.get_ident()
        if me != self._opener and not self._concurrent:
            self._concurrent = True
            self._store.note_concurrent(self._run)
        if self._concurrent and not self._warned:
            sampled = (text.key for text, job in zip(texts, jobs, strict=True) if job.shots)
            if {self._askers.setdefault(key, me) for key in sampled} - {me}:
                self._warned = True
                self._askers.clear()
                logger.warning(
                    "several threads ask for the same circuit with shots in the durable run %r. When the program runs "
                    "again, whoever asks first gets the first result, and may go another way from there: give each "
                    "thread a durable run of its own, with a name of its own",
                    self.name,
                )

    def _handle(self, events: Sequence[Any]) -> None:
        self._settling.settle([event for event in events if isinstance(event, Ended)])
        for event in events:
            if not isinstance(event, Ended):
                event()

    def _beat(self) -> bool:
        """Show that the run lives; says whether others believe it, as far as it has anything that they could take."""
        has_claimed = self._has_claimed
        return self._store.renew(self._worker) or not has_claimed

    def _lost(self, error: StoreError) -> None:
        """Begin nothing any more: what would be recorded of it is lost."""
        self._running.stop(self._follower.entries, error)

    def _in_vain(self, entry: RunEntry) -> None:
        with self._lock:
            self._book.ask_again(entry.row)

    def _spent(self, fetched: Mapping[StoredJob, Outcome]) -> None:
        """Count what was not known of picked up circuits when the run was entered: shots as a rule were."""
        if self._budget is not None:
            shots = sum(one.shots - row.shots for row, one in fetched.items())
            circuits = sum(one.circuits - row.circuits for row, one in fetched.items())
            cost, seconds = (sum(getattr(one, what) for one in fetched.values()) for what in ("cost", "seconds"))
            self._budget.spend(Amounts(shots, circuits, cost, seconds))

    def _entered(self, what: str) -> Self:
        if "_running" not in vars(self):
            raise ConfigurationError(
                f"the durable run {self.name!r} has no {what}: use it in a 'with' statement first."
            )
        return self

    def _wait_for_others(self, entries: list[RunEntry]) -> None:
        self._resuming.wait_for_others(entries)

    def _finish(self) -> None:
        self._store.finish_run(self.name)
        if self._resumes and not self._book.used:
            logger.warning(
                "nothing was asked for in the durable run %r: only what runs on clusters and their devices is recorded",
                self.name,
            )
        if self._book.unasked:
            logger.warning(
                "the durable run %r ended without asking for %d of the circuits that it has recorded: was it a program "
                "that does less?",
                self.name,
                len(self._book.unasked),
            )

    def _say_what_is_left(self) -> None:
        """Say which jobs still run at backends."""
        left = {entry.row.id for entry in self._settling.left if entry.state is State.SENT}
        rows = [row for row in self._store.refresh(sorted(left)) if row.state == State.SENT]
        jobs = sorted({(row.executor, str(row.remote_id)) for row in rows})
        if jobs:
            listed = ", ".join(f"{job_id!r} at {executor!r}" for executor, job_id in jobs)
            logger.warning(
                "jobs of the durable run %r still run, and are picked up when the program is run again: %s",
                self.name,
                listed,
            )

    def _close_store(self) -> None:
        if self._store is not self._given:
            self._store.close()

    @even_incomplete
    def __repr__(self) -> str:
        return f"<durable run {self.name!r}>"


def _yes() -> bool:
    return True
