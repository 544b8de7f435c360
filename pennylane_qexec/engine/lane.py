"""One executor's lane: gathers circuits into batches, keeps the executor's limits, carries the batches."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from pennylane_qexec.engine import crews
from pennylane_qexec.engine.health import Health
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.executors.base import Executor, QueuedExecutor
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.job import Job, JobState, Work

HEAVY = 5e7
"""Numbers to compute (see :meth:`Executor.effort`) from which a batch is worth sending to worker processes."""

_IN_FLIGHT = 1000
_QUEUE_HANDS = 4


class Post(Protocol):
    """What a lane tells the engine."""

    def finished(self, lane: Lane, batch: Batch, ran: crews.Ran) -> None: ...
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
        jobs = [ticket.job for ticket in self.tickets]
        vectors = tuple(job.vector for job in jobs) if jobs[0].vector is not None else ()
        return Work(tuple(job.circuit for job in jobs), jobs[0].call, vectors)


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
        self._waiting: deque[Ticket] = deque()
        self._common = common
        self._post = post
        self._window = executor.batch_window or window
        self._lanes = lanes
        self._batches: set[Batch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._capacity = executor.workers or _default_capacity(executor)
        hands = _QUEUE_HANDS if isinstance(executor, QueuedExecutor) else self._capacity
        self._threads = crews.ThreadCrew(hands, f"qexec-{executor.name}")

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Let tickets wait for this executor."""
        self._admit(tickets)
        self.pump()

    def _admit(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            ticket.leave = self._drop
            ticket.executor = self.executor
        self._waiting.extend(tickets)
        self.executor.meter.add(len(tickets))

    def _drop(self, ticket: Ticket) -> None:
        self._waiting.remove(ticket)
        self.executor.meter.add(-1)

    def pump(self) -> None:
        """Start as many batches as may be started now, and see to it that the next ones will be."""
        while len(self._batches) < (1 if self.health.down else self._capacity):
            self._adopt()
            if not self._waiting:
                return
            delay = max(self.health.pause(time.monotonic()), self._window_left())
            if delay > 0:
                self._wake_in(delay)
                return
            self._start(self._take())

    def abandon(self) -> None:
        """Give up everything, waiting and running."""
        self.evacuate()
        if self._timer is not None:
            self._timer.cancel()
        for task in self.running():
            task.cancel()

    def running(self) -> list[asyncio.Task[None]]:
        """The tasks of the batches that run."""
        return [batch.task for batch in self._batches if batch.task is not None]

    def evacuate(self) -> list[Ticket]:
        """Take out everything that waits."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.executor.meter.add(-len(waiting))
        return waiting

    def close(self) -> None:
        """End the lane's threads when they have finished what they do."""
        self._threads.close()

    def _adopt(self) -> None:
        """Pull from the common queue what fits into the next batch, if nothing of one's own waits."""
        if self._waiting or not self._common or not self.health.may_run(time.monotonic()):
            return
        fitting = (t for t in self._common if self.executor not in t.tried and self._accepts(t))
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

    def _accepts(self, ticket: Ticket) -> bool:
        return self.executor.rejects(ticket.job.circuit) is None

    def _window_left(self) -> float:
        if not self._window or self._is_full():
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
        most = 1 if first.alone or self.health.down else self._batch_size()
        while self._waiting and len(tickets) < most and self._waiting[0].fits(first.job.call):
            shots += self._waiting[0].job.shots
            if self.executor.max_shots is not None and shots > self.executor.max_shots:
                break
            tickets.append(self._waiting.popleft())
        return Batch(self._post.next_batch_number(), tickets)

    def _batch_size(self) -> int:
        waiting = len(self._waiting) + 1
        size = self.executor.max_circuits or waiting
        if self._capacity > 1 and not isinstance(self.executor, QueuedExecutor):
            size = min(size, math.ceil(waiting / (2 * self._capacity)))
        return max(1, size)

    def _start(self, batch: Batch) -> None:
        now = time.time()
        for ticket in batch.tickets:
            ticket.state = JobState.RUNNING
            ticket.started = now
            ticket.leave = lambda ticket: self._leave(batch, ticket)
        self._batches.add(batch)
        batch.task = asyncio.get_running_loop().create_task(self._carry(batch))

    def _leave(self, batch: Batch, ticket: Ticket) -> None:
        """A ticket that runs is not wanted any more; the batch is given up when none of it is."""
        batch.gone.add(ticket)
        if len(batch.gone) == len(batch.tickets) and batch.task is not None:
            batch.task.cancel()

    async def _carry(self, batch: Batch) -> None:
        start = time.perf_counter()
        try:
            ran = await self._run(batch)
            if len(ran.results) != len(batch.tickets):
                raise RuntimeError(f"{len(ran.results)} results were returned for {len(batch.tickets)} circuits")
        except asyncio.CancelledError:
            self._end(batch)
        except Exception as error:
            self._end(batch)
            self._post.failed(self, batch, error)
        else:
            self._end(batch)
            self.executor.meter.ran(
                len(batch.tickets), sum(t.job.shots for t in batch.tickets), time.perf_counter() - start
            )
            self._post.finished(self, batch, ran)
        self.pump()

    def _end(self, batch: Batch) -> None:
        self._batches.discard(batch)
        self.executor.meter.add(-len(batch.tickets))

    async def _run(self, batch: Batch) -> crews.Ran:
        work = batch.work
        executor = self.executor
        if isinstance(executor, QueuedExecutor):
            return await self._run_queued(executor, work, batch.tickets[0].context.copy())
        if isinstance(executor.parallel, concurrent.futures.Executor):
            return cast(crews.Ran, await _result(crews.submit_elsewhere(executor.parallel, executor, work)))
        if uses_processes(executor, [ticket.job for ticket in batch.tickets]):
            future = crews.processes.submit(executor, work)
            try:
                return cast(crews.Ran, await _result(future))
            except asyncio.CancelledError:
                crews.processes.stop(future)
                raise
        context = batch.tickets[0].context.copy()
        try:
            return cast(crews.Ran, await self._in_thread(lambda: context.run(crews.perform_here, executor, work)))
        except asyncio.CancelledError:
            # The thread may hang in there for ever; the lane goes on with another one.
            self._threads.add_hand()
            raise

    async def _run_queued(self, executor: QueuedExecutor, work: Work, context: contextvars.Context) -> crews.Ran:
        start = time.perf_counter()
        submission = self._threads.submit(lambda: context.run(executor.submit, work.circuits))
        try:
            job_id = await _result(submission)
        except asyncio.CancelledError:
            submission.add_done_callback(lambda done: _cancel_submitted(executor, done))
            raise
        try:
            interval = executor.poll_interval
            while not (state := await self._in_thread(lambda: executor.poll(job_id))).final:
                await asyncio.sleep(interval)
                interval = min(2 * interval, executor.poll_interval_max)
        except asyncio.CancelledError:
            self._threads.submit(lambda: executor.cancel(job_id))
            raise
        results = await self._in_thread(lambda: executor.fetch(job_id))
        if state is not JobState.DONE:
            raise RuntimeError(f"job {job_id!r} at the backend ended as {state}")
        return crews.Ran(list(results), time.perf_counter() - start)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        return await _result(self._threads.submit(function))


async def _result(future: concurrent.futures.Future[Any]) -> Any:
    return await asyncio.wrap_future(future)


def _cancel_submitted(executor: QueuedExecutor, submission: concurrent.futures.Future[str]) -> None:
    if not submission.cancelled() and submission.exception() is None:
        executor.cancel(submission.result())


def _default_capacity(executor: Executor) -> int:
    if isinstance(executor, QueuedExecutor):
        return _IN_FLIGHT
    if executor.parallel == "process" or isinstance(executor.parallel, concurrent.futures.Executor):
        return crews.cores()
    return crews.cores() if _may_use_processes(executor) else 1


def _may_use_processes(executor: Executor) -> bool:
    return (
        executor.parallel == "auto" and executor.local and isinstance(executor, DeviceExecutor) and executor.shareable
    )


def uses_processes(executor: Executor, jobs: Sequence[Job]) -> bool:
    """Whether a batch of jobs goes to worker processes when it does not run in the calling thread."""
    if executor.parallel == "process":
        return True
    return _may_use_processes(executor) and executor.effort([job.circuit for job in jobs]) >= HEAVY / 10
