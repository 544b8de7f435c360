"""What the server records: jobs, sessions, users and their tokens, as they come out of the store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

from pennylane_qexec.errors import QExecError

# Users


@dataclass(frozen=True, slots=True)
class User:
    """Who asks.

    Attributes:
        name: of the user.
        admin: whether jobs and sessions of others may be seen and changed too.
        token: number of the token that was shown; ``None`` without tokens.
    """

    name: str
    admin: bool = False
    token: int | None = None


@dataclass(frozen=True, slots=True)
class ServerToken:
    """A token of a user. The token itself is not recorded, only its SHA-256.

    Attributes:
        id: its number.
        user: whose it is.
        admin: whether it is an admin's.
        created: when it was made, in seconds since 1970.
        revoked: when it was revoked; ``None`` if it is valid.
    """

    id: int
    user: str
    admin: bool
    created: float
    revoked: float | None


# Jobs


class JobStatus(StrEnum):
    """What has become of a job."""

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class NewServerJob:
    """A job as it is submitted, but for its payload.

    Attributes:
        id: of the job, unlike that of any other.
        user: who submits it.
        program: such as ``"sampler"``.
        backend: the published name of a backend.
        session: id of its session, if it is of one.
        tags: of the user's choice.
        log_level: such as ``"WARNING"``.
        max_seconds: how long it may run (IBM's ``cost``).
        private: whether the payload is forgotten when it ends, and the result when it was read.
        runtime: the image that was asked for.
        calibration_id: the calibration that was asked for.
        key: jobs of equal keys may run together; ``None`` if this one may not.
    """

    id: str
    user: str
    program: str
    backend: str
    session: str | None = None
    tags: tuple[str, ...] = ()
    log_level: str = "WARNING"
    max_seconds: float | None = None
    private: bool = False
    runtime: str | None = None
    calibration_id: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ServerJob(NewServerJob):
    """A job as it is recorded, but for its payload and result. Times are in seconds since 1970.

    Attributes:
        status: what has become of it.
        reason: why it failed or was cancelled.
        reason_code: IBM's code for that.
        created: when it was submitted.
        started: when it began to run.
        finished: when it ended.
        seconds: how long it was computed.
        server: the name of the server that has it or had it.
        attempt: how often it was begun, and once more while it waits.
        cancel_requested: whether it is to be cancelled while it runs.
    """

    status: JobStatus = JobStatus.QUEUED
    reason: str = ""
    reason_code: int | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    seconds: float = 0.0
    server: str | None = None
    attempt: int = 1
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted.

    Attributes:
        user: only this user's, which matters only where an admin asks.
        backend: only of this backend.
        program: only of this program.
        pending: only those that have not ended, or only those that have.
        status: only those with this status.
        tags: only those that have all of these.
        session: only those of this session.
        created_after: only those submitted at this time or later, in seconds since 1970.
        created_before: only those submitted at this time or earlier.
        newest: only those recorded up to a number, which :meth:`Records.newest` gives.
        as_of: when those that are pending have not ended; ``None`` for now.
        limit: at most so many.
        offset: without so many at first.
        ascending: whether the oldest come first.
    """

    user: str | None = None
    backend: str | None = None
    program: str | None = None
    pending: bool | None = None
    status: JobStatus | None = None
    tags: tuple[str, ...] = ()
    session: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    newest: int | None = None
    as_of: float | None = None
    limit: int = 10
    offset: int = 0
    ascending: bool = False


# Sessions


class SessionMode(StrEnum):
    """What a session is for: jobs that depend on one another, or a batch of independent ones."""

    DEDICATED = "dedicated"
    BATCH = "batch"


class SessionState(StrEnum):
    """What has become of a session."""

    OPEN = "open"
    """None of its jobs has begun."""
    ACTIVE = "active"
    """It has jobs, or had some lately."""
    INACTIVE = "inactive"
    """It has had no job for as long as its ``interactive_ttl``; the next one makes it active again."""
    CLOSED = "closed"
    """It takes no more jobs, and those that it had have ended."""


@dataclass(frozen=True, slots=True)
class NewServerSession:
    """A session as it is asked for.

    Attributes:
        id: of the session, unlike that of any other.
        user: whose it is.
        backend: the published name of the backend of all its jobs.
        mode: what it is for.
        max_ttl: how long it may be open once its first job has begun, in seconds.
        interactive_ttl: how long it is active without a job, in seconds.
        instance: the instance that was asked for.
    """

    id: str
    user: str
    backend: str
    mode: SessionMode
    max_ttl: float = 28800.0
    interactive_ttl: float = 60.0
    instance: str | None = None


@final
@dataclass(frozen=True, slots=True)
class ServerSession(NewServerSession):
    """A session as it is recorded. Times are in seconds since 1970.

    Attributes:
        created: when it was made.
        activated: when its first job began; ``None`` before.
        last_job_started: when the last one began.
        last_job_completed: when the last one ended.
        seconds: how long its jobs were computed, together.
        stopped: when it was told to take no more jobs; ``None`` if it was not.
        closed: when it was closed; ``None`` if nobody has noted it.
        unfinished: how many of its jobs wait or run.
    """

    created: float = 0.0
    activated: float | None = None
    last_job_started: float | None = None
    last_job_completed: float | None = None
    seconds: float = 0.0
    stopped: float | None = None
    closed: float | None = None
    unfinished: int = 0

    def state(self, now: float) -> SessionState:
        """What has become of it, at a time in seconds since 1970."""
        if self.closed_at(now) is not None:
            return SessionState.CLOSED
        if self.activated is None:
            return SessionState.OPEN
        idle_since = max(self.activated, self.last_job_completed or 0.0)
        is_active = self.unfinished > 0 or now < idle_since + self.interactive_ttl
        return SessionState.ACTIVE if is_active else SessionState.INACTIVE

    def accepting_jobs(self, now: float) -> bool:
        """Whether it takes jobs."""
        return self.stopped is None and self.closed_at(now) is None

    def closed_at(self, now: float) -> float | None:
        """When it was closed, by somebody, at its ``max_ttl`` or with its last job; ``None`` if it is not."""
        if self.closed is not None:
            return self.closed
        if self.stopped is not None and not self.unfinished:
            return max(self.stopped, self.last_job_completed or 0.0)
        if self.activated is not None:
            end = self.activated + self.max_ttl
        elif self.unfinished:
            return None  # its first job waits its turn: that is no time of the session's
        else:
            end = self.created + self.max_ttl
        return end if now >= end else None

    def active_ttl(self, now: float) -> float:
        """How long it may still be open, in seconds."""
        if self.activated is None:
            return self.max_ttl
        return 0.0 if self.closed_at(now) is not None else self.activated + self.max_ttl - now

    def usage(self, now: float) -> float:
        """Seconds used: of a batch, those of its jobs; else from its first job to its end, or to its last one's."""
        if self.mode is SessionMode.BATCH or self.activated is None:
            return self.seconds
        if self.state(now) is SessionState.ACTIVE:
            return now - self.activated
        return max(0.0, max(self.last_job_completed or 0.0, self.activated) - self.activated)


# Errors


class QueueFullError(QExecError, RuntimeError):
    """As many jobs wait as may.

    Args:
        most: how many that is.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most

    def __str__(self) -> str:
        return f"{self.most} jobs wait, which is as many as this server takes. Submit the job again later."


class SessionRefusedError(QExecError, ValueError):
    """A session does not take a job.

    Args:
        session: id of the session.
        reason: why not, and what to do.
    """

    def __init__(self, session: str, reason: str) -> None:
        super().__init__(session, reason)
        self.session = session
        self.reason = reason

    def __str__(self) -> str:
        return f"the session {self.session!r} {self.reason}"
