"""QElectrons that are sent to other processes, and to this one again."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pennylane as qml
import pytest
from fakes import programs

import pennylane_qexec as qexec

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PROGRAM = """
import sys, cloudpickle
circuit = cloudpickle.load(open(sys.argv[1], "rb"))
print(circuit(0.3), circuit.run_later(0.3).result(), circuit.map([0.3])[0])
print([row.executor for row in circuit.history])
"""


@qml.transform
def doubled(tape: qml.tape.QuantumScript) -> Any:
    return (tape,), lambda results: 2 * results[0]


def turn(x: Any) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def last(circuit: qml.tape.QuantumScript, executors: Sequence[qexec.Executor]) -> qexec.Executor:
    return executors[-1]


def qelectron(executors: Any = "lightning.qubit", **options: Any) -> qexec.QElectron:
    return qexec.qelectron(qml.QNode(turn, qml.device("default.qubit", wires=1)), executors=executors, **options)


def elsewhere(circuit: qexec.QElectron, folder: Path) -> list[str]:
    """What another process prints that is sent a QElectron."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    path = folder / "circuit.pkl"
    path.write_bytes(cloudpickle.dumps(circuit))
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    return programs.run(PROGRAM, str(path)).stdout.splitlines()


def test_another_process_can_call_it_now_and_later(tmp_path: Path) -> None:
    values, executors = elsewhere(qelectron(["lightning.qubit", "default.qubit"]), tmp_path)
    assert np.allclose([float(value) for value in values.split()], np.cos(0.3))
    assert executors == "['lightning.qubit', 'default.qubit', 'lightning.qubit']"


def test_a_selector_of_the_user_goes_along(tmp_path: Path) -> None:
    circuit = qelectron(["lightning.qubit", "default.qubit"], selector=last)
    assert elsewhere(circuit, tmp_path)[1] == "['default.qubit', 'default.qubit', 'default.qubit']"


def test_a_policy_registered_on_its_cluster_goes_along(tmp_path: Path) -> None:
    circuit = qelectron(["lightning.qubit", "default.qubit"])
    circuit.cluster.policies.register("selector", "last", last)
    circuit.cluster.use(selector="last")
    assert elsewhere(circuit, tmp_path)[1] == "['default.qubit', 'default.qubit', 'default.qubit']"


@pytest.mark.parametrize("transform", [doubled, qml.transforms.merge_rotations], ids=["own", "of PennyLane"])
def test_transforms_go_along(transform: Any, tmp_path: Path) -> None:
    circuit = transform(qelectron())
    (values, _) = elsewhere(circuit, tmp_path)
    assert np.allclose([float(value) for value in values.split()], circuit(0.3))


def test_nested_clusters_and_simulators_go_along(tmp_path: Path) -> None:
    circuit = qelectron([qexec.QCluster(["default.qubit"]), qexec.Simulator()])
    assert elsewhere(circuit, tmp_path)[1] == "['default.qubit', 'Simulator', 'default.qubit']".replace(
        "Simulator", circuit.cluster.executors[1].name
    )


def test_in_the_same_process_it_is_the_same_cluster() -> None:
    circuit = qelectron(["lightning.qubit", "default.qubit"])
    again = cloudpickle.loads(cloudpickle.dumps(circuit))
    assert again.cluster is circuit.cluster
    assert copy.deepcopy(circuit).cluster is circuit.cluster
    assert again(0.3) == circuit(0.3)


def test_it_comes_twice_and_takes_turns_on_one_cluster() -> None:
    circuit = qelectron(["lightning.qubit", "default.qubit"])
    pickled = cloudpickle.dumps(circuit)
    circuit.cluster.close()
    first, second = cloudpickle.loads(pickled), cloudpickle.loads(pickled)
    first(0.1)
    second(0.1)
    assert [row.executor for row in first.history] == ["lightning.qubit", "default.qubit"]


def test_a_way_to_run_in_parallel_is_kept() -> None:
    circuit = qelectron(qexec.Simulator(workers=3))
    pickled = cloudpickle.dumps(circuit)
    circuit.cluster.close()
    (executor,) = cloudpickle.loads(pickled).cluster.executors
    assert (executor.parallel, executor.workers) == ("thread", 3)


def test_what_the_last_call_recorded_stays_here() -> None:
    circuit = qelectron()
    circuit(0.3)
    assert cloudpickle.loads(cloudpickle.dumps(circuit))._tape is None
