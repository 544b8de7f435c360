"""Parametrised circuits of Qiskit with tables of values: each row says what the bound circuit says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exactly import probabilities
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import (
    CUGate,
    PauliEvolutionGate,
    PhaseGate,
    RGate,
    RXXGate,
    RYGate,
    RZGate,
    RZXGate,
    UGate,
    XXPlusYYGate,
    efficient_su2,
)
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.quantum_info import SparsePauliOp

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.frameworks import reading, tables
from pennylane_qexec.errors import ConfigurationError

A, B, C = Parameter("a"), Parameter("b"), Parameter("c")
GATES = [
    RYGate(A),
    UGate(A, B, 0.3),
    RGate(A, B),
    RXXGate(A * B),
    RZXGate(A),
    CUGate(A, B, C, 0.2),
    PhaseGate(A).control(2, ctrl_state=1),
    RZGate(2 * A - B / 3).control(1),
    UGate(A, B, C).control(1),
    XXPlusYYGate(A, B),
    PauliEvolutionGate(SparsePauliOp(["XY", "ZZ"], [0.5, 1.5]), time=A),
]


def of_one(gate: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(gate.num_qubits, name="one")
    circuit.h(range(gate.num_qubits))
    circuit.append(gate, range(gate.num_qubits))
    circuit.ry(0.4, range(gate.num_qubits))
    return circuit


def conditional() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.rx(A, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(B, 1)
    circuit.measure(1, 1)
    return circuit


def looped() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(3)) as turn:
        circuit.rx(turn * A, 0)
    return circuit


def within_a_gate() -> QuantumCircuit:
    inner = QuantumCircuit(2, name="inner")
    inner.ry(A, 0)
    inner.crx(A + B, 0, 1)
    circuit = QuantumCircuit(2)
    circuit.append(inner.to_gate(), [1, 0])
    return circuit


def rows_of(circuit: QuantumCircuit, values: Any) -> list[Any]:
    table = frameworks.table_of((circuit, values))
    assert table is not None
    return table.rows()


@pytest.mark.parametrize(
    "circuit",
    [*map(of_one, GATES), conditional(), looped(), within_a_gate(), efficient_su2(2, reps=1)],
    ids=[*[gate.name for gate in GATES], "conditional", "looped", "within a gate", "ansatz"],
)
def test_a_row_says_what_the_circuit_with_its_values_says(circuit: QuantumCircuit) -> None:
    table = frameworks.table_of((circuit, np.ones((1, len(set(circuit.parameters) - {*loops(circuit)})))))
    assert table is not None
    values = np.random.default_rng(3).uniform(-3, 3, (3, len(table.parameters)))
    for row, (bound, program) in zip(values, rows_of(circuit, values), strict=True):
        alone = frameworks.read(circuit.assign_parameters(dict(zip(table.parameters, row, strict=True))))
        assert program.bits == alone.bits == frameworks.read(bound).bits
        assert probabilities(program) == pytest.approx(probabilities(alone), abs=1e-12)


def loops(circuit: QuantumCircuit) -> list[Any]:
    return [item.operation.params[1] for item in circuit.data if item.name == "for_loop"]


def test_a_template_is_read_once_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(circuit: Any) -> Any:
        raise AssertionError("a row was read by itself")

    monkeypatch.setattr(tables, "read", read)
    found = rows_of(of_one(UGate(A, B, C)), np.ones((50, 3)))
    assert len(found) == 50


def test_rows_are_named_by_their_number() -> None:
    found = rows_of(of_one(RYGate(A)), [[0.1], [0.2]])
    assert [circuit.name for circuit, _ in found] == ["one[0]", "one[1]"] == [program.name for _, program in found]


def test_values_are_in_the_order_of_the_parameters_or_by_name_parameter_vector_and_tuple() -> None:
    vector = ParameterVector("v", 2)
    circuit = QuantumCircuit(1)
    circuit.u(*vector, A, 0)
    wanted = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    given: list[Any] = [
        wanted,
        wanted.tolist(),
        {"a": wanted[:, 0], "v[0]": wanted[:, 1], "v[1]": wanted[:, 2]},
        {vector: wanted[:, 1:], A: wanted[:, 0]},
        {(A, "v[0]"): wanted[:, :2], vector[1]: wanted[:, 2:]},
        BindingsArray({A: wanted[:, 0], tuple(vector): wanted[:, 1:]}),
    ]
    for values in given:
        table = frameworks.table_of((circuit, values))
        assert table is not None
        assert table.values.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, 2.0], r"shape \(2,\): give an array \(R, 2\)"),
        ([[1.0]], r"shape \(1, 1\): .*'a', 'b'"),
        (np.empty((0, 2)), r"shape \(0, 2\)"),
        (0.5, r"shape \(\)"),
        ([[1.0, 2.0], [3.0]], "rows of equal length"),
        ([["1", "2"]], "must be finite real numbers"),
        ([[1.0, 2.0j]], "must be finite real numbers"),
        ([[1.0, np.nan]], "must be finite real numbers"),
        ([[True, False]], "must be finite real numbers"),
        ({"a": [1.0]}, "no values for 'b'"),
        ({"a": [1.0], "b": [1.0], "z": [1.0]}, "no parameter 'z', for which values are given: it has 'a', 'b'"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "1 and 2 values: give as many for each"),
        ({"a": 1.0, "b": [1.0]}, r"values of 'a' of circuit 'two' have the shape \(\): give R values"),
        ({("a", "b"): [1.0, 2.0]}, r"shape \(2,\): give an array \(R, 2\)"),
        ({"a": [1.0], A: [2.0], "b": [1.0]}, "'a' of circuit 'two' are given twice"),
        ({"a": ["x"], "b": [1.0]}, "values of 'a' of circuit 'two' must be finite real numbers"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_what_is_wrong(values: Any, words: str) -> None:
    circuit = QuantumCircuit(1, name="two")
    circuit.u(A, B, 0, 0)
    with pytest.raises(ConfigurationError, match=words):
        frameworks.table_of((circuit, values))


def test_values_beside_a_circuit_without_parameters_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no parameters: give the circuit alone"):
        frameworks.table_of((QuantumCircuit(1), [[1.0]]))


def test_values_that_a_gate_cannot_have_are_refused_with_their_row() -> None:
    with pytest.raises(ConfigurationError, match="values of row 1"):
        rows_of(of_one(RYGate(1 / A)), [[1.0], [0.0]])


def test_two_circuits_and_other_tuples_are_no_table() -> None:
    circuit = of_one(RYGate(A))
    others: list[Any] = [circuit, QuantumCircuit(1), "OPENQASM 3.0;", lambda: None]
    assert all(frameworks.table_of((circuit, other)) is None for other in others)
    assert frameworks.table_of([circuit, [[1.0]]]) is None
    assert frameworks.table_of((circuit, [[1.0]], 5)) is None
    assert reading.one_or_many((circuit, circuit)) == ([circuit, circuit], True)
