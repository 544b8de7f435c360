"""Measurements that name no wires are of all wires, in the order in which one PennyLane device has them.

That is the device's own order, or that of the numbers from 0 on, or else the order in which the circuit uses its wires;
whoever runs the circuit, and however its shots are shared out.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

EXECUTORS = ["default.qubit", "lightning.qubit", "reference.qubit", "cirq.simulator", "qiskit.aer", "aer"]
OUTCOME = [1, 0, 0]  # of wires 0, 1, 2; the circuit uses them in another order


def _flipped(measurement, shots=None, wires=(0, 1, 2)):
    first, second, third = wires
    return QuantumScript([qml.S(second), qml.Z(third), qml.X(first)], [measurement], shots=shots)


@pytest.mark.parametrize("name", EXECUTORS)
def test_probabilities_of_everything_are_in_the_order_of_the_numbers(open_cluster, name):
    (got,) = open_cluster([name]).execute([_flipped(qml.probs())])
    assert np.allclose(got, np.eye(8)[0b100], atol=1e-6)


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_state_is_a_vector_in_the_order_of_the_numbers(open_cluster, name):
    (got,) = open_cluster([name]).execute([_flipped(qml.state())])
    assert np.allclose(np.abs(got), np.eye(8)[0b100], atol=1e-6)


@pytest.mark.parametrize("split", [None, "uniform"])
@pytest.mark.parametrize("name", EXECUTORS)
def test_samples_and_counts_are_in_the_order_of_the_numbers(open_cluster, name, split):
    executors = [name, "default.qubit"] if split else [name]
    cluster = open_cluster(executors, split=split)
    samples, counts = cluster.execute([_flipped(qml.sample(), 10), _flipped(qml.counts(), 10)])
    assert (np.asarray(samples) == OUTCOME).all()
    assert counts == {"100": 10}


@pytest.mark.parametrize("split", [None, "uniform"])
def test_wires_that_the_executors_were_given_say_the_order(open_cluster, split):
    cluster = open_cluster(["default.qubit", "lightning.qubit"], split=split, wires=[2, 1, 0, 3])
    (counts,) = cluster.execute([_flipped(qml.counts(), 10)])
    assert counts == {"0010": 10}


@pytest.mark.parametrize("split", [None, "uniform"])
def test_labels_are_in_the_order_in_which_the_circuit_uses_them(open_cluster, split):
    cluster = open_cluster(["default.qubit", "cirq.simulator"], split=split)
    (counts,) = cluster.execute([_flipped(qml.counts(), 10, wires=("a", "b", "c"))])
    assert counts == {"001": 10}


@pytest.mark.parametrize("name", [*EXECUTORS, "rehearsal:lightning.qubit"])
def test_the_order_is_that_of_the_circuit_as_it_was_given_and_not_as_it_is_decomposed(open_cluster, name):
    circuit = QuantumScript([qml.prod(qml.RX(np.pi, 1), qml.Z(3))], [qml.probs()])
    (got,) = open_cluster([name]).execute([circuit])
    assert np.allclose(got, [0, 0, 1, 0], atol=1e-6)


@pytest.mark.parametrize("split", [None, "uniform"])
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "aer"])
def test_numbers_of_wires_that_are_only_measured_come_last(open_cluster, name, split):
    circuit = QuantumScript([qml.X(1), qml.Z(2)], [qml.counts(), qml.counts(wires=0)], shots=10)
    expected = ({"100": 10}, {"0": 10})
    assert qml.execute([circuit], qml.device("default.qubit")) == (expected,)
    assert open_cluster([name, name], split=split).execute([circuit]) == [expected]


def test_a_device_of_the_older_interface_refuses_the_state_of_some_of_its_wires(open_cluster):
    device = qml.device("cirq.simulator", wires=3)
    circuit = _flipped(qml.measurements.StateMP(wires=qml.wires.Wires([2, 1, 0])))
    with pytest.raises(Exception, match="in their own order"):
        open_cluster([device]).execute([circuit])
