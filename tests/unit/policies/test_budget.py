"""Budgets by themselves: limits, sums, and where they count."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.testing.fakes import ScriptedExecutor, flip


@pytest.fixture
def process_budget() -> Any:
    """Sets a budget for the process, and takes it away after the test."""
    yield qexec.set_budget
    qexec.set_budget(None)


def test_a_new_budget_has_used_nothing_and_everything_left() -> None:
    budget = qexec.Budget(shots=1000, cost=2.5)
    assert budget.limits == (1000, None, 2.5, None)
    assert budget.used == budget.reserved == (0, 0, 0.0, 0.0)
    assert budget.left == (1000, None, 2.5, None)
    assert budget.left.shots == 1000


def test_a_budget_shows_what_is_used_of_what(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=10_000, cost=2)
    open_cluster([{"type": "default.qubit", "cost": {"per_shot": 0.0001}}], budget=budget).execute([flip(0.1, 2500)])
    assert repr(budget).startswith("<Budget: 2,500 of 10,000 shots used; 1 circuits used; 0.25 of 2 US dollars used; ")


def test_cents_add_up_exactly(open_cluster: Any) -> None:
    """In floating point, three times 0.1 is more than 0.3."""
    budget = qexec.Budget(cost=0.3)
    cluster = open_cluster([{"type": "default.qubit", "cost": {"per_circuit": 0.1}}], budget=budget)
    for _ in range(3):
        cluster.execute([flip(0.1)])
    assert budget.used.cost == 0.3
    assert budget.left.cost == 0.0


def test_a_budget_without_limits_only_counts(open_cluster: Any) -> None:
    budget = qexec.Budget()
    open_cluster(["default.qubit"], budget=budget).execute([flip(0.1, 100), flip(0.2)])
    assert budget.used[:2] == (100, 2)
    assert budget.left == (None, None, None, None)


@pytest.mark.parametrize(
    "limits",
    [
        {"shots": -1},
        {"shots": 1.5},
        {"shots": True},
        {"shots": "many"},
        {"circuits": 2.0},
        {"cost": -0.01},
        {"cost": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1 h"},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(qexec.ConfigurationError, match=f"{name}=.* must be a"):
        qexec.Budget(**limits)


def test_a_cluster_takes_a_mapping_in_place_of_a_budget(open_cluster: Any) -> None:
    cluster = open_cluster(["default.qubit"], budget={"shots": 100})
    assert cluster.budget.limits.shots == 100
    with pytest.raises(qexec.BudgetExceededError):
        cluster.execute([flip(0.1, 101)])


def test_a_budget_can_be_written_in_a_toml_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('executors = ["default.qubit"]\nbudget = { shots = 100, cost = 0.5 }\n')
    with qexec.ClusterDevice(cluster=str(file)) as device:
        assert device.cluster.budget.limits == (100, None, 0.5, None)


def test_a_limit_that_budgets_do_not_have_is_refused_with_the_nearest_one(open_cluster: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="Did you mean 'shots'"):
        open_cluster(["default.qubit"], budget={"shot": 100})
    with pytest.raises(qexec.ConfigurationError, match="is no budget"):
        open_cluster(["default.qubit"], budget=100)


def test_the_error_says_how_much_there_was_and_how_much_was_asked_for(open_cluster: Any) -> None:
    cluster = open_cluster(["default.qubit"], budget=qexec.Budget(shots=2000))
    cluster.execute([flip(0.1, 1500)])
    with pytest.raises(
        qexec.BudgetExceededError, match="501 more shots would pass the budget of 2,000 shots"
    ) as raised:
        cluster.execute([flip(0.1, 501)])
    error = raised.value
    assert (error.what, error.limit, error.used, error.reserved, error.asked) == ("shots", 2000, 1500, 0, 501)
    assert isinstance(error, qexec.QExecError)


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(qexec.BudgetExceededError("cost", 2.0, 1.5, 0.25, 0.5)))
    assert (error.what, error.limit, error.used, error.reserved, error.asked) == ("cost", 2.0, 1.5, 0.25, 0.5)
    assert "0.5 more US dollars would pass the budget of 2 US dollars, of which 1.5 are used" in str(error)


@pytest.mark.parametrize("send", [pickle.dumps, cloudpickle.dumps, copy.deepcopy])
def test_a_budget_is_not_sent_to_another_process_where_it_would_count_anew(open_cluster: Any, send: Any) -> None:
    cluster = open_cluster(["default.qubit"], budget=qexec.Budget(shots=10))
    with pytest.raises(qexec.ConfigurationError, match="counts in one process"):
        send(cluster)


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_cannot_use_the_budget_of_its_parent_as_if_it_were_another() -> None:
    budget = qexec.Budget(shots=10)
    child = os.fork()
    if not child:
        try:
            qexec.QCluster(["default.qubit"], budget=budget).execute([flip(0.1, 1)])
        except qexec.ConfigurationError as error:
            os._exit(0 if "was forked from" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_is_said_once_that_most_of_a_budget_is_used(open_cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = open_cluster(["default.qubit"], budget=qexec.Budget(shots=1000))
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        for _ in range(10):
            cluster.execute([flip(0.1, 100)])
    assert caplog.messages == ["a budget is nearly used up: 900 of 1,000 shots used"]


def test_a_with_statement_limits_what_is_asked_for_inside(open_cluster: Any) -> None:
    one, other = open_cluster(["default.qubit"]), open_cluster(["default.qubit"])
    with qexec.Budget(shots=100) as budget:
        one.execute([flip(0.1, 60)])
        with pytest.raises(qexec.BudgetExceededError):
            other.execute([flip(0.1, 60)])
        other.execute([flip(0.1, 40)])
    one.execute([flip(0.1, 1000)])
    assert budget.used.shots == 100


def test_of_budgets_inside_of_each_other_all_count(open_cluster: Any) -> None:
    cluster = open_cluster(["default.qubit"], budget=(own := qexec.Budget(shots=1000)))
    with qexec.Budget(shots=100) as outer, qexec.Budget() as inner:
        with pytest.raises(qexec.BudgetExceededError):
            cluster.execute([flip(0.1, 101)])
        cluster.execute([flip(0.1, 70)])
    assert own.used.shots == outer.used.shots == inner.used.shots == 70
    assert own.reserved.shots == outer.reserved.shots == inner.reserved.shots == 0


def test_a_budget_given_twice_counts_once(open_cluster: Any, process_budget: Any) -> None:
    budget = qexec.Budget(shots=100)
    process_budget(budget)
    cluster = open_cluster(["default.qubit"], budget=budget)
    with budget, budget:
        cluster.execute([flip(0.1, 100)])
    assert budget.used.shots == 100


def test_what_runs_later_is_limited_by_the_budget_around_the_place_where_it_was_asked_for(open_cluster: Any) -> None:
    cluster = open_cluster(["default.qubit"])
    gate = threading.Event()

    def work() -> None:
        gate.wait()
        cluster.execute([flip(0.1, 60)])

    with qexec.Budget(shots=100) as budget:
        futures = [qexec.run_later(work) for _ in range(2)]
    gate.set()
    errors = [future.exception(60) for future in futures]
    assert sorted(type(error).__name__ for error in errors) == ["BudgetExceededError", "NoneType"]
    assert budget.used.shots == 60


def test_the_budget_of_the_process_counts_in_every_thread(open_cluster: Any, process_budget: Any) -> None:
    cluster = open_cluster([ScriptedExecutor()])
    process_budget(budget := qexec.Budget(circuits=3))
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            cluster.execute([flip(0.1), flip(0.2)])
        except qexec.BudgetExceededError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert budget.used.circuits == 2


def test_only_a_budget_can_be_that_of_the_process(process_budget: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match="is no budget"):
        process_budget(100)
