"""PennyLane's circuits as circuits of Qiskit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

pytest.importorskip("qiskit")

from qiskit.quantum_info import Operator as Matrix

from pennylane_qexec.circuits.qiskit.gates import KINDS, convertible
from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder, parametrised
from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.executors import DeviceExecutor

_WIRES = ["a", 1, "b", 7]
_WIDTHS = {qml.MultiRZ: 3, qml.GlobalPhase: 1, qml.MultiControlledX: 4}
_PREPARATIONS = (qml.StatePrep, qml.BasisState)
_WITHOUT_NUMBERS = (qml.Snapshot, qml.Barrier, qml.Identity, *_PREPARATIONS)


def _operation(kind: type, rng: np.random.Generator) -> Operator:
    """An operation of a kind on some of the wires in any order, with any numbers."""
    if kind is qml.PauliRot:
        return qml.PauliRot(0.3, "XYZ", wires=[7, "a", 1])
    width = _WIDTHS.get(kind) or kind.num_wires
    wires = [_WIRES[place] for place in rng.permutation(4)[:width]]
    if kind is qml.MultiControlledX:
        return qml.MultiControlledX(wires, control_values=[1, 0, 0])
    return kind(*rng.uniform(-3, 3, kind.num_params), wires=wires)


def _matrix(circuit: QuantumScript) -> np.ndarray:
    (fused,) = fuse([circuit])
    made = parametrised(circuit.operations, fused.template.slots, Wires(_WIRES))
    bound = made.circuit.assign_parameters(dict(zip(made.parameters, fused.parameters[0], strict=True)))
    return Matrix(bound.reverse_bits()).data


@pytest.mark.parametrize(
    "kind", sorted(KINDS - set(_WITHOUT_NUMBERS), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__
)
def test_an_operation_with_parameters_is_the_same_matrix_in_qiskit(kind: type) -> None:
    operation = _operation(kind, np.random.default_rng(1))
    circuit = QuantumScript([operation], [qml.expval(qml.Z(1))])
    assert np.allclose(_matrix(circuit), qml.matrix(operation, wire_order=_WIRES))


@pytest.mark.parametrize(
    "operation",
    [
        qml.adjoint(qml.S(1)),
        qml.adjoint(qml.SX(7)),
        qml.QubitUnitary(qml.matrix(qml.CRX(0.3, [0, 1])), wires=[7, "a"]),
        qml.DiagonalQubitUnitary(np.exp(1j * np.arange(4)), wires=[1, 7]),
    ],
    ids=lambda operation: operation.name,
)
def test_an_operation_without_parameters_is_the_same_matrix_in_qiskit(operation: Operator) -> None:
    assert convertible(operation)
    assert np.allclose(_matrix(QuantumScript([operation])), qml.matrix(operation, wire_order=_WIRES))


@pytest.mark.parametrize(
    "operation",
    [
        qml.QFT(["a", 1, 7]),
        qml.StronglyEntanglingLayers(np.ones((1, 3, 3)), wires=["a", 1, 7]),
        qml.DoubleExcitationPlus(0.3, wires=_WIRES),
        qml.FermionicSWAP(0.3, wires=[7, 1]),
        qml.ctrl(qml.RX(0.3, "a"), [1, 7], control_values=[0, 1]),
        qml.pow(qml.RX(0.3, 1), 3),
        qml.exp(qml.X("a") @ qml.Y(7), 0.3j),
        qml.adjoint(qml.SingleExcitation(0.3, wires=[7, 1])),
    ],
    ids=lambda operation: operation.name,
)
def test_what_qiskit_has_not_is_taken_apart(operation: Operator) -> None:
    (ready,) = QiskitBinder(ExecutionConfig())(QuantumScript([operation])).circuits
    assert all(map(convertible, ready.operations))
    assert np.allclose(_matrix(ready), qml.matrix(operation, wire_order=_WIRES))


def test_measured_wires_have_the_numbers_of_pennylanes_outcomes() -> None:
    made = parametrised([qml.X(1)], (), Wires([0, 1, 2]))
    measured = made.measured(Wires([1, 0]))
    qubits = {measured.find_bit(step.clbits[0]).index: measured.find_bit(step.qubits[0]).index for step in measured[1:]}
    assert qubits == {1: 1, 0: 0}


def test_rows_of_parameters_go_into_the_circuit_in_order() -> None:
    made = parametrised([qml.RX(0.1, 0), qml.Rot(1, 2, 3, 0)] + [qml.RY(0.2, 0)] * 10, range(12), Wires([0]))
    used = [step.operation.params[0] for step in made.circuit]
    assert used == list(made.parameters)
    assert len(made.parameters) == 14


def test_a_circuit_for_which_there_is_nothing_to_do_is_left_as_it_is() -> None:
    circuit = QuantumScript([qml.RX(0.1, 0), qml.CNOT([0, 1])], [qml.expval(qml.Z(0))], shots=10)
    assert QiskitBinder(ExecutionConfig())(circuit).circuits == (circuit,)


def test_shot_vectors_and_broadcasting_become_circuits_of_their_own() -> None:
    circuit = QuantumScript([qml.RX(np.array([0.0, np.pi]), 0)], [qml.expval(qml.Z(0))], shots=(10, 20))
    bound = QiskitBinder(ExecutionConfig())(circuit)
    assert [one.shots.total_shots for one in bound.circuits] == [10, 10, 20, 20]
    assert all(one.batch_size is None for one in bound.circuits)
    result = bound.postprocess(DeviceExecutor("default.qubit", seed=1).run(bound.circuits))
    assert np.allclose(result, [[1, -1], [1, -1]])


def test_measurements_of_everything_get_the_wires_of_the_backend() -> None:
    circuit = QuantumScript([qml.X(1)], [qml.probs()])
    (ready,) = QiskitBinder(ExecutionConfig(), Wires([0, 1, 2]))(circuit).circuits
    assert ready.measurements[0].wires == Wires([0, 1, 2])


def test_shadows_are_measured_by_one_structure_with_the_recipes_as_parameters() -> None:
    circuit = QuantumScript([qml.H(0), qml.X(1)], [qml.classical_shadow([0, 1], seed=3)], shots=100)
    bound = QiskitBinder(ExecutionConfig())(circuit)
    assert len(bound.circuits) == 9
    assert len(fuse(bound.circuits)) == 1
    bits, recipes = bound.postprocess(DeviceExecutor("default.qubit", seed=1).run(bound.circuits))
    assert bits.shape == recipes.shape == (100, 2)
    assert (bits[recipes[:, 0] == 0, 0] == 0).all()
    assert (bits[recipes[:, 1] == 2, 1] == 1).all()
    assert set(bits[recipes[:, 1] == 1, 1]) == {0, 1}


def test_a_shadow_of_the_y_basis_is_turned_the_right_way() -> None:
    circuit = QuantumScript([qml.RX(-np.pi / 2, 0)], [qml.classical_shadow([0], seed=3)], shots=60)
    bound = QiskitBinder(ExecutionConfig())(circuit)
    bits, recipes = bound.postprocess(DeviceExecutor("default.qubit", seed=1).run(bound.circuits))
    assert (bits[recipes == 1] == 0).all()


def test_fill_shots_is_refused() -> None:
    config = ExecutionConfig(mcm_config={"postselect_mode": "fill-shots"})
    with qml.queuing.AnnotatedQueue() as queue:
        qml.measure(0, postselect=1)
        qml.expval(qml.Z(0))
    with pytest.raises(ValueError, match="fill-shots"):
        QiskitBinder(config)(QuantumScript.from_queue(queue, shots=10))


@pytest.mark.parametrize(
    "operations",
    [
        [qml.Projector([1, 0], [0, 1])],
        [qml.Projector(np.array([1, 1]) / np.sqrt(2), [0])],
        [qml.Projector([1], [0]), qml.CNOT([0, 1])],
    ],
)
def test_projectors_that_cannot_be_made_of_discarded_shots_are_refused(operations: list[Any]) -> None:
    with pytest.raises(ValueError, match="postselect"):
        QiskitBinder(ExecutionConfig())(QuantumScript([qml.H(0), *operations], [qml.probs(wires=[0, 1])]))


def test_a_broadcasted_circuit_of_one_keeps_its_axis() -> None:
    bound = QiskitBinder(ExecutionConfig())(QuantumScript([qml.RX(np.array([0.3]), 0)], [qml.expval(qml.Z(0))]))
    (ready,) = bound.circuits
    assert ready.batch_size is None
    assert np.shape(bound.postprocess([0.5])) == (1,)


def test_counts_of_a_broadcasted_circuit_are_a_list() -> None:
    circuit = QuantumScript([qml.RX(np.array([0.0, np.pi]), 0)], [qml.counts(), qml.probs(wires=0)], shots=10)
    bound = QiskitBinder(ExecutionConfig())(circuit)
    counts, probabilities = bound.postprocess(DeviceExecutor("default.qubit", seed=1).run(bound.circuits))
    assert counts == [{"0": 10}, {"1": 10}]
    assert probabilities.tolist() == [[1, 0], [0, 1]]


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_if_postselection_leaves_no_shot_nothing_was_counted() -> None:
    measurements = [qml.probs(wires=[0, 1]), qml.counts(wires=[0]), qml.expval(qml.Z(1))]
    with qml.queuing.AnnotatedQueue() as queue:
        qml.measure(0, postselect=1)
    circuit = QuantumScript(QuantumScript.from_queue(queue).operations, measurements, shots=10)
    bound = QiskitBinder(ExecutionConfig())(circuit)
    probabilities, counts, value = bound.postprocess(DeviceExecutor("default.qubit", seed=1).run(bound.circuits))
    assert np.isnan(probabilities).all()
    assert probabilities.shape == (4,)
    assert counts == {}
    assert np.isnan(value)
