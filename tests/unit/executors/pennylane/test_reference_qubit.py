"""PennyLane's reference.qubit reads some observables in the wrong basis: they are refused, and all others right."""

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

OPERATIONS = [qml.RX(0.7, 0), qml.RY(0.4, 1), qml.IsingZZ(1.651, [0, 1]), qml.RX(0.3, 1), qml.RZ(0.5, 0)]
MATRIX = np.array([[0.3, 1 - 0.2j], [1 + 0.2j, -0.7]])


@pytest.mark.parametrize("shots", [None, 100])
@pytest.mark.parametrize(
    "measurement",
    [
        qml.expval(qml.Hermitian(MATRIX, 1)),
        qml.var(qml.Hermitian(MATRIX, 1)),
        qml.expval(0.5 * qml.Hermitian(MATRIX, 0) + qml.X(1)),
        qml.expval(qml.Hermitian(MATRIX, 1) @ qml.X(0)),
        qml.expval(qml.Projector(np.array([1, 1]) / np.sqrt(2), 0)),
        qml.var(qml.Identity(0)),
        qml.probs(op=qml.Identity(0)),
    ],
    ids=str,
)
def test_what_it_would_read_in_the_wrong_basis_is_refused(open_cluster, measurement, shots):
    circuit = QuantumScript(OPERATIONS, [measurement], shots=shots)
    with pytest.raises(qexec.NoExecutorError, match="Paulis and Hadamards"):
        open_cluster(["reference.qubit"], wires=2).execute([circuit])


@pytest.mark.parametrize(
    "measurement",
    [
        qml.expval(0.4 * qml.X(0) @ qml.Y(1) + 0.3 * qml.Hadamard(0)),
        qml.var(qml.Hadamard(0) @ qml.X(1)),
        qml.expval(qml.Projector([1, 0], [0, 1])),
        qml.expval(qml.Identity(0)),
        qml.probs(op=qml.Y(1)),
    ],
    ids=str,
)
def test_what_it_measures_is_right(open_cluster, measurement):
    circuit = QuantumScript(OPERATIONS, [measurement])
    (right,) = qml.execute([circuit], qml.device("default.qubit"))
    (got,) = open_cluster(["reference.qubit"], wires=2).execute([circuit])
    assert np.allclose(got, right)


@pytest.mark.parametrize("measurement", [qml.vn_entropy([0]), qml.mutual_info([0], [1])])
def test_entropies_that_it_computes_wrongly_are_refused(open_cluster, measurement):
    cluster = open_cluster("reference.qubit")
    with pytest.raises(qexec.NoExecutorError, match="entropies"):
        cluster.execute([QuantumScript(OPERATIONS, [measurement])])
