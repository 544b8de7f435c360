"""How much faster do two worker processes run heavy circuits than one, and than the calling thread?

The processes are warm; the ways take turns. Circuits of 16 qubits run on lightning.qubit, circuits of 12 on Aer.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, side_by_side

import pennylane_qexec as qexec

SHOTS, ROUNDS = 1000, 9


def circuits(number: int, wires: int, layers: int, measure: Any) -> list[qml.tape.QuantumScript]:
    """Different circuits of the same structure."""
    rng = np.random.default_rng(0)

    def layered(weights: np.ndarray) -> object:
        qml.StronglyEntanglingLayers(weights, wires=range(wires))
        return measure()

    shape = qml.StronglyEntanglingLayers.shape(n_layers=layers, n_wires=wires)
    return [qml.tape.make_qscript(layered, shots=SHOTS)(rng.uniform(0, 6, shape)) for _ in range(number)]


def ways(kind: str, batch: list[qml.tape.QuantumScript], specs: dict[str, dict[str, Any]]) -> np.ndarray:
    """Seconds of a batch for each way, in each round."""
    wires = len(batch[0].wires)
    clusters = [qexec.QCluster([{"type": kind, "wires": wires} | spec]) for spec in specs.values()]
    taken = side_by_side([partial(cluster.execute, batch) for cluster in clusters], ROUNDS)
    for cluster in clusters:
        cluster.close()
    return taken


ONE = {"parallel": "process", "workers": 1}
TWO = {"parallel": "process", "workers": 2}
SERIAL = {"parallel": "thread", "workers": 1}


def lightning() -> Iterator[Answer]:
    """32 circuits of 16 qubits."""
    batch = circuits(32, 16, 8, lambda: qml.expval(qml.Z(0) @ qml.Z(1)))
    one, two, here = ways("lightning.qubit", batch, {"one": ONE, "two": TWO, "here": SERIAL}).T
    beside = f"{np.median(one):.2f} s in one"
    name = "lightning.qubit, 32 circuits of 16 qubits: two processes over one"
    yield Answer.of(name, one / two, "times as fast", at_least=1.4, beside=beside)
    yield Answer.of("the same, one process over the calling thread", here / one, "times as fast")


def aer() -> Iterator[Answer]:
    """64 circuits of 12 qubits, from the second call on."""
    batch = circuits(64, 12, 3, qml.counts)
    here, two = ways("aer", batch, {"here": SERIAL, "two": TWO}).T
    beside = f"{np.median(here):.2f} s serial"
    name = "aer, 64 circuits of 12 qubits, counts: two processes over serial"
    yield Answer.of(name, here / two, "times as fast", at_least=1.5, beside=beside)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("What worker processes are worth", lightning, aer)
