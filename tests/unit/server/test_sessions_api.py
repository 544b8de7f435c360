"""Requests about sessions and batches, as IBM's client sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pennylane_qexec.server.records import JobStatus
from tests.unit.server.conftest import JOB, Server


def opened(server: Server, mode: str = "dedicated", **what: Any) -> str:
    body = {"mode": mode, "backend": "fake_manila", "instance": "crn:x"} | what
    return str(server.client.post("/v1/sessions", json=body).json()["id"])


def test_a_session_has_all_that_the_client_reads(server: Server) -> None:
    got = server.client.get(f"/v1/sessions/{opened(server, max_ttl=600)}").json()
    assert (got["backend_name"], got["mode"], got["state"], got["accepting_jobs"]) == (
        "fake_manila",
        "dedicated",
        "open",
        True,
    )
    assert (got["max_ttl"], got["interactive_ttl"], got["active_ttl"], got["elapsed_time"]) == (600, 60, 600, 0)
    assert got["started_at"].endswith("Z")
    assert [got[name] for name in ("closed_at", "activated_at", "last_job_started", "last_job_completed")] == [None] * 4


def test_a_session_is_active_once_its_first_job_began(server: Server) -> None:
    session = opened(server, "batch")
    job = server.submit(session_id=session)
    assert server.client.get(f"/v1/jobs/{job}").json()["session_id"] == session
    assert server.client.get(f"/v1/jobs?session_id={session}").json()["count"] == 1
    server.scheduler.run(job)
    got = server.client.get(f"/v1/sessions/{session}").json()
    assert (got["state"], got["elapsed_time"]) == ("active", 1.5)
    assert got["last_job_started"] <= got["last_job_completed"]


def test_a_session_that_is_told_to_take_no_more_jobs_lets_those_that_it_has_go_on(server: Server) -> None:
    session = opened(server)
    job = server.submit(session_id=session)
    assert server.client.patch(f"/v1/sessions/{session}", json={"accepting_jobs": False}).status_code == 204
    refused = server.client.post("/v1/jobs", json=JOB | {"session_id": session})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, 1352)
    server.scheduler.run(job)
    assert server.client.get(f"/v1/sessions/{session}").json()["state"] == "closed"


def test_closing_a_session_cancels_its_jobs_that_wait(server: Server) -> None:
    session = opened(server)
    runs, waits = server.submit(session_id=session), server.submit(session_id=session)
    server.scheduler.begin(runs)
    assert server.client.delete(f"/v1/sessions/{session}/close").status_code == 204
    assert {job: state for job, (state, _) in server.records.watch([runs, waits]).items()} == {
        runs: JobStatus.RUNNING,
        waits: JobStatus.CANCELLED,
    }
    assert server.scheduler.cancelled == [waits]


def test_a_session_lives_no_longer_than_the_server_lets_any(open_server: Callable[..., Server]) -> None:
    server = open_server(session_ttl=100)
    for wanted in ({}, {"max_ttl": 10**9}):
        assert server.client.get(f"/v1/sessions/{opened(server, **wanted)}").json()["max_ttl"] == 100


def test_a_job_may_open_a_session_that_has_its_id(server: Server) -> None:
    answer = server.client.post("/v1/jobs", json=JOB | {"start_session": True, "session_time": 60}).json()
    assert answer["session_id"] == answer["id"]
    assert server.client.get(f"/v1/sessions/{answer['id']}").json()["max_ttl"] == 60


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"backend": "fake_nowhere"}, 400),
        ({"backend": "ideal", "mode": "other"}, 422),
        ({"backend": "ideal", "max_ttl": -1}, 422),
        ({"backend": "ideal", "max_ttl": 10**400}, 422),
        ({}, 422),
    ],
)
def test_a_session_that_makes_no_sense_is_refused(server: Server, body: dict[str, Any], status: int) -> None:
    assert server.client.post("/v1/sessions", json=body).status_code == status


def test_an_unknown_session_is_not_found(server: Server) -> None:
    for method, rest in (("GET", ""), ("DELETE", "/close"), ("PATCH", "")):
        answer = server.client.request(method, f"/v1/sessions/unknown{rest}", json={"accepting_jobs": True})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, 1352)
