"""A QElectron inside of Dask tasks, in two worker processes: two coupled spins at different field strengths.

Usage: python dask_task.py
"""

import os

import numpy as np
import pennylane as qml
from dask.distributed import Client, LocalCluster

import pennylane_qexec as qexec

ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)


@qexec.qelectron(executors=["lightning.qubit", "default.qubit"])
@qml.qnode(qml.device("default.qubit", wires=2))
def energy(angle, field):
    qml.RY(angle, wires=0)
    qml.RY(angle, wires=1)
    qml.CNOT(wires=[0, 1])
    return qml.expval(-qml.Z(0) @ qml.Z(1) - field * (qml.X(0) + qml.X(1)))


def lowest(field):
    """One task: sixteen circuits at the same time, and the lowest of their results."""
    futures = [energy.run_later(angle, field) for angle in ANGLES]
    values = qexec.gather(futures)
    return float(min(values)), {outcome.executor for future in futures for outcome in future.outcomes}, os.getpid()


def main():
    fields = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        at_once = client.submit(energy, 0.0, 0.5)  # a QElectron can be the task, too
        tasks = client.map(lowest, fields)
        for field, (value, executors, _) in zip(fields, client.gather(tasks), strict=True):
            print(f"field {field:4.2f}  lowest energy {value:+.4f}  from {' and '.join(sorted(executors))}")
        print(f"energy(0.0, 0.5) = {float(at_once.result()):+.4f}, in a task of its own")
        processes = {process for _, _, process in client.gather(tasks)}
    print(f"none of them ran in this process: {os.getpid() not in processes}, {len(energy.history)} circuits")


if __name__ == "__main__":
    main()
