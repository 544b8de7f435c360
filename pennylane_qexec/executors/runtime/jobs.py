"""Jobs at Qiskit Runtime: how they are going, what came back, and the tags by which another process finds them."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError
from pennylane_qexec.executors.remote import joined
from pennylane_qexec.job import JobState

logger = logging.getLogger("pennylane_qexec")

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
    plan: Any

    @property
    def job_id(self) -> str:
        """The provider's id; two of them, joined, where both primitives are needed."""
        return joined(job.job_id() for job in self.jobs)

    def state(self) -> JobState:
        """How it is going. Both jobs have to be done; one that fails is enough."""
        states = [state_of(job) for job in self.jobs]
        for state in (JobState.FAILED, JobState.CANCELLED, JobState.RUNNING, JobState.WAITING):
            if state in states:
                return state
        return JobState.DONE

    def cancel(self) -> None:
        """Stop what has not ended. What hinders one from being stopped is raised when the others are."""
        with ExitStack() as cancelling:
            for job in reversed(self.jobs):
                cancelling.callback(_cancel, job)

    def answers(self, backend: str) -> list[Sequence[Any]]:
        """The answers of the primitives.

        Raises:
            JobFailedError: a job failed.
            JobCancelledError: a job was cancelled.
        """
        return [_answers(job, backend) for job in self.jobs]

    def adopted(self, plan: Any) -> Flight:
        """The same job, of which it is known now what it runs.

        Raises:
            ConfigurationError: it has another number of parts.
        """
        if len(self.jobs) != len(plan.primitives):
            raise ConfigurationError(
                f"job {self.job_id!r} is {len(self.jobs)} jobs at the backend, and these circuits make "
                f"{len(plan.primitives)}: give the circuits that it was sent with, and the executor the same options."
            )
        return replace(self, plan=plan)


def state_of(job: Any) -> JobState:
    """How a job of Qiskit Runtime is going."""
    status = job.status()
    name = status if isinstance(status, str) else status.name
    return _STATES.get(name.upper(), JobState.RUNNING)


def _answers(job: Any, backend: str) -> Sequence[Any]:
    state = state_of(job)
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


def _cancel(job: Any) -> None:
    if not state_of(job).final:
        job.cancel()


_PART = re.compile(r"part-(\d+)-of-(\d+)")
_LOST = (JobState.FAILED, JobState.CANCELLED)


def tags_of(label: str, part: int, parts: int) -> list[str]:
    """The tags of one of the jobs that are sent for a batch.

    Args:
        label: of the batch; empty for none.
        part: which of the jobs it is, from 1.
        parts: how many there are.
    """
    if not label:
        return []
    return [label] if parts == 1 else [label, f"part-{part}-of-{parts}"]


def found(jobs: Sequence[Any]) -> str | None:
    """The id of the first batch that has not failed; parts of one that is not complete are cancelled.

    Args:
        jobs: the jobs with the label of the batch, in the order in which they were sent.
    """
    alive = [job for job in jobs if state_of(job) not in _LOST]
    parts: dict[int, Any] = {}
    needed = 0
    for job in alive:
        number, needed = _part(job)
        parts.setdefault(number, job)
    if len(parts) == needed:
        return joined(parts[number].job_id() for number in sorted(parts)) or None
    for job in alive:
        _cancel_found(job)
    return None


def _part(job: Any) -> tuple[int, int]:
    """Which part of its batch a job is, and of how many."""
    for tag in job.tags or ():
        if match := _PART.fullmatch(tag):
            return int(match[1]), int(match[2])
    return 1, 1


def _cancel_found(job: Any) -> None:
    try:
        if not state_of(job).final:
            job.cancel()
    except Exception as error:  # it runs for nothing, which is no reason not to send the batch again
        logger.warning("job %r is of no use any more, and could not be cancelled (%r)", job.job_id(), error)
