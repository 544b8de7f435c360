"""A durable run: what a program asks for in a ``with`` block, recorded so that it can go on after a crash."""

from __future__ import annotations

import concurrent.futures
import contextvars
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, final

from pennylane_qexec import store as stores
from pennylane_qexec.budget import Budget, budget_of
from pennylane_qexec.choosing import Choosing
from pennylane_qexec.durable import scope
from pennylane_qexec.durable.book import Book, Taken
from pennylane_qexec.durable.entry import Asking, Entry, Runner
from pennylane_qexec.durable.follower import Follower
from pennylane_qexec.durable.keeper import Keeper
from pennylane_qexec.durable.recorder import Recorder
from pennylane_qexec.durable.resuming import Resuming
from pennylane_qexec.durable.settling import Ended, Settling
from pennylane_qexec.durable.usage import usage_of
from pennylane_qexec.durable.versions import versions, warn_of_other
from pennylane_qexec.durable.written import is_recorded, written
from pennylane_qexec.engine import AskedFuture, Engine, wait_for_all
from pennylane_qexec.engine.loop import in_engine_thread
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.store import State, Store

logger = logging.getLogger("pennylane_qexec")

_BEATS = 3
"""How often in each lease a run shows that it lives."""

_LEASE = 60.0

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

    @property
    def replayed(self) -> int:
        """How many circuits were answered from the store."""
        return self._resuming.replayed

    @property
    def picked_up(self) -> int:
        """How many circuits were fetched from backends that they had been sent to before."""
        return self._resuming.picked_up

    @property
    def executed(self) -> int:
        """How many circuits were run."""
        return self._executed

    def __enter__(self) -> Self:
        """Open the store, and let circuits belong to the run: those asked for in this context, and in other threads."""
        self.open()
        if self._budget is not None:
            self._budget.at_least(usage_of(self._store, self._run))
            self._budget.__enter__()
        scope.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all circuits of the run; after an error, leave those at backends there, and say which they are."""
        scope.leave(self)
        if self._budget is not None:
            self._budget.__exit__(kind, error, traceback)
        self.close(finished=error is None)

    def open(self) -> None:
        """Open the store, and read what is recorded."""
        if self._open:
            raise ConfigurationError(f"the durable run {self.name!r} is open already.")
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
        try:
            if finished:
                self._recorder.drain()
                self._finish()
        finally:
            try:
                self._leave_the_rest()
            finally:
                self._open = False
                self._recorder.close()
                self._store.leave(self._worker)
                self._close_store()

    def _leave_the_rest(self) -> None:
        """Leave what has not ended, and say which jobs still run."""
        _leave(self._follower.entries)
        self._recorder.drain()
        self._keeper.wait_for_letters(_PATIENCE)
        self._say_what_is_left()

    def _take_up(self) -> None:
        now = versions()
        run = self._store.open_run(self.name, sys.argv, now)
        warn_of_other(self.name, run.versions, now)
        self._worker = f"{self._store.worker}/{secrets.token_hex(4)}"
        self._concurrent, self._run = run.concurrent, run.id
        self._seed = run.seed
        self._choices: dict[Choosing, Choosing] = {}
        self._threads: set[int] = set()
        self._lock = threading.Lock()
        self._executed = 0
        self._keeper = Keeper(self._store, run.id, self._worker, self._lease)
        self._book = Book(self._store, run, self._worker, self._lease)
        self._follower = Follower(self._keeper, self._resumes)
        self._recorder = Recorder(self._handle, f"qexec-run-{self.name}")
        self._settling = Settling(self._keeper, self._follower, self._recorder, self._wait_for_others, self._resumes)
        self._resuming = Resuming(
            self._store, self._book, self._keeper, self._follower, self._recorder, self._settling, self._begin
        )
        self._recorder.put(self._beat, self._lease / _BEATS)
        if self._book.unasked:
            logger.info("the durable run %r goes on: %d circuits are recorded", self.name, len(self._book.unasked))

    # -- for clusters

    def choosing(self, usual: Choosing, anew: Callable[[int], Choosing]) -> Choosing:
        """The policies of a cluster in this run.

        Args:
            usual: what they are elsewhere.
            anew: makes them, starting anew, with a seed.
        """
        with self._lock:
            if usual not in self._choices:
                self._choices[usual] = anew(self._seed)
            return self._choices[usual]

    def run(self, runner: Runner, engine: Engine, jobs: Sequence[Job]) -> list[Outcome]:
        """Let jobs run that the run has no results of, and wait; as :meth:`Engine.run`."""
        if not all(map(is_recorded, jobs)):
            return self._run_mixed(runner, engine, jobs)
        if in_engine_thread() and not engine.runs_here(jobs):
            return runner.run(jobs)  # which refuses
        entries, mine = self._taken(jobs, Asking(runner, engine, _yes, contextvars.copy_context()))
        if mine and engine.runs_here([entry.job for entry in mine]):
            self._run_here(runner, mine)
        else:
            self._begin(mine)
        return self._wait(entries)

    def submit(
        self, runner: Runner, engine: Engine, jobs: Sequence[Job], asked: Callable[[], bool] | None = None
    ) -> list[AskedFuture[Outcome]]:
        """Let jobs run that the run has no results of; as :meth:`Engine.submit`."""
        recorded = [is_recorded(job) for job in jobs]
        others = [job for job, is_one in zip(jobs, recorded, strict=True) if not is_one]
        chosen = [job for job, is_one in zip(jobs, recorded, strict=True) if is_one]
        entries, mine = self._taken(chosen, Asking(runner, engine, asked, contextvars.copy_context()))
        self._begin(mine)
        _raise_what_was_refused(mine)
        own, rest = iter(entries), iter(runner.submit(others, asked) if others else [])
        return [next(own).future if is_one else next(rest) for is_one in recorded]

    # -- in the house

    def _run_mixed(self, runner: Runner, engine: Engine, jobs: Sequence[Job]) -> list[Outcome]:
        chosen = [job for job in jobs if is_recorded(job)]
        done = iter(self.run(runner, engine, chosen) if chosen else [])
        rest = iter(runner.run([job for job in jobs if not is_recorded(job)]))
        return [next(done) if is_recorded(job) else next(rest) for job in jobs]

    def _taken(self, jobs: Sequence[Job], asking: Asking) -> tuple[list[Entry], list[Entry]]:
        """The entries of a call; and those of them that are to be run."""
        texts = written(jobs)
        with self._lock:
            self._note_thread()
            taken = self._book.take(texts, jobs, strict=not self._concurrent)
        entries = [self._entry(job, one, asking) for job, one in zip(jobs, taken, strict=True)]
        self._follower.add(entries)
        self._recorder.expect(len(entries))
        new = [entry for entry, one in zip(entries, taken, strict=True) if one.new]
        old = [entry for entry, one in zip(entries, taken, strict=True) if not one.new]
        return entries, [*new, *(self._resuming.begin(old) if old else [])]

    def _entry(self, job: Job, taken: Taken, asking: Asking) -> Entry:
        entry = Entry(replace(job, number=taken.number, follower=self._follower), taken.row, asking)
        entry.future.add_done_callback(partial(self._dropped, entry))
        return entry

    def _note_thread(self) -> None:
        """Note that several threads ask: then nobody knows what the next circuit should be."""
        self._threads.add(threading.get_ident())
        if len(self._threads) > 1 and not self._concurrent:
            self._concurrent = True
            self._store.note_concurrent(self._run)

    def _run_here(self, runner: Runner, entries: Sequence[Entry]) -> None:
        """Run entries in the calling thread, and record their results."""
        try:
            outcomes: Sequence[Outcome | BaseException] = runner.run([entry.job for entry in entries])
        except BaseException as error:
            if not isinstance(error, Exception):
                for entry in entries:
                    entry.left = True
            outcomes = [error] * len(entries)
        self._executed += len(entries)
        self._settling.settle([Ended(entry, one) for entry, one in zip(entries, outcomes, strict=True)])

    def _begin(self, entries: Sequence[Entry]) -> None:
        """Have entries run; those of one call together."""
        calls: dict[int, list[Entry]] = {}
        for entry in entries:
            calls.setdefault(id(entry.asking), []).append(entry)
        for of_one_call in calls.values():
            self._submit(of_one_call[0].asking, of_one_call)

    def _submit(self, asking: Asking, entries: Sequence[Entry]) -> None:
        def is_asked() -> bool:
            return any(entry.future.asked for entry in entries)

        jobs = [entry.job for entry in entries]
        try:
            inner = asking.context.copy().run(asking.runner.submit, jobs, asking.asked or is_asked)
        except Exception as error:
            self._settling.settle([Ended(entry, error) for entry in entries])
            return
        self._executed += len(entries)
        for entry, future in zip(entries, inner, strict=True):
            entry.inner = future
            future.add_done_callback(partial(self._ended, entry))
            if entry.future.cancelled():
                future.cancel()

    def _ended(self, entry: Entry, inner: concurrent.futures.Future[Outcome]) -> None:
        """Whoever ran an entry has come to an end with it."""
        value = None if inner.cancelled() else inner.exception() or inner.result()
        self._recorder.put(Ended(entry, value))

    def _dropped(self, entry: Entry, future: concurrent.futures.Future[Outcome]) -> None:
        """What a caller waits for has ended, perhaps since it was cancelled."""
        if not future.cancelled():
            return
        if entry.inner is not None:
            entry.inner.cancel()
        self._recorder.put(Ended(entry, None))

    def _handle(self, events: Sequence[Any]) -> None:
        for event in events:
            if not isinstance(event, Ended):
                event()
        self._settling.settle([event for event in events if isinstance(event, Ended)])

    def _beat(self) -> None:
        self._recorder.put(self._beat, self._lease / _BEATS)
        try:
            self._store.renew(self._worker)
        except Exception as error:
            logger.warning("the durable run %r could not show that it lives: %s", self.name, error)

    def _wait_for_others(self, entries: list[Entry]) -> None:
        self._resuming.wait_for_others(entries)

    def _wait(self, entries: Sequence[Entry]) -> list[Outcome]:
        """The outcomes of all entries. After the first error, or Ctrl-C, the others are left to the next try."""
        try:
            return wait_for_all([entry.future for entry in entries])
        except BaseException:
            _leave(entries)
            raise

    def _finish(self) -> None:
        self._store.finish_run(self.name)
        if self._book.unasked:
            logger.warning(
                "the durable run %r ended without asking for %d of the circuits that it has recorded",
                self.name,
                len(self._book.unasked),
            )

    def _say_what_is_left(self) -> None:
        """Say which jobs still run at backends."""
        rows = [entry.row for entry in self._settling.left if entry.state is State.SENT]
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

    def __repr__(self) -> str:
        return f"<durable run {self.name!r}>"


def durable_run(
    name: str,
    store: str | os.PathLike[str] | Store,
    *,
    lease: float = _LEASE,
    budget: Budget | Mapping[str, float] | None = None,
) -> DurableRun:
    """Record every circuit that is asked for in a ``with`` block, so that the program can be run again after a crash.

    When it runs again, circuits that had finished are answered from the store, jobs that are at a backend with a queue
    are picked up there by their ids, and only the rest runs. What was run is not run or paid for again. Executors with
    a seed draw the shots of a circuit by its content and how often it was asked for in the run, so that a program that
    does the same again gets the same, bit for bit, wherever it was interrupted.

    Two processes with the same run and store share the work: each circuit runs in one of them.

    Args:
        name: of the run; the program goes on with the run of this name, if the store has one.
        store: a file such as ``"vqe.db"``, ``"sqlite:///vqe.db"`` or ``"postgresql+psycopg://..."``; see
            :func:`~pennylane_qexec.store.open_store`.
        lease: seconds after which a process that is not heard of counts as dead, so that another one takes over.
        budget: a limit for the run; what it used before it was interrupted counts.

    Returns:
        What is to be used in a ``with`` statement.

    Raises:
        ConfigurationError: the name or the store is none.
        StoreError: on entering, the store cannot be opened; later, it cannot be written.
        ReplayMismatchError: in the block, the program asks for other circuits than it did before.
    """
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not lease > 0:
        raise ConfigurationError(f"lease={lease!r} must be a number of seconds above 0.")
    return DurableRun(name, store, lease, budget_of(budget))


def records(store: Any) -> DurableRun:
    """Record what a cluster runs, in a run of its own that nobody goes on with. It is open."""
    name = f"cluster-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    run = DurableRun(name, store, _LEASE, None, resumes=False)
    run.open()
    return run


def close(run: DurableRun | None) -> None:
    """Close what :func:`records` has opened, if it has."""
    if run is not None:
        run.close(finished=True)


def _raise_what_was_refused(entries: Sequence[Entry]) -> None:
    """Raise the error, if there is one, for which entries were not even sent."""
    for entry in entries:
        if entry.inner is None and entry.over and not entry.future.cancelled():
            entry.future.result()


def _leave(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.left = True
            entry.future.cancel()


def _yes() -> bool:
    return True
