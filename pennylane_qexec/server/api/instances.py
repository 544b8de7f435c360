"""Requests about the instance, of which a server has one: what its users have used."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from pennylane_qexec.server.api.identity import INSTANCE, PLAN
from pennylane_qexec.server.api.state import CurrentUser, ServerState, State
from pennylane_qexec.server.api.views import iso
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import User

router = APIRouter(tags=["instances"])

_DAY = 86_400.0


class UsageView(BaseModel):
    """What a user has used, and may."""

    instance_id: str
    plan_id: str
    usage_consumed_seconds: float
    usage_limit_seconds: float | None = None
    usage_limit_reached: bool
    usage_period: dict[str, str]


@router.get("/instances/usage", response_model=UsageView, response_model_exclude_none=True)
async def usage(state: State, user: CurrentUser) -> dict[str, Any]:
    """For how many seconds a user's jobs were computed, and may be."""
    consumed, limit = await consumed_by(state, user), state.settings.usage_limit
    now = time.time()
    return {
        "instance_id": INSTANCE,
        "plan_id": PLAN,
        "usage_consumed_seconds": consumed,
        "usage_limit_seconds": limit,
        "usage_limit_reached": limit is not None and consumed >= limit,
        "usage_period": {"start_time": iso(now - state.settings.usage_days * _DAY), "end_time": iso(now)},
    }


async def consumed_by(state: ServerState, user: User) -> float:
    """For how many seconds the jobs of a user were computed within the period of the limit."""
    return await state.call(state.records.usage, user, time.time() - state.settings.usage_days * _DAY)


async def check_usage(state: ServerState, user: User) -> None:
    """Refuse a job of a user who has used what they may.

    Raises:
        ApiError: they have.
    """
    limit = state.settings.usage_limit
    if limit is not None and await consumed_by(state, user) >= limit:
        raise ApiError(
            403,
            Code.USAGE_LIMIT,
            f"{user.name!r} has used the {limit:g} seconds that a user may in {state.settings.usage_days} days.",
            "Wait until the first of them are over, or ask whoever runs the server for more.",
        )
