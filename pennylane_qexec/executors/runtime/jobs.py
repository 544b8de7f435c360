"""Jobs at Qiskit Runtime: how they are going, and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from pennylane_qexec.executors.remote.jobs import VendorJob
from pennylane_qexec.job import JobState

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


@final
class PrimitiveJob(VendorJob):
    """A job of one of the primitives.

    Args:
        job: the job of Qiskit Runtime, or of its local mode.
    """

    polled_together = True  # there are two at most

    def __init__(self, job: Any) -> None:
        super().__init__()
        self._job = job

    @property
    def job_id(self) -> str:
        return str(self._job.job_id())

    @property
    def tags(self) -> Sequence[str]:
        return self._job.tags or ()

    def ask(self) -> JobState:
        status = self._job.status()
        name = status if isinstance(status, str) else status.name
        return _STATES.get(name.upper(), JobState.RUNNING)

    def stop(self) -> None:
        self._job.cancel()

    def reason(self, error: Exception | None) -> str:
        """What IBM says; its errors show their message in quotation marks."""
        return super().reason(error).strip("'\"").removeprefix(_PREFIX)

    def download(self, backend: str) -> Sequence[Any]:
        """The result of each PUB."""
        return list(self._job.result())
