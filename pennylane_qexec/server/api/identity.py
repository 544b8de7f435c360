"""What IBM Cloud answers beside the runtime: clients from 0.49 on ask for a token, the instances and their plan."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from pydantic import BaseModel

from pennylane_qexec.server.api.state import CurrentUser, State
from pennylane_qexec.server.errors import ApiError, Code

router = APIRouter(tags=["identity"])

INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/local:local::"
"""The name of the one instance of a server, as :mod:`pennylane_qexec.server.client` has it."""

PLAN = "local"
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["apikey"],
                    "properties": {"grant_type": {"type": "string"}, "apikey": {"type": "string"}},
                }
            }
        },
    }
}


class AccessTokenView(BaseModel):
    """A token that is good for a while."""

    access_token: str
    refresh_token: str = "not_supported"
    token_type: str = "Bearer"
    expires_in: int
    expiration: int
    scope: str = "ibm openid"


@router.post("/identity/token", response_model=AccessTokenView, openapi_extra=_FORM)
async def token(request: Request, state: State) -> AccessTokenView:
    """A short-lived token for a user's own one."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=20)
    key = (form.get("apikey") or [""])[0]
    made = await state.call(state.authentication.access_token, key)
    if made is None:
        raise ApiError(
            401,
            Code.NO_CREDENTIALS,
            "this server does not know the API key.",
            "Whoever runs the server makes one with `qexec server-token`.",
        )
    return AccessTokenView(access_token=made.text, expires_in=made.expires - made.issued, expiration=made.expires)


@router.post("/v3/resources/search", response_model=dict[str, Any])
async def instances(user: CurrentUser, limit: int = 100) -> dict[str, Any]:
    """The instances of a user: the server is the only one."""
    only = {
        "crn": INSTANCE,
        "name": "local",
        "service_plan_unique_id": PLAN,
        "doc": {"extensions": {"backends": ["*"]}},
        "tags": [],
    }
    return {"items": [only], "limit": limit}


@router.get("/api/v1/{plan}", response_model=dict[str, Any])
async def plan(plan: str) -> dict[str, Any]:
    """The plan of an instance: it is free."""
    if plan != PLAN:
        raise ApiError(404, Code.NOT_FOUND, f"there is no plan {plan!r}.")
    return {"overview_ui": {"en": {"display_name": "Local"}}, "metadata": {"pricing": {"type": "free"}}}
