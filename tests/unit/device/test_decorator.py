"""Making QElectrons: of which QNodes, by which executors and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor


class Zeros(qexec.Executor):
    """What a user may write: every expectation value is zero."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return [np.float64(0.0) for _ in circuits]


def turn(angle: Any) -> Any:
    """Turn a qubit."""
    qml.RX(angle, 0)
    return qml.expval(qml.Z(0))


def qnode(shots: Any = None, device: Any = None) -> qml.QNode:
    return qml.set_shots(qml.QNode(turn, device or qml.device("default.qubit", wires=1)), shots)


def names(circuit: qexec.QElectron) -> list[str]:
    return [executor.name for executor in circuit.cluster.executors]


def ran(circuit: qexec.QElectron) -> list[str]:
    return [row.executor for row in circuit.history]


def test_the_decorator_needs_no_options() -> None:
    @qexec.qelectron
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(angle: Any) -> Any:
        return turn(angle)

    assert isinstance(circuit, qexec.QElectron)
    assert float(circuit(0.3)) == pytest.approx(np.cos(0.3))
    circuit.cluster.close()


def test_the_decorator_takes_options() -> None:
    @qexec.qelectron(executors=["default.qubit", "lightning.qubit"], selector="cyclic", name="turned")
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(angle: Any) -> Any:
        return turn(angle)

    circuit.map([0.1, 0.2])
    assert sorted(ran(circuit)) == ["default.qubit", "lightning.qubit"]
    circuit.cluster.close()


def test_empty_parentheses_are_no_options() -> None:
    circuit = qexec.qelectron()(qnode())
    assert names(circuit) == ["default.qubit"]
    circuit.cluster.close()


def test_one_decorator_makes_qelectrons_with_clusters_of_their_own() -> None:
    decorate = qexec.qelectron(executors="default.qubit")
    first, second = decorate(qnode()), decorate(qnode())
    first.cluster.close()
    assert float(second(0.3)) == pytest.approx(np.cos(0.3))
    second.cluster.close()


@pytest.mark.parametrize("thing", [turn, 3, "default.qubit", qml.device("default.qubit")], ids=type)
def test_only_qnodes_become_qelectrons(thing: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"is no QNode.*Put @qexec\.qelectron above @qml\.qnode"):
        qexec.qelectron(thing)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: "lightning.qubit", ["lightning.qubit"]),
        (lambda: "lightning.qubit, default.qubit", ["lightning.qubit", "default.qubit"]),
        (lambda: {"type": "lightning.qubit", "name": "fast"}, ["fast"]),
        (lambda: ["default.qubit", {"type": "default.qubit"}], ["default.qubit", "default.qubit#2"]),
        (lambda: ("default.qubit", "qiskit.aer"), ["default.qubit", "qiskit.aer"]),
        (ScriptedExecutor, ["scripted"]),
        (lambda: [ScriptedExecutor(), FakeQPU()], ["scripted", "fake-qpu"]),
        (lambda: qml.device("lightning.qubit", wires=1), ["lightning.qubit"]),
        (lambda: [qexec.QCluster("default.qubit,lightning.qubit"), "qiskit.aer"], None),
    ],
    ids=["string", "strings", "dict", "list", "tuple", "executor", "executors", "device", "nested"],
)
def test_executors_are_given_in_many_ways(electron: Any, make: Any, expected: Any) -> None:
    circuit = electron(qnode(), executors=make())
    assert names(circuit) == (expected or ["default.qubit+lightning.qubit", "qiskit.aer"])
    futures = [circuit.run_later(0.3) for _ in names(circuit)]
    assert np.allclose([circuit(0.3), *qexec.gather(futures)], np.cos(0.3))


def test_a_cluster_is_shared_by_qelectrons(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor("a"), ScriptedExecutor("b")])
    first, second = (qexec.qelectron(qnode(), executors=cluster) for _ in range(2))
    assert first.cluster is second.cluster is cluster
    first(0.1)
    second(0.2)
    assert ran(first) == ran(second) == ["a", "b"]


@pytest.mark.parametrize(
    "executors",
    [[], 3, "lightning.qubt", lambda: 1, ["default.qubit", None]],
    ids=["nothing", "number", "misspelt", "function", "half"],
)
def test_what_is_no_executor_is_refused(executors: Any) -> None:
    with pytest.raises(qexec.ConfigurationError):
        qexec.qelectron(qnode(), executors=executors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selctor": "cyclic"}, "'selctor'. Did you mean 'selector'"),
        ({"executor": "default.qubit"}, "'executor'. Did you mean 'executors'"),
        ({"nme": "circuit"}, "'nme'. Did you mean 'name'"),
        ({"shots": 10}, "shots"),
        ({"wires": 3}, "wires"),
        ({"device": "default.qubit"}, "device"),
        ({"timeout": -1}, "timeout=-1"),
        ({"selector": "cyclic", "split": "uniform"}, "give one of the two"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_nobody_knows_are_refused(options: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError) as refused:
        qexec.qelectron(**options)(qnode())
    assert message in str(refused.value)


@pytest.mark.parametrize("options", [{"selector": "cyclc"}, {"split": "unifrm"}, {"merge": "poold"}], ids=str)
def test_policies_that_nobody_knows_are_refused(options: Any) -> None:
    with pytest.raises(qexec.PolicyError, match=r"Did you mean '(cyclic|uniform|pooled)'"):
        qexec.qelectron(qnode(), **options)


def test_an_open_cluster_takes_no_options(open_cluster: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="'selector'"):
        qexec.qelectron(qnode(), executors=open_cluster("default.qubit"), selector="cyclic")


def test_a_qelectron_is_called_as_its_quantum_function(electron: Any) -> None:
    circuit = electron(qnode())
    assert (circuit.name, circuit.__name__) == ("turn", "turn")
    assert (circuit.description, circuit.__doc__) == ("Turn a qubit.", "Turn a qubit.")
    assert repr(circuit) == "<QElectron 'turn' on <QCluster of 'default.qubit'>>"
    assert circuit.__wrapped__ is turn


def test_a_qelectron_has_the_name_and_description_that_it_is_given(electron: Any) -> None:
    circuit = electron(qnode(), name="energy", description="of a molecule")
    assert (circuit.name, circuit.description, circuit.__name__) == ("energy", "of a molecule", "turn")
    assert "'energy'" in repr(circuit)
    assert qml.set_shots(circuit, 10).name == "energy"


def test_equal_executors_stay_two(electron: Any) -> None:
    circuit = electron(qnode(), executors=["default.qubit", "default.qubit"])
    circuit.map([0.1, 0.2])
    assert sorted(ran(circuit)) == ["default.qubit", "default.qubit#2"]


def test_executors_that_users_write_run_circuits(electron: Any) -> None:
    circuit = electron(qnode(), executors=[Zeros("zeros"), "default.qubit"])
    assert np.allclose([circuit(0.3), circuit(0.3), circuit.run_later(0.3).result(PATIENCE)], [0, np.cos(0.3), 0])


def test_clusters_inside_take_turns_among_themselves(electron: Any, open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor("a"), ScriptedExecutor("b")])
    circuit = electron(qnode(), executors=[inner, ScriptedExecutor("c")])
    assert np.allclose(circuit.map([0.1, 0.2, 0.3, 0.4]), np.cos([0.1, 0.2, 0.3, 0.4]))
    assert sorted(ran(circuit)) == ["a+b", "a+b", "c", "c"]
    assert sorted(row.executor for row in inner.history) == ["a", "b"]


@pytest.mark.parametrize("later", [False, True])
def test_shots_are_split_and_merged(electron: Any, later: bool) -> None:
    executors = [ScriptedExecutor("a"), ScriptedExecutor("b")]
    circuit = electron(qnode(101), executors=executors, split="uniform", merge="pooled")
    value = circuit.run_later(np.pi).result(PATIENCE) if later else circuit(np.pi)
    assert float(value) == -1
    assert [one.shots_run for one in executors] == [51, 50]


def test_a_merge_may_be_a_function(electron: Any) -> None:
    def sizes(circuit: QuantumScript, outcomes: Sequence[qexec.Outcome]) -> Any:
        return np.array([outcome.shots for outcome in outcomes])

    circuit = electron(
        qnode(10), executors=[ScriptedExecutor("a"), ScriptedExecutor("b")], split="uniform", merge=sizes
    )
    assert list(circuit(0.3)) == list(circuit.run_later(0.3).result(PATIENCE)) == [5, 5]


def test_the_history_has_a_row_for_each_circuit_now_and_later(electron: Any) -> None:
    circuit = electron(qnode(7), executors=[ScriptedExecutor("a"), ScriptedExecutor("b")])
    circuit(0.1)
    circuit.run_later(0.2).result(PATIENCE)
    table = circuit.history.to_dataframe()
    assert list(table["executor"]) == ["a", "b"]
    assert list(table["shots"]) == [7, 7]


def test_a_qnode_of_a_cluster_device_stays_on_it(open_device: Any) -> None:
    device = open_device([ScriptedExecutor("a"), ScriptedExecutor("b")], 1)
    circuit = qexec.qelectron(qnode(device=device))
    assert circuit.device is device
    circuit(0.1)
    qexec.gather([circuit.run_later(0.2)])
    assert ran(circuit) == [row.executor for row in device.history] == ["a", "b"]


def test_options_for_a_cluster_device_belong_to_that_device(open_device: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"a cluster already: give \['selector'\] to that device"):
        qexec.qelectron(qnode(device=open_device("default.qubit")), selector="random")


def test_a_qelectron_may_be_decorated_again(electron: Any) -> None:
    first = electron(qnode(), name="energy", description="of a molecule")
    again, elsewhere = qexec.qelectron(first), electron(first, executors=ScriptedExecutor())
    assert again.cluster is first.cluster
    assert names(elsewhere) == ["scripted"]
    assert [float(one(0.3)) for one in (again, elsewhere)] == pytest.approx([np.cos(0.3)] * 2)
    assert {(one.name, one.description) for one in (again, elsewhere)} == {("energy", "of a molecule")}


@pytest.mark.parametrize("own", [10, None])
def test_shots_of_the_executor_go_before_those_of_the_qnode(electron: Any, own: Any) -> None:
    circuit = electron(qnode(7), executors=qexec.Simulator(shots=own))
    for value in (circuit(0.3), circuit.run_later(0.3).result(PATIENCE)):
        assert (float(value) == pytest.approx(np.cos(0.3))) == (own is None)
    assert [row.shots for row in circuit.history] == [own or 0, own or 0]
