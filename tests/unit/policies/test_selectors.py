"""Selectors: who runs a circuit, whole."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.stats

import pennylane_qexec as qexec
from pennylane_qexec import selectors
from pennylane_qexec.testing import ScriptedExecutor, flip

CIRCUIT = flip(0.1, 10)


def executors(number: int = 3) -> list[qexec.Executor]:
    return [ScriptedExecutor(f"executor-{index}") for index in range(number)]


def policy(value: Any, seed: int = 0) -> Any:
    return value.fresh(np.random.default_rng(seed))


def chosen(select: Any, times: int, among: list[qexec.Executor]) -> list[str]:
    return [select(CIRCUIT, among).name for _ in range(times)]


def names_that_ran(cluster: qexec.QCluster) -> list[str]:
    return [row.executor for row in cluster.history]


def test_cyclic_takes_one_after_the_other() -> None:
    assert chosen(policy(selectors.cyclic), 5, executors()) == [f"executor-{index}" for index in (0, 1, 2, 0, 1)]


def test_cyclic_goes_on_when_an_executor_is_left_out() -> None:
    all_three, select = executors(), policy(selectors.cyclic)
    assert chosen(select, 1, all_three) == ["executor-0"]
    assert chosen(select, 3, all_three[:2]) == ["executor-1", "executor-0", "executor-1"]


def test_cyclic_goes_on_across_calls(open_cluster: Any) -> None:
    cluster = open_cluster(executors(), selector="cyclic")
    for _ in range(4):
        cluster.execute([CIRCUIT])
    assert names_that_ran(cluster) == ["executor-0", "executor-1", "executor-2", "executor-0"]


def test_cyclic_is_what_a_cluster_does_unless_told_otherwise(open_cluster: Any) -> None:
    cluster = open_cluster(executors(2))
    cluster.execute([CIRCUIT] * 4)
    assert Counter(names_that_ran(cluster)) == {"executor-0": 2, "executor-1": 2}


def test_every_cluster_has_a_cycle_of_its_own(open_cluster: Any) -> None:
    first, second = open_cluster(executors()), open_cluster(executors())
    first.execute([CIRCUIT])
    second.execute([CIRCUIT])
    assert names_that_ran(first) == names_that_ran(second) == ["executor-0"]


def test_threads_that_choose_at_once_skip_nobody(open_cluster: Any) -> None:
    cluster = open_cluster(executors(4))

    def choose(_: int) -> str:
        return str(cluster.select(CIRCUIT, cluster.executors).name)

    with ThreadPoolExecutor(8) as pool:
        assert set(Counter(pool.map(choose, range(400))).values()) == {100}


def test_random_chooses_every_executor_equally_often() -> None:
    counts = Counter(chosen(policy(selectors.random), 3000, executors()))
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-4
    assert len(counts) == 3


@pytest.mark.parametrize("selector", ["random", selectors.weighted({"executor-0": 1, "executor-1": 2})])
def test_a_cluster_s_seed_decides_what_is_chosen_at_random(open_cluster: Any, selector: Any) -> None:
    def run(seed: int) -> list[str]:
        cluster = open_cluster(executors(), selector=selector, seed=seed)
        return [cluster.select(CIRCUIT, cluster.executors).name for _ in range(40)]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_weighted_chooses_in_proportion_to_the_weights() -> None:
    select = policy(selectors.weighted({"executor-0": 1, "executor-1": 3, "executor-2": 6}))
    counts = Counter(chosen(select, 5000, executors()))
    observed = [counts[f"executor-{index}"] for index in range(3)]
    assert scipy.stats.chisquare(observed, [500, 1500, 3000]).pvalue > 1e-4


def test_weighted_never_chooses_who_is_not_named_or_has_weight_0() -> None:
    select = policy(selectors.weighted({"executor-1": 0.5, "executor-2": 0}))
    assert set(chosen(select, 200, executors())) == {"executor-1"}


def test_weighted_says_whom_it_cannot_choose_among() -> None:
    select = policy(selectors.weighted({"lightnig": 1}))
    with pytest.raises(qexec.PolicyError, match=r"lightnig.*none of the executors.*'executor-0', 'executor-1'"):
        select(CIRCUIT, executors(2))


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": 1, "b": -0.5}, {"a": float("nan")}, {"a": float("inf")}])
@pytest.mark.parametrize("weighted", [selectors.weighted, qexec.splits.weighted])
def test_weights_that_share_nothing_out_are_refused_at_once(weighted: Any, weights: dict[str, float]) -> None:
    with pytest.raises(qexec.PolicyError) as caught:
        weighted(weights)
    assert repr(weights) in str(caught.value)
    assert "positive" in str(caught.value)


@pytest.mark.parametrize("weights", [{"a": "many"}, {"a": None}, ["a", "b"]])
@pytest.mark.parametrize("weighted", [selectors.weighted, qexec.splits.weighted])
def test_weights_that_are_no_numbers_are_refused_at_once(weighted: Any, weights: Any) -> None:
    with pytest.raises(qexec.PolicyError, match="weights"):
        weighted(weights)


def test_least_loaded_as_a_function_takes_the_first_with_the_fewest_waiting() -> None:
    candidates = executors()
    candidates[0].meter.add(2)
    candidates[1].meter.add(1)
    candidates[2].meter.add(1)
    assert selectors.least_loaded(CIRCUIT, candidates) is candidates[1]


def test_a_function_chooses_by_the_circuit(open_cluster: Any) -> None:
    cluster = open_cluster(
        ["default.qubit", "lightning.qubit"], selector=lambda circuit, among: among[len(circuit.wires) > 1]
    )
    wide = flip(0.1).copy(operations=[*flip(0.1).operations, *flip(0.2, wire=1).operations])
    cluster.execute([wide, flip(0.1), wide])
    assert sorted(names_that_ran(cluster)) == ["default.qubit", "lightning.qubit", "lightning.qubit"]


@pytest.mark.parametrize("returned", [None, "executor-0", 0, ScriptedExecutor("stranger")])
def test_a_function_that_returns_something_else_is_told_what_to_return(open_cluster: Any, returned: Any) -> None:
    cluster = open_cluster(executors(2), selector=lambda circuit, among: returned)
    with pytest.raises(qexec.PolicyError, match=r"Return one of the executors it is given: 'executor-0'") as caught:
        cluster.execute([CIRCUIT])
    assert repr(returned) in str(caught.value)
    assert len(cluster.history) == 0
