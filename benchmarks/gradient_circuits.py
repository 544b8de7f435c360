"""How much faster do the shifted circuits of a gradient run on the best local executor than on lightning.qubit?

The circuits have two layers of rotations and a ring of CNOT, 1000 shots, and one shifted angle each: 48 circuits for 6
qubits. A call prepares and runs all of them. Calls are repeated a few times, as in a loop, before it is the other's
turn, and the fastest of these counts.

The peer is called as PennyLane calls a device, its program first and then its simulation, but without the QNode around
it: that has to try in vain to import a part of PennyLane in each call with shots if JAX 0.10 is installed, which takes
3 ms and is not lightning.qubit's fault.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds

import pennylane_qexec as qexec
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.executors.jax import JaxExecutor

GOALS = {4: 50.0, 6: 50.0, 8: 30.0, 10: 8.0, 12: 0.95, 14: 0.95, 16: 0.95}
EXECUTORS = ("jax", "aer", "lightning.qubit")
LAYERS, SHOTS = 2, 1000
MANY_QUBITS = 12
"""From here on, a call takes up to seconds: fewer of them say as much."""

WARM, FEW_WARM = 8, 1
ROUNDS, FEW_ROUNDS = 9, 5
REPEATS, FEW_REPEATS = 5, 1


def shifted(qubits: int) -> list[qml.tape.QuantumScript]:
    """The circuits of a gradient by the parameter-shift rule, two for each angle, as PennyLane makes them."""
    angles = np.random.default_rng(0).random((LAYERS, qubits, 2))
    operations: list[qml.operation.Operator] = []
    for layer in angles:
        for wire in range(qubits):
            operations += [qml.RX(layer[wire, 0], wire), qml.RZ(layer[wire, 1], wire)]
        operations += [qml.CNOT([wire, (wire + 1) % qubits]) for wire in range(qubits)]
    circuit = qml.tape.QuantumScript(operations, [qml.expval(qml.Z(0) @ qml.Z(1))], shots=SHOTS)
    return list(qml.gradients.param_shift(circuit)[0])


def peer(qubits: int, circuits: list[qml.tape.QuantumScript]) -> Callable[[], object]:
    """A call of lightning.qubit by itself."""
    device = qml.device("lightning.qubit", wires=qubits)
    config = device.setup_execution_config()
    program = device.preprocess_transforms(config)

    def call() -> object:
        batch, postprocess = program(circuits)
        return postprocess(device.execute(batch, config))

    return call


def ours(spec: str, circuits: list[qml.tape.QuantumScript], warm: int) -> Callable[[], object]:
    """A call of an executor that has found out what is best for these circuits."""
    executor = qexec.executor(spec)
    for _ in range(2):
        executor.run(circuits)
    if isinstance(executor, JaxExecutor):
        executor.wait()
    for _ in range(warm):
        executor.run(circuits)
    return lambda: executor.run(circuits)


def of_size(qubits: int) -> Iterator[Answer]:
    """How much faster the best executor is for this many qubits."""
    circuits, few = shifted(qubits), qubits >= MANY_QUBITS
    calls = {"peer": peer(qubits, circuits)}
    calls |= {spec: ours(spec, circuits, FEW_WARM if few else WARM) for spec in EXECUTORS if is_there(spec)}
    calls["grouping"] = partial(fuse, circuits)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(FEW_ROUNDS if few else ROUNDS):
        for name, call in calls.items():
            taken[name].append(min(seconds(call) for _ in range(FEW_REPEATS if few else REPEATS)))
    times = {name: np.array(values) for name, values in taken.items()}
    best = min((name for name in times if name in EXECUTORS), key=lambda name: float(np.median(times[name])))
    beside = ", ".join(f"{name} {1e3 * np.median(values):.3g} ms" for name, values in times.items())
    question = f"{len(circuits)} circuits of {qubits} qubits: {best}"
    yield Answer.of(question, times["peer"] / times[best], "times as fast", at_least=GOALS[qubits], beside=beside)
    each = 1e6 * times["grouping"] / len(circuits)
    yield Answer.of(f"grouping {len(circuits)} circuits of {qubits} qubits, each", each, "us", at_most=20)
    if best == "jax":
        grouped = times["peer"] / (times[best] - times["grouping"])
        yield Answer.of(f"{question}, grouped already", grouped, "times as fast")


def is_there(spec: str) -> bool:
    """Whether an executor can be used here."""
    try:
        qexec.executor(spec).close()
    except (qexec.ConfigurationError, ImportError) as error:
        print(f"without {spec}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("Shifted circuits of a gradient, against lightning.qubit", *[lambda n=n: of_size(n) for n in GOALS])
