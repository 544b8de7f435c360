"""Jobs and sessions as IBM's clients read them, and what they send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, StringConstraints

from pennylane_qexec.server.records import ServerJob, ServerSession

Text = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f]*$")]
"""A text that any database takes."""

Seconds = Annotated[int, Field(gt=0, le=2**31 - 1)]
"""A time in whole seconds, which is no longer than a lifetime."""


class JobRequest(BaseModel):
    """A job, as clients submit it; what else they send is not read."""

    program_id: Text = Field(examples=["sampler"])
    backend: Text = Field(examples=["fake_manila"])
    params: dict[str, Any] = Field(description="Payload of the program, in IBM's encoding.")
    session_id: Text | None = None
    tags: list[Text] = Field([], max_length=100)
    cost: PositiveFloat | None = Field(None, description="Seconds that it may run.")
    private: bool = False
    runtime: Text | None = None
    log_level: Text | None = None
    calibration_id: Text | None = None
    start_session: bool | None = Field(None, description="Make a session, which has the id of the job.")
    session_time: Seconds | None = Field(None, description="Longest life of that session, in seconds.")


class JobCreated(BaseModel):
    """The answer to a submission."""

    id: str
    backend: str
    session_id: str | None = None
    private: bool = False


class JobStateView(BaseModel):
    """What has become of a job."""

    status: str
    reason: str | None = None
    reason_code: int | None = None


class JobView(BaseModel):
    """A job."""

    id: str
    backend: str
    program: dict[str, str]
    state: JobStateView
    status: str
    created: str
    ended: str | None = None
    user_id: str
    session_id: str | None = None
    tags: list[str]
    private: bool
    runtime: str | None = None
    cost: float | None = None
    usage: dict[str, float]
    params: dict[str, Any] | None = None


class JobsView(BaseModel):
    """A page of jobs."""

    jobs: list[JobView]
    count: int = Field(description="How many there are on all pages together.")
    limit: int
    offset: int


class JobMetricsView(BaseModel):
    """When what happened to a job, and how long it ran."""

    timestamps: dict[str, str | None]
    usage: dict[str, float]
    bss: dict[str, float]


class TagsRequest(BaseModel):
    """New tags of a job."""

    tags: list[Text] = Field(max_length=100)


class SessionRequest(BaseModel):
    """A session, as clients ask for it."""

    backend: Text
    mode: Literal["dedicated", "batch"] = "dedicated"
    instance: Text | None = None
    max_ttl: Seconds | None = None


class SessionUpdate(BaseModel):
    """A change of a session: it can be told to take no more jobs."""

    accepting_jobs: bool


class SessionView(BaseModel):
    """A session."""

    id: str
    backend_name: str
    mode: str
    state: str
    accepting_jobs: bool
    max_ttl: float
    interactive_ttl: float
    active_ttl: float
    elapsed_time: float
    started_at: str
    activated_at: str | None
    closed_at: str | None
    last_job_started: str | None
    last_job_completed: str | None
    user_id: str
    instance: str | None


def iso(seconds: float | None) -> str | None:
    """A time in seconds since 1970, as IBM writes it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def job_view(job: ServerJob) -> dict[str, Any]:
    """A job, without its payload."""
    state: dict[str, Any] = {"status": job.status.value}
    if job.reason:
        state["reason"] = job.reason
    if job.reason_code is not None:
        state["reason_code"] = job.reason_code
    view: dict[str, Any] = {
        "id": job.id,
        "backend": job.backend,
        "program": {"id": job.program},
        "state": state,
        "status": job.status.value,
        "created": iso(job.created),
        "user_id": job.user,
        "tags": list(job.tags),
        "private": job.private,
        "usage": {"seconds": job.seconds, "quantum_seconds": job.seconds},
    }
    optional = {"session_id": job.session, "runtime": job.runtime, "cost": job.max_seconds, "ended": iso(job.finished)}
    return view | {name: value for name, value in optional.items() if value is not None}


def job_metrics(job: ServerJob) -> dict[str, Any]:
    """When what happened to a job, and how long it ran."""
    return {
        "timestamps": {"created": iso(job.created), "running": iso(job.started), "finished": iso(job.finished)},
        "usage": {"seconds": job.seconds, "quantum_seconds": job.seconds},
        "bss": {"seconds": job.seconds},
    }


def session_view(session: ServerSession, now: float) -> dict[str, Any]:
    """A session, as it is at a time in seconds since 1970."""
    return {
        "id": session.id,
        "backend_name": session.backend,
        "mode": session.mode.value,
        "state": session.state(now).value,
        "accepting_jobs": session.accepting_jobs(now),
        "max_ttl": session.max_ttl,
        "interactive_ttl": session.interactive_ttl,
        "active_ttl": session.active_ttl(now),
        "elapsed_time": session.usage(now),
        "started_at": iso(session.created),
        "activated_at": iso(session.activated),
        "closed_at": iso(session.closed_at(now)),
        "last_job_started": iso(session.last_job_started),
        "last_job_completed": iso(session.last_job_completed),
        "user_id": session.user,
        "instance": session.instance,
    }
