"""An application as a process that answers HTTP, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from pennylane_qexec.errors import ConfigurationError

_KEEP_ALIVE = 75  # seconds; longer than clients and proxies keep a connection without a request
_SECONDS_TO_ANSWER = 10  # what was asked for before it was told to stop
_FAILED = 3
_LOOK = 0.1  # seconds between two looks whether it is to stop at once


def check_address(host: str, port: int) -> None:
    """See that nothing else listens at an address, before anything starts that would have to be stopped.

    Args:
        host: address to listen at.
        port: to listen at.

    Raises:
        ConfigurationError: a server could not listen there.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigurationError(
            f"a server cannot listen at {host}, port {port}: {error.strerror or error}. Stop what listens there, or "
            "name another address with --host and --port."
        ) from error


async def _nothing() -> None:
    """There is nothing to end."""


def run(
    app: ASGIApp,
    host: str,
    port: int,
    stopping: Callable[[], None],
    drain: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Serve an application until Ctrl-C or SIGTERM.

    Args:
        app: the application.
        host: address to listen at.
        port: to listen at.
        stopping: called when it is told to stop, and before it waits for those who have asked for something.
        drain: ends what the application does by itself. Until then, it goes on to answer.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_SECONDS_TO_ANSWER,
    )
    server = _Server(config, stopping, drain)
    server.run()
    if not server.started:
        sys.exit(_FAILED)


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, stopping: Callable[[], None], drain: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, at a second Ctrl-C at once. Uvicorn's own would end the process by the signal, as if it had failed."""
        self._stopping()
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drained = asyncio.ensure_future(self._drain())
        while not (self.force_exit or drained.done()):
            await asyncio.wait([drained], timeout=_LOOK)
        await super().shutdown(sockets)
