"""How much faster do two worker processes run heavy circuits than one?

32 circuits of 16 qubits with shots on lightning.qubit. The processes are warm; runs with one and with two alternate.
"""

from __future__ import annotations

import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from rich.console import Console
from rich.table import Table

import pennylane_qexec as qexec

WIRES, CIRCUITS, SHOTS, ROUNDS = 16, 32, 1000, 9


def circuits() -> list[qml.tape.QuantumScript]:
    """Different circuits of the same structure."""
    rng = np.random.default_rng(0)

    def layers(weights: np.ndarray) -> object:
        qml.StronglyEntanglingLayers(weights, wires=range(WIRES))
        return qml.expval(qml.Z(0) @ qml.Z(1))

    shape = qml.StronglyEntanglingLayers.shape(n_layers=8, n_wires=WIRES)
    return [qml.tape.make_qscript(layers, shots=SHOTS)(rng.uniform(0, 6, shape)) for _ in range(CIRCUITS)]


def main() -> None:
    """Measure, and print the table."""
    warnings.filterwarnings("ignore")
    batch = circuits()
    table = Table(
        "way", "seconds", "circuits/s", "over one (10 % to 90 %)", title="32 circuits of 16 qubits, 1000 shots"
    )
    specs = {
        "one process": {"type": "lightning.qubit", "parallel": "process", "workers": 1},
        "two processes": {"type": "lightning.qubit", "parallel": "process", "workers": 2},
        "calling thread": {"type": "lightning.qubit", "parallel": "thread"},
    }
    clusters = {name: qexec.QCluster([spec | {"wires": WIRES}]) for name, spec in specs.items()}
    times: dict[str, list[float]] = {name: [] for name in clusters}
    for cluster in clusters.values():
        cluster.execute(batch)
    for _ in range(ROUNDS):
        for name, cluster in clusters.items():
            start = time.perf_counter()
            cluster.execute(batch)
            times[name].append(time.perf_counter() - start)
    one = np.array(times["one process"])
    for name, seconds in times.items():
        low, middle, high = np.percentile(one / np.array(seconds), [10, 50, 90])
        median = float(np.median(seconds))
        table.add_row(name, f"{median:.2f}", f"{CIRCUITS / median:.0f}", f"{middle:.2f} ({low:.2f} to {high:.2f})")
        clusters[name].close()
    Console().print(table)


if __name__ == "__main__":
    main()
