"""A sweep over noisy circuits, in one process and then in worker processes.

Usage: python process_sweep.py [CIRCUITS [WIRES]]
"""

import sys
import time

import numpy as np
import pennylane as qml

import pennylane_qexec as qexec

CIRCUITS = int(sys.argv[1]) if len(sys.argv) > 1 else 32
WIRES = int(sys.argv[2]) if len(sys.argv) > 2 else 7


def decaying_ghz(noise):
    operations = [qml.H(0)]
    for wire in range(WIRES - 1):
        operations += [qml.CNOT([wire, wire + 1]), qml.DepolarizingChannel(noise, wires=wire + 1)]
    return qml.tape.QuantumScript(operations, [qml.expval(qml.prod(*(qml.X(wire) for wire in range(WIRES))))])


noises = np.linspace(0, 0.2, CIRCUITS)
circuits = [decaying_ghz(noise) for noise in noises]

for parallel in ("thread", "process"):
    with qexec.QCluster([{"type": "default.mixed", "parallel": parallel}]) as cluster:
        cluster.execute(circuits[:2])  # workers take some seconds to start, once
        start = time.perf_counter()
        results = cluster.execute(circuits)
        print(f"{parallel:8} {time.perf_counter() - start:6.2f} s")

for noise, value in list(zip(noises, results, strict=True))[:: max(1, CIRCUITS // 8)]:
    print(f"noise {noise:.3f}  {'#' * round(50 * float(value))} {float(value):.3f}")
