"""Clusters as executors of other clusters, and clusters that are sent to other processes.

A cluster that was sent is opened in a process once, however often it arrives. A process forked from one with clusters
cannot use them, nor those that are sent to it: start processes by ``spawn`` or ``forkserver``.
"""

from __future__ import annotations

import threading
import uuid
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any
from weakref import WeakValueDictionary

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency import context
from pennylane_qexec.concurrency.event_loop import in_engine_thread
from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.engine import DelegatingExecutor, capacity_of
from pennylane_qexec.errors import ConfigurationError, NoExecutorError
from pennylane_qexec.executors import Executor
from pennylane_qexec.executors.base import status_of_members
from pennylane_qexec.executors.identity import of_all
from pennylane_qexec.job import Call, Result, Status, Usage, Work, together, without_derivatives

_NAMED = 3
_MOST_WORKERS = 64


class Nestable(Closeable):
    """A cluster, as the one around it sees it."""

    executors: list[Executor]

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether it runs no more circuits."""

    @abstractmethod
    def candidates(self, circuit: QuantumScript, refusals: Mapping[Executor, Exception]) -> list[Executor]:
        """The executors that can run a circuit now."""

    @abstractmethod
    def execute_counted(
        self,
        circuits: Sequence[QuantumScript],
        config: ExecutionConfig | None = None,
        numbers: Sequence[int] = (),
    ) -> tuple[list[Result], list[Usage]]:
        """Run circuits by the cluster's policies, with their numbers if they have any; also says what each has used."""

    @abstractmethod
    def estimate(self, circuits: Sequence[QuantumScript]) -> Any:
        """What circuits are going to use."""


class ClusterExecutor(DelegatingExecutor):
    """Runs circuits on a cluster, by that cluster's own policies.

    The cluster stays open when the one around it is closed. Named after the executors inside, joined by ``+``.

    Args:
        cluster: the cluster.
    """

    def __init__(self, cluster: Nestable) -> None:
        names = [executor.name for executor in cluster.executors]
        more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
        # Each batch waits in a thread: enough of them to keep all inside busy, few enough to afford the threads.
        workers = min(_MOST_WORKERS, 1 + sum(map(capacity_of, cluster.executors)))
        super().__init__("+".join(names[:_NAMED] + more), workers=workers)
        self.cluster = cluster

    @property
    def members(self) -> Sequence[Executor]:
        """The executors of the cluster inside."""
        return self.cluster.executors

    def status(self) -> Status:
        """Online while an executor inside is."""
        return status_of_members(self.members)

    @property
    def equivalence(self) -> Hashable:
        """That of the executors inside, if they have it in common; else its own."""
        return of_all(self.members) or id(self)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Run circuits by the policies of the cluster inside."""
        return self.perform(Work(tuple(circuits)))

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch, with the options of the user's call that do not concern derivatives."""
        return self.perform_counted(work)[0]

    def perform_counted(self, work: Work) -> tuple[Sequence[Result], Sequence[Usage]]:
        """The same, with what each circuit or sweep has used inside, where sweeps are run as their circuits."""
        if work.call.method != "execute":
            return super().perform(work), ()
        if work.sweeps:
            results, usages = self.perform_counted(work.expanded())
            return work.by_sweep(results), list(map(together, work.by_sweep(usages)))
        config = without_derivatives(work.call.config)
        return self.cluster.execute_counted(work.circuits, config, work.numbers)

    def usage(self, circuit: QuantumScript) -> Usage:
        """What the executors inside are going to bill, as the policies stand."""
        inside = self.cluster.estimate([circuit])
        return Usage(inside.circuits, inside.shots, inside.cost, inside.seconds)

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same, without asking the policies, of which a user's own may not be asked twice: those inside count."""
        return super().usage(circuit)

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why none of the executors inside can take a circuit."""
        if self.cluster.closed:
            return "is a cluster that was closed"
        try:
            # The engine's thread belongs to no durable run.
            with context.inside(recorded=True) if in_engine_thread() else nullcontext():
                self.cluster.candidates(circuit, {})
        except NoExecutorError as error:
            return f"has no executor for it ({_joined(error.reasons)})"
        return None


def with_clusters_wrapped(specs: Any, outer: Nestable) -> Any:
    """The specs of a cluster's executors, with an executor in place of each cluster among them.

    Raises:
        ConfigurationError: a cluster was given twice, or contains the one that it is given to.
    """
    several = isinstance(specs, Sequence) and not isinstance(specs, str)
    clusters = [spec for spec in (specs if several else [specs]) if isinstance(spec, Nestable)]
    for cluster in clusters:
        if clusters.count(cluster) > 1:
            raise ConfigurationError(f"{cluster!r} was given twice: give it once, with more weight in the policy.")
        if outer in (cluster, *_clusters_in(cluster)):
            raise ConfigurationError("a cluster cannot be one of its own executors: give it another one.")
    if not several:
        return ClusterExecutor(specs) if clusters else specs
    return [ClusterExecutor(spec) if isinstance(spec, Nestable) else spec for spec in specs]


def _clusters_in(cluster: Nestable) -> Iterator[Nestable]:
    """The clusters inside of a cluster, at any depth."""
    for executor in cluster.executors:
        if isinstance(executor, ClusterExecutor):
            yield executor.cluster
            yield from _clusters_in(executor.cluster)


def _joined(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name!r} {reason}" for name, reason in reasons.items())


_open: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = threading.RLock()


def new_token(cluster: Any) -> str:
    """A name for a cluster that is the same in all processes."""
    token = uuid.uuid4().hex
    _open[token] = cluster
    return token


def arrived(token: str, build: Callable[[], Any]) -> Any:
    """The cluster of that name in this process; opened now if it has not been, or is closed.

    Args:
        token: its name.
        build: opens it.
    """
    with _lock:
        cluster = _open.get(token)
        if cluster is None or cluster.closed:
            cluster = _open[token] = build()
        return cluster
