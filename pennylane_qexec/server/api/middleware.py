"""What is done for every request: limits on its body, a line in the log, metrics, an answer if the server fails."""

from __future__ import annotations

import logging
import time
from typing import final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pennylane_qexec.errors import StoreError
from pennylane_qexec.server.errors import ApiError, Code, error_response, internal_error
from pennylane_qexec.server.metrics import Metrics

logger = logging.getLogger("pennylane_qexec.server.requests")

_SMALL = 65_536  # bytes that a body may have unless it is a job
_DIGITS = 15  # of the length of a body, at most
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Those that are counted each: clients may invent others, and what is counted stays in memory."""

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked for all the time, by machines


@final
class RequestMiddleware:
    """Goes around an application.

    Args:
        app: the application.
        metrics: which count its answers.
        max_body: largest body of a job, in bytes.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body: int) -> None:
        self.app = app
        self._metrics = metrics
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, noted)
        except ClientDisconnect:
            status = 499  # nobody is there to answer
        except StoreError as error:
            logger.error("the store does not answer", exc_info=error)
            if not status:
                again = ApiError(
                    503, Code.INTERNAL, "the server's store does not answer.", "Try again.", {"Retry-After": "5"}
                )
                await error_response(again)(scope, receive, noted)
        except Exception as error:
            answer = internal_error(error)
            if not status:
                await answer(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        limit = self._max_body if scope["path"].endswith("/jobs") else _SMALL
        length = headers.get("content-length", "0")
        if headers.get("content-encoding", "identity") != "identity":
            refused = ApiError(415, Code.BAD_REQUEST, "the body is compressed.", "Send it without Content-Encoding.")
            await error_response(refused)(scope, receive, send)
        elif not length.isdecimal() or len(length) > _DIGITS or int(length) > limit:
            await error_response(_too_large(limit))(scope, receive, send)
        else:
            await self.app(scope, _limited(receive, limit), send)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.request_seconds.labels(method, route).observe(seconds)
        level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
        if logger.isEnabledFor(level):
            extra = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "client": scope["client"][0] if scope.get("client") else None,
                "user": scope.get("qexec.user"),
            }
            logger.log(level, "request", extra=extra)


def _limited(receive: Receive, limit: int) -> Receive:
    """Receives a body, of which nobody knows how long it is going to be, up to a limit."""
    got = 0

    async def limited() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            raise _too_large(limit)
        return message

    return limited


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        Code.BAD_REQUEST,
        f"the body of the request is larger than {limit} bytes.",
        "Send fewer circuits in a job; whoever runs the server can raise max_body.",
        {"Connection": "close"},
    )
