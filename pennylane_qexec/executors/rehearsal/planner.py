"""What will become of a job: its time in the queue, its run, its faults, its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pennylane_qexec.executors.bases import Runs
from pennylane_qexec.executors.cost import Cost
from pennylane_qexec.executors.rehearsal.drift import Drift
from pennylane_qexec.executors.rehearsal.durations import Duration
from pennylane_qexec.executors.rehearsal.faults import Faults, Fortune
from pennylane_qexec.executors.rehearsal.outages import Outages
from pennylane_qexec.executors.rehearsal.record import Record
from pennylane_qexec.job import JobState

DEAD = "the backend has died"


@dataclass(frozen=True)
class Order:
    """What is submitted.

    Attributes:
        executor: the executor's name.
        fingerprints: of the circuits.
        numbers: of each circuit, how many results of equal circuits are drawn already.
        shots: of each circuit.
        label: what it is submitted with; empty if with none.
        runs: how many circuits the backend runs for these, in all bases that are measured, and their shots.
    """

    executor: str
    fingerprints: tuple[str, ...]
    numbers: tuple[int, ...]
    shots: tuple[int, ...]
    label: str = ""
    runs: Runs = (0, 0)


@dataclass(frozen=True)
class Planner:
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

    def record(
        self,
        order: Order,
        now: float,
        ends: Sequence[float],
        jobs: int,
        fortune: Fortune,
        rng: np.random.Generator,
        cost: Cost,
    ) -> Record:
        """The timeline of a job, which has no id yet.

        Args:
            order: what is submitted.
            now: when.
            ends: when the jobs end that are in flight.
            jobs: how many were submitted before.
            fortune: what is in store for it.
            rng: draws its times.
            cost: what the backend charges.
        """
        moment, (circuits, shots) = now - self.began, order.runs
        queue, overhead = self.queue(rng), self.overhead(rng)
        length = overhead + self.circuit_time * circuits + self.shot_time * shots
        start = self.outages.resumes(max(moment + queue, self._free(ends)))
        end, broken = self._end(start, start if fortune.lost else start + length)
        reason = broken or _reason(fortune)
        run = 0.0 if fortune.lost else 1.0 if not broken else (end - start) / length if end > start else 0.0
        done = end + (0.0 if reason else fortune.delay)
        if self.faults.dies_at is not None and done > self.faults.dies_at >= end:
            done, reason = max(end, self.faults.dies_at), DEAD
        paid = not broken and not fortune.lost
        return Record(
            job_id="",
            **vars(order),
            submitted=now,
            started=min(start, end) + self.began,
            ended=end + self.began,
            done=done + self.began,
            fate=JobState.FAILED if reason else JobState.DONE,
            reason=reason,
            ran=run > 0,
            executed=int(run * shots),
            charge=cost.of(circuits, shots, length) if paid else 0.0,
            unanswered=0 if reason else fortune.unanswered,
            flips=self.drift.after(start, jobs) if self.drift else 0.0,
        )

    def _free(self, ends: Sequence[float]) -> float:
        """When a place gets free for a job, behind those that came before it."""
        if self.capacity is None or len(ends) < self.capacity:
            return 0.0
        return sorted(ends)[-self.capacity] - self.began

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


def _reason(fortune: Fortune) -> str:
    if fortune.lost:
        return "it was lost in the queue"
    return "it failed after it had run" if fortune.failed else ""
