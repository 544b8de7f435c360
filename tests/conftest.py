"""What all tests share: hypothesis without chance, clusters that are closed, and no haste of the machine's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

import pennylane_qexec as qexec
from pennylane_qexec.engine import inline, placement
from pennylane_qexec.engine.process_pool import ProcessPool
from pennylane_qexec.redaction import known

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # no test looks at anybody's tokens

settings.register_profile("qexec", derandomize=True, deadline=None, print_blob=True, max_examples=50)
settings.load_profile("qexec")


@pytest.fixture
def open_cluster() -> Iterator[Any]:
    """A function that opens clusters, which are closed after the test."""
    opened: list[qexec.QCluster] = []

    def open_one(executors: Any, **options: Any) -> qexec.QCluster:
        opened.append(qexec.QCluster(executors, **options))
        return opened[-1]

    yield open_one
    for cluster in opened:
        cluster.close()


@pytest.fixture
def open_device() -> Iterator[Any]:
    """A function that opens cluster devices, which are closed after the test."""
    opened: list[qexec.ClusterDevice] = []

    def open_one(executors: Any = None, wires: Any = None, **options: Any) -> qexec.ClusterDevice:
        opened.append(qexec.ClusterDevice(wires, executors=executors, **options))
        return opened[-1]

    yield open_one
    for device in opened:
        device.close()


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test calls a secret may be a word that another one expects in an error."""
    monkeypatch.setattr(known, "_known", known._Known())


@pytest.fixture(autouse=True)
def _where_circuits_run_is_no_matter_of_speed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors that may decide by themselves go by the size of circuits alone, and find no warm worker processes.

    Else a simulator with a seed would draw from another stream on a machine that is so busy that small circuits seem
    large, or soon after a test that had started workers. Those who ask for the fixture ``warm_workers`` get them.
    """
    if "warm_workers" in request.fixturenames:
        return
    monkeypatch.setattr(ProcessPool, "warm", property(lambda shared_pool: False))
    monkeypatch.setattr(ProcessPool, "warm_up", lambda shared_pool: None)
    for module in (placement, inline):
        monkeypatch.setattr(module, "seconds", placement.computing_seconds)
