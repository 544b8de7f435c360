"""Names of policies: built-in, of installed packages, of one cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pennylane_qexec as qexec
from pennylane_qexec import merges, selectors, splits
from pennylane_qexec.policies import Policies
from pennylane_qexec.testing import ScriptedExecutor, flip

PLUGIN = """
from pennylane_qexec.policies.merges import Pooled

def last(circuit, executors):
    return executors[-1]

def all_to_last(circuit, executors):
    return [(executors[-1], circuit.shots.total_shots)]

merge = Pooled()
"""
ENTRY_POINTS = """
[pennylane_qexec.selectors]
last = a_plugin_for_policies:last

[pennylane_qexec.splits]
all_to_last = a_plugin_for_policies:all_to_last

[pennylane_qexec.merges]
mine = a_plugin_for_policies:merge
"""


def last(circuit: Any, executors: Any) -> Any:
    return executors[-1]


@pytest.fixture
def policies() -> Policies:
    return Policies(np.random.default_rng(0))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installed package that brings policies."""
    (tmp_path / "a_plugin_for_policies.py").write_text(PLUGIN)
    metadata = tmp_path / "a_plugin_for_policies-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin-for-policies\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("a_plugin_for_policies", None)


def executors() -> list[qexec.Executor]:
    return [ScriptedExecutor(f"executor-{index}") for index in range(3)]


def test_built_in_names_are_known(policies: Policies) -> None:
    assert policies.names("selector") == ["cyclic", "least_loaded", "random"]
    assert policies.names("split") == ["multiplier", "proportional", "uniform"]
    assert policies.names("merge") == ["pooled"]


def test_a_name_is_shorthand_for_a_value(policies: Policies) -> None:
    assert policies.resolve("split", "uniform") is splits.uniform
    assert policies.resolve("merge", "pooled") is merges.pooled
    assert policies.resolve("selector", "least_loaded") is selectors.least_loaded


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("selector", "cyclc", "cyclic"), ("split", "uniforn", "uniform"), ("merge", "poold", "pooled")],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(policies: Policies, kind: Any, name: str, near: str) -> None:
    with pytest.raises(qexec.PolicyError) as caught:
        policies.resolve(kind, name)
    message = str(caught.value)
    assert message.startswith(f"no {kind} is called {name!r}. Did you mean {near!r}? Known: ")
    assert f"pennylane_qexec.{kind}s" in message


def test_a_name_near_to_none_is_answered_with_all(policies: Policies) -> None:
    with pytest.raises(qexec.PolicyError, match=r"'xyz'\. Known: cyclic, least_loaded, random\. Pass a function"):
        policies.resolve("selector", "xyz")


@pytest.mark.parametrize("option", ["selector", "split", "merge"])
def test_a_cluster_refuses_an_unknown_name_when_it_is_built(option: str) -> None:
    with pytest.raises(qexec.PolicyError, match=f"no {option} is called 'nonsense'"):
        qexec.QCluster(executors(), **{option: "nonsense"})


@pytest.mark.parametrize("kind", ["selector", "split", "merge"])
@pytest.mark.parametrize("value", [3, ["cyclic"], object()])
def test_what_is_no_policy_is_refused(policies: Policies, kind: Any, value: Any) -> None:
    with pytest.raises(qexec.PolicyError, match=rf"is no {kind}: give a name or a function \(circuit") as caught:
        policies.resolve(kind, value)
    assert repr(value) in str(caught.value)


def test_a_registered_name_is_known_to_its_cluster_only(open_cluster: Any) -> None:
    one, other = open_cluster(executors()), open_cluster(executors())
    one.policies.register("selector", "last", last)
    assert one.policies.resolve("selector", "last") is last
    assert "last" in one.policies.names("selector")
    with pytest.raises(qexec.PolicyError, match="'last'"):
        other.policies.resolve("selector", "last")


def test_a_registered_name_goes_before_a_built_in_one(open_cluster: Any) -> None:
    one, other = open_cluster(executors()), open_cluster(executors())
    one.policies.register("split", "uniform", splits.multiplier)
    assert one.policies.resolve("split", "uniform") is splits.multiplier
    assert other.policies.resolve("split", "uniform") is splits.uniform


def test_a_name_registered_again_means_the_newer_policy(policies: Policies) -> None:
    policies.register("selector", "mine", selectors.least_loaded)
    policies.register("selector", "mine", last)
    assert policies.resolve("selector", "mine") is last


def test_values_as_the_built_in_ones_can_be_registered(policies: Policies) -> None:
    policies.register("selector", "mostly_a", selectors.weighted({"executor-0": 1}))
    policies.register("merge", "mine", merges.pooled)
    among = executors()
    assert policies.resolve("selector", "mostly_a")(flip(0.1), among) is among[0]
    assert policies.resolve("merge", "mine") is merges.pooled


def test_an_unknown_kind_is_answered_with_the_nearest_one(policies: Policies) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'selectr'. Did you mean 'selector'\?"):
        policies.register("selectr", "last", last)  # type: ignore[arg-type]


def test_only_functions_can_be_registered(policies: Policies) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"a split must be a function .*, not 'uniform'"):
        policies.register("split", "mine", "uniform")  # type: ignore[arg-type]


def test_a_mapping_gives_the_arguments_of_a_policy(policies: Policies) -> None:
    among = executors()
    select = policies.resolve("selector", {"weighted": {"executor-1": 2}})
    assert {select(flip(0.1), among).name for _ in range(20)} == {"executor-1"}
    split = policies.resolve("split", {"weighted": {"executor-1": 2, "executor-2": 1}})
    assert [shots for _, shots in split(flip(0.1, 9), among)] == [0, 6, 3]


@pytest.mark.parametrize("mapping", [{"wieghted": {"a": 1}}, {"weighted": {"a": 1}, "cyclic": {}}, {}])
def test_a_mapping_that_names_no_policy_is_refused(policies: Policies, mapping: dict[str, Any]) -> None:
    with pytest.raises(qexec.PolicyError, match="selector with arguments"):
        policies.resolve("selector", mapping)


@pytest.mark.usefixtures("plugin")
def test_installed_packages_bring_policies(open_cluster: Any) -> None:
    cluster = open_cluster(executors(), selector="last")
    cluster.execute([flip(0.1, 10)])
    assert [row.executor for row in cluster.history] == ["executor-2"]


@pytest.mark.usefixtures("plugin")
def test_policies_of_installed_packages_are_among_the_names(policies: Policies) -> None:
    assert "last" in policies.names("selector")
    assert "all_to_last" in policies.names("split")
    assert "mine" in policies.names("merge")


@pytest.mark.usefixtures("plugin")
def test_splits_and_merges_of_installed_packages_are_used(open_cluster: Any) -> None:
    cluster = open_cluster(executors(), split="all_to_last", merge="mine")
    cluster.execute([flip(0.1, 10)])
    assert [(row.executor, row.shots) for row in cluster.history] == [("executor-2", 10)]
