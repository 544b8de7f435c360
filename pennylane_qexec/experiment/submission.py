"""Sends the entries of an experiment: builds executors when they are needed, runs entries on a cluster, ends them."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache, partial
from typing import Any, NamedTuple

from pennylane.devices import ExecutionConfig, MCMConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.mid_circuit import dynamic_part
from pennylane_qexec.cluster.cluster import QCluster
from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.once import Kept
from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.concurrency.thread_pool import ThreadCrew
from pennylane_qexec.engine import AskedFuture, process_pool
from pennylane_qexec.engine.placement import computing_seconds
from pennylane_qexec.errors import BudgetExceededError, ExecutorError, JobCancelledError, NoBackendError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.experiment.splits import Place, too_small
from pennylane_qexec.experiment.tasks import Entry, Part, in_words
from pennylane_qexec.job import Call, Job, JobState, Load, Outcome
from pennylane_qexec.persistence.cache.cache import Cache
from pennylane_qexec.policies.budgets import Budget
from pennylane_qexec.policies.faults import Fault, classify
from pennylane_qexec.policies.retries import Backoff
from pennylane_qexec.providers import Backend
from pennylane_qexec.providers.backend import OF_CALLS
from pennylane_qexec.redaction import without_secrets

logger = logging.getLogger("pennylane_qexec")

_KEPT = 256


class Workshop:
    """Builds the executors of one :class:`QuantumExecutor`.

    What executors have compiled is of use to later runs, so they are kept. One with a seed is built anew for each job:
    its results shall not depend on what ran before.

    Args:
        max_workers: how many worker processes a backend uses at most; ``None`` for all the cores, shared out over the
            backends of a run.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers
        self._kept: Kept[Executor] = Kept(_KEPT)
        self._in_processes: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._here: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._last: dict[str, Executor] = {}
        self._places: dict[str, Place] = {}
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
        key = (
            str(backend),
            id(backend),
            processes,
            tuple(sorted((name, repr(value)) for name, value in config.items())),
        )
        executor = self._kept.get(key, lambda: self._built(backend, config, processes))
        with self._lock:
            self._last[str(backend)] = executor
        return executor

    def may_move(self, executor: Executor) -> bool:
        """Whether an executor runs in this process, and one like it could run in worker processes."""
        return executor in self._here

    def share_processes(self, executors: Sequence[Executor]) -> None:
        """Say how many worker processes each executor uses.

        A process that has to build a backend anew is worth it only where there is nothing else for it to do.
        """
        chosen = [executor for executor in executors if executor in self._in_processes]
        for executor in chosen:
            executor.workers = self._max_workers or max(1, cores() // len(chosen))

    def place(self, backend: Backend) -> Place:
        """The backend as a candidate for shares, always the same: some policies remember who was last."""
        with self._lock:
            return self._places.setdefault(str(backend), Place(backend, lambda: self._load(backend)))

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
                self._here.add(executor)
        return executor


@cache
def _call(method: str | None) -> Call:
    """What is asked of circuits, by the method of mid-circuit measurements; ``None`` for what suits each circuit."""
    return Call(config=ExecutionConfig(mcm_config=MCMConfig(mcm_method=method))).unbound()


_DEAD = 2
"""How many circuits fail for good, one after the other and not by their own fault, before the others are not tried."""

_HEAVY = 3.0
"""Estimated seconds of computing from which circuits are worth starting a worker process for."""


class _Ready(NamedTuple):
    """An entry that can be run, and what runs."""

    entry: Entry
    executor: Executor
    circuits: list[QuantumScript]


class _Jobs(QCluster):
    """The cluster of an experiment's jobs."""

    def _settle_seeds(self) -> None:
        """Leave executors the seeds of their jobs: each job counts as it does alone, whatever runs beside it."""


class Launch:
    """Runs entries, each on its own backend, and says when they have ended.

    Args:
        entries: what to run.
        workshop: where executors come from.
        processes: whether local simulators run in worker processes.
        timeout: seconds that each circuit may take; ``None`` for no limit.
        retry: how often a circuit is tried.
        budget: what all of them may use at most; ``None`` for no limit.
        cache: answers circuits whose results are known; ``None`` for none.
        ended: called once for each entry that has ended, and at last without one: in the thread that starts the launch,
            and in one that does nothing else.

    Attributes:
        refused: why nothing was sent, if it would have passed a budget.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        workshop: Workshop,
        processes: bool,
        timeout: float | None,
        retry: Backoff,
        budget: Budget | None,
        cache: Cache | None,
        ended: Callable[[Entry | None], None],
    ) -> None:
        self._entries = entries
        self._workshop = workshop
        self._processes = processes
        self._timeout = timeout
        self._retry = retry
        self._budget = budget
        self._cache = cache
        self.refused: BudgetExceededError | None = None
        self._ended = ended
        self._lock = threading.Lock()
        self._left = set(entries)
        self._futures: dict[Entry, list[AskedFuture[Outcome]]] = {}
        self._sizes: Counter[tuple[str, int]] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._cluster: QCluster | None = None
        self._cancelled = False
        # Checking what came back, and whoever listens, may take long, and a cluster's engine must not wait for it.
        self._hand = ThreadCrew(1, "qexec-experiment-ends")
        self._followed = 0

    def start(self) -> None:
        """Build the executors, and send the circuits. Whatever goes wrong with a backend is an error of its entries."""
        try:
            if self._processes:
                process_pool.crew.warm_up()  # which takes seconds, and so may what comes next
            ready = self._heavy_elsewhere(self._with_executors())
            if ready:
                self._send(ready)
        except BaseException as error:
            self.cancel()
            if isinstance(error, BudgetExceededError):
                self.refused = error
            for entry in self._entries:
                self._fail(entry, error)
            if not isinstance(error, Exception):
                raise

    def cancel(self) -> None:
        """Give up what has not ended."""
        with self._lock:
            self._cancelled = True
            futures = [future for group in self._futures.values() for future in group]
        for future in futures:
            future.cancel()

    def _with_executors(self) -> list[_Ready]:
        """The entries that can be run, with their executors; the others have failed."""
        executors: dict[tuple[str, int, int], Executor | Exception] = {}
        ready = []
        for entry in self._entries:
            seeded = entry.job if entry.config.get("seed") is not None else -1
            key = (entry.place, id(entry.config), seeded)
            if key not in executors:
                executors[key] = self._executor(entry)
            executor = executors[key]
            if isinstance(executor, Exception):
                self._fail(entry, executor)
                continue
            circuits = entry.form.circuits(entry.shots, entry.share)
            error = _objection(executor, circuits, entry)
            if error is not None:
                self._fail(entry, error)
            else:
                ready.append(_Ready(entry, executor, circuits))
        return ready

    def _heavy_elsewhere(self, ready: Sequence[_Ready]) -> list[_Ready]:
        """Have heavy circuits run in worker processes: a simulator in this one may keep it from doing anything else.

        While Aer computes, no other thread runs: no timeout, no Ctrl-C, no progress.
        """
        circuits: dict[Executor, list[QuantumScript]] = {}
        for one in ready:
            circuits.setdefault(one.executor, []).extend(one.circuits)
        elsewhere: dict[Executor, Executor] = {}
        for one in ready:
            here = one.executor
            if here not in elsewhere:
                heavy = self._workshop.may_move(here) and computing_seconds(here, circuits[here]) > _HEAVY
                moved = self._workshop.executor(one.entry.backend, one.entry.config, True) if heavy else here
                elsewhere[here] = moved
        return [one._replace(executor=elsewhere[one.executor]) for one in ready]

    def _executor(self, entry: Entry) -> Executor | Exception:
        try:
            if self._cancelled:
                raise JobCancelledError("the experiment was cancelled before the job was sent.")
            return self._workshop.executor(entry.backend, entry.config, self._processes)
        except Exception as error:  # of a provider's library, or of the user's own provider
            return error

    def _send(self, ready: Sequence[_Ready]) -> None:
        executors = list({id(one.executor): one.executor for one in ready}.values())
        self._workshop.share_processes(executors)
        self._cluster = _Jobs(
            executors,
            failover=False,
            timeout=self._timeout,
            retry=self._retry,
            budget=self._budget,
            cache=self._cache,
        )
        jobs = [
            Job(circuit, one.executor, _call(one.entry.config.get(OF_CALLS)))
            for one in ready
            for circuit in one.circuits
        ]
        for one in ready:
            one.entry.sent = time.time()
        futures = iter(self._cluster.submit(jobs, asked=lambda: True))
        with self._lock:
            for one in ready:
                self._futures[one.entry] = one.entry.futures = [next(futures) for _ in one.circuits]
            cancelled = self._cancelled
            self._followed = len(self._futures)
        self._hand.ready()
        for entry in self._futures:
            self._follow(entry)
        if cancelled:
            self.cancel()

    def _follow(self, entry: Entry) -> None:
        futures = self._futures[entry]
        missing = [len(futures)]

        def note(future: Future[Outcome]) -> None:
            with self._lock:
                missing[0] -= 1
                last = not missing[0]
            if last:
                lifecycle.begin(self, 1)
                self._hand.submit(partial(contextvars.copy_context().run, self._settle_surely, entry, futures))

        for future in futures:
            future.add_done_callback(note)

    def _settle_surely(self, entry: Entry, futures: Sequence[Future[Outcome]]) -> None:
        """Bring an entry to its end, whatever happens, in the thread that does this for one after the other."""
        try:
            self._settle(entry, futures)
        except BaseException as error:
            logger.exception("the end of circuit %d on %s could not be told", entry.circuit, entry.place)
            self._end(entry, JobState.FAILED, (), error=error)
        finally:
            with self._lock:
                self._followed -= 1
                over = not self._followed
            if over:
                self._hand.close()
            lifecycle.end(self)

    def _settle(self, entry: Entry, futures: Sequence[Future[Outcome]]) -> None:
        """All circuits of an entry have ended."""
        error: BaseException | None = None
        if any(future.cancelled() for future in futures):
            error = JobCancelledError("the job was cancelled.")
        else:
            error = next((found for future in futures if (found := future.exception()) is not None), None)
        if error is not None:
            self._fail(entry, error)
            return
        outcomes = tuple([future.result() for future in futures])
        part = tuple([outcome.result for outcome in outcomes])
        try:
            entry.form.check(part, entry.shots)
        except Exception as wrong:
            self._fail(entry, wrong, outcomes)
            return
        with self._lock:
            self._sizes.update([(outcome.executor, outcome.batch) for outcome in outcomes])
            self._in_a_row[entry.place] = 0
        self._end(entry, JobState.DONE, outcomes, part=part)

    def _fail(self, entry: Entry, error: BaseException, outcomes: tuple[Outcome, ...] = ()) -> None:
        given_up = isinstance(error, JobCancelledError)
        self._end(entry, JobState.CANCELLED if given_up else JobState.FAILED, outcomes, error=error)
        if isinstance(error, ExecutorError) and classify(error.cause) is not Fault.REJECTED:
            self._give_up_dead(entry, error)

    def _give_up_dead(self, failed: Entry, error: ExecutorError) -> None:
        """After failures that are not the circuits' fault, do not wait for a backend once for each circuit."""
        with self._lock:
            lane = [entry for entry in self._futures if entry.place == failed.place and entry.config is failed.config]
            worked = any(entry.done for entry in lane)
            self._in_a_row[failed.place] += 1
            dead = not worked or self._in_a_row[failed.place] >= _DEAD
            rest = [entry for entry in lane if entry in self._left] if dead else []
        for entry in rest:
            self._end(entry, JobState.FAILED, (), error=error)
            for future in self._futures[entry]:
                future.cancel()

    def _end(
        self,
        entry: Entry,
        state: JobState,
        outcomes: tuple[Outcome, ...],
        part: Part | None = None,
        error: BaseException | None = None,
    ) -> None:
        """An entry comes to its end. One that has come to it already stays as it is."""
        with self._lock:
            if entry not in self._left:
                return
            entry.outcomes, entry.batches = outcomes, self._sizes
            entry.part, entry.error, entry.ended = part, _safe(error), time.time()
            entry.state = state
            self._left.discard(entry)
            last = not self._left
        if state is JobState.FAILED and error is not None and not isinstance(error, ExecutorError):
            # The engine has logged what executors raise.
            logger.warning("circuit %d failed on %s: %s", entry.circuit, entry.place, in_words(error))
        try:
            self._ended(entry)
        finally:
            if last:
                self._close()

    def _close(self) -> None:
        try:
            if self._cluster is not None:
                self._cluster.close()
        finally:
            self._ended(None)


def _safe(error: BaseException | None) -> BaseException | None:
    """An error of somebody else's code without secrets."""
    return without_secrets(error) if isinstance(error, Exception) else error


def _objection(executor: Executor, circuits: Sequence[QuantumScript], entry: Entry) -> Exception | None:
    """Why an executor will not take an entry's circuits."""
    for circuit in circuits:
        try:
            reason = too_small(entry.backend, circuit) or _unsaid(executor, circuit) or executor.rejects(circuit)
        except Exception as error:  # of a user's executor
            return error
        if reason is not None:
            return NoBackendError(f"circuit {entry.circuit}", {entry.place: reason})
    return None


def _unsaid(executor: Executor, circuit: QuantumScript) -> str | None:
    """Why a circuit that only Qiskit can say is none for an executor."""
    part = dynamic_part(circuit)
    if part is None or executor.dynamic:
        return None
    return f"runs no circuit with {part.hyperparameters['reason']}, which only Aer runs: take a backend of local_aer"
