"""How entries of a durable run end: written down first, then told to whoever waits.

One thread records ends and tells the callers; another shows that the run lives, and nothing else can keep it busy.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pennylane_qexec.concurrency import interrupts, lifecycle
from pennylane_qexec.concurrency.event_loop import serve_here
from pennylane_qexec.concurrency.futures import resolve
from pennylane_qexec.errors import BudgetExceededError, JobCancelledError, StoreError, UnansweredError
from pennylane_qexec.job import Outcome
from pennylane_qexec.persistence.durable.jobs import RunEntry
from pennylane_qexec.persistence.durable.transitions import JobStateWriter, SubmissionObserver, TakenOverError
from pennylane_qexec.persistence.store.database import LostStoreError

logger = logging.getLogger("pennylane_qexec")

_BEATS = 3
"""How often in each lease a run shows that it lives."""


class HeartbeatThread:
    """Beats until it is stopped.

    Args:
        beat: shows that the run lives; says whether others believe it.
        lease: seconds without a beat after which others take the run for dead.
        name: of the run.
        lost: called when the store is not the one any more that the program would go on with.
    """

    def __init__(
        self, beat: Callable[[], bool], lease: float, name: str, lost: Callable[[LostStoreError], None]
    ) -> None:
        self._beat = beat
        self._lost = lost
        self._pause = lease / _BEATS
        self._name = name
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name=f"qexec-heart-{name}", daemon=True).start()

    def stop(self) -> None:
        """Beat no more."""
        self._stopped.set()

    def _work(self) -> None:
        buried = False
        while not self._stopped.wait(self._pause):
            try:
                alive = self._beat()
            except LostStoreError as error:
                logger.error("the durable run %r cannot go on: %s", self._name, error)
                self._lost(error)
                return
            except Exception as error:
                if self._stopped.is_set():
                    return
                logger.warning("the durable run %r could not show that it lives: %s", self._name, error)
                continue
            if not alive and not buried:
                logger.warning(
                    "the durable run %r was taken for dead by another process, which goes on with it", self._name
                )
            buried = not alive


_MOST = 500
"""The most events that are handled together, so that each is written soon."""

_LONG = 60.0  # seconds

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
        self._changed = threading.Condition()
        self._expected = 0
        self._thread: threading.Thread | None = None

    def expect(self, jobs: int) -> None:
        """Jobs are under way; the program does not end before as many have :meth:`ended`."""
        lifecycle.begin(self, jobs)
        with self._changed:
            self._expected += jobs

    def ended(self, jobs: int = 1) -> None:
        """Jobs have come to their end."""
        lifecycle.end(self, jobs)
        with self._changed:
            self._expected -= jobs
            if self._expected <= 0:
                self._changed.notify_all()

    def put(self, event: Any, delay: float = 0.0) -> None:
        """Have an event handled, after some seconds."""
        if self._thread is None:
            self._start()
        self._events.put((time.monotonic() + delay if delay else 0.0, event))

    def drain(self) -> None:
        """Wait until all jobs that are expected have ended."""
        with self._changed:
            interrupts.wait(lambda seconds: self._changed.wait_for(lambda: self._expected <= 0, seconds))

    def close(self) -> None:
        """End the thread. What was to be handled later is not."""
        if self._thread is not None:
            self._events.put((0.0, _END))
            if threading.current_thread() is not self._thread:
                interrupts.wait(self._has_ended)

    def _has_ended(self, timeout: float | None) -> bool:
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _start(self) -> None:
        with self._changed:
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
        try:
            while len(events) < _MOST:
                due, event = self._events.get_nowait() if events else self._events.get(timeout=self._pause())
                if due:
                    heapq.heappush(self._later, (due, next(self._numbers), event))
                else:
                    events.append(event)
        except queue.Empty:
            pass
        while self._later and self._later[0][0] <= time.monotonic():
            events.append(heapq.heappop(self._later)[2])
        return events

    def _pause(self) -> float:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else _LONG


_KEPT = 1000
"""Entries that were cancelled, and may still be sent with others."""


class Ended(NamedTuple):
    """An entry has ended: with an outcome, or an error; or nobody wants it any more."""

    entry: RunEntry
    value: Outcome | BaseException | None


class ResultRecorder:
    """Brings entries to their end, in the recorder's thread.

    Args:
        writer: writes it down.
        follower: forgets them.
        recorder: counts them.
        taken_over: called with entries that another process has now.
        resumes: whether the run asks for what was left when it goes on.
        in_vain: called with entries of which nothing came, before it is told.
    """

    def __init__(
        self,
        writer: JobStateWriter,
        follower: SubmissionObserver,
        recorder: EventThread,
        taken_over: Callable[[list[RunEntry]], None],
        resumes: bool,
        in_vain: Callable[[RunEntry], None],
    ) -> None:
        self._writer = writer
        self._follower = follower
        self._recorder = recorder
        self._taken_over = taken_over
        self._resumes = resumes
        self._in_vain = in_vain
        self._cancelled: deque[RunEntry] = deque()
        self.left: list[RunEntry] = []
        """Entries that nobody waits for now, and that were not given back."""

    def settle(self, ended: Sequence[Ended]) -> None:
        """Write down how entries ended, and tell those who wait."""
        fresh = {id(one.entry): one for one in reversed(ended) if not one.entry.over}
        done: list[tuple[RunEntry, Outcome]] = []
        for one in reversed(fresh.values()):
            if isinstance(one.value, Outcome):
                done.append((one.entry, one.value))
            elif isinstance(one.value, TakenOverError):
                self._taken_over([one.entry])
            else:
                self._settle_without(one.entry, one.value)
        if done:
            self._settle_done(done)

    def tell(self, entry: RunEntry, value: Outcome | BaseException) -> None:
        """Bring an entry to its end, as the store has it already."""
        if entry.over:
            return
        entry.over = True
        try:
            entry.asking.context.copy().run(resolve, entry.future, value)
        finally:
            self._recorder.ended()

    def _settle_done(self, done: Sequence[tuple[RunEntry, Outcome]]) -> None:
        try:
            others = self._writer.done(done)
        except Exception as error:  # whatever it is, nobody is left waiting
            for entry, _ in done:
                self._in_vain(entry)
                self._forget_and_tell(entry, error)
            return
        for entry, outcome in done:
            if entry not in others:
                self._forget_and_tell(entry, outcome)
        if others:
            self._taken_over(others)

    def _settle_without(self, entry: RunEntry, error: BaseException | None) -> None:
        """Settle an entry that was not run; ``None`` if its future was cancelled."""
        if error is None:
            error = JobCancelledError("the job was cancelled.")
        later = self._resumes and (
            entry.left
            or isinstance(error, UnansweredError)
            or (isinstance(error, JobCancelledError) and not entry.future.cancelled())
        )
        try:
            self._write_without(entry, error, later)
        except Exception as broken:  # nobody is left waiting
            logger.warning("how a circuit ended (%r) could not be recorded: %s", error, broken)
        self._in_vain(entry)
        if later:
            entry.left = True
            self.left.append(entry)
            self.tell(entry, error)
        elif entry.future.cancelled():
            self._keep_for_a_while(entry)
            self.tell(entry, error)
        else:
            self._forget_and_tell(entry, error)

    def _keep_for_a_while(self, entry: RunEntry) -> None:
        """Not forget an entry that was cancelled: others may go on in the job in which it is sent."""
        self._cancelled.append(entry)
        if len(self._cancelled) > _KEPT:
            self._follower.forget(self._cancelled.popleft())

    def _write_without(self, entry: RunEntry, error: BaseException, later: bool) -> None:
        if later or isinstance(error, StoreError):
            self._writer.give_back([entry])
        elif isinstance(error, BudgetExceededError):
            self._writer.send_back([entry])
        elif isinstance(error, JobCancelledError):
            self._writer.cancelled([entry])
        else:
            self._writer.failed([(entry, error)])

    def _forget_and_tell(self, entry: RunEntry, value: Outcome | BaseException) -> None:
        self._follower.forget(entry)
        self.tell(entry, value)
