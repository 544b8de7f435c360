"""Whose fault an error is: the moment's, the executor's, or the circuit's."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http.client import HTTPException
from json import JSONDecodeError
from pickle import PicklingError
from typing import Any

import pennylane.exceptions

from pennylane_qexec.errors import ExecutorError, NoAccessError, QExecError

# PennyLane's own exceptions, which have no common base, speak of the circuit.
_PENNYLANE: tuple[type[BaseException], ...] = tuple(
    kind for kind in vars(pennylane.exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
_OF_THE_CIRCUIT: tuple[type[BaseException], ...] = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    NotImplementedError,
    PicklingError,
    MemoryError,
    *_PENNYLANE,
)
_OF_THE_EXECUTOR = (NoAccessError, ImportError, ssl.SSLCertVerificationError)
_OF_THE_LINE = (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror, HTTPException, JSONDecodeError)
_CLIENTS = {"requests", "urllib3", "httpx", "httpcore", "aiohttp"}
"""Packages whose errors, without a status, mean that there was no answer, though some of them are a ValueError."""

_REFUSED = {401, 402, 403, 404, 407, 410, 451, 501, 505, 511}
_LATER = {408, 409, 421, 423, 425, 429}
_UNAUTHORIZED = {"AuthError", "AuthenticationError", "AuthorizationError", "IBMAccountError", "IBMNotAuthorizedError"}


class Fault(StrEnum):
    """Whose fault an error is.

    Attributes:
        TRANSIENT: the moment's: the same executor may do the same circuit the next time.
        PERMANENT: the executor's: it would fail on every circuit, and go on to do so.
        REJECTED: the circuit's: the executor would fail on it again, and not on others.
    """

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    REJECTED = "rejected"


def classify(error: BaseException) -> Fault:
    """Whose fault an error is.

    Clients of providers are known by what their errors carry: the HTTP status of the answer, in one of the usual
    attributes, of the error itself or of those that it was raised from. Without a status, the error's class counts.

    Args:
        error: what an executor raised.
    """
    if isinstance(error, ExecutorError):
        return Fault.TRANSIENT  # of a cluster inside of this one, whatever its last executor has raised
    if isinstance(error, _OF_THE_EXECUTOR):
        return Fault.PERMANENT
    # What this package raises has been thought about: its class says all.
    if not isinstance(error, QExecError):
        for one in _chain(error):
            status = _status(one)
            if status is not None:
                return _of_status(status)
            if any(kind.__name__ in _UNAUTHORIZED for kind in type(one).__mro__):
                return Fault.PERMANENT
            if _is_of_the_line(one):
                return Fault.TRANSIENT
    return Fault.REJECTED if isinstance(error, _OF_THE_CIRCUIT) else Fault.TRANSIENT


def is_of_the_line(error: BaseException) -> bool:
    """Whether what failed is the way to a backend, or all of it, so that no circuit of a batch can be at fault.

    Args:
        error: what an executor raised.
    """
    if isinstance(error, QExecError):
        return False
    statuses = [status for one in _chain(error) if (status := _status(one)) is not None]
    if statuses:
        return _of_status(statuses[0]) is Fault.TRANSIENT
    return any(map(_is_of_the_line, _chain(error)))


def retry_after(error: BaseException) -> float:
    """How long the provider asks to be left alone, by the ``Retry-After`` of its answer.

    Args:
        error: what an executor raised.

    Returns:
        Seconds; 0 if the error does not say.

    Source:
        RFC 9110, *HTTP Semantics*, 10.2.3: a number of seconds, or a date.
    """
    for one in _chain(error):
        for said in (getattr(one, "retry_after", None), _header(one)):
            if said is not None:
                return _seconds(said)
    return 0.0


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from; or in place of, where a client has said ``from None``."""
    seen: list[int] = []
    while error is not None and id(error) not in seen:
        yield error
        seen.append(id(error))
        error = error.__cause__ or (error.__context__ if error.__suppress_context__ else None)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return _status_at_amazon(response)
    holders = (error, response)
    candidates = [getattr(holder, name, None) for holder in holders for name in ("status_code", "status", "code")]
    return next((one for one in candidates if isinstance(one, int) and 400 <= one < 600), None)


def _status_at_amazon(response: Mapping[str, Any]) -> int | None:
    """The status in what Amazon's client keeps of an answer. Amazon says 400 to who asks too often."""
    if "Throttl" in str(response.get("Error", {}).get("Code", "")):
        return 429
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _of_status(status: int) -> Fault:
    if status in _REFUSED:
        return Fault.PERMANENT
    return Fault.TRANSIENT if status in _LATER or status >= 500 else Fault.REJECTED


def _is_of_the_line(error: BaseException) -> bool:
    clients = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, _OF_THE_LINE) or not clients.isdisjoint(_CLIENTS)


def _header(error: BaseException) -> Any:
    for holder in (getattr(error, "response", None), error):
        get = getattr(getattr(holder, "headers", None), "get", None)
        if callable(get):
            return get("Retry-After")
    return None


def _seconds(said: Any) -> float:
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        try:
            seconds = (parsedate_to_datetime(str(said)).astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except ValueError:
            return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
