"""What a worker process is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.catalogue import PublishedBackend

FAILED = 1517
"""IBM's code for a job that its program could not run."""

INVALID = 1603
"""IBM's code for a payload that cannot be read."""


@dataclass(frozen=True)
class Task:
    """A job for a worker process; several that run as one, if they have equal coalescing keys.

    Attributes:
        program: such as ``"sampler"``.
        backend: that the jobs name.
        ids: of the jobs.
        payloads: of the jobs: the JSON of their ``params``.
        store: the server's store, where what is sent to vendors is recorded; ``None`` for nowhere.
    """

    program: str
    backend: PublishedBackend
    ids: tuple[str, ...]
    payloads: tuple[bytes, ...]
    store: str | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a job.

    Attributes:
        result: as it is given to users; ``None`` if the job failed.
        reason: why it failed, for its user.
        code: IBM's code for that.
        seconds: how long it was computed.
        cancelled: whether it was cancelled.
    """

    result: str | None
    reason: str = ""
    code: int | None = None
    seconds: float = 0.0
    cancelled: bool = False


class ProgramError(QExecError, ValueError):
    """A job cannot be run, for a reason that its user can understand and mend.

    Args:
        reason: why, and what to do.
        code: IBM's code for that.
    """

    def __init__(self, reason: str, code: int = FAILED) -> None:
        super().__init__(reason, code)
        self.reason = reason
        self.code = code

    def __str__(self) -> str:
        return self.reason
