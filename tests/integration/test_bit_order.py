"""One circuit in five languages: each language's own keys, and the same ones for all who ask for an order.

Qubit 0 is 1, qubit 1 is 0 or 1, qubit 2 is 0. Register (or key) ``a`` has qubits 2 and 0, register ``b`` qubit 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import cirq
import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit_aer import AerSimulator

import pennylane_qexec as qexec
from pennylane_qexec.circuits import frameworks

ANGLE = 0.9
SHOTS = 4000

TWO = f"""OPENQASM 2.0;
include "qelib1.inc";
qreg q[3];
creg a[2];
creg b[1];
x q[0];
ry({ANGLE}) q[1];
measure q[2] -> a[0];
measure q[0] -> a[1];
measure q[1] -> b[0];
"""

THREE = f"""OPENQASM 3.0;
include "stdgates.inc";
qubit[3] q;
bit[2] a;
bit[1] b;
x q[0];
ry({ANGLE}) q[1];
a[0] = measure q[2];
a[1] = measure q[0];
b[0] = measure q[1];
"""


def in_pennylane() -> QuantumScript:
    return QuantumScript([qml.X(0), qml.RY(ANGLE, 1)], [qml.counts(wires=[2, 0, 1])])


def in_qiskit() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(1, "b"))
    circuit.x(0)
    circuit.ry(ANGLE, 1)
    circuit.measure([2, 0, 1], [0, 1, 2])
    return circuit


def in_cirq() -> cirq.Circuit:
    first, second, third = cirq.LineQubit.range(3)
    gates = [cirq.X(first), cirq.ry(ANGLE)(second)]
    return cirq.Circuit(gates, cirq.measure(third, first, key="a"), cirq.measure(second, key="b"))


def by_pennylane(circuit: QuantumScript) -> dict[str, int]:
    (counts,) = qml.execute([circuit.copy(shots=SHOTS)], qml.device("default.qubit", seed=1))
    return {str(key): int(times) for key, times in counts.items()}


def by_aer(circuit: QuantumCircuit, shots: int = SHOTS) -> dict[str, int]:
    return dict(AerSimulator(seed_simulator=1).run(circuit, shots=shots).result().get_counts())


def by_cirq(circuit: cirq.Circuit) -> dict[str, int]:
    measured = cirq.Simulator(seed=1).run(circuit, repetitions=SHOTS).measurements
    rows = np.concatenate([measured[key] for key in ("a", "b")], axis=1)
    return dict(Counter("".join(map(str, row)) for row in rows))


def through_qiskit(text: str) -> dict[str, int]:
    return by_aer(QuantumCircuit.from_qasm_str(text) if text is TWO else _qiskits_own(text))


def _qiskits_own(text: str) -> QuantumCircuit:
    from qiskit import qasm3

    return qasm3.loads(text)


LANGUAGES: dict[str, tuple[Callable[[], Any], Callable[[Any], dict[str, int]]]] = {
    "pennylane": (in_pennylane, by_pennylane),
    "qiskit": (in_qiskit, by_aer),
    "cirq": (in_cirq, by_cirq),
    "openqasm2": (lambda: TWO, through_qiskit),
    "openqasm3": (lambda: THREE, through_qiskit),
}


def counted(circuit: Any, executor: str, order: Any, shots: int = SHOTS) -> dict[str, int]:
    program = frameworks.read(circuit)
    assert program.bits is not None
    (counts,) = qexec.executor(executor, seed=2).run([program.circuit.copy(shots=shots)])
    return program.bits.write(counts, order)


@pytest.mark.parametrize("executor", ["aer", "default.qubit"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_outcomes_are_written_as_the_language_writes_them(language: str, executor: str) -> None:
    """The rarer outcome comes as often as with the language's own simulator, to five sigma of their difference."""
    make, own = LANGUAGES[language]
    wanted, found = own(make()), counted(make(), executor, "native")
    assert set(found) == set(wanted) == ({"0 10", "1 10"} if own in (by_aer, through_qiskit) else {"010", "011"})
    rarer = min(wanted, key=lambda key: wanted[key])
    assert abs(found[rarer] - wanted[rarer]) < 5 * np.sqrt(2 * SHOTS * 0.19 * 0.81)


@pytest.mark.parametrize(("order", "keys"), [("little", {"010", "110"}), ("big", {"010", "011"})])
@pytest.mark.parametrize("language", LANGUAGES)
def test_an_order_is_the_same_in_every_language(language: str, order: str, keys: set[str]) -> None:
    assert set(counted(LANGUAGES[language][0](), "aer", order)) == keys


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_has_been_text_is_written_the_same(language: str) -> None:
    circuit = LANGUAGES[language][0]()
    again = frameworks.from_text(*frameworks.to_text(circuit))
    for order in ("native", "little", "big"):
        assert set(counted(again, "aer", order)) == set(counted(circuit, "aer", order))


@pytest.mark.parametrize("executor", ["aer", "default.qubit", "lightning.qubit"])
def test_measurements_in_the_middle_count_alike_on_every_executor(executor: str) -> None:
    """Each of three outcomes comes as often as Aer says, to five sigma of the difference of two estimates."""
    circuit = QuantumCircuit(QuantumRegister(2, "q"), ClassicalRegister(1, "a"), ClassicalRegister(2, "b"))
    circuit.ry(ANGLE, 0)
    circuit.measure(0, 1)
    circuit.reset(0)
    with circuit.if_test((circuit.cregs[1], 1)):
        circuit.ry(1.5, 1)
    circuit.x(0)
    circuit.measure([0, 1], [0, 2])
    wanted, found = by_aer(circuit, 500), counted(circuit, executor, "native", 500)
    assert set(found) == set(wanted) == {"00 1", "01 1", "11 1"}
    for key, times in wanted.items():
        assert abs(found[key] - times) < 5 * np.sqrt(2 * times * (1 - times / 500))


def test_circuits_that_qbraid_converts_have_bit_0_last() -> None:
    import openqasm3

    circuit = openqasm3.parse(THREE)
    assert frameworks.read(circuit).framework == "openqasm3"
    again = frameworks.from_text(*frameworks.to_text(circuit))
    for one in (circuit, again):
        assert set(counted(one, "aer", "little")) == {"010", "110"}
        assert set(counted(one, "aer", "native")) == {"0 10", "1 10"}
