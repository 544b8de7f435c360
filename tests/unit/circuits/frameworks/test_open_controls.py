"""Open controls of gates, which older versions of Qiskit lose in files, are neither lost nor taken for closed ones."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import AnnotatedOperation, InverseModifier
from qiskit.circuit.library import MCPhaseGate, MCXGate
from qiskit.quantum_info import Operator

from pennylane_qexec.circuits.frameworks import read
from pennylane_qexec.circuits.mid_circuit import dynamic_part
from pennylane_qexec.circuits.qiskit import open_controls
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer.dynamic import loaded
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.circuit_sizes import check_qpy
from pennylane_qexec.server.programs.tasks import ProgramError

OPEN = MCXGate(3, ctrl_state=3)


def of_a_definition() -> QuantumCircuit:
    inner = QuantumCircuit(4, name="inner")
    inner.append(OPEN, range(4))
    return inner


def in_a_loop(gate: Any) -> QuantumCircuit:
    circuit = QuantumCircuit(4, 1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.append(gate, [2, 0, 3, 1])
        circuit.measure(0, 0)
    return circuit


def file_of(gate: Any) -> bytes:
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits))
    file = io.BytesIO()
    qpy.dump(circuit, file)
    return file.getvalue()


@pytest.mark.parametrize("gate", [OPEN, of_a_definition().to_gate(), of_a_definition().to_instruction()])
def test_open_controls_in_a_loop_stay_open(gate: Any) -> None:
    program = read(in_a_loop(gate))
    part = dynamic_part(program.circuit)
    assert part is not None
    (kept,) = qpy.load(io.BytesIO(part.hyperparameters["qpy"]))
    body = kept.data[0].operation.blocks[0]
    unitary = QuantumCircuit(4)
    for item in body.data[:-1]:
        unitary.append(item.operation, [body.find_bit(bit).index for bit in item.qubits])
    expected = QuantumCircuit(4)
    expected.append(OPEN, [2, 0, 3, 1])
    assert Operator(unitary) == Operator(expected)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the installed Qiskit were one that loses open controls, whichever it is."""
    monkeypatch.setattr(open_controls, "_loses_open_controls", lambda: True)


@pytest.mark.usefixtures("forgetful")
def test_open_controls_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="open controls inside another operation"):
        read(in_a_loop(AnnotatedOperation(OPEN, InverseModifier())))


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("gate", [OPEN, MCPhaseGate(0.3, 3, ctrl_state=2), of_a_definition().to_gate()])
def test_a_server_refuses_a_file_whose_open_controls_it_would_read_as_closed_ones(gate: Any) -> None:
    with pytest.raises(ProgramError, match="would read as closed ones"):
        check_qpy(file_of(gate), Limits())


@pytest.mark.usefixtures("forgetful")
def test_a_server_takes_closed_controls() -> None:
    for gate in (MCXGate(3), MCXGate(5), MCPhaseGate(0.3, 3)):
        check_qpy(file_of(gate), Limits())


def test_what_an_earlier_version_has_written_is_refused_and_not_read_as_another_circuit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_controls, "_loses_open_controls", lambda: True)  # newer Qiskits do not
    circuit, file = QuantumCircuit(4), io.BytesIO()
    circuit.append(MCXGate(3, ctrl_state=0), range(4))
    qpy.dump(circuit, file)
    part: Any = SimpleNamespace(hyperparameters={"qpy": file.getvalue()})
    with pytest.raises(ConfigurationError, match="convert it from Qiskit again"):
        loaded(part)
