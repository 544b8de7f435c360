"""What is done for every request: limits, logs, metrics, answers if the server fails."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pennylane_qexec.errors import StoreError
from pennylane_qexec.server.api import submission
from pennylane_qexec.server.api.middleware import RequestMiddleware
from pennylane_qexec.server.api.polls import Polls
from pennylane_qexec.server.logs import JsonFormatter
from pennylane_qexec.server.metrics import Metrics
from tests.unit.server.conftest import JOB, Server

# Limits


def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_is_read(open_server: Callable[..., Server]) -> None:
    server = open_server(max_body=1000)
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", b"1001")]
    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "headers": headers, "query_string": b""}
    server.client.portal.call(server.client.app, scope, receive, send)  # type: ignore[union-attr]
    assert (sent[0]["status"], asked) == (413, 0)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sessions", "/identity/token", "/v1/jobs/x/tags"])
def test_a_body_of_unknown_length_is_read_up_to_the_limit(open_server: Callable[..., Server], path: str) -> None:
    server = open_server(max_body=100_000)
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1000
            yield b"x" * 1000

    method = "PUT" if path.endswith("tags") else "POST"
    answer = server.client.request(method, path, content=chunks())
    assert answer.status_code == 413
    assert "Send fewer circuits" in answer.json()["error"]["message"]


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "many", "1e3"])
def test_a_length_that_is_none_is_refused(server: Server, length: str) -> None:
    answer = server.client.post("/v1/jobs", content=b"{}", headers={"Content-Length": length})
    assert answer.status_code == 413


def test_a_compressed_body_is_refused(server: Server) -> None:
    answer = server.client.post("/v1/jobs", json=JOB, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, "without Content-Encoding" in answer.text) == (415, True)


def test_a_large_job_is_taken_up_to_the_limit(open_server: Callable[..., Server]) -> None:
    server = open_server(max_body="4 MB")
    job = server.submit(params={"pubs": [["x" * 3_000_000]]})
    assert server.client.get(f"/v1/jobs/{job}").json()["params"]["pubs"] == [["x" * 3_000_000]]


def test_an_unknown_path_and_method_are_answered_in_the_same_form(server: Server) -> None:
    for method, path, status in [("GET", "/nothing", 404), ("POST", "/v1/backends", 405), ("GET", "/docs", 404)]:
        answer = server.client.request(method, path)
        assert (answer.status_code, bool(answer.json()["error"]["message"])) == (status, True)


# If the server fails


class Broken:
    """Records that cannot be reached."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def queue_lengths(self) -> dict[str, int]:
        raise self._error


def test_an_error_of_the_server_is_in_the_log_and_not_in_the_answer(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.client.app.state.server.records = Broken(RuntimeError("secret path /home/ada"))
    answer = server.client.get("/v1/backends/ideal/status")
    assert (answer.status_code, "ada" in answer.text, "Traceback" in answer.text) == (500, False, False)
    (record,) = [record for record in caplog.records if record.getMessage() == "request failed"]
    assert record.trace == answer.json()["trace"]  # type: ignore[attr-defined]
    assert record.exc_info


def test_a_store_that_does_not_answer_makes_clients_come_again(server: Server) -> None:
    server.client.app.state.server.records = Broken(StoreError("the database is gone"))
    answer = server.client.get("/v1/backends/ideal/status")
    assert (answer.status_code, answer.headers["Retry-After"], "database" in answer.text) == (503, "5", False)
    assert server.client.get("/readyz").status_code == 503
    assert server.client.get("/healthz").json() == {"status": "ok"}


# Health, metrics, logs


def test_a_server_that_runs_is_ready(server: Server) -> None:
    assert server.client.get("/healthz").json() == {"status": "ok"}
    assert server.client.get("/readyz").json() == {"status": "ready"}


def test_methods_that_clients_invent_are_counted_as_one(server: Server) -> None:
    for number in range(3):
        server.client.request(f"INVENTED{number}", "/v1/jobs")
    text = server.client.get("/metrics").text
    assert 'method="other",' in text
    assert "INVENTED" not in text


def test_metrics_count_answers_by_route_and_jobs_by_program(server: Server) -> None:
    job = server.submit()
    for _ in range(3):
        server.client.get(f"/v1/jobs/{job}/metrics")
    server.client.get("/v1/jobs/unknown/metrics")
    server.client.get("/wp-admin.php")
    text = server.client.get("/metrics").text
    route = r'method="GET",route="[^"]*/jobs/{job_id}/metrics"'  # older FastAPIs name the prefix too
    assert re.search(rf'qexec_http_requests_total{{{route},status="200"}} 3.0', text)
    assert re.search(rf'qexec_http_requests_total{{{route},status="404"}} 1.0', text)
    assert 'qexec_http_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'qexec_jobs_submitted_total{program="sampler"} 1.0' in text
    assert "qexec_jobs_queued 1.0" in text


def test_there_is_a_line_for_each_request_without_token_query_or_body(
    open_server: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = open_server(tokens={"ada": "token-of-ada"})
    caplog.set_level(logging.INFO, "pennylane_qexec")
    header = {"Authorization": "Bearer token-of-ada"}
    server.client.get("/v1/jobs?tags=private-matter", headers=header)
    (record,) = [record for record in caplog.records if record.name == "pennylane_qexec.server.requests"]
    line = JsonFormatter().format(record)
    said = json.loads(line)
    assert (said["method"], said["path"], said["status"], said["user"]) == ("GET", "/v1/jobs", 200, "ada")
    assert said["level"] == "INFO"
    assert said["milliseconds"] >= 0
    assert "token-of-ada" not in line
    assert "private-matter" not in line


def test_other_protocols_are_passed_on() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    asyncio.run(RequestMiddleware(app, Metrics(), 1)({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]


# Who waits for a job


def test_a_loop_is_told_from_a_single_question_by_the_time_between_two_requests() -> None:
    now = 100.0
    polls = Polls(lambda: now)
    assert polls.is_waiting("ada", "job", age=0.1)  # just submitted
    assert not polls.is_waiting("ada", "job", age=60)
    polls.told("ada", "job", final=False)
    now += 0.01
    assert not polls.is_waiting("ada", "job", age=60)  # a loop sleeps between two requests
    assert not polls.is_waiting("ada", "job", age=0.2)
    now += 0.19
    assert polls.is_waiting("ada", "job", age=60)
    assert not polls.is_waiting("bob", "job", age=60)
    now += 1.0
    assert not polls.is_waiting("ada", "job", age=60)
    polls.told("ada", "job", final=False)
    polls.told("ada", "job", final=True)
    assert not polls.is_waiting("ada", "job", age=60)


def test_who_asked_long_ago_is_forgotten() -> None:
    now = 0.0
    polls = Polls(lambda: now)
    for number in range(10_000):
        polls.told("ada", str(number), final=False)
    now = 5.0
    polls.told("ada", "last", final=False)
    assert len(polls._told) == 1


def test_few_large_jobs_are_in_memory_and_one_that_does_not_arrive_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_SLOWEST", 0.05)
    waits: list[int] = []

    async def never() -> dict[str, Any]:
        waits.append(1)
        await asyncio.sleep(10)
        return {}

    async def three() -> list[Any]:
        headers = [(b"host", b"localhost"), (b"content-length", b"2000000")]
        scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "headers": headers, "query_string": b""}
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append((message.get("status"), len(waits)))

        await asyncio.gather(*[server.client.app(dict(scope), never, send) for _ in range(3)])  # type: ignore[arg-type]
        return [one for one in sent if one[0]]

    answers = server.client.portal.call(three)  # type: ignore[union-attr]
    assert answers == [(408, 2), (408, 2), (408, 3)] or answers == [(408, 2), (408, 3), (408, 3)]


# What would be taken for a header, or for a line of the log


def test_nobody_puts_a_header_into_an_answer_or_a_line_into_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="pennylane_qexec")
    user = server.user("ada", admin=True)
    evil = "x%0d%0aX-Evil:%201%0d%0a%1b%5b2J%C2%9b2J%E2%80%A8"
    asked = [("GET", "jobs/{}"), ("GET", "jobs/{}/"), ("GET", "jobs/{}/results"), ("POST", "jobs/{}/cancel")]
    asked += [("DELETE", "jobs/{}"), ("GET", "sessions/{}"), ("DELETE", "sessions/{}/close"), ("GET", "{}/")]
    asked += [("GET", "backends/{}/status"), ("GET", "jobs?session_id={}"), ("GET", "jobs/?tags={}")]
    paths = [(method, "/v1/" + path.format(evil)) for method, path in asked]
    paths += [("GET", f"/{evil}"), ("GET", f"/api/v1/{evil}"), ("GET", f"/dashboard/jobs/{evil}")]
    paths += [("GET", f"/dashboard/{evil}/"), ("GET", f"/dashboard?next={evil}")]
    answers = [user.request(method, path, follow_redirects=False) for method, path in paths]
    answers.append(user.get("/v1/backends", headers={"X-Request-ID": b"\x85X-Evil: 1", "IBM-API-Version": b"\x85"}))
    for what in ({"tags": ["a\r\nX-Evil: 1"]}, {"session_id": "\r\n"}, {"backend": "\n"}, {"runtime": "\r"}):
        answers.append(user.post("/v1/jobs", json=JOB | what))
        assert answers[-1].status_code == 422
    answers.append(user.post("/v1/sessions", json={"backend": "ideal", "instance": "\r\n"}))
    for answer in answers:
        assert answer.status_code < 500
        assert not re.search(rb"[\x00-\x1f\x7f-\x9f]|evil: 1", b"".join(b"".join(pair) for pair in answer.headers.raw))
    assert len(caplog.records) >= len(answers)
    for record in caplog.records:
        line = JsonFormatter().format(record)
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028]", line)
        assert json.loads(line)
