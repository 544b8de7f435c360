"""An application as a process that answers HTTP, until it is told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

_KEEP_ALIVE = 75  # seconds; longer than clients and proxies keep a connection without a request
_SECONDS_TO_ANSWER = 10  # what was asked for before it was told to stop
_FAILED = 3


def run(app: ASGIApp, host: str, port: int, stopping: Callable[[], None]) -> None:
    """Serve an application until Ctrl-C or SIGTERM.

    Args:
        app: the application.
        host: address to listen at.
        port: to listen at.
        stopping: called when it is told to stop, and before it waits for those who have asked for something.
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
    server = _Server(config, stopping)
    server.run()
    if not server.started:
        sys.exit(_FAILED)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping()
        super().handle_exit(sig, frame)
