"""What is settled about a job when it is submitted, and what may stop it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pennylane_qexec.job import JobState


@dataclass(frozen=True)
class Record:
    """A job and its timeline, as it will be if nothing stops it. Times are those of the executor's clock.

    Attributes:
        job_id: the job's id.
        executor: the executor's name.
        fingerprints: of the circuits, in order.
        numbers: of each circuit, how many results of equal circuits are drawn already.
        shots: of each circuit; 0 for an analytic one.
        submitted: when it was submitted.
        started: when it leaves the queue.
        ended: when it has run.
        done: when that is known.
        fate: the state it ends in.
        reason: why it fails.
        ran: whether it runs at all, or in part.
        executed: the shots that it runs, all together.
        charge: what that costs, in US dollars.
        unanswered: how often its results cannot be fetched.
        flips: the probability that a bit is read the wrong way round.
        label: what it was submitted with; empty if with none.
    """

    job_id: str
    executor: str
    fingerprints: tuple[str, ...]
    numbers: tuple[int, ...]
    shots: tuple[int, ...]
    submitted: float
    started: float
    ended: float
    done: float
    fate: JobState
    reason: str
    ran: bool
    executed: int
    charge: float
    unanswered: int
    flips: float
    label: str = ""
    runs: tuple[int, int] = (0, 0)

    def plain(self) -> dict[str, Any]:
        """What can be written as JSON."""
        return asdict(self)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Record:
        """The record that was written."""
        lists = {name: tuple(plain[name]) for name in ("fingerprints", "numbers", "shots", "runs") if name in plain}
        return cls(**{**plain, **lists, "fate": JobState(plain["fate"])})

    def progress(self, moment: float) -> float:
        """How much of its run is over at a moment, from 0 to 1."""
        if moment >= self.ended:
            return 1.0
        return 0.0 if moment <= self.started else (moment - self.started) / (self.ended - self.started)


@dataclass(frozen=True)
class Stop:
    """What ends a job before its time.

    Attributes:
        at: when.
        state: the state it is in from then on.
        reason: why.
        charged: whether what it has run until then has to be paid for.
    """

    at: float
    state: JobState
    reason: str
    charged: bool

    def plain(self) -> dict[str, Any]:
        """What can be written as JSON."""
        return asdict(self)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Stop:
        """The stop that was written."""
        return cls(plain["at"], JobState(plain["state"]), plain["reason"], plain["charged"])


def state_at(record: Record, stop: Stop | None, moment: float) -> JobState:
    """The state of a job at a moment."""
    if stop is not None and moment >= stop.at:
        return stop.state
    if moment >= record.done:
        return record.fate
    return JobState.RUNNING if moment >= record.started else JobState.WAITING
