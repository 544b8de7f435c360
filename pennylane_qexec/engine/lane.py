"""One executor's lane: gathers jobs into batches, keeps the executor's limits, watches its health.

An executor is set aside after failures, and probed again after growing pauses. Jobs that any executor may run wait in a
queue that the lanes share.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Protocol

from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock, Timer
from pennylane_qexec.engine.accounting import shots_of
from pennylane_qexec.engine.batch import Batch, Level
from pennylane_qexec.engine.common_queue import CommonQueue
from pennylane_qexec.engine.placement import capacity_of
from pennylane_qexec.engine.queued_jobs import QueuedJob, circuits_in
from pennylane_qexec.engine.remote_jobs import Cancellations
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.executors import DelegatingExecutor, Executor, QueuedExecutor
from pennylane_qexec.executors.validation import present_objection
from pennylane_qexec.job import Usage
from pennylane_qexec.redaction import know_named, without_secrets

logger = logging.getLogger("pennylane_qexec")


FAILURES = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Health:
    """Counts failures in a row. Times are seconds of the monotonic clock, those in messages UTC."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.failures = 0
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0
        self._down_since: datetime | None = None

    @property
    def down(self) -> bool:
        """Whether the executor is set aside."""
        return self._down_since is not None

    def may_run(self, now: float) -> bool:
        """Whether to send something: the executor is up, or it is time for a probe."""
        return not self.down or now >= self._retry_at

    def pause(self, now: float) -> float:
        """Seconds until the next probe; 0 if something may be sent now."""
        return max(0.0, self._retry_at - now) if self.down else 0.0

    def succeeded(self) -> None:
        """Something ran: the executor is up."""
        self.failures = 0
        self._pause = FIRST_PAUSE
        self._down_since = None

    def failed(self, now: float, at_once: bool = False, pause: float = 0.0) -> None:
        """Something failed, and it was not the circuit's fault.

        Args:
            now: when.
            at_once: whether one failure is enough to set the executor aside.
            pause: seconds that it asks to be left alone, at least.
        """
        self.failures += 1
        if at_once or self.down or self.failures >= FAILURES:
            self._down_since = self._down_since or datetime.fromtimestamp(self._clock.time(), UTC)
            self._retry_at = now + max(self._pause, pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def reason(self, now: float) -> str:
        """Why nothing is sent, as the end of a sentence that begins with the executor's name."""
        since = f"{self._down_since:%H:%M:%S} UTC" if self._down_since else "now"
        failures = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        return f"is down since {since} ({failures}, next probe in {self.pause(now):.0f} s)"


QUIET = 0.005
"""Seconds without a new circuit after which nothing more is expected while somebody waits: long against the pauses
between threads that call at the same time, short against what a person or a backend notices."""

GATHERING = 0.1
"""Seconds that a batch for a backend with a queue waits at most for more circuits while they keep coming, if no window
was given."""

_LOOK = 2e-5  # seconds between looks for each job that is looked at, so that looking takes little of the time


class Window:
    """The batching window of one executor.

    Args:
        executor: whose limits say when a batch is full.
        seconds: how long a batch waits for more circuits.
        clock: the engine's.
    """

    def __init__(self, executor: Executor, seconds: float, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        # A job at a backend with a queue costs far more than such a pause: a loop of calls becomes a few big ones.
        self._of_its_own = not seconds and isinstance(executor, QueuedExecutor)
        self.seconds = GATHERING if self._of_its_own else seconds

    def is_full(self, queued_jobs: Sequence[QueuedJob], circuits: int) -> bool:
        """Whether a batch of these jobs, which are so many circuits, has no room for more."""
        limit, shots = self._executor.max_circuits, self._executor.max_shots
        enough = limit is not None and circuits >= limit
        return enough or (shots is not None and sum(shots_of(self._executor, one.job) for one in queued_jobs) >= shots)

    def left(self, queued_jobs: Sequence[QueuedJob], circuits: int, arrived: float, idle: bool) -> float:
        """Seconds after which to ask again whether a batch leaves; 0 if it leaves now.

        Args:
            queued_jobs: those that wait, the first for longest.
            circuits: how many circuits they are.
            arrived: when the last one came, on the monotonic clock.
            idle: whether nothing runs on the executor, which then need not wait while somebody else does.
        """
        if not self.seconds or self.is_full(queued_jobs, circuits):
            return 0.0
        now = self._clock.monotonic()
        left = queued_jobs[0].since + self.seconds - now
        may_leave_early = idle or self._of_its_own
        return max(0.0, min(left, self._early(queued_jobs, arrived - now)) if may_leave_early else left)

    def _early(self, queued_jobs: Sequence[QueuedJob], age: float) -> float:
        quiet = age + min(QUIET, self.seconds)
        if quiet > 0:
            return quiet
        return (
            0.0
            if self._of_its_own or any(queued_job.asked for queued_job in queued_jobs)
            else QUIET + _LOOK * len(queued_jobs)
        )


class LaneEvents(Protocol):
    """What a lane tells the engine."""

    def finished(self, lane: Lane, batch: Batch, ran: BatchResult) -> None: ...
    def failed(self, lane: Lane, batch: Batch, error: BaseException) -> None: ...
    def started(self, lane: Lane, batch: Batch) -> None: ...
    def used(self, usages: Sequence[Usage]) -> None: ...
    def next_batch_number(self) -> int: ...
    def share_out(self) -> None: ...
    @property
    def cancellations(self) -> Cancellations: ...
    @property
    def clock(self) -> Clock: ...


class Lane:
    """The queue of one executor. All methods but ``objection`` run in the engine's thread.

    Args:
        executor: whose lane it is.
        common: circuits that wait for whoever is free, shared with the other lanes.
        post: the engine.
        window: the cluster's batching window, in seconds.
        lanes: how many lanes the cluster has.

    Attributes:
        health: whether the executor is up.
        carrier: carries the batches of those who run inside of none.
        window: says when a batch leaves.
    """

    def __init__(self, executor: Executor, common: CommonQueue, post: LaneEvents, window: float, lanes: int) -> None:
        self.executor = executor
        self._clock = post.clock
        self.health = Health(post.clock)
        self._capacity = capacity_of(executor)
        self._levels = {0: Level(executor, 0, post.cancellations, post.clock)}
        self.carrier = self._levels[0].carrier
        self._common = common
        self._post = post
        self.window = Window(executor, executor.batch_window or window, post.clock)
        self._lanes = lanes
        self._timer: Timer | None = None

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why the executor, if it is up, cannot take a circuit: the end of a sentence that begins with its name.

        There is no objection if it raises an error in place of an answer: what runs there will show.
        """
        try:
            return present_objection(self.executor, circuit)
        except Exception as error:
            name, said = self.executor.name, without_secrets(error)
            logger.warning("executor %r does not say whether it takes a circuit: %r", name, said)
            return None

    def put(self, queued_jobs: Sequence[QueuedJob], first: bool = False) -> None:
        """Let jobs wait for this executor, and start what may be started.

        Args:
            queued_jobs: the jobs.
            first: whether before those that wait already.
        """
        self.admit(queued_jobs, first)
        self.pump()

    def admit(self, queued_jobs: Sequence[QueuedJob], first: bool = False) -> None:
        """Let jobs wait for this executor, and start nothing yet: more may come, for the same batch."""
        for depth, group in itertools.groupby(queued_jobs, key=lambda queued_job: queued_job.depth):
            self._level(depth).admit(list(group), self._clock.monotonic(), first)

    def pump(self) -> None:
        """Start as many batches as may be started now, and see to it that the next ones will be.

        Nested calls go first: batches that run may be waiting for them.
        """
        for depth in self._common.by_depth:
            self._level(depth)
        delay = min(map(self._pump, self._levels.values()))
        if delay < math.inf:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._clock.call_later(delay, self.pump)

    @property
    def awaited(self) -> bool:
        """Whether circuits wait for this executor."""
        return any(level.waiting for level in self._levels.values())

    @property
    def free(self) -> bool:
        """Whether it would start a circuit at once, for which no other one has to wait."""
        running = sum(len(level.running) for level in self._levels.values())
        return not (self.awaited or self._common or self.health.down) and running < self._capacity

    def evacuate(self) -> list[QueuedJob]:
        """Take out everything that waits."""
        return [queued_job for level in self._levels.values() for queued_job in level.evacuate()]

    def abandon(self) -> list[asyncio.Future[BatchResult]]:
        """Give up everything, waiting and running; returns the futures that end because of it."""
        self.evacuate()
        if self._timer is not None:
            self._timer.cancel()
        batches = [batch for level in self._levels.values() for batch in level.running]
        carried = [batch.carried for batch in batches if batch.carried is not None]
        for future in carried:
            future.cancel()
        return carried

    def close(self) -> None:
        """End the lane's threads when they have finished what they do."""
        for level in self._levels.values():
            level.carrier.close()

    def _level(self, depth: int) -> Level:
        if depth not in self._levels:
            level = Level(self.executor, depth, self._post.cancellations, self._clock)
            self._levels = dict(sorted({**self._levels, depth: level}.items(), reverse=True))  # the deepest first
        return self._levels[depth]

    def _running(self, level: Level) -> int:
        """How many batches run that could keep those of a level waiting.

        Batches of outer calls do not count. They may be waiting for this level, and would wait for ever.
        """
        return sum(len(other.running) for other in self._levels.values() if other.depth >= level.depth)

    def _pump(self, level: Level) -> float:
        """Start batches of one level; returns the seconds after which to look again, without limit if for nothing."""
        took = False
        while level.waiting or self._common.of(level.depth):
            running = self._running(level)
            if running >= (1 if self.health.down else self._capacity):
                break
            adoptable = [] if level.waiting or took else self._adoptable(level)
            if adoptable:
                waiting = self.window.left(adoptable, circuits_in(adoptable), self._common.arrived, idle=not running)
            elif level.waiting:
                waiting = self.window.left(level.waiting, level.circuits, level.arrived, idle=not running)
            else:
                return FIRST_PAUSE  # nobody says so when a backend, or a cluster inside, can take them again
            delay = max(self.health.pause(self._clock.monotonic()), waiting)
            if delay > 0:
                return delay
            took = self._adopt(level, adoptable)
            self._start(level)
        return math.inf

    def _adoptable(self, level: Level) -> list[QueuedJob]:
        """What waits in the common queue that this executor can run, as far as the next batch may need it."""
        most = (self.executor.max_circuits or math.inf) if self._gathers else 1
        found: list[QueuedJob] = []
        for queued_job in self._common.of(level.depth):
            if self._fits(queued_job):
                found.append(queued_job)
                most -= queued_job.job.rows
            if most <= 0:
                break
        return found

    def _fits(self, queued_job: QueuedJob) -> bool:
        """Whether a job that waits in the common queue may run here."""
        if self.executor in queued_job.tried or not self._may_take(queued_job):
            return False
        return self.objection(queued_job.job.circuit) is None

    def _may_take(self, queued_job: QueuedJob) -> bool:
        """Whether a job goes with none that another executor has taken, unless that one cannot take more of them."""
        other: Lane | None = None if queued_job.job.affinity is None else queued_job.job.affinity.lane
        return (
            other is None
            or other is self
            or other.health.down
            or other.executor in queued_job.tried
            or other.objection(queued_job.job.circuit) is not None
        )

    def _adopt(self, level: Level, adoptable: Sequence[QueuedJob]) -> bool:
        """Pull from the common queue: a full batch if there is one, else a fair part of what waits.

        Returns:
            Whether it is the others' turn now: a backend with a queue has always room, and would take everything.
        """
        if not adoptable:
            return False
        circuits, chosen = circuits_in(adoptable), []
        full = self.window.seconds and self.window.is_full(adoptable, circuits)
        room = circuits if full else math.ceil(self._common.circuits[level.depth] / self._lanes)
        for queued_job in adoptable:
            if room <= 0:
                break
            chosen.append(self._common.take_out(queued_job, room))
            room -= chosen[-1].job.rows
            if queued_job.job.affinity is not None:
                queued_job.job.affinity.lane = self
        level.admit(chosen, self._common.arrived)
        if self._lanes > 1 and self._gathers:
            asyncio.get_running_loop().call_soon(self._post.share_out)
            return True
        return False

    @property
    def _gathers(self) -> bool:
        """Whether the executor takes several circuits at a time from the common queue."""
        return bool(self.window.seconds) or isinstance(self.executor, QueuedExecutor)

    def _start(self, level: Level) -> None:
        batch = level.take(self._post.next_batch_number(), probe=self.health.down)
        if batch is None:
            return
        batch.start()
        level.running.add(batch)
        try:
            context = batch.context(isinstance(self.executor, DelegatingExecutor))
            batch.carried = level.carrier.carry(batch.work(self.executor), context, batch.sending)
        except Exception as error:  # it cannot be sent there
            batch.carried = asyncio.get_running_loop().create_future()
            batch.carried.set_exception(error)
        batch.carried.add_done_callback(partial(self._over, level, batch))
        self._post.started(self, batch)

    def _over(self, level: Level, batch: Batch, carried: asyncio.Future[BatchResult]) -> None:
        """A batch has come to its end: it has run or failed, or was given up, perhaps before it began."""
        level.running.discard(batch)
        self.executor.meter.add(-batch.rows)
        if carried.cancelled():
            self._post.used(batch.settle_failed(self.executor))
        elif isinstance(raised := carried.exception(), Exception):
            # Executors of users have options of their own, of which nobody has heard before.
            know_named({name: value for name, value in vars(self.executor).items() if isinstance(value, str)})
            error = without_secrets(raised)  # here it leaves the executor
            self._post.used(batch.settle_failed(self.executor, error))
            self._post.failed(self, batch, error)
        else:
            ran = batch.counted(carried.result())
            batch.settle(self.executor, ran.usages)
            self._post.used(ran.usages)
            shots = sum(map(attrgetter("shots"), ran.usages))
            self.executor.meter.ran(batch.rows, shots, ran.seconds)
            self._post.finished(self, batch, ran)
        self.pump()
