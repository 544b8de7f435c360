"""Requests about jobs that were submitted."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from pennylane_qexec.server.api.pages import list_now
from pennylane_qexec.server.api.polls import AFTER_START, LONGEST
from pennylane_qexec.server.api.state import CurrentUser, ServerState, State, body_of, described, is_id
from pennylane_qexec.server.api.views import JobMetricsView, JobsView, JobView, TagsRequest, Text, job_metrics, job_view
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import JobFilter, JobStatus, ServerJob, User

router = APIRouter(tags=["jobs"])


async def _job_id(job_id: str) -> str:
    """An id that may be one: no database has to look for others."""
    if not is_id(job_id):
        raise _no_job(job_id)
    return job_id


JobId = Annotated[str, Depends(_job_id)]

_PAGE, _LARGEST_PAGE = 200, 1000
_MOST_SKIPPED = 2**31 - 1
_SHOWN = 1e-6  # seconds to which times of jobs are shown: whoever asks with one of these, means that job too


@router.get("/jobs", response_model=JobsView, response_model_exclude_none=True)
async def jobs(
    state: State,
    user: CurrentUser,
    limit: Annotated[int, Query(ge=0)] = _PAGE,
    offset: Annotated[int, Query(ge=0, le=_MOST_SKIPPED)] = 0,
    backend: Text | None = None,
    program: Text | None = None,
    pending: bool | None = None,
    session_id: Text | None = None,
    tags: Annotated[list[Text], Query(max_length=20)] = [],  # noqa: B006  FastAPI copies it
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    sort: Literal["ASC", "DESC"] = "DESC",
    exclude_params: Annotated[bool, Query(description="They are never in a list.")] = True,
) -> dict[str, Any]:
    """A user's jobs, an admin's everybody's: those that have all that is asked for, the newest first."""
    wanted = JobFilter(
        backend=backend,
        program=program,
        pending=pending,
        tags=tuple(tags),
        session=session_id,
        created_after=None if created_after is None else _seconds(created_after) - _SHOWN,
        created_before=None if created_before is None else _seconds(created_before) + _SHOWN,
        limit=min(limit, _LARGEST_PAGE),
        offset=offset,
        ascending=sort == "ASC",
    )
    meant = state.pages.asked(user, wanted)
    if meant is None:
        meant = await state.call(list_now, state.records, wanted)
    page, count = await state.call(state.records.jobs, user, meant)
    state.pages.given(user, wanted, meant, page, count)
    if not page:
        count = max(count, offset)  # behind the last page, the client would go on asking for as long as it lives
    return {"jobs": [job_view(job) for job in page], "count": count, "limit": wanted.limit, "offset": offset}


@router.get("/jobs/{job_id}", response_class=Response, responses={200: {"model": JobView}})
async def job(job_id: JobId, state: State, user: CurrentUser, exclude_params: bool = False) -> Response:
    """A job. A client that waits for it is answered when it changes, at the latest after half a second."""
    found = await _job(state, user, job_id)
    if exclude_params:
        if not found.status.final and state.polls.is_waiting(user.name, job_id, time.time() - found.created):
            found = await _changed(state, user, found)
        state.polls.told(user.name, job_id, found.status.final)
        return _json(json.dumps(job_view(found)).encode())
    params = None if found.private else await state.call(state.records.params, job_id, user)
    view = json.dumps(job_view(found)).encode()
    return _json(view if params is None else b'%b,"params":%b}' % (view[:-1], params))


@router.delete("/jobs/{job_id}", status_code=204)
async def delete(job_id: JobId, state: State, user: CurrentUser) -> Response:
    """Delete a job and its result; one that runs cannot be deleted."""
    status = await state.call(state.records.delete, job_id, user)
    if status is None:
        raise _no_job(job_id)
    if status is JobStatus.RUNNING:
        raise ApiError(409, Code.NOT_CANCELLABLE, f"job {job_id!r} runs.", "Cancel it first.")
    await state.scheduler.cancel(job_id)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/results", response_class=Response, responses={200: {}, 204: {}})
async def results(job_id: JobId, state: State, user: CurrentUser) -> Response:
    """The result of a job; nothing while it has none; the reason, as text, if it failed."""
    found = await _job(state, user, job_id)
    if not found.status.final:
        return Response(status_code=204)
    result = await state.call(state.records.result, job_id, user)
    if result is not None:
        return _json(result.encode())
    if found.status is not JobStatus.COMPLETED:
        return Response(found.reason, media_type="text/plain") if found.reason else Response(status_code=204)
    if found.private:
        raise ApiError(404, Code.NO_JOB, f"the result of job {job_id!r}, which is private, was read before.")
    return Response(status_code=204)


@router.post("/jobs/{job_id}/cancel", status_code=204)
async def cancel(job_id: JobId, state: State, user: CurrentUser) -> Response:
    """Cancel a job that waits or runs."""
    status = await state.call(state.records.cancel, job_id, user)
    if status is None:
        raise _no_job(job_id)
    if status.final:
        raise ApiError(409, Code.NOT_CANCELLABLE, f"job {job_id!r} has ended: {status.value.lower()}.")
    await state.scheduler.cancel(job_id)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/logs", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def logs(job_id: JobId, state: State, user: CurrentUser) -> Response:
    """What a job has logged."""
    await _job(state, user, job_id)
    return Response(await state.call(state.records.logs, job_id, user), media_type="text/plain")


@router.get("/jobs/{job_id}/metrics", response_model=JobMetricsView)
async def metrics(job_id: JobId, state: State, user: CurrentUser) -> dict[str, Any]:
    """When what happened to a job, and how long it ran."""
    return job_metrics(await _job(state, user, job_id))


@router.put("/jobs/{job_id}/tags", status_code=204, openapi_extra=described(TagsRequest))
async def set_tags(request: Request, job_id: JobId, state: State, user: CurrentUser) -> Response:
    """Replace the tags of a job."""
    wanted = await body_of(request, state, TagsRequest)
    if not await state.call(state.records.set_tags, job_id, user, wanted.tags):
        raise _no_job(job_id)
    return Response(status_code=204)


async def _job(state: ServerState, user: User, job_id: str) -> ServerJob:
    found = await state.call(state.records.job, job_id, user)
    if found is None:
        raise _no_job(job_id)
    return found


async def _changed(state: ServerState, user: User, before: ServerJob) -> ServerJob:
    """A job when its status has changed, or the time for that is over.

    One that begins to run is watched a little longer: the client sleeps for 0.1 seconds between two questions, and most
    small jobs have ended by then.
    """
    until = time.monotonic() + LONGEST
    await state.scheduler.wait(before.id, before.status, LONGEST)
    left = until - time.monotonic()
    if before.status is JobStatus.QUEUED and left > 0:
        await state.scheduler.wait(before.id, JobStatus.RUNNING, min(AFTER_START, left))
    return await _job(state, user, before.id)


def _seconds(when: datetime) -> float:
    """A time as seconds since 1970; without a time zone, it is in UTC."""
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _no_job(job_id: str) -> ApiError:
    return ApiError(404, Code.NO_JOB, f"there is no job {job_id!r}.")
