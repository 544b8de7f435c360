"""Circuits of Cirq: keys, inversions, conditions, and gates."""

from __future__ import annotations

from typing import Any

import cirq
import numpy as np
import pennylane as qml
import pytest
import sympy
from exactly import probabilities
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError

FIRST, SECOND, THIRD = cirq.LineQubit.range(3)


def always(circuit: cirq.Circuit) -> str:
    """What Cirq's simulator measures: the keys' bits in the order in which they occur."""
    keys = [cirq.measurement_key_name(one) for one in circuit.all_operations() if cirq.is_measurement(one)]
    result = cirq.Simulator(seed=1).run(circuit, repetitions=1)
    return "".join(str(bit) for key in keys for bit in result.measurements[key][0])


MEASURED = {
    "keys in their order": [cirq.X(FIRST), cirq.measure(THIRD, FIRST, key="z"), cirq.measure(SECOND, key="a")],
    "inverted bits": [cirq.X(FIRST), cirq.measure(FIRST, SECOND, THIRD, key="z", invert_mask=(True, True))],
    "inverted, and used again": [
        cirq.X(FIRST),
        cirq.measure(FIRST, key="z", invert_mask=(True,)),
        cirq.CX(FIRST, SECOND),
        cirq.measure(SECOND, THIRD, key="a"),
    ],
    "reset": [cirq.X(FIRST), cirq.reset(FIRST), cirq.X(SECOND), cirq.measure(FIRST, SECOND, key="m")],
    "a key decides": [
        cirq.X(SECOND),
        cirq.measure(FIRST, SECOND, key="m"),
        cirq.X(THIRD).with_classical_controls("m"),
        cirq.measure(THIRD, key="r"),
    ],
    "an inverted key decides": [
        cirq.measure(FIRST, key="m", invert_mask=(True,)),
        cirq.X(THIRD).with_classical_controls("m"),
        cirq.measure(THIRD, key="r"),
    ],
    "an equation of a key decides": [
        cirq.X(SECOND),
        cirq.measure(FIRST, SECOND, key="m"),
        cirq.X(THIRD).with_classical_controls(sympy.Eq(sympy.Symbol("m"), 1)),
        cirq.X(FIRST).with_classical_controls(sympy.Eq(sympy.Symbol("m"), 2)),
        cirq.measure(THIRD, FIRST, key="r"),
    ],
    "two keys decide": [
        cirq.X(SECOND),
        cirq.measure(FIRST, key="m"),
        cirq.measure(SECOND, key="n"),
        cirq.X(THIRD).with_classical_controls("m", "n"),
        cirq.X(FIRST).with_classical_controls(sympy.Symbol("n") - sympy.Symbol("m")),
        cirq.measure(THIRD, FIRST, key="r"),
    ],
    "circuits in circuits": [
        cirq.CircuitOperation(cirq.FrozenCircuit(cirq.X(FIRST), cirq.measure(SECOND, FIRST, key="in"))),
        cirq.X(THIRD).with_tags("tagged"),
        cirq.measure(THIRD, key="out").with_tags("tagged"),
    ],
}


@pytest.mark.parametrize("what", [what for what in MEASURED if what != "circuits in circuits"])
def test_what_cirq_always_measures_comes_out_here(what: str) -> None:
    circuit = cirq.Circuit(MEASURED[what])
    assert probabilities(frameworks.read(circuit)) == pytest.approx({always(circuit): 1.0})


def test_circuits_in_circuits_are_taken_out() -> None:
    assert probabilities(frameworks.read(cirq.Circuit(MEASURED["circuits in circuits"]))) == {"011": 1.0}


def test_measurements_of_pauli_strings_are_turns_and_a_measurement() -> None:
    measured = cirq.measure_single_paulistring(cirq.X(FIRST) * cirq.Z(SECOND), key="p")
    circuit = cirq.Circuit(cirq.H(FIRST), cirq.X(SECOND), measured)
    assert probabilities(frameworks.read(circuit)) == pytest.approx({"1": 1.0})


@pytest.mark.parametrize("qubits", [cirq.GridQubit.rect(2, 1), cirq.NamedQubit.range(2, prefix="q ")])
def test_a_circuit_without_measurements_counts_its_qubits_in_cirqs_order(qubits: Any) -> None:
    circuit = cirq.Circuit(cirq.I(qubits[1]), cirq.X(qubits[0]))
    program = frameworks.read(circuit)
    assert (program.framework, probabilities(program)) == ("cirq", {"10": 1.0})
    assert probabilities(program, "little") == {"01": 1.0}


GATES = [
    *(cirq.X, cirq.Y, cirq.Z, cirq.H, cirq.S, cirq.T, cirq.X**0.3, cirq.Y**-0.5, cirq.Z**1.7, cirq.H**0.5, cirq.X**-1),
    *(cirq.rx(0.3), cirq.ry(-0.4), cirq.rz(1.1), cirq.PhasedXPowGate(phase_exponent=0.2, exponent=0.7)),
    *(
        cirq.CX,
        cirq.CZ,
        cirq.SWAP,
        cirq.ISWAP,
        cirq.CX**0.3,
        cirq.CZ**0.3,
        cirq.SWAP**-1,
        cirq.CZ**3,
    ),
    *(cirq.XX**0.2, cirq.YY**0.2, cirq.ZZ**0.2, cirq.ms(0.3), cirq.FSimGate(0.3, 0.4), cirq.ISWAP**0.5),
    *(cirq.CCX, cirq.CCZ, cirq.CSWAP, cirq.CCX**0.5, cirq.rx(0.3).controlled(control_values=[0])),
    *(cirq.QuantumFourierTransformGate(4), cirq.MatrixGate(cirq.testing.random_unitary(8, random_state=1))),
    *(cirq.XPowGate(global_shift=0.3).controlled(), cirq.CZPowGate(exponent=0.3, global_shift=0.4)),
]


@pytest.mark.parametrize("gate", GATES, ids=str)
def test_a_gate_has_its_matrix_up_to_a_phase(gate: Any) -> None:
    qubits = cirq.LineQubit.range(cirq.num_qubits(gate))
    circuit = cirq.Circuit(gate.on(*qubits[::-1]))
    found = qml.matrix(QuantumScript(frameworks.read(circuit).circuit.operations), wire_order=range(len(qubits)))
    wanted = circuit.unitary(qubit_order=qubits)
    phase = np.vdot(wanted, found)
    assert np.allclose(found, wanted * phase / abs(phase), atol=1e-7)


REFUSED = {
    "parameters": (cirq.rx(sympy.Symbol("theta"))(FIRST), "theta.*resolve_parameters"),
    "noise": (cirq.depolarize(0.1)(FIRST), "noise"),
    "a key twice": ([cirq.measure(FIRST, key="m"), cirq.measure(SECOND, key="m")], "'m'.*twice"),
    "a confusion map": (cirq.measure(FIRST, key="m", confusion_map={(0,): np.eye(2)}), "confusion_map"),
    "a qudit": (cirq.IdentityGate(1, (3,)).on(cirq.LineQid(0, 3)), "qudits"),
    "an unknown key": (cirq.X(FIRST).with_classical_controls("m"), "not measured before"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_said_is_refused(what: str) -> None:
    operations, message = REFUSED[what]
    with pytest.raises(ConfigurationError, match=message):
        frameworks.read(cirq.Circuit(operations))


def test_a_big_matrix_that_cannot_be_taken_apart_is_read_as_it_is() -> None:
    qubits = cirq.LineQubit.range(4)
    turned = cirq.MatrixGate(cirq.testing.random_unitary(16, random_state=1))
    circuit = cirq.Circuit(turned(*qubits[::-1]), cirq.measure(*qubits, key="m"))
    state = cirq.Simulator(dtype=np.complex128).simulate(circuit[:1]).final_state_vector
    wanted = {f"{number:04b}": chance for number, chance in enumerate(np.abs(state) ** 2)}
    assert probabilities(frameworks.read(circuit)) == pytest.approx(wanted)


def test_a_subcircuit_that_is_repeated_until_something_is_measured_is_refused() -> None:
    inner = cirq.FrozenCircuit(cirq.H(FIRST), cirq.measure(FIRST, key="m"))
    until = cirq.KeyCondition(cirq.MeasurementKey("m"))
    repeated = cirq.CircuitOperation(inner, use_repetition_ids=False, repeat_until=until)
    with pytest.raises(ConfigurationError, match="repetitions="):
        frameworks.read(cirq.Circuit(repeated))
