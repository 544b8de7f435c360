"""Errors of the HTTP interface, in IBM's form: a code of IBM's, and a text that says what to do; no traceback."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pennylane_qexec.redaction import scrub

logger = logging.getLogger("pennylane_qexec.server")

_LONGEST = 4000  # characters of a text; what a request had in it may be of any length


class Code(IntEnum):
    """IBM's codes of the errors that a server of ours has, https://quantum.cloud.ibm.com/docs/errors."""

    NOT_ALLOWED = 1200
    NO_CREDENTIALS = 1201
    TOO_MANY_REQUESTS = 1202
    BAD_REQUEST = 1211
    NO_BACKEND = 1216
    USAGE_LIMIT = 1217
    NOT_CANCELLABLE = 1233
    NO_JOB = 1291
    MAX_SECONDS = 1305
    NO_SESSION = 1352
    BAD_PROGRAM = 1517
    NOT_FOUND = 9404
    INTERNAL = 9999


class ApiError(HTTPException):
    """An answer that is an error.

    Args:
        status: of HTTP.
        code: IBM's, which clients show.
        message: what is wrong.
        solution: what to do about it.
        headers: of the answer.
    """

    def __init__(
        self, status: int, code: Code, message: str, solution: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, scrub(message)[:_LONGEST], headers)
        self.code = code
        self.solution = scrub(solution)[:_LONGEST]


class OneError(BaseModel):
    """What is wrong, and what to do."""

    code: int
    message: str
    solution: str = ""
    more_info: str = ""


class ErrorBody(BaseModel):
    """The body of an answer that is an error, as IBM sends it.

    IBM's client shows ``error``; without it, it would show its user the JSON.
    """

    errors: list[OneError]
    error: OneError
    trace: str


def error_response(error: ApiError) -> JSONResponse:
    """The answer of an error."""
    text = " ".join(part for part in (error.detail, error.solution) if part).removesuffix(".")  # the client goes on
    one = OneError(code=error.code, message=text, solution=error.solution)
    trace = uuid.uuid4().hex
    body = ErrorBody(errors=[one], error=one, trace=trace)
    # the client reads this header before it decides that it can show the error
    return JSONResponse(body.model_dump(), error.status_code, {**(error.headers or {}), "uber-trace-id": trace})


def validation_text(problems: Any) -> str:
    """What pydantic found wrong, in a sentence, without the values: they may be long, or secret."""
    parts = []
    for problem in problems[:5]:
        place = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
        parts.append(f"{place}: {problem['msg']}" if place else problem["msg"])
    return "the request is not valid: " + "; ".join(parts) + "."


def add_error_handlers(app: FastAPI) -> None:
    """Have every error of an application answered in IBM's form."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if not isinstance(error, ApiError):
            code = Code.NOT_FOUND if error.status_code == 404 else Code.BAD_REQUEST
            error = ApiError(
                error.status_code, code, f"{error.detail}: {request.method} {request.url.path}.", headers=error.headers
            )
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _request(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(ApiError(422, Code.BAD_REQUEST, validation_text(error.errors())))


def internal_error(error: BaseException) -> JSONResponse:
    """The answer when the server itself failed: the log has the traceback, the answer a number to find it by."""
    answer = error_response(
        ApiError(500, Code.INTERNAL, "the server failed.", "Try again; if it happens again, tell who runs the server.")
    )
    logger.error("request failed", exc_info=error, extra={"trace": answer.headers["uber-trace-id"]})
    return answer
