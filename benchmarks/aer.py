"""How much faster are the circuits of a gradient on ``"aer"`` than on pennylane-qiskit's ``qiskit.aer``?

The 48 shifted circuits of a gradient: 6 qubits, 24 parameters, 1000 shots, one expectation value. Both run on Qiskit's
Aer, with one thread.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds, side_by_side

import pennylane_qexec as qexec

QUBITS, LAYERS, SHOTS = 6, 2, 1000
GOAL = 50.0
ROUNDS, REPEATS = 3, 9
NUMBERS = (10, 100, 1000, 10_000)
ANGLES = np.random.default_rng(0).uniform(0, 3, (LAYERS, QUBITS, 2))


def operations(angles: Any) -> None:
    """Layers of rotations and rings of CNOT."""
    for layer in range(LAYERS):
        for wire in range(QUBITS):
            qml.RY(angles[layer, wire, 0], wire)
            qml.RZ(angles[layer, wire, 1], wire)
        for wire in range(QUBITS):
            qml.CNOT([wire, (wire + 1) % QUBITS])


def circuit(angles: np.ndarray, shots: int | None = SHOTS) -> qml.tape.QuantumScript:
    """The circuit with angles ``(layers, qubits, 2)``."""
    with qml.queuing.AnnotatedQueue() as queue:
        operations(angles)
        qml.expval(qml.Z(0))
    return qml.tape.QuantumScript.from_queue(queue, shots=shots)


def shifted(shots: int | None = SHOTS) -> list[qml.tape.QuantumScript]:
    """The circuits of a gradient by the parameter-shift rule, two for each angle."""
    made = []
    for place in np.ndindex(ANGLES.shape):
        for shift in (np.pi / 2, -np.pi / 2):
            moved = ANGLES.copy()
            moved[place] += shift
            made.append(circuit(moved, shots))
    return made


def compared(question: str, ours: Callable[[], object], peer: Callable[[], object], goal: float | None) -> Answer:
    """How many times as fast ours is; the fastest of a few calls counts in each round."""
    slow, fast = side_by_side([peer, lambda: None], ROUNDS)[:, 0], []
    ours()
    for _ in range(ROUNDS):
        fast.append(min(seconds(ours) for _ in range(REPEATS)))
    beside = f"qiskit.aer {np.median(slow):.3g} s, aer {1e3 * np.median(fast):.3g} ms"
    return Answer.of(question, slow / np.array(fast), "times as fast", at_least=goal, beside=beside)


def circuits() -> Iterator[Answer]:
    """The circuits alone, each side preparing them."""
    batch = shifted()
    ours, peer = qexec.executor("aer"), qexec.executor("qiskit.aer")
    yield compared("48 shifted circuits", lambda: ours.run(batch), lambda: peer.run(batch), GOAL)


def gradients() -> Iterator[Answer]:
    """The whole gradient of a QNode, PennyLane's share included."""

    def function(angles: Any) -> Any:
        operations(angles)
        return qml.expval(qml.Z(0))

    def gradient(device: Any) -> Callable[[], object]:
        node = qml.set_shots(qml.QNode(function, device, diff_method="parameter-shift"), SHOTS)
        derivative = qml.grad(node)
        return lambda: derivative(qml.numpy.array(ANGLES, requires_grad=True))

    ours = qml.device("qexec.cluster", executors=["aer"], wires=QUBITS)
    yield compared("a QNode's gradient", gradient(ours), gradient(qml.device("qiskit.aer", wires=QUBITS)), None)
    ours.close()


def cpu_seconds(call: Callable[[], object]) -> float:
    """Seconds of one core that a call takes, whatever else runs meanwhile."""
    start = time.process_time()
    call()
    return time.process_time() - start


def numbers() -> Iterator[Answer]:
    """What a circuit costs, in batches of more and more."""
    executor, rng = qexec.executor("aer"), np.random.default_rng(1)
    executor.run(shifted())
    costs = {}
    for number in NUMBERS:
        batch = [circuit(rng.uniform(0, 3, ANGLES.shape)) for _ in range(number)]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        taken = [cpu_seconds(lambda batch=batch: executor.run(batch)) for _ in range(3 if number > 100 else 20)]
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        costs[number] = 1e6 * min(taken) / number
        yield Answer.of(f"{number} circuits: each", costs[number], "us", beside=f"memory grows by {grown:.0f} MiB")
    yield Answer.of(
        "a circuit of 10,000, against one of 100", costs[10_000] / costs[100], "times the cost", at_most=1.2
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("Circuits of a gradient on Aer, against qiskit.aer", circuits, gradients, numbers)
