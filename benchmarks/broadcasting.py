"""How much faster are circuits of one structure on simulators that run them as one, and is it never slower?

48 circuits of a gradient (two layers of rotations and entangling gates) on a cluster of ``default.qubit``, beside the
same circuits on the PennyLane device by itself, which draws the same shots. And how much longer does one circuit take
that is broadcasted already?
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

CIRCUITS, LAYERS, ROUNDS, WARM = 48, 2, 7, 8
SIZES = (2, 4, 6, 8, 10, 12, 14, 16)
GOALS = {2: 3.0, 4: 4.0, 6: 4.0, 8: 4.0, 10: 2.5, 12: 1.3}
"""How many times faster; beyond these sizes no slower than by 5 %, which is what measurements are worth."""
ROWS, AT_MOST = 1000, 1.2


def circuits(wires: int, shots: int | None) -> list[QuantumScript]:
    """Circuits of one structure."""
    rng, made = np.random.default_rng(0), []
    for _ in range(CIRCUITS):
        operations: list[qml.operation.Operator] = []
        for _ in range(LAYERS):
            for wire in range(wires):
                operations += [qml.RY(rng.uniform(0, 6), wire), qml.RZ(rng.uniform(0, 6), wire)]
            operations += [qml.CNOT([wire, (wire + 1) % wires]) for wire in range(wires)]
        made.append(QuantumScript(operations, [qml.expval(qml.Z(0) @ qml.Z(1))], shots=shots))
    return made


def by_size(shots: int | None) -> Iterator[Answer]:
    """Ratios for all sizes, analytic or with shots."""
    for wires in SIZES:
        batch = circuits(wires, shots)
        device = qml.device("default.qubit", wires=wires, seed=1)
        with qexec.QCluster([{"type": "default.qubit", "wires": wires, "seed": 1, "parallel": "thread"}]) as cluster:
            for _ in range(WARM):
                cluster.execute(batch)
            ratios, alone = [], []
            for _ in range(ROUNDS):
                alone.append(seconds(lambda: qml.execute(batch, device, None)))  # noqa: B023
                ratios.append(alone[-1] / seconds(lambda: cluster.execute(batch)))  # noqa: B023
        beside = f"default.qubit by itself, {1e3 * float(np.median(alone)) / CIRCUITS:.2f} ms"
        kind = "analytic" if shots is None else f"{shots} shots"
        yield Answer.of(
            f"{wires} qubits, {kind}", np.array(ratios), "times as fast", at_least=GOALS.get(wires, 0.95), beside=beside
        )


def broadcasted(device: qml.devices.Device, wires: int) -> qml.QNode:
    """A circuit that is given many angles at once."""

    @qml.qnode(device)
    def circuit(angles: np.ndarray) -> object:
        for layer in range(LAYERS):
            for wire in range(wires):
                qml.RY(angles[layer, wire], wire)
            for wire in range(wires):
                qml.CNOT([wire, (wire + 1) % wires])
        return qml.expval(qml.Z(0))

    return circuit


def in_one() -> Iterator[Answer]:
    """Ratios of QNode calls with many rows."""
    for wires in (4, 6, 8):
        angles = np.random.default_rng(0).uniform(0, 6, (LAYERS, wires, ROWS))
        bare = broadcasted(qml.device("default.qubit", wires=wires), wires)
        with qml.device("qexec.cluster", wires=wires, executors="default.qubit") as device:
            ours = broadcasted(device, wires)
            for _ in range(WARM):
                bare(angles), ours(angles)
            pairs = np.array(
                [(seconds(lambda: bare(angles)), seconds(lambda: ours(angles))) for _ in range(10 * ROUNDS)]  # noqa: B023
            )
        beside = f"default.qubit by itself, {1e3 * float(np.median(pairs[:, 0])):.2f} ms"
        ratios = pairs[:, 1] / pairs[:, 0]
        yield Answer.of(f"{wires} qubits, {ROWS} rows in one", ratios, "times as long", at_most=AT_MOST, beside=beside)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    title = "Circuits of one structure on default.qubit"
    answer(title, lambda: by_size(None), lambda: by_size(1000), in_one)
