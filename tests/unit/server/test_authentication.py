"""Who may do what: tokens, users who see their own, requests from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx
import jwt
import pytest
from fastapi.testclient import TestClient

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.app import create_app
from tests.unit.server.conftest import JOB, Server

OF_A_JOB = [
    ("GET", ""),
    ("GET", "/results"),
    ("GET", "/logs"),
    ("GET", "/metrics"),
    ("POST", "/cancel"),
    ("PUT", "/tags"),
    ("DELETE", ""),
]


def bearer(token: str, scheme: str = "Bearer") -> Mapping[str, str]:
    return {"Authorization": f"{scheme} {token}"}


def test_without_tokens_everybody_on_this_machine_is_one_user(server: Server) -> None:
    job = server.submit()
    for header in ({}, bearer("anything"), bearer("", "")):
        assert server.client.get(f"/v1/jobs/{job}", headers=header).json()["user_id"] == "local"


def test_once_there_is_a_token_all_requests_need_one(
    open_server: Callable[..., Server],
) -> None:
    server = open_server()
    token = server.records.add_token("ada")
    server.client.app.state.server.authentication._open_until = -1.0  # a second later
    assert server.client.get("/v1/backends").status_code == 401
    assert server.client.get("/v1/backends", headers=bearer(token)).status_code == 200
    server.records.revoke(1)
    assert server.client.get("/v1/backends", headers=bearer(token)).status_code == 401
    assert server.client.get("/v1/backends").status_code == 401


@pytest.mark.parametrize("header", [{}, bearer("wrong"), bearer("x" * 10_000), bearer("a.b.c"), {"Authorization": "é"}])
def test_a_request_without_a_token_that_is_known_is_refused(
    open_server: Callable[..., Server], header: Mapping[str, str]
) -> None:
    server = open_server(tokens=True)
    raw = {name: value.encode() for name, value in header.items()}
    for method, path in [("GET", "/v1/backends"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/metrics")]:
        answer = server.client.request(method, path, headers=raw)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == 1201
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "apikey"])
def test_a_token_is_taken_as_clients_send_it(open_server: Callable[..., Server], scheme: str) -> None:
    server = open_server(tokens={"ada": "a token of ada"})
    answer = server.client.get("/v1/jobs", headers=bearer("a token of ada", scheme))
    assert answer.status_code == 200


def test_jobs_and_sessions_of_others_are_not_there_but_for_an_admin(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens=True)
    ada, bob, admin = server.user("ada"), server.user("bob"), server.user("root", admin=True)
    session = ada.post("/v1/sessions", json={"backend": "fake_manila", "mode": "batch"}).json()["id"]
    job = server.submit(ada, session_id=session)
    for method, rest in OF_A_JOB:
        body = {"tags": []} if method == "PUT" else None
        assert bob.request(method, f"/v1/jobs/{job}{rest}", json=body).status_code == 404
    assert bob.get("/v1/jobs").json()["count"] == 0
    assert bob.get(f"/v1/sessions/{session}").status_code == 404
    assert bob.patch(f"/v1/sessions/{session}", json={"accepting_jobs": False}).status_code == 404
    assert bob.delete(f"/v1/sessions/{session}/close").status_code == 404
    assert bob.post("/v1/jobs", json=JOB | {"session_id": session}).status_code == 400
    assert admin.get(f"/v1/jobs/{job}").json()["user_id"] == "ada"
    assert admin.get("/v1/jobs").json()["count"] == 1
    assert ada.post(f"/v1/jobs/{job}/cancel").status_code == 204


@pytest.mark.parametrize(
    "job", ["' OR '1'='1", "../../etc/passwd", "a/../b", "%00", "x" * 5000, "1; DROP TABLE server_jobs", "é", "-"]
)
def test_ids_that_are_none_are_not_found(server: Server, job: str) -> None:
    for kind in ("jobs", "sessions"):
        answer = server.client.get(f"/v1/{kind}/{quote(job, safe='%')}")
        assert answer.status_code == 404, answer.text


# From elsewhere


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        ("10.0.0.7", {}),  # through a proxy, for instance
        ("127.0.0.1", {"Host": "evil.example:8000"}),  # whose name leads to this machine
        ("127.0.0.1", {"Origin": "https://evil.example"}),  # a page in a browser of this machine
        ("127.0.0.1", {"Origin": "null"}),
    ],
)
def test_without_tokens_what_comes_from_elsewhere_is_refused(
    server: Server, client: str, headers: Mapping[str, str]
) -> None:
    other = TestClient(server.client.app, client=(client, 1234))
    assert other.get("/v1/backends", headers=headers).status_code == 403
    assert TestClient(server.client.app, client=("127.0.0.1", 1)).get("/v1/jobs").status_code == 200
    assert TestClient(server.client.app, client=("::1", 1)).get("/v1/jobs").status_code == 200
    assert other.get("/v1/backends", headers=headers).status_code == 403  # now that there are known to be no tokens


def test_with_tokens_requests_may_come_from_anywhere(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens={"ada": "secret of ada"})
    other = TestClient(server.client.app, client=("10.0.0.7", 1), headers=bearer("secret of ada"))
    assert other.get("/v1/backends", headers={"Host": "lab.example"}).status_code == 200


def test_tokens_that_are_no_texts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="give a text for the token of each user's name"):
        create_app(tokens={"ada": ""})


# Clients from 0.49 on


def ask_for_token(server: Server, key: str) -> httpx.Response:
    form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": key, "response_type": "cloud_iam"}
    return server.client.post("/identity/token", data=form)


def test_a_client_gets_a_short_lived_token_for_its_own(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens={"ada": "of ada"})
    keys = {"bob": server.records.add_token("bob"), "ada": "of ada"}
    for user, key in keys.items():
        answer = ask_for_token(server, key).json()
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert (claims["sub"], claims["exp"] - claims["iat"]) == (user, answer["expires_in"])
        job = server.submit(TestClient(server.client.app, headers=bearer(answer["access_token"])))
        header = bearer(answer["access_token"])
        assert server.client.get(f"/v1/jobs/{job}", headers=header).json()["user_id"] == user
    header = bearer(ask_for_token(server, keys["bob"]).json()["access_token"])
    assert server.client.get("/v1/jobs", headers=header).status_code == 200
    server.records.revoke(1)
    assert server.client.get("/v1/jobs", headers=header).status_code == 401


def test_an_api_key_that_nobody_has_gets_no_token(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens=True)
    for body in (b"", b"apikey=", b"apikey=wrong", b"\xff\xfe", b"apikey=a%00b"):
        answer = server.client.post("/identity/token", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, 1201)


def test_a_forged_token_is_refused(open_server: Callable[..., Server]) -> None:
    server = open_server(tokens={"ada": "of ada"})
    server.user("bob")
    for key, algorithm in (("x" * 32, "HS256"), ("", "none")):
        for name in ("ada", "bob"):
            forged = jwt.encode({"sub": name, "token": 1, "iat": 0, "exp": 2**33}, key, algorithm)
            assert server.client.get("/v1/jobs", headers=bearer(forged)).status_code == 401


def test_a_server_without_tokens_gives_one_that_the_client_can_read(server: Server) -> None:
    claims = jwt.decode(ask_for_token(server, "local").json()["access_token"], options={"verify_signature": False})
    assert claims["exp"] > claims["iat"]


def test_the_server_is_the_one_instance_and_its_plan_is_free(server: Server) -> None:
    from pennylane_qexec.server.client import INSTANCE

    (only,) = server.client.post("/v3/resources/search?limit=100", json={"query": "x"}).json()["items"]
    assert (only["crn"], only["name"], bool(only["doc"]["extensions"])) == (INSTANCE, "local", True)
    plan = server.client.get(f"/api/v1/{only['service_plan_unique_id']}").json()
    assert plan["metadata"]["pricing"]["type"] == "free"
    assert plan["overview_ui"]["en"]["display_name"]
    assert server.client.get("/api/v1/other").status_code == 404
