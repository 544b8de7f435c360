"""IBM's client is connected to servers of one's own, with clear errors where there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from urllib3 import Retry

import pennylane_qexec as qexec
from pennylane_qexec.server.environment import INSTANCE, environment


class _Answers(BaseHTTPRequestHandler):
    """Takes the token ``right``, and knows no backends."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"], self.headers["Service-CRN"]))  # type: ignore[attr-defined]
        right = self.headers["Authorization"] == "Bearer right"
        body = b'{"devices": []}' if right else b"{}"
        self.send_response(200 if right else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take what is submitted, and end the connection before there is an answer, or say what the path says."""
        self.server.seen.append((self.path, "submitted", ""))  # type: ignore[attr-defined]
        if status := self.path.removeprefix("/v1/jobs"):
            self.send_response(int(status))
            self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    for name in ("QEXEC_URL", "QEXEC_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_client_sends_the_token_and_the_instance_to_the_server_alone(server: HTTPServer) -> None:
    service = qexec.runtime_service(f"http://127.0.0.1:{server.server_port}/", "right")
    assert service.backends() == []
    assert service.active_instance() == INSTANCE
    assert {path.partition("?")[0] for path, *_ in server.seen} == {"/v1/instances/usage", "/v1/backends"}  # type: ignore[attr-defined]
    assert {rest for _, *rest in map(tuple, server.seen) for rest in [tuple(rest)]} == {("Bearer right", INSTANCE)}  # type: ignore[attr-defined]


def test_the_url_and_the_token_come_from_the_environment(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("QEXEC_TOKEN", "right")
    assert qexec.runtime_service().backends() == []


def test_the_client_waits_half_a_minute_for_a_server_that_starts_again(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, address = qexec.runtime_service(f"http://127.0.0.1:{server.server_port}", "right"), server.server_address
    server.shutdown()
    server.server_close()
    pause, paused, again = Retry.get_backoff_time, 0.0, list[HTTPServer]()

    def pause_at_once(retry: Retry) -> float:
        nonlocal paused
        paused += pause(retry)
        if paused > 30 and not again:
            again.append(HTTPServer(address, _Answers))
            again[0].seen = []  # type: ignore[attr-defined]
            threading.Thread(target=again[0].handle_request, daemon=True).start()
        return 0.0

    monkeypatch.setattr(Retry, "get_backoff_time", pause_at_once)
    assert service.backends() == []
    again[0].server_close()
    assert paused < 40


@pytest.mark.parametrize(("what", "times"), [("", 1), ("500", 1), ("502", 1), ("504", 1), ("503", 6)])
def test_the_client_submits_nothing_twice_that_may_have_been_taken(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, what: str, times: int
) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda retry: 0.0)
    service = qexec.runtime_service(f"http://127.0.0.1:{server.server_port}", "right")
    with pytest.raises(RequestsApiError):
        service._active_api_client._session.post(f"/jobs{what}", json={})
    assert [path for path, said, _ in server.seen if said == "submitted"] == [f"/v1/jobs{what}"] * times  # type: ignore[attr-defined]


def test_a_wrong_token_is_refused_at_once(server: HTTPServer) -> None:
    with pytest.raises(qexec.NoAccessError, match="does not know this token"):
        qexec.runtime_service(f"http://127.0.0.1:{server.server_port}", "wrong")


def test_a_token_is_asked_for_where_there_is_none(server: HTTPServer) -> None:
    with pytest.raises(qexec.NoAccessError, match="wants a token"):
        qexec.runtime_service(f"http://127.0.0.1:{server.server_port}")


def test_where_no_server_is_says_so(server: HTTPServer) -> None:
    with HTTPServer(("127.0.0.1", 0), _Answers) as other:
        port = other.server_port
    with pytest.raises(qexec.NoAccessError, match=f"no server answers at http://127.0.0.1:{port}"):
        qexec.runtime_service(f"http://127.0.0.1:{port}", "right")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://"])
def test_what_is_no_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(qexec.ConfigurationError, match="is no URL of a server"):
        qexec.runtime_service(url, "right")
    with pytest.raises(qexec.ConfigurationError, match="is no URL of a server"):
        environment(url, "right")
    monkeypatch.delenv("QEXEC_URL", raising=False)
    with pytest.raises(qexec.ConfigurationError, match="there is no URL of a server"):
        qexec.runtime_service(token="right")
