"""What does the noise of a machine of 127 qubits cost, for a circuit on 5 of them?

The circuit is compiled for ``fake_sherbrooke`` and run with 1000 shots. The peer is Aer with the machine's whole noise
model. The counts have to be those of IBM's ``SamplerV2`` in local mode at the same seed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds, side_by_side
from pennylane.tape import QuantumScript
from qiskit_ibm_runtime import SamplerV2

from pennylane_qexec.circuits.qiskit.noise import FakeMachine, fake_machine, fake_machines
from pennylane_qexec.circuits.qiskit.preparation import parametrised
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.executors.aer import AerExecutor

NAME, QUBITS, SHOTS, SEED = "fake_sherbrooke", 5, 1000, 7
ROUNDS = 7
CIRCUITS = 48


def circuit(angles: np.ndarray) -> QuantumScript:
    """Layers of rotations and chains of CNOT, counted."""
    operations: list[qml.operation.Operator] = []
    for layer in angles:
        for wire in range(QUBITS):
            operations += [qml.RY(layer[wire, 0], wire), qml.RZ(layer[wire, 1], wire)]
        operations += [qml.CNOT([wire, wire + 1]) for wire in range(QUBITS - 1)]
    return QuantumScript(operations, [qml.counts(wires=range(QUBITS))], shots=SHOTS)


def circuits(number: int) -> list[QuantumScript]:
    """Circuits of one structure."""
    rng = np.random.default_rng(0)
    return [circuit(rng.uniform(0, 3, (2, QUBITS, 2))) for _ in range(number)]


@cache
def machine() -> Any:
    """The fake backend, which builds its noise model when it is first run."""
    return fake_machines()[NAME]()


def compiled(batch: list[QuantumScript]) -> Any:
    """What the executor runs for a batch: the compiled circuit, and rows of its parameters."""
    (fused,) = fuse(batch)
    made = parametrised(fused.template.circuit.operations, fused.template.slots, batch[0].wires)
    fitted = FakeMachine(fake_machine(NAME), 1, 0).fitted(made.measured(batch[0].wires))
    order = [list(made.parameters).index(parameter) for parameter in fitted.parameters]
    return fitted, fused.parameters[:, order]


def first_run() -> Iterator[Answer]:
    """Everything that happens once."""
    executor = AerExecutor(NAME, seed=SEED)
    taken = seconds(lambda: executor.run(circuits(1)))
    fitted, (row,) = compiled(circuits(1))
    bound = fitted.assign_parameters(row)
    theirs = seconds(lambda: machine().run(bound, shots=SHOTS).result())
    yield Answer.of("the first run", taken, "s", beside=f"with the whole noise model: {theirs:.2f} s")


def warm_runs() -> Iterator[Answer]:
    """A run after the first, against Aer with the machine's whole noise model."""
    executor, batch = AerExecutor(NAME, seed=SEED), circuits(1)
    fitted, (row,) = compiled(batch)
    bound = fitted.assign_parameters(row)
    calls = [lambda: machine().run(bound, shots=SHOTS).result(), lambda: executor.run(batch)]
    slow, fast = side_by_side(calls, ROUNDS).T
    beside = f"with the whole noise model: {np.median(slow):.2f} s"
    yield Answer.of("a warm run", fast, "s", at_most=0.15, beside=beside)
    yield Answer.of("a warm run", slow / fast, "times as fast")
    many = circuits(CIRCUITS)
    executor.run(many)
    taken = [1e3 * seconds(lambda: executor.run(many)) / CIRCUITS for _ in range(ROUNDS)]
    yield Answer.of(f"each of {CIRCUITS} circuits together", taken, "ms")


def same_counts() -> Iterator[Answer]:
    """Whether counts are those of IBM's local testing mode."""
    batch = circuits(10)
    ours = AerExecutor(NAME, seed=SEED).run(batch)
    fitted, rows = compiled(batch)
    sampler = SamplerV2(mode=fake_machines()[NAME](), options={"simulator": {"seed_simulator": SEED}})
    (result,) = sampler.run([(fitted, rows)], shots=SHOTS).result()
    same = [ours[row] == result.data.c.get_counts(row) for row in range(len(batch))]
    yield Answer.of("circuits with SamplerV2's counts", 100 * float(np.mean(same)), "%", at_least=100)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("The noise of a machine of 127 qubits, on 5 of them", first_run, warm_runs, same_counts)
