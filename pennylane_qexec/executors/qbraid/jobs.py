"""Jobs at qBraid's providers: how they are going, and what came back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from pennylane_qexec.credentials import guarded, scrub
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError
from pennylane_qexec.executors.counting import WrongCountsError
from pennylane_qexec.executors.remote import joined
from pennylane_qexec.job import JobState, Result

if TYPE_CHECKING:
    from pennylane_qexec.executors.qbraid.plans import Plan

_WITHHELD = "HOLD"

_STATES = {
    "INITIALIZING": JobState.WAITING,
    "QUEUED": JobState.WAITING,
    "VALIDATING": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "CANCELLING": JobState.RUNNING,
    "UNKNOWN": JobState.RUNNING,
    "COMPLETED": JobState.DONE,
    "FAILED": JobState.FAILED,
    _WITHHELD: JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}


@final
class Part:
    """One of qBraid's jobs; one that has ended is not asked any more.

    Args:
        job: qBraid's job.
    """

    def __init__(self, job: Any) -> None:
        self._job = job
        self._state = JobState.WAITING
        self._said = ""
        self._withheld = False

    @property
    def job_id(self) -> str:
        return str(self._job.id)

    def state(self) -> JobState:
        """How it is going."""
        if not self._state.final or self._withheld:  # an account may be settled
            before = _last_message()
            status = asked_for(self.job_id, self._job.status)
            self._withheld = status.name == _WITHHELD
            self._state = _STATES.get(status.name, JobState.RUNNING)
            # qBraid's statuses are one object for all jobs: a message that was there before is another job's.
            if self._state is JobState.FAILED and status.status_message != before:
                self._said = scrub(str(status.status_message or ""))
        return self._state

    def cancel(self) -> None:
        """Stop it, unless it has ended."""
        if not self.state().final:
            guarded(self._job.cancel)

    def counts(self, backend: str) -> list[Mapping[Any, Any]]:
        """What it counted, for each of its circuits.

        Raises:
            JobFailedError: it failed.
            JobCancelledError: it was cancelled.
            ConfigurationError: the provider withholds its results.
        """
        if self.state() is JobState.CANCELLED:
            raise JobCancelledError(f"job {self.job_id!r} was cancelled at {backend!r}.")
        if self._withheld:
            raise ConfigurationError(
                f"job {self.job_id!r} has ended at {backend!r}, which withholds its results because of the state of "
                "the account there: settle that, then fetch them with recover(job_id, circuits)."
            )
        try:
            result = guarded(self._job.result)
            found = guarded(result.data.get_counts) if result.success else None
        except Exception as error:
            if self._state is not JobState.FAILED:
                raise
            raise JobFailedError(backend, self.job_id, self._said or str(error)) from error
        if found is None or self._state is JobState.FAILED:
            raise JobFailedError(backend, self.job_id, self._said)
        return found if isinstance(found, list) else [found]


@final
class Flight:
    """What was sent for a batch.

    Args:
        jobs: qBraid's jobs, in the order of what they run.
        plan: what that is; ``None`` if it is not known here.
    """

    def __init__(self, jobs: Sequence[Any], plan: Plan | None) -> None:
        self._parts = [Part(job) for job in jobs]
        self.plan = plan

    @property
    def job_id(self) -> str:
        """The provider's id; several, joined, where there are several jobs."""
        return joined(part.job_id for part in self._parts)

    def state(self) -> JobState:
        """How it is going. All jobs have to be done; only the first that goes on is asked, which is one request."""
        for number, part in enumerate(self._parts):
            state = part.state()
            if state is JobState.WAITING and number:
                return JobState.RUNNING
            if state is not JobState.DONE:
                return state
        return JobState.DONE

    def cancel(self) -> None:
        """Stop what has not ended."""
        failures = []
        for part in self._parts:
            try:
                part.cancel()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def results(self, backend: str) -> Sequence[Result]:
        """The results of the circuits. If a job failed, those that still run are cancelled: nobody waits for them.

        Raises:
            JobFailedError: a job failed, or counted something else than it was asked for.
            JobCancelledError: a job was cancelled.
            ConfigurationError: the provider withholds the results, or it is not known which circuits were run.
        """
        if self.plan is None:
            raise ConfigurationError(
                f"job {self.job_id!r} was sent by another process, and its circuits are not known here: use "
                "recover(job_id, circuits), or adopt(job_id, circuits) before poll and fetch."
            )
        try:
            return self.plan.results([counts for part in self._parts for counts in part.counts(backend)])
        except WrongCountsError as error:
            raise JobFailedError(backend, self.job_id, str(error)) from error
        except (JobFailedError, JobCancelledError):
            with contextlib.suppress(Exception):  # what cannot be cancelled runs
                self.cancel()
            raise


def asked_for(job_id: str, call: Callable[[], Any]) -> Any:
    """What a call about a job returns.

    Raises:
        ConfigurationError: the provider has no such job.
    """
    from qbraid.runtime.exceptions import ResourceNotFoundError

    try:
        return guarded(call)
    except Exception as error:
        if isinstance(error, LookupError | ResourceNotFoundError) or getattr(error, "status_code", None) == 404:
            raise ConfigurationError(
                f"the provider has no job {job_id!r} ({type(error).__name__}: {error}). See that the credentials are "
                "those that it was sent with."
            ) from error
        raise


def _last_message() -> Any:
    from qbraid.runtime import JobStatus

    return JobStatus.FAILED.status_message
