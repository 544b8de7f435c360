"""Devices of PennyLane's older interface: what they cannot do is refused, and what they do wrongly is mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig, QubitDevice
from pennylane.measurements import DensityMatrixMP
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

FLIP = qml.X(0)


def shadow(shots: Any) -> QuantumScript:
    return QuantumScript([FLIP], [qml.classical_shadow([0])], shots=shots)


@pytest.mark.slow
def test_a_shadow_does_not_disturb_the_circuits_beside_it(open_cluster: Any) -> None:
    """pennylane-qiskit reads the results of the last job that the device ran; a shadow runs jobs of its own."""
    cluster = open_cluster("qiskit.aer", wires=1, retry=qexec.retries.never())
    counts = QuantumScript([FLIP], [qml.counts()], shots=5)
    first, taken, last = cluster.execute([counts, shadow(5), counts])
    assert len({row.batch for row in cluster.history}) == 1
    assert {str(key): int(count) for key, count in first.items()} == {"1": 5}
    assert {str(key): int(count) for key, count in last.items()} == {"1": 5}
    assert np.shape(taken) == (2, 5, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_every_number_of_a_shot_vector_gets_a_shadow_of_its_own(open_device: Any, name: str) -> None:
    results = qml.execute([shadow([3, 3, 2])], open_device(name, 1), diff_method=None)[0]
    assert [np.shape(result) for result in results] == [(2, 3, 1), (2, 3, 1), (2, 2, 1)]


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_a_circuit_that_needs_more_wires_than_the_device_has_is_refused(open_device: Any, name: str) -> None:
    @qml.qnode(open_device(name, 1), shots=5)
    def circuit() -> Any:
        return qml.expval(qml.measure(0))

    with pytest.raises(qexec.NoExecutorError, match=r"has the wires \[0\], and deferring .* takes \[0, 1\]"):
        circuit()


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
@pytest.mark.parametrize("measurement", [qml.state(), qml.vn_entropy([0]), qml.purity([0])], ids=str)
def test_measurements_of_the_state_are_refused_with_shots(open_device: Any, name: str, measurement: Any) -> None:
    device = open_device(name, 1)
    with pytest.raises(qexec.NoExecutorError, match=name):
        qml.execute([QuantumScript([FLIP], [measurement], shots=5)], device, diff_method=None)
    assert len(device.history) == 0


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
@pytest.mark.parametrize("measurement", [qml.sample(wires=[0]), qml.counts(wires=[0])], ids=str)
def test_samples_are_refused_without_shots(open_device: Any, name: str, measurement: Any) -> None:
    device = open_device(name, 1)
    with pytest.raises((qexec.NoExecutorError, qml.exceptions.DeviceError), match=r"shots|analytic"):
        qml.execute([QuantumScript([FLIP], [measurement])], device, diff_method=None)
    assert len(device.history) == 0


def test_analytic_circuits_on_aer_are_exact(open_device: Any) -> None:
    circuit = qml.QNode(lambda: (qml.RX(0.4, 0), qml.expval(qml.Z(0)))[1], open_device("qiskit.aer", 1))
    assert float(circuit()) == pytest.approx(np.cos(0.4))


def test_aer_with_a_backend_of_its_own_is_left_out_of_analytic_circuits() -> None:
    executor = qexec.executor("qiskit.aer", wires=1, backend="aer_simulator")
    assert "needs a number of shots" in str(executor.rejects(QuantumScript([FLIP], [qml.expval(qml.Z(0))])))


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_the_number_of_shots_changes_from_circuit_to_circuit(name: str) -> None:
    executor = qexec.executor(name, wires=1)
    circuits = [QuantumScript([FLIP], [qml.counts()], shots=shots) for shots in (3, 8, 3)]
    assert [sum(counts.values()) for counts in executor.run(circuits)] == [3, 8, 3]


ROTATED = (qml.RY(0.7, 0), qml.RX(0.4, 1), qml.CNOT([0, 1]), qml.RZ(0.3, 0))
DIVIDED = {
    "a distribution beside another basis": [qml.expval(qml.X(0)), qml.probs(wires=[0])],
    "two bases of distributions": [qml.probs(op=qml.X(0)), qml.probs(wires=[1, 0])],
    "a product beside one factor": [qml.var(qml.X(0) @ qml.Y(1)), qml.probs(op=qml.X(0)), qml.expval(qml.X(0))],
    "no Pauli": [qml.probs(op=qml.Hermitian(np.array([[1, 0.5], [0.5, -0.3]]), 0)), qml.probs()],
    "a sum": [qml.expval(qml.X(0) + 0.5 * qml.Z(1)), qml.probs(wires=[0])],
    "an identity": [qml.var(qml.Identity(0)), qml.expval(qml.X(0)), qml.probs(wires=[0])],
    "nothing to divide": [qml.expval(qml.Z(0)), qml.probs(), qml.var(qml.Z(0) @ qml.Z(1))],
}
"""Of a legacy device, all but the last were read in one basis, or raised."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cirq.simulator", "cirq.mixedsimulator", "qiskit.aer"])
@pytest.mark.parametrize("measurements", DIVIDED.values(), ids=DIVIDED.keys())
def test_measurements_of_different_bases_are_exact_beside_each_other(name: str, measurements: list[Any]) -> None:
    circuit = QuantumScript(ROTATED, measurements)
    expected = qml.device("default.qubit", wires=2).execute(circuit)
    for found, right in zip(qexec.executor(name, wires=2).run([circuit])[0], expected, strict=True):
        assert np.shape(found) == np.shape(right)
        assert np.asarray(found) == pytest.approx(np.asarray(right), abs=1e-5)


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_the_state_is_not_what_another_measurement_has_made_of_it(name: str) -> None:
    hermitian = qml.Hermitian(np.diag([1, 2, 3, 4.0]) + 0.3 * (np.eye(4, k=1) + np.eye(4, k=-1)), [0, 1])
    circuit = QuantumScript(ROTATED, [qml.expval(hermitian), qml.density_matrix([0]), qml.mutual_info([0], [1])])
    expected = qml.device("default.qubit", wires=2).execute(circuit)
    for found, right in zip(qexec.executor(name, wires=2).run([circuit])[0], expected, strict=True):
        assert np.asarray(found) == pytest.approx(np.asarray(right), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["cirq.simulator", "cirq.mixedsimulator", "qiskit.aer"])
@pytest.mark.parametrize("wires", [(0, 1, 2), ("b", "a", "c")])
def test_a_state_has_the_wires_that_only_other_measurements_have(open_device: Any, executor: str, wires: Any) -> None:
    def function() -> Any:
        qml.RY(0.7, wires[0])
        qml.CRY(0.4, [wires[0], wires[2]])
        qml.Barrier([wires[0], wires[2], wires[1]])
        return qml.state(), qml.expval(qml.X(wires[1]) @ qml.Z(wires[0])), qml.var(qml.Z(wires[1]))

    state, *others = qml.QNode(function, open_device([executor]))()
    order = sorted(wires) if wires[0] == 0 else [wires[0], wires[2], wires[1]]  # labels: as the circuit comes to them
    expected, *values = qml.QNode(function, qml.device("default.qubit", wires=order))()
    assert state.shape == ((8, 8) if executor == "cirq.mixedsimulator" else (8,))
    assert np.allclose(state, np.outer(expected, expected.conj()) if state.ndim == 2 else expected, atol=1e-6)
    assert np.allclose(others, values, atol=1e-6)


@pytest.mark.parametrize("measured", [qml.density_matrix([0]), qml.purity([0]), qml.vn_entropy([0])], ids=str)
def test_parts_of_a_density_matrix_go_to_an_executor_that_can(measured: Any) -> None:
    """PennyLane's older interface takes the density matrix for a batch of state vectors: four numbers for one."""
    with qexec.QCluster(["cirq.mixedsimulator", "default.mixed"], wires=2) as cluster:
        results = cluster.execute([QuantumScript([qml.H(0), qml.CNOT([0, 1])], [measured])] * 2)
        right = {"density": np.eye(2) / 2, "purity": 0.5, "vnentropy": np.log(2)}
        expected = right["density"] if isinstance(measured, DensityMatrixMP) else right[str(measured).split("(")[0]]
        assert np.asarray(results[0]) == pytest.approx(expected)
        assert {row.executor for row in cluster.history} == {"default.mixed"}


@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer", "qiskit.basicsim"])
def test_sampled_measurements_of_different_bases_do_not_disturb_each_other(name: str) -> None:
    """In X's eigenstate with eigenvalue 1 beside |1>, each basis has one outcome, and another one would have two."""
    measured = [qml.counts(qml.X(0)), qml.counts(wires=[1]), qml.expval(qml.X(0) @ qml.Z(1)), qml.sample(qml.X(0))]
    measured += [qml.probs(wires=[1]), qml.var(qml.Identity(1)), qml.counts(qml.Y(1))]
    circuit = QuantumScript([qml.H(0), qml.X(1)], measured, shots=400)
    x, one, product, samples, distribution, nothing, either = qexec.executor(name, wires=2).run([circuit])[0]
    assert {float(key): int(count) for key, count in x.items()} == {1.0: 400}
    assert {str(key): int(count) for key, count in one.items()} == {"1": 400}
    assert (float(product), float(nothing)) == (-1.0, 0.0)
    assert np.asarray(samples).tolist() == [1.0] * 400
    assert np.asarray(distribution).tolist() == [0.0, 1.0]
    assert sum(either.values()) == 400
    assert min(either.values()) > 0  # the chance of one outcome only is 2**-399


def test_the_outcome_of_a_mid_circuit_measurement_is_not_read_in_the_basis_of_another_observable(
    open_device: Any,
) -> None:
    @qml.qnode(open_device("cirq.simulator", 2), shots=50)
    def circuit() -> Any:
        qml.X(0)
        outcome = qml.measure(0)
        qml.H(0)
        return qml.expval(qml.X(0)), qml.counts(outcome), qml.probs(op=outcome)

    value, counts, distribution = circuit()
    assert float(value) == -1.0
    assert {float(key): int(count) for key, count in counts.items()} == {1.0: 50}
    assert np.asarray(distribution).tolist() == [0.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cirq.simulator", "qiskit.aer"])
def test_equal_numbers_in_a_shot_vector_do_not_scramble_samples(name: str) -> None:
    measured = [qml.sample(wires=[1, 0]), qml.probs(wires=[1]), qml.counts(qml.Z(0)), qml.expval(qml.Y(1))]
    circuit = QuantumScript([FLIP], measured, shots=(5, 10, 10, 1, 1))
    results = qexec.executor(name, wires=2).run([circuit])[0]
    assert len(results) == 5
    for shots, (samples, distribution, counts, _) in zip(circuit.shots, results, strict=True):
        assert np.asarray(samples).tolist() == [[0, 1]] * shots
        assert np.asarray(distribution).tolist() == [1.0, 0.0]
        assert {float(key): int(count) for key, count in counts.items()} == {-1.0: shots}


def test_a_shot_vector_is_run_at_once_where_the_device_samples_bits() -> None:
    executor = qexec.executor("cirq.simulator", wires=1)
    circuit = QuantumScript([FLIP], [qml.probs(wires=[0]), qml.expval(qml.Z(0))], shots=(3,) * 100)
    prepared = executor.binder(ExecutionConfig(), circuit)(circuit).circuits
    assert [one.shots.total_shots for one in prepared] == [300]


@pytest.mark.parametrize("name", ["qiskit.aer", "qiskit.basicsim"])
def test_products_of_paulis_are_measured_by_devices_that_do_not_list_them(name: str) -> None:
    circuit = QuantumScript([FLIP], [qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.Z(0) + qml.Z(0) @ qml.Z(1))])
    values = qexec.executor(name, wires=2).run([circuit.copy(shots=10)])[0]
    assert np.asarray(values).tolist() == [-1.0, -2.0]


class _Hardware(QubitDevice):  # type: ignore[misc]
    """A plug-in's device as its author writes it: it only samples, and here it always measures ones."""

    name = short_name = "test.hardware"
    pennylane_requires = version = author = "0"
    operations = frozenset({"Hadamard", "RY"})

    def apply(self, operations: Any, **kwargs: Any) -> None:
        self.rotated = {gate.wires[0] for gate in [*operations, *kwargs.get("rotations", ())]}

    def generate_samples(self) -> np.ndarray:
        row = [int(wire not in self.rotated) for wire in self.wires]
        return np.array([row] * self.shots)


def test_a_device_of_somebody_else_measures_every_basis_by_itself() -> None:
    circuit = QuantumScript([], [qml.expval(qml.X(0)), qml.counts(), qml.sample(qml.X(0))], shots=(4, 4))
    results = qexec.executor(_Hardware(wires=2)).run([circuit])[0]
    for value, counts, samples in results:
        assert (float(value), list(samples)) == (1.0, [1.0] * 4)  # rotated, the wire measures 0
        assert {str(key): int(count) for key, count in counts.items()} == {"11": 4}


@pytest.mark.parametrize(
    ("measurement", "shots", "why"),
    [
        (qml.expval(qml.Z(0)), None, "estimates .* from shots"),
        (qml.probs(wires=[0]), None, "estimates .* from shots"),
        (qml.purity([0]), None, "has no state"),
        (qml.state(), None, "has no state"),
        (qml.classical_shadow([0]), None, "with shots only"),
        (qml.purity([0]), 5, "not accepted with finite shots"),
    ],
    ids=str,
)
def test_what_a_device_cannot_measure_is_refused_before_it_runs(measurement: Any, shots: Any, why: str) -> None:
    with qexec.QCluster([_Hardware(wires=1)]) as cluster:
        with pytest.raises(qexec.NoExecutorError, match=why):
            cluster.execute([QuantumScript([], [measurement], shots=shots)])
        assert len(cluster.history) == 0


@pytest.mark.parametrize("measurement", [qml.vn_entropy(["a"]), qml.mutual_info(["a"], ["b"])], ids=str)
def test_entropies_of_labelled_wires_go_to_an_executor_that_can(measurement: Any) -> None:
    """PennyLane's older interface computes them for numbered wires only, and says so when it runs."""
    with qexec.QCluster(["cirq.simulator", "default.qubit"], wires=["a", "b"]) as cluster:
        cluster.execute([QuantumScript([qml.H("a")], [measurement])] * 2)
        assert {row.executor for row in cluster.history} == {"default.qubit"}


def test_devices_of_cirq_share_no_gates_whose_parameters_they_set():
    executors = [qexec.executor("cirq.simulator"), qexec.executor(qml.device("cirq.simulator", wires=2))]
    circuit = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])
    targets = [executor.device(circuit).target_device for executor in executors]
    plain = qml.device("cirq.simulator", wires=2).target_device
    for name in ("_operation_map", "_observable_map"):
        gates = [getattr(target, name)["RX" if name == "_operation_map" else "PauliX"] for target in (*targets, plain)]
        assert len(set(map(id, gates))) == 3
