"""The description of the interface (OpenAPI), and requests drawn from it: none makes the server fail."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.server.conftest import Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


def test_the_description_names_every_request_of_ibms_clients(server: Server) -> None:
    described = server.client.get("/openapi.json").json()
    found = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert found == {
        ("GET", "/v1/backends"),
        ("GET", "/v1/backends/{name}/configuration"),
        ("GET", "/v1/backends/{name}/properties"),
        ("GET", "/v1/backends/{name}/status"),
        ("GET", "/v1/instances/usage"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs"),
        ("GET", "/v1/jobs/{job_id}"),
        ("DELETE", "/v1/jobs/{job_id}"),
        ("GET", "/v1/jobs/{job_id}/results"),
        ("POST", "/v1/jobs/{job_id}/cancel"),
        ("GET", "/v1/jobs/{job_id}/logs"),
        ("GET", "/v1/jobs/{job_id}/metrics"),
        ("PUT", "/v1/jobs/{job_id}/tags"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions/{session_id}"),
        ("PATCH", "/v1/sessions/{session_id}"),
        ("DELETE", "/v1/sessions/{session_id}/close"),
        ("POST", "/identity/token"),
        ("POST", "/v3/resources/search"),
        ("GET", "/api/v1/{plan}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_drawn_from_the_description_makes_the_server_fail(server: Server, mode: GenerationMode) -> None:
    ids = [server.submit(), server.submit()]
    server.scheduler.run(ids[0])
    session = server.client.post("/v1/sessions", json={"backend": "ideal"}).json()["id"]
    known = {"job_id": ids, "session_id": [session], "name": ["fake_manila", "ideal@aer"], "plan": ["local"]}
    schema = schemathesis.openapi.from_dict(server.client.get("/openapi.json").json())
    for result in schema.get_all_operations():
        operation = result.ok()
        if not (operation.path_parameters or operation.query or operation.body):
            continue  # it takes nothing

        @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def run(case: Case, data: Any) -> None:
            for name in case.path_parameters or {}:
                if data.draw(st.booleans()):
                    case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
            sent = case.as_transport_kwargs(base_url="http://testserver")
            answer = server.client.request(**sent)
            assert "Traceback" not in answer.text
            case.validate_response(answer, checks=CHECKS)

        with suppress(Unsatisfiable):  # what takes nothing cannot be given something wrong
            run()
