"""Covalent's ``Simulator``."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

BELL = [qml.Hadamard(0), qml.CNOT([0, 1])]


def test_its_defaults_are_those_of_covalent() -> None:
    simulator = qexec.Simulator()
    assert (simulator.backend, simulator.parallel, simulator.workers, simulator.shots) == (
        *("default.qubit", "thread", 10),
        0,
    )


def test_its_arguments_come_in_the_order_of_covalent() -> None:
    simulator = qexec.Simulator("lightning.qubit", "thread", 3, 50, "mine")
    assert (simulator.backend, simulator.parallel, simulator.workers, simulator.shots, simulator.name) == (
        *("lightning.qubit", "thread", 3),
        *(50, "mine"),
    )


@pytest.mark.parametrize("parallel", ["auto", "sync", False, None])
def test_without_parallelism_it_runs_in_the_calling_thread(parallel: Any) -> None:
    simulator = qexec.Simulator(parallel=parallel)
    assert (simulator.parallel, simulator.workers) == ("auto", 1)


def test_there_are_not_more_worker_processes_than_cores() -> None:
    cores = qexec.Simulator(parallel="process", workers=10_000).workers
    assert cores is not None
    assert 1 <= cores < 10_000
    assert qexec.Simulator(parallel="process", workers=1).workers == 1


@pytest.mark.parametrize("parallel", ["threads", True, 3])
def test_an_unknown_way_to_run_in_parallel_is_refused(parallel: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="way to run in parallel"):
        qexec.Simulator(parallel=parallel)


def test_an_unknown_device_is_refused_at_once() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"Did you mean 'lightning.qubit'"):
        qexec.Simulator("lightening.qubit")


def test_a_device_object_is_refused_with_what_to_use_instead() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"DeviceExecutor\(device\)"):
        qexec.Simulator(qml.device("default.qubit", wires=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("shots", [-1, 2.5, True, "10", [10, 10]])
def test_shots_that_are_no_number_of_shots_are_refused(shots: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="must be a number of shots, 0 for those of the circuit"):
        qexec.Simulator(shots=shots)


@pytest.mark.parametrize("spec", ["default.qubit", {"type": "lightning.qubit"}])
def test_shots_of_a_plain_device_are_refused_since_it_would_not_keep_to_them(spec: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"qml\.set_shots, or use Simulator\(device, shots=\.\.\.\)"):
        qexec.executor(spec, shots=100)


def test_a_misspelt_option_is_named() -> None:
    with pytest.raises(qexec.ConfigurationError, match="shsots"):
        qexec.Simulator(shsots=10)


@pytest.mark.parametrize("parallel", ["thread", "auto"])
@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "cirq.simulator"])
def test_without_wires_it_runs_any_circuit(open_cluster: Any, device: str, parallel: str) -> None:
    cluster = open_cluster(qexec.Simulator(device, parallel=parallel))
    circuits = [QuantumScript(BELL, [qml.probs()]), QuantumScript([qml.X("a")], [qml.expval(qml.Z("a"))])]
    probabilities, flipped = cluster.execute(circuits)
    assert np.allclose(probabilities, [0.5, 0, 0, 0.5], atol=1e-6)
    assert float(flipped) == pytest.approx(-1)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "cirq.simulator"])
def test_measurements_without_wires_are_over_all_wires_of_the_qnode(open_device: Any, device: str) -> None:
    @qml.qnode(open_device([qexec.Simulator(device)], 3))
    def circuit() -> Any:
        qml.X(1)
        return qml.probs()

    assert np.allclose(circuit(), np.eye(8)[0b010])


def test_many_circuits_at_once_give_their_results_in_order(open_cluster: Any) -> None:
    cluster = open_cluster(qexec.Simulator())
    angles = np.linspace(0, np.pi, 40)
    results = cluster.execute([QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))]) for angle in angles])
    assert np.allclose(results, np.cos(angles))


def test_two_equal_simulators_in_a_cluster_stay_two(open_cluster: Any) -> None:
    cluster = open_cluster([qexec.Simulator(), qexec.Simulator()])
    cluster.execute([QuantumScript(BELL, [qml.probs()])] * 4)
    assert [executor.name for executor in cluster.executors] == ["default.qubit", "default.qubit#2"]
    assert sorted(row.executor for row in cluster.history) == [*["default.qubit"] * 2, *["default.qubit#2"] * 2]


def test_history_and_errors_call_it_by_its_name(open_cluster: Any) -> None:
    cluster = open_cluster(qexec.Simulator("lightning.qubit", name="mine"))
    cluster.execute([QuantumScript(BELL, [qml.probs()])])
    (row,) = cluster.history
    assert (row.executor, row.backend) == ("mine", "lightning.qubit")
    with pytest.raises(qexec.NoExecutorError, match="'mine'"):
        cluster.execute([QuantumScript(BELL, [qml.counts()])])


@pytest.mark.parametrize("parallel", ["thread", "auto"])
def test_backpropagation_works_in_the_calling_thread(open_device: Any, parallel: str) -> None:
    device = open_device([qexec.Simulator(parallel=parallel)], 1)

    @qml.qnode(device, diff_method="backprop")
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    assert qml.grad(circuit)(qml.numpy.array(0.4)) == pytest.approx(-np.sin(0.4))
    assert len(device.history) == 1


def test_backpropagation_through_worker_processes_is_refused(open_device: Any) -> None:
    device = open_device([qexec.Simulator(parallel="process", workers=1)], 1)
    with pytest.raises(qml.exceptions.QuantumFunctionError, match="does not support backprop"):
        qml.QNode(lambda: qml.expval(qml.Z(0)), device, diff_method="backprop")


def test_it_can_be_pickled() -> None:
    copied = pickle.loads(pickle.dumps(qexec.Simulator("lightning.qubit", shots=20, name="mine", seed=1)))
    (counts,) = copied.run([QuantumScript(BELL, [qml.counts(wires=[0, 1])], shots=5)])
    assert (copied.name, copied.shots, sum(counts.values())) == ("mine", 20, 20)
