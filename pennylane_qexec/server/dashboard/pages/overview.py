"""The first page, and the timeline: what executors and backends do, and have done lately."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.api import ServerState
from pennylane_qexec.server.dashboard import executors, jobs
from pennylane_qexec.server.dashboard.context import dashboard_of, user_of
from pennylane_qexec.server.dashboard.templating import render

_A_DAY = 86400.0
_SPANS = {"10 minutes": 600.0, "hour": 3600.0, "day": _A_DAY}


async def overview(request: Request) -> Response:
    """What there is, and what goes on."""
    dashboard, user, now = dashboard_of(request), user_of(request), time.time()
    values: dict[str, Any] = {"executors": [], "backends": [], "published": 0}
    if user.admin:
        values["executors"] = await dashboard.call(dashboard.reads.read, lambda c: executors.executors(c, now))
    if dashboard.server is not None:
        rows = await dashboard.call(dashboard.reads.read, lambda c: jobs.backends(c, now - _A_DAY))
        ages = {row.backend: await dashboard.call(_calibrated, dashboard.server, row.backend) for row in rows}
        values |= {
            "backends": [(row, ages[row.backend]) for row in rows],
            "published": len(dashboard.server.catalogue.names()),
        }
    template = "overview/tables.html" if request.headers.get("hx-target") == "tables" else "overview/page.html"
    return render(request, template, **values, has_server=dashboard.server is not None)


def _calibrated(server: ServerState, name: str) -> float | None:
    """When a backend was calibrated, in seconds since 1970; ``None`` if it has no calibration."""
    try:
        when = server.catalogue.calibrated(name)
    except QExecError:  # it is published no more
        return None
    return None if when is None else when.timestamp()


async def timeline(request: Request) -> Response:
    """When what ran."""
    dashboard, user, now = dashboard_of(request), user_of(request), time.time()
    span = request.query_params.get("span", "hour")
    span = span if span in _SPANS else "hour"
    is_server = dashboard.server is not None and (not user.admin or request.query_params.get("of") != "runs")
    lanes: list[executors.Lane] = []
    if user.admin:
        lanes = await dashboard.call(
            dashboard.reads.read, lambda c: executors.timeline(c, now - _SPANS[span], now, is_server)
        )
    template = "overview/lanes.html" if request.headers.get("hx-target") == "lanes" else "overview/timeline.html"
    return render(
        request,
        template,
        lanes=lanes,
        start=now - _SPANS[span],
        length=_SPANS[span],
        span=span,
        spans=list(_SPANS),
        is_server=is_server,
        has_server=dashboard.server is not None,
    )


ROUTES = [Route("/", overview), Route("/timeline", timeline)]
