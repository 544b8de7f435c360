"""Requests about backends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from pennylane_qexec.server.api.state import CurrentUser, ServerState, State
from pennylane_qexec.server.errors import ApiError, Code

router = APIRouter(tags=["backends"])


class BackendsView(BaseModel):
    """The backends of a server."""

    devices: list[dict[str, Any]]


class BackendStatusView(BaseModel):
    """Whether a backend runs jobs, and how many wait for it."""

    state: bool
    status: str
    message: str
    length_queue: int
    backend_version: str


@router.get("/backends", response_model=BackendsView)
async def backends(state: State, user: CurrentUser, include_mocks: bool = False) -> dict[str, Any]:
    """The backends of this server; with those for dry runs, if asked for."""
    catalogue = state.catalogue
    names = [*catalogue.names(), *(catalogue.mocks() if include_mocks else ())]

    def rows() -> list[dict[str, Any]]:
        waiting = state.records.queue_lengths()
        return [catalogue.device_entry(name, waiting.get(name, 0)) for name in names]

    return {"devices": await state.call(rows)}


@router.get("/backends/{name}/configuration", response_class=Response, responses={200: {"model": dict[str, Any]}})
async def configuration(name: str, state: State, user: CurrentUser, calibration_id: str | None = None) -> Response:
    """What a backend looks like: qubits, gates, coupling."""
    await _check_calibration(state, name, calibration_id)
    return _json(await state.call(state.catalogue.configuration, name))


@router.get("/backends/{name}/properties", response_class=Response, responses={200: {"model": dict[str, Any]}})
async def properties(
    name: str,
    state: State,
    user: CurrentUser,
    updated_before: datetime | None = None,
    calibration_id: str | None = None,
) -> Response:
    """The calibration of a backend; an empty object if it has none, or none of that time."""
    await _check_calibration(state, name, calibration_id)
    if updated_before is not None and updated_before.tzinfo is None:
        updated_before = updated_before.replace(tzinfo=UTC)
    return _json(await state.call(state.catalogue.properties, name, updated_before))


@router.get("/backends/{name}/status", response_model=BackendStatusView)
async def status(name: str, state: State, user: CurrentUser) -> dict[str, Any]:
    """Whether a backend runs jobs, and how many wait for it."""
    state.published(name)

    def found() -> dict[str, Any]:
        return state.catalogue.status(name, state.records.queue_lengths().get(name, 0))

    return await state.call(found)


async def _check_calibration(state: ServerState, name: str, calibration_id: str | None) -> None:
    state.published(name)
    if calibration_id is not None and calibration_id != await state.call(state.catalogue.calibration_id, name):
        raise ApiError(
            404,
            Code.NO_BACKEND,
            f"backend {name!r} has no calibration {calibration_id!r}.",
            "A backend of this server has one calibration: leave calibration_id out.",
        )


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
