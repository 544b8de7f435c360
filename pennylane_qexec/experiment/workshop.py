"""Executors of backends, built when they are needed, and kept for the next run."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from pennylane_qexec.executors.base import Executor
from pennylane_qexec.experiment.places import Place
from pennylane_qexec.job import Load
from pennylane_qexec.kept import Kept
from pennylane_qexec.machine import cores
from pennylane_qexec.providers import Backend

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
