"""The engine: takes jobs, gathers them in lanes, retries, fails over, cancels, records. It alone changes job states.

Everything asynchronous happens in one thread with an event loop, started by the first job that needs it. The border to
the synchronous callers is one :class:`concurrent.futures.Future` for each job.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from pennylane_qexec.engine import crews
from pennylane_qexec.engine.history import History, Row
from pennylane_qexec.engine.lane import HEAVY, Batch, Lane, uses_processes
from pennylane_qexec.engine.ticket import Ticket, same_call
from pennylane_qexec.errors import ConfigurationError, ExecutorError, JobCancelledError, JobTimeoutError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Job, JobState, Outcome, Work
from pennylane_qexec.policies.retries import Backoff, is_permanent

logger = logging.getLogger("pennylane_qexec")

_WORTH_STARTING_PROCESSES = 2e9


class Engine:
    """Carries jobs for one cluster.

    Args:
        executors: the cluster's executors.
        retry: how often a job is tried on one executor.
        failover: whether a job that an executor cannot do goes to another one.
        timeout: seconds from the submission of a job until it has a result; ``None`` for no limit.
        batch_window: seconds that a batch which is not full waits for more circuits.
        rng: for the jitter of retries.
    """

    def __init__(
        self,
        executors: Sequence[Executor],
        *,
        retry: Backoff,
        failover: bool,
        timeout: float | None,
        batch_window: float,
        rng: np.random.Generator,
    ) -> None:
        self.history = History()
        self._retry = retry
        self._failover = failover
        self._timeout = timeout
        self._rng = rng
        self._common: deque[Ticket] = deque()
        self._lanes = {
            executor: Lane(executor, self._common, self, batch_window, len(executors)) for executor in executors
        }
        self._unfinished: set[Ticket] = set()
        self._numbers = itertools.count(1)
        self._heavy_effort = 0.0
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.closed = False

    # -- what callers use, from any thread

    def down(self, executor: Executor) -> str | None:
        """Why an executor is set aside at present; ``None`` if it is not, or if it is time for a probe."""
        health = self._lanes[executor].health
        now = time.monotonic()
        return None if health.may_run(now) else health.reason(now)

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs and wait: small ones of local simulators in this thread, the rest through the lanes.

        Raises:
            ExecutorError: a job failed wherever it was tried.
            JobTimeoutError: a job took too long.
            JobCancelledError: the cluster was closed meanwhile.
        """
        self._check_open()
        if self._runs_here(jobs):
            return self._run_here(jobs)
        return wait(self.submit(jobs))

    def submit(self, jobs: Sequence[Job]) -> list[Future[Outcome]]:
        """Give jobs to the lanes; returns at once.

        Returns:
            A future for each job, in order. Cancelling one takes its job out of the queue, stops it in a worker
            process, and cancels it at a backend with a queue.
        """
        self._check_open()
        context = contextvars.copy_context()
        tickets = [Ticket(job, context) for job in jobs]
        self._in_loop(self._take_in, tickets)
        return [ticket.future for ticket in tickets]

    def close(self) -> None:
        """Stop: cancel what waits, give up what runs, end the threads. Closing again does nothing."""
        if threading.current_thread() is self._thread:
            threading.Thread(target=self.close, name="qexec-close").start()
            return
        with self._lock:
            if self.closed:
                return
            self.closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._shut_down(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
            crews.processes.give_back()
        for lane in self._lanes.values():
            lane.close()
            lane.executor.close()

    # -- in the calling thread

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigurationError("this cluster is closed: open a new one to run more circuits.")

    def _runs_here(self, jobs: Sequence[Job]) -> bool:
        if any(job.call.config.gradient_method == "backprop" and job.call.bound for job in jobs):
            return True
        if self._timeout is not None:
            return False
        effort = 0.0
        for job in jobs:
            executor = job.executor
            if executor is None or executor.parallel != "auto" or not executor.local:
                return False
            effort += executor.effort((job.circuit,))
        if effort < HEAVY or len(jobs) < 2 or not any(uses_processes(job.executor, (job,)) for job in jobs):
            return True
        self._heavy_effort += effort
        return not crews.processes.warm and self._heavy_effort < _WORTH_STARTING_PROCESSES

    def _run_here(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(jobs)
        failed: list[tuple[list[int], BaseException]] = []
        for indices in _groups(jobs):
            chosen = [jobs[index] for index in indices]
            submitted = time.time()
            try:
                done = self._perform_here(chosen, submitted)
            except Exception as raised:
                failed.append((indices, raised))
                continue
            for index, outcome in zip(indices, done, strict=True):
                outcomes[index] = outcome
        for indices, error in failed:
            for index, outcome in zip(indices, self._recover([jobs[i] for i in indices], error), strict=True):
                outcomes[index] = outcome
        return outcomes  # type: ignore[return-value]

    def _perform_here(self, jobs: Sequence[Job], submitted: float) -> list[Outcome]:
        executor: Executor = jobs[0].executor
        vectors = tuple(job.vector for job in jobs) if jobs[0].vector is not None else ()
        executor.meter.add(len(jobs))
        try:
            ran = crews.perform_here(executor, Work(tuple(job.circuit for job in jobs), jobs[0].call, vectors))
        finally:
            executor.meter.add(-len(jobs))
        if len(ran.results) != len(jobs):
            raise RuntimeError(f"{len(ran.results)} results were returned for {len(jobs)} circuits")
        executor.meter.ran(len(jobs), sum(job.shots for job in jobs), ran.seconds)
        self._lanes[executor].health.succeeded()
        return self._record(executor, jobs, ran, [(submitted, submitted, 1)] * len(jobs), next(self._numbers))

    def _recover(self, jobs: Sequence[Job], error: BaseException) -> list[Outcome]:
        """After a failure in the calling thread: go on through the lanes, one by one."""
        if jobs[0].call.config.gradient_method == "backprop":
            raise ExecutorError(jobs[0].executor.name, 1, error)
        context = contextvars.copy_context()
        tickets = [Ticket(job, context) for job in jobs]
        self._in_loop(self._go_on, self._lanes[jobs[0].executor], tickets, error)
        return wait([ticket.future for ticket in tickets])

    def _in_loop(self, function: Any, *arguments: Any) -> None:
        with self._lock:
            self._check_open()
            if self._loop is None:
                self._start()
            assert self._loop is not None
            self._loop.call_soon_threadsafe(function, *arguments)

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run_loop, args=(self._loop,), daemon=True, name="qexec-engine")
        self._thread.start()
        crews.processes.lease()

    # -- in the engine's thread

    def _take_in(self, tickets: Sequence[Ticket]) -> None:
        by_lane: dict[Lane, list[Ticket]] = {}
        for ticket in tickets:
            self._register(ticket)
            if ticket.job.executor is None:
                ticket.leave = self._common.remove
                self._common.append(ticket)
            else:
                by_lane.setdefault(self._lanes[ticket.job.executor], []).append(ticket)
        for lane, own in by_lane.items():
            lane.put(own)
        if self._common:
            self._pump_all()

    def _register(self, ticket: Ticket) -> None:
        self._unfinished.add(ticket)
        loop = asyncio.get_running_loop()
        ticket.future.add_done_callback(
            lambda future: future.cancelled() and loop.call_soon_threadsafe(self._cancelled, ticket)
        )
        if self._timeout is not None:
            ticket.timer = loop.call_later(self._timeout, self._timed_out, ticket)

    def _pump_all(self) -> None:
        for lane in sorted(self._lanes.values(), key=lambda lane: lane.executor.load().waiting):
            lane.pump()

    def next_batch_number(self) -> int:
        """The number of a batch that starts."""
        return next(self._numbers)

    def finished(self, lane: Lane, batch: Batch, ran: crews.Ran) -> None:
        """A batch has run: settle its tickets."""
        lane.health.succeeded()
        wanted = [index for index, ticket in enumerate(batch.tickets) if ticket not in batch.gone]
        tickets = [batch.tickets[index] for index in wanted]
        times = [(ticket.submitted, ticket.started, ticket.attempts + 1) for ticket in tickets]
        kept = crews.Ran([ran.results[index] for index in wanted], ran.seconds)
        jobs = [ticket.job for ticket in tickets]
        outcomes = self._record(lane.executor, jobs, kept, times, batch.number, len(batch.tickets))
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            self._settle(ticket, JobState.DONE, outcome)

    def failed(self, lane: Lane, batch: Batch, error: BaseException) -> None:
        """A batch has failed: its tickets are tried again one by one, here or elsewhere."""
        tickets = [ticket for ticket in batch.tickets if ticket not in batch.gone]
        logger.warning("executor %r failed on %d circuits: %r", lane.executor.name, len(batch.tickets), error)
        self._note_failure(lane, error)
        self._try_again(lane, tickets, error, shared=len(batch.tickets) > 1)

    def _go_on(self, lane: Lane, tickets: Sequence[Ticket], error: BaseException) -> None:
        """Take over tickets whose first attempt failed in the calling thread."""
        for ticket in tickets:
            self._register(ticket)
        self._note_failure(lane, error)
        self._try_again(lane, tickets, error, shared=len(tickets) > 1)

    def _note_failure(self, lane: Lane, error: BaseException) -> None:
        if is_permanent(error):
            return
        lane.health.failed(time.monotonic())
        if lane.health.down and self._failover:
            for ticket in lane.evacuate():
                if not self._fail_over(ticket):
                    lane.put([ticket])

    def _try_again(self, lane: Lane, tickets: Sequence[Ticket], error: BaseException, shared: bool) -> None:
        for ticket in tickets:
            ticket.error = error
            ticket.state = JobState.WAITING
            if shared and is_permanent(error):
                # Some circuit of the batch is at fault, perhaps not this one: find out by trying it alone.
                ticket.alone = True
                lane.put([ticket])
                continue
            ticket.alone = ticket.alone or shared
            ticket.attempts += 1
            ticket.attempts_here += 1
            if self._retry.allows(ticket.attempts_here, error) and not lane.health.down:
                self._put_later(lane, ticket)
            elif not (self._failover and self._fail_over(ticket, leaving=lane)):
                if self._retry.allows(ticket.attempts_here, error):
                    self._put_later(lane, ticket)
                else:
                    self._fail(ticket, lane, error)

    def _put_later(self, lane: Lane, ticket: Ticket) -> None:
        delay = self._retry.delay(ticket.attempts_here, float(self._rng.random()))
        timer = asyncio.get_running_loop().call_later(delay, lambda: lane.put([ticket]))
        ticket.leave = lambda _: timer.cancel()

    def _fail_over(self, ticket: Ticket, leaving: Lane | None = None) -> bool:
        """Hand a ticket to the least loaded executor that has not failed on it; says whether there is one."""
        if leaving is not None:
            ticket.tried.add(leaving.executor)
        circuit, now = ticket.job.circuit, time.monotonic()
        others = [
            lane
            for lane in self._lanes.values()
            if lane.executor not in ticket.tried
            and lane.executor is not ticket.executor
            and lane.health.may_run(now)
            and lane.executor.rejects(circuit) is None
        ]
        if not others:
            return False
        lane = min(others, key=lambda lane: lane.executor.load().waiting)
        logger.warning("a circuit goes on from executor %r to %r", ticket.job.executor, lane.executor.name)
        ticket.job = Job(circuit, lane.executor, ticket.job.call.unbound(), ticket.job.vector)
        ticket.attempts_here = 0
        lane.put([ticket])
        return True

    def _fail(self, ticket: Ticket, lane: Lane, error: BaseException) -> None:
        self._settle(ticket, JobState.FAILED, ExecutorError(lane.executor.name, ticket.attempts, error))

    def _timed_out(self, ticket: Ticket) -> None:
        assert self._timeout is not None
        if ticket.state is JobState.RUNNING and ticket.executor is not None:
            self._lanes[ticket.executor].health.failed(time.monotonic())
        if ticket.leave is not None:
            ticket.leave(ticket)
        name = ticket.executor.name if ticket.executor is not None else None
        self._settle(ticket, JobState.FAILED, JobTimeoutError(self._timeout, name))

    def _cancelled(self, ticket: Ticket) -> None:
        if ticket in self._unfinished:
            if ticket.leave is not None:
                ticket.leave(ticket)
            self._settle(ticket, JobState.CANCELLED, JobCancelledError("the job was cancelled."))

    def _settle(self, ticket: Ticket, state: JobState, value: Outcome | BaseException) -> None:
        """The one place where a job comes to its end."""
        if ticket not in self._unfinished:
            return
        self._unfinished.discard(ticket)
        ticket.state = state
        if ticket.timer is not None:
            ticket.timer.cancel()
        if isinstance(value, BaseException):
            self.history.add([_row_of_failure(ticket, value)])
        if ticket.future.set_running_or_notify_cancel():
            if isinstance(value, BaseException):
                ticket.future.set_exception(value)
            else:
                ticket.future.set_result(value)

    def _record(
        self,
        executor: Executor,
        jobs: Sequence[Job],
        ran: crews.Ran,
        times: Sequence[tuple[float, float, int]],
        batch: int,
        batch_size: int | None = None,
    ) -> list[Outcome]:
        """Write the history of jobs that are done, and make their outcomes."""
        now = time.time()
        size = batch_size or len(jobs)
        rows, outcomes = [], []
        for job, result, (submitted, started, attempt) in zip(jobs, ran.results, times, strict=True):
            cost = executor.cost.of(1, job.shots, ran.seconds / size)
            name, backend, shots = executor.name, executor.backend, job.shots
            rows.append(
                Row(job.circuit, name, backend, shots, batch, attempt, JobState.DONE, submitted, started, now, cost)
            )
            outcomes.append(Outcome(result, name, shots, batch, attempt, submitted, started, now, cost, backend))
        self.history.add(rows)
        return outcomes

    async def _shut_down(self) -> None:
        tasks = [task for lane in self._lanes.values() for task in lane.running()]
        for lane in self._lanes.values():
            lane.abandon()
        self._common.clear()
        for ticket in list(self._unfinished):
            self._settle(ticket, JobState.CANCELLED, JobCancelledError("the cluster was closed before the job ended."))
        await asyncio.gather(*tasks, return_exceptions=True)


def wait(futures: Sequence[Future[Outcome]]) -> list[Outcome]:
    """The outcomes of all futures, in order. The first error, or Ctrl-C, cancels those that are left."""
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _groups(jobs: Sequence[Job]) -> list[list[int]]:
    """Indices of jobs that run together: same executor, same call."""
    groups: list[list[int]] = []
    for index, job in enumerate(jobs):
        for group in groups:
            first = jobs[group[0]]
            if first.executor is job.executor and same_call(first.call, job.call):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _row_of_failure(ticket: Ticket, error: BaseException) -> Row:
    job, now = ticket.job, time.time()
    name, backend = (ticket.executor.name, ticket.executor.backend) if ticket.executor is not None else ("", "")
    cause = error.cause if isinstance(error, ExecutorError) else error
    started = ticket.started if ticket.started > ticket.submitted else now
    return Row(
        job.circuit,
        name,
        backend,
        job.shots,
        0,
        ticket.attempts,
        ticket.state,
        ticket.submitted,
        started,
        now,
        0.0,
        f"{type(cause).__name__}: {cause}",
    )


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
