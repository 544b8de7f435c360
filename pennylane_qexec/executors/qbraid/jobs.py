"""Jobs at qBraid's providers: how they are going, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from pennylane_qexec.credentials import guarded, scrub
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.remote.jobs import VendorJob
from pennylane_qexec.job import JobState

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
class QBraidJob(VendorJob):
    """One of qBraid's jobs.

    Args:
        job: qBraid's object.
    """

    def __init__(self, job: Any) -> None:
        super().__init__()
        self._job = job
        self._said = ""
        self._withheld = False

    @property
    def job_id(self) -> str:
        return str(self._job.id)

    @property
    def has_ended(self) -> bool:
        """Whether its state is final. One whose results are withheld is asked again: an account may be settled."""
        return super().has_ended and not self._withheld

    def ask(self) -> JobState:
        before = _last_message()
        status = ask_about(self.job_id, self._job.status)
        self._withheld = status.name == _WITHHELD
        state = _STATES.get(status.name, JobState.RUNNING)
        # qBraid's statuses are one object for all jobs: a message that was there before is another job's.
        if state is JobState.FAILED and status.status_message != before:
            self._said = scrub(str(status.status_message or ""))
        return state

    def stop(self) -> None:
        guarded(self._job.cancel)

    def reason(self, error: Exception | None) -> str:
        """What the provider said with the state of the job, or else with its error."""
        return self._said or super().reason(error)

    def download(self, backend: str) -> Sequence[Mapping[Any, Any]] | None:
        """What it counted, for each of its circuits."""
        if self._withheld:
            raise ConfigurationError(
                f"job {self.job_id!r} has ended at {backend!r}, which withholds its results because of the state of "
                "the account there: settle that, then fetch them with recover(job_id, circuits)."
            )
        result = guarded(self._job.result)
        found = guarded(result.data.get_counts) if result.success else None
        return found if found is None or isinstance(found, list) else [found]


def ask_about(job_id: str, call: Callable[[], Any]) -> Any:
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
