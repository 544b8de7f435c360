"""Tickets that run together, and those of one depth that wait for an executor."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pennylane_qexec.engine.carrier import Carrier
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import JobState, Work


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

    def start(self) -> None:
        """Note that it runs."""
        now = time.time()
        for ticket in self.tickets:
            ticket.state = JobState.RUNNING
            ticket.started = now
            ticket.leave = self.leave

    def leave(self, ticket: Ticket) -> None:
        """A ticket is not wanted any more; the batch is given up when none of it is."""
        self.gone.add(ticket)
        if len(self.gone) == len(self.tickets) and self.task is not None:
            self.task.cancel()


class Level:
    """What waits for an executor and runs on it at one depth of nested calls. Used in the engine's thread.

    The levels of a lane have separate threads and share no batch, since what runs at one depth may be waiting for what
    waits at the next.

    Args:
        executor: the lane's.
        depth: how many batches the callers run inside of.

    Attributes:
        waiting: the tickets that wait, in order.
        arrived: when the last of them came, on the monotonic clock.
        running: the batches that run.
        carrier: carries them.
    """

    def __init__(self, executor: Executor, depth: int) -> None:
        self._executor = executor
        self.depth = depth
        self.waiting: deque[Ticket] = deque()
        self.arrived = 0.0
        self._gathered = 0
        self.running: set[Batch] = set()
        self.carrier = Carrier(executor, depth)

    def admit(self, tickets: Sequence[Ticket], arrived: float) -> None:
        """Let tickets wait here, the last of which came at the time given."""
        for ticket in tickets:
            circuit = self._executor.with_shots(ticket.job.circuit)
            if circuit is not ticket.job.circuit:
                ticket.job = replace(ticket.job, circuit=circuit)
            ticket.leave = self._drop
            ticket.executor = self._executor
        self.waiting.extend(tickets)
        self.arrived = arrived
        self._gathered = len(self.waiting)
        self._executor.meter.add(len(tickets))

    def evacuate(self) -> list[Ticket]:
        """Take out everything that waits."""
        waiting = list(self.waiting)
        self.waiting.clear()
        self._executor.meter.add(-len(waiting))
        return waiting

    def take(self, number: int, probe: bool) -> Batch:
        """The next batch: tickets from the front that may run together, as many as the limits allow.

        Args:
            number: of the batch.
            probe: whether it finds out if the executor is up again: one circuit is enough for that.
        """
        first = self.waiting.popleft()
        tickets, shots = [first], first.job.shots
        most = 1 if first.alone or probe else self._batch_size(first)
        while self.waiting and len(tickets) < most and self.waiting[0].fits(first.job.call):
            shots += self.waiting[0].job.shots
            if self._executor.max_shots is not None and shots > self._executor.max_shots:
                break
            tickets.append(self.waiting.popleft())
        return Batch(number, tickets)

    def _batch_size(self, first: Ticket) -> int:
        """As many as wait; where batches share the work, two for each hand, so that all end about together.

        The two are equal parts of what was there when the last tickets came: a batch has costs of its own.
        """
        waiting = len(self.waiting) + 1
        size = self._executor.max_circuits or waiting
        hands = self.carrier.hands_for(first.job.circuit, waiting)
        return min(size, math.ceil(self._gathered / (2 * hands))) if hands > 1 else size

    def _drop(self, ticket: Ticket) -> None:
        self.waiting.remove(ticket)
        self._executor.meter.add(-1)
