"""Tasks of an experiment on their way: their executors, the cluster that runs them, and how they end.

Executors of backends are built once for each QuantumExecutor, and its experiments share them.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.mid_circuit import dynamic_part
from pennylane_qexec.circuits.results import check_result
from pennylane_qexec.cluster import QCluster
from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.engine import AskedFuture, process_pool
from pennylane_qexec.engine.placement import computing_seconds
from pennylane_qexec.errors import BudgetExceededError, ExecutorError, JobCancelledError, NoBackendError
from pennylane_qexec.executors import Executor
from pennylane_qexec.experiment.splits import BackendCandidate, too_small
from pennylane_qexec.experiment.tasks import CircuitTask, ShareResult, in_words
from pennylane_qexec.job import Call, Job, JobState, Load, Outcome
from pennylane_qexec.policies.faults import Fault, classify
from pennylane_qexec.providers import Backend
from pennylane_qexec.providers.backend import OF_CALLS
from pennylane_qexec.redaction import without_secrets

_SIZE = 256


class ExecutorPool:
    """Builds executors of backends when they are needed.

    What executors have compiled is of use to later runs, so they stay. One with a seed is built anew for each job: its
    results shall not depend on what ran before.

    Args:
        max_workers: how many worker processes a backend uses at most; ``None`` for all the cores, shared out over the
            backends of a run.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers
        self._executors: OnceCache[Executor] = OnceCache(_SIZE)
        self._in_processes: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._in_threads: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._last: dict[str, Executor] = {}
        self._candidates: dict[str, BackendCandidate] = {}
        self._lock = threading.Lock()

    def executor(self, backend: Backend, config: Mapping[str, Any], processes: bool) -> Executor:
        """The executor for a job.

        Args:
            backend: the job's backend.
            config: the job's options.
            processes: whether a local simulator runs in worker processes.

        Raises:
            ConfigurationError: the backend does not take these options.
        """
        if config.get("seed") is not None:
            return self._built(backend, config, processes)
        options = tuple(sorted((name, repr(value)) for name, value in config.items()))
        key = (str(backend), id(backend), processes, options)
        executor = self._executors.get(key, lambda: self._built(backend, config, processes))
        with self._lock:
            self._last[str(backend)] = executor
        return executor

    def may_use_processes(self, executor: Executor) -> bool:
        """Whether an executor runs in threads of this process, and one like it could run in worker processes."""
        return executor in self._in_threads

    def share_processes(self, executors: Sequence[Executor]) -> None:
        """Say how many worker processes each executor uses.

        A process that has to build a backend anew is worth it only where there is nothing else for it to do.
        """
        chosen = [executor for executor in executors if executor in self._in_processes]
        for executor in chosen:
            executor.workers = self._max_workers or max(1, cores() // len(chosen))

    def candidate(self, backend: Backend) -> BackendCandidate:
        """The backend as a candidate for shares, always the same: some policies remember who was last."""
        with self._lock:
            return self._candidates.setdefault(str(backend), BackendCandidate(backend, lambda: self._load(backend)))

    def _load(self, backend: Backend) -> Load:
        """What has been seen of a backend until now."""
        with self._lock:
            executor = self._last.get(str(backend))
        return Load() if executor is None else executor.load()

    def _built(self, backend: Backend, config: Mapping[str, Any], processes: bool) -> Executor:
        executor = backend.executor(**config)
        if executor.local and executor.parallel == "auto":
            seeded = config.get("seed") is not None  # each worker process would draw from a stream of its own
            executor.parallel = "process" if processes and executor.shareable and not seeded else "thread"
            if executor.parallel == "process" and executor.workers is None:
                self._in_processes.add(executor)
            elif executor.shareable and not seeded:
                self._in_threads.add(executor)
        return executor


logger = logging.getLogger("pennylane_qexec")

_DEAD = 2
"""How many circuits fail for good, one after the other and not by their own fault, before the others are not tried."""

_HEAVY = 3.0
"""Estimated seconds of computing from which circuits are worth starting a worker process for."""


@cache
def _call(method: str | None) -> Call:
    """What is asked of circuits, by the method of mid-circuit measurements; ``None`` for what suits each circuit."""
    return Call(config=ExecutionConfig(mcm_config=MCMConfig(mcm_method=method))).unbound()


class _ExperimentCluster(QCluster):
    """The cluster of an experiment's jobs."""

    def _settle_seeds(self) -> None:
        """Leave executors the seeds of their jobs: each job counts as it does alone, whatever runs beside it."""


OnFailure = Literal["refuse", "rerun", "partial"]
"""What to do about jobs that failed: not to merge results; to run their shots elsewhere; to merge what is there."""


@dataclass(frozen=True)
class Settings:
    """How the jobs of an experiment are run.

    Attributes:
        executors: where executors come from.
        processes: whether local simulators run in worker processes.
        on_failure: what is done about jobs that failed.
        adds_up: whether the shares of a circuit add up to it, so that failed ones may be run by other backends.
        cluster: options of the clusters that run its jobs: ``timeout``, ``retry``, ``budget``, ``cache``.
    """

    executors: ExecutorPool
    processes: bool
    on_failure: OnFailure
    adds_up: bool
    cluster: dict[str, Any]


class Submission:
    """Tasks that one cluster runs, each on its own backend.

    Args:
        tasks: what to run.
        settings: how.
        ended: called once for each task that has ended.
    """

    def __init__(self, tasks: Sequence[CircuitTask], settings: Settings, ended: Callable[[], None]) -> None:
        self._tasks = tasks
        self._settings = settings
        self._executors = settings.executors
        self._ended = ended
        self._begun = False
        self._lock = threading.Lock()
        self._cancelled = False
        self._cluster: QCluster | None = None
        self._sent: dict[AskedFuture[Outcome], CircuitTask] = {}
        self._returned: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._failures_in_a_row: Counter[str] = Counter()

    def send(self) -> None:
        """Build the executors, and send the circuits. Whatever goes wrong with a backend is an error of its tasks.

        Raises:
            BudgetExceededError: the tasks would pass a budget. It is the error of all of them.
        """
        self._begun = True
        lifecycle.begin(self, len(self._tasks))  # until they are jobs of the cluster
        try:
            if self._settings.processes:
                process_pool.shared_pool.warm_up()  # which takes seconds, and so may what comes next
            ready = self._placed(self._ready())
            if ready:
                self._submit(ready)
        except BaseException as error:
            self.cancel()
            for task in self._tasks:
                self._fail(task, error)
            if not isinstance(error, Exception) or isinstance(error, BudgetExceededError):
                raise
        finally:
            lifecycle.end(self, len(self._tasks))

    def run(self) -> None:
        """Send the circuits, unless they were; bring tasks to their end as their circuits end; close the cluster.

        To check what came back, and whoever listens, may take long, and a cluster's engine must not wait for it.
        """
        try:
            if not self._begun:
                with suppress(BudgetExceededError):  # it is the error of all tasks
                    self.send()
            for _ in self._sent:
                task = self._sent[self._returned.get()]
                try:
                    self._settle(task)
                except BaseException as error:
                    logger.exception("the end of circuit %d on %s could not be told", task.circuit, task.place)
                    self._end(task, error)
        finally:
            if self._cluster is not None:
                self._cluster.close()

    def cancel(self) -> None:
        """Give up what has not ended."""
        with self._lock:
            self._cancelled = True
            futures = list(self._sent)
        for future in futures:
            future.cancel()

    def _ready(self) -> dict[CircuitTask, Executor]:
        """The tasks that can be run, with their executors; the others have failed."""
        executors: dict[tuple[int, int], Executor | Exception] = {}
        ready = {}
        for task in self._tasks:
            key = (task.job, id(task.config))
            if key not in executors:
                executors[key] = self._executor(task)
            executor = executors[key]
            if isinstance(executor, Exception):
                self._fail(task, executor)
            elif error := _objection(executor, task):
                self._fail(task, error)
            else:
                ready[task] = executor
        return ready

    def _executor(self, task: CircuitTask) -> Executor | Exception:
        try:
            if self._cancelled:
                raise JobCancelledError("the experiment was cancelled before the job was sent.")
            return self._executors.executor(task.backend, task.config, self._settings.processes)
        except Exception as error:  # of a provider's library, or of the user's own provider
            return error

    def _placed(self, ready: Mapping[CircuitTask, Executor]) -> dict[CircuitTask, Executor]:
        """Have heavy circuits run in worker processes: a simulator in this one may keep it from doing anything else.

        While Aer computes, no other thread runs: no timeout, no Ctrl-C, no progress.
        """
        circuits: dict[Executor, list[QuantumScript]] = {}
        for task, executor in ready.items():
            if self._executors.may_use_processes(executor):
                circuits.setdefault(executor, []).extend(task.circuits())
        heavy = {executor for executor, own in circuits.items() if computing_seconds(executor, own) > _HEAVY}
        return {
            task: self._executors.executor(task.backend, task.config, True) if executor in heavy else executor
            for task, executor in ready.items()
        }

    def _submit(self, ready: Mapping[CircuitTask, Executor]) -> None:
        executors = list(dict.fromkeys(ready.values()))
        self._executors.share_processes(executors)
        # It does not fail over: an experiment is about the backends that were chosen.
        self._cluster = _ExperimentCluster(executors, failover=False, history_limit=0, **self._settings.cluster)
        circuits = [(task, circuit) for task in ready for circuit in task.circuits()]
        jobs = [Job(circuit, ready[task], _call(task.config.get(OF_CALLS)), alike=True) for task, circuit in circuits]
        for task in ready:
            task.sent = time.time()
        futures = self._cluster.submit(jobs, asked=lambda: True)
        sent = {future: task for future, (task, _) in zip(futures, circuits, strict=True)}
        for future, task in sent.items():
            task.futures.append(future)
        with self._lock:
            self._sent = sent
            cancelled = self._cancelled
        for future in sent:
            future.add_done_callback(self._returned.put)
        if cancelled:
            self.cancel()

    def _settle(self, task: CircuitTask) -> None:
        """Bring a task to its end, if all its circuits have ended."""
        if task.state.final or not all(future.done() for future in task.futures):
            return
        error: BaseException | None
        if any(future.cancelled() for future in task.futures):
            error = JobCancelledError("the job was cancelled.")
        else:
            error = next((found for future in task.futures if (found := future.exception()) is not None), None)
        if error is not None:
            self._fail(task, error)
            return
        outcomes = tuple([future.result() for future in task.futures])
        returned = tuple([outcome.result for outcome in outcomes])
        try:
            for circuit, result in zip(task.circuits(), returned, strict=True):
                check_result(circuit, result)
        except Exception as wrong:
            self._fail(task, wrong, outcomes)
            return
        self._failures_in_a_row[task.place] = 0
        self._end(task, None, outcomes, returned)

    def _fail(self, task: CircuitTask, error: BaseException, outcomes: tuple[Outcome, ...] = ()) -> None:
        self._end(task, error, outcomes)
        if isinstance(error, ExecutorError) and classify(error.cause) is not Fault.REJECTED:
            self._give_up_dead(task, error)

    def _give_up_dead(self, failed: CircuitTask, error: ExecutorError) -> None:
        """After failures that are not the circuits' fault, do not wait for a backend once for each circuit."""
        alike = {task for task in self._sent.values() if task.place == failed.place and task.config is failed.config}
        self._failures_in_a_row[failed.place] += 1
        if any(task.done for task in alike) and self._failures_in_a_row[failed.place] < _DEAD:
            return
        for future, task in self._sent.items():
            if task in alike:
                self._end(task, error)
                future.cancel()

    def _end(
        self,
        task: CircuitTask,
        error: BaseException | None,
        outcomes: tuple[Outcome, ...] = (),
        returned: ShareResult | None = None,
    ) -> None:
        """A task comes to its end. One that has come to it already stays as it is."""
        if task.state.final:
            return
        task.outcomes, task.returned, task.ended = outcomes, returned, time.time()
        task.error = without_secrets(error) if isinstance(error, Exception) else error  # of somebody else's code
        given_up = isinstance(error, JobCancelledError)
        task.state = JobState.DONE if error is None else JobState.CANCELLED if given_up else JobState.FAILED
        if error is not None and not isinstance(error, ExecutorError | JobCancelledError):
            # The engine has logged what executors raise.
            logger.warning("circuit %d failed on %s: %s", task.circuit, task.place, in_words(error))
        self._ended()


def _objection(executor: Executor, task: CircuitTask) -> Exception | None:
    """Why an executor will not take a task's circuits."""
    for circuit in task.circuits():
        try:
            reason = too_small(task.backend, circuit) or _unsaid(executor, circuit) or executor.rejects(circuit)
        except Exception as error:  # of a user's executor
            return error
        if reason is not None:
            return NoBackendError(f"circuit {task.circuit}", {task.place: reason})
    return None


def _unsaid(executor: Executor, circuit: QuantumScript) -> str | None:
    """Why a circuit that only Qiskit can say is none for an executor."""
    part = dynamic_part(circuit)
    if part is None or executor.dynamic:
        return None
    return f"runs no circuit with {part.hyperparameters['reason']}, which only Aer runs: take a backend of local_aer"
