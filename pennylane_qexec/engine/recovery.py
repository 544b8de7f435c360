"""What happens to circuits that an executor failed on, or that wait for one that has gone offline.

They are tried again, handed to another executor, or given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from pennylane_qexec.concurrency.clock import Clock, Timer
from pennylane_qexec.concurrency.thread_pool import ThreadPool
from pennylane_qexec.engine.accounting import expected
from pennylane_qexec.engine.lane import Lane
from pennylane_qexec.engine.queued_jobs import QueuedJob, circuits_in
from pennylane_qexec.errors import BudgetExceededError, ResultError, StoreError, UnansweredError
from pennylane_qexec.executors import QueuedExecutor
from pennylane_qexec.job import JobState
from pennylane_qexec.policies.faults import Fault, classify, is_of_the_line, retry_after
from pennylane_qexec.policies.retries import Backoff

logger = logging.getLogger("pennylane_qexec")

_LOOK = 1.0  # seconds


class OnlineWatchdog:
    """Asks executors with a queue whether they are online, as long as circuits wait for them here.

    One that has gone offline fails on nothing, so that nobody would notice: the jobs that it has stay in the backend's
    queue, and keep those behind them from being sent. Used in the engine's thread, but for :meth:`close`.

    Args:
        lanes: all lanes of the cluster.
        offline: called with the lane of an executor that is offline.
        clock: the engine's.
    """

    def __init__(self, lanes: Collection[Lane], offline: Callable[[Lane], None], clock: Clock) -> None:
        self._clock = clock
        queued = [lane for lane in lanes if isinstance(lane.executor, QueuedExecutor)]
        self._lanes = queued if len(lanes) > 1 else []
        self._offline = offline
        self._asked: set[Lane] = set()
        self._timer: Timer | None = None
        # An answer may take long, or never come: one thread for each, and not the engine's.
        self._threads = ThreadPool(max(1, len(self._lanes)), "qexec-watch")

    def look(self) -> None:
        """Ask now, as somebody else has time to take circuits over."""
        for lane in self._lanes:
            if lane.awaited and lane not in self._asked:
                self._ask(lane)

    def keep_looking(self) -> None:
        """Ask every second, as long as circuits wait."""
        if self._timer is None and any(lane.awaited for lane in self._lanes):
            self._timer = self._clock.call_later(_LOOK, self._look_again)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _look_again(self) -> None:
        self._timer = None
        self.look()
        self.keep_looking()

    def _ask(self, lane: Lane) -> None:
        self._asked.add(lane)
        loop = asyncio.get_running_loop()

        def tell(answer: Future[Any]) -> None:
            with suppress(RuntimeError):  # the cluster was closed meanwhile
                loop.call_soon_threadsafe(self._told, lane, answer)

        self._threads.submit(lane.executor.status).add_done_callback(tell)

    def _told(self, lane: Lane, answer: Future[Any]) -> None:
        self._asked.discard(lane)
        if answer.exception() is None and not answer.result().online and lane.awaited:
            self._offline(lane)


_LOGGED_ERRORS = 1000
_PATIENCE = 1.0  # seconds


class RetryScheduler:
    """Decides what happens to jobs that failed. Used in the engine's thread.

    Args:
        lanes: all lanes of the cluster.
        retry: how often a circuit is tried on one executor.
        failover: whether a circuit that an executor cannot do goes to another one.
        rng: for the jitter of retries.
        give_up: called with a job, its last lane and the error when nothing is left to try.
        clock: the engine's.

    Attributes:
        watch: notices executors that go offline.
    """

    def __init__(
        self,
        lanes: Collection[Lane],
        retry: Backoff,
        failover: bool,
        rng: np.random.Generator,
        give_up: Callable[[QueuedJob, Lane, BaseException], None],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._lanes = lanes
        self._retry = retry
        self._failover = failover
        self._rng = rng
        self._give_up = give_up
        self._logged: set[tuple[str, str]] = set()
        self._relieved: dict[Lane, float] = {}
        self.watch = OnlineWatchdog(lanes if failover else (), self._relieve, clock)

    def place(self, lane: Lane, queued_jobs: Sequence[QueuedJob]) -> None:
        """Let jobs wait for an executor; if it is down, for others that can run them, as far as there are any."""
        if lane.health.pause(self._clock.monotonic()):
            queued_jobs = [
                queued_job for queued_job in queued_jobs if not self._fail_over(queued_job, lane, failed_there=False)
            ]
            self._pump()
        if queued_jobs:
            lane.put(queued_jobs)
        self.watch.keep_looking()

    def _relieve(self, lane: Lane) -> None:
        """Let what waits for an executor that is offline go to others, as far as there are any."""
        now = self._clock.monotonic()
        if now < self._relieved.get(lane, 0.0) + _PATIENCE:
            return  # what is left has nowhere to go
        self._relieved[lane] = now
        lane.admit(
            [queued_job for queued_job in lane.evacuate() if not self._fail_over(queued_job, lane, failed_there=False)]
        )
        self._pump()

    def failed(
        self, lane: Lane, queued_jobs: Sequence[QueuedJob], error: BaseException, shared: bool, others: int = 0
    ) -> None:
        """An executor has failed on jobs.

        Args:
            lane: the executor's lane.
            queued_jobs: those that somebody still waits for.
            error: what it raised.
            shared: whether the batch had several circuits, of which only some may be at fault.
            others: how many more circuits it has failed on, which another executor has too.
        """
        if isinstance(error, StoreError | UnansweredError):  # to send it again may be to pay for it again
            for queued_job in queued_jobs:
                self._give_up(queued_job, lane, error)
            return
        self._log(lane, circuits_in(queued_jobs) + others, error)
        fault = Fault.REJECTED if isinstance(error, BudgetExceededError) else classify(error)
        # That a result was refused says nothing of other circuits: an undefined number comes from its circuit alone.
        if fault is not Fault.REJECTED and not isinstance(error, ResultError):
            self._note(lane, fault, error)
        at_fault = shared and fault is not Fault.PERMANENT and not is_of_the_line(error)
        again: list[QueuedJob] = []
        for queued_job in queued_jobs:
            queued_job.error = error
            queued_job.state = JobState.WAITING
            # Some circuit of the batch is at fault, perhaps not this one: find out by trying it alone, or a sweep by
            # halves, and those by halves again, which counts as one attempt.
            narrowed = at_fault and queued_job.alone
            queued_job.alone = queued_job.alone or at_fault
            if shared and fault is Fault.REJECTED:
                for part in queued_job.halves():
                    self._put(lane, part)
            elif isinstance(error, BudgetExceededError):
                self._give_up(queued_job, lane, error)
            elif self._after_an_attempt(lane, queued_job, error, narrowed):
                again += queued_job.halves() if at_fault else [queued_job]
        self._put_later(lane, again, retry_after(error))
        self._pump()

    def _note(self, lane: Lane, fault: Fault, error: BaseException) -> None:
        """Note that an executor has failed. If it is set aside, what waits for it goes elsewhere.

        What cannot waits until it is up again; but if it is not going to be, it is given up.
        """
        pause = retry_after(error)
        lasting = fault is Fault.PERMANENT
        lane.health.failed(self._clock.monotonic(), lasting or pause > self._retry.maximum, pause)
        if not lasting:
            if lane.health.down:
                self.place(lane, lane.evacuate())
            return
        for queued_job in lane.evacuate():
            if not self._fail_over(queued_job, lane):
                self._give_up(queued_job, lane, error)

    def _log(self, lane: Lane, circuits: int, error: BaseException) -> None:
        """Warn of an error once; a VQE that meets it in every step says so at the level DEBUG from then on."""
        key = (lane.executor.name, repr(error))
        level = logging.DEBUG if key in self._logged else logging.WARNING
        if len(self._logged) < _LOGGED_ERRORS:
            self._logged.add(key)
        logger.log(level, "executor %r failed on %d circuits: %r", lane.executor.name, circuits, error)

    def _after_an_attempt(self, lane: Lane, queued_job: QueuedJob, error: BaseException, narrowed: bool) -> bool:
        """Give a job to another executor, or up; or say that it is to be tried again here.

        Args:
            lane: of the executor that has failed on it.
            queued_job: the job.
            error: what the executor raised.
            narrowed: whether the attempt was one of those that look for the circuit of a sweep that is at fault.
        """
        queued_job.attempts += 1
        if not (narrowed and queued_job.attempts_here):
            queued_job.attempts_here += 1
        again = self._retry.allows(queued_job.attempts_here, error)
        if again and not lane.health.down:
            return True
        if self._fail_over(queued_job, lane):
            return False
        if not again:
            self._give_up(queued_job, lane, error)
        return again

    def _put(self, lane: Lane, queued_job: QueuedJob) -> None:
        """Let a job wait for an executor; it starts with the others that are put there, by :meth:`_pump`."""
        if self._may_go(queued_job, lane):
            lane.admit([queued_job])

    def _pump(self) -> None:
        for lane in self._lanes:
            lane.pump()

    def _may_go(self, queued_job: QueuedJob, lane: Lane) -> bool:
        """Reserve for an attempt; if that does not fit in a budget, it is not made, and the job given up."""
        if queued_job.account is None:
            return True
        try:
            queued_job.account.renew(expected(lane.executor, queued_job.job))
        except BudgetExceededError as error:
            error.__cause__ = queued_job.error
            self._give_up(queued_job, lane, error)
            return False
        return True

    def _put_later(self, lane: Lane, queued_jobs: Sequence[QueuedJob], pause: float) -> None:
        """Let jobs wait for the same executor after a delay, and not before a pause of so many seconds is over.

        Those that may share a batch do so again: at a backend with a queue, each job is a long wait.
        """
        groups: dict[tuple[int, QueuedJob | None], list[QueuedJob]] = {}
        for queued_job in queued_jobs:
            if self._may_go(queued_job, lane):
                key = (queued_job.attempts_here, queued_job if queued_job.alone else None)
                groups.setdefault(key, []).append(queued_job)
        for group in groups.values():
            self._put_together(lane, group, pause)

    def _put_together(self, lane: Lane, queued_jobs: list[QueuedJob], pause: float) -> None:
        delay = pause + self._retry.delay(queued_jobs[0].attempts_here, float(self._rng.random()))
        # Before all others: else those of a dead executor, one probe each, would take as many pauses as there are.
        timer = self._clock.call_later(delay, lambda: lane.put(queued_jobs, first=True))

        def leave(queued_job: QueuedJob) -> None:
            queued_jobs.remove(queued_job)
            if not queued_jobs:
                timer.cancel()

        for queued_job in queued_jobs:
            queued_job.leave = leave

    def _fail_over(self, queued_job: QueuedJob, leaving: Lane, failed_there: bool = True) -> bool:
        """Hand a job to the least loaded executor that has not failed on it; says whether there is one.

        If a budget does not allow for that executor, the job is given up.
        """
        if not self._failover:
            return False
        if failed_there:
            queued_job.tried.add(leaving.executor)
        circuit, now = queued_job.job.circuit, self._clock.monotonic()
        others = [
            lane
            for lane in self._lanes
            if lane is not leaving
            and lane.executor not in queued_job.tried
            and lane.health.may_run(now)
            and lane.objection(circuit) is None
        ]
        if not others:
            return False
        lane = min(others, key=lambda lane: lane.executor.load().waiting)
        logger.info("a circuit goes on from executor %r to %r", leaving.executor.name, lane.executor.name)
        queued_job.job = replace(queued_job.job, executor=lane.executor, call=queued_job.job.call.unbound())
        queued_job.attempts_here = 0
        self._put(lane, queued_job)
        return True
