"""Splits: how a circuit's shots are shared out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pennylane_qexec as qexec
from pennylane_qexec import splits
from pennylane_qexec.testing import ScriptedExecutor, flip


def executors(number: int = 3) -> list[qexec.Executor]:
    return [ScriptedExecutor(f"executor-{index}") for index in range(number)]


def shares(split: Any, shots: int, among: list[qexec.Executor] | None = None) -> list[int]:
    return [share for _, share in split(flip(0.1, shots), among or executors())]


def shots_by_executor(cluster: qexec.QCluster) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in cluster.history:
        total[row.executor] += row.shots
    return dict(total)


@pytest.mark.slow
@given(st.integers(0, 10**12), st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any))
def test_apportioned_numbers_add_up_and_are_within_one_of_their_quotas(total: int, weights: list[float]) -> None:
    numbers = splits.apportion(total, weights)
    assert sum(numbers) == total
    assert all(
        abs(number - total * weight / sum(weights)) < 1 + 1e-12 * total
        for number, weight in zip(numbers, weights, strict=True)
    )


def test_remainders_go_to_the_largest_and_ties_to_the_first() -> None:
    assert splits.apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert splits.apportion(10, [1.4, 1.0, 2.6]) == [3, 2, 5]


def test_equal_weights_that_floating_point_cannot_add_share_exactly() -> None:
    assert splits.apportion(3 * 10**17, [0.1, 0.1, 0.1]) == [10**17] * 3


def test_uniform_gives_the_remainder_to_the_first() -> None:
    assert shares(splits.uniform, 11) == [4, 4, 3]


def test_multiplier_gives_all_the_shots_to_everybody() -> None:
    assert shares(splits.multiplier, 11) == [11, 11, 11]


def test_weighted_shares_by_largest_remainder() -> None:
    assert shares(splits.weighted({"executor-0": 1, "executor-1": 2, "executor-2": 4}), 100) == [14, 29, 57]


def test_weighted_gives_nothing_to_who_is_not_named() -> None:
    assert shares(splits.weighted({"executor-1": 0.1}), 7) == [0, 7, 0]


def test_proportional_shares_by_measured_throughput() -> None:
    fast, slow = executors(2)
    fast.meter.ran(1, 3000, seconds=1.0)
    slow.meter.ran(1, 1000, seconds=1.0)
    assert shares(splits.proportional, 100, [fast, slow]) == [75, 25]


def test_proportional_takes_a_newcomer_for_average() -> None:
    fast, slow, new = executors(3)
    fast.meter.ran(1, 3000, seconds=1.0)
    slow.meter.ran(1, 1000, seconds=1.0)
    assert shares(splits.proportional, 600, [fast, slow, new]) == [300, 100, 200]


def test_proportional_is_uniform_before_anything_ran() -> None:
    assert shares(splits.proportional, 10) == [4, 3, 3]


@pytest.mark.parametrize("split", [splits.uniform, splits.multiplier, splits.proportional, splits.weighted({"x": 1})])
def test_an_analytic_circuit_cannot_be_shared_out(split: Any) -> None:
    with pytest.raises(qexec.AnalyticCircuitError, match=r"qml\.set_shots"):
        split(flip(0.1), [ScriptedExecutor("x")])


@pytest.mark.parametrize("split", ["uniform", "multiplier"])
def test_a_cluster_sends_an_analytic_circuit_whole(open_cluster: Any, split: Any) -> None:
    cluster = open_cluster(executors(), split=split)
    cluster.execute([flip(0.1)])
    assert [row.shots for row in cluster.history] == [0]


def test_who_gets_no_shots_is_sent_nothing(open_cluster: Any) -> None:
    cluster = open_cluster(executors(), split="uniform")
    cluster.execute([flip(0.1, 2)])
    assert shots_by_executor(cluster) == {"executor-0": 1, "executor-1": 1}


def test_a_single_share_goes_whole_with_its_own_measurements(open_cluster: Any) -> None:
    only = ScriptedExecutor()
    open_cluster([only], split="uniform").execute([flip(0.1, 10)])
    ((circuit,),) = only.batches
    assert circuit.measurements == flip(0.1).measurements


def test_two_shares_for_one_executor_are_one(open_cluster: Any) -> None:
    cluster = open_cluster(executors(2), split=lambda circuit, among: [(among[0], 3), (among[1], 4), (among[0], 3)])
    cluster.execute([flip(0.1, 10)])
    assert shots_by_executor(cluster) == {"executor-0": 6, "executor-1": 4}
    assert len(cluster.history) == 2


def test_multiplier_pools_all_the_shots_that_ran(open_cluster: Any) -> None:
    cluster = open_cluster(executors(), split="multiplier")
    (counts,) = cluster.execute([flip(0.1, 50).copy(measurements=[qml.counts(wires=[0])])])
    assert sum(int(count) for count in counts.values()) == 150


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda among: None, r"returned None: return a list of pairs"),
        (lambda among: 10, r"returned 10: return a list of pairs"),
        (lambda among: [among[0]], r"return a list of pairs \(executor, shots\)"),
        (lambda among: [(among[0], 3)], r"shared out 3 shots of 10.*splits.apportion"),
        (lambda among: [(among[0], 6), (among[1], 6)], r"shared out 12 shots of 10"),
        (lambda among: [], r"shared out 0 shots of 10"),
        (lambda among: [(among[0], 11), (among[1], -1)], r"'executor-1' -1 shots: return whole numbers"),
        (lambda among: [(among[0], 5.0), (among[1], 5.0)], r"'executor-0' 5.0 shots: return whole numbers"),
        (lambda among: [(among[0], True), (among[1], 9)], r"'executor-0' True shots"),
        (lambda among: [("executor-0", 10)], r"gave shots to 'executor-0', which is none of the executors"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_is_wrong(
    open_cluster: Any, returned: Any, message: str
) -> None:
    cluster = open_cluster(executors(2), split=lambda circuit, among: returned(among))
    with pytest.raises(qexec.PolicyError, match=message):
        cluster.execute([flip(0.1, 10)])
    assert len(cluster.history) == 0
