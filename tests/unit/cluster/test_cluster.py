"""Clusters used without a device, and policies chosen after they have opened."""

from __future__ import annotations

from typing import Any

import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.testing import ScriptedExecutor, flip

TWO = ["first", "second"]


class NoSuchGate(qml.operation.Operation):
    """A gate that says nothing of what it does."""

    num_wires = 1


def two() -> list[qexec.Executor]:
    return [ScriptedExecutor(name) for name in TWO]


def who_ran(cluster: qexec.QCluster) -> list[str]:
    return [row.executor for row in cluster.history]


def test_a_policy_registered_later_can_be_used_by_its_name(open_cluster: Any) -> None:
    cluster = open_cluster(two())
    cluster.policies.register("selector", "always_last", lambda circuit, executors: executors[-1])
    cluster.use(selector="always_last")
    cluster.execute([flip(0.1, 10)] * 3)
    assert who_ran(cluster) == ["second"] * 3


def test_a_split_chosen_later_splits_and_a_selector_ends_it(open_cluster: Any) -> None:
    cluster = open_cluster(two())
    cluster.use(split="uniform")
    cluster.execute([flip(0.1, 10)])
    cluster.use(selector="cyclic")
    cluster.execute([flip(0.1, 10)])
    assert [row.shots for row in cluster.history] == [5, 5, 10]


def test_a_wrong_choice_changes_nothing(open_cluster: Any) -> None:
    cluster = open_cluster(two(), split="uniform")
    with pytest.raises(qexec.ConfigurationError):
        cluster.use(selector="cyclic", split="multiplier")
    with pytest.raises(qexec.PolicyError, match=r"'secnd'\. Did you mean 'second'"):
        cluster.use(split=qexec.splits.weighted({"secnd": 1}))
    with pytest.raises(qexec.PolicyError):
        cluster.use(split="multiplier", merge="poled")
    assert cluster.execute([flip(0.0, 10)]) == [1.0]
    assert [row.shots for row in cluster.history] == [5, 5]


def test_what_is_no_list_of_circuits_is_refused(open_cluster: Any) -> None:
    cluster = open_cluster(two())
    for wrong in (flip(0.1, 10), [lambda: qml.expval(qml.Z(0))]):
        with pytest.raises(qexec.ConfigurationError, match="give a list of QuantumScripts"):
            cluster.execute(wrong)


@pytest.mark.parametrize("options", [{"selector": "least_loaded"}, {"selector": "cyclic"}])
@pytest.mark.parametrize("parallel", ["auto", "process"])
def test_what_no_executor_can_run_is_refused_before_anything_runs(
    options: dict[str, str], parallel: str, open_cluster: Any
) -> None:
    cluster = open_cluster([{"type": "default.qubit", "parallel": parallel}], **options)
    unknown = QuantumScript([NoSuchGate(wires=0)], [qml.probs(wires=0)], shots=5)
    with pytest.raises(qexec.NoExecutorError, match="NoSuchGate"):
        cluster.execute([unknown])
    assert len(cluster.history) == 0


def test_a_selector_may_use_the_cluster_it_chooses_for(open_cluster: Any) -> None:
    def select_and_change(circuit: QuantumScript, executors: Any) -> Any:
        cluster.use(selector="cyclic")
        return executors[-1]

    cluster = open_cluster(two(), selector=select_and_change)
    cluster.execute([flip(0.1, 10)] * 3)
    assert sorted(who_ran(cluster)) == ["first", "second", "second"]
