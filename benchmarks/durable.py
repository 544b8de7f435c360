"""What does a durable run cost?

A step of a VQE on ``lightning.qubit`` and on ``"jax"``: the gradient of an energy of 12 terms with 24 parameters on 6
qubits, in a durable run, and in one with a cache, beside the same step in none; and how fast recorded circuits are
answered.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds

import pennylane_qexec as qexec

QUBITS, LAYERS, ROUNDS, SHOTS, WARM = 6, 2, 15, 1000, 4
ENERGY = qml.Hamiltonian(
    np.linspace(0.1, 1.2, 2 * QUBITS),
    [qml.Z(wire) @ qml.Z((wire + 1) % QUBITS) for wire in range(QUBITS)] + [qml.X(wire) for wire in range(QUBITS)],
)


def gradient(cluster: qexec.QCluster, method: str, shots: int | None) -> Callable[[Any], Any]:
    """The gradient of the energy, computed on a cluster."""

    @qml.set_shots(shots)
    @qml.qnode(qexec.ClusterDevice(QUBITS, cluster=cluster), diff_method=method)
    def energy(angles: Any) -> Any:
        for layer in angles:
            for wire in range(QUBITS):
                qml.RY(layer[wire, 0], wire)
                qml.RZ(layer[wire, 1], wire)
            for wire in range(QUBITS - 1):
                qml.CNOT([wire, wire + 1])
        return qml.expval(ENERGY)

    return qml.grad(energy)


def overheads() -> Iterator[Answer]:
    """A step in a durable run, beside one in none."""
    cases = [
        ("parameter-shift", None, {None: 1.05, "shots": 1.1}),
        ("parameter-shift", SHOTS, {None: 1.05, "shots": 1.1}),
        ("adjoint", None, {None: 1.1, "shots": 1.2}),
    ]
    for method, shots, goals in cases:
        for cache, goal in goals.items():
            times = _times("lightning.qubit", method, shots, cache)
            what = "store and cache" if cache else "store"
            question = f"a step by {method}, {shots or 'no'} shots, {what}"
            beside = f"without, lightning.qubit: {1e3 * np.median(times[:, 0]):.3g} ms"
            yield Answer.of(question, times[:, 1] / times[:, 0], "times as long", at_most=goal, beside=beside)
    times = 1e3 * _times("jax", "parameter-shift", SHOTS, None)
    beside = f"without: {np.median(times[:, 0]):.3g} ms"
    question = f"added to a step on jax, {SHOTS} shots, store"
    yield Answer.of(question, times[:, 1] - times[:, 0], "ms", at_most=0.6, beside=beside)


def _times(spec: str, method: str, shots: int | None, cache: str | None) -> np.ndarray:
    fresh = iter(np.random.default_rng(0).uniform(-3, 3, (10_000, LAYERS, QUBITS, 2)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = {"url": str(folder / "cache.db"), "shots": True} if cache else None
        clusters = [stack.enter_context(qexec.QCluster([spec], cache=given)) for given in (None, options)]
        plain, recorded = (gradient(cluster, method, shots) for cluster in clusters)

        def step(function: Callable[[Any], Any]) -> float:
            angles = qml.numpy.array(next(fresh), requires_grad=True)
            return seconds(lambda: function(angles))

        for function, cluster in WARM * list(zip((plain, recorded), clusters, strict=True)):
            step(function)
            if isinstance(cluster.executors[0], qexec.JaxExecutor):
                cluster.executors[0].wait()
        times = []
        for number in range(ROUNDS):
            alone = step(plain)
            with qexec.durable_run(f"vqe-{number}", folder / "runs.db"):
                step(recorded)
                times.append((alone, step(recorded)))
        return np.array(times)


def replays() -> Iterator[Answer]:
    """A step that is answered from the store, beside one that is run."""
    angles = qml.numpy.array(np.ones((LAYERS, QUBITS, 2)), requires_grad=True)
    times = []
    with tempfile.TemporaryDirectory() as folder, qexec.QCluster(["lightning.qubit"]) as cluster:
        function = gradient(cluster, "parameter-shift", SHOTS)
        for number in range(ROUNDS):
            both = []
            for _ in ("run", "answered"):
                with qexec.durable_run(f"vqe-{number}", Path(folder) / "runs.db"):
                    both.append(seconds(lambda: function(angles)))
            times.append(both)
    ratios = np.divide(*np.array(times).T)
    yield Answer.of(f"a step of {SHOTS} shots, recorded", ratios, "times as fast", beside="run")


if __name__ == "__main__":
    answer("What does a durable run cost", overheads, replays)
