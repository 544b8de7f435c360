"""Does a circuit cost the same however many there are, and is memory bounded?

Circuits of 4 qubits and 16 parameters with 100 shots, each batch given to a cluster at once: 10, 100, 1000 and 10,000
of them. The peer is the PennyLane device by itself, or else ``lightning.qubit``.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

EXECUTORS = ("lightning.qubit", "default.qubit", "aer", "jax")
WIRES, LAYERS, SHOTS = 4, 2, 100
NUMBERS = (10, 100, 1000, 10_000)
FEW = 10
"""The number of circuits that the cost of others is compared with; more may cost less, and hardly more."""

BUDGET = 300
"""So many circuits are run at least for a figure."""

ROUNDS = 4
WARM = 6
PEER_CIRCUITS = 100
_PAGE = 4096


def circuits(number: int) -> list[QuantumScript]:
    """Circuits of one structure."""
    rng = np.random.default_rng(0)
    return [QuantumScript(operations(rng), [qml.expval(qml.Z(0) @ qml.Z(1))], shots=SHOTS) for _ in range(number)]


def operations(rng: np.random.Generator) -> list[qml.operation.Operator]:
    """Layers of rotations and entangling gates."""
    made: list[qml.operation.Operator] = []
    for _ in range(LAYERS):
        for wire in range(WIRES):
            made += [qml.RY(rng.uniform(0, 6), wire), qml.RZ(rng.uniform(0, 6), wire)]
        made += [qml.CNOT([wire, (wire + 1) % WIRES]) for wire in range(WIRES)]
    return made


def of_executor(spec: str) -> Iterator[Answer]:
    """What circuits cost on an executor, for each number of them."""
    batches = {number: circuits(number) for number in NUMBERS}
    peer = qml.device(spec if spec in qml.plugin_devices else "lightning.qubit", wires=WIRES)
    with qexec.QCluster([spec], wires=WIRES) as cluster:
        for number in (*NUMBERS[:-1], *NUMBERS[:-1]):
            for _ in range(WARM):
                cluster.execute(batches[number])
        costs: dict[int, list[float]] = {number: [] for number in NUMBERS}
        alone, resident = [], []
        few = batches[NUMBERS[-1]][:PEER_CIRCUITS]
        for _ in range(ROUNDS):
            for number, batch in batches.items():
                times = max(1, BUDGET // number)
                costs[number].append(_repeated(cluster, batch, times) / (times * number))
            gc.collect()
            resident.append(_resident())
            alone.append(seconds(lambda: qml.execute(few, peer, None)) / PEER_CIRCUITS)
        for number, cost in costs.items():
            yield Answer.of(f"{spec}: a circuit of {number}", 1e6 * np.array(cost), "us")
        for number in NUMBERS[1:]:
            ratio = np.array(costs[number]) / costs[FEW]
            yield Answer.of(f"{spec}: a circuit of {number}", ratio, f"times one of {FEW}", at_most=1.2)
        peers = f"{peer.name} by itself, {1e6 * np.median(alone):.0f} us"
        last = np.array(alone) / costs[NUMBERS[-1]]
        yield Answer.of(f"{spec}: a circuit of {NUMBERS[-1]}", last, "times as fast", beside=peers)
        growth = np.diff(resident)[1:] / 2**20
        yield Answer.of(f"{spec}: left in memory of {NUMBERS[-1]} circuits", growth, "MiB", at_most=5)


def _resident() -> float:
    """Bytes of memory that this process has."""
    return float(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _repeated(cluster: qexec.QCluster, batch: list[QuantumScript], times: int) -> float:
    return seconds(lambda: [cluster.execute(batch) for _ in range(times)])


def parts() -> list[object]:
    """One for each executor that can be used here."""
    found = []
    for spec in EXECUTORS:
        try:
            qexec.executor(spec, wires=WIRES).close()
        except (qexec.ConfigurationError, ImportError) as error:
            print(f"without {spec}: {error}")
        else:
            found.append(lambda spec=spec: of_executor(spec))
    return found


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("What a circuit costs, of few and of many", *parts())  # type: ignore[arg-type]
