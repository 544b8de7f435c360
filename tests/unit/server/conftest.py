"""Applications of the server whose jobs end when a test says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pennylane_qexec.server import app as application
from pennylane_qexec.server.records import open_records
from pennylane_qexec.server.settings import load_settings
from tests.fakes.server_scheduler import FakeScheduler


class Server:
    """An application and its clients."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.scheduler = FakeScheduler.last
        self.records = self.scheduler.records

    def submit(self, client: TestClient | None = None, **what: Any) -> str:
        answer = (client or self.client).post("/v1/jobs", json=JOB | what)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def user(self, name: str, admin: bool = False) -> TestClient:
        token = self.records.add_token(name, admin)
        return TestClient(self.client.app, headers={"Authorization": f"Bearer {token}"})


JOB = {"program_id": "sampler", "backend": "fake_manila", "params": {"pubs": [["a circuit"]], "version": 2}}


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which nothing is: a copy is made faster than a store."""
    store = tmp_path_factory.mktemp("server") / "empty.db"
    open_records(store).close()
    return store


@pytest.fixture
def open_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _empty_store: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts an application with a store of its own, and settings that are given."""
    shutil.copy(_empty_store, tmp_path / "server.db")
    monkeypatch.setattr(application, "Scheduler", FakeScheduler)
    monkeypatch.chdir(tmp_path)
    stack = ExitStack()

    def opened(tokens: Any = None, **given: Any) -> Server:
        settings = load_settings(**{"store": str(tmp_path / "server.db")} | given)
        made = application.create_app("aer", tokens=tokens, settings=settings)
        return Server(stack.enter_context(TestClient(made)))

    with stack:
        yield opened


@pytest.fixture
def server(open_server: Callable[..., Server]) -> Server:
    return open_server()
