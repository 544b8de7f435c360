"""Settings: the files ``qexec.toml``, and tokens of providers, which are set and removed, and never shown."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pennylane_qexec import credentials
from pennylane_qexec.credentials.table import described
from pennylane_qexec.errors import ConfigurationError, QExecError
from pennylane_qexec.server.dashboard import configuration
from pennylane_qexec.server.dashboard.context import admin_of, dashboard_of, form_of
from pennylane_qexec.server.dashboard.templating import render

_HOME = "/dashboard/settings"


async def settings(request: Request) -> Response:
    """All settings."""
    admin_of(request)
    return await _page(request, said=_SAID.get(request.query_params.get("done", ""), ""))


_SAID = {"written": "The file is written.", "stored": "The token is in the system's keyring.", "removed": "Removed."}


async def _page(request: Request, status: int = 200, said: str = "", **mistakes: Any) -> Response:
    dashboard = dashboard_of(request)
    files = await dashboard.call(configuration.files)
    providers = await dashboard.call(_providers)
    values = {"refused": {}, "typed": {}, "token_refused": "", **mistakes}
    return render(request, "settings/page.html", status, files=files, providers=providers, said=said, **values)


def _providers() -> list[dict[str, Any]]:
    """The providers that are known, and where the token of each comes from."""
    return [
        {
            "name": name,
            "source": credentials.source(name),
            "arguments": described(name),
            "advice": credentials.advice(name),
            "stored": name in stored,
        }
        for stored in [_stored()]
        for name in sorted({*credentials.VARIABLES, *stored})
    ]


def _stored() -> list[str]:
    try:
        return credentials.stored()
    except QExecError:  # there is no keyring on this machine
        return []


async def write_file(request: Request) -> Response:
    """Check a file and write it."""
    admin_of(request)
    dashboard, form = dashboard_of(request), await form_of(request)
    key, text = request.path_params["file"], form.get("text", "")
    try:
        await dashboard.call(configuration.read, key)
        tables = await dashboard.call(configuration.parsed, text)
        if tables.get("clusters"):
            await dashboard.inspector.ask(("clusters", text), configuration.check_clusters, tables["clusters"])
        if form.get("action") != "check":
            await dashboard.call(configuration.write, key, text, form.get("version", ""))
    except QExecError as error:
        return await _page(request, 422, refused={key: str(error)}, typed={key: text})
    if form.get("action") == "check":
        return await _page(request, said="This can be written.", typed={key: text})
    return RedirectResponse(f"{_HOME}?done=written", 303)


async def set_token(request: Request) -> Response:
    """Store the token of a provider in the system's keyring."""
    admin_of(request)
    dashboard, form = dashboard_of(request), await form_of(request)
    provider = form.get("provider", "").strip()
    try:
        names = credentials.argument_names(provider)
        token = {name: form[name].strip() for name in names if form.get(name, "").strip()}
        if not names or not token:
            raise ConfigurationError(credentials.advice(provider) if not names else "type the token.")
        await dashboard.call(credentials.store, provider, token)
    except QExecError as error:
        return await _page(request, 422, token_refused=str(error))
    return RedirectResponse(f"{_HOME}?done=stored", 303)


async def remove_token(request: Request) -> Response:
    """Remove the token of a provider from the system's keyring."""
    admin_of(request)
    dashboard, form = dashboard_of(request), await form_of(request)
    try:
        await dashboard.call(credentials.remove, form.get("provider", "").strip())
    except QExecError as error:
        return await _page(request, 422, token_refused=str(error))
    return RedirectResponse(f"{_HOME}?done=removed", 303)


ROUTES = [
    Route("/settings", settings),
    Route("/settings/files/{file}", write_file, methods=["POST"]),
    Route("/settings/tokens", set_token, methods=["POST"]),
    Route("/settings/tokens/remove", remove_token, methods=["POST"]),
]
