"""A laboratory whose connection keeps breaking, and a simulator that takes over.

Usage: python failover.py [CIRCUITS]
"""

import itertools
import sys

import numpy as np
import pennylane as qml

import pennylane_qexec as qexec

CIRCUITS = int(sys.argv[1]) if len(sys.argv) > 1 else 12


class Laboratory(qexec.Executor):
    """Works, except for batches 3 to 8."""

    def __init__(self, **options):
        super().__init__(**options)
        self._batches = itertools.count(1)
        self._device = qml.device("default.qubit", seed=1)

    def run(self, circuits):
        if 3 <= next(self._batches) <= 8:
            raise ConnectionError("the laboratory does not answer")
        return qml.execute(circuits, self._device)


dev = qml.device(
    "qexec.cluster",
    wires=1,
    executors=[Laboratory(name="laboratory"), {"type": "lightning.qubit", "name": "simulator"}],
    selector=lambda circuit, executors: executors[0],  # the first that is up
    retry=qexec.retries.backoff(attempts=2, initial=0.02),
)


@qml.set_shots(1000)
@qml.qnode(dev)
def circuit(angle):
    qml.RX(angle, wires=0)
    return qml.expval(qml.Z(0))


angles = np.linspace(0, np.pi, CIRCUITS)
values = [float(circuit(angle)) for angle in angles]
print(f"{len(values)} results, the largest error is {np.abs(values - np.cos(angles)).max():.3f}")
print(dev.history.to_dataframe()[["executor", "attempt", "state", "seconds_queued", "seconds_running"]])
dev.close()
