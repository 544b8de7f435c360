"""Jobs on executors at vendors, run again after the server was killed, find what was sent: nothing is paid twice."""

import json
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from fakes.vendor import FakeVendorExecutor, Vendor
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime.utils import RuntimeDecoder

import pennylane_qexec as qexec
from pennylane_qexec.job import JobState
from pennylane_qexec.server.programs import ours
from pennylane_qexec.server.programs.clusters import ClusterJob, cancel
from pennylane_qexec.server.sources import Source, source_of

PRICE = {"per_shot": 0.01}


class Metadata:
    """Of a backend."""

    name, properties = "lab", None


def source_at(vendor: Vendor) -> Source:
    """An executor at a vendor, made in the process that runs its jobs."""
    return source_of(lambda metadata: FakeVendorExecutor(vendor), name=f"vendor {id(vendor)}", waits=True)


def params() -> dict:
    angle = Parameter("t")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return {"pubs": [(circuit, np.linspace(0, 1, 3)[:, None], 100)]}


def run(job_id: str, folder: Path, queue: float) -> str:
    vendor = {
        "type": "rehearsal:default.qubit",
        "queue": queue,
        "folder": folder / "vendor",
        "cost": {"per_shot": 0.01},
    }
    job = ClusterJob(job_id, source_of(vendor), Metadata, lambda: None, str(folder / "server.db"))
    return ours.run(job, "sampler", params())


@pytest.mark.slow
def test_a_job_run_again_after_a_kill_finds_what_was_sent(tmp_path):
    program = "import sys, test_paid_jobs as t; from pathlib import Path; t.run('j1', Path(sys.argv[1]), 1.5)"
    killed = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env={**_environment(), "OMP_NUM_THREADS": "1"}
    )
    vendor = qexec.Rehearsal("default.qubit", queue=0.1, folder=tmp_path / "vendor", cost=PRICE)
    until = time.monotonic() + 60
    while not vendor.ledger:
        assert killed.poll() is None
        assert time.monotonic() < until
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    results = [json.loads(run("j1", tmp_path, 1.5), cls=RuntimeDecoder)[0].data.meas for _ in range(2)]
    assert [one.num_shots for one in results] == [100, 100]
    assert results[0].get_counts() == results[1].get_counts()
    assert len(vendor.ledger) == 1
    run("j2", tmp_path, 1.5)
    assert len(vendor.ledger) == 2


def _environment() -> dict:
    import os

    here = Path(__file__)
    return {**os.environ, "PYTHONPATH": f"{here.parent}:{here.parents[2]}:{os.environ.get('PYTHONPATH', '')}"}


def test_what_a_job_has_paid_for_is_not_paid_again_by_the_same_job(tmp_path):
    vendor = Vendor()
    source = source_at(vendor)
    for job_id in ("one", "one", "two"):
        job = ClusterJob(job_id, source, Metadata, lambda: None, f"sqlite:///{tmp_path / 'server.db'}")
        ours.run(job, "sampler", params())
    assert len(vendor.jobs) == 2


def test_what_a_job_costs_goes_with_the_spec_and_bits_that_are_known_are_not_sent(tmp_path, caplog):
    spec = {"type": "rehearsal:default.qubit", "name": "paid", "folder": str(tmp_path / "vendor"), "cost": PRICE}
    source = pickle.loads(cloudpickle.dumps(source_of(spec)))
    known = QuantumCircuit(1, 1)
    known.measure(0, 0)
    circuit = known.copy_empty_like()
    circuit.h(0)
    circuit.measure(0, 0)
    for job_id, one in (("known", known), ("asked", circuit)):
        job = ClusterJob(job_id, source, Metadata, lambda: None, str(tmp_path / "server.db"))
        (result,) = json.loads(ours.run(job, "sampler", {"pubs": [(one, None, 100)]}), cls=RuntimeDecoder)
        assert result.data.c.num_shots == 100
    vendor = qexec.Rehearsal("default.qubit", folder=tmp_path / "vendor")
    assert [entry.cost for entry in vendor.ledger] == [1.0]
    assert caplog.messages == []


def test_a_job_that_is_cancelled_is_cancelled_at_the_vendor(tmp_path):
    vendor = Vendor(states=[JobState.WAITING])
    source = source_at(vendor)
    job = ClusterJob("one", source, Metadata, lambda: None, str(tmp_path / "server.db"))
    errors = []

    def running():
        try:
            ours.run(job, "sampler", params())
        except qexec.JobCancelledError as error:
            errors.append(error)

    thread = threading.Thread(target=running)
    thread.start()
    until = time.monotonic() + 60
    while not (vendor.jobs and next(iter(vendor.jobs.values())).asked):
        assert time.monotonic() < until
    assert cancel("one")
    thread.join(60)
    assert len(errors) == 1
    while not next(iter(vendor.jobs.values())).cancelled:
        assert time.monotonic() < until
    assert not cancel("one")
