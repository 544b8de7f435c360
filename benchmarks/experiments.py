"""What does an experiment cost over the simulators that it runs on?

A hundred circuits of 5 qubits, no two of one structure, run with 1024 shots on each of four local backends. The peer is
Aer as it is best used: for each backend, all circuits are transpiled together and run as one batch.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds, side_by_side
from qiskit import QuantumCircuit, transpile
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime import fake_provider

import pennylane_qexec as qexec
from pennylane_qexec.circuits import frameworks

QUBITS, SHOTS, CIRCUITS, ROUNDS = 5, 1024, 100, 5
FAKES = {"fake_manila": "FakeManilaV2", "fake_lagos": "FakeLagosV2", "fake_quito": "FakeQuitoV2"}
BACKENDS = {"local_aer": ["aer_simulator", *FAKES]}


def circuit(rng: np.random.Generator) -> QuantumCircuit:
    """Layers of rotations and chains of CNOT, with gates left out at random."""
    made = QuantumCircuit(QUBITS, QUBITS)
    for _ in range(4):
        for qubit in range(QUBITS):
            if rng.random() < 0.7:
                made.ry(rng.uniform(0, 3), qubit)
            if rng.random() < 0.7:
                made.rz(rng.uniform(0, 3), qubit)
        for qubit in range(QUBITS - 1):
            if rng.random() < 0.7:
                made.cx(qubit, qubit + 1)
    made.measure(range(QUBITS), range(QUBITS))
    return made


def circuits(seed: int = 0) -> list[QuantumCircuit]:
    """Circuits, no two of one structure."""
    rng = np.random.default_rng(seed)
    return [circuit(rng) for _ in range(CIRCUITS)]


def simulators() -> list[AerSimulator]:
    """The peer's simulators."""
    noisy = [AerSimulator.from_backend(getattr(fake_provider, name)()) for name in FAKES.values()]
    return [AerSimulator(), *noisy]


def batched(chosen: list[AerSimulator], batch: list[QuantumCircuit]) -> None:
    """Each simulator runs all circuits in one batch."""
    for simulator in chosen:
        simulator.run(transpile(batch, simulator), shots=SHOTS).result().get_counts()


def experiment(executor: qexec.QuantumExecutor, batch: list[QuantumCircuit]) -> None:
    """All circuits on all backends."""
    executor.run_experiment(batch, SHOTS, BACKENDS, "multiplier").get_results()


def against_batches() -> Iterator[Answer]:
    """An experiment against one batch for each backend."""
    batch, warm, chosen = circuits(), qexec.QuantumExecutor(), simulators()
    calls = [
        lambda: batched(simulators(), batch),
        lambda: experiment(qexec.QuantumExecutor(), batch),
        lambda: batched(chosen, batch),
        lambda: experiment(warm, batch),
    ]
    theirs, ours, theirs_again, ours_again = side_by_side(calls, ROUNDS).T
    beside = f"one batched Aer run per backend: {np.median(theirs):.2f} s"
    yield Answer.of("100 circuits on 4 backends, everything built anew", ours, "s", beside=beside)
    yield Answer.of("the same, over batched Aer runs", ours / theirs, "times as long", at_most=1.3)
    beside = "the same circuits again, on both sides"
    yield Answer.of("the same, once built", ours_again / theirs_again, "times as long", at_most=1.3, beside=beside)


def without_waiting() -> Iterator[Answer]:
    """How long ``wait=False`` takes to return."""
    executor, batch = qexec.QuantumExecutor(), circuits()[:1]
    taken = []
    for _ in range(50):
        taken.append(1e3 * seconds(lambda: executor.run_experiment(batch, SHOTS, BACKENDS, "uniform", wait=False)))
        assert executor.last_collector is not None
        executor.last_collector.wait()
    yield Answer.of("run_experiment(wait=False) of one circuit on 4 backends", taken, "ms", at_most=50)
    many = circuits(1)
    taken = []
    for _ in range(9):
        taken.append(1e3 * seconds(lambda: executor.run_experiment(many, SHOTS, BACKENDS, "uniform", wait=False)))
        executor.last_collector.wait()
    yield Answer.of("the same for 100 circuits", taken, "ms")


def reading() -> Iterator[Answer]:
    """How long it takes to read a circuit of Qiskit's, against PennyLane's own way."""
    batch = circuits(2)
    bare = [one.remove_final_measurements(inplace=False) for one in batch]
    calls = [
        lambda: [qml.tape.make_qscript(qml.from_qiskit(one))() for one in bare],
        lambda: [frameworks.read(one) for one in batch],
    ]
    theirs, ours = side_by_side(calls, ROUNDS).T
    beside = (
        f"{1e3 * np.median(ours) / CIRCUITS:.2f} ms; qml.from_qiskit, which leaves out what is measured, is the peer"
    )
    yield Answer.of("reading a circuit of Qiskit's, of about 40 gates", theirs / ours, "times as fast", beside=beside)


def every_backend() -> Iterator[Answer]:
    """Three circuits on everything that simulates here."""
    for processes in (False, True):
        executor = qexec.QuantumExecutor()
        backends = executor.virtual_provider.get_backends(online=True)
        number = sum(map(len, backends.values()))
        batch = circuits(3)[:3]

        def run(executor=executor, backends=backends, batch=batch, processes=processes) -> None:
            executor.run_experiment(batch, SHOTS, backends, "multiplier", multiprocess=processes)

        where = " in worker processes, these started too" if processes else ""
        yield Answer.of(f"three circuits on all {number} local backends{where}", seconds(run), "s")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("Experiments over several backends", against_batches, without_waiting, reading, every_backend)
