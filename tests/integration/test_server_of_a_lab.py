"""A server as its guide sets it up: ``qexec serve`` with settings, a calibration and tokens; and how to look at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.server_process import long_circuit
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError
from typer.testing import CliRunner, Result

import pennylane_qexec as qexec
from pennylane_qexec.cli import app
from pennylane_qexec.providers.fakes import fake_files

pytestmark = [pytest.mark.slow, pytest.mark.integration]

SETTINGS = """
[server]
store = "lab.db"
executors = ["aer", { type = "aer", name = "exact", noise = false }, "default.qubit"]
calibrations = { lab_five = "five.json" }
usage_limit = 0.001
workers = 1
"""
MISREAD = 0.25


@dataclass
class Lab:
    """A server that runs, in a folder of its own."""

    folder: Path
    url: str

    def told(self, *arguments: str) -> Result:
        """What ``qexec`` says there."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return CliRunner().invoke(app, arguments)
        finally:
            os.chdir(before)

    def token(self, *arguments: str) -> str:
        """A new token."""
        return self.told("server-token", "add", *arguments).stdout.strip()

    def jobs(self, *arguments: str) -> list[Any]:
        """Ids and states of jobs."""
        return [
            (job["id"], job["status"]) for job in json.loads(self.told("jobs", "--json", *arguments).stdout)["jobs"]
        ]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "qexec.toml").write_text(SETTINGS)
    properties = json.loads(fake_files()["fake_manila"].properties.read_bytes())
    for entry in (entry for qubit in properties["qubits"] for entry in qubit):
        if entry["name"] in ("readout_error", "prob_meas0_prep1", "prob_meas1_prep0"):
            entry["value"] = MISREAD
    (folder / "five.json").write_text(json.dumps({**properties, "backend_name": "fake_manila"}))
    command = [sys.executable, "-c", "from pennylane_qexec.cli import app; app()", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        try:
            said = next(line for line in process.stderr if "running on" in line)
            rest = deque[str]()
            reader = threading.Thread(target=rest.extend, args=(process.stderr,))
            reader.start()
            yield Lab(folder, json.loads(said)["message"].split()[3])
            process.send_signal(signal.SIGTERM)
            reader.join()
            assert process.wait() == 0
            assert not any("Traceback" in line for line in rest)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def one() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    return circuit


def zeros(backend: Any, shots: int = 4000) -> float:
    circuit = transpile(one(), backend, initial_layout=[0] if backend.coupling_map else None)
    return SamplerV2(mode=backend).run([circuit], shots=shots).result()[0].data.meas.get_counts().get("0", 0) / shots


def test_a_machine_has_the_calibration_of_its_file(lab: Lab) -> None:
    service = qexec.runtime_service(lab.url, lab.token("curie"))
    backend = service.backend("lab_five")
    assert backend.properties().readout_error(0) == MISREAD
    assert abs(zeros(backend) - MISREAD) < 5 * 0.0069  # standard deviations


def test_what_stands_behind_a_name_is_what_runs_it(lab: Lab) -> None:
    for executor in ("exact", "default.qubit"):
        service = qexec.runtime_service(lab.url, lab.token(f"user of {executor}"))
        assert zeros(service.backend(f"lab_five@{executor}"), 100) == 0.0


def test_a_revoked_token_is_good_for_nothing_from_then_on(lab: Lab) -> None:
    token = lab.token("eve")
    service = qexec.runtime_service(lab.url, token)
    number = next(
        made["id"] for made in json.loads(lab.told("server-token", "list", "--json").stdout) if made["user"] == "eve"
    )
    assert service.jobs() == []
    assert lab.told("server-token", "revoke", str(number)).exit_code == 0
    with pytest.raises(IBMNotAuthorizedError):
        service.jobs()
    with pytest.raises(qexec.NoAccessError, match="does not know this token"):
        qexec.runtime_service(lab.url, token)


def test_who_has_used_what_they_may_is_told_so(lab: Lab) -> None:
    service = qexec.runtime_service(lab.url, lab.token("faraday"))
    backend = service.backend("ideal")
    zeros(backend)
    assert service.usage()["usage_remaining_seconds"] == 0
    with (
        pytest.warns(UserWarning, match="has met its usage limit"),
        pytest.raises(IBMRuntimeError, match=r"has used the 0\.001 seconds that a user may in 28 days"),
    ):
        SamplerV2(mode=backend).run([one()])


@pytest.mark.parametrize("where", ["server", "store"])
def test_jobs_are_looked_after_at_a_server_and_at_its_store(
    lab: Lab, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = f"looked after at a {where}"
    ideal = qexec.runtime_service(lab.url, lab.token(user)).backend("ideal")
    if where == "server":
        monkeypatch.setenv("QEXEC_URL", lab.url)
        monkeypatch.setenv("QEXEC_TOKEN", lab.token("root", "--admin"))
    first, second = SamplerV2(mode=ideal).run([long_circuit()]), SamplerV2(mode=ideal).run([one()])
    while first.status() == "QUEUED":
        pass  # the server holds an answer until there is another
    running, waiting = first.job_id(), second.job_id()
    assert lab.jobs("--pending") == [(waiting, "Queued"), (running, "Running")]
    shown = lab.told("show", running).stdout
    assert all(word in shown for word in (running, user, "sampler", "ideal", "running"))
    assert lab.told("cancel", running, waiting).exit_code == 0
    first.wait_for_final_state()
    assert [first.status(), second.status()] == ["CANCELLED", "CANCELLED"]
    assert lab.jobs("--pending") == []
    assert lab.told("cancel", running).exit_code == 2
