"""What circuits are beside their numbers, and that the history puts them together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import BARE, CONTROLLED, structure_of
from pennylane_qexec.engine.records import CompactCircuit, compact


def circuit(
    angle: Any = 0.1, wire: Any = 0, measured: Any = None, shots: Any = 10, gate: Any = qml.RX
) -> QuantumScript:
    operations = [gate(angle, wire), qml.CNOT([wire, 1])]
    return QuantumScript(operations, [measured or qml.expval(qml.Z(1))], shots=shots)


@pytest.mark.parametrize("angle", [0.2, 1, np.float64(0.3), np.array(0.4)])
def test_circuits_that_differ_in_numbers_are_of_one_structure(angle: Any) -> None:
    assert structure_of(circuit(angle)) == structure_of(circuit(0.1)) is not None


@pytest.mark.parametrize(
    "other",
    [
        circuit(wire=2),
        circuit(gate=qml.RY),
        circuit(shots=None),
        circuit(shots=11),
        circuit(shots=(5, 5)),
        circuit(measured=qml.expval(qml.X(1))),
        circuit(measured=qml.var(qml.Z(1))),
        circuit(measured=qml.expval(qml.Z(1) @ qml.Z(0))),
        circuit(measured=qml.probs(wires=1)),
        QuantumScript([qml.RX(0.1, 0), qml.CNOT([1, 0])], [qml.expval(qml.Z(1))], shots=10),
    ],
)
def test_circuits_that_differ_in_anything_else_are_not(other: QuantumScript) -> None:
    assert structure_of(other) not in (structure_of(circuit()), None)


@pytest.mark.parametrize(
    "other",
    [
        circuit(np.array([0.1, 0.2])),
        circuit(qml.numpy.array([0.1], requires_grad=True)),
        circuit(measured=qml.expval(2 * qml.Z(1))),
        circuit(measured=qml.expval(qml.Hermitian(np.eye(2), 1))),
        QuantumScript([qml.QFT([0, 1])], [qml.probs()]),
        QuantumScript([qml.QubitUnitary(np.eye(2), 0)], [qml.probs()]),
    ],
)
def test_circuits_with_more_than_plain_gates_and_numbers_have_none(other: QuantumScript) -> None:
    assert structure_of(other) is None


@pytest.mark.parametrize("kind", sorted(BARE | CONTROLLED, key=lambda kind: kind.__name__))
def test_the_history_puts_every_plain_gate_together_again(kind: Any) -> None:
    wires = [f"wire {index}" for index in range(kind.num_wires or 1)]
    gate = kind(*[0.1 * index + 0.1 for index in range(kind.num_params)], wires=wires)
    measured = [qml.expval(qml.Z(wires[0]) @ qml.X("other")), qml.var(qml.Y("other")), qml.probs(wires=wires[0])]
    given = QuantumScript([gate, qml.RX(0.3, "other")], measured, shots=7)
    found = compact(given)
    assert isinstance(found, CompactCircuit)
    assert fingerprint(found.circuit()) == fingerprint(given)


def test_rows_of_one_structure_share_all_but_their_numbers() -> None:
    first = compact(circuit(0.1))
    second = compact(circuit(0.2), first)
    assert isinstance(first, CompactCircuit)
    assert isinstance(second, CompactCircuit)
    assert second.structure is first.structure
    assert (first.numbers, second.numbers) == ((0.1,), (0.2,))


def test_observables_that_are_no_words_are_kept_whole() -> None:
    hamiltonian = circuit(measured=qml.expval(qml.Hamiltonian([0.5], [qml.Z(0) @ qml.X(1)])))
    assert compact(hamiltonian) is hamiltonian
