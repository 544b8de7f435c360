"""Requests about backends and the instance, as IBM's client sends them."""

from __future__ import annotations

from collections.abc import Callable

from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from tests.unit.server.conftest import JOB, Server


def test_all_fake_backends_are_listed_plain_and_with_their_executor(server: Server) -> None:
    server.submit(backend="fake_manila")
    devices = {one["name"]: one for one in server.client.get("/v1/backends").json()["devices"]}
    fakes = {backend.name for backend in FakeProviderForBackendV2().backends()}
    assert {"ideal", *fakes} | {f"{name}@aer" for name in {"ideal", *fakes}} == set(devices)
    assert (devices["fake_manila"]["queue_length"], devices["fake_manila@aer"]["queue_length"]) == (1, 0)
    assert (devices["fake_manila"]["qubits"], devices["fake_manila"]["status"]["name"]) == (5, "online")


def test_backends_for_dry_runs_are_listed_where_they_are_asked_for(server: Server) -> None:
    assert "mock_manila" not in server.client.get("/v1/backends").text
    devices = server.client.get("/v1/backends?include_mocks=True").json()["devices"]
    assert {one.get("class") for one in devices if one["name"] == "mock_manila"} == {"mock"}
    assert server.client.get("/v1/backends/mock_manila/configuration").json()["backend_name"] == "mock_manila"
    server.submit(backend="mock_manila")


def test_configuration_properties_and_status_are_those_of_the_name_that_was_asked_for(server: Server) -> None:
    for name in ("fake_manila", "fake_manila@aer"):
        for what in ("configuration", "properties"):
            assert server.client.get(f"/v1/backends/{name}/{what}").json()["backend_name"] == name
    server.submit(backend="fake_manila")
    status = server.client.get("/v1/backends/fake_manila/status").json()
    assert (status["state"], status["status"], status["length_queue"]) == (True, "active", 1)
    for what in ("configuration", "properties", "status"):
        answer = server.client.get(f"/v1/backends/nowhere/{what}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, 1216)


def test_there_are_no_properties_of_a_time_before_the_calibration(server: Server) -> None:
    url = "/v1/backends/fake_manila/properties"
    assert server.client.get(url, params={"updated_before": "2010-01-01T00:00:00"}).json() == {}
    assert server.client.get(url, params={"updated_before": "2030-01-01T00:00:00+01:00"}).json()["qubits"]
    assert server.client.get(url, params={"updated_before": "0001-01-01T00:00:00+14:00"}).json() == {}
    assert server.client.get(url, params={"updated_before": "soon"}).status_code == 422


def test_a_backend_has_one_calibration_and_jobs_may_name_it(server: Server) -> None:
    known = server.client.app.state.server.catalogue.calibration_id("fake_manila")
    url = "/v1/backends/fake_manila/properties"
    assert server.client.get(url, params={"calibration_id": known}).json()["qubits"]
    assert server.client.get(url, params={"calibration_id": "another"}).status_code == 404
    server.submit(calibration_id=known)


def test_usage_is_counted_by_user_and_a_limit_is_one(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens=True, usage_limit=2.0)
    ada, bob = server.user("ada"), server.user("bob")
    assert ada.get("/v1/instances/usage").json()["usage_limit_reached"] is False
    for _ in range(2):
        server.scheduler.run(server.submit(ada))
    usage = ada.get("/v1/instances/usage").json()
    assert (usage["usage_consumed_seconds"], usage["usage_limit_seconds"]) == (3.0, 2.0)
    assert usage["usage_limit_reached"] is True
    refused = ada.post("/v1/jobs", json=JOB)
    assert (refused.status_code, "has used the 2 seconds" in refused.text) == (403, True)
    server.submit(bob)


def test_without_a_limit_usage_says_none(server: Server) -> None:
    usage = server.client.get("/v1/instances/usage").json()
    assert "usage_limit_seconds" not in usage
    assert usage["usage_limit_reached"] is False
