"""Sources of ours opened as clusters in a worker process, and what a job has them run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.cluster import QCluster, submit_sweeps, sweeps_of
from pennylane_qexec.concurrency.futures import wait
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, JobCancelledError
from pennylane_qexec.executors import IDEAL, Executor, executor
from pennylane_qexec.job import Result, Sweep
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import Store, open_store
from pennylane_qexec.server.sources import Kind, Source

_MOST_CLUSTERS = 16  # a factory's and Aer's are one for each backend that jobs name

_clusters: OnceCache[QCluster] = OnceCache(_MOST_CLUSTERS)
_stores: OnceCache[Store] = OnceCache(1)


@dataclass(frozen=True)
class ClusterJob:
    """What of a job does not depend on its program.

    Attributes:
        id: of the job.
        source: what runs it.
        metadata: of the backend that it names, a ``BackendMetadata``.
        backend: makes the backend of Qiskit's that has the metadata's noise; only Aer asks for it.
        store: the server's store, where what waits for others is recorded; ``None`` for nowhere.
        seed: that the job's user has given.
    """

    id: str
    source: Source
    metadata: Any
    backend: Callable[[], Any]
    store: str | None = None
    seed: int | None = None

    @contextmanager
    def cluster(self) -> Iterator[QCluster]:
        """What runs the circuits of the job, with its policies and its budget. With a seed, it is built for this job.

        Raises:
            ConfigurationError: it cannot be built, or takes no seed of a job.
        """
        if self.seed is None:
            yield _clusters.get((self.source.name, self._backend_name), self._opened)
            return
        if isinstance(self.source.given, Executor | QCluster):
            raise ConfigurationError(
                f"seed_simulator={self.seed}: {self.source.name!r} was built when the server began, with a seed of its "
                "own or none. Leave the option out."
            )
        with closing(self._opened()) as cluster:
            yield cluster

    def run(
        self, cluster: QCluster, circuits: Sequence[QuantumScript], config: ExecutionConfig | None = None
    ) -> list[Result]:
        """Run circuits, and wait; those that differ in numbers only run as sweeps.

        Raises:
            QExecError: they cannot be run, or were not.
            JobCancelledError: :func:`cancel` was called.
        """
        found = sweeps_of(circuits)
        results: dict[int, Result] = {}
        rows = self.run_sweeps(cluster, [sweep for _, sweep in found], config)
        for (places, _), own in zip(found, rows, strict=True):
            results.update(zip(places, own, strict=True))
        return [results[place] for place in range(len(circuits))]

    def run_sweeps(
        self, cluster: QCluster, sweeps: Sequence[Sweep], config: ExecutionConfig | None = None
    ) -> list[list[Result]]:
        """Run sweeps, and wait; see :meth:`run`."""
        if not sweeps:  # as for circuits whose bits are all known to be 0
            return []
        with running(self.id) as begin, self._recorded(cluster):
            futures, finish = begin(lambda: submit_sweeps(cluster, sweeps, config, self._first_number(cluster)))
            try:
                rows: list[list[Result]] = finish(wait(futures))
                return rows
            except CancelledError as error:
                raise JobCancelledError(_CANCELLED.format(self.id)) from error

    def _first_number(self, cluster: QCluster) -> int | None:
        """By which executors with a seed draw: no two jobs draw the same shots, nor do two processes."""
        if self.seed is not None:
            return 0
        if not any(one.has_seed for one in cluster.executors):
            return None
        return int.from_bytes(blake2b(self.id.encode(), digest_size=6).digest()) << 14

    def _recorded(self, cluster: QCluster) -> Any:
        """A durable run of the job's own, where others are sent circuits: run again, it finds what was sent."""
        if self.store is None or not self.source.waits or all(one.local for one in cluster.executors):
            return nullcontext()
        store = self.store
        return durable_run(f"server job {self.id}", _stores.get(store, lambda: open_store(store)))

    @property
    def _backend_name(self) -> str | None:
        """The name of the backend's metadata, if what runs the job depends on it."""
        return self.metadata.name if self.source.kind in (Kind.AER, Kind.FACTORY) else None

    def _opened(self) -> QCluster:
        made = self.source.given if isinstance(self.source.given, QCluster) else self._executor()
        members = made.executors if isinstance(made, QCluster) else [made]
        for one in members:
            if self.seed is not None:
                one.reseed(self.seed)
            if self.seed is not None and not one.has_seed:
                raise ConfigurationError(
                    f"seed_simulator={self.seed}: {one.name!r} draws its shots elsewhere, by no seed. Leave the option "
                    "out."
                )
            if not self.source.waits:
                one.parallel = "thread"  # this is a worker process already
        return made if isinstance(made, QCluster) else QCluster([made])

    def _executor(self) -> Any:
        source = self.source
        if isinstance(source.given, Executor):
            return source.given
        if source.kind is Kind.AER:
            noisy = source.noise and self.metadata.properties is not None
            return executor({**source.given, **({"backend": self.backend()} if noisy else {})})
        if source.kind is not Kind.FACTORY:
            return executor(source.given)
        made = source.given(self.metadata)
        if not isinstance(made, Executor | QCluster):
            raise ConfigurationError(
                f"{source.name!r} made {made!r} of the metadata of {self.metadata.name!r}: a function that a server is "
                "given returns an Executor."
            )
        return made


def is_ideal(cluster: QCluster) -> bool:
    """Whether nothing in a cluster has noise, so that qubits to which nothing happens are known to be 0."""
    return all(one.equivalence == IDEAL for one in cluster.executors)


# Cancelling

_CANCELLED = "job {!r} was cancelled."

_Begin = Callable[[Callable[[], Any]], Any]


class _RunningJob:
    """A job that runs in a thread of this process."""

    def __init__(self, job_id: str) -> None:
        self._id = job_id
        self._lock = threading.Lock()
        self._futures: Sequence[Future[Any]] = ()
        self._cancelled = False

    def begin(self, submit: Callable[[], Any]) -> Any:
        """Submit circuits, unless the job was cancelled; returns what ``submit`` does, the futures first."""
        with self._lock:
            if self._cancelled:
                raise JobCancelledError(_CANCELLED.format(self._id))
            futures, finish = submit()
            self._futures = futures
        return futures, finish

    def cancel(self) -> None:
        """Stop what was submitted, and submit nothing more."""
        self._cancelled = True  # seen by begin(), before or after it has submitted
        with self._lock:
            futures = self._futures
        for future in futures:
            future.cancel()


_jobs: dict[str, _RunningJob] = {}


@contextmanager
def running(job_id: str) -> Iterator[_Begin]:
    """While a job runs in this thread, from its decoding to its result, :func:`cancel` stops it. It may be nested.

    Yields:
        What submits circuits of the job; raises :class:`JobCancelledError` when the job was cancelled.
    """
    outer = _jobs.get(job_id)
    job = outer or _jobs.setdefault(job_id, _RunningJob(job_id))
    try:
        yield job.begin
    finally:
        if outer is None:
            _jobs.pop(job_id, None)


def cancel(job_id: str) -> bool:
    """Stop a job that runs in a thread of this process, and what it has sent to others.

    Returns:
        Whether it was running. Where it runs, :class:`JobCancelledError` is raised then.
    """
    job = _jobs.get(job_id)
    if job is not None:
        job.cancel()
    return job is not None
