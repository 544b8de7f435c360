"""The submission of a job: all that can be wrong with it is said at once, and once it is accepted, nothing fails."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, Request
from pydantic_core import to_json

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.api.instances import check_usage
from pennylane_qexec.server.api.sessions import new_id, open_session
from pennylane_qexec.server.api.state import CurrentUser, ServerState, State, body_of, decoded, described
from pennylane_qexec.server.api.views import JobCreated, JobRequest
from pennylane_qexec.server.catalogue import PublishedBackend
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.programs import PROGRAMS, check_params, coalescing_key
from pennylane_qexec.server.records import NewServerJob, QueueFullError, SessionMode, SessionRefusedError

logger = logging.getLogger("pennylane_qexec.server")

router = APIRouter(tags=["jobs"])

_SMALL = 1_000_000  # bytes; of larger bodies, few are in memory at a time
_SLOWEST = 600  # seconds that a large one may take to arrive


@router.post("/jobs", response_model=JobCreated, response_model_exclude_none=True, openapi_extra=described(JobRequest))
async def submit(request: Request, state: State, user: CurrentUser) -> JobCreated:
    """Submit a job to a backend."""
    state.check_running()
    await check_usage(state, user)
    length = request.headers.get("content-length")
    if length is not None and int(length) <= _SMALL:
        return await _submitted(await body_of(request, state, JobRequest), state, user)
    async with state.large_bodies.arriving:
        body = await _arrived(request)
        async with state.large_bodies.decoded:
            wanted = await decoded(body, state, JobRequest)
            body.clear()
            return await _submitted(wanted, state, user)


async def _arrived(request: Request) -> bytearray:
    """A large body, which is in memory once."""
    body = bytearray()
    try:
        async with asyncio.timeout(_SLOWEST):
            async for part in request.stream():
                body += part
    except TimeoutError:
        raise ApiError(408, Code.BAD_REQUEST, f"the job did not arrive within {_SLOWEST} seconds.") from None
    return body


async def _submitted(wanted: JobRequest, state: ServerState, user: CurrentUser) -> JobCreated:
    backend = state.published(wanted.backend, status=400)
    await _check_calibration(state, wanted, backend)
    params, key = await state.call(_prepared, wanted, backend)
    job_id = new_id()
    session = wanted.session_id
    if wanted.start_session and session is None:
        session = job_id
        await open_session(state, user, job_id, backend.name, SessionMode.DEDICATED, wanted.session_time)
    job = NewServerJob(
        job_id,
        user.name,
        wanted.program_id,
        backend.name,
        session,
        tuple(wanted.tags),
        wanted.log_level or "WARNING",
        min(wanted.cost or state.settings.max_seconds, state.settings.max_seconds),
        wanted.private,
        wanted.runtime,
        wanted.calibration_id,
        key,
    )
    try:
        await state.call(state.records.add, job, params, state.settings.queue_limit)
    except QueueFullError as error:
        again = {"Retry-After": str(state.scheduler.retry_after())}
        raise ApiError(503, Code.TOO_MANY_REQUESTS, str(error), headers=again) from None
    except SessionRefusedError as error:
        raise ApiError(400, Code.NO_SESSION, f"{error}") from None
    try:
        state.metrics.submitted.labels(job.program).inc()
        state.scheduler.submitted(job_id)
    except Exception:  # it is recorded, and will run: an error would have the client submit it again
        logger.exception("the scheduler was not told about job %s", job_id)
    return JobCreated(id=job_id, backend=backend.name, session_id=session, private=wanted.private)


async def _check_calibration(state: ServerState, wanted: JobRequest, backend: PublishedBackend) -> None:
    calibration = wanted.calibration_id
    if calibration is not None and calibration != await state.call(state.catalogue.calibration_id, backend.name):
        raise ApiError(
            400,
            Code.NO_BACKEND,
            f"backend {backend.name!r} has no calibration {calibration!r}.",
            "A backend of this server has one calibration: leave calibration_id out.",
        )


def _prepared(wanted: JobRequest, backend: PublishedBackend) -> tuple[bytes, str | None]:
    """The payload of a job as bytes, and which jobs may run with it.

    Raises:
        ApiError: there is no such program, or it has an option that cannot be honoured.
    """
    try:
        check_params(wanted.program_id, wanted.params)
        key = coalescing_key(wanted.program_id, backend, wanted.params)
    except ConfigurationError as error:
        # the client takes 404 for a program that is not there
        raise ApiError(400 if wanted.program_id in PROGRAMS else 404, Code.BAD_PROGRAM, str(error)) from None
    return to_json(wanted.params, inf_nan_mode="constants"), key
