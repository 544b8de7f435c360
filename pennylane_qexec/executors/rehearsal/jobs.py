"""The jobs of one backend: those of this process, and if there is a folder, those of all."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.rehearsal.records import Entry, JobRecord, Records, Stop, entry, state_at
from pennylane_qexec.job import JobState, Result

_REMEMBERED = 8


@final
class RehearsedJob:
    """A job.

    Args:
        record: what is settled about it.
        ours: whether this process submitted it, or has taken it over.

    Attributes:
        stop: what has stopped it.
        fetched: whether its results were fetched.
        polls: how often it was polled here.
        asked: how often its results were asked for here.
        circuits: its circuits, if they are known here and still needed.
        results: its results, if they are computed.
        computing: held by who computes them.
    """

    def __init__(self, record: JobRecord, ours: bool) -> None:
        self.record = record
        self.ours = ours
        self.stop: Stop | None = None
        self.fetched = False
        self.polls = 0
        self.asked = 0
        self.circuits: Sequence[QuantumScript] | None = None
        self.results: Sequence[Result] | None = None
        self.computing = threading.Lock()

    def state(self, moment: float) -> JobState:
        """Its state at a moment."""
        return state_at(self.record, self.stop, moment)

    @property
    def end(self) -> float:
        """When it ends, or has ended."""
        return self.record.done if self.stop is None else min(self.stop.at, self.record.done)

    @property
    def reason(self) -> str:
        """Why it fails."""
        return self.record.reason if self.stop is None else self.stop.reason

    @property
    def ran(self) -> bool:
        """Whether it runs at all, or in part."""
        return self.record.ran and (self.stop is None or self.record.progress(self.stop.at) > 0)

    @property
    def keeps_its_numbers(self) -> bool:
        """Whether what it draws is or may be used, so that no other job may draw the same."""
        given = self.fetched or (self.ours and self.stop is None)
        return given and self.record.fate is JobState.DONE


@final
class RehearsedJobs:
    """All jobs. To be used by one thread at a time.

    Args:
        records: what outlives this process.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._jobs: dict[str, RehearsedJob] = {}
        self._going: list[RehearsedJob] = []
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._of_circuit: dict[str, list[tuple[RehearsedJob, int]]] = defaultdict(list)
        self._submitted: Counter[tuple[str, ...]] = Counter()

    def refresh(self) -> None:
        """See what other processes have done."""
        if not self._records.shared:
            return
        for job_id in self._records.ids():
            if job_id not in self._jobs:
                self._load(job_id)
        for job in self._jobs.values():
            self._look(job)

    def all(self) -> list[RehearsedJob]:
        """All jobs, in the order in which they were submitted."""
        self.refresh()
        return sorted(self._jobs.values(), key=lambda job: (job.record.submitted, _number(job.record.job_id)))

    def __len__(self) -> int:
        return len(self._jobs)

    def going(self, moment: float) -> list[RehearsedJob]:
        """The jobs known here that have not ended at a moment, which is not before the last one asked for."""
        self._going = [job for job in self._going if job.end > moment]
        return self._going

    def get(self, job_id: str) -> RehearsedJob:
        """A job.

        Raises:
            ConfigurationError: there is none of this id.
        """
        job = self._jobs.get(job_id) or self._load(job_id)
        if job is None:
            where = "" if self._records.shared else " Jobs of other processes are found if both have the same folder=."
            raise ConfigurationError(f"no job has the id {job_id!r}.{where}")
        self._look(job)
        return job

    def add(self, record: JobRecord, circuits: Sequence[QuantumScript]) -> RehearsedJob:
        """Give a job an id, and keep it."""
        number = len(self._jobs) + 1
        record = replace(record, job_id=_job_id(record.executor, number))
        while record.job_id in self._jobs or not self._records.add(record, circuits):
            number += 1  # another process has taken that one
            record = replace(record, job_id=_job_id(record.executor, number))
        job = self._note(RehearsedJob(record, ours=True))
        job.circuits = circuits
        return job

    def stop(self, job: RehearsedJob, stop: Stop) -> None:
        """Stop a job, unless something did before."""
        if job.stop is None:
            job.stop = self._records.stop(job.record.job_id, stop)
        self.forget(job)

    def fetch(self, job: RehearsedJob) -> None:
        """Note that the results of a job are given out."""
        if not job.fetched:
            job.fetched = True
            self._records.fetch(job.record.job_id)
        self.forget(job)

    def forget(self, job: RehearsedJob) -> None:
        """The circuits and results of a job need not be remembered for long."""
        self._ended[job.record.job_id] = None
        while len(self._ended) > _REMEMBERED:
            job_id, _ = self._ended.popitem(last=False)
            self._jobs[job_id].circuits = self._jobs[job_id].results = None

    def complete_ledger(self) -> None:
        """Note the jobs of processes that were killed before they could."""
        self._records.complete(job.record for job in self.all())

    def numbers(self, fingerprints: Sequence[str]) -> tuple[int, ...]:
        """For each circuit, the smallest number that no result of an equal circuit has."""
        taken = {
            one: {number for job, number in self._of_circuit[one] if job.keeps_its_numbers} for one in set(fingerprints)
        }
        numbers = []
        for one in fingerprints:
            number = next(number for number in range(len(taken[one]) + 1) if number not in taken[one])
            taken[one].add(number)
            numbers.append(number)
        return tuple(numbers)

    def submissions(self, fingerprints: Sequence[str]) -> int:
        """How often these circuits were submitted together."""
        return self._submitted[tuple(fingerprints)]

    def entries(self, moment: float) -> list[Entry]:
        """The jobs as they are at a moment."""
        return [entry(job.record, job.stop, job.fetched, moment) for job in self.all()]

    def _load(self, job_id: str) -> RehearsedJob | None:
        record = self._records.job(job_id)
        return None if record is None else self._note(RehearsedJob(record, ours=False))

    def _note(self, job: RehearsedJob) -> RehearsedJob:
        record = job.record
        self._jobs[record.job_id] = job
        self._going.append(job)
        self._submitted[record.fingerprints] += 1
        for one, number in zip(record.fingerprints, record.numbers, strict=True):
            self._of_circuit[one].append((job, number))
        return job

    def _look(self, job: RehearsedJob) -> None:
        """See what other processes have done to a job."""
        if self._records.shared and not job.fetched:
            job.stop = job.stop or self._records.stopped(job.record.job_id)
            job.fetched = self._records.fetched(job.record.job_id)


def _job_id(executor: str, number: int) -> str:
    return f"{executor}-{number}"


def _number(job_id: str) -> int:
    """Of jobs that are submitted at the same moment, the later one has the larger number."""
    return int(job_id.rpartition("-")[2])
