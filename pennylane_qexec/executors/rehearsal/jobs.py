"""The jobs of one backend: those of this process, and if there is a folder, those of all.

Their results are computed when they are asked for, at random numbers that follow from the job: results depend on what a
job is, and not on when it comes.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, final

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import executor, executors
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.rehearsal.conditions import ReadoutErrors
from pennylane_qexec.executors.rehearsal.records import Entry, JobRecord, Records, Stop, entry, state_at
from pennylane_qexec.job import JobState, Result, Sweep, Work

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
        sweeps: those as sweeps, if it was submitted so here.
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
        self.sweeps: Sequence[Sweep] = ()
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
        for number in itertools.count(len(self._jobs) + 1):  # another process may have taken the first ones
            record = replace(record, job_id=f"{record.executor}-{number}")
            if record.job_id not in self._jobs and self._records.add(record, circuits):
                break
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
            ended = self._jobs[job_id]
            ended.circuits, ended.sweeps, ended.results = None, (), None

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


def _number(job_id: str) -> int:
    """Of jobs that are submitted at the same moment, the later one has the larger number."""
    return int(job_id.rpartition("-")[2])


def number_of(*parts: object) -> int:
    """A number of 31 bits that follows from the parts: the same in every process."""
    return int.from_bytes(_digest(parts)[:4], "little") >> 1


def generator_of(*parts: object) -> np.random.Generator:
    """Random numbers that follow from the parts."""
    return np.random.default_rng(int.from_bytes(_digest(parts), "little"))


def fingerprint_of(circuit: QuantumScript) -> str:
    """The circuit's fingerprint; of a circuit that has none, because it contains functions, 32 zeros."""
    try:
        return fingerprint(circuit)
    except TypeError:
        return "0" * 32


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\n".join(map(repr, parts)).encode(), digest_size=16).digest()


class InnerExecutor:
    """An executor that computes results, and new ones like it, each with a seed of its own.

    Args:
        spec: a spec, or an executor.
        wires: the wires of one that is built here and has none of its own.
        seeded: whether results should be repeatable.

    Attributes:
        executor: the executor.
        seeded: whether results are repeatable: it is built here, of a spec, and takes a seed.

    Raises:
        ConfigurationError: there is no such executor, or it has a seed and is to get another one.
    """

    def __init__(self, spec: Any, wires: Any, seeded: bool) -> None:
        if isinstance(spec, Mapping) and seeded and spec.get("seed") is not None:
            raise ConfigurationError(f"{spec!r} has a seed, and so has its rehearsal: give it to the rehearsal only.")
        self._spec = {"type": spec} if isinstance(spec, str) else spec
        (self.executor,) = executors([self._spec], wires)
        if isinstance(self._spec, Mapping) and "name" not in self._spec:
            self.executor.name = str(self._spec["type"])
        self.seeded = seeded and self._takes_seeds()

    def reseed(self) -> bool:
        """Have results follow from what a circuit is, as with a seed from the beginning. Whether that is possible."""
        if not self.executor.has_seed:
            self.seeded = self.seeded or self._takes_seeds()
        return self.seeded

    def results(
        self,
        circuits: Sequence[QuantumScript],
        numbers: Sequence[Sequence[object]],
        flips: float | None,
        sweeps: Sequence[Sweep] = (),
    ) -> list[Result]:
        """Run circuits.

        Args:
            circuits: the circuits.
            numbers: for each of them, what its randomness follows from.
            flips: the probability that a bit is read the wrong way round; ``None`` if all are right.
            sweeps: the circuits as sweeps, which are run where nothing is drawn for each by itself.
        """
        apart = self.seeded and any(circuit.shots for circuit in circuits)
        if sweeps and flips is None and not apart:
            work = Work(tuple([sweep.template for sweep in sweeps]), sweeps=tuple(sweeps))
            return list(chain.from_iterable(self.executor.perform_sweeps(work)))
        if flips is None and not self.seeded:
            return list(self.executor.run(tuple(circuits)))
        return [self._result(circuit, one, flips) for circuit, one in zip(circuits, numbers, strict=True)]

    def _result(self, circuit: QuantumScript, number: Sequence[object], flips: float | None) -> Result:
        if flips is None:
            return self._run([circuit], number)[0]
        misread = ReadoutErrors(circuit)
        return misread.result(self._run(misread.circuits, number), flips, generator_of("drift", *number))

    def _run(self, circuits: Sequence[QuantumScript], number: Sequence[object]) -> list[Result]:
        """Run circuits together; those with shots on an executor of their own, whose seed nobody else draws from."""
        if not self.seeded or not circuits[0].shots:
            return list(self.executor.run(tuple(circuits)))
        fresh = self._with_seed(number_of("shots", *number))
        try:
            return list(fresh.run(tuple(circuits)))
        finally:
            fresh.close()

    def _takes_seeds(self) -> bool:
        if not isinstance(self._spec, Mapping):
            return False
        try:
            self._with_seed(0).close()
        except ConfigurationError:
            return False
        return True

    def _with_seed(self, seed: int) -> Executor:
        wires = {} if self.executor.wires is None or "wires" in self._spec else {"wires": self.executor.wires}
        return executor({**self._spec, **wires, "seed": seed})
