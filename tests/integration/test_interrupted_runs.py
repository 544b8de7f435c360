"""Durable runs that are interrupted by Ctrl-C, in processes of their own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import sys, threading
import pennylane as qml
import pennylane_qexec as qexec
from pennylane_qexec.store import open_store

folder, way = sys.argv[1], sys.argv[2]
qpu = qexec.Rehearsal("lightning.qubit", name="qpu", queue=3.0, seed=7, folder=folder + "/qpu")
cluster = qexec.QCluster(qpu)


@qml.set_shots(100)
@qml.qnode(qexec.ClusterDevice(1, cluster=cluster))
def circuit(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def say_when_sent():
    with open_store(folder + "/runs.db") as store:
        while not any(job.state == "sent" for job in store.jobs()):
            pass
    print("sent", flush=True)


if way == "interrupted":
    threading.Thread(target=say_when_sent, daemon=True).start()
with qexec.durable_run("run", folder + "/runs.db") as run:
    circuit(0.3)
print(run.replayed, run.picked_up, run.executed, [str(entry.state) for entry in qpu.ledger], flush=True)
"""


def start(folder: Path, way: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), way], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_leaves_jobs_at_their_backend_says_so_and_the_program_picks_them_up(tmp_path):
    process = start(tmp_path, "interrupted")
    assert process.stdout is not None
    assert process.stdout.readline() == "sent\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert "jobs of the durable run 'run' still run" in errors
    assert "at 'qpu'" in errors
    said, errors = start(tmp_path, "again").communicate(timeout=60)
    assert said == "0 1 0 ['done']\n", errors
