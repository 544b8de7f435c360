"""Requests about the instance, of which a server has one: what its users have used."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from pennylane_qexec.server.allowances import Allowance
from pennylane_qexec.server.api.identity import INSTANCE, PLAN
from pennylane_qexec.server.api.state import CurrentUser, ServerState, State
from pennylane_qexec.server.api.views import iso
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import User

router = APIRouter(tags=["instances"])


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
    allowance = Allowance.of(state.settings)
    consumed = await state.call(allowance.used, state.records, user.name)
    return {
        "instance_id": INSTANCE,
        "plan_id": PLAN,
        "usage_consumed_seconds": consumed,
        "usage_limit_seconds": allowance.seconds,
        "usage_limit_reached": allowance.objection(user.name, consumed) is not None,
        "usage_period": {"start_time": iso(allowance.since), "end_time": iso(time.time())},
    }


async def check_usage(state: ServerState, user: User) -> None:
    """Refuse a job of a user who has used what they may.

    Raises:
        ApiError: they have.
    """
    allowance = Allowance.of(state.settings)
    if allowance.seconds is None:
        return
    used = await state.call(allowance.used, state.records, user.name)
    if (reason := allowance.objection(user.name, used)) is not None:
        raise ApiError(
            403,
            Code.USAGE_LIMIT,
            reason,
            "Wait until the first of them are over, or ask whoever runs the server for more.",
        )
