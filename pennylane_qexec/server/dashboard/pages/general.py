"""Signing in and out, preferences, and the stream of events."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from pennylane_qexec.server.dashboard.access import COOKIE, HOURS
from pennylane_qexec.server.dashboard.context import dashboard_of, form_of
from pennylane_qexec.server.dashboard.preferences import Preferences, remember
from pennylane_qexec.server.dashboard.templating import render

_HOME = "/dashboard/"


async def sign_in(request: Request) -> Response:
    """The form that asks for a token, and what becomes of it."""
    dashboard = dashboard_of(request)
    if not await dashboard.call(lambda: dashboard.access.signs_in):
        return RedirectResponse(_HOME, 303)
    if request.method == "GET":
        return render(request, "sign-in.html", refused=False)
    form = await form_of(request)
    cookie = await dashboard.call(dashboard.access.sign_in, form.get("token", ""))
    if cookie is None:
        return render(request, "sign-in.html", 401, refused=True)
    response = RedirectResponse(_HOME, 303)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=HOURS * 3600,
        path="/dashboard",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


async def sign_out(request: Request) -> Response:
    """Forget who uses the browser."""
    await form_of(request)
    response = RedirectResponse(f"{_HOME}sign-in", 303)
    response.delete_cookie(COOKIE, path="/dashboard")
    return response


async def preferences(request: Request) -> Response:
    """Set the theme, and how often pages are refreshed."""
    return remember(request, await form_of(request))


async def events(request: Request) -> Response:
    """Tell the browser of changes."""
    dashboard = dashboard_of(request)
    stream = dashboard.events.stream(Preferences.of(request).pause)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


ROUTES = [
    Route("/sign-in", sign_in, methods=["GET", "POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/preferences", preferences, methods=["POST"]),
    Route("/events", events),
]
