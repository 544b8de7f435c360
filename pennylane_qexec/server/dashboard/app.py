"""The pages as an application: on a server below ``/dashboard``, or alone for the store of any program."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from pennylane_qexec.errors import ConfigurationError, QExecError
from pennylane_qexec.persistence.store import open_store
from pennylane_qexec.persistence.store.sql import open_transactions
from pennylane_qexec.redaction import scrub
from pennylane_qexec.server import serving
from pennylane_qexec.server.api import Authentication, RequestMiddleware, ServerState
from pennylane_qexec.server.dashboard.access import Access, SecurityHeaders
from pennylane_qexec.server.dashboard.context import Dashboard, dashboard_of
from pennylane_qexec.server.dashboard.events import Events
from pennylane_qexec.server.dashboard.inspector import Inspector
from pennylane_qexec.server.dashboard.pages import circuits, experiments, general, jobs, overview, runs, settings
from pennylane_qexec.server.dashboard.templating import render
from pennylane_qexec.server.errors import ApiError
from pennylane_qexec.server.metrics import Metrics
from pennylane_qexec.server.records import Records, open_records
from pennylane_qexec.server.settings import LOCAL_HOSTS

logger = logging.getLogger("pennylane_qexec.server")

PREFIX = "/dashboard"

_STATIC = Path(__file__).parent / "static"
_OPEN = (f"{PREFIX}/static/", f"{PREFIX}/sign-in")
_LARGEST_FORM = 1_000_000  # bytes
_A_DAY = 86400

ROUTES: list[BaseRoute] = [
    *overview.ROUTES,
    *general.ROUTES,
    *jobs.ROUTES,
    *runs.ROUTES,
    *circuits.ROUTES,
    *experiments.ROUTES,
    *settings.ROUTES,
]
"""Of all pages."""


def create_pages() -> Starlette:
    """Make the pages, to be mounted at :data:`PREFIX`. They work while :func:`opened` is open."""
    return Starlette(
        routes=[*ROUTES, Mount("/static", _Files(directory=_STATIC))],
        middleware=[Middleware(SecurityHeaders), Middleware(_SignedIn)],
        exception_handlers={HTTPException: _refused, QExecError: _failed, Exception: _broken},
    )


@asynccontextmanager
async def opened(
    pages: Starlette,
    store: str,
    records: Records,
    authentication: Authentication,
    server: ServerState | None = None,
) -> AsyncIterator[None]:
    """What the pages share, from the start of the application to its end.

    Args:
        pages: the pages.
        store: file or URL of the store.
        records: of servers, in the same store.
        authentication: how users are known.
        server: what the server shares, where there is one.
    """
    with open_store(store) as opened_store, closing(open_transactions(store)) as reads:
        access = Access(authentication, records.secret("forms of the dashboard"))
        events, inspector = Events(reads), Inspector()
        pages.state.dashboard = Dashboard(store, opened_store, reads, records, access, events, inspector, server)
        try:
            yield
        finally:
            events.close()
            inspector.close()


def create_dashboard(store: str) -> Starlette:
    """Make the pages for the store of any program, as an ASGI application. ``qexec dashboard`` runs one.

    Args:
        store: file or URL of the store. Where it has tokens of a server, browsers sign in with one.
    """
    pages = create_pages()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with open_records(store) as records:
            async with opened(pages, store, records, Authentication(records)):
                yield

    app = Starlette(
        routes=[Route("/", to_the_dashboard), Mount(PREFIX, pages)],
        middleware=[Middleware(RequestMiddleware, metrics=Metrics(), max_body=_LARGEST_FORM)],
        lifespan=lifespan,
    )
    app.state.pages = pages
    return app


def serve_dashboard(store: str, host: str, port: int, starting: Callable[[], None] = lambda: None) -> None:
    """Run the pages for a store until Ctrl-C or SIGTERM.

    Args:
        store: file or URL of the store.
        host: address to listen at.
        port: to listen at.
        starting: called when nothing speaks against it any more.

    Raises:
        ConfigurationError: it would listen elsewhere than on this machine, and the store has no tokens; or its address
            is taken.
        StoreError: the store cannot be opened.
    """
    with open_records(store) as records:
        has_tokens = any(token.revoked is None for token in records.tokens())
    if host not in LOCAL_HOSTS and not has_tokens:
        raise ConfigurationError(
            f"pages at {host} can be seen from elsewhere, and the store has no tokens: make one with "
            "`qexec server-token add NAME --admin`, or leave host at 127.0.0.1."
        )
    serving.check_address(host, port)
    app = create_dashboard(store)
    starting()
    serving.run(app, host, port, lambda: release_browsers(app.state.pages))


def release_browsers(pages: Starlette) -> None:
    """Let all browsers go that wait for events, so that the application can end."""
    if dashboard := getattr(pages.state, "dashboard", None):
        dashboard.events.close()


async def to_the_dashboard(request: Request) -> Response:
    """Lead browsers from the root of a server to its pages."""
    return RedirectResponse(f"{PREFIX}/")


class _Files(StaticFiles):
    """Files that browsers may keep for a day."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"public, max-age={_A_DAY}"
        return response


class _SignedIn:
    """Lets only those see pages who may: others are asked to sign in.

    Args:
        app: the pages.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_OPEN):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        dashboard = dashboard_of(request)
        try:
            user = await dashboard.call(dashboard.access.user, request)
        except ApiError as error:
            await (await _refused(request, error))(scope, receive, send)
            return
        if user is not None:
            request.state.user = user
            await self._app(scope, receive, send)
            return
        if request.headers.get("hx-request"):  # a part of a page: the whole page has to be another one
            response = Response(status_code=401, headers={"HX-Redirect": f"{PREFIX}/sign-in"})
        else:
            response = RedirectResponse(f"{PREFIX}/sign-in", 303)
        await response(scope, receive, send)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = error.detail if isinstance(error, ApiError) else "there is no such page."
    return render(
        request,
        "error.html",
        error.status_code,
        said=said[:1].upper() + said[1:],
        advice=getattr(error, "solution", ""),
    )


async def _failed(request: Request, error: Exception) -> Response:
    said = scrub(str(error))
    return render(request, "error.html", 500, said=said[:1].upper() + said[1:], advice="")


async def _broken(request: Request, error: Exception) -> Response:
    logger.error("a page of the dashboard failed", exc_info=error)
    return render(request, "error.html", 500, said="This page failed.", advice="The log of the server says why.")
