"""The server as an application, and as a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server import serving
from pennylane_qexec.server.api import Authentication, RequestMiddleware, ServerState, add_routes
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.dashboard import PREFIX, create_pages, opened, release_browsers, to_the_dashboard
from pennylane_qexec.server.errors import add_error_handlers
from pennylane_qexec.server.logs import configure_logs
from pennylane_qexec.server.metrics import Metrics
from pennylane_qexec.server.records import open_records
from pennylane_qexec.server.scheduler import Scheduler
from pennylane_qexec.server.settings import Settings, load_settings
from pennylane_qexec.server.sources import Source, sources_of

logger = logging.getLogger("pennylane_qexec.server")

_THREADS = 8  # for what blocks: requests to the store, large payloads


def create_app(
    cluster_or_executors: Any = None,
    *,
    store: str | None = None,
    tokens: bool | Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> FastAPI:
    """Make a server that speaks IBM Qiskit Runtime's REST API, as an ASGI application.

    It starts its worker processes when the application starts, and stops them with it. ``qexec serve`` runs one.

    Args:
        cluster_or_executors: what runs circuits: a spec, an executor, a cluster, a function ``(BackendMetadata) ->
            Executor``, an object with ``execute_sampler`` and ``execute_estimator``, or a sequence of these, the first
            for the plain names of backends. Default: those of the settings.
        store: where jobs, sessions and tokens are: path of a SQLite file, or URL of a PostgreSQL database. Default:
            that of the settings.
        tokens: ``True`` to refuse requests without one of the tokens in the store, which ``qexec server-token`` makes;
            or more tokens, by the names of their users. Default: as soon as the store has one, requests need one;
            without any, requests from this machine are an admin's, and others are refused.
        settings: all the others; default: from ``QEXEC_*`` variables and ``qexec.toml``.

    Raises:
        ConfigurationError: something of this makes no sense.
    """
    settings = settings or load_settings()
    settings = settings.model_copy(update={"store": str(store)}) if store is not None else settings
    given = dict(tokens) if isinstance(tokens, Mapping) else {}
    Authentication.check(given)
    sources = sources_of(cluster_or_executors if cluster_or_executors is not None else executors_of(settings))
    catalogue = Catalogue(list(sources), settings.calibrations)
    metrics = Metrics()
    pages = create_pages()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        required = tokens is True or settings.require_tokens
        async with (
            _running(settings, sources, catalogue, metrics, given, required) as server,
            opened(pages, settings.store, server.records, server.authentication, server),
        ):
            app.state.server = server
            yield

    app = FastAPI(
        title="pennylane-qexec",
        summary="IBM Qiskit Runtime's REST API, over executors of one's own.",
        version=version("pennylane-qexec"),
        lifespan=lifespan,
        docs_url=None,  # these pages would load programs from elsewhere
        redoc_url=None,
    )
    add_error_handlers(app)
    add_routes(app)
    app.add_route("/", to_the_dashboard, include_in_schema=False)
    app.mount(PREFIX, pages)
    app.state.pages = pages
    app.add_middleware(RequestMiddleware, metrics=metrics, max_body=settings.max_body)
    return app


@asynccontextmanager
async def _running(
    settings: Settings,
    sources: Mapping[str, Source],
    catalogue: Catalogue,
    metrics: Metrics,
    given: Mapping[str, str],
    required: bool,
) -> AsyncIterator[ServerState]:
    """What requests share, from the start of the application to its end."""
    with (
        ThreadPoolExecutor(_THREADS, "qexec-server") as threads,
        closing(await asyncio.get_running_loop().run_in_executor(threads, open_records, settings.store)) as records,
    ):
        scheduler = Scheduler(records, catalogue, sources, settings, metrics)
        authentication = await asyncio.to_thread(Authentication, records, given, required)
        await scheduler.start()
        try:
            yield ServerState(settings, records, catalogue, scheduler, metrics, authentication, threads)
        finally:
            await scheduler.stop(settings.grace)


def executors_of(settings: Settings) -> list[str | dict[str, Any]]:
    """Specs of the executors that settings name; ``"gpu"`` is Aer on the GPU that the settings have."""
    return [_gpu(settings) if spec == "gpu" else spec for spec in settings.executors]


def _gpu(settings: Settings) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": "aer", "name": "gpu", "device": "GPU", "noise": settings.gpu_noise}
    if settings.gpu_device is not None:
        spec["target_gpus"] = [settings.gpu_device]
    if settings.gpu_memory_limit is not None:
        spec["max_memory_mb"] = settings.gpu_memory_limit // 1_000_000
    return spec


def serve(settings: Settings) -> None:
    """Run a server until it is told to stop: by Ctrl-C or SIGTERM, it ends the jobs that run, within ``grace``.

    Args:
        settings: of the server.

    Raises:
        ConfigurationError: it would listen elsewhere than on this machine, and has no tokens; its address is taken; or
            a setting makes no sense.
        StoreError: the store cannot be opened.
    """
    with closing(open_records(settings.store)) as records:  # what is wrong with it is said before anything starts
        has_tokens = any(token.revoked is None for token in records.tokens())
    if not (settings.is_local or settings.require_tokens or has_tokens):
        raise ConfigurationError(
            f"a server that listens at {settings.host} can be reached from elsewhere, and this one has no tokens: make "
            "one with `qexec server-token`, or leave host at 127.0.0.1."
        )
    serving.check_address(settings.host, settings.port)
    configure_logs(settings.log_level)
    app = create_app(settings=settings)
    run(app, settings)


def run(app: FastAPI, settings: Settings) -> None:
    """Run an application of :func:`create_app` until it is told to stop; see :func:`serve`."""
    serving.run(
        app,
        settings.host,
        settings.port,
        stopping=lambda: release_browsers(app.state.pages),
        drain=lambda: app.state.server.drain(),
    )
