"""What a store has recorded of runs, summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pennylane_qexec.scrubbing import scrub, scrub_argv
from pennylane_qexec.store import State

if TYPE_CHECKING:
    from pennylane_qexec.store import Run, Store, StoredJob

WHERE = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.SENDING: "at backends",
    State.SENT: "at backends",
    State.CLAIMED: "waiting",
    State.WAITING: "waiting",
}
"""What is said of circuits in each state. Those that a program has claimed run, or wait for an executor."""


@dataclass
class Used:
    """What circuits have used.

    Attributes:
        circuits: how many there are in each state.
        shots: of those that are done.
        seconds: running time, of all attempts.
        cost: US dollars, of all attempts.
    """

    circuits: Counter[str] = field(default_factory=Counter)
    shots: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def add(self, job: StoredJob) -> None:
        """Count a circuit."""
        self.circuits[WHERE[State(job.state)]] += 1
        self.shots += job.shots if job.state == State.DONE else 0
        self.seconds += job.seconds
        self.cost += job.cost

    def plain(self) -> dict[str, object]:
        """What can be written as JSON."""
        circuits = {name.replace(" ", "_"): self.circuits[name] for name in dict.fromkeys(WHERE.values())}
        return {
            "circuits": circuits,
            "shots": self.shots,
            "seconds": round(self.seconds, 6),
            "cost": round(self.cost, 6),
        }


@dataclass
class Flight:
    """Circuits that are in one job of a backend.

    Attributes:
        executor: the name of the executor that sent it.
        backend: the name of its backend.
        job: the backend's id of the job; the label that it was sent with, if no id is known.
        arrived: whether the backend has told an id.
        asked: when the program asked for the first of these circuits; in seconds since 1970.
        circuits: how many there are.
    """

    executor: str
    backend: str
    job: str
    arrived: bool
    asked: float
    circuits: int = 0


@dataclass
class Recorded:
    """A run, and what it has recorded.

    Attributes:
        run: the run.
        together: what its circuits have used.
        executors: the same for each executor, by its name and that of its backend.
        flights: jobs that are at backends, by executor and job.
        failures: circuits that have failed, those that failed last first.
    """

    run: Run
    together: Used = field(default_factory=Used)
    executors: dict[tuple[str, str], Used] = field(default_factory=dict)
    flights: dict[tuple[str, str], Flight] = field(default_factory=dict)
    failures: Sequence[StoredJob] = ()

    @property
    def state(self) -> str:
        """Whether it came to its end."""
        return "finished" if self.run.finished else "not finished"


def recorded(store: Store, run: Run) -> Recorded:
    """Sum up what a store has recorded of a run. Earlier versions recorded secrets in names, arguments and errors."""
    found = Recorded(replace(run, name=scrub(run.name), argv=tuple(scrub_argv(run.argv))))
    for job in store.jobs(run.id):
        found.together.add(job)
        found.executors.setdefault((job.executor, job.backend), Used()).add(job)
        if WHERE[State(job.state)] == "at backends":
            _fly(found, job)
    failed = sorted(store.jobs(run.id, [State.FAILED]), key=lambda job: -(job.finished or 0.0))
    found.failures = [job._replace(error=scrub(job.error)) for job in failed]
    return found


def moment(seconds: float) -> str:
    """A time in seconds since 1970, as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _fly(found: Recorded, job: StoredJob) -> None:
    name, arrived = str(job.remote_id), job.state == State.SENT
    one = Flight(job.executor, job.backend, name, arrived, job.submitted)
    flight = found.flights.setdefault((job.executor, name), one)
    flight.asked = min(flight.asked, job.submitted)
    flight.circuits += 1
