"""The cluster device as a PennyLane device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

SIMULATORS = ["lightning.qubit", "default.qubit"]


def bell(angle: Any) -> Any:
    qml.RX(angle, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Z(1))


def ran(device: Any) -> list[str]:
    return [row.executor for row in device.history]


def test_pennylane_finds_the_device_by_its_name() -> None:
    with qml.device("qexec.cluster", wires=2, executors=SIMULATORS) as device:
        assert isinstance(device, qexec.ClusterDevice)
        assert float(qml.QNode(bell, device)(0.3)) == pytest.approx(np.cos(0.3))


def test_executors_may_be_named_in_one_string(open_device: Any) -> None:
    device = open_device("lightning.qubit, default.qubit,lightning.qubit")
    assert [one.name for one in device.cluster.executors] == ["lightning.qubit", "default.qubit", "lightning.qubit#2"]


def test_unless_told_otherwise_there_is_one_lightning_qubit(open_device: Any) -> None:
    assert [one.name for one in open_device().cluster.executors] == ["lightning.qubit"]


def test_executors_of_all_kinds_go_together(open_device: Any) -> None:
    executors = [
        qml.device("default.qubit", wires=2),
        {"type": "default.mixed", "name": "mixed"},
        ScriptedExecutor(),
        FakeQPU(),
        "lightning.qubit",
    ]
    device = open_device(executors, 2)
    circuit = qml.QNode(bell, device)
    assert np.allclose([circuit(0.3) for _ in executors], np.cos(0.3))
    assert ran(device) == ["default.qubit", "mixed", "scripted", "fake-qpu", "lightning.qubit"]


@pytest.mark.parametrize(
    "policy", [{"selector": "cyclic"}, {"selector": "least_loaded"}, {"split": "uniform"}], ids=str
)
def test_wires_may_have_any_labels(open_device: Any, policy: Any) -> None:
    def circuit() -> Any:
        qml.X("b")
        return qml.expval(qml.Z("a")), qml.probs(wires=["b", 7]), qml.sample(wires=[7, "b"])

    device = open_device("lightning.qubit,qiskit.aer,cirq.simulator", ["a", "b", 7], **policy)
    expectation, probabilities, samples = qml.set_shots(qml.QNode(circuit, device), 9)()
    assert float(expectation) == 1
    assert np.allclose(probabilities, [0, 0, 1, 0])
    assert np.array_equal(samples, [[0, 1]] * 9)


@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_without_wires_any_circuit_will_do(open_device: Any, policy: Any) -> None:
    device = open_device("lightning.qubit,qiskit.aer,cirq.simulator", **policy)

    @qml.qnode(device, shots=6)
    def circuit(wires: Any) -> Any:
        qml.X(wires[0])
        return [qml.expval(qml.Z(wire)) for wire in wires]

    assert np.allclose(circuit([0]), [-1])
    assert np.allclose(circuit(["q", 5, "r"]), [-1, 1, 1])


def test_the_wires_of_the_device_decide_what_a_state_is(open_device: Any) -> None:
    device = open_device([ScriptedExecutor(), "default.qubit"], 3)

    @qml.qnode(device)
    def circuit() -> Any:
        qml.X(1)
        return qml.probs()

    assert [int(np.argmax(circuit())) for _ in range(2)] == [2, 2]
    assert circuit().shape == (8,)


@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_set_shots_and_shot_vectors(open_device: Any, policy: Any) -> None:
    circuit = qml.QNode(lambda: qml.sample(wires=[0]), open_device(SIMULATORS, 1, **policy))
    assert len(qml.set_shots(circuit, 10)()) == 10
    assert [len(part) for part in qml.set_shots(circuit, (10, 5, 5))()] == [10, 5, 5]


@pytest.mark.parametrize(
    "policy", [{"selector": "cyclic"}, {"selector": "least_loaded"}, {"split": "uniform"}], ids=str
)
@pytest.mark.parametrize("shots", [None, 50])
def test_broadcasting_gives_a_value_for_each_angle(open_device: Any, policy: Any, shots: Any) -> None:
    circuit = qml.set_shots(qml.QNode(bell, open_device(SIMULATORS, 2, **policy)), shots)
    assert np.allclose(circuit(np.array([0.0, np.pi, 0.0])), [1, -1, 1])


def test_jax_jit_with_shots(open_device: Any) -> None:
    circuit = jax.jit(qml.set_shots(qml.QNode(bell, open_device(SIMULATORS, split="uniform")), 20))
    assert [float(circuit(angle)) for angle in (0.0, np.pi)] == [1, -1]


def test_the_tracker_counts_what_is_asked_of_the_device(open_device: Any) -> None:
    device = open_device(SIMULATORS)
    with qml.Tracker(device) as tracker:
        qml.set_shots(qml.QNode(bell, device), 30)(0.3)
        qml.QNode(bell, device)(0.3)
    assert tracker.totals["batches"] == 2
    assert tracker.totals["executions"] == 2
    assert tracker.totals["shots"] == 30


def test_the_tracker_counts_the_shots_of_a_split_circuit_once(open_device: Any) -> None:
    device = open_device(SIMULATORS, split="uniform")
    with qml.Tracker(device) as tracker:
        qml.set_shots(qml.QNode(bell, device), 30)(0.3)
    assert tracker.totals["shots"] == 30


def test_drawing_and_counting_gates_run_and_reserve_nothing(open_device: Any) -> None:
    device = open_device([ScriptedExecutor("a"), ScriptedExecutor("b")])
    circuit = qml.QNode(bell, device)
    assert "RX" in qml.draw(circuit, level="device")(0.3)
    assert qml.specs(circuit, level="device")(0.3)["resources"].num_gates == 2
    assert len(device.history) == 0
    assert [one.load().waiting for one in device.cluster.executors] == [0, 0]
    circuit(0.3)
    assert len(device.history) == 1


@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_a_wide_circuit_can_be_cut_for_narrow_executors(open_device: Any, policy: Any) -> None:
    device = open_device(SIMULATORS, 2, **policy)

    @qml.cut_circuit
    @qml.qnode(device)
    def circuit(angle: float) -> Any:
        qml.RX(angle, 0)
        qml.CNOT([0, 1])
        qml.WireCut(1)
        qml.CNOT([1, 2])
        return qml.expval(qml.Z(0) @ qml.Z(1) @ qml.Z(2))

    assert float(circuit(0.4)) == pytest.approx(np.cos(0.4))
    assert set(ran(device)) == set(SIMULATORS)


def test_snapshots_are_taken_where_every_executor_offers_them(open_device: Any) -> None:
    @qml.qnode(open_device(["default.qubit", "default.qubit"], 1))
    def circuit() -> Any:
        qml.X(0)
        qml.Snapshot("flipped")
        return qml.expval(qml.Z(0))

    shots = qml.snapshots(circuit)()
    assert np.allclose(shots["flipped"], [0, 1])
    assert float(shots["execution_results"]) == -1


def test_two_devices_share_a_cluster_which_stays_open(open_cluster: Any) -> None:
    cluster = open_cluster(SIMULATORS)
    with qexec.ClusterDevice(2, cluster=cluster) as one, qexec.ClusterDevice(cluster=cluster) as other:
        qml.QNode(bell, one)(0.1)
        qml.QNode(bell, other)(0.1)
        assert ran(one) == ran(other) == SIMULATORS
    assert float(cluster.execute([qml.tape.QuantumScript([], [qml.expval(qml.Z(0))])])[0]) == 1


def test_a_closed_device_takes_no_more_circuits() -> None:
    with qexec.ClusterDevice(2, executors=[ScriptedExecutor()]) as device:
        qml.QNode(bell, device)(0.1)
    with pytest.raises(qexec.ConfigurationError, match="closed: open a new one"):
        qml.QNode(bell, device)(0.1)
    device.close()


def test_the_history_has_a_row_for_each_job(open_device: Any) -> None:
    device = open_device(SIMULATORS, split="uniform")
    qml.set_shots(qml.QNode(bell, device), 31)(0.1)
    table = device.history.to_dataframe()
    assert list(table["executor"]) == SIMULATORS
    assert list(table["shots"]) == [16, 15]
    assert list(table["state"]) == ["done", "done"]
    assert list(table["attempt"]) == [1, 1]
    assert (table["submitted"] <= table["started"]).all()
    assert (table["started"] <= table["finished"]).all()
    assert str(table["started"].dt.tz) == "UTC"


def test_equal_circuits_of_a_batch_all_run(open_device: Any) -> None:
    """PennyLane's cache must not take two samplings for one."""
    device = open_device(SIMULATORS, 1)
    script = qml.tape.QuantumScript([qml.Hadamard(0)], [qml.sample(wires=[0])], shots=40)
    first, second = qml.execute([script, script], device, diff_method=None)
    assert len(device.history) == 2
    assert not np.array_equal(first, second)


def test_an_empty_batch_is_no_work(open_device: Any) -> None:
    assert open_device().execute(()) == ()


def test_a_single_circuit_may_be_executed_directly(open_device: Any) -> None:
    script = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))])
    assert float(open_device(SIMULATORS).execute(script)) == -1


def test_a_cluster_described_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('split = "uniform"\nexecutors = ["lightning.qubit", {type = "default.qubit", name = "second"}]\n')
    with qml.device("qexec.cluster", wires=2, cluster=str(file)) as device:
        qml.set_shots(qml.QNode(bell, device), 10)(0.1)
        assert ran(device) == ["lightning.qubit", "second"]


def test_prepared_circuits_equal_plain_ones_in_both_directions_and_hash_alike(open_device):
    device = open_device(["lightning.qubit"])
    script = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))])
    ((prepared,), _) = device.preprocess_transforms()([script])
    assert qml.equal(prepared, script)
    assert qml.equal(script, prepared)
    assert not qml.equal(prepared, qml.tape.QuantumScript([qml.RX(0.4, 0)], [qml.expval(qml.Z(0))]))
    assert prepared.hash == script.hash


def test_a_circuit_is_found_by_its_hash_in_a_cache_of_the_users(open_device):
    cache: dict[int, object] = {}
    script = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))])
    qml.execute([script], open_device(["lightning.qubit"]), cache=cache)
    assert script.hash in cache


def test_equal_shares_of_two_executors_are_not_one_in_pennylanes_cache(open_device):
    device = open_device(["default.qubit", "lightning.qubit"], split="uniform")
    script = qml.tape.QuantumScript([qml.H(0)], [qml.counts(wires=0)], shots=100)
    cache: dict[int, object] = {}
    (counts,) = qml.execute([script], device, cache=cache)
    assert len(cache) == 2
    assert sum(counts.values()) == 100
    assert sorted(row.shots for row in device.history) == [50, 50]
