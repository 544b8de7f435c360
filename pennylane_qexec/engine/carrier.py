"""Where a batch of an executor runs: in a thread, a worker process, a user's pool, or at a backend with a queue."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from pennylane.tape import QuantumScript

from pennylane_qexec import isolation
from pennylane_qexec.engine import nesting, processes
from pennylane_qexec.engine.parcels import pickled
from pennylane_qexec.engine.sending import Sending
from pennylane_qexec.engine.threads import ThreadCrew
from pennylane_qexec.engine.venue import (
    HEAVY,
    capacity_of,
    computing_seconds,
    may_use_processes,
    seconds,
    uses_processes,
)
from pennylane_qexec.engine.worker import Ran, in_other_words, perform, survives_pickling
from pennylane_qexec.errors import JobCancelledError, JobFailedError
from pennylane_qexec.executors.base import Executor, QueuedExecutor
from pennylane_qexec.job import JobState, Work
from pennylane_qexec.policies.retries import is_permanent

_MANY = 500
_STARTING = 2.0  # seconds that worker processes take to start
_QUEUE_HANDS = 4
_HICCUPS = 5

logger = logging.getLogger("pennylane_qexec")


class Spreader(Executor):
    """An executor that shares a batch out itself, so that it is best given everything at once."""


class Carrier:
    """Carries the batches of one executor to where they run. Used in the engine's thread.

    Args:
        executor: whose batches.
        depth: how many batches those who ask for them run inside of.
    """

    def __init__(self, executor: Executor, depth: int = 0) -> None:
        self._executor = executor
        self._depth = depth
        self._in_threads = 0
        self.capacity = capacity_of(executor)
        hands = _QUEUE_HANDS if isinstance(executor, QueuedExecutor) else self.capacity
        self._threads = ThreadCrew(hands, f"qexec-{executor.name}" + "-nested" * min(depth, 1))

    async def carry(self, work: Work, context: contextvars.Context, sending: Sending) -> Ran:
        """Let a batch run. Cancelling this gives the batch up as far as the place where it runs allows.

        Args:
            work: the batch.
            context: the context variables of whoever asked for it.
            sending: where to note that it did not get there.
        """
        executor = self._executor
        if isinstance(executor, QueuedExecutor):
            return await self._at_a_queue(executor, work, context, sending)
        if isinstance(executor.parallel, concurrent.futures.Executor) and not self._would_block(executor.parallel):
            with sending.under_way():
                key, executor_pickled = processes.crew.pickled(executor)
                parcel = pickled(work)
            return await _ran(
                executor.parallel.submit(_perform_in_pool, key, executor_pickled, parcel, self._depth, os.getpid()),
                sending,
            )
        if self._goes_to_a_process(work):
            return await self._in_a_process(work, sending)
        self._note_thread(len(work.circuits))
        return await self._in_a_thread(work, context, sending)

    def ready(self, circuits: Sequence[QuantumScript]) -> None:
        """Have threads started for circuits that come: a program that is ending may not start any (Python 3.12).

        Used in any thread.
        """
        if isinstance(self._executor.parallel, concurrent.futures.Executor):
            return
        self._threads.ready()
        if not processes.crew.started and uses_processes(self._executor, circuits):
            processes.crew.warm_up()

    def hands_for(self, circuit: QuantumScript, number: int) -> int:
        """How many batches should share this number of circuits like this one.

        A backend with a queue gets one big batch, and so do a cluster inside of this one, which shares it out itself,
        and a local simulator that has little to do.
        """
        if isinstance(self._executor, QueuedExecutor | Spreader):
            return 1
        if may_use_processes(self._executor) and number * seconds(self._executor, (circuit,)) < HEAVY:
            return 1
        return self.capacity

    def close(self) -> None:
        """End the threads when they have finished what they do."""
        self._threads.close()

    def _would_block(self, pool: concurrent.futures.Executor) -> bool:
        """Whether all threads of a user's pool may be waiting for this batch, so that it needs one of ours."""
        return self._depth > 0 and isinstance(pool, concurrent.futures.ThreadPoolExecutor)

    def _goes_to_a_process(self, work: Work) -> bool:
        if uses_processes(self._executor, work.circuits):
            return self._processes_pay(work.circuits)
        return not work.call.bound and may_use_processes(self._executor) and processes.crew.warm

    def _note_thread(self, circuits: int) -> None:
        """Have worker processes started, in the background, once so many circuits have run in threads."""
        self._in_threads += circuits
        if self._in_threads > _MANY and may_use_processes(self._executor):
            processes.crew.warm_up()

    def _processes_pay(self, circuits: Sequence[QuantumScript]) -> bool:
        """Whether to send a batch to worker processes although they may have to start; if not, they start meanwhile.

        What the last circuits have taken does not count here: the first ones take long, and say nothing of the next.
        """
        if self._executor.parallel == "process" or processes.crew.warm:
            return True
        processes.crew.warm_up()
        return computing_seconds(self._executor, circuits) > _STARTING

    async def _in_a_thread(self, work: Work, context: contextvars.Context, sending: Sending) -> Ran:
        def run() -> Ran:
            with nesting.inside(self._depth):
                return perform(self._executor, work)

        try:
            return await _ran(self._threads.submit(lambda: context.run(run)), sending)
        except asyncio.CancelledError:
            # The thread may hang in there for ever; the lane goes on with another one.
            self._threads.add_hand()
            raise

    async def _in_a_process(self, work: Work, sending: Sending) -> Ran:
        with sending.under_way():
            future = processes.crew.submit(self._executor, work)
        try:
            return await _ran(future, sending)
        except asyncio.CancelledError:
            processes.crew.stop(future)
            raise

    async def _at_a_queue(
        self, executor: QueuedExecutor, work: Work, context: contextvars.Context, sending: Sending
    ) -> Ran:
        start = time.perf_counter()

        def submit() -> str:
            with nesting.inside(self._depth):
                return executor.submit(work.circuits)

        submission = self._threads.submit(lambda: context.run(submit))
        try:
            job_id = await asyncio.wrap_future(submission)
        except asyncio.CancelledError:
            sending.reached = not submission.cancel()
            submission.add_done_callback(lambda done: _cancel_submitted(executor, done))
            raise
        except Exception as error:
            # A job that the backend would never take was not taken; after a lost connection, nobody knows.
            sending.reached = not is_permanent(error)
            raise
        try:
            state = await self._end_of(executor, job_id)
        except BaseException:
            self._threads.submit(lambda: executor.cancel(job_id))
            raise
        if state is not JobState.DONE:
            await self._call(lambda: executor.fetch(job_id))
            raise RuntimeError(f"job {job_id!r} at the backend ended as {state}")
        results = list(await self._persistently(executor, lambda: executor.fetch(job_id)))
        if len(results) != len(work.circuits):
            raise RuntimeError(f"{len(results)} results were returned for {len(work.circuits)} circuits")
        return Ran(results, time.perf_counter() - start)

    async def _end_of(self, executor: QueuedExecutor, job_id: str) -> JobState:
        interval = executor.poll_interval
        while not (state := cast(JobState, await self._persistently(executor, lambda: executor.poll(job_id)))).final:
            await asyncio.sleep(interval)
            interval = min(2 * interval, executor.poll_interval_max)
        return state

    async def _persistently(self, executor: QueuedExecutor, function: Callable[[], Any]) -> Any:
        """Ask again after a hiccup of the network: giving up would mean to submit, and pay for, the job again."""
        interval = executor.poll_interval
        for _ in range(_HICCUPS):
            try:
                return await self._call(function)
            except Exception as error:
                if is_permanent(error) or isinstance(error, JobFailedError | JobCancelledError):
                    raise
                logger.warning("executor %r did not answer (%r); asking again", executor.name, error)
                await asyncio.sleep(interval)
                interval = min(2 * interval, executor.poll_interval_max)
        return await self._call(function)

    async def _call(self, function: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self._threads.submit(function))


async def _ran(future: concurrent.futures.Future[Any], sending: Sending) -> Ran:
    try:
        return cast(Ran, await asyncio.wrap_future(future))
    except asyncio.CancelledError:
        sending.reached = not future.cancel()
        raise


def _cancel_submitted(executor: QueuedExecutor, submission: concurrent.futures.Future[str]) -> None:
    if not submission.cancelled() and submission.exception() is None:
        executor.cancel(submission.result())


_in_this_pool_process: dict[str, Executor] = {}


def _perform_in_pool(key: str, executor_pickled: bytes, work: bytes, depth: int, home: int) -> Ran:
    """Carry out a batch in a user's :class:`concurrent.futures.Executor`, which keeps the executor by its key.

    An error that could not travel back to the process that asks would break the pool, or hide what went wrong.
    """
    if key not in _in_this_pool_process:
        isolation.install()
        executor: Executor = pickle.loads(executor_pickled)
        executor.become_replica(os.getpid())
        _in_this_pool_process[key] = executor
    try:
        with nesting.inside(depth):
            return perform(_in_this_pool_process[key], pickle.loads(work))
    except Exception as error:
        if os.getpid() == home or survives_pickling(error):
            raise
        raise in_other_words(error) from error
