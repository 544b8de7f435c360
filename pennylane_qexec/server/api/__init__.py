"""The HTTP interface: a router for each group of requests, under the prefixes that clients use."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from pennylane_qexec.server.api import backends, health, identity, instances, jobs, sessions, submission
from pennylane_qexec.server.api.authentication import Authentication
from pennylane_qexec.server.api.middleware import RequestMiddleware
from pennylane_qexec.server.api.state import ServerState
from pennylane_qexec.server.errors import ErrorBody

__all__ = ["Authentication", "RequestMiddleware", "ServerState", "add_routes"]

_PREFIXES = ("/v1", "/experimental/api/v1")
_ERRORS = {
    400: "cannot run here",
    401: "no token, or one that nobody has",
    403: "not for this user, or not from this machine",
    404: "there is no such thing, or it is somebody else's",
    408: "it did not arrive in time",
    409: "not in this state",
    413: "too large",
    415: "compressed",
    422: "not valid",
    503: "too much waits: come again after Retry-After seconds",
}


def add_routes(app: FastAPI) -> None:
    """Add all requests to an application.

    Newer clients know those of the runtime under a longer prefix, too: the description has them once.
    """
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": text} for status, text in _ERRORS.items()
    }
    runtime = APIRouter(responses=errors)
    for module in (backends, submission, jobs, sessions, instances):
        runtime.include_router(module.router)
    for prefix in _PREFIXES:
        app.include_router(runtime, prefix=prefix, include_in_schema=prefix == _PREFIXES[0])
    for module in (identity, health):
        app.include_router(module.router, responses=errors)
