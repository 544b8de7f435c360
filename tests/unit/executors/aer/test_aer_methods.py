"""The method that Aer computes exact results by."""

from __future__ import annotations

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import ConfigurationError
from pennylane_qexec.executors.aer import simulation
from pennylane_qexec.executors.aer.simulation import SAVED_WIRES, method_of_exact_results


@pytest.mark.parametrize(
    ("mixed", "width", "method"),
    [
        (False, SAVED_WIRES, {"method": "statevector"}),
        (False, SAVED_WIRES + 1, {}),
        (True, 3, {"method": "density_matrix"}),
    ],
)
def test_probabilities_of_clifford_circuits_are_saved_by_amplitudes_and_not_by_stabilizers(
    mixed: bool, width: int, method: dict[str, str]
):
    assert method_of_exact_results(mixed, width) == method


def _circuits(measurements, shots):
    rows = np.linspace(-3, 3, 5 * 7).reshape(5, 7)
    return [
        QuantumScript(
            [qml.Rot(*row[:3], 0), qml.RX(row[3], 1), qml.CRY(row[4], [0, 1]), qml.GlobalPhase(row[5]), qml.S(1),
             qml.IsingXY(row[6], [1, 0])], measurements, shots=shots)
        for row in rows
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"method": "density_matrix"}, {"precision": "single"}, {"backend": "fake_manila"}]
)
@pytest.mark.parametrize("shots", [None, 50])
def test_parameters_bound_as_circuits_run_give_what_copies_give_to_the_last_bit(options, shots, monkeypatch):
    measurements = [qml.expval(qml.Z(0) @ qml.X(1)), qml.var(qml.Y(1)), qml.probs(wires=[1, 0])]
    measurements += (
        [] if shots else [qml.density_matrix([0, 1]), qml.expval(qml.Hermitian(np.array([[1, 2], [2, 3]]), 0))]
    )
    # The last one has nothing to bind.
    circuits = [*_circuits(measurements, shots), QuantumScript([qml.H(0)], [qml.probs(wires=[0, 1])], shots=shots)]
    found = []
    for qubits in (0, 13):
        monkeypatch.setattr(simulation, "BOUND_QUBITS", qubits)
        executor = qexec.executor("aer", seed=4, **options)
        found.append([executor.run(circuits[:5]), executor.run(circuits)])
    for one, other in zip(*[[value for run in runs for row in run for value in row] for runs in found], strict=True):
        assert np.array_equal(one, other)


def test_a_gate_that_a_method_has_not_is_said_before_aer_crashes():
    circuits = [QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))]) for angle in (0.1, 0.2, 0.3)]
    with pytest.raises(ConfigurationError, match="method='extended_stabilizer' has no gate 'u'"):
        qexec.executor("aer", method="extended_stabilizer").run(circuits)
