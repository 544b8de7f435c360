"""One executor's lane: gathers circuits into batches, keeps the executor's limits, watches its health."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pennylane.tape import QuantumScript

from pennylane_qexec.engine.carrier import Carrier
from pennylane_qexec.engine.health import Health
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.engine.worker import Ran
from pennylane_qexec.executors.base import Executor, QueuedExecutor
from pennylane_qexec.job import JobState, Work


class Post(Protocol):
    """What a lane tells the engine."""

    def finished(self, lane: Lane, batch: Batch, ran: Ran) -> None: ...
    def failed(self, lane: Lane, batch: Batch, error: BaseException) -> None: ...
    def next_batch_number(self) -> int: ...


@dataclass(eq=False)
class Batch:
    """Tickets that run together.

    Attributes:
        number: its number, for the history.
        tickets: who is in it, results in this order.
        gone: those of them that nobody waits for any more.
        task: the task that carries it.
    """

    number: int
    tickets: list[Ticket]
    gone: set[Ticket] = field(default_factory=set)
    task: asyncio.Task[None] | None = None

    @property
    def work(self) -> Work:
        """What the executor is given."""
        return Work.of([ticket.job for ticket in self.tickets])


class Lane:
    """The queue of one executor. All methods run in the engine's thread.

    Args:
        executor: whose lane it is.
        common: circuits that wait for whoever is free, shared with the other lanes.
        post: the engine.
        window: the cluster's batching window, in seconds.
        lanes: how many lanes the cluster has.
    """

    def __init__(self, executor: Executor, common: deque[Ticket], post: Post, window: float, lanes: int) -> None:
        self.executor = executor
        self.health = Health()
        self._carrier = Carrier(executor)
        self._waiting: deque[Ticket] = deque()
        self._common = common
        self._post = post
        self._window = executor.batch_window or window
        self._lanes = lanes
        self._batches: set[Batch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def objection(self, circuit: QuantumScript) -> str | None:
        """Why the executor, if it is up, cannot take a circuit: the end of a sentence that begins with its name."""
        executor = self.executor
        if executor.max_shots is not None and (circuit.shots.total_shots or 0) > executor.max_shots:
            return f"takes at most {executor.max_shots} shots"
        reason = executor.rejects(circuit)
        if reason is None and not executor.status().online:
            return "is offline"
        return reason

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Let tickets wait for this executor."""
        self._admit(tickets)
        self.pump()

    def pump(self) -> None:
        """Start as many batches as may be started now, and see to it that the next ones will be."""
        while len(self._batches) < (1 if self.health.down else self._carrier.capacity):
            pause = self.health.pause(time.monotonic())
            if not pause:
                self._adopt()
            if not self._waiting and not (pause and self._common):
                return
            delay = max(pause, self._window_left())
            if delay > 0:
                self._wake_in(delay)
                return
            self._start(self._take())

    def evacuate(self) -> list[Ticket]:
        """Take out everything that waits."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.executor.meter.add(-len(waiting))
        return waiting

    def abandon(self) -> list[asyncio.Task[None]]:
        """Give up everything, waiting and running; returns the tasks that end because of it."""
        self.evacuate()
        if self._timer is not None:
            self._timer.cancel()
        tasks = [batch.task for batch in self._batches if batch.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def close(self) -> None:
        """End the lane's threads when they have finished what they do."""
        self._carrier.close()

    def _admit(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            ticket.leave = self._drop
            ticket.executor = self.executor
        self._waiting.extend(tickets)
        self.executor.meter.add(len(tickets))

    def _drop(self, ticket: Ticket) -> None:
        self._waiting.remove(ticket)
        self.executor.meter.add(-1)

    def _adopt(self) -> None:
        """Pull from the common queue what fits into the next batch, if nothing of one's own waits."""
        if self._waiting or not self._common:
            return
        fitting = (
            ticket
            for ticket in self._common
            if self.executor not in ticket.tried and self.objection(ticket.job.circuit) is None
        )
        chosen = list(itertools.islice(fitting, self._pull()))
        for ticket in chosen:
            self._common.remove(ticket)
        self._admit(chosen)

    def _pull(self) -> int:
        """How many circuits to pull at a time: one, or for a backend with a queue a fair part of them."""
        if not isinstance(self.executor, QueuedExecutor):
            return 1
        fair = math.ceil(len(self._common) / self._lanes)
        return min(fair, self.executor.max_circuits or fair)

    def _window_left(self) -> float:
        if not self._window or not self._waiting or self._is_full():
            return 0.0
        return max(0.0, self._waiting[0].submitted + self._window - time.time())

    def _is_full(self) -> bool:
        limit, shots = self.executor.max_circuits, self.executor.max_shots
        enough = limit is not None and len(self._waiting) >= limit
        return enough or (shots is not None and sum(ticket.job.shots for ticket in self._waiting) >= shots)

    def _wake_in(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, self.pump)

    def _take(self) -> Batch:
        """The next batch: tickets from the front that may run together, as many as the limits allow."""
        first = self._waiting.popleft()
        tickets, shots = [first], first.job.shots
        most = 1 if first.alone or self.health.down else self._batch_size(first)
        while self._waiting and len(tickets) < most and self._waiting[0].fits(first.job.call):
            shots += self._waiting[0].job.shots
            if self.executor.max_shots is not None and shots > self.executor.max_shots:
                break
            tickets.append(self._waiting.popleft())
        return Batch(self._post.next_batch_number(), tickets)

    def _batch_size(self, first: Ticket) -> int:
        """As many as wait; where batches share the work, two for each hand, so that all end about together."""
        waiting = len(self._waiting) + 1
        size = self.executor.max_circuits or waiting
        hands = self._carrier.hands_for(first.job.circuit, waiting)
        return min(size, math.ceil(waiting / (2 * hands))) if hands > 1 else size

    def _start(self, batch: Batch) -> None:
        now = time.time()
        for ticket in batch.tickets:
            ticket.state = JobState.RUNNING
            ticket.started = now
            ticket.leave = lambda ticket: self._leave(batch, ticket)
        self._batches.add(batch)
        batch.task = asyncio.get_running_loop().create_task(self._carry(batch))
        batch.task.add_done_callback(_raise)

    def _leave(self, batch: Batch, ticket: Ticket) -> None:
        """A ticket that runs is not wanted any more; the batch is given up when none of it is."""
        batch.gone.add(ticket)
        if len(batch.gone) == len(batch.tickets) and batch.task is not None:
            batch.task.cancel()

    async def _carry(self, batch: Batch) -> None:
        try:
            ran = await self._carrier.carry(batch.work, batch.tickets[0].context.copy())
        except asyncio.CancelledError:
            self._end(batch)
        except Exception as error:
            self._end(batch)
            self._post.failed(self, batch, error)
        else:
            self._end(batch)
            self.executor.meter.ran(len(batch.tickets), sum(ticket.job.shots for ticket in batch.tickets), ran.seconds)
            self._post.finished(self, batch, ran)
        self.pump()

    def _end(self, batch: Batch) -> None:
        self._batches.discard(batch)
        self.executor.meter.add(-len(batch.tickets))


def _raise(task: asyncio.Task[None]) -> None:
    """Let the loop know at once what went wrong in a task."""
    if not task.cancelled():
        task.result()
