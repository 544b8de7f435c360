"""The circuits that runs have recorded: a list, and each with its drawing, its result and what it took."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.dashboard import circuits, views
from pennylane_qexec.server.dashboard.context import admin_of, dashboard_of, number_in
from pennylane_qexec.server.dashboard.templating import render
from pennylane_qexec.server.errors import ApiError, Code


async def list_circuits(request: Request) -> Response:
    """A page of circuits, or only the rows of its table."""
    admin_of(request)
    dashboard, query = dashboard_of(request), request.query_params
    wanted = circuits.Wanted(
        run=query.get("run", ""),
        state=query.get("state", "") if query.get("state") in circuits.STATES else "",
        executor=query.get("executor", ""),
        text=query.get("text", "").strip()[:200],
        before=number_in(request, "before"),
    )
    found = await dashboard.call(dashboard.reads.read, lambda c: circuits.page(c, wanted))
    rows, more = found[: circuits.PAGE], len(found) > circuits.PAGE
    values: dict[str, Any] = {"rows": rows, "wanted": wanted, "last": rows[-1].id if more else None}
    if request.headers.get("hx-target") == "circuits":
        return render(request, "circuits/rows.html", **values)
    run_names, executors = await dashboard.call(dashboard.reads.read, circuits.names)
    return render(
        request, "circuits/list.html", **values, states=circuits.STATES, run_names=run_names, executors=executors
    )


async def show_circuit(request: Request) -> Response:
    """A circuit: what is recorded of it. Its drawing and result come after."""
    admin_of(request)
    dashboard, job = dashboard_of(request), number_in(request, "job")
    found = await dashboard.call(dashboard.reads.read, lambda c: circuits.one(c, job))
    if found is None:
        raise ApiError(404, Code.NOT_FOUND, f"no circuit is recorded as {job}.")
    return render(request, "circuits/one.html", circuit=found)


async def show_content(request: Request) -> Response:
    """The drawing of a circuit, and its result."""
    admin_of(request)
    dashboard, job = dashboard_of(request), number_in(request, "job")
    found = await dashboard.call(dashboard.reads.read, lambda c: circuits.one(c, job))
    content = await dashboard.call(dashboard.reads.read, lambda c: circuits.content(c, job))
    if found is None or content is None:
        raise ApiError(404, Code.NOT_FOUND, f"no circuit is recorded as {job}.")
    key = ("circuit", job, found.state, found.attempt)
    try:
        view = await dashboard.inspector.ask(key, views.recorded, *content)
    except QExecError as error:
        return render(request, "view.html", view=None, said=str(error))
    return render(request, "view.html", view=view, said="")


ROUTES = [
    Route("/circuits", list_circuits),
    Route("/circuits/{job:int}", show_circuit),
    Route("/circuits/{job:int}/content", show_content),
]
