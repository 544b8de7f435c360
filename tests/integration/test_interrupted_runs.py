"""Durable runs that are interrupted by Ctrl-C, in processes of their own."""

import signal
from pathlib import Path

import pytest
from fakes import programs

pytestmark = pytest.mark.integration

PROGRAM = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it
import pennylane as qml
import pennylane_qexec as qexec
from pennylane_qexec.job import JobState
from pennylane_qexec.store import open_store

folder, way = sys.argv[1], sys.argv[2]


class QPU(qexec.Rehearsal):
    "Its jobs never end for the program that is interrupted."

    def poll(self, job_id):
        return JobState.QUEUED if way == "interrupted" else super().poll(job_id)


qpu = QPU("lightning.qubit", name="qpu", seed=7, folder=folder + "/qpu")
cluster = qexec.QCluster(qpu)


@qml.set_shots(100)
@qml.qnode(qexec.ClusterDevice(1, cluster=cluster))
def circuit(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def say_when_sent():
    with open_store(folder + "/runs.db") as store:
        while not any(job.state == "sent" for job in store.jobs()):
            threading.Event().wait(0.01)
    print("sent", flush=True)


if way == "interrupted":
    threading.Thread(target=say_when_sent, daemon=True).start()
with qexec.durable_run("run", folder + "/runs.db") as run:
    circuit(0.3)
print(run.replayed, run.picked_up, run.executed, [str(entry.state) for entry in qpu.ledger], flush=True)
"""


def test_ctrl_c_leaves_jobs_at_their_backend_says_so_and_the_program_picks_them_up(tmp_path: Path) -> None:
    with programs.running(PROGRAM, str(tmp_path), "interrupted") as program:
        program.wait_for("sent")
        program.interrupt()
        _, errors = program.end()
    assert program.code == -signal.SIGINT
    assert errors[-1] == "KeyboardInterrupt"
    (said,) = [line for line in errors if line.startswith("jobs of the durable run 'run' still run")]
    assert "at 'qpu'" in said
    again = programs.run(PROGRAM, str(tmp_path), "again")
    assert again.stdout == "0 1 0 ['done']\n", again.stderr
