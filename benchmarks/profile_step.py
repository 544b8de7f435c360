"""Where does the time of a VQE step go? A profile of the optimiser's step, by the package whose code was running.

Usage: ``python benchmarks/profile_step.py [EXECUTOR]``; default: ``jax``.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import time
import warnings
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from rich.console import Console
from rich.table import Table

WIRES, LAYERS, SHOTS, STEPS = 6, 2, 1000, 20
PLACES = {
    "recording, transforms, gradients (pennylane)": "/site-packages/pennylane/",
    "differentiation (autograd)": "/site-packages/autograd/",
    "templates": "/circuits/templates.py /circuits/structure.py /concurrency/once.py",
    "readout": "/circuits/readout.py /circuits/sampling.py",
    "executors (pennylane_qexec)": "/pennylane_qexec/executors/",
    "planning, engine, history (pennylane_qexec)": "/pennylane_qexec/",
    "simulators and compilers": "/jax/_src /jaxlib/ /qiskit/ /qiskit_aer/ /pennylane_lightning/",
}


def cost_function(executor: str) -> qml.QNode:
    """The energy of a transverse-field Ising chain after two layers of rotations: 24 parameters."""
    chain = [qml.Z(wire) @ qml.Z((wire + 1) % WIRES) for wire in range(WIRES)]
    energy = qml.dot([1.0] * WIRES + [0.5] * WIRES, chain + [qml.X(wire) for wire in range(WIRES)])
    device = qml.device("qexec.cluster", wires=WIRES, executors=[executor])

    @qml.qnode(device, shots=SHOTS, diff_method="parameter-shift")
    def cost(weights: np.ndarray) -> object:
        for layer in weights:
            for wire, (first, second) in enumerate(layer):
                qml.RX(first, wire)
                qml.RZ(second, wire)
            for wire in range(WIRES):
                qml.CNOT([wire, (wire + 1) % WIRES])
        return qml.expval(energy)

    return cost


def place_of(file: str) -> str:
    """Which row of the table a function belongs to."""
    for name, paths in PLACES.items():
        if any(path in file for path in paths.split()):
            return name
    return "native code and built-in functions" if file.startswith("~") else "the rest"


def main(executor: str) -> None:
    """Profile some steps, and print the table."""
    warnings.filterwarnings("ignore")
    cost = cost_function(executor)
    optimiser = qml.GradientDescentOptimizer(0.05)
    weights = qml.numpy.array(np.random.default_rng(0).random((LAYERS, WIRES, 2)), requires_grad=True)
    for _ in range(5):
        weights = optimiser.step(cost, weights)
    start = time.perf_counter()
    for _ in range(STEPS):
        weights = optimiser.step(cost, weights)
    wall = (time.perf_counter() - start) / STEPS
    profile = cProfile.Profile()
    with profile:
        for _ in range(STEPS):
            weights = optimiser.step(cost, weights)
    spent: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        spent[place_of(file)] += own
    total = sum(spent.values())
    title = (
        f"A step of {wall * 1e3:.1f} ms on {executor}: {WIRES} qubits, {2 * LAYERS * WIRES} parameters, {SHOTS} shots"
    )
    table = Table("where", "share of the time", title=title)
    for place, seconds in spent.most_common(12):
        table.add_row(place, f"{100 * seconds / total:.0f} %")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "jax")
