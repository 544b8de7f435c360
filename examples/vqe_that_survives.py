"""A VQE on two QPUs that is killed in the middle, and goes on.

The QPUs are rehearsed: their jobs go on while no program is there, as those of a provider do.

Usage: python vqe_that_survives.py [STEPS]
"""

import os
import signal
import subprocess
import sys
import threading

import pennylane as qml

import pennylane_qexec as qexec

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
DOOMED = len(sys.argv) > 2
SHOTS, BASES, PER_STEP = 1000, 2, 5  # one circuit for the energy, and four for its gradient, in two bases each

options = {"queue": 0.1, "seed": 7, "wires": 2, "cost": {"per_shot": 0.001}}
qpus = [qexec.Rehearsal("lightning.qubit", name=name, folder=name, **options) for name in ("north", "south")]
dev = qml.device("qexec.cluster", wires=2, executors=qpus)


@qml.set_shots(SHOTS)
@qml.qnode(dev, diff_method="parameter-shift")
def energy(angles):
    qml.RY(angles[0], wires=0)
    qml.RY(angles[1], wires=1)
    qml.CNOT(wires=[0, 1])
    return qml.expval(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0))


def die_while_jobs_wait_at_both():
    while not all(qpu.status().queue_length for qpu in qpus):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


angles, optimizer = qml.numpy.array([0.1, 0.2], requires_grad=True), qml.GradientDescentOptimizer(0.4)
if not DOOMED:
    ended = subprocess.run([sys.executable, sys.argv[0], str(STEPS), "doomed"]).returncode
    print(f"killed by signal {-ended}; the same program again:" if ended else "it had finished before:", flush=True)
with qexec.durable_run("vqe", store="vqe.db") as run:
    for step in range(STEPS):
        if DOOMED and step == STEPS // 2:
            threading.Thread(target=die_while_jobs_wait_at_both, daemon=True).start()
        angles, value = optimizer.step_and_cost(energy, angles)
        print(f"step {step:2}  energy {value:+.3f}", flush=True)
dev.close()
bill = sum(job.cost for qpu in qpus for job in qpu.ledger)
print(f"{run.replayed} circuits replayed, {run.picked_up} picked up, {run.executed} run")
print(f"{bill:.2f} dollars are to be paid, for {STEPS * PER_STEP * BASES * SHOTS:,} shots at 0.001 dollars")
