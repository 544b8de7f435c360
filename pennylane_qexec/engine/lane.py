"""One executor's lane: gathers circuits into batches, keeps the executor's limits, watches its health."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Sequence
from typing import Protocol

from pennylane.tape import QuantumScript

from pennylane_qexec.engine.batch import Batch, Level
from pennylane_qexec.engine.carrier import Spreader
from pennylane_qexec.engine.common import CommonQueue
from pennylane_qexec.engine.health import FIRST_PAUSE, Health
from pennylane_qexec.engine.sending import Sending
from pennylane_qexec.engine.spending import counted, shots_in
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.engine.venue import capacity_of
from pennylane_qexec.engine.window import Window
from pennylane_qexec.engine.withdrawals import Withdrawals
from pennylane_qexec.engine.worker import Ran
from pennylane_qexec.executors import objection_to_shots
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.job import Usage
from pennylane_qexec.scrubbing import know_named, without_secrets


class Post(Protocol):
    """What a lane tells the engine."""

    def finished(self, lane: Lane, batch: Batch, ran: Ran) -> None: ...
    def failed(self, lane: Lane, batch: Batch, error: BaseException) -> None: ...
    def started(self, lane: Lane, batch: Batch) -> None: ...
    def used(self, usages: Sequence[Usage]) -> None: ...
    def next_batch_number(self) -> int: ...
    def share_out(self) -> None: ...
    @property
    def withdrawals(self) -> Withdrawals: ...


class Lane:
    """The queue of one executor. All methods but ``objection`` and ``ready`` run in the engine's thread.

    Args:
        executor: whose lane it is.
        common: circuits that wait for whoever is free, shared with the other lanes.
        post: the engine.
        window: the cluster's batching window, in seconds.
        lanes: how many lanes the cluster has.
    """

    def __init__(self, executor: Executor, common: CommonQueue, post: Post, window: float, lanes: int) -> None:
        self.executor = executor
        self.health = Health()
        self._capacity = capacity_of(executor)
        self._levels = {0: Level(executor, 0, post.withdrawals)}
        self._common = common
        self._post = post
        self._window = Window(executor, executor.batch_window or window)
        self._lanes = lanes
        self._timer: asyncio.TimerHandle | None = None

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why the executor, if it is up, cannot take a circuit: the end of a sentence that begins with its name."""
        executor = self.executor
        reason = lasting_objection(executor, circuit)
        if reason is None and not executor.status().online:
            return "is offline"
        return reason

    def ready(self, circuits: Sequence[QuantumScript]) -> None:
        """Have threads started for circuits that come."""
        self._levels[0].carrier.ready(circuits)

    def put(self, tickets: Sequence[Ticket], first: bool = False) -> None:
        """Let tickets wait for this executor, and start what may be started.

        Args:
            tickets: the tickets.
            first: whether before those that wait already.
        """
        self.admit(tickets, first)
        self.pump()

    def admit(self, tickets: Sequence[Ticket], first: bool = False) -> None:
        """Let tickets wait for this executor, and start nothing yet: more may come, for the same batch."""
        for depth, group in itertools.groupby(tickets, key=lambda ticket: ticket.depth):
            self._level(depth).admit(list(group), time.monotonic(), first)

    def pump(self) -> None:
        """Start as many batches as may be started now, and see to it that the next ones will be.

        Nested calls go first: batches that run may be waiting for them.
        """
        for depth in list(self._common.depths):
            self._level(depth)
        delay = min(self._pump(self._levels[depth]) for depth in sorted(self._levels, reverse=True))
        if delay < math.inf:
            self._wake_in(delay)

    @property
    def awaited(self) -> bool:
        """Whether circuits wait for this executor."""
        return any(level.waiting for level in self._levels.values())

    @property
    def free(self) -> bool:
        """Whether it would start a circuit at once, for which no other one has to wait."""
        running = sum(len(level.running) for level in self._levels.values())
        return not (self.awaited or self._common or self.health.down) and running < self._capacity

    def is_full(self, tickets: Sequence[Ticket]) -> bool:
        """Whether a batch of these tickets has no room for more."""
        return self._window.is_full(tickets)

    def evacuate(self) -> list[Ticket]:
        """Take out everything that waits."""
        return [ticket for level in self._levels.values() for ticket in level.evacuate()]

    def abandon(self) -> list[asyncio.Task[None]]:
        """Give up everything, waiting and running; returns the tasks that end because of it."""
        self.evacuate()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [batch.task for level in self._levels.values() for batch in level.running if batch.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    async def take_up(self, job_id: str, sent: Sending) -> Ran:
        """Wait for a job of a backend with a queue that another process has sent; see :class:`Carrier`."""
        return await self._levels[0].carrier.take_up(job_id, sent)

    async def found(self, label: str) -> str | None:
        """The backend's id of the job that was sent with a label."""
        return await self._levels[0].carrier.found(label)

    def close(self) -> None:
        """End the lane's threads when they have finished what they do."""
        for level in self._levels.values():
            level.carrier.close()

    def _level(self, depth: int) -> Level:
        if depth not in self._levels:
            self._levels[depth] = Level(self.executor, depth, self._post.withdrawals)
        return self._levels[depth]

    def _running(self, level: Level) -> int:
        """How many batches run that could keep those of a level waiting.

        Batches of outer calls do not count. They may be waiting for this level, and would wait for ever.
        """
        return sum(len(other.running) for other in self._levels.values() if other.depth >= level.depth)

    def _pump(self, level: Level) -> float:
        """Start batches of one level; returns the seconds after which to look again, without limit if for nothing."""
        took = False
        while (running := self._running(level)) < (1 if self.health.down else self._capacity):
            adoptable = [] if level.waiting or took else self._adoptable(level)
            tickets, arrived = (adoptable, self._common.arrived) if adoptable else (level.waiting, level.arrived)
            if not tickets:
                return self._until_asked_again(level)
            pause = self.health.pause(time.monotonic())
            delay = max(pause, self._window.left(tickets, arrived, idle=not running))
            if delay > 0:
                return delay
            took = self._adopt(level, adoptable)
            self._start(level)
        return math.inf

    def _until_asked_again(self, level: Level) -> float:
        """Seconds after which to ask again whether the executor can take what waits for whoever is free.

        Nobody says so when a backend is online again, or when a cluster inside can take circuits again.
        """
        return FIRST_PAUSE if self._common.of(level.depth) else math.inf

    def _adoptable(self, level: Level) -> list[Ticket]:
        """What waits in the common queue that this executor can run, as far as the next batch may need it."""
        common = self._common.of(level.depth)
        most = len(common) if self._gathers else 1
        fitting = (
            ticket
            for ticket in common
            if self.executor not in ticket.tried
            and self._may_take(ticket)
            and self.objection(ticket.job.circuit) is None
        )
        return list(itertools.islice(fitting, min(most, self.executor.max_circuits or most)))

    def _may_take(self, ticket: Ticket) -> bool:
        """Whether a ticket goes with none that another executor has taken, unless that one cannot take more of them."""
        other: Lane | None = None if ticket.job.affinity is None else ticket.job.affinity.lane
        return (
            other is None
            or other is self
            or other.health.down
            or other.executor in ticket.tried
            or other.objection(ticket.job.circuit) is not None
        )

    def _adopt(self, level: Level, adoptable: Sequence[Ticket]) -> bool:
        """Pull from the common queue: a full batch if there is one, else a fair part of what waits.

        Returns:
            Whether it is the others' turn now: a backend with a queue has always room, and would take everything.
        """
        if not adoptable:
            return False
        fair = math.ceil(len(self._common.of(level.depth)) / self._lanes)
        chosen = adoptable if self._window.seconds and self._window.is_full(adoptable) else adoptable[:fair]
        for ticket in chosen:
            self._common.remove(ticket)
            if ticket.job.affinity is not None:
                ticket.job.affinity.lane = self
        level.admit(chosen, self._common.arrived)
        if self._lanes > 1 and self._gathers:
            asyncio.get_running_loop().call_soon(self._post.share_out)
            return True
        return False

    @property
    def _gathers(self) -> bool:
        """Whether the executor takes several circuits at a time from the common queue."""
        return bool(self._window.seconds) or isinstance(self.executor, QueuedExecutor)

    def _wake_in(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self.pump)

    def _start(self, level: Level) -> None:
        batch = level.take(self._post.next_batch_number(), probe=self.health.down)
        if batch is None:
            return
        batch.start()
        level.running.add(batch)
        batch.task = asyncio.get_running_loop().create_task(self._carry(level, batch))
        batch.task.add_done_callback(lambda task: self._over(level, batch, task))
        self._post.started(self, batch)

    async def _carry(self, level: Level, batch: Batch) -> None:
        batch.sending.reached = True
        try:
            context = batch.context(isinstance(self.executor, Spreader))
            ran = await level.carrier.carry(batch.work, context, batch.sending)
        except Exception as raised:
            # Executors of users have options of their own, of which nobody has heard before.
            know_named({name: value for name, value in vars(self.executor).items() if isinstance(value, str)})
            error = without_secrets(raised)  # here it leaves the executor
            self._end(level, batch)
            self._post.used(batch.settle_failed(self.executor, error))
            self._post.failed(self, batch, error)
        else:
            self._end(level, batch)
            ran = counted(self.executor, batch.jobs, ran)
            batch.settle(self.executor, ran.usages)
            self._post.used(ran.usages)
            self.executor.meter.ran(len(batch.tickets), shots_in(ran.usages), ran.seconds)
            self._post.finished(self, batch, ran)
        self.pump()

    def _over(self, level: Level, batch: Batch, task: asyncio.Task[None]) -> None:
        """The task of a batch is over: perhaps cancelled, perhaps before it began; if it failed, the loop is told."""
        if not task.cancelled():
            task.result()
            return
        self._end(level, batch)
        self._post.used(batch.settle_failed(self.executor))
        self.pump()

    def _end(self, level: Level, batch: Batch) -> None:
        level.running.discard(batch)
        self.executor.meter.add(-len(batch.tickets))


def lasting_objection(executor: Executor, circuit: QuantumScript) -> str | None:
    """Why an executor cannot take a circuit, whether it is up or not."""
    return objection_to_shots(executor, circuit) or executor.rejects(executor.with_shots(circuit))
