"""Circuits that run for much longer than others are given to a second executor too; the first result counts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any
from weakref import WeakSet

from pennylane_qexec.concurrency.clock import Clock, Timer
from pennylane_qexec.engine.accounting import expected
from pennylane_qexec.engine.batch import Batch
from pennylane_qexec.engine.lane import Lane
from pennylane_qexec.engine.placement import is_one_batch
from pennylane_qexec.engine.queued_jobs import QueuedJob, always, circuits_in
from pennylane_qexec.errors import BudgetExceededError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import JobState
from pennylane_qexec.policies.budgets import Account, opened
from pennylane_qexec.policies.hedges import Hedge

logger = logging.getLogger("pennylane_qexec")

_KEPT = 200
"""Batches whose times say how long batches take at present."""


@dataclass(eq=False)
class _Race:
    """A circuit that two executors have.

    Attributes:
        first: the job that somebody waits for.
        second: the other one, which nobody but the race knows.
        leave: takes the first one out of where it runs; ``None`` if its attempt has failed.
    """

    first: QueuedJob
    second: QueuedJob
    leave: Callable[[QueuedJob], Any] | None


class Hedging:
    """Sees to it that no circuit waits for ever for a straggler. Used in the engine's thread.

    Args:
        policy: when a circuit is given to a second executor; ``None`` for never.
        lanes: all lanes of the cluster.
        clock: the engine's.
    """

    def __init__(self, policy: Hedge | None, lanes: Collection[Lane], clock: Clock) -> None:
        self._clock = clock
        self._policy = policy
        self._lanes = lanes
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._began: dict[Batch, float] = {}
        self._watched: dict[Batch, Lane] = {}
        self._races: dict[QueuedJob, _Race] = {}
        self._hedged: WeakSet[QueuedJob] = WeakSet()
        self._timer: Timer | None = None

    def started(self, lane: Lane, batch: Batch) -> None:
        """A batch has started."""
        if self._policy is None or batch.carried is None:
            return
        self._began[batch] = self._clock.monotonic()
        self._watched[batch] = lane
        batch.carried.add_done_callback(lambda _: self._over(batch))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._look)

    def ended(self, batch: Batch, well: bool) -> None:
        """A batch has come to its end."""
        if self._policy is not None:
            self._watched.pop(batch, None)
            if well:
                self._took.append(self._clock.monotonic() - self._began[batch])

    def won(self, queued_job: QueuedJob) -> QueuedJob:
        """The job that somebody waits for, of one that has a result. Whoever else has its circuit gives it up."""
        race = self._races.get(queued_job)
        if race is None:
            return queued_job
        self._end(race)
        if queued_job is race.first:
            race.second.go()
        elif race.leave is not None:
            race.leave(race.first)
        return race.first

    def failed(self, lane: Lane, queued_jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
        """Those of the jobs that an executor has failed on whose circuits no other executor has."""
        return [left for queued_job in queued_jobs if (left := self._failed(lane.executor, queued_job)) is not None]

    def close(self) -> None:
        """Hedge nothing more."""
        self._policy = None
        if self._timer is not None:
            self._timer.cancel()

    def _failed(self, executor: Executor, queued_job: QueuedJob) -> QueuedJob | None:
        race = self._races.get(queued_job)
        if race is None:
            return queued_job
        first, second = race.first, race.second
        if queued_job is first and second.state is JobState.RUNNING:
            race.leave = None
            first.attempts += 1
            first.tried.add(executor)
            first.executor = second.executor
            return None
        self._end(race)
        if queued_job is second and race.leave is not None:
            first.leave = race.leave
            return None
        first.attempts -= 1  # of those of the two, whoever rescues it counts one
        first.leave = None
        if queued_job is first:
            second.go()
        else:
            first.job, first.attempts_here = second.job, 0
        return first

    def _over(self, batch: Batch) -> None:
        """A batch is over, so that its executor may be free."""
        self._began.pop(batch, None)
        self._watched.pop(batch, None)
        self._look()

    def _look(self) -> None:
        """Hedge what has run for long enough; and look again when the next batch will have."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = None if self._policy is None or not self._watched else self._policy.delay(self._took)
        if delay is None:
            return
        before = self._clock.monotonic() - delay
        overdue = list(takewhile(lambda batch: self._began[batch] <= before, self._watched))
        for batch in overdue:
            self._hedge(batch)
        later = (self._began[batch] for batch in self._watched if batch not in overdue)
        if (began := next(later, None)) is not None:
            self._timer = self._clock.call_later(max(0.0, began - before), self._look)

    def _hedge(self, batch: Batch) -> None:
        """Give the circuits of a batch to executors that have nothing to do, as far as there are any."""
        lane = self._watched[batch]
        stragglers = [
            queued_job
            for queued_job in batch.queued_jobs
            if queued_job not in batch.gone and self._may_be_hedged(queued_job)
        ]
        if not stragglers:
            del self._watched[batch]
            return
        chosen: dict[Lane, list[QueuedJob]] = {other: [] for other in self._lanes if other is not lane and other.free}
        for queued_job in stragglers if chosen else ():
            waiting = {one: circuits_in(own) for one, own in chosen.items()}
            able = [one for one, own in chosen.items() if not one.window.is_full(own, waiting[one])]
            if able := [one for one in able if _can(one, queued_job)]:
                target = min(able, key=lambda other: other.executor.load().waiting + waiting[other])
                self._hedged.add(queued_job)
                if (second := self._second(queued_job, target.executor)) is not None:
                    chosen[target].append(second)
        for target, seconds in chosen.items():
            if seconds:
                logger.info(
                    "%d circuits that run for long on executor %r are given to %r too",
                    circuits_in(seconds),
                    lane.executor.name,
                    target.executor.name,
                )
                target.put(seconds)

    def _may_be_hedged(self, queued_job: QueuedJob) -> bool:
        """Whether a circuit is one that may be given to a second executor, and has not been.

        A durable run knows one job at a backend for each of its circuits. And not every executor has derivatives.
        """
        job = queued_job.job
        plain = job.follower is None and job.call.method == "execute" and job.call.config.gradient_method != "backprop"
        return plain and queued_job not in self._hedged and queued_job not in self._races

    def _second(self, queued_job: QueuedJob, executor: Executor) -> QueuedJob | None:
        """A second job for a circuit, for another executor; ``None`` if a budget does not allow for it."""
        job = replace(queued_job.job, executor=executor, call=queued_job.job.call.unbound())
        account: Account | None = None
        try:
            if queued_job.account is not None:
                (account,) = opened(queued_job.budgets, [expected(executor, job)])
        except BudgetExceededError as error:
            logger.info("a circuit that runs for long on one executor is not given to a second one: %s", error)
            return None
        queued_job.attempts += 1
        second = QueuedJob(job, self._clock, queued_job.context, always, account=account)
        second.depth, second.alone, second.attempts = queued_job.depth, queued_job.alone, queued_job.attempts
        second.divisible, second.division = False, queued_job.division
        second.submitted, second.since, second.spent = queued_job.submitted, queued_job.since, queued_job.spent
        second.tried = {lane.executor for lane in self._lanes}  # it goes nowhere else
        race = _Race(queued_job, second, queued_job.leave)
        self._races[queued_job] = self._races[second] = race
        queued_job.leave = lambda queued_job: self._called_off(race)
        return second

    def _called_off(self, race: _Race) -> None:
        """Nobody waits for a circuit any more that two executors have."""
        self._end(race)
        race.second.go()
        if race.leave is not None:
            race.leave(race.first)

    def _end(self, race: _Race) -> None:
        del self._races[race.first], self._races[race.second]
        race.second.close_account()


def _can(lane: Lane, queued_job: QueuedJob) -> bool:
    """Whether an executor can do what another one was asked to, with the same shots, and has not failed on it."""
    executor, first = lane.executor, queued_job.executor
    same_shots = first is not None and executor.shots == first.shots
    job, new = queued_job.job, executor not in queued_job.tried
    return same_shots and new and lane.objection(job.circuit) is None and is_one_batch(executor, job)
