"""A real server, in a process of its own, as an executor of this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import requests
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

pytestmark = [pytest.mark.slow, pytest.mark.integration]

_SERVER = """
import sys
import uvicorn
from pennylane_qexec.server.app import create_app
from pennylane_qexec.server.settings import load_settings
store, port = sys.argv[1], int(sys.argv[2])
app = create_app(["lightning.qubit", "aer"], settings=load_settings(store=store, workers=1))
uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """That of a server in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVER, str(tmp_path / "server.db"), str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        try:
            until = time.monotonic() + 60
            while not _is_ready(f"http://127.0.0.1:{port}"):
                assert process.poll() is None
                assert time.monotonic() < until
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).ok
    except requests.ConnectionError:
        return False


def test_another_server_computes_gradients_shots_states_and_noise(url: str, open_device: Any) -> None:
    ideal = open_device([qexec.QExecRemote(f"{url}/ideal")])

    @qml.qnode(ideal, diff_method="parameter-shift")
    def energy(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        qml.CNOT([0, 1])
        qml.RY(angles[1], 1)
        return qml.expval(qml.Z(1) @ qml.X(0) + 0.5 * qml.Z(0))

    angles = pnp.array([0.4, 1.1], requires_grad=True)
    exact = qml.grad(qml.QNode(energy.func, qml.device("default.qubit")))(angles)
    assert qml.grad(energy)(angles) == pytest.approx(exact, abs=1e-9)

    bell = [qml.H("a"), qml.CNOT(["a", "b"])]
    with qexec.QCluster([qexec.QExecRemote(f"{url}/ideal@lightning.qubit")]) as cluster:
        state, counts = cluster.execute(
            [
                QuantumScript(bell, [qml.state()]),
                QuantumScript(bell, [qml.counts(wires=["b", "a"]), qml.sample(wires=["a"])], shots=[30, 50]),
            ]
        )
    assert np.asarray(state) == pytest.approx(np.array([1, 0, 0, 1]) / np.sqrt(2), abs=1e-9)
    assert [sum(one.values()) for one, _ in counts] == [30, 50]
    assert {key for one, _ in counts for key in one} <= {"00", "11"}
    with qexec.QCluster([qexec.QExecRemote(f"{url}/fake_manila@aer")]) as cluster:
        (noisy,) = cluster.execute([QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])])
    assert -0.99 < float(noisy) < -0.8
