"""Durable runs: a list, each with its values and its forks, several compared; and forking one."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.dashboard import runs, views
from pennylane_qexec.server.dashboard.context import Dashboard, admin_of, dashboard_of, form_of, number_in
from pennylane_qexec.server.dashboard.templating import render
from pennylane_qexec.server.errors import ApiError, Code

_MOST_COMPARED = 8


async def list_runs(request: Request) -> Response:
    """A page of runs, or only its table."""
    admin_of(request)
    dashboard = dashboard_of(request)
    before, after = request.query_params.get("before"), number_in(request, "after")
    try:
        opened = None if not before else float(before)
    except ValueError:
        raise ApiError(400, Code.BAD_REQUEST, f"before={before!r:.40} must be a time.") from None
    found = await dashboard.call(dashboard.reads.read, lambda c: runs.page(c, opened, after))
    rows = found[: runs.PAGE]
    last = rows[-1].run if len(found) > runs.PAGE else None
    template = "runs/rows.html" if request.headers.get("hx-target") == "runs" else "runs/list.html"
    return render(request, template, rows=rows, last=last, first=opened is None)


async def show_run(request: Request) -> Response:
    """A run."""
    admin_of(request)
    found = await _details(request)
    template = "runs/facts.html" if request.headers.get("hx-target") == "facts" else "runs/one.html"
    return render(request, template, found=found, refused="", wanted={})


async def _details(request: Request) -> runs.RunDetails:
    dashboard, run = dashboard_of(request), number_in(request, "run")
    found = await dashboard.call(dashboard.reads.read, lambda c: runs.details(c, run))
    if found is None:
        raise ApiError(404, Code.NOT_FOUND, f"no run has the number {run}.")
    return found


async def fork(request: Request) -> Response:
    """Fork a run, and show the new one."""
    admin_of(request)
    form = await form_of(request)
    dashboard, found = dashboard_of(request), await _details(request)
    try:
        new = await dashboard.call(
            dashboard.store.fork_run, found.run.name, form.get("new", "").strip(), form.get("at", "").strip() or None
        )
    except QExecError as error:
        return render(request, "runs/one.html", 409, found=found, refused=str(error), wanted=form)
    return RedirectResponse(f"/dashboard/runs/{new.id}", 303)


async def values(request: Request) -> Response:
    """The values of one or several runs, for a chart."""
    admin_of(request)
    dashboard, ids = dashboard_of(request), _wanted(request)
    lines = [await _line(dashboard, run) for run in ids]
    return JSONResponse(runs.chart([line for line in lines if line is not None]))


async def _line(dashboard: Dashboard, run: int) -> runs.Points | None:
    found = await dashboard.call(dashboard.reads.read, lambda c: runs.details(c, run))
    if found is None:
        return None
    marks = await dashboard.call(dashboard.reads.read, lambda c: runs.marked(c, run))
    if marks:
        return runs.Points(found.run.name, [mark.number for mark in marks], [mark.value for mark in marks])
    results = await dashboard.call(dashboard.reads.read, lambda c: runs.results(c, run))
    if not results:
        return None
    key = ("values", run, tuple([number for number, _, _ in results]))
    x, y = await dashboard.inspector.ask(key, views.first_values, results)
    return runs.Points(found.run.name, x, y)


async def compare(request: Request) -> Response:
    """Several runs beside each other."""
    admin_of(request)
    dashboard, ids = dashboard_of(request), _wanted(request)
    found = [await dashboard.call(dashboard.reads.read, lambda c, run=run: runs.details(c, run)) for run in ids]
    return render(
        request,
        "runs/compare.html",
        found=[one for one in found if one is not None],
        query="&".join(f"run={quote(str(run))}" for run in ids),
    )


def _wanted(request: Request) -> list[int]:
    given = request.query_params.getlist("run") or [str(request.path_params.get("run", ""))]
    ids = [int(one) for one in dict.fromkeys(given) if one.isdecimal() and len(one) < 18]
    if not ids or len(ids) > _MOST_COMPARED:
        raise ApiError(400, Code.BAD_REQUEST, f"choose from 1 to {_MOST_COMPARED} runs to compare.")
    return ids


ROUTES = [
    Route("/runs", list_runs),
    Route("/runs/compare", compare),
    Route("/runs/values", values),
    Route("/runs/{run:int}", show_run),
    Route("/runs/{run:int}/fork", fork, methods=["POST"]),
    Route("/runs/{run:int}/values", values),
]
