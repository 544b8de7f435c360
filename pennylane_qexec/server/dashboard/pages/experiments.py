"""Recorded experiments: a list, and how far each backend was from a reference over time, with changes marked."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pennylane_qexec.errors import QExecError, StoreError
from pennylane_qexec.server.dashboard import experiments, views
from pennylane_qexec.server.dashboard.context import admin_of, dashboard_of
from pennylane_qexec.server.dashboard.templating import render
from pennylane_qexec.server.errors import ApiError, Code

_PAGE = 50
DISTANCES = ("tvd", "hellinger")


async def list_experiments(request: Request) -> Response:
    """A page of experiments, by name."""
    admin_of(request)
    dashboard, after = dashboard_of(request), request.query_params.get("after", "")
    found = await dashboard.call(dashboard.store.experiments, after, _PAGE + 1)
    rows = found[:_PAGE]
    last = rows[-1].name if len(found) > _PAGE else ""
    template = "experiments/rows.html" if request.headers.get("hx-target") == "experiments" else "experiments/list.html"
    return render(request, template, rows=rows, last=last, first=not after)


async def show_experiment(request: Request) -> Response:
    """An experiment. Its chart and its marks come after."""
    admin_of(request)
    dashboard, name = dashboard_of(request), request.query_params.get("name", "")
    try:
        runs = await dashboard.call(dashboard.store.experiment_runs, name, None, 1)
    except StoreError as error:
        raise ApiError(404, Code.NOT_FOUND, str(error)) from None
    backends = sorted({f"{one.provider}/{one.backend}" for run in runs for one in run.backends})
    return render(request, "experiments/one.html", name=name, backends=backends, distances=DISTANCES, **_asked(request))


def _asked(request: Request) -> dict[str, Any]:
    query = request.query_params
    distance = query.get("distance", DISTANCES[0])
    return {
        "reference": query.get("reference") or "ideal",
        "distance": distance if distance in DISTANCES else DISTANCES[0],
    }


async def show_backends(request: Request) -> Response:
    """The backends of an experiment: the last distance of each, and what is marked."""
    try:
        found = await _found(request)
    except QExecError as error:
        return render(request, "experiments/backends.html", found=None, said=str(error))
    return render(request, "experiments/backends.html", found=found, said="")


async def distances(request: Request) -> Response:
    """The distances of the backends, for a chart."""
    try:
        return JSONResponse((await _found(request)).chart)
    except QExecError as error:
        raise ApiError(409, Code.BAD_REQUEST, str(error)) from None


async def _found(request: Request) -> Any:
    admin_of(request)
    dashboard, name = dashboard_of(request), request.query_params.get("name", "")
    asked = _asked(request)
    changed = await dashboard.call(dashboard.reads.read, lambda c: experiments.last_change(c, name))
    key = ("experiment", name, *asked.values(), *changed)
    return await dashboard.inspector.ask(key, views.backends_over_time, dashboard.location, name, *asked.values())


ROUTES = [
    Route("/experiments", list_experiments),
    Route("/experiments/one", show_experiment),
    Route("/experiments/backends", show_backends),
    Route("/experiments/distances", distances),
]
