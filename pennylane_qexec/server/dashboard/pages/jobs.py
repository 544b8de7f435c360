"""The jobs of a server: a list, each with its circuits and result; and cancelling one."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.api import ServerState
from pennylane_qexec.server.dashboard import jobs, views
from pennylane_qexec.server.dashboard.context import dashboard_of, form_of, number_in, user_of
from pennylane_qexec.server.dashboard.templating import render
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import ServerJob


def _server(request: Request) -> ServerState:
    server = dashboard_of(request).server
    if server is None:
        raise ApiError(404, Code.NOT_FOUND, "these pages are of a store, and no server runs jobs here.")
    return server


async def list_jobs(request: Request) -> Response:
    """A page of jobs, or only the rows of its table."""
    _server(request)
    dashboard, user, query = dashboard_of(request), user_of(request), request.query_params
    wanted = jobs.Wanted(
        status=query.get("status", "") if query.get("status") in jobs.STATUSES else "",
        backend=query.get("backend", ""),
        user=query.get("user", ""),
        text=query.get("text", "").strip()[:200],
        before=number_in(request, "before"),
    )
    found = await dashboard.call(dashboard.reads.read, lambda c: jobs.page(c, user, wanted))
    rows, more = found[: jobs.PAGE], len(found) > jobs.PAGE
    values: dict[str, Any] = {"rows": rows, "wanted": wanted, "last": rows[-1].number if more else None}
    if request.headers.get("hx-target") == "jobs":
        return render(request, "jobs/rows.html", **values)
    backends = await dashboard.call(dashboard.reads.read, lambda c: jobs.backend_names(c, user))
    return render(request, "jobs/list.html", **values, statuses=jobs.STATUSES, backends=backends)


async def _job(request: Request) -> ServerJob:
    dashboard, job = dashboard_of(request), request.path_params["job"]
    found = await dashboard.call(dashboard.records.job, job, user_of(request))
    if found is None:
        raise ApiError(404, Code.NO_JOB, f"there is no job {job!r:.80}.")
    return found


async def show_job(request: Request) -> Response:
    """A job. Its circuits and results come after."""
    _server(request)
    job = await _job(request)
    log = await dashboard_of(request).call(dashboard_of(request).records.logs, job.id, user_of(request))
    template = "jobs/facts.html" if request.headers.get("hx-target") == "facts" else "jobs/one.html"
    return render(request, template, job=job, log=log)


async def show_content(request: Request) -> Response:
    """The circuits of a job, and its results."""
    server = _server(request)
    dashboard, user, job = dashboard_of(request), user_of(request), await _job(request)
    if job.private:
        return render(
            request, "view.html", view=None, said="the job is private: nobody is shown its circuits and results."
        )
    params = await dashboard.call(dashboard.records.params, job.id, user)
    result = await dashboard.call(dashboard.records.result, job.id, user) if job.status.final else None
    if params is None:
        return render(request, "view.html", view=None, said="its circuits are recorded no more.")
    try:
        view = await dashboard.inspector.ask(
            ("job", job.id, job.status), views.submitted, job.program, params, result, server.settings.limits
        )
    except QExecError as error:
        return render(request, "view.html", view=None, said=str(error))
    return render(request, "view.html", view=view, said="")


async def cancel(request: Request) -> Response:
    """Cancel a job, and show it."""
    server = _server(request)
    await form_of(request)
    job = await _job(request)
    status = await server.call(server.records.cancel, job.id, user_of(request))
    if status is not None and not status.final:
        await server.scheduler.cancel(job.id)
    return RedirectResponse(f"/dashboard/jobs/{job.id}", 303)


ROUTES = [
    Route("/jobs", list_jobs),
    Route("/jobs/{job}", show_job),
    Route("/jobs/{job}/content", show_content),
    Route("/jobs/{job}/cancel", cancel, methods=["POST"]),
]
