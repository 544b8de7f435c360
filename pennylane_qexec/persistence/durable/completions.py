"""Entries of a durable run that have to be run, and how entries end: written down first, then told to who waits."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, final

from pennylane_qexec.concurrency import interrupts, lifecycle
from pennylane_qexec.concurrency.event_loop import has_ended, serve_here
from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.errors import BudgetExceededError, JobCancelledError, StoreError, UnansweredError
from pennylane_qexec.job import Outcome
from pennylane_qexec.persistence.durable.jobs import RunCall, RunEntry
from pennylane_qexec.persistence.durable.journal import Journal
from pennylane_qexec.persistence.durable.transitions import TakenOverError, Transitions
from pennylane_qexec.persistence.runners import Runner
from pennylane_qexec.persistence.store import State
from pennylane_qexec.policies.budgets import Budget, counting

logger = logging.getLogger("pennylane_qexec")

_MOST = 500
"""The most events that are handled together, so that each is written soon."""

_END = object()


class EventThread:
    """Handles events, those that have come together, in a thread of its own.

    Args:
        handle: called in the thread with events.
        name: of the thread.
    """

    def __init__(self, handle: Callable[[list[Any]], None], name: str) -> None:
        self._handle = handle
        self._name = name
        self._events: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, event: Any, delay: float = 0.0) -> None:
        """Have an event handled, after some seconds."""
        if self._thread is None:
            self._start()
        self._events.put((time.monotonic() + delay if delay else 0.0, event))

    def close(self) -> None:
        """End the thread. What was to be handled later is not."""
        if self._thread is not None:
            self._events.put((0.0, _END))
            if threading.current_thread() is not self._thread:
                interrupts.wait(partial(has_ended, self._thread))

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name=self._name)
                self._thread.start()

    def _work(self) -> None:
        serve_here()
        while True:
            events = self._due()
            if wanted := [event for event in events if event is not _END]:
                try:
                    self._handle(wanted)
                except Exception:
                    logger.exception("the record of a durable run could not be kept up. Please report this")
            if len(wanted) < len(events):
                return

    def _due(self) -> list[Any]:
        """Events whose time has come; waits for the first."""
        events: list[Any] = []
        with suppress(queue.Empty):
            while len(events) < _MOST:
                due, event = self._events.get_nowait() if events else self._events.get(timeout=self._pause())
                if due:
                    heapq.heappush(self._later, (due, next(self._numbers), event))
                else:
                    events.append(event)
        while self._later and self._later[0][0] <= time.monotonic():
            events.append(heapq.heappop(self._later)[2])
        return events

    def _pause(self) -> float | None:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None


_MOST_CANCELLED = 1000
"""Entries that were cancelled, and may still be sent with others."""


@final
class RunCompletions:
    """Has entries run, writes down how they ended, and tells those who wait.

    Args:
        journal: told of entries of which nothing came.
        transitions: writes down how entries ended.
        budget: what counts for all of them, in whatever thread they are asked for.
        taken_over: called with entries that another process has now.

    Attributes:
        executed: how many circuits were run.
        left: entries that nobody waits for now, and that were not given back.
    """

    def __init__(
        self,
        journal: Journal,
        transitions: Transitions,
        budget: Budget | None,
        taken_over: Callable[[list[RunEntry]], None],
    ) -> None:
        self.executed = 0
        self.left: list[RunEntry] = []
        self.events = EventThread(self._handle, f"qexec-run-{journal.name}")
        self._journal = journal
        self._transitions = transitions
        self._budget = budget
        self._taken_over = taken_over
        self._stopped_by: Exception | None = None
        self._cancelled: deque[RunEntry] = deque()

    def expect(self, entries: int) -> None:
        """Entries are under way; the program does not end before they have."""
        lifecycle.begin(self, entries)

    def drain(self) -> None:
        """Wait until all entries have ended."""
        lifecycle.wait_for_jobs_of(self)

    # -- entries that have to be run

    def run(self, runner: Runner, entries: Sequence[RunEntry]) -> None:
        """Run entries in the calling thread, and record their results."""
        _note_attempts(entries)
        try:
            with counting(self._budget):
                outcomes: Sequence[Outcome | BaseException] = runner.run([entry.job for entry in entries])
        except BaseException as error:
            for entry in entries:
                entry.left = not isinstance(error, Exception)
            outcomes = [error] * len(entries)
        self.executed += sum(entry.job.rows for entry in entries)
        self.settle(list(zip(entries, outcomes, strict=True)))

    def begin(self, entries: Sequence[RunEntry]) -> None:
        """Have entries run; those of one call together."""
        calls: dict[int, list[RunEntry]] = {}
        for entry in entries:
            calls.setdefault(id(entry.call), []).append(entry)
        for of_one_call in calls.values():
            self._submit(of_one_call[0].call, of_one_call)

    def _submit(self, call: RunCall, entries: Sequence[RunEntry]) -> None:
        def is_asked() -> bool:
            return any(entry.future.asked for entry in entries)

        def submit() -> list[AskedFuture[Outcome]]:
            with counting(self._budget):
                return call.runner.submit([entry.job for entry in entries], call.asked or is_asked)

        _note_attempts(entries)
        try:
            inner = call.context.copy().run(submit)
        except Exception as error:
            self.fail(entries, error)
            return
        self.executed += sum(entry.job.rows for entry in entries)
        for entry, future in zip(entries, inner, strict=True):
            entry.inner = future
            future.add_done_callback(partial(self._ended, entry))
            if entry.future.cancelled():
                future.cancel()

    def _ended(self, entry: RunEntry, inner: Future[Outcome]) -> None:
        """Whoever ran an entry has come to an end with it."""
        self.events.put((entry, self._stopped_by if inner.cancelled() else inner.exception() or inner.result()))

    def dropped(self, entry: RunEntry, future: Future[Outcome]) -> None:
        """What a caller waits for has ended, perhaps since it was cancelled."""
        if not future.cancelled():
            return
        if isinstance(sys.exception(), KeyboardInterrupt | SystemExit):
            entry.left = True  # the program is being ended, and does not mean this circuit
        if entry.inner is not None:
            entry.inner.cancel()
        self.events.put((entry, None))

    def stop(self, error: Exception) -> None:
        """Let entries not begin that wait for an executor; those that have begun go on.

        Args:
            error: what the callers of the others are told.
        """
        self._stopped_by = error
        for entry in self._transitions.entries:
            if entry.inner is not None and entry.inner.started is None and entry.state is State.CLAIMED:
                entry.inner.cancel()

    # -- how entries end

    def _handle(self, events: Sequence[Any]) -> None:
        self.settle([event for event in events if isinstance(event, tuple)])
        for event in events:
            if not isinstance(event, tuple):
                event()

    def fail(self, entries: Iterable[RunEntry], error: BaseException) -> None:
        """Bring entries to their end with an error."""
        self.settle([(entry, error) for entry in entries])

    def settle(self, ends: Sequence[tuple[RunEntry, Outcome | BaseException | None]]) -> None:
        """Write down how entries ended, and tell those who wait.

        Args:
            ends: entries, each with its outcome, or an error, or ``None`` if nobody wants it any more.
        """
        first = {id(entry): (entry, value) for entry, value in reversed(ends) if not entry.over}
        done: list[tuple[RunEntry, Outcome]] = []
        for entry, value in reversed(first.values()):
            if isinstance(value, Outcome):
                done.append((entry, value))
            elif isinstance(value, TakenOverError):
                self._taken_over([entry])
            else:
                self._settle_without(entry, JobCancelledError("the job was cancelled.") if value is None else value)
        if done:
            self._settle_done(done)

    def tell(self, entry: RunEntry, value: Outcome | BaseException, forget: bool = True) -> None:
        """Bring an entry to its end, as the store has it already.

        Args:
            entry: the entry.
            value: what its caller is told.
            forget: whether it is followed no more.
        """
        if forget:
            self._transitions.forget(entry)
        if entry.over:
            return
        entry.over = True
        try:
            entry.call.context.copy().run(resolve, entry.future, value)
        finally:
            lifecycle.end(self)

    def _settle_done(self, done: Sequence[tuple[RunEntry, Outcome]]) -> None:
        try:
            others = self._transitions.done(done)
        except Exception as error:  # whatever it is, nobody is left waiting
            for entry, _ in done:
                self._journal.ask_again(entry.row)
                self.tell(entry, error)
            return
        for entry, outcome in done:
            if entry not in others:
                self.tell(entry, outcome)
        if others:
            self._taken_over(others)

    def _settle_without(self, entry: RunEntry, error: BaseException) -> None:
        """Settle an entry that was not run."""
        later = self._transitions.resumes and (
            entry.left
            or isinstance(error, UnansweredError)
            or (isinstance(error, JobCancelledError) and not entry.future.cancelled())
        )
        try:
            self._write_without(entry, error, later)
        except Exception as broken:  # nobody is left waiting
            logger.warning("how a circuit ended (%r) could not be recorded: %s", error, broken)
        self._journal.ask_again(entry.row)
        followed = later or entry.future.cancelled()
        if later:
            entry.left = True
            self.left.append(entry)
        elif followed:
            self._cancelled.append(entry)  # others may go on in the job in which it is sent
            if len(self._cancelled) > _MOST_CANCELLED:
                self._transitions.forget(self._cancelled.popleft())
        self.tell(entry, error, forget=not followed)

    def _write_without(self, entry: RunEntry, error: BaseException, later: bool) -> None:
        if later or isinstance(error, StoreError):
            self._transitions.give_back(entry)
        elif isinstance(error, BudgetExceededError):
            self._transitions.give_back(entry, even_sent=True)
        elif isinstance(error, JobCancelledError):
            self._transitions.cancelled(entry)
        else:
            self._transitions.failed(entry, error)


def _note_attempts(entries: Sequence[RunEntry]) -> None:
    for entry in entries:
        entry.before = entry.row.attempt - 1
