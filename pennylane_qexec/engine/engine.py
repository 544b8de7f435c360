"""The engine: takes jobs, gathers them in lanes, retries, fails over, cancels, records. It alone changes job states.

Everything asynchronous happens in one thread with an event loop, started by the first job that needs it. The border to
the synchronous callers is one :class:`concurrent.futures.Future` for each job.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn, TypeVar

import numpy as np

from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock
from pennylane_qexec.concurrency.event_loop import BackgroundTasks, LoopThread, in_engine_thread
from pennylane_qexec.concurrency.futures import AskedFuture, wait
from pennylane_qexec.engine import process_pool
from pennylane_qexec.engine.accounting import accounts_of, chosen, counted, give_back
from pennylane_qexec.engine.batch import Batch
from pennylane_qexec.engine.common_queue import CommonQueue
from pennylane_qexec.engine.completion import Completions
from pennylane_qexec.engine.hedging import Hedging
from pennylane_qexec.engine.history import KEPT_ROWS, History, record_answered, record_done
from pennylane_qexec.engine.inline import InlineRunner, groups, must_run_here
from pennylane_qexec.engine.lane import Lane
from pennylane_qexec.engine.queued_jobs import QueuedJob, always, circuits_in, queued_jobs_of
from pennylane_qexec.engine.recovery import RetryScheduler
from pennylane_qexec.engine.remote_jobs import Cancellations, SentBatch
from pennylane_qexec.engine.worker import BatchResult
from pennylane_qexec.errors import BudgetExceededError, ConfigurationError, ExecutorError, StoreError, UnansweredError
from pennylane_qexec.executors import Executor, QueuedExecutor
from pennylane_qexec.job import Job, JobState, Outcome, Result, Times, Usage
from pennylane_qexec.policies.budgets import Account, Budget
from pennylane_qexec.policies.hedges import Hedge
from pennylane_qexec.policies.retries import Backoff
from pennylane_qexec.redaction import without_secrets

T = TypeVar("T")


class Engine:
    """Carries jobs for one cluster.

    Args:
        executors: the cluster's executors.
        retry: how often a job is tried on one executor.
        failover: whether a job that an executor cannot do goes to another one.
        timeout: seconds from the submission of a job until it has a result; ``None`` for no limit.
        batch_window: seconds that a batch which is not full waits for more circuits.
        rng: for the jitter of retries.
        budget: counts for all jobs.
        hedge: when a job that runs for long is given to a second executor; ``None`` for never.
        history_limit: how many rows the history keeps; ``None`` for all.
        clock: by which it waits, and whose times its jobs have.
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
        budget: Budget | None = None,
        hedge: Hedge | None = None,
        history_limit: int | None = KEPT_ROWS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.clock = clock
        self.history = History(history_limit, clock)
        self._budget = budget
        self._common = CommonQueue(clock)
        self.cancellations = Cancellations(self, clock)
        self._lanes = {
            executor: Lane(executor, self._common, self, batch_window, len(executors)) for executor in executors
        }
        self._retries = RetryScheduler(self._lanes.values(), retry, failover, rng, self._give_up, clock)
        self._hedging = Hedging(hedge, self._lanes.values(), clock)
        self.next_batch_number = itertools.count(1).__next__
        self.started, self.used = self._hedging.started, self.history.spend
        self._inline = InlineRunner(self.history, self.next_batch_number, timeout is not None)
        self.runs_here = self._inline.fits
        self._completions = Completions(self.history, timeout, self._note_timeout)
        self._lock = threading.Lock()
        self._closed = False
        self._process = os.getpid()
        self._background_tasks = BackgroundTasks()
        self._thread = LoopThread(self._completions.broken)
        if any(isinstance(executor, QueuedExecutor) for executor in executors):
            lifecycle.cancel_at_exit(self)
        process_pool.shared_pool.lease()
        self._give_back = weakref.finalize(self, process_pool.shared_pool.give_back)

    # -- what callers use, from any thread

    def down(self, executor: Executor) -> str | None:
        """Why an executor is given nothing at present; ``None`` if it is."""
        health = self._lanes[executor].health
        if health.failures and not health.may_run(now := self.clock.monotonic()):
            return health.reason(now)
        return None

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs and wait: small ones of local simulators in this thread, the rest through the lanes.

        Raises:
            ExecutorError: a job failed wherever it was tried.
            JobTimeoutError: a job took too long.
            JobCancelledError: the cluster was closed meanwhile.
            ConfigurationError: this was called by what is called when a job ends, and must wait.
            BudgetExceededError: the jobs would pass a budget, or a further attempt at one would.
        """
        if self._closed or self._process != os.getpid():
            self._refuse()
        if self.runs_here(jobs):
            return self._run_here(jobs)
        if in_engine_thread():
            raise ConfigurationError(
                "a function called when a job ends (add_done_callback) asks for circuits and waits for them, but it is "
                "called by the thread that would bring the results. Ask without waiting (submit, run_later), or in a "
                "thread of your own."
            )
        accounts = accounts_of(jobs, self._lanes, self._budget)
        try:
            queued_jobs = queued_jobs_of(jobs, self.clock, always, accounts=accounts)
            self._hand_in(self._take_in, queued_jobs)
        except BaseException:
            give_back(accounts)
            raise
        return wait([queued_job.future for queued_job in queued_jobs])

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None = None) -> list[AskedFuture[Outcome]]:
        """Give jobs to the lanes; returns at once. The program does not end before they have.

        Args:
            jobs: the jobs.
            asked: says whether somebody waits for them, in which case an idle executor does not wait for its window
                to be over; default: whether somebody waits for their futures.

        Returns:
            A future for each job, in order. Cancelling one takes its job out of the queue, stops it in a worker
            process, and cancels it at a backend with a queue.

        Raises:
            BudgetExceededError: the jobs would pass a budget.
        """
        if self._closed or self._process != os.getpid():
            self._refuse()
        if not jobs:
            return []
        accounts: list[Account] | None = None
        lifecycle.begin(self._completions, len(jobs))  # keeps the engine alive, whose method a timeout calls
        try:
            accounts = accounts_of(jobs, self._lanes, self._budget)
            queued_jobs = queued_jobs_of(jobs, self.clock, asked, kept=True, accounts=accounts)
            for lane in self._lanes.values():
                if own := [job for job in jobs if job.executor in (None, lane.executor)]:
                    lane.carrier.ready(own)
            self._hand_in(self._take_in, queued_jobs)
        except BaseException:
            lifecycle.end(self._completions, len(jobs))
            give_back(accounts)
            raise
        return [queued_job.future for queued_job in queued_jobs]

    def take_up(
        self, executor: Executor, job_id: str, jobs: Sequence[Job], times: Sequence[Times]
    ) -> Future[list[Outcome]]:
        """Wait for a job of a backend with a queue that another process has sent.

        Args:
            executor: one of the executors.
            job_id: the backend's id of the job.
            jobs: what it was sent with.
            times: of these jobs.

        Returns:
            Their outcomes. If the future is cancelled, the job is too, unless its follower leaves it.
        """

        async def outcomes() -> list[Outcome]:
            ran = await self._lanes[executor].carrier.take_up(job_id, SentBatch(jobs))
            ran = counted(executor, jobs, ran)
            self.used(ran.usages)
            done = zip(jobs, ran.results, ran.usages, times, strict=True)
            return record_done(self.history, executor, done, self.next_batch_number())

        return self._begin(outcomes)

    def found(self, executor: Executor, label: str) -> Future[str | None]:
        """Ask a backend with a queue for the id of the job that was sent with a label."""
        return self._begin(lambda: self._lanes[executor].carrier.found(label))

    def note_answered(self, answered: Sequence[tuple[Job, Executor, Result]]) -> list[Outcome]:
        """Write jobs that a cache answered into the history, and make their outcomes.

        Args:
            answered: each job, the executor whose result it is, and the result.
        """
        return record_answered(self.history, answered)

    @property
    def executors(self) -> Collection[Executor]:
        """The executors, in the cluster's order."""
        return self._lanes.keys()

    def executor(self, name: str) -> Executor | None:
        """The executor of a name; ``None`` if there is none."""
        return next((executor for executor in self._lanes if executor.name == name), None)

    @property
    def closed(self) -> bool:
        """Whether it takes no more jobs."""
        return self._closed

    def close(self) -> None:
        """Stop: cancel what waits, give up what runs, end the threads. Closing again does nothing.

        What runs at backends is cancelled there, which is waited for, for a limited time; Ctrl-C ends the waiting.
        """
        if self._thread.is_current:
            threading.Thread(target=self.close, name="qexec-close").start()
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self._thread.end(self._shut_down)
        except KeyboardInterrupt:
            self.say_what_is_left()
            raise
        self._give_back()
        self._retries.watch.close()
        for lane in self._lanes.values():
            lane.close()
            lane.executor.close()

    def let_go(self) -> Future[None] | None:
        """Cancel what is at backends, for a program that ends; callers that still wait are left waiting.

        Returns:
            What ends when that is done, after a limited time; ``None`` if there is nothing to wait for.
        """
        with self._lock:
            if self._closed or self._process != os.getpid():
                return None
            return self._thread.begin(self._let_go)

    def say_what_is_left(self) -> None:
        """Say which jobs have not been cancelled at their backends, and still run."""
        self.cancellations.say_what_is_left()

    def _refuse(self) -> NoReturn:
        if self._closed:
            raise ConfigurationError("this cluster is closed: open a new one to run more circuits.")
        raise ConfigurationError(
            "this cluster was opened in the process that this one was forked from, and its threads have stayed "
            "there: open a cluster here, and start processes by 'spawn' or 'forkserver'."
        )

    def _run_here(self, jobs: Sequence[Job]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        failed: list[tuple[list[int], Exception, list[Usage]]] = []
        accounts = accounts_of(jobs, self._lanes, self._budget)
        try:
            for indices in groups(jobs):
                spent: list[Usage] = []
                own = list(map(jobs.__getitem__, indices))
                try:
                    done = self._inline.run(own, accounts and chosen(accounts, indices), spent)
                except Exception as error:
                    failed.append((indices, without_secrets(error), spent))
                else:
                    health = self._lanes[own[0].executor].health
                    if health.failures:
                        health.succeeded()
                    outcomes.update(zip(indices, done, strict=True))
            going: dict[int, AskedFuture[Outcome]] = {}
            for indices, raised, spent in failed:
                own = list(map(jobs.__getitem__, indices))
                going.update(zip(indices, self._go_on(own, raised, chosen(accounts, indices), spent), strict=True))
            if going:
                outcomes.update(zip(going, wait(list(going.values())), strict=True))
        except BaseException:
            give_back(accounts)
            raise
        return list(map(outcomes.__getitem__, range(len(jobs))))

    def _go_on(
        self, jobs: Sequence[Job], error: Exception, accounts: Sequence[Account] | None, spent: Sequence[Usage]
    ) -> list[AskedFuture[Outcome]]:
        """After a failure in the calling thread: through the lanes, one by one."""
        if must_run_here(jobs) or in_engine_thread():
            raise error if isinstance(error, BudgetExceededError) else ExecutorError(jobs[0].executor.name, 1, error)
        queued_jobs = queued_jobs_of(jobs, self.clock, always, accounts=accounts)
        for queued_job, usage in zip(queued_jobs, spent, strict=False):
            queued_job.spent.append(usage)
        self._hand_in(self._take_over, self._lanes[jobs[0].executor], queued_jobs, error)
        return [queued_job.future for queued_job in queued_jobs]

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Run a coroutine in the engine's thread. It is cancelled when the engine closes."""
        future: Future[T] = Future()
        self._hand_in(self._background_tasks.begin, work, future)
        return future

    def _hand_in(self, function: Any, *arguments: Any) -> None:
        with self._lock:
            if self._closed or self._process != os.getpid():
                self._refuse()
            self._thread.call(function, *arguments)

    # -- in the engine's thread

    def finished(self, lane: Lane, batch: Batch, ran: BatchResult) -> None:
        """A batch has run: settle its jobs."""
        lane.health.succeeded()
        self._hedging.ended(batch, well=True)
        began = self.clock.time() - ran.seconds
        done = []
        wanted = []
        for queued_job, result, usage in zip(batch.queued_jobs, ran.results, ran.usages, strict=True):
            if queued_job not in batch.gone:
                wanted.append(queued_job)
                started, attempt = max(queued_job.started, began), queued_job.attempts + 1
                times = Times(queued_job.submitted, started, attempt, queued_job.number)
                done.append((queued_job.job, result, usage, times))
        outcomes = record_done(self.history, lane.executor, done, batch.number)
        for queued_job, outcome in zip(wanted, outcomes, strict=True):
            self._completions.settle(self._hedging.won(queued_job), JobState.DONE, outcome)
        self._retries.watch.look()

    def failed(self, lane: Lane, batch: Batch, error: BaseException) -> None:
        """A batch has failed: its jobs are tried again one by one, here or elsewhere."""
        wanted = [queued_job for queued_job in batch.queued_jobs if queued_job not in batch.gone]
        self._hedging.ended(batch, well=False)
        left = self._hedging.failed(lane, wanted)
        others = circuits_in(wanted) - circuits_in(left)
        self._retries.failed(lane, left, error, shared=batch.rows > 1, others=others)
        self.share_out()

    def _take_in(self, queued_jobs: Sequence[QueuedJob]) -> None:
        by_lane: dict[Lane, list[QueuedJob]] = {}
        for queued_job in queued_jobs:
            self._completions.take(queued_job)
            if queued_job.executor is None:
                self._common.put(queued_job)
            else:
                by_lane.setdefault(self._lanes[queued_job.executor], []).append(queued_job)
        for lane, own in by_lane.items():
            self._retries.place(lane, own)
        self.share_out()

    def _take_over(self, lane: Lane, queued_jobs: Sequence[QueuedJob], error: BaseException) -> None:
        """Take over jobs whose first attempt failed in the calling thread."""
        for queued_job in queued_jobs:
            self._completions.take(queued_job)
            queued_job.executor = lane.executor
        self._retries.failed(lane, queued_jobs, error, shared=circuits_in(queued_jobs) > 1)

    def share_out(self) -> None:
        """Let executors pull from the common queue, those with the least to do first."""
        if self._common:
            for lane in sorted(self._lanes.values(), key=lambda lane: lane.executor.load().waiting):
                lane.pump()

    def _give_up(self, queued_job: QueuedJob, lane: Lane, error: BaseException) -> None:
        if not self._hedging.failed(lane, [queued_job]):
            return
        if not isinstance(error, BudgetExceededError | StoreError | UnansweredError):
            error = ExecutorError(lane.executor.name, queued_job.attempts, error, queued_job.row)
        self._completions.settle(queued_job, JobState.FAILED, error)

    def _note_timeout(self, executor: Executor) -> None:
        self._lanes[executor].health.failed(self.clock.monotonic())

    async def _shut_down(self) -> None:
        tasks = [*self._background_tasks.abandon(), *self._abandon(self._lanes.values())]
        self._completions.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.cancellations.over()

    async def _let_go(self) -> None:
        self._completions.let_go()
        tasks = self._abandon(lane for lane in self._lanes.values() if isinstance(lane.executor, QueuedExecutor))
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.cancellations.over()

    def _abandon(self, lanes: Iterable[Lane]) -> list[asyncio.Future[BatchResult]]:
        """Give up all that waits, and what runs in these lanes; returns the futures that end because of it."""
        self._hedging.close()
        self._common.clear()
        return [future for lane in lanes for future in lane.abandon()]
