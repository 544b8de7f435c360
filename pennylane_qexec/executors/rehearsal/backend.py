"""The provider's side of a rehearsal: takes jobs, settles their queue, run, faults and price, and remembers them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Runs
from pennylane_qexec.executors.rehearsal.clocks import RehearsalClock
from pennylane_qexec.executors.rehearsal.conditions import (
    Drift,
    Duration,
    FaultDraw,
    Faults,
    Outages,
    draw_faults,
    typical,
)
from pennylane_qexec.executors.rehearsal.jobs import RehearsedJob, RehearsedJobs, generator_of
from pennylane_qexec.executors.rehearsal.records import Entry, JobRecord, Stop
from pennylane_qexec.job import Cost, JobState, Status

DEAD = "the backend has died"


@dataclass(frozen=True)
class TimelinePlanner:
    """Makes timelines. Its own times are seconds since ``began``.

    Attributes:
        began: when the backend began, on the executor's clock.
        queue, overhead: draw seconds, for each job.
        shot_time, circuit_time: seconds for each shot and circuit.
        capacity: how many jobs run at the same time; ``None`` for any number.
        faults, outages, drift: what goes wrong.
        outages_kill: whether outages end what runs.
    """

    began: float
    queue: Duration
    overhead: Duration
    shot_time: float
    circuit_time: float
    capacity: int | None
    faults: Faults
    outages: Outages
    outages_kill: bool
    drift: Drift | None

    def up(self, now: float) -> bool:
        """Whether the backend takes jobs, as far as time decides on it."""
        moment = now - self.began
        alive = self.faults.dies_at is None or moment < self.faults.dies_at
        return alive and self.outages.resumes(moment) == moment

    def timeline(
        self,
        runs: Runs,
        now: float,
        ends: Sequence[float],
        jobs: int,
        drawn: FaultDraw,
        rng: np.random.Generator,
        cost: Cost,
    ) -> dict[str, Any]:
        """What becomes of a job, as part of its :class:`JobRecord`.

        Args:
            runs: how many circuits the backend runs for it, in all bases that are measured, and their shots.
            now: when it is submitted.
            ends: when the jobs end that are in flight.
            jobs: how many were submitted before.
            drawn: what is in store for it.
            rng: draws its times.
            cost: what the backend charges.
        """
        moment, (circuits, shots) = now - self.began, runs
        queue, overhead = self.queue(rng), self.overhead(rng)
        length = overhead + self.circuit_time * circuits + self.shot_time * shots
        free = 0.0  # when there is a place for a job, behind those that came before it
        if self.capacity is not None and len(ends) >= self.capacity:
            free = sorted(ends)[-self.capacity] - self.began
        start = self.outages.resumes(max(moment + queue, free))
        end, broken = self._end(start, start if drawn.lost else start + length)
        reason = broken or _reason(drawn)
        run = 0.0 if drawn.lost else 1.0 if not broken else (end - start) / length if end > start else 0.0
        done = end + (0.0 if reason else drawn.delay)
        if self.faults.dies_at is not None and done > self.faults.dies_at >= end:
            done, reason = max(end, self.faults.dies_at), DEAD
        paid = not broken and not drawn.lost
        return {
            "submitted": now,
            "started": min(start, end) + self.began,
            "ended": end + self.began,
            "done": done + self.began,
            "fate": JobState.FAILED if reason else JobState.DONE,
            "reason": reason,
            "ran": run > 0,
            "executed": int(run * shots),
            "charge": cost.of(circuits, shots, length) if paid else 0.0,
            "unanswered": 0 if reason else drawn.unanswered,
            "flips": self.drift.after(start, jobs) if self.drift else 0.0,
            "runs": runs,
        }

    def _end(self, start: float, end: float) -> tuple[float, str]:
        """When a job ends that begins at ``start``, and what has broken it off."""
        reason = ""
        if self.outages_kill and self.outages.next(start) < end:
            end, reason = self.outages.next(start), "the backend went down while it ran"
        elif not self.outages_kill:
            end = self.outages.finishes(start, end - start)
        if self.faults.dies_at is not None and end > self.faults.dies_at:
            end, reason = self.faults.dies_at, DEAD
        return end, reason


def _reason(drawn: FaultDraw) -> str:
    if drawn.lost:
        return "it was lost in the queue"
    return "it failed after it had run" if drawn.failed else ""


class RefusedError(ConnectionError):
    """A submission was not taken: there is no job."""


@final
class RehearsedBackend:
    """A backend with its jobs. Several threads may use it.

    Args:
        planner: says what becomes of jobs.
        jobs: where they are.
        clock: what time it is.
        seed: of all chance.

    Attributes:
        seed: of all chance from now on.
    """

    def __init__(self, planner: TimelinePlanner, jobs: RehearsedJobs, clock: RehearsalClock, seed: int) -> None:
        self._planner = planner
        self._faults = planner.faults
        self._jobs = jobs
        self.seed = seed
        self._usual_wait = typical(planner.queue)
        self._refused: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.RLock()
        self.clock = clock
        jobs.complete_ledger()
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
        label: str,
    ) -> RehearsedJob:
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
            fate = draw_faults(self._faults, rng)
            if fate.refused:
                self._refused[fingerprints] += 1
                raise RefusedError(f"{name!r} did not take the job, this time.")
            shots = tuple(circuit.shots.total_shots or 0 for circuit in circuits)
            numbers, ends = self._jobs.numbers(fingerprints), [job.end for job in self._jobs.going(now)]
            timeline = self._planner.timeline(runs, now, ends, len(self._jobs), fate, rng, cost)
            record = JobRecord("", name, fingerprints, numbers, shots, label=label, **timeline)
            job = self._jobs.add(record, circuits)
            if self._dead:
                for lost in (job, *self._jobs.going(now)):
                    self._jobs.stop(lost, Stop(now, JobState.FAILED, DEAD, charged=False))
            self.clock.expect(job, job.end)
            return job

    def get(self, job_id: str) -> RehearsedJob:
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

    def answers(self, job: RehearsedJob) -> bool:
        """Whether it answers to the next poll of a job."""
        with self._lock:
            job.polls += 1
            polls = job.polls
        rng = generator_of(self.seed, "poll", job.record.fingerprints, job.record.numbers, polls)
        return bool(rng.random() >= self._faults.hiccups)

    def answers_with_results(self, job: RehearsedJob) -> bool:
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

    def delivered(self, job: RehearsedJob) -> None:
        """The results of a job were given out."""
        with self._lock:
            self._jobs.fetch(job)
        self.clock.over(job)

    def given_up(self, job: RehearsedJob) -> None:
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
