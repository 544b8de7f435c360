"""Bad input is refused before anything runs, with what was wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor, flip

RETRY = qexec.retries.backoff(attempts=2, initial=0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lightnig.qubit", r"no executor is called 'lightnig.qubit'. Did you mean 'lightning.qubit'\?"),
        ({"type": "default.qubti"}, r"no executor is called 'default.qubti'. Did you mean 'default.qubit'\?"),
        ("nonsense:rest", r"no executor is called 'nonsense:rest'. Known: .*lightning.qubit"),
        ({"name": "m1"}, r"\['name'\] has no 'type': name a device"),
        ({"type": 3}, r"name a device"),
        (42, r"42 is no executor: give a device's name"),
        (None, r"None is no executor"),
        ({"type": "lightning.qubit", "nonsense": 1}, r"options \['nonsense'\] failed"),
        ({"type": "lightning.qubit", "workers": 0}, r"workers=0 must be a whole number of at least 1"),
        ({"type": "lightning.qubit", "max_shots": -5}, r"max_shots=-5 must be a whole number"),
        ({"type": "lightning.qubit", "batch_window": -1}, r"batch_window=-1 is negative"),
        ({"type": "lightning.qubit", "parallel": "proces"}, r"'proces'. Did you mean 'process'\?"),
    ],
)
def test_a_spec_that_means_no_executor_is_refused(spec: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.QCluster([spec])


def test_an_unknown_device_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(
        qexec.ConfigurationError, match=r"'default.qubits'. Did you mean 'default.qubit'\? Known: .*plug-in"
    ):
        qexec.DeviceExecutor("default.qubits")


@pytest.mark.parametrize("executors", [[], "", " , ", ()])
def test_no_executors_are_refused(executors: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"no executors were given: name at least one"):
        qexec.QCluster(executors)


def test_one_executor_given_twice_is_refused() -> None:
    executor = ScriptedExecutor()
    with pytest.raises(qexec.ConfigurationError, match="given twice"):
        qexec.QCluster([executor, executor])


@pytest.mark.parametrize("option", ["selector", "split", "merge"])
def test_an_unknown_policy_is_refused_when_the_device_is_made(option: str) -> None:
    with pytest.raises(qexec.PolicyError, match=rf"no {option} is called 'unifrom'.*Known: "):
        qexec.ClusterDevice(2, **{option: "unifrom"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selector": "cyclic", "split": "uniform"}, r"selector='cyclic' .* split='uniform' .*: give one of the two"),
        ({"executors": "default.qubit", "config": "lab"}, r"executors and config were given together.*Give one"),
        ({"timeout": 0}, r"timeout=0 must be a number of seconds above 0, or None"),
        ({"timeout": -1.5}, r"timeout=-1.5"),
        ({"batch_window": -1}, r"batch_window=-1 must be a number of seconds, at least 0"),
        ({"selectr": "cyclic"}, r"'selectr'.*Did you mean 'selector'\?"),
        ({"parallel": "thread"}, r"'parallel'.*executor"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.ClusterDevice(2, **options)


def test_a_shared_cluster_takes_no_more_options(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor()])
    with pytest.raises(qexec.ConfigurationError, match="executors and cluster were given together"):
        qexec.ClusterDevice(2, cluster=cluster, executors="default.qubit")
    with pytest.raises(qexec.ConfigurationError, match=r"built already: give \['selector'\]"):
        qexec.ClusterDevice(2, cluster=cluster, selector="random")


@pytest.mark.filterwarnings("ignore:Setting shots on device is deprecated")
@pytest.mark.parametrize("shots", [0, -5, 1.5, (10, 0)], ids=str)
def test_shots_that_are_no_positive_numbers_are_refused(open_device: Any, shots: Any) -> None:
    device = open_device([ScriptedExecutor()], 1)
    circuit = qml.QNode(lambda: qml.expval(qml.Z(0)), device)
    with pytest.raises(ValueError, match=r"[Ss]hots"):
        qml.set_shots(circuit, shots)()
    with pytest.raises(ValueError, match=r"[Ss]hots"):
        qexec.ClusterDevice(1, shots=shots)
    assert len(device.history) == 0


def test_a_selector_that_returns_something_else_is_refused(open_device: Any) -> None:
    device = open_device([ScriptedExecutor()], 1, selector=lambda circuit, executors: "scripted")
    with pytest.raises(qexec.PolicyError, match=r"returned 'scripted'.*Return one of the executors it is given"):
        qml.execute([flip(0.1)], device)
    assert len(device.history) == 0


def test_a_split_whose_shots_do_not_add_up_is_refused(open_device: Any) -> None:
    device = open_device([ScriptedExecutor()], 1, split=lambda circuit, executors: [(executors[0], 9)])
    with pytest.raises(qexec.PolicyError, match=r"shared out 9 shots of 10. Make the shares add up exactly"):
        qml.execute([flip(0.1, 10)], device)
    assert len(device.history) == 0


@pytest.mark.parametrize(
    "policy", [{"selector": "cyclic"}, {"selector": "least_loaded"}, {"split": "uniform"}], ids=str
)
@pytest.mark.parametrize("shots", [None, 10])
def test_wires_that_no_executor_has_are_refused(open_cluster: Any, policy: Any, shots: Any) -> None:
    narrow = [{"type": "default.qubit", "wires": 2, "name": "a"}, {"type": "lightning.qubit", "wires": 3, "name": "b"}]
    cluster = open_cluster(narrow, **policy)
    wide = QuantumScript([qml.CNOT([0, wire]) for wire in range(1, 5)], [qml.expval(qml.Z(0))], shots=shots)
    with pytest.raises(qexec.NoExecutorError) as caught:
        cluster.execute([wide])
    assert "5 wires" in str(caught.value)
    assert "'a' has 2 wires, and no wire 2, 3, 4" in str(caught.value)
    assert "'b' has 3 wires, and no wire 3, 4" in str(caught.value)
    assert "qml.cut_circuit" in str(caught.value)
    assert len(cluster.history) == 0


@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_wires_that_the_device_does_not_have_are_refused(open_device: Any, policy: Any) -> None:
    device = open_device([ScriptedExecutor(), "default.qubit"], 2, **policy)
    with pytest.raises(qml.exceptions.WireError, match="5"):
        qml.execute([flip(0.1, 10, wire=5)], device)
    assert len(device.history) == 0


class Unknown(qml.operation.Operation):
    """A gate that nobody has, and that is made of no others."""

    num_wires = 1
    num_params = 0


class Strange(qml.operation.Operator):
    """An observable that nobody can measure."""

    num_wires = 1
    num_params = 0
    is_hermitian = True


UNSUPPORTED = {
    "gate": QuantumScript([Unknown(0)], [qml.expval(qml.Z(0))]),
    "gate with shots": QuantumScript([Unknown(0)], [qml.expval(qml.Z(0))], shots=10),
    "observable": QuantumScript([], [qml.expval(Strange(0))]),
    "observable with shots": QuantumScript([], [qml.expval(Strange(0))], shots=10),
}


@pytest.mark.filterwarnings("ignore:Operator Unknown does not define a decomposition")
@pytest.mark.parametrize("circuit", UNSUPPORTED.values(), ids=UNSUPPORTED)
@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}], ids=str)
def test_what_no_executor_supports_is_refused(open_device: Any, circuit: Any, policy: Any) -> None:
    device = open_device("lightning.qubit,default.qubit,cirq.simulator,qiskit.aer", 1, **policy)
    with pytest.raises(qexec.NoExecutorError, match="Unknown" if circuit.operations else "Strange"):
        qml.execute([circuit], device)
    assert len(device.history) == 0


@pytest.mark.filterwarnings("ignore:Operator Unknown does not define a decomposition")
@pytest.mark.parametrize("circuit", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_executors_that_pull_find_out_when_they_prepare_the_circuit(open_device: Any, circuit: Any) -> None:
    device = open_device("lightning.qubit,default.qubit,cirq.simulator", 1, selector="least_loaded")
    with pytest.raises(qexec.QExecError, match="Unknown" if circuit.operations else "Strange"):
        qml.execute([circuit], device)
    assert not any(row.state is qexec.JobState.DONE for row in device.history)


def test_an_executor_that_fails_is_named_with_the_attempt_and_the_cause(open_device: Any) -> None:
    cause = OSError("line noise")
    device = open_device([ScriptedExecutor("qpu", failures=[cause] * 2)], retry=RETRY)
    with pytest.raises(qexec.ExecutorError, match=r"'qpu' failed at attempt 2: OSError: line noise") as caught:
        qml.execute([flip(0.1)], device)
    assert (caught.value.executor, caught.value.attempt, caught.value.cause) == ("qpu", 2, cause)
    assert caught.value.__cause__ is cause


def test_failover_saves_the_results_of_a_batch(open_device: Any) -> None:
    executors = [ScriptedExecutor("broken", failures=[ValueError("no")] * 9), ScriptedExecutor("good")]
    device = open_device(executors, retry=RETRY)
    angles = np.array([0.1, 0.2, 0.3, 0.4])
    assert np.allclose(qml.execute([flip(angle) for angle in angles], device), np.cos(angles))
    assert {row.executor for row in device.history} == {"good"}


def test_a_narrow_circuit_is_not_told_to_become_narrower(open_cluster: Any) -> None:
    circuit = QuantumScript([qml.RX(0.1, 0)], [qml.classical_shadow(wires=[0])], shots=10)
    with pytest.raises(qexec.NoExecutorError, match="not accepted") as caught:
        open_cluster(["lightning.qubit"], wires=1).execute([circuit])
    assert "cut_circuit" not in str(caught.value)


def test_what_is_no_list_is_refused_with_a_sentence(open_cluster: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="3 is no list of circuits"):
        open_cluster(["default.qubit"]).execute(3)


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "cirq.simulator", "aer"])
def test_a_barrier_may_be_on_wires_that_nobody_has(open_cluster, name):
    operations = [qml.H(0), qml.CNOT([0, 1]), qml.Barrier(wires=[0, 1, 2])]
    circuit = qml.tape.QuantumScript(operations, [qml.probs(wires=[0, 1])])
    (got,) = open_cluster([name], wires=2).execute([circuit])
    assert np.allclose(got, [0.5, 0, 0, 0.5], atol=1e-6)


def test_a_mistake_within_an_executor_is_not_taken_for_wrong_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str = "", wires: Any = None) -> qexec.Executor:
        raise TypeError("unsupported operand type(s) for +: 'int' and 'str'")

    class Point:
        def load(self) -> Any:
            return broken

    monkeypatch.setattr("pennylane_qexec.executors.specs.schemes", lambda: {"broken": Point()})
    with pytest.raises(TypeError, match="unsupported operand"):
        qexec.QCluster(["broken"])
    with pytest.raises(qexec.ConfigurationError, match=r"options \['colour'\]: .*unexpected keyword argument 'colour'"):
        qexec.QCluster([{"type": "broken", "colour": "red"}])
