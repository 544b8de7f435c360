"""Requests about sessions and batches."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response

from pennylane_qexec.server.api.state import CurrentUser, ServerState, State, body_of, described, is_id
from pennylane_qexec.server.api.views import SessionRequest, SessionUpdate, SessionView, session_view
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import NewServerSession, ServerSession, SessionMode, User

router = APIRouter(tags=["sessions"])


async def _session_id(session_id: str) -> str:
    """An id that may be one: no database has to look for others."""
    if not is_id(session_id):
        raise _no_session(session_id)
    return session_id


SessionId = Annotated[str, Depends(_session_id)]


@router.post("/sessions", response_model=SessionView, openapi_extra=described(SessionRequest))
async def create(request: Request, state: State, user: CurrentUser) -> dict[str, Any]:
    """Open a session or a batch."""
    wanted = await body_of(request, state, SessionRequest)
    state.published(wanted.backend, status=400)
    mode = SessionMode(wanted.mode)
    session = await open_session(state, user, new_id(), wanted.backend, mode, wanted.max_ttl, wanted.instance)
    return session_view(session, time.time())


@router.get("/sessions/{session_id}", response_model=SessionView)
async def details(session_id: SessionId, state: State, user: CurrentUser) -> dict[str, Any]:
    """A session."""
    found = await state.call(state.records.session, session_id, user)
    if found is None:
        raise _no_session(session_id)
    return session_view(found, time.time())


@router.patch("/sessions/{session_id}", status_code=204, openapi_extra=described(SessionUpdate))
async def update(request: Request, session_id: SessionId, state: State, user: CurrentUser) -> Response:
    """Tell a session to take no more jobs: those that it has go on."""
    wanted = await body_of(request, state, SessionUpdate)
    if not await state.call(state.records.update_session, session_id, user, wanted.accepting_jobs):
        raise _no_session(session_id)
    return Response(status_code=204)


@router.delete("/sessions/{session_id}/close", status_code=204)
async def close(session_id: SessionId, state: State, user: CurrentUser) -> Response:
    """Close a session: its jobs that wait are cancelled."""
    cancelled = await state.call(state.records.close_session, session_id, user)
    if cancelled is None:
        raise _no_session(session_id)
    for job in cancelled:
        await state.scheduler.cancel(job)
    return Response(status_code=204)


async def open_session(
    state: ServerState,
    user: User,
    session_id: str,
    backend: str,
    mode: SessionMode,
    max_ttl: float | None = None,
    instance: str | None = None,
) -> ServerSession:
    """Open a session, which lives as long as was asked for, but not longer than this server lets any."""
    longest = state.settings.session_ttl
    new = NewServerSession(
        session_id,
        user.name,
        backend,
        mode,
        max_ttl=longest if max_ttl is None else min(max_ttl, longest),
        interactive_ttl=state.settings.interactive_ttl,
        instance=instance,
    )
    await state.call(state.records.add_session, new)
    return cast(ServerSession, await state.call(state.records.session, session_id, user))


def new_id() -> str:
    """An id that nobody guesses, of a job or a session."""
    return secrets.token_hex(10)


def _no_session(session_id: str) -> ApiError:
    return ApiError(404, Code.NO_SESSION, f"there is no session {session_id!r}.")
