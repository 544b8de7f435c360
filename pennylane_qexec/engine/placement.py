"""Where an executor's batches run, and how many at a time: threads, worker processes, a user's pool, remote queues."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import cast

from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency import isolation
from pennylane_qexec.concurrency.clock import Clock
from pennylane_qexec.concurrency.context import AwaitedFutures, inside
from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.concurrency.thread_pool import ThreadPool, tamed
from pennylane_qexec.engine import process_pool
from pennylane_qexec.engine.accounting import shots_of
from pennylane_qexec.engine.process_pool import pickled
from pennylane_qexec.engine.remote_jobs import Cancellations, Polling, SentBatch
from pennylane_qexec.engine.worker import KEPT_EXECUTORS, BatchResult, in_other_words, perform, survives_pickling
from pennylane_qexec.executors import DelegatingExecutor, Executor, QueuedExecutor
from pennylane_qexec.job import Job, Work
from pennylane_qexec.policies.retries import is_permanent

logger = logging.getLogger("pennylane_qexec")

HEAVY = 0.1
"""Estimated seconds from which a call is worth spreading over worker processes."""

EACH = 0.002
"""Estimated seconds from which a circuit is worth sending to a worker process, if somebody waits for it."""

_WORTH_A_PIPE = 0.01
_SECONDS_PER_NUMBER = 2e-9
_IN_FLIGHT = 1000


def may_use_processes(executor: Executor) -> bool:
    """Whether an executor left to decide by itself (``parallel="auto"``) can be sent to worker processes."""
    return executor.parallel == "auto" and executor.local and executor.shareable


_MOST_ROWS = 4096
_MOST_MADE = 256
"""The same where a circuit is made for each row: thousands at a time take longer each, as Python looks for garbage."""


def most_rows(executor: Executor) -> int:
    """The most circuits of sweeps in one batch: what they need together is limited, whatever an executor makes of them.

    A backend with a queue gets one big batch, and so does a cluster inside of this one.
    """
    if isinstance(executor, QueuedExecutor | DelegatingExecutor):
        return executor.max_circuits or sys.maxsize
    most = _MOST_MADE if type(executor).run_sweep is Executor.run_sweep else _MOST_ROWS
    return min(executor.max_circuits or most, most)


def is_one_batch(executor: Executor, job: Job) -> bool:
    """Whether a job may run as it is: a sweep with too many circuits, or shots, runs in parts."""
    if job.sweep is None:
        return True
    fits = executor.max_shots is None or shots_of(executor, job) <= executor.max_shots
    return fits and job.rows <= most_rows(executor)


def uses_processes(executor: Executor, circuits: Sequence[QuantumScript], number: int | None = None) -> bool:
    """Whether a batch goes to a worker process, if it does not run in the calling thread.

    Args:
        executor: who is to run it.
        circuits: its circuits, or the templates of its sweeps.
        number: how many circuits these are; default: as many as are given.
    """
    if executor.parallel == "process":
        return True
    least = max(_WORTH_A_PIPE, EACH * (number or len(circuits)))
    return may_use_processes(executor) and seconds(executor, circuits, number) >= least


def prepares_late(executor: Executor, circuit: QuantumScript, later: bool) -> bool:
    """Whether circuits like this one run in worker processes that are ready, so that they are best prepared there too.

    Args:
        executor: who is to run them.
        circuit: the circuit.
        later: whether nobody waits for it: then also small ones run there, where they keep nobody from going on.
    """
    if not executor.local:
        return False
    if executor.parallel == "process" or isinstance(executor.parallel, concurrent.futures.Executor):
        return True
    return may_use_processes(executor) and (later or uses_processes(executor, (circuit,)))


def seconds(executor: Executor, circuits: Sequence[QuantumScript], number: int | None = None) -> float:
    """Estimated running time: from the size of the circuits, or what the last ones have taken if that is longer.

    Args:
        executor: who is to run them.
        circuits: the circuits, or the templates of sweeps.
        number: how many circuits these are; default: as many as are given.
    """
    rate, computing = executor.load().circuits_per_second, computing_seconds(executor, circuits, number)
    return max((number or len(circuits)) / rate, computing) if rate else computing


def capacity_of(executor: Executor) -> int:
    """How many batches an executor runs at the same time."""
    if executor.workers or isinstance(executor, QueuedExecutor):
        return executor.workers or _IN_FLIGHT
    parallel = executor.parallel == "process" or isinstance(executor.parallel, concurrent.futures.Executor)
    return cores() if parallel or may_use_processes(executor) else 1


def computing_seconds(executor: Executor, circuits: Sequence[QuantumScript], number: int | None = None) -> float:
    """Estimated running time, from the size of the circuits alone; see :func:`seconds`."""
    times = 1.0 if number is None else number / len(circuits)
    return executor.effort(circuits) * times * _SECONDS_PER_NUMBER


_MANY = 500
_STARTING = 2.0  # seconds that worker processes take to start
_QUEUE_HANDS = 4


class BatchRunner:
    """Carries the batches of one executor to where they run. Used in the engine's thread.

    Args:
        executor: whose batches.
        cancellations: what is being cancelled at backends.
        clock: the engine's.
        depth: how many batches those who ask for them run inside of.
    """

    def __init__(self, executor: Executor, cancellations: Cancellations, clock: Clock, depth: int = 0) -> None:
        self._executor = executor
        self._clock = clock
        self._cancellations = cancellations
        self._depth = depth
        self._in_threads = 0
        self.capacity = capacity_of(executor)
        hands = _QUEUE_HANDS if isinstance(executor, QueuedExecutor) else self.capacity
        self._threads = ThreadPool(hands, f"qexec-{executor.name}" + "-nested" * min(depth, 1))

    def carry(self, work: Work, context: contextvars.Context, sending: SentBatch) -> asyncio.Future[BatchResult]:
        """Let a batch run. Cancelling its future gives the batch up as far as the place where it runs allows.

        Args:
            work: the batch.
            context: the context variables of whoever asked for it.
            sending: where to note that it gets there.
        """
        executor, pool = self._executor, process_pool.shared_pool
        if isinstance(executor, QueuedExecutor):
            return asyncio.get_running_loop().create_task(self._at_a_queue(executor, work, context, sending))
        if isinstance(executor.parallel, concurrent.futures.Executor) and not self._would_block(executor.parallel):
            sent = (*pool.pickled(executor), pickled(work), self._depth, os.getpid())
            return _followed(executor.parallel.submit(_perform_in_pool, *sent), sending)
        if self._goes_to_a_process(work):
            running = pool.submit(executor, work)
            return _followed(running, sending, partial(pool.stop, running))
        self._note_thread(work.rows)
        return self._in_a_thread(work, context, sending)

    def ready(self, jobs: Sequence[Job]) -> None:
        """Have threads started for jobs that come: a program that is ending may not start any (Python 3.12).

        Used in any thread.
        """
        if isinstance(self._executor.parallel, concurrent.futures.Executor):
            return
        self._threads.ready()
        if process_pool.shared_pool.hands:
            return
        if uses_processes(self._executor, [job.circuit for job in jobs], sum(job.rows for job in jobs)):
            process_pool.shared_pool.warm_up()

    def hands_for(self, circuit: QuantumScript, number: int) -> int:
        """How many batches should share this number of circuits like this one.

        A backend with a queue gets one big batch, and so do a cluster inside of this one, which shares it out itself,
        and a local simulator that has little to do.
        """
        if isinstance(self._executor, QueuedExecutor | DelegatingExecutor):
            return 1
        if may_use_processes(self._executor) and seconds(self._executor, (circuit,), number) < HEAVY:
            return 1
        return self.capacity

    def close(self) -> None:
        """End the threads when they have finished what they do."""
        self._threads.close()

    def _would_block(self, pool: concurrent.futures.Executor) -> bool:
        """Whether all threads of a user's pool may be waiting for this batch, so that it needs one of ours."""
        return self._depth > 0 and isinstance(pool, concurrent.futures.ThreadPoolExecutor)

    def _goes_to_a_process(self, work: Work) -> bool:
        if uses_processes(self._executor, work.circuits, work.rows):
            return self._processes_pay(work)
        return not work.call.bound and may_use_processes(self._executor) and process_pool.shared_pool.warm

    def _note_thread(self, circuits: int) -> None:
        """Have worker processes started, in the background, once so many circuits have run in threads."""
        self._in_threads += circuits
        if self._in_threads > _MANY and may_use_processes(self._executor):
            process_pool.shared_pool.warm_up()

    def _processes_pay(self, work: Work) -> bool:
        """Whether to send a batch to worker processes although they may have to start; if not, they start meanwhile.

        What the last circuits have taken does not count here: the first ones take long, and say nothing of the next.
        """
        if self._executor.parallel == "process" or process_pool.shared_pool.warm:
            return True
        process_pool.shared_pool.warm_up()
        return computing_seconds(self._executor, work.circuits, work.rows) > _STARTING

    def _in_a_thread(self, work: Work, context: contextvars.Context, sending: SentBatch) -> asyncio.Future[BatchResult]:
        awaited = AwaitedFutures()

        def run() -> BatchResult:
            with inside(self._depth, sending.followed, awaited):
                return perform(self._executor, work)

        def stop() -> None:
            awaited.give_up()
            self._threads.add_hand()  # the thread may hang in there for ever; the lane goes on with another one

        return _followed(self._threads.submit(partial(context.run, run)), sending, stop)

    async def _at_a_queue(
        self, executor: QueuedExecutor, work: Work, context: contextvars.Context, sending: SentBatch
    ) -> BatchResult:
        start = self._clock.monotonic()
        sending.reached = True

        def submit() -> str:
            with inside(self._depth, sending.followed):
                return sending.submitted(executor, work)

        submission = self._threads.submit(lambda: context.run(submit))
        try:
            job_id = await asyncio.wrap_future(submission)
        except asyncio.CancelledError:
            sending.reached = not submission.cancel()
            if sending.reached and not sending.stays:
                self._cancellations.cancel_submitted(executor, submission, self._threads.submit)
            raise
        except Exception as error:
            # A job that the backend would never take was not taken; after a lost connection, nobody knows.
            sending.reached = sending.begun and not is_permanent(error)
            arrived = await self._arrived(sending)
            if arrived is None:
                raise
            job_id = arrived
        return await self._answer(self._inquiry(job_id, sending.followed), job_id, sending, start)

    async def _arrived(self, sending: SentBatch) -> str | None:
        """The backend's id of a job that may have reached it although submitting it has failed, if it is there.

        If that cannot be found out now, it is looked for once more before it is sent again.
        """
        outgoing = sending.outgoing
        if outgoing is None or not sending.reached or not self._queued.labels:
            return None
        try:
            job_id = await self._inquiry(outgoing.label, followed=False).found()
        except Exception:
            return None
        if job_id is None:
            sending.reached = False
        else:
            await asyncio.wrap_future(self._threads.submit(lambda: outgoing.sent(job_id)))
        return job_id

    async def take_up(self, job_id: str, sent: SentBatch) -> BatchResult:
        """Wait for a job of a backend with a queue that another process has sent.

        Args:
            job_id: the backend's id of the job.
            sent: what it was sent with.
        """
        start = self._clock.monotonic()
        inquiry = self._inquiry(job_id, followed=True)
        await inquiry.adopt(Work.of(sent.jobs))
        return await self._answer(inquiry, job_id, sent, start)

    async def found(self, label: str) -> str | None:
        """The backend's id of the job that was sent with a label."""
        return await self._inquiry(label, followed=True).found()

    async def _answer(self, inquiry: Polling, job_id: str, sent: SentBatch, start: float) -> BatchResult:
        """Wait for a job of the backend, and fetch its results."""
        try:
            state = await inquiry.end()
        except BaseException:
            if not sent.stays:
                self._cancellations.cancel(self._queued, job_id, self._threads.submit)
            raise
        return BatchResult(
            await inquiry.results(state, sent.work or Work.of(sent.jobs)), self._clock.monotonic() - start
        )

    def _inquiry(self, job_id: str, followed: bool) -> Polling:
        return Polling(self._queued, self._threads.submit, job_id, followed, self._clock)

    @property
    def _queued(self) -> QueuedExecutor:
        return cast(QueuedExecutor, self._executor)


def _followed(
    running: concurrent.futures.Future[BatchResult], sending: SentBatch, stop: Callable[[], None] | None = None
) -> asyncio.Future[BatchResult]:
    """The engine's future of a batch that runs in another thread.

    It is brought to its end by one call of the loop; a task that waits by ``asyncio.wrap_future`` takes two rounds of
    the loop more, which a call of a small circuit shows (``benchmarks/overhead.py``, "through the lanes").

    Args:
        running: the batch.
        sending: where to note whether it has reached its executor.
        stop: what to do if the future is cancelled when the batch has begun.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[BatchResult] = loop.create_future()
    sending.reached = True

    def bring() -> None:
        if future.done():
            return
        if running.cancelled():  # by the pool, before it began
            sending.reached = False
        try:
            future.set_result(tamed(running.result))
        except Exception as error:
            future.set_exception(error)

    def ended(_: concurrent.futures.Future[BatchResult]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and all jobs with it
            loop.call_soon_threadsafe(bring)

    def give_up(_: asyncio.Future[BatchResult]) -> None:
        if future.cancelled():
            sending.reached = not running.cancel()
            if stop is not None:
                stop()

    running.add_done_callback(ended)
    future.add_done_callback(give_up)
    return future


_in_this_pool_process: dict[str, Executor] = {}


def _perform_in_pool(key: str, executor_pickled: bytes, work: bytes, depth: int, home: int) -> BatchResult:
    """Carry out a batch in a user's :class:`concurrent.futures.Executor`, which keeps the executor by its key.

    An error that could not travel back to the process that asks would break the pool, or hide what went wrong.
    """
    executor = _in_this_pool_process.get(key)
    if executor is None:
        isolation.install()
        while len(_in_this_pool_process) >= KEPT_EXECUTORS:
            _in_this_pool_process.pop(next(iter(_in_this_pool_process)), None)
        executor = pickle.loads(executor_pickled)
        executor.become_replica(os.getpid())
        _in_this_pool_process[key] = executor
    try:
        with inside(depth):
            return perform(executor, pickle.loads(work))
    except Exception as error:
        if os.getpid() == home or survives_pickling(error):
            raise
        raise in_other_words(error) from error
