"""Executors to test with: one that fails as it is told, and a backend with a queue."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pennylane as qml
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import DeviceExecutor, Executor, QueuedExecutor
from pennylane_qexec.executors.base import IDEAL
from pennylane_qexec.job import JobState, Result


def flip(angle: float, shots: int | None = None, wire: Any = 0) -> QuantumScript:
    """A circuit of one qubit, turned by an angle about X, that measures Z: its expectation value is ``cos(angle)``."""
    return QuantumScript([qml.RX(angle, wire)], [qml.expval(qml.Z(wire))], shots=shots)


class _Simulated(Executor):
    """Has its results from a simulator without noise."""

    def __init__(self, name: str, seed: int | None, **options: Any) -> None:
        super().__init__(name, **options)
        self._simulator = DeviceExecutor("default.qubit", seed=seed)

    @property
    def equivalence(self) -> Hashable:
        """That of simulators without noise."""
        return IDEAL

    @property
    def streams(self) -> frozenset[Hashable]:
        """The simulator's seed."""
        return self._simulator.streams

    def reseed(self, seed: int) -> None:
        """Give the simulator another seed."""
        self._simulator.reseed(seed)


class ScriptedExecutor(_Simulated):
    """Runs circuits on ``default.qubit``, after the failures it was told to have.

    Args:
        name: its name.
        failures: for each batch in turn, the exception to raise, or ``None`` to run it; after the last, all run.
        gate: if given, a batch waits until this event is set.
        seed: of the simulator.
        options: options of :class:`Executor`.

    Attributes:
        batches: the circuits of every batch that was run or failed, in order.
        shots_run: the shots that were really run, all together, in all bases that were measured.
        started: set when the first batch has started.
    """

    def __init__(
        self,
        name: str = "scripted",
        *,
        failures: Iterable[BaseException | None] = (),
        gate: threading.Event | None = None,
        seed: int | None = 0,
        **options: Any,
    ) -> None:
        super().__init__(name, seed, **options)
        self._failures = iter(failures)
        self._gate = gate
        self._lock = threading.Lock()
        self.batches: list[tuple[QuantumScript, ...]] = []
        self.shots_run = 0
        self.started = threading.Event()

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Raise what is next in the script, or run the circuits."""
        with self._lock:
            self.batches.append(tuple(circuits))
            failure = next(self._failures, None)
        self.started.set()
        if self._gate is not None:
            self._gate.wait()
        if failure is not None:
            raise failure
        with self._lock:
            self.shots_run += sum(self._simulator.usage(circuit).shots for circuit in circuits)
        return self._simulator.run(circuits)


class FakeQPU(_Simulated, QueuedExecutor):
    """A backend with a queue, in which a job is done when it has been polled a number of times.

    Args:
        name: its name.
        polls: how often a job is polled until it is done; ``None`` for never.
        ends: the state that jobs end in.
        labels: whether it keeps the labels of jobs.
        unheard: of so many submissions, the first ones, the answer is lost: there is a job, and nobody is told its id.
        seed: of the simulator.
        options: options of :class:`Executor`.

    Attributes:
        jobs: the circuits of every job, by its id.
        labelled: the labels of the jobs that have one, by their ids.
        adopted: the ids of jobs that were taken over, in order.
        cancelled: the ids of jobs that were cancelled, in order.
    """

    poll_interval = 0.001

    def __init__(
        self,
        name: str = "fake-qpu",
        *,
        polls: int | None = 2,
        ends: JobState = JobState.DONE,
        labels: bool = True,
        unheard: int = 0,
        seed: int | None = 0,
        **options: Any,
    ) -> None:
        super().__init__(name, seed, **options)
        self._polls = polls
        self._ends = ends
        self._keeps_labels = labels
        self._unheard = unheard
        self._numbers = itertools.count(1)
        self._polled: dict[str, int] = {}
        self.jobs: dict[str, Sequence[QuantumScript]] = {}
        self.labelled: dict[str, str] = {}
        self.adopted: list[str] = []
        self.cancelled: list[str] = []
        self.submitted = threading.Event()
        self.stopped = threading.Event()

    def another(self) -> FakeQPU:
        """An executor for the same backend, with the same jobs, as another process would have it."""
        return copy.copy(self)

    @property
    def labels(self) -> bool:
        """Whether the labels of jobs are kept."""
        return self._keeps_labels

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Keep the circuits as a job."""
        return self.submit_labelled(circuits, "")

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Keep the circuits as a job, with its label."""
        job_id = f"{self.name}-{next(self._numbers)}"
        self.jobs[job_id] = circuits
        self._polled[job_id] = 0
        if label and self.labels:
            self.labelled[job_id] = label
        self.submitted.set()
        if len(self.jobs) <= self._unheard:
            raise ConnectionError("the line is dead")
        return job_id

    def find(self, label: str) -> str | None:
        """The first job with a label that has not failed and was not cancelled."""
        lost = (JobState.FAILED, JobState.CANCELLED)
        found = (one for one, given in self.labelled.items() if given == label and self._state(one) not in lost)
        return next(found, None)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Note that the job was taken over."""
        self._check(job_id)
        self.adopted.append(job_id)

    def poll(self, job_id: str) -> JobState:
        """One poll nearer to the end."""
        self._check(job_id)
        self._polled[job_id] += 1
        return self._state(job_id)

    def fetch(self, job_id: str) -> Sequence[Result]:
        """Run the job's circuits now."""
        self._check(job_id)
        return self._simulator.run(self.jobs[job_id])

    def cancel(self, job_id: str) -> None:
        """Note that the job was cancelled."""
        self._check(job_id)
        self.cancelled.append(job_id)
        self.stopped.set()

    def _check(self, job_id: str) -> None:
        if job_id not in self.jobs:
            raise ConfigurationError(f"{self.name!r} has no job {job_id!r}: it has {sorted(self.jobs)}.")

    def _state(self, job_id: str) -> JobState:
        if job_id in self.cancelled:
            return JobState.CANCELLED
        done = self._polls is not None and self._polled[job_id] >= self._polls
        return self._ends if done else JobState.RUNNING
