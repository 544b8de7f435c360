"""Circuits of many kinds, printed as JSON: each by the newest Qiskit in the versions 17 and 18 of QPY."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
from ibm_quantum_schemas.common.qpy import ANNOTATION_FACTORIES
from qiskit import QuantumCircuit, qpy, transpile
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    Clbit,
    ControlModifier,
    Gate,
    InverseModifier,
    Parameter,
    ParameterVector,
    PowerModifier,
    QuantumRegister,
    Qubit,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import RXGate, RYGate, UnitaryGate, XGate
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from samplomatic import Twirl, build

P, Q = ParameterVector("p", 5), ParameterVector("q", 2)
A, B = Parameter("a"), Parameter("b")


def parametric() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3, global_phase=P[2] + A, metadata={"key": [1, "é"]})
    circuit.rx(A, 0)
    circuit.ry(P[3], 1)
    circuit.rz(P[0] * 2 + Q[1] - A / 3 + B**2, 2)
    circuit.rx((A * B).bind({A: 2.0}), 0)
    circuit.rx((A + B).subs({A: P[3]}), 1)
    circuit.rx(0.25, 0)
    circuit.rx(-3, 0)
    circuit.delay(100, 1)
    circuit.x(0, label="labelled")
    circuit.measure([0, 1, 2], [2, 0, 1])
    return circuit


def dynamic() -> QuantumCircuit:
    qubits, bits, alone = QuantumRegister(2, "qubits"), ClassicalRegister(2, "bits"), Clbit()
    circuit = QuantumCircuit(qubits, bits, [alone])
    circuit.measure(qubits, bits)
    with circuit.if_test((bits, 2)) as otherwise:
        circuit.rx(P[1] * A, 1)
    with otherwise:
        circuit.ry(B, 1)
    with circuit.if_test((alone, 1)):
        circuit.x(1)
    with circuit.while_loop(expr.less(bits, 2)):
        circuit.measure(qubits, bits)
        circuit.break_loop()
    with circuit.switch(bits) as case:
        with case(1, 3):
            circuit.y(0)
        with case(case.DEFAULT):
            circuit.rx(P[4], 0)
    with circuit.switch(bits[1]) as case, case(0):
        circuit.x(0)
    with circuit.for_loop(range(0, 6, 2), A):
        circuit.rx(A, 0)
    with circuit.for_loop((3, 1, 4)):
        circuit.z(0)
    return circuit


def variables() -> QuantumCircuit:
    number = expr.Var.new("number", types.Uint(8))
    circuit = QuantumCircuit(2, 1, inputs=[number])
    flag = circuit.add_var("flag", expr.lift(True))
    circuit.add_var("real", expr.lift(1.5))
    circuit.delay(circuit.add_stretch("stretch"), 0)
    circuit.store(flag, expr.logic_not(flag))
    with circuit.if_test(expr.less(number, 3)):
        circuit.x(0)
    return circuit


def own_gates() -> QuantumCircuit:
    inner = QuantumCircuit(2, name="inner")
    inner.rx(P[0], 0)
    inner.rzz(0.5, 0, 1)
    measured = QuantumCircuit(1, 1, name="measured")
    measured.measure(0, 0)
    circuit = QuantumCircuit(4, 1)
    circuit.append(inner.to_gate(), [0, 1])
    circuit.append(inner.to_gate().control(2), [0, 1, 2, 3])
    circuit.append(XGate().control(3, ctrl_state=5), [0, 1, 2, 3])
    circuit.append(RXGate(A).control(2, ctrl_state=1), [0, 1, 2])
    circuit.append(UnitaryGate(np.eye(2)), [0])
    circuit.append(Gate("opaque", 1, [1, 0.5, A]), [0])
    circuit.append(measured.to_instruction(), [0], [0])
    circuit.append(AnnotatedOperation(RYGate(P[1]), [InverseModifier(), ControlModifier(1), PowerModifier(2)]), [0, 1])
    circuit.initialize([1, 0], 1)
    return circuit


def boxes() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    with circuit.box([Twirl()]):
        circuit.rx(P[0], 0)
        circuit.cz(0, 1)
    with circuit.box([Twirl(dressing="right")], label="labelled"):
        circuit.noop(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    return circuit


def transpiled() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.rx(A, 0)
    circuit.measure_all()
    return transpile(circuit, FakeManilaV2(), seed_transpiler=1, initial_layout=[4, 2])


def written(circuits: list[QuantumCircuit], version: int) -> str:
    with io.BytesIO() as file:
        qpy.dump(circuits, file, version=version, annotation_factories=ANNOTATION_FACTORIES)
        return base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    circuits = [parametric(), dynamic(), variables(), own_gates(), boxes(), build(boxes())[0], transpiled()]
    circuits.append(QuantumCircuit([Qubit()], [Clbit()]))
    print(json.dumps([written(circuits, version) for version in (17, 18)]))
