"""Jobs at Qiskit Runtime: how they are going, and what came back."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError
from pennylane_qexec.job import JobState

if TYPE_CHECKING:
    from pennylane_qexec.executors.runtime.plans import Plan

_JOINT = "+"
_REMEMBERED = 8
_PREFIX = "Unable to retrieve job result. "

_STATES = {
    "INITIALIZING": JobState.WAITING,
    "QUEUED": JobState.WAITING,
    "VALIDATING": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "CANCELLED": JobState.CANCELLED,
    "DONE": JobState.DONE,
    "ERROR": JobState.FAILED,
}


@dataclass(frozen=True)
class Flight:
    """A job that was sent.

    Attributes:
        jobs: the jobs of Qiskit Runtime, one for each primitive.
        plan: what they run; ``None`` if that is not known here.
    """

    jobs: tuple[Any, ...]
    plan: Plan | None

    @property
    def job_id(self) -> str:
        """The provider's id; two of them, joined, where both primitives are needed."""
        return _JOINT.join(job.job_id() for job in self.jobs)

    def state(self) -> JobState:
        """How it is going. Both jobs have to be done; one that fails is enough."""
        states = [_state(job) for job in self.jobs]
        for state in (JobState.FAILED, JobState.CANCELLED, JobState.RUNNING, JobState.WAITING):
            if state in states:
                return state
        return JobState.DONE

    def cancel(self) -> None:
        """Stop what has not ended."""
        for job in self.jobs:
            if not _state(job).final:
                job.cancel()

    def answers(self, backend: str) -> list[Sequence[Any]]:
        """The answers of the primitives.

        Raises:
            JobFailedError: a job failed.
            JobCancelledError: a job was cancelled.
        """
        return [_answers(job, backend) for job in self.jobs]


@final
class Flights:
    """Jobs by their id; of those that have ended, only the last ones are remembered.

    Args:
        find: finds a job that was sent by another process.
    """

    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._going: dict[str, Flight] = {}
        self._ended: OrderedDict[str, Flight] = OrderedDict()

    def add(self, flight: Flight) -> str:
        """Remember a job, and return its id."""
        job_id = flight.job_id
        with self._lock:
            self._going[job_id] = flight
        return job_id

    def get(self, job_id: str) -> Flight:
        """The job with an id, whoever sent it."""
        with self._lock:
            flight = self._going.get(job_id) or self._ended.get(job_id)
        if flight is None:
            flight = Flight(tuple(self._find(one) for one in job_id.split(_JOINT)), None)
            self.add(flight)
        return flight

    def adopt(self, job_id: str, plan: Plan) -> None:
        """Take over a job that another process sent for such a plan.

        Raises:
            ConfigurationError: it has another number of parts.
        """
        flight = self.get(job_id)
        if len(flight.jobs) != len(plan.primitives):
            raise ConfigurationError(
                f"job {job_id!r} is {len(flight.jobs)} jobs at the backend, and these circuits make "
                f"{len(plan.primitives)}: give the circuits that it was sent with, and the executor the same options."
            )
        self.add(replace(flight, plan=plan))

    def end(self, job_id: str) -> None:
        """A job need not be remembered for long."""
        with self._lock:
            flight = self._going.pop(job_id, None)
            if flight is not None:
                self._ended[job_id] = flight
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)


def _state(job: Any) -> JobState:
    status = job.status()
    name = status if isinstance(status, str) else status.name
    return _STATES.get(name.upper(), JobState.RUNNING)


def _answers(job: Any, backend: str) -> Sequence[Any]:
    state = _state(job)
    if state is JobState.CANCELLED:
        raise JobCancelledError(f"job {job.job_id()!r} was cancelled at {backend!r}.")
    try:
        answers: Sequence[Any] = job.result()
    except Exception as error:
        if state is not JobState.FAILED:
            raise
        raise JobFailedError(backend, job.job_id(), _reason(error)) from error
    return answers


def _reason(error: Exception) -> str:
    """What IBM says; its errors show their message in quotation marks."""
    return str(error).strip("'\"").removeprefix(_PREFIX)
