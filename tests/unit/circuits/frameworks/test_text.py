"""Circuits become text and come back: what they do, and how their outcomes are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cirq
import numpy as np
import pennylane as qml
import pytest
from exactly import probabilities
from pennylane.tape import QuantumScript
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit
from qiskit.circuit.classical import expr

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError


def of_qiskit() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(3, "b"))
    circuit.x(0)
    circuit.ry(0.7, 1)
    circuit.crx(0.1234567890123, 1, 2)
    circuit.measure([2, 0, 1], [0, 3, 1])
    return circuit


def with_a_matrix() -> QuantumCircuit:
    circuit = of_qiskit()
    circuit.unitary(np.array([[0.6, -0.8], [0.8, 0.6]]), [2])
    circuit.measure(2, 2)
    return circuit


def with_a_condition() -> QuantumCircuit:
    circuit = of_qiskit()
    with circuit.if_test((circuit.cregs[0], 2)) as otherwise:
        circuit.x(2)
    with otherwise:
        circuit.ry(0.3, 2)
    circuit.measure(2, 4)
    return circuit


def with_a_condition_that_texts_do_not_know() -> QuantumCircuit:
    circuit = of_qiskit()
    with circuit.if_test(expr.less(circuit.cregs[1], 3)):
        circuit.ry(0.3, 2)
    circuit.measure(2, 4)
    return circuit


def with_bits_without_registers() -> QuantumCircuit:
    circuit = QuantumCircuit([Clbit(), Clbit()], QuantumRegister(2), ClassicalRegister(2, "c"), [Clbit()])
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ry(0.3, 1)
    circuit.measure(1, 4)
    return circuit


def of_cirq() -> cirq.Circuit:
    first, second, third = cirq.NamedQubit.range(3, prefix="q ")
    return cirq.Circuit(
        cirq.X(third),
        cirq.ry(0.7)(second),
        cirq.CX(second, first) ** 0.3,
        cirq.measure(third, first, key="z", invert_mask=(False, True)),
        cirq.measure(second, key="a"),
    )


def of_cirq_with_a_condition() -> cirq.Circuit:
    first, second = cirq.LineQubit.range(2)
    return cirq.Circuit(
        cirq.ry(0.7)(first),
        cirq.measure(first, key="z"),
        cirq.X(second).with_classical_controls("z"),
        cirq.measure(first, second, key="a"),
    )


def of_pennylane() -> QuantumScript:
    gates = [qml.X("b"), qml.Rot(0.1, 0.2, 0.3, "a"), qml.IsingXY(0.7, ["a", "c"]), qml.QFT(["a", "b"])]
    return QuantumScript(gates, [qml.counts(wires=["c", "b", "a"])])


def of_pennylane_with_a_condition() -> QuantumScript:
    def circuit() -> Any:
        qml.RY(0.7, 0)
        measured = qml.measure(0, reset=True)
        qml.cond(measured, qml.RX)(0.4, 1)
        return qml.counts([qml.measure(1), measured])

    return qml.tape.make_qscript(circuit)()


CIRCUITS = [
    *(of_qiskit, with_a_matrix, with_a_condition, with_a_condition_that_texts_do_not_know),
    *(with_bits_without_registers, of_cirq, of_cirq_with_a_condition),
    *(of_pennylane, of_pennylane_with_a_condition),
]


@pytest.mark.parametrize("make", CIRCUITS, ids=lambda make: make.__name__)
def test_what_comes_back_does_the_same_and_is_written_the_same(make: Callable[[], Any]) -> None:
    original = frameworks.read(make())
    text, framework = frameworks.to_text(make())
    circuit = frameworks.from_text(text, framework)
    again = frameworks.read(circuit)
    assert again.framework == framework == original.framework
    for order in ("native", "little", "big"):
        assert probabilities(again, order) == pytest.approx(probabilities(original, order), abs=1e-9)
    assert frameworks.to_text(circuit)[1] == framework


@pytest.mark.parametrize(("make", "version"), [(of_qiskit, 2), (of_cirq, 2), (of_pennylane, 2), (with_a_condition, 3)])
def test_version_3_is_for_what_version_2_cannot_say(make: Callable[[], Any], version: int) -> None:
    assert frameworks.to_text(make())[0].lstrip().startswith(f"OPENQASM {version}.")


def test_text_is_kept_as_it_is(tmp_path: Path) -> None:
    text = 'OPENQASM 2.0;\n\ninclude "qelib1.inc";\nqreg q[1]; x q[0]; // once\n'
    path = tmp_path / "x.qasm"
    path.write_text(text)
    assert frameworks.to_text(text) == frameworks.to_text(path) == (text, "openqasm2")
    assert frameworks.from_text(text, "openqasm2") == text


def expectation() -> QuantumScript:
    return QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])


def postselection() -> QuantumScript:
    def circuit() -> Any:
        return qml.counts([qml.measure(0, postselect=0)])

    return qml.tape.make_qscript(circuit)()


REFUSED = [(expectation, r"expval\(Z\(0\)\)"), (postselection, "postselects")]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=lambda one: getattr(one, "__name__", None))
def test_what_openqasm_cannot_say_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        frameworks.to_text(make())


def test_text_that_is_no_openqasm_does_not_come_back() -> None:
    with pytest.raises(ConfigurationError, match="no circuit"):
        frameworks.from_text("x q[0]", "cirq")


def test_no_files_are_read_for_a_text_that_somebody_saved(tmp_path: Path) -> None:
    (tmp_path / "own.inc").write_text("gate spread a, b { CX a, b; }\n")
    includes = (
        f'include "{tmp_path}/own.inc"; qreg q[2]; creg c[2]; U(pi,0,pi) q[0]; spread q[0], q[1]; measure q -> c;'
    )
    with pytest.raises(ConfigurationError, match=r"own\.inc.*no file is read"):
        frameworks.from_text(f"OPENQASM 2.0; {includes}", "openqasm2")


def test_what_a_file_includes_is_written_into_its_saved_form(tmp_path: Path) -> None:
    (tmp_path / "own.inc").write_text("gate spread a, b { CX a, b; }\n")
    gates = "qreg q[2]; creg c[2]; U(pi,0,pi) q[0]; spread q[0], q[1]; measure q -> c;"
    (tmp_path / "circuit.qasm").write_text(f'OPENQASM 2.0;\ninclude "own.inc";\n{gates}')
    again = frameworks.from_text(*frameworks.to_text(tmp_path / "circuit.qasm"))
    assert probabilities(frameworks.read(again)) == pytest.approx({"11": 1.0})
