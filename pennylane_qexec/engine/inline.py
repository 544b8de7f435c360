"""Small batches of local simulators run in the calling thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter

from pennylane_qexec.concurrency import context
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.engine import process_pool
from pennylane_qexec.engine.accounting import counted, settle_attempt, used
from pennylane_qexec.engine.history import History, record_done
from pennylane_qexec.engine.placement import EACH, HEAVY, is_one_batch, may_use_processes, seconds
from pennylane_qexec.engine.queued_jobs import same_call
from pennylane_qexec.engine.worker import perform
from pennylane_qexec.executors import DeviceExecutor, Executor
from pennylane_qexec.job import Job, Outcome, Times, Usage, Work
from pennylane_qexec.policies.budgets import Account

_WORTH_STARTING_PROCESSES = 2.0
_rows = attrgetter("rows")


class InlineRunner:
    """Runs jobs in the calling thread, where that is the fastest way.

    Args:
        history: where to write what ran.
        next_batch_number: numbers the batches.
        timeout: whether jobs may take so long only; then none runs here that could run elsewhere.
    """

    def __init__(self, history: History, next_batch_number: Callable[[], int], timeout: bool) -> None:
        self._history = history
        self._clock = history.clock
        self._next_batch_number = next_batch_number
        self._timeout = timeout
        self._heavy_seconds = 0.0

    def fits(self, jobs: Sequence[Job]) -> bool:
        """Whether to run these jobs in the calling thread: they must be, or it is faster than sending them anywhere.

        Several heavy circuits go to worker processes; those are started, beside the work here, once there has been
        enough of them.
        """
        if must_run_here(jobs):
            return True
        if self._timeout or not _may_run_here(jobs):
            return False
        circuits = sum(map(_rows, jobs))
        if circuits == 1 or in_engine_thread():
            return True
        estimate = sum(seconds(job.executor, (job.circuit,), job.rows) for job in jobs)
        if estimate < max(HEAVY, EACH * circuits):
            return True
        if sum(job.rows for job in jobs if may_use_processes(job.executor)) < 2:
            return True
        self._heavy_seconds += estimate
        if self._heavy_seconds > _WORTH_STARTING_PROCESSES:
            process_pool.shared_pool.warm_up()
        return not process_pool.shared_pool.warm

    def run(self, jobs: Sequence[Job], accounts: Sequence[Account] | None, spent: list[Usage]) -> list[Outcome]:
        """Run jobs of one executor and one call.

        Args:
            jobs: the jobs.
            accounts: what they have reserved of budgets; ``None`` if none counts.
            spent: where to put what each has used, if this fails; nothing if none of them ran.
        """
        executor: Executor = jobs[0].executor
        circuits = sum(map(_rows, jobs))
        executor.meter.add(circuits)
        submitted, start = self._clock.time(), self._clock.monotonic()
        usages: Sequence[Usage] = ()
        try:
            # Circuits that counted circuits ask for themselves do not count again.
            budgets = None if accounts is None else ()
            with context.inside(recorded=jobs[0].follower is not None, budgets=budgets):
                performed = perform(executor, Work.of(jobs))
            ran = counted(executor, jobs, performed)
            usages = ran.usages
        except BaseException as error:
            if not isinstance(error, Exception) or not executor.ran_nothing(error):
                usages = used(executor, jobs, (self._clock.monotonic() - start) / circuits)
                spent += usages
            raise
        finally:
            executor.meter.add(-circuits)
            self._history.spend(usages)
            if accounts is not None:
                settle_attempt(accounts, usages)
        executor.meter.ran(circuits, sum(map(attrgetter("shots"), usages)), ran.seconds)
        done = zip(jobs, ran.results, usages, repeat(Times(submitted, submitted)))
        return record_done(self._history, executor, done, self._next_batch_number())


def must_run_here(jobs: Sequence[Job]) -> bool:
    """Whether jobs cannot leave the calling thread.

    Backpropagation records what the simulator computes. And a device object may be in use by the very call that asks
    for the jobs, so that another thread would wait for it for ever.
    """
    inside = context.current().depth > 0
    for job in jobs:
        executor, call = job.executor, job.call
        if call.bound and call.config.gradient_method == "backprop":
            return True
        if inside and isinstance(executor, DeviceExecutor) and not executor.shareable:
            return True
    return False


def _may_run_here(jobs: Sequence[Job]) -> bool:
    """Whether jobs are such that the calling thread can run them, however long that takes."""
    for executor in dict.fromkeys(map(attrgetter("executor"), jobs)):
        if executor is None or executor.parallel != "auto" or not executor.local:
            return False
    sweeps = [job for job in jobs if job.sweep is not None]
    return not sweeps or all(is_one_batch(job.executor, job) for job in sweeps)  # others are divided where jobs wait


def groups(jobs: Sequence[Job]) -> list[list[int]]:
    """Indices of jobs that run together: same executor, same call, all sweeps or none."""
    found: list[list[int]] = []
    for index, job in enumerate(jobs):
        for group in found:
            first = jobs[group[0]]
            alike = first.executor is job.executor and (first.sweep is None) is (job.sweep is None)
            if alike and first.follower is job.follower and same_call(first.call, job.call):
                group.append(index)
                break
        else:
            found.append([index])
    return found
