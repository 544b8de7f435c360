"""The provider's side of a rehearsal: takes jobs, settles what becomes of them, and remembers them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import final

from pennylane.tape import QuantumScript

from pennylane_qexec.executors.bases import Runs
from pennylane_qexec.executors.cost import Cost
from pennylane_qexec.executors.rehearsal.chance import generator_of
from pennylane_qexec.executors.rehearsal.clocks import Clock
from pennylane_qexec.executors.rehearsal.durations import typical
from pennylane_qexec.executors.rehearsal.faults import fortune
from pennylane_qexec.executors.rehearsal.jobs import Job, Jobs
from pennylane_qexec.executors.rehearsal.ledger import Entry
from pennylane_qexec.executors.rehearsal.planner import DEAD, Order, Planner
from pennylane_qexec.executors.rehearsal.record import Stop
from pennylane_qexec.job import JobState, Status


class RefusedError(ConnectionError):
    """A submission was not taken: there is no job."""


@final
class Cloud:
    """A backend with its jobs. Several threads may use it.

    Args:
        planner: says what becomes of jobs.
        jobs: where they are.
        clock: what time it is.
        seed: of all chance.

    Attributes:
        seed: of all chance from now on.
    """

    def __init__(self, planner: Planner, jobs: Jobs, clock: Clock, seed: int) -> None:
        self._planner = planner
        self._faults = planner.faults
        self._jobs = jobs
        self.seed = seed
        self._usual_wait = typical(planner.queue)
        self._refused: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.RLock()
        self.clock = clock
        jobs.complete_the_file()
        for job in jobs.all():
            clock.reach(job.record.submitted)

    def status(self) -> Status:
        """Whether it is up, how many jobs wait, and how long the next one probably will."""
        with self._lock:
            now, capacity = self.clock.now(), self._planner.capacity
            jobs = self._jobs.going(now)
            ends = sorted(job.end for job in jobs)
            free = ends[-capacity] - now if capacity is not None and len(ends) >= capacity else 0.0
            waiting = sum(job.state(now) is JobState.WAITING for job in jobs)
            return Status(self._up(now), waiting, max(free, self._usual_wait))

    def submit(
        self,
        name: str,
        circuits: Sequence[QuantumScript],
        fingerprints: tuple[str, ...],
        runs: Runs,
        cost: Cost,
        label: str = "",
    ) -> Job:
        """Take a job, and settle what becomes of it.

        Args:
            name: the executor's name.
            circuits: the job's circuits.
            fingerprints: of these.
            runs: how many circuits are run for them, and their shots.
            cost: what the backend charges.
            label: what the job is to be found by; empty for nothing.

        Raises:
            RefusedError: it is offline, or does not take this submission.
        """
        with self._lock:
            self._jobs.refresh()
            now = self.clock.now()
            if not self._up(now):
                raise RefusedError(f"{name!r} is offline: submit the job again later, or elsewhere.")
            attempt = self._jobs.submissions(fingerprints) + self._refused[fingerprints]
            rng = generator_of(self.seed, "fortune", name, *fingerprints, attempt)
            fate = fortune(self._faults, rng)
            if fate.refused:
                self._refused[fingerprints] += 1
                raise RefusedError(f"{name!r} did not take the job, this time.")
            shots = tuple(circuit.shots.total_shots or 0 for circuit in circuits)
            order = Order(name, fingerprints, self._jobs.numbers(fingerprints), shots, label, runs)
            ends = [job.end for job in self._jobs.going(now)]
            record = self._planner.record(order, now, ends, len(self._jobs), fate, rng, cost)
            job = self._jobs.add(record, circuits)
            self._perhaps_die(job, now)
            self.clock.expect(job, job.end)
            return job

    def get(self, job_id: str) -> Job:
        """A job.

        Raises:
            ConfigurationError: there is none of this id.
        """
        with self._lock:
            return self._jobs.get(job_id)

    def find(self, label: str) -> str | None:
        """The id of the first job with a label that has not failed and was not cancelled."""
        with self._lock:
            now = self.clock.now()
            found = [job for job in self._jobs.all() if job.record.label == label]
            lost = (JobState.FAILED, JobState.CANCELLED)
            return next((job.record.job_id for job in found if job.state(now) not in lost), None)

    def answers(self, job: Job) -> bool:
        """Whether it answers to the next poll of a job."""
        with self._lock:
            job.polls += 1
            polls = job.polls
        rng = generator_of(self.seed, "poll", job.record.fingerprints, job.record.numbers, polls)
        return bool(rng.random() >= self._faults.hiccups)

    def answers_with_results(self, job: Job) -> bool:
        """Whether it answers to the next question for the results of a job."""
        with self._lock:
            job.asked += 1
            return job.asked > job.record.unanswered

    def cancel(self, job_id: str) -> None:
        """Stop a job, unless it has ended."""
        with self._lock:
            job, now = self._jobs.get(job_id), self.clock.now()
            if not job.state(now).final:
                self._jobs.stop(job, Stop(now, JobState.CANCELLED, "it was cancelled", charged=True))
        self.clock.over(job)

    def delivered(self, job: Job) -> None:
        """The results of a job were given out."""
        with self._lock:
            self._jobs.fetch(job)
        self.clock.over(job)

    def given_up(self, job: Job) -> None:
        """Somebody was told that a job has no results."""
        with self._lock:
            self._jobs.forget(job)
        self.clock.over(job)

    def entries(self) -> list[Entry]:
        """All jobs, as they are now."""
        with self._lock:
            return self._jobs.entries(self.clock.now())

    def _up(self, now: float) -> bool:
        return not self._dead and self._planner.up(now)

    @property
    def _dead(self) -> bool:
        """Whether it has died of too many jobs."""
        return self._faults.dies_after is not None and len(self._jobs) > self._faults.dies_after

    def _perhaps_die(self, last: Job, now: float) -> None:
        if self._dead:
            for job in (last, *self._jobs.going(now)):
                self._jobs.stop(job, Stop(now, JobState.FAILED, DEAD, charged=False))
