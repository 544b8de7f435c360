"""The executors of backends that one QuantumExecutor has built, for its experiments to share."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.experiment.splits import BackendCandidate
from pennylane_qexec.job import Load
from pennylane_qexec.providers import Backend

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
