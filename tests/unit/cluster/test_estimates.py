"""What circuits are going to use, before they run."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.testing.fakes import ScriptedExecutor, flip


def names(cluster: qexec.QCluster, circuits: int) -> list[str]:
    """Who runs circuits, one after the other."""
    for _ in range(circuits):
        cluster.execute([flip(0.1, 10)])
    return [row.executor for row in cluster.history]


def two(**options: Any) -> list[qexec.Executor]:
    return [ScriptedExecutor("a", **options), ScriptedExecutor("b", **options)]


def test_an_estimate_says_what_every_executor_is_going_to_use(open_cluster: Any) -> None:
    executors = two(cost=qexec.Cost(per_shot=0.001, per_circuit=0.5))
    cluster = open_cluster(executors)
    executors[0].meter.ran(circuits=10, shots=0, seconds=5.0)
    estimate = cluster.estimate([flip(0.1, 100), flip(0.2, 200), flip(0.3)])
    assert [(part.executor, part.circuits, part.shots, part.cost) for part in estimate.parts] == [
        ("a", 2, 100, pytest.approx(1.1)),
        ("b", 1, 200, pytest.approx(0.7)),
    ]
    assert [part.seconds for part in estimate.parts] == [1.0, None]
    assert (estimate.circuits, estimate.shots, estimate.cost) == (3, 300, pytest.approx(1.8))
    assert estimate.seconds is None


def test_an_estimate_runs_and_reserves_nothing(open_cluster: Any) -> None:
    executors = two()
    budget = qexec.Budget(shots=1)
    cluster = open_cluster(executors, budget=budget)
    cluster.estimate([flip(0.1, 100)])
    assert executors[0].batches == executors[1].batches == []
    assert budget.used == budget.reserved == (0, 0, 0.0, 0.0)
    assert len(cluster.history) == 0


@pytest.mark.parametrize("selector", ["cyclic", "random", {"weighted": {"a": 1, "b": 2}}])
def test_an_estimate_says_what_the_selector_is_going_to_do_and_does_not_change_it(
    open_cluster: Any, selector: Any
) -> None:
    asked = open_cluster(two(), selector=selector, seed=3)
    plain = open_cluster(two(), selector=selector, seed=3)
    names(asked, 1)
    names(plain, 1)
    expected = {part.executor: part.circuits for part in asked.estimate([flip(0.1, 10)] * 9).parts}
    assert names(asked, 9) == names(plain, 9)
    ran = [row.executor for row in list(asked.history)[1:]]
    assert expected == {name: ran.count(name) for name in sorted(set(ran))}


class Alternates:
    """A user's selector with a memory."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, circuit: QuantumScript, executors: Sequence[Any]) -> Any:
        self.calls += 1
        return executors[self.calls % len(executors)]


def test_a_selector_of_the_user_with_a_memory_does_not_notice_the_estimate(open_cluster: Any) -> None:
    selector = Alternates()
    cluster = open_cluster(two(), selector=selector)
    estimate = cluster.estimate([flip(0.1, 10)] * 3)
    assert {part.executor: part.circuits for part in estimate.parts} == {"a": 1, "b": 2}
    assert selector.calls == 0


def test_a_policy_that_cannot_be_copied_is_not_asked(open_cluster: Any) -> None:
    class Locked(Alternates):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    cluster = open_cluster(two(), selector=Locked())
    with pytest.raises(qexec.ConfigurationError, match="__deepcopy__"):
        cluster.estimate([flip(0.1, 10)])


@pytest.mark.parametrize(("split", "shots"), [("uniform", [50, 50]), ("multiplier", [100, 100])])
def test_an_estimate_shares_out_the_shots(open_cluster: Any, split: str, shots: list[int]) -> None:
    estimate = open_cluster(two(), split=split).estimate([flip(0.1, 100)])
    assert [part.shots for part in estimate.parts] == shots


def test_circuits_are_counted_as_their_device_needs_them(open_cluster: Any) -> None:
    """Lightning measures observables that do not commute in circuits of their own."""
    circuit = QuantumScript([qml.RX(0.1, 0)], [qml.expval(qml.Z(0)), qml.expval(qml.X(0))], shots=100)
    cluster = open_cluster(["lightning.qubit"])
    estimate = cluster.estimate([circuit])
    cluster.execute([circuit])
    assert (estimate.circuits, estimate.shots) == (2, 200) == tuple(cluster.history.totals[:2])
    assert estimate.shots == sum(row.shots for row in cluster.history)


def test_circuits_for_whoever_is_free_first_are_shared_out_evenly(open_cluster: Any) -> None:
    estimate = open_cluster(two(), selector="least_loaded").estimate([flip(0.1, 10)] * 5)
    assert [part.circuits for part in estimate.parts] == [3, 2]


def test_a_cost_by_the_second_is_unknown_until_something_has_run(open_cluster: Any) -> None:
    executor = ScriptedExecutor("timed", cost=qexec.Cost(per_second=2.0))
    cluster = open_cluster([executor])
    assert cluster.estimate([flip(0.1, 10)]).cost is None
    executor.meter.ran(circuits=1, shots=100, seconds=0.5)
    assert cluster.estimate([flip(0.1, 10)]).cost == 1.0
    assert cluster.estimate([flip(0.1, 1000)]).seconds == 5.0


def test_what_a_cluster_inside_does_with_circuits_is_estimated_there(open_cluster: Any) -> None:
    inner = open_cluster(two(cost=qexec.Cost(per_circuit=1.0)), split="multiplier")
    estimate = open_cluster([inner]).estimate([flip(0.1, 100)])
    assert (estimate.circuits, estimate.shots, estimate.cost) == (2, 200, 2.0)


def test_shots_of_the_executors_own_are_estimated(open_cluster: Any) -> None:
    cluster = open_cluster([qexec.executors.Simulator("default.qubit", shots=80)])
    assert cluster.estimate([flip(0.1)]).shots == 80


def test_an_estimate_is_a_table_with_what_is_unknown_missing(open_cluster: Any) -> None:
    table = open_cluster(two()).estimate([flip(0.1, 100)] * 2).to_dataframe()
    assert list(table.columns) == ["executor", "circuits", "shots", "cost", "seconds"]
    assert list(table["executor"]) == ["a", "b"]
    assert math.isnan(table["seconds"][0])


def test_an_estimate_can_be_read(open_cluster: Any) -> None:
    executors = two(cost=qexec.Cost(per_shot=0.001))
    executors[0].meter.ran(circuits=1, shots=0, seconds=0.5)
    text = str(open_cluster(executors).estimate([flip(0.1, 1000), flip(0.1, 1500)]))
    assert text.splitlines() == [
        "a: 1 circuits, 1,000 shots, 1 US dollars, 0.5 s",
        "b: 1 circuits, 1,500 shots, 1.5 US dollars, unknown running time",
        "together: 2 circuits, 2,500 shots, 2.5 US dollars, unknown running time",
    ]


def test_of_no_circuits_nothing_is_used(open_cluster: Any) -> None:
    estimate = open_cluster(two()).estimate([])
    assert (estimate.parts, estimate.circuits, estimate.cost, estimate.seconds) == ((), 0, 0.0, 0.0)


def test_what_is_no_circuit_is_refused_with_how_to_make_one(open_cluster: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="construct_tape"):
        open_cluster(two()).estimate([lambda x: x])


def test_a_circuit_that_nobody_can_run_has_no_estimate(open_cluster: Any) -> None:
    cluster = open_cluster([{"type": "default.qubit", "max_shots": 10}])
    with pytest.raises(qexec.NoExecutorError):
        cluster.estimate([flip(0.1, 100)])
