"""Whose fault an error is, by its class and by what clients of providers leave on it."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
import requests
import urllib3
from pennylane.exceptions import DeviceError
from qbraid.runtime.exceptions import AuthorizationError, RuntimeAPIError
from qbraid_core.exceptions import RequestsApiError as QbraidApiError
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError

import pennylane_qexec as qexec
from pennylane_qexec.policies.faults import Fault, classify, retry_after


def answered(status: int, **headers: str) -> requests.HTTPError:
    """What ``requests`` raises for an answer."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return requests.HTTPError(f"{status}", response=response)


def as_ibm_does(status: int) -> Exception:
    """What the client of IBM raises for an answer to a job: twice something else, the second time ``from None``."""
    try:
        try:
            raise answered(status)
        except requests.HTTPError as error:
            raise RequestsApiError("no", status) from error
    except RequestsApiError:
        try:
            raise IBMRuntimeError("Failed to run program") from None
        except IBMRuntimeError as error:
            return error


def amazon(status: int, code: str) -> Exception:
    """What Amazon's client raises."""
    error = RuntimeError(code)
    error.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]
    return error


def after(error: Exception, cause: BaseException) -> Exception:
    """An error with its cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [RuntimeError(), OSError(), ConnectionError(), TimeoutError(), qexec.JobFailedError("qpu", "1", "it fell over")],
)
def test_what_is_nobody_s_fault_is_the_moment_s(error: Exception) -> None:
    assert classify(error) is Fault.TRANSIENT


@pytest.mark.parametrize(
    "error", [ValueError(), TypeError(), KeyError(), DeviceError(), pickle.PicklingError(), MemoryError()]
)
def test_what_speaks_of_the_circuit_is_the_circuit_s_fault(error: Exception) -> None:
    assert classify(error) is Fault.REJECTED


@pytest.mark.parametrize("error", [ModuleNotFoundError("no module"), qexec.NoAccessError("no account")])
def test_what_no_circuit_can_change_is_the_executor_s_fault(error: Exception) -> None:
    assert classify(error) is Fault.PERMANENT


@pytest.mark.parametrize("make", [answered, as_ibm_does, lambda status: RequestsApiError("no", status)])
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        *[(status, Fault.REJECTED) for status in (400, 413, 422)],
        *[(status, Fault.PERMANENT) for status in (401, 402, 403, 404, 410)],
        *[(status, Fault.TRANSIENT) for status in (408, 409, 429, 500, 502, 503, 504, 520)],
    ],
)
def test_the_status_of_an_answer_says_whose_fault_it_is(make: Any, status: int, fault: Fault) -> None:
    assert classify(make(status)) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeAPIError("over", 503), Fault.TRANSIENT),
        (RuntimeAPIError("no such gate", 400), Fault.REJECTED),
        (RuntimeAPIError("no such gate"), Fault.REJECTED),
        (AuthorizationError("who are you"), Fault.PERMANENT),
        (QbraidApiError("later", 429), Fault.TRANSIENT),
        (HTTPError("https://x", 403, "no", Message(), None), Fault.PERMANENT),
        (URLError("no route"), Fault.TRANSIENT),
        (amazon(400, "ThrottlingException"), Fault.TRANSIENT),
        (amazon(400, "ValidationException"), Fault.REJECTED),
        (amazon(403, "AccessDeniedException"), Fault.PERMANENT),
        (IBMNotAuthorizedError("who are you"), Fault.PERMANENT),
        (requests.JSONDecodeError("not JSON", "<html>", 0), Fault.TRANSIENT),
        (requests.ConnectionError("no route"), Fault.TRANSIENT),
        (urllib3.exceptions.ProtocolError("cut off"), Fault.TRANSIENT),
    ],
)
def test_what_clients_raise_is_known_by_what_it_carries(error: Exception, fault: Fault) -> None:
    assert classify(error) is fault


@pytest.mark.parametrize(
    ("cause", "fault"),
    [(answered(401), Fault.PERMANENT), (requests.Timeout("slow"), Fault.TRANSIENT), (OSError(), Fault.REJECTED)],
)
def test_an_error_of_any_class_is_known_by_the_answer_that_it_was_raised_from(cause: Any, fault: Fault) -> None:
    assert classify(after(ValueError("could not submit"), after(RuntimeError(), cause))) is fault


def test_what_happened_before_by_chance_does_not_count() -> None:
    error = ValueError("a bad circuit")
    error.__context__ = answered(404)
    assert classify(error) is Fault.REJECTED


def test_an_error_of_ours_is_known_by_its_class_and_not_by_its_cause() -> None:
    failed = qexec.ExecutorError("inner", 3, answered(401))
    assert classify(failed) is Fault.TRANSIENT


def test_errors_that_were_raised_from_each_other_end() -> None:
    one, other = RuntimeError(), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    assert classify(one) is Fault.TRANSIENT


@pytest.mark.parametrize("said", ["7", "7.0"])
def test_how_long_to_wait_is_what_the_answer_says(said: str) -> None:
    assert retry_after(answered(429, Retry_After=said)) == 7
    assert retry_after(after(RuntimeError(), answered(503, Retry_After=said))) == 7


def test_a_date_to_wait_for_is_understood() -> None:
    """The date has whole seconds, and this takes less than 58."""
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
    assert 1 < retry_after(answered(429, Retry_After=date)) <= 60


@pytest.mark.parametrize("said", ["soon", "-3", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_what_makes_no_sense_is_no_time_to_wait(said: str) -> None:
    assert retry_after(answered(429, Retry_After=said)) == 0


def test_an_error_that_does_not_say_how_long_to_wait_asks_for_nothing() -> None:
    assert retry_after(RuntimeError()) == retry_after(answered(429)) == 0


def test_an_error_may_say_it_itself() -> None:
    error = RuntimeError("busy")
    error.retry_after = 4  # type: ignore[attr-defined]
    assert retry_after(error) == 4
