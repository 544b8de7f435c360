"""What executors are told of a call, and what they tell of themselves."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig

import pennylane_qexec as qexec
from pennylane_qexec.engine.process_pool import pickled
from pennylane_qexec.job import Call, Work
from pennylane_qexec.testing import ScriptedExecutor, flip

EXECUTORS = {
    "aer": lambda: qexec.executor("aer"),
    "lightning.qubit": lambda: qexec.executor("lightning.qubit"),
    "hybrid": lambda: qexec.Hybrid(["aer"]),
    "written by a user": ScriptedExecutor,
}


@pytest.mark.parametrize("name", EXECUTORS)
def test_circuits_of_a_gradient_can_be_sent_to_another_process_with_what_was_asked(name: str) -> None:
    with qml.device("qexec.cluster", wires=1, executors=[EXECUTORS[name]()]) as device:
        asked = device.setup_execution_config(ExecutionConfig(gradient_method=qml.gradients.param_shift))
        (executor,) = device.cluster.executors
        bound = executor.binder(asked, flip(0.1, 10))(flip(0.1, 10))
        work = pickle.loads(pickled(Work(bound.circuits, Call("execute", bound.config, bound=True))))
    assert work.call.config.gradient_method is None


def test_an_aer_executor_with_a_seed_stays_in_this_process_unless_it_is_told_otherwise() -> None:
    assert qexec.executor("aer").shareable
    assert not qexec.executor("aer", seed=3).shareable


def test_the_history_says_which_member_ran_a_circuit() -> None:
    hybrid = qexec.Hybrid({"small": "lightning.qubit", "own": ScriptedExecutor()}, rule=lambda _, members: members[-1])
    with qexec.QCluster([hybrid]) as cluster:
        cluster.execute([flip(0.1, 10)])
        assert [(row.executor, row.backend) for row in cluster.history] == [("hybrid", "own")]


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_a_state_that_memory_has_no_room_for_is_refused_at_once(name: str) -> None:
    wide = qml.tape.QuantumScript([qml.H(wire) for wire in range(60)], [qml.expval(qml.Z(0))])
    assert "of memory" in str(qexec.executor(name).rejects(wide))


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True])
@pytest.mark.parametrize(
    "make", [lambda seed: qexec.QCluster("aer", seed=seed), lambda seed: qexec.executor("aer", seed=seed)]
)
def test_a_seed_that_is_no_number_is_refused(make: Any, seed: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="must be a whole number"):
        make(seed=seed)


def test_a_seed_may_be_a_number_of_numpy() -> None:
    with qexec.QCluster("aer", seed=np.int64(3)) as cluster:
        assert cluster.executors


def test_a_scheme_without_what_it_needs_says_so() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'hybrid'.*members"):
        qexec.executor("hybrid")
