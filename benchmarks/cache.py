"""What does a cache save, and what does it cost?

The gradient of a VQE by parameter-shift, run and answered; a cluster with a cache that finds nothing beside one
without; and each circuit by itself, of 6 qubits and 36 gates.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds, side_by_side
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job

QUBITS, MANY_QUBITS, LAYERS, CIRCUITS, ROUNDS = 6, 14, 3, 100, 15
EXECUTOR = "lightning.qubit"


def ansatz(angles: Any) -> None:
    """Layers of rotations and a ring of CNOTs: 36 gates on 6 qubits."""
    for layer in angles:
        for wire, angle in enumerate(layer):
            qml.RY(angle, wire)
        for wire in range(len(layer)):
            qml.CNOT([wire, (wire + 1) % len(layer)])


def circuit(number: int) -> QuantumScript:
    """A circuit that is unlike any of another number."""
    angles = np.random.default_rng(number).uniform(-3, 3, (LAYERS, QUBITS))
    return QuantumScript(qml.tape.make_qscript(ansatz)(angles).operations, [qml.expval(qml.Z(0) @ qml.Z(1))])


def gradient(cluster: qexec.QCluster, qubits: int) -> Callable[[Any], Any]:
    """The gradient of an energy, computed on a cluster."""

    @qml.qnode(qexec.ClusterDevice(qubits, cluster=cluster), diff_method="parameter-shift")
    def energy(angles: Any) -> Any:
        ansatz(angles)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    return qml.grad(energy)


def trainable(angles: np.ndarray) -> Any:
    """Angles by which a gradient is taken."""
    return qml.numpy.array(angles, requires_grad=True)


def answered() -> Iterator[Answer]:
    """A gradient that is known, beside one that is run."""
    for qubits in (QUBITS, MANY_QUBITS):
        with tempfile.TemporaryDirectory() as folder:
            cached, plain = (qexec.QCluster([EXECUTOR], cache=cache) for cache in (Path(folder) / "cache.db", None))
            with cached, plain:
                known, run = gradient(cached, qubits), gradient(plain, qubits)
                angles = trainable(np.ones((LAYERS, qubits)))
                times = side_by_side([lambda: run(angles), lambda: known(angles)], ROUNDS)  # noqa: B023
            ratios = times[:, 0] / times[:, 1]
            yield Answer.of(f"gradient of a VQE, {qubits} qubits, known", ratios, "times as fast", beside="run")


def unknown() -> Iterator[Answer]:
    """A gradient that is not known, with a cache and without."""
    with tempfile.TemporaryDirectory() as folder:
        cached, plain = (qexec.QCluster([EXECUTOR], cache=cache) for cache in (Path(folder) / "cache.db", None))
        with cached, plain:
            fresh = map(trainable, np.random.default_rng(1).uniform(-3, 3, (10_000, LAYERS, QUBITS)))
            run, run_cached = gradient(plain, QUBITS), gradient(cached, QUBITS)
            times = side_by_side([lambda: run(next(fresh)), lambda: run_cached(next(fresh))], ROUNDS)
    ratios = times[:, 1] / times[:, 0]
    yield Answer.of("gradient of a VQE, not known", ratios, "times as long", at_most=1.2, beside="no cache")


def circuits() -> Iterator[Answer]:
    """Circuits that are known from memory, from the store, and not at all."""
    with tempfile.TemporaryDirectory() as folder:
        path, numbers = Path(folder) / "cache.db", iter(range(10**6))
        from_store: list[float] = []
        for _ in range(5):
            with qexec.QCluster([EXECUTOR], cache=path) as filling:
                jobs = [Job(circuit(next(numbers)), filling.executors[0]) for _ in range(CIRCUITS)]
                filling.run(jobs)
            with qexec.QCluster([EXECUTOR], cache=path) as reading:
                again = [Job(job.circuit, reading.executors[0]) for job in jobs]
                from_store.append(1e6 * seconds(lambda: reading.run(again)) / CIRCUITS)  # noqa: B023
        yield Answer.of("known from the store", from_store, "us per circuit")
        cached, plain = (qexec.QCluster([EXECUTOR], cache=cache) for cache in (path, None))
        with cached, plain:
            known = [Job(job.circuit, cached.executors[0]) for job in jobs]
            times = side_by_side([lambda: cached.run(known)], ROUNDS)
            yield Answer.of("known from memory", 1e6 * times[:, 0] / CIRCUITS, "us per circuit", at_most=100)
            spent = []
            for turn in range(2 * ROUNDS):
                new = [circuit(next(numbers)) for _ in range(CIRCUITS)]
                pair = [cached, plain][:: 1 if turn % 2 else -1]  # the first prepares operations for the second
                took = {one: seconds(lambda: one.run([Job(c, one.executors[0]) for c in new])) for one in pair}  # noqa: B023
                spent.append(took[cached] - took[plain])
            more = 1e6 * np.add(spent[::2], spent[1::2]) / 2 / CIRCUITS
            yield Answer.of("not known: what the cache adds", more, "us per circuit", at_most=100, beside="no cache")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    answer("What a cache saves, and what it costs", answered, unknown, circuits)
