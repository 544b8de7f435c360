"""Pooled results look like those of one device with all the shots, for every measurement process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import scipy.sparse
from exact import NONCOMMUTING, OBSERVABLES, OPERATIONS, describe
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits import sampling
from pennylane_qexec.testing import ScriptedExecutor

SHOTS = {"shots": 100, "shot vector": [40, 40, 7]}
OF_OBSERVABLES = {"expval": qml.expval, "var": qml.var, "sample": qml.sample, "counts": qml.counts}
WITHOUT_OBSERVABLE = {
    "probs": [qml.probs()],
    "probs of wires": [qml.probs(wires=[2, 0])],
    "probs of an operator": [qml.probs(op=qml.X(0) @ qml.Z(1))],
    "probs of an identity": [qml.probs(op=qml.I(0))],
    "counts": [qml.counts()],
    "counts of wires": [qml.counts(wires=[2, 1])],
    "samples": [qml.sample()],
    "samples of wires": [qml.sample(wires=[2, 0])],
    "samples of a wire": [qml.sample(wires=[1])],
    "samples of a dtype": [qml.sample(wires=[0, 1], dtype="int8")],
    "samples of an operator and a dtype": [qml.sample(qml.Z(0), dtype="float32")],
    "several wires": [qml.counts(wires=[1]), qml.probs(wires=[0, 1]), qml.expval(qml.Z(0) @ qml.Z(1))],
    "everything": [
        qml.expval(qml.X(0)),
        qml.var(qml.Z(0)),
        qml.probs(wires=[1]),
        qml.counts(wires=[0]),
        qml.sample(qml.Y(2)),
        qml.expval(NONCOMMUTING),
        qml.var(NONCOMMUTING),
    ],
}
SHADOWS = {
    "shadow": [qml.classical_shadow([0, 1], seed=3)],
    "shadow without a seed": [qml.classical_shadow([0, 1])],
    "shadow expval": [qml.shadow_expval(NONCOMMUTING, k=3, seed=4)],
    "shadow expvals": [qml.shadow_expval([qml.Z(0), qml.X(1)], seed=4)],
    "shadow and expval": [qml.classical_shadow([0, 1], seed=3), qml.expval(qml.Z(0))],
}
ANGLES = np.array([0.1, 0.7, 2.0])


@pytest.mark.slow
@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS)
@pytest.mark.parametrize("observable", OBSERVABLES.values(), ids=OBSERVABLES)
@pytest.mark.parametrize("measure", OF_OBSERVABLES.values(), ids=OF_OBSERVABLES)
def test_a_measurement_of_an_observable_looks_as_on_one_device(
    own: Any, one: Any, execute: Any, measure: Any, observable: Any, shots: Any
) -> None:
    circuit = QuantumScript(OPERATIONS, [measure(observable)], shots=shots)
    assert describe(execute(circuit, own)) == describe(execute(circuit, one))


@pytest.mark.slow
@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS)
@pytest.mark.parametrize("measurements", WITHOUT_OBSERVABLE.values(), ids=WITHOUT_OBSERVABLE)
def test_a_measurement_of_wires_looks_as_on_one_device(
    three: Any, one: Any, execute: Any, measurements: Any, shots: Any
) -> None:
    circuit = QuantumScript(OPERATIONS, measurements, shots=shots)
    assert describe(execute(circuit, three)) == describe(execute(circuit, one))


@pytest.mark.parametrize("shots", [40, [20, 20, 7]], ids=SHOTS)
@pytest.mark.parametrize("measurements", SHADOWS.values(), ids=SHADOWS)
@pytest.mark.slow
def test_a_shadow_looks_as_on_one_device(three: Any, one: Any, execute: Any, measurements: Any, shots: Any) -> None:
    circuit = QuantumScript(OPERATIONS, measurements, shots=shots)
    assert describe(execute(circuit, three)) == describe(execute(circuit, one))


@pytest.mark.parametrize(
    "measurement",
    [
        qml.counts(all_outcomes=True),
        qml.counts(wires=[2, 1], all_outcomes=True),
        qml.counts(qml.Z(0) @ qml.X(1), all_outcomes=True),
        qml.counts(qml.Projector([0, 1], wires=[0, 1]), all_outcomes=True),
    ],
    ids=str,
)
def test_counts_of_all_outcomes_have_the_keys_of_one_device(
    three: Any, one: Any, execute: Any, measurement: Any
) -> None:
    circuit = QuantumScript(OPERATIONS[:1], [measurement], shots=30)
    pooled, single = execute(circuit, three), execute(circuit, one)
    assert set(pooled) == set(single)
    assert sum(pooled.values()) == 30


@pytest.mark.parametrize("measurement", [qml.probs(), qml.sample(), qml.counts(all_outcomes=True)], ids=str)
def test_measurements_without_wires_are_of_all_wires_of_the_device(
    three: Any, one: Any, execute: Any, measurement: Any
) -> None:
    circuit = QuantumScript([qml.X(0)], [measurement], shots=30)
    pooled, single = execute(circuit, three), execute(circuit, one)
    assert describe(pooled) == describe(single)
    assert pooled == single if isinstance(single, dict) else np.array_equal(pooled, single)


@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS)
@pytest.mark.parametrize(
    "measurements",
    [
        [qml.expval(qml.Z(0))],
        [qml.var(NONCOMMUTING)],
        [qml.probs(wires=[0, 1])],
        [qml.sample(wires=[0])],
        [qml.expval(NONCOMMUTING), qml.probs(wires=[0])],
    ],
    ids=str,
)
def test_a_broadcast_circuit_looks_as_on_one_device(
    three: Any, one: Any, execute: Any, measurements: Any, shots: Any
) -> None:
    circuit = QuantumScript([qml.RX(ANGLES, 0), qml.CNOT([0, 1])], measurements, shots=shots)
    assert describe(execute(circuit, three)) == describe(execute(circuit, one))


@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS)
def test_nested_results_of_a_qnode_keep_their_nesting(three: Any, one: Any, shots: Any) -> None:
    def circuit() -> Any:
        qml.RX(0.7, 0)
        return {"z": qml.expval(qml.Z(0)), "more": [qml.probs(wires=[0, 1]), (qml.counts(), qml.var(qml.X(1)))]}

    def structure(result: Any) -> Any:
        if isinstance(result, dict) and "more" in result:
            return {key: structure(value) for key, value in result.items()}
        return describe(result)

    pooled, single = (qml.set_shots(qml.QNode(circuit, device), shots)() for device in (three, one))
    if isinstance(shots, int):
        assert structure(pooled) == structure(single)
    else:
        assert [structure(part) for part in pooled] == [structure(part) for part in single]


def test_every_executor_runs_its_share(three: Any, execute: Any) -> None:
    execute(QuantumScript(OPERATIONS, [qml.expval(qml.Z(0))], shots=100), three)
    assert sorted(row.shots for row in three.history) == [33, 33, 34]
    assert len({row.executor for row in three.history}) == 3


def test_every_number_of_a_shot_vector_is_shared_out(three: Any, execute: Any) -> None:
    result = execute(QuantumScript(OPERATIONS, [qml.sample(wires=[0])], shots=[5, 10, 10, 1]), three)
    assert [len(samples) for samples in result] == [5, 10, 10, 1]
    shots = Counter[str]()
    for row in three.history:
        shots[row.executor] += row.shots
    assert sorted(shots.values()) == [8, 9, 9]


def test_observables_that_commute_wire_by_wire_share_a_circuit(own: Any, execute: Any) -> None:
    execute(QuantumScript(OPERATIONS, [qml.expval(qml.Z(0)), qml.var(qml.X(1)), qml.probs(wires=[2])], shots=90), own)
    assert [row.shots for row in own.history] == [30, 30, 30]


@pytest.mark.parametrize(
    "measurement",
    [qml.state(), qml.density_matrix([0]), qml.vn_entropy([0]), qml.mutual_info([0], [1]), qml.purity([0])],
    ids=str,
)
def test_what_cannot_be_pooled_goes_whole_to_one_executor(own: Any, one: Any, execute: Any, measurement: Any) -> None:
    circuit = QuantumScript(OPERATIONS, [measurement])
    assert not sampling.can_pool(circuit)
    assert np.allclose(execute(circuit, own), execute(circuit, one))
    assert [row.executor for row in own.history] == ["default.qubit"]


def test_an_observable_that_cannot_be_diagonalised_goes_whole_to_one_executor(open_cluster: Any) -> None:
    sparse = qml.SparseHamiltonian(scipy.sparse.csr_matrix(np.diag([1.0, -1.0])), wires=[0])
    executors = [ScriptedExecutor("a"), ScriptedExecutor("b")]
    cluster = open_cluster(executors, split="uniform")
    assert cluster.merge.plan(QuantumScript([], [qml.expval(sparse)], shots=10)) is None


def test_an_analytic_circuit_goes_whole_and_is_exact(three: Any, one: Any, execute: Any) -> None:
    circuit = QuantumScript(OPERATIONS, [qml.expval(NONCOMMUTING), qml.probs(wires=[0, 2])])
    for pooled, single in zip(execute(circuit, three), execute(circuit, one), strict=True):
        assert np.allclose(pooled, single, atol=1e-6)
    assert len({row.executor for row in three.history}) == 1


def test_a_user_s_merge_gets_the_outcomes_of_the_circuit_s_own_measurements() -> None:
    seen: list[Any] = []

    def merge(circuit: Any, outcomes: Any) -> Any:
        seen.extend((outcome.executor, outcome.shots, np.shape(outcome.result)) for outcome in outcomes)
        return circuit.shots.total_shots

    with qexec.QCluster(["default.qubit", "lightning.qubit"], split="uniform", merge=merge) as cluster:
        assert cluster.execute([QuantumScript(OPERATIONS, [qml.probs(wires=[0, 1])], shots=11)]) == [11]
    assert seen == [("default.qubit", 6, (4,)), ("lightning.qubit", 5, (4,))]


def test_a_batch_that_pennylane_cannot_take_apart_goes_whole_to_one_executor(open_cluster):
    operations = [qml.X(0), qml.prod(qml.RX(np.array([0.1, 0.2]), 0), qml.X(0))]
    circuit = QuantumScript(operations, [qml.counts(wires=0)], shots=10)
    cluster = open_cluster(["default.mixed", "default.qubit"], split="uniform")
    (counts,) = cluster.execute([circuit])
    assert [sum(row.values()) for row in counts] == [10, 10]
    assert len(cluster.history) == 1
