"""The application and the process of a server: what it is given, what it refuses, how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from qiskit_aer import AerSimulator

from pennylane_qexec import server
from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.server import app as application
from pennylane_qexec.server.records import open_records
from pennylane_qexec.server.sources import sources_of
from tests.fakes.server_scheduler import FakeScheduler
from tests.unit.server.conftest import Server


class Mine:
    """As Qiskit Runtime Server has its executors."""

    name = "mine"

    def execute_sampler(self, pubs: Any, options: Any, backend_name: str) -> None:
        raise NotImplementedError

    execute_estimator = execute_sampler


def test_what_is_given_runs_jobs_the_first_one_those_of_plain_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "Scheduler", FakeScheduler)
    made = server.create_app(["default.qubit", Mine()], store=str(tmp_path / "a.db"))
    with TestClient(made) as client:
        assert list(FakeScheduler.last.sources) == ["default.qubit", "mine"]
        names = {one["name"] for one in client.get("/v1/backends").json()["devices"]}
    assert {"fake_manila", "fake_manila@default.qubit", "fake_manila@mine", "ideal@mine"} <= names


def test_what_makes_no_sense_is_said_before_a_server_starts() -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        server.create_app("nonsense")
    with pytest.raises(ConfigurationError, match="has no setting"):
        server.load_settings(nonsense=1)


def test_the_settings_of_a_gpu_become_an_executor_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = server.load_settings(executors="aer,gpu", gpu_device=1, gpu_memory_limit="8G", gpu_noise=False)
    gpu = {"type": "aer", "name": "gpu", "device": "GPU", "noise": False, "target_gpus": [1], "max_memory_mb": 8000}
    assert application.executors_of(settings) == ["aer", gpu]
    monkeypatch.setattr(AerSimulator, "available_devices", lambda self: ("CPU", "GPU"))
    source = sources_of(application.executors_of(settings))["gpu"]
    assert source.options == {"device": "GPU", "target_gpus": [1], "max_memory_mb": 8000}


def test_running_jobs_have_time_to_end_when_the_application_stops(open_server: Callable[..., Server]) -> None:
    server = open_server(grace=12.0)
    server.client.__exit__()
    assert server.scheduler.stopped == 12.0


def test_a_server_that_others_can_reach_needs_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(application.serving, "run", lambda app, host, port, **_: started.append(host))
    monkeypatch.setattr(application, "configure_logs", lambda level: None)
    store = str(tmp_path / "a.db")
    settings = server.load_settings(host="0.0.0.0", port=0, store=store)
    with pytest.raises(ConfigurationError, match=r"no tokens: make one with `qexec server-token`"):
        server.serve(settings)
    server.serve(settings.model_copy(update={"host": "127.0.0.1"}))
    with closing(open_records(store)) as records:
        records.add_token("ada")
        server.serve(settings)
        records.revoke(1)
    with pytest.raises(ConfigurationError, match="no tokens"):
        server.serve(settings)
    assert started == ["127.0.0.1", "0.0.0.0"]


def test_an_address_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = server.load_settings(port=taken.getsockname()[1], store=str(tmp_path / "a.db"))
        with pytest.raises(ConfigurationError, match=r"cannot listen at 127\.0\.0\.1, port \d+: .*--port"):
            server.serve(settings)


def test_a_store_that_cannot_be_opened_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database" * 1000)
    with pytest.raises(StoreError):
        server.serve(server.load_settings(store=str(tmp_path / "a.db")))


def test_without_the_packages_of_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="fastapi")

    monkeypatch.setattr(server.importlib, "import_module", missing)
    with pytest.raises(ConfigurationError, match=r"pip install 'pennylane-qexec\[server\]'"):
        server.create_app  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        server.nothing  # noqa: B018
