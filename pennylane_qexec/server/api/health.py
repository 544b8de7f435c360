"""Requests of those who watch a server: whether it lives, whether it is ready, what it has counted."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from pennylane_qexec.errors import StoreError
from pennylane_qexec.server.api.state import CurrentUser, State
from pennylane_qexec.server.errors import ApiError, Code

router = APIRouter(tags=["health"])


class HealthView(BaseModel):
    """How a server is."""

    status: str


@router.get("/healthz", response_model=HealthView)
async def healthz() -> HealthView:
    """The server lives: it answers."""
    return HealthView(status="ok")


@router.get("/readyz", response_model=HealthView)
async def readyz(state: State) -> HealthView:
    """The server takes jobs: its store answers."""
    state.check_running()
    try:
        await state.call(state.records.queue_lengths)
    except StoreError:
        raise ApiError(503, Code.INTERNAL, "the store does not answer.", headers={"Retry-After": "5"}) from None
    return HealthView(status="ready")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: State, user: CurrentUser) -> Response:
    """What the server has counted, for Prometheus."""
    waiting = await state.call(state.records.queue_lengths)
    state.metrics.queued.set(sum(waiting.values()))
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
