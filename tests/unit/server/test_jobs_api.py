"""Requests about jobs, as IBM's client sends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pennylane_qexec.server.api.pages import Pages
from pennylane_qexec.server.records import JobFilter, JobStatus, ServerJob, User
from pennylane_qexec.testing.stores.jobs import ManualClock
from tests.unit.server.conftest import JOB, Server


def test_a_job_is_submitted_and_its_result_is_what_the_worker_wrote(server: Server) -> None:
    answer = server.client.post("/v1/jobs", json=JOB)
    assert answer.status_code == 200
    job = answer.json()["id"]
    assert answer.json() == {"id": job, "backend": "fake_manila", "private": False}
    assert server.scheduler.jobs == [job]
    server.scheduler.run(job, '{"__type__": "PrimitiveResult"}')
    got = server.client.get(f"/v1/jobs/{job}", params={"exclude_params": "true"}).json()
    assert got["state"] == {"status": "Completed"}
    assert (got["program"], got["backend"], got["usage"]["quantum_seconds"]) == ({"id": "sampler"}, "fake_manila", 1.5)
    result = server.client.get(f"/v1/jobs/{job}/results")
    assert (result.status_code, result.text) == (200, '{"__type__": "PrimitiveResult"}')
    assert server.client.get(f"/v1/jobs/{job}/logs").text == "it ran"


def test_both_prefixes_and_both_versions_of_the_interface_are_the_same(server: Server) -> None:
    job = server.submit()
    for prefix in ("/v1", "/experimental/api/v1"):
        for version in ("2025-05-01", "2026-04-15"):
            answer = server.client.get(f"{prefix}/jobs/{job}", headers={"IBM-API-Version": version})
            assert answer.json()["id"] == job


def test_all_that_a_client_says_of_a_job_is_recorded_and_told(server: Server) -> None:
    said = {"tags": ["a", "b"], "cost": 60, "runtime": "image:tag", "log_level": "DEBUG", "backend": "ideal@aer"}
    job = server.submit(**said, new_field_of_a_later_client=1)
    got = server.client.get(f"/v1/jobs/{job}").json()
    assert (got["tags"], got["cost"], got["runtime"], got["backend"]) == (["a", "b"], 60, "image:tag", "ideal@aer")
    assert got["params"] == JOB["params"]
    assert "params" not in server.client.get(f"/v1/jobs/{job}?exclude_params=true").json()


def test_a_payload_comes_back_as_it_was_sent(server: Server) -> None:
    body = '{"program_id":"sampler","backend":"ideal","params":{"pubs":[[1,-0.0,1e300,NaN,Infinity,"\\u00e9\\u0000"]]}}'
    job = server.client.post("/v1/jobs", content=body).json()["id"]
    assert '"params":{"pubs":[[1,-0.0,1e+300,NaN,Infinity,"é\\u0000"]]}}' in server.client.get(f"/v1/jobs/{job}").text


@pytest.mark.parametrize(
    ("what", "status", "text"),
    [
        ({"backend": "fake_nowhere"}, 400, "there is no backend 'fake_nowhere'"),
        ({"program_id": "nonsense"}, 404, "no program is called 'nonsense'"),
        ({"program_id": "noise-learner"}, 404, "learns the noise of a QPU"),
        ({"params": {"pubs": []}}, 400, "give a list of at least one"),
        ({"params": JOB["params"] | {"resilience_level": 2}}, 400, "resilience_level=2 cannot be honoured"),
        ({"params": [1]}, 422, "params: Input should be an object"),
        ({"cost": 0}, 422, "cost: Input should be greater than 0"),
        ({"start_session": True, "session_time": 10**400}, 422, "session_time: Input should be less than"),
        ({"session_id": "unknown"}, 400, "the session 'unknown' does not exist"),
        ({"calibration_id": "abc"}, 400, "has no calibration 'abc'"),
        ({"tags": ["a\x00"]}, 422, "tags.0"),
    ],
)
def test_what_cannot_run_is_refused_with_a_reason_and_nothing_is_recorded(
    server: Server, what: dict[str, Any], status: int, text: str
) -> None:
    answer = server.client.post("/v1/jobs", json=JOB | what)
    assert (answer.status_code, text in answer.json()["errors"][0]["message"]) == (status, True), answer.text
    assert server.client.get("/v1/jobs").json()["count"] == 0


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, '"\\ud800"', "1" * 5000, "\x00"])
def test_a_body_that_is_no_job_is_refused(server: Server, body: str) -> None:
    answer = server.client.post("/v1/jobs", content=body)
    assert answer.status_code == 422
    assert "Traceback" not in answer.text


def test_an_error_has_the_form_of_ibms_and_the_text_that_its_client_shows(server: Server) -> None:
    answer = server.client.get("/v1/jobs/nope")
    body = answer.json()
    assert answer.status_code == 404
    assert body["errors"] == [body["error"]]
    assert body["error"] == {"code": 1291, "message": "there is no job 'nope'", "solution": "", "more_info": ""}
    assert answer.headers["uber-trace-id"] == body["trace"]


def test_jobs_are_listed_in_pages_with_the_number_of_all(server: Server) -> None:
    ids = [server.submit(tags=["even" if n % 2 == 0 else "odd", "all"]) for n in range(5)]
    server.scheduler.run(ids[0])
    page = server.client.get("/v1/jobs", params={"limit": 2, "offset": 1, "exclude_params": "true"}).json()
    assert ([job["id"] for job in page["jobs"]], page["count"]) == ([ids[3], ids[2]], 5)
    page = server.client.get("/v1/jobs", params={"sort": "ASC", "tags": ["even", "all"]}).json()
    assert ([job["id"] for job in page["jobs"]], page["count"]) == (ids[::2], 3)
    assert server.client.get("/v1/jobs", params={"pending": "false"}).json()["jobs"][0]["id"] == ids[0]
    assert server.client.get("/v1/jobs", params={"pending": "true", "program": "sampler"}).json()["count"] == 4
    assert server.client.get("/v1/jobs", params={"backend": "ideal"}).json()["count"] == 0
    created = server.client.get(f"/v1/jobs/{ids[2]}").json()["created"]
    assert server.client.get("/v1/jobs", params={"created_after": created}).json()["count"] == 3
    assert server.client.get("/v1/jobs", params={"created_before": created}).json()["count"] == 3


def test_a_client_that_asks_behind_the_last_page_is_told_that_there_is_no_more(server: Server) -> None:
    server.submit()
    page = server.client.get("/v1/jobs", params={"offset": 7}).json()
    assert (page["jobs"], page["count"]) == ([], 7)  # with another number, IBM's client would ask for ever


def test_a_failed_job_has_its_reason_in_place_of_a_result(server: Server) -> None:
    job = server.submit()
    server.scheduler.begin(job)
    server.scheduler.end(job, JobStatus.FAILED, reason="30 qubits are too many.", code=1517)
    assert server.client.get(f"/v1/jobs/{job}").json()["state"] == {
        "status": "Failed",
        "reason": "30 qubits are too many.",
        "reason_code": 1517,
    }
    assert server.client.get(f"/v1/jobs/{job}/results").text == "30 qubits are too many."


def test_there_is_no_result_while_a_job_waits_or_after_it_was_cancelled(server: Server) -> None:
    job = server.submit()
    assert server.client.get(f"/v1/jobs/{job}/results").status_code == 204
    assert server.client.post(f"/v1/jobs/{job}/cancel").status_code == 204
    assert server.client.get(f"/v1/jobs/{job}").json()["state"] == {"status": "Cancelled"}
    assert server.client.get(f"/v1/jobs/{job}/results").status_code == 204
    again = server.client.post(f"/v1/jobs/{job}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (409, 1233)
    assert server.scheduler.cancelled == [job]


def test_a_running_job_is_cancelled_by_the_scheduler_and_cannot_be_deleted_before(server: Server) -> None:
    job = server.submit()
    server.scheduler.begin(job)
    assert server.client.delete(f"/v1/jobs/{job}").status_code == 409
    assert server.client.post(f"/v1/jobs/{job}/cancel").status_code == 204
    assert server.scheduler.cancelled == [job]
    assert server.records.watch([job])[job] == (JobStatus.RUNNING, True)
    server.scheduler.end(job, JobStatus.CANCELLED)
    assert server.client.delete(f"/v1/jobs/{job}").status_code == 204
    for request in ("", "/results", "/logs", "/metrics"):
        assert server.client.get(f"/v1/jobs/{job}{request}").status_code == 404


def test_tags_are_replaced(server: Server) -> None:
    job = server.submit(tags=["old"])
    assert server.client.put(f"/v1/jobs/{job}/tags", json={"tags": ["new"]}).status_code == 204
    assert server.client.get(f"/v1/jobs/{job}").json()["tags"] == ["new"]


def test_metrics_of_a_job_have_times_and_seconds(server: Server) -> None:
    job = server.submit()
    before = server.client.get(f"/v1/jobs/{job}/metrics").json()
    assert before["timestamps"]["running"] is None
    server.scheduler.run(job)
    after = server.client.get(f"/v1/jobs/{job}/metrics").json()
    times = [after["timestamps"][name] for name in ("created", "running", "finished")]
    assert times == sorted(times)
    assert times[0].endswith("Z")
    assert after["usage"] == {"quantum_seconds": 1.5, "seconds": 1.5}


def test_the_payload_of_a_private_job_is_not_shown_and_its_result_once(server: Server) -> None:
    job = server.submit(private=True)
    assert "params" not in server.client.get(f"/v1/jobs/{job}").json()
    server.scheduler.run(job)
    assert server.client.get(f"/v1/jobs/{job}/results").text == '{"a":1}'
    again = server.client.get(f"/v1/jobs/{job}/results")
    assert (again.status_code, "was read before" in again.text) == (404, True)


def test_a_full_queue_sends_clients_away_for_a_while(open_server: Callable[..., Server]) -> None:
    server = open_server(queue_limit=1)
    server.submit()
    answer = server.client.post("/v1/jobs", json=JOB)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert server.client.get("/v1/jobs").json()["count"] == 1


def test_nothing_fails_once_a_job_was_accepted(server: Server) -> None:
    server.scheduler.fails = True  # a 5xx would have the client submit the job five times more
    server.submit()
    assert server.client.get("/v1/jobs").json()["count"] == 1


# Waiting for jobs


def test_a_client_that_waits_is_answered_when_the_job_ends(server: Server) -> None:
    job = server.submit()
    server.scheduler.meanwhile = [lambda: server.scheduler.run(job)]
    assert server.client.get(f"/v1/jobs/{job}?exclude_params=true").json()["status"] == "Completed"
    assert server.scheduler.waits[0] == 0.5


def test_a_client_that_waits_is_answered_after_half_a_second_at_the_latest(server: Server) -> None:
    job = server.submit()
    began = time.monotonic()
    assert server.client.get(f"/v1/jobs/{job}?exclude_params=true").json()["status"] == "Queued"
    assert time.monotonic() - began > 0.45
    assert server.scheduler.waits == [0.5]


def test_a_client_that_waits_learns_soon_that_a_job_has_begun(server: Server) -> None:
    job = server.submit()
    server.scheduler.meanwhile = [lambda: server.scheduler.begin(job)]
    assert server.client.get(f"/v1/jobs/{job}?exclude_params=true").json()["status"] == "Running"
    assert server.scheduler.waits == [0.5, 0.05]


def test_nobody_waits_for_an_ended_job_for_the_payload_or_for_an_answer_to_a_single_question(server: Server) -> None:
    job, old = server.submit(), server.submit()
    server.client.get(f"/v1/jobs/{job}")
    server.scheduler.run(job)
    server.client.get(f"/v1/jobs/{job}?exclude_params=true")
    polls = server.client.app.state.server.polls
    assert polls.is_waiting("local", old, age=0.9)
    assert not polls.is_waiting("local", old, age=1.1)
    assert server.scheduler.waits == []


@pytest.mark.parametrize("sort", ["ASC", "DESC"])
def test_pages_that_follow_one_another_are_of_one_list_whatever_comes_and_ends_meanwhile(
    server: Server, sort: str
) -> None:
    ended = [server.submit() for _ in range(4)]
    for job in ended:
        server.scheduler.run(job)
    waiting = [server.submit() for _ in range(4)]
    for job in waiting:
        server.scheduler.begin(job)

    def page(pending: bool, offset: int) -> list[str]:
        asked = {"limit": 2, "offset": offset, "pending": pending, "sort": sort}
        answer = server.client.get("/v1/jobs", params=asked).json()
        assert answer["count"] == 4
        return [job["id"] for job in answer["jobs"]]

    found = [page(True, 0), page(False, 0)]
    for job in waiting[:3]:
        server.scheduler.end(job)
    new = server.submit()
    assert sorted(found[0] + page(True, 2)) == sorted(waiting)
    assert sorted(found[1] + page(False, 2)) == sorted(ended)
    now = server.client.get("/v1/jobs", params={"pending": True, "sort": sort}).json()["jobs"]
    assert {job["id"] for job in now} == {waiting[3], new}


def test_what_is_remembered_of_pages_is_forgotten() -> None:
    clock = ManualClock(0.0)
    pages, wanted, job = Pages(clock), JobFilter(limit=1), ServerJob("j", "ann", "sampler", "ideal")
    users = [User(f"user {number}") for number in range(1001)]
    meant = replace(wanted, newest=5, as_of=1.0)
    for user in users:
        pages.given(user, wanted, meant, [job], count=2)
    following = replace(wanted, offset=1)
    assert pages.asked(users[0], following) is None
    assert pages.asked(users[1], wanted) is None
    assert pages.asked(users[1], replace(following, limit=7)) == replace(meant, offset=1, limit=7)
    clock.now += 61
    assert pages.asked(users[1], following) is None
