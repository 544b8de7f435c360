"""A vendor in the cloud as a fake, and an executor for it: as little as a new vendor needs, labels included.

The vendor runs PennyLane's circuits on ``default.qubit``, and takes so many of them in one job.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.executors.remote import (
    BatchPlan,
    CountsProgram,
    RemoteBackend,
    RemoteExecutor,
    VendorJob,
    label_tags,
)
from pennylane_qexec.job import JobState, Status


@dataclass
class SentJob:
    """A job as the vendor has it: its circuits, tags, and the states that it is in one after the other."""

    job_id: str
    circuits: list[QuantumScript]
    tags: Sequence[str]
    states: list[JobState]
    cancelled: int = 0
    asked: int = 0


@dataclass
class Vendor:
    """The vendor.

    Attributes:
        states: what a job is in, each time that it is asked for; the last one stays.
        room: the most circuits in a job.
        accepts: how many jobs it takes before the line is dead.
        stuck: ids of jobs that cannot be cancelled.
        lost: answers that are missing in each job.
        jobs: what was sent, by id.
        looked_up: how often its backend was looked up.
        seed: of the shots.
    """

    states: Sequence[JobState] = (JobState.DONE,)
    room: int = 100
    accepts: int | None = None
    stuck: Sequence[str] = ()
    lost: int = 0
    jobs: dict[str, SentJob] = field(default_factory=dict)
    looked_up: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        self.simulator = qexec.executor("default.qubit", seed=self.seed)

    def send(self, circuits: Sequence[QuantumScript], tags: Sequence[str]) -> SentJob:
        """Take a job."""
        if self.accepts is not None and len(self.jobs) >= self.accepts:
            raise ConnectionError("the line is dead")
        job = SentJob(f"v-{len(self.jobs) + 1}", list(circuits), tags, list(self.states))
        return self.jobs.setdefault(job.job_id, job)


class FakeBackend(RemoteBackend):
    """The vendor's only backend."""

    num_qubits = 5

    def __init__(self, vendor: Vendor) -> None:
        super().__init__("fake-vendor")
        self.vendor = vendor

    def find(self) -> FakeBackend:
        self.vendor.looked_up += 1
        return self

    def ask(self) -> Status:
        return Status(queue_length=len(self.vendor.jobs))


class FakeVendorJob(VendorJob):
    """One of the vendor's jobs."""

    def __init__(self, vendor: Vendor, sent: SentJob) -> None:
        super().__init__()
        self._vendor, self._sent = vendor, sent

    @property
    def job_id(self) -> str:
        return self._sent.job_id

    @property
    def tags(self) -> Sequence[str]:
        return self._sent.tags

    def ask(self) -> JobState:
        self._sent.asked += 1
        states = self._sent.states
        return states.pop(0) if len(states) > 1 else states[0]

    def stop(self) -> None:
        self._sent.cancelled += 1
        if self.job_id in self._vendor.stuck:
            raise ConnectionError(f"{self.job_id} cannot be stopped")
        self._sent.states = [JobState.CANCELLED]

    def download(self, backend: str) -> list[Mapping[str, int]]:
        if JobState.FAILED in self._sent.states:
            raise RuntimeError("the fridge is warm")
        counts = self._vendor.simulator.run(self._sent.circuits)
        return [{bits[::-1]: int(number) for bits, number in one.items()} for one in counts[self._vendor.lost :]]


class FakeProgram(CountsProgram):
    """PennyLane's circuits, of which all wires are measured."""

    def circuits(self, parameters: np.ndarray, shots: int) -> list[QuantumScript]:
        """What is run for the ``R`` rows of a matrix of parameters, row by row."""
        counts = [qml.counts(wires=self.wires)]
        rows = itertools.product(parameters, self.bases)
        return [QuantumScript(basis.operations(row), counts, shots=shots) for row, basis in rows]


class FakeVendorExecutor(RemoteExecutor[FakeBackend, FakeProgram]):
    """Runs circuits at the fake vendor."""

    poll_interval = poll_interval_max = 1e-4
    labels = True

    def __init__(self, vendor: Vendor, **options: Any) -> None:
        super().__init__(FakeBackend(vendor), **options)
        self._vendor = vendor

    def program(self, template: Template) -> FakeProgram:
        return FakeProgram(template)

    def send(self, plan: BatchPlan[FakeProgram], label: str) -> Iterator[FakeVendorJob]:
        self.machine.backend()
        circuits = [one for group in plan.groups for one in group.program.circuits(group.parameters, group.shots)]
        parts = _parts(circuits, self._vendor.room)
        for number, part in enumerate(parts, 1):
            yield FakeVendorJob(self._vendor, self._vendor.send(part, label_tags(label, number, len(parts))))

    def find_job(self, job_id: str) -> FakeVendorJob:
        if job_id not in self._vendor.jobs:
            raise qexec.ConfigurationError(f"the vendor has no job {job_id!r}.")
        return FakeVendorJob(self._vendor, self._vendor.jobs[job_id])

    def jobs_with_label(self, label: str) -> list[FakeVendorJob]:
        return [FakeVendorJob(self._vendor, job) for job in self._vendor.jobs.values() if label in job.tags]


def _parts(circuits: Sequence[QuantumScript], room: int) -> list[Sequence[QuantumScript]]:
    return [circuits[start : start + room] for start in range(0, len(circuits), room)]
