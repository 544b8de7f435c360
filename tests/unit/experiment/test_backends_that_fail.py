"""Backends that fail: the others' results are kept, errors are told, and no shot is invented."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from fakes.backends import Fakes, experiments

import pennylane_qexec as qexec

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nmeasure q -> c;\n'
ABC = {"fakes": ["a", "b", "c"]}


def one_dead(times: int = 1) -> Fakes:
    return Fakes(a={}, b={"failures": [ValueError(f"burnt out {number}") for number in range(times)]}, c={})


def shots_run(provider: Fakes) -> dict[str, list[int]]:
    return {name: ledger.shots for name, ledger in provider.ledgers.items()}


def test_one_backend_of_three_dies_and_the_results_of_the_others_are_there():
    collector = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform")
    assert collector.is_complete
    with pytest.warns(qexec.PartialResultWarning, match="1 of 3 circuits are missing, on fakes/b"):
        results = collector.get_results()
    assert results == {"fakes": {"a": [{"00": 100}], "c": [{"00": 100}]}}


def test_the_error_of_a_dead_backend_is_in_errors_with_its_cause():
    collector = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform")
    (error,) = collector.errors["fakes"]["b"]
    assert isinstance(error, qexec.ExecutorError)
    assert isinstance(error.cause, ValueError)
    assert list(collector.errors["fakes"]) == ["b"]
    states = {record.backend: record.state for record in collector.records}
    assert states == {"a": "done", "b": "failed", "c": "done"}


def test_a_merge_refuses_results_of_which_some_are_missing_and_hands_them_over():
    collector = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform", "aggregate")
    with pytest.raises(qexec.PartialResultError, match=r"burnt out 0.*on_failure='partial'") as caught:
        collector.get_merged_results()
    assert caught.value.partial == {"fakes": {"a": [{"00": 100}], "c": [{"00": 100}]}}


def test_a_merge_of_what_is_left_is_made_when_it_is_asked_for():
    collector = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform", on_failure="partial")
    assert collector.get_merged_results() == {"00": 200}
    strict = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform")
    assert strict.merge("aggregate", partial=True) == {"00": 200}
    with pytest.raises(qexec.PartialResultError):
        strict.merge("aggregate")


def test_shots_of_a_dead_backend_are_run_by_the_others_when_that_is_asked_for():
    provider = one_dead()
    collector = experiments(provider).run_experiment(QASM, 301, ABC, "uniform", on_failure="rerun")
    assert collector.get_merged_results() == {"00": 301}
    assert shots_run(provider) == {"a": [101, 50], "b": [], "c": [100, 50]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = collector.get_results()
    assert results == {"fakes": {"a": [{"00": 151}], "c": [{"00": 150}]}}


def test_shots_that_were_run_elsewhere_are_recorded_as_such():
    collector = experiments(one_dead()).run_experiment(QASM, 300, ABC, "uniform", on_failure="rerun")
    moved = [(record.backend, record.shots, record.instead_of) for record in collector.records]
    assert moved == [("a", 100, None), ("b", 100, None), ("c", 100, None), ("a", 50, "fakes/b"), ("c", 50, "fakes/b")]
    assert list(collector.errors["fakes"]) == ["b"]


def test_where_every_backend_runs_all_shots_one_that_failed_is_tried_once_more_on_its_own():
    provider = one_dead()
    collector = experiments(provider).run_experiment(QASM, 30, ABC, "multiplier", on_failure="rerun")
    assert shots_run(provider) == {"a": [30], "b": [30], "c": [30]}
    assert collector.get_merged_results() == {f"fakes/{name}": {"00": 30} for name in "abc"}


def test_nothing_is_merged_where_every_backend_is_dead_even_if_shots_may_be_moved():
    provider = Fakes(a={"failures": [ValueError("a"), ValueError("a")]}, b={"failures": [ValueError("b")] * 2})
    collector = experiments(provider).run_experiment(QASM, 30, ["fakes/a", "fakes/b"], "uniform", on_failure="rerun")
    with pytest.raises(qexec.PartialResultError, match="2 of 2"):
        collector.get_merged_results()
    with pytest.warns(qexec.PartialResultWarning):
        assert collector.get_results() == {}


def test_failed_shots_can_be_run_again_later_on_the_same_backend():
    provider = one_dead()
    collector = experiments(provider).run_experiment(QASM, 300, ABC, "uniform")
    assert collector.rerun().get_merged_results() == {"00": 300}
    assert shots_run(provider) == {"a": [100], "b": [100], "c": [100]}
    assert collector.get_results() == {"fakes": {"a": [{"00": 100}], "b": [{"00": 100}], "c": [{"00": 100}]}}


def test_failed_shots_can_be_run_again_later_on_backends_of_ones_choice():
    provider = one_dead()
    collector = experiments(provider).run_experiment(QASM, 300, ABC, "uniform")
    assert collector.rerun({"fakes": ["c"]}).get_merged_results() == {"00": 300}
    assert shots_run(provider) == {"a": [100], "b": [], "c": [100, 100]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collector.get_results()
    collector.rerun()
    assert shots_run(provider)["c"] == [100, 100]


def test_shots_that_fail_again_can_be_run_once_more_and_are_counted_once():
    provider = one_dead(times=2)
    collector = experiments(provider).run_experiment(QASM, 300, ABC, "uniform")
    collector.rerun().wait()
    assert len(collector.errors["fakes"]["b"]) == 2
    assert collector.rerun().get_merged_results() == {"00": 300}
    assert shots_run(provider) == {"a": [100], "b": [100], "c": [100]}


def test_where_every_backend_runs_all_shots_no_other_runs_those_of_one_that_failed():
    collector = experiments(one_dead()).run_experiment(QASM, 30, ABC, "multiplier")
    with pytest.raises(qexec.ConfigurationError, match="rerun"):
        collector.rerun(["fakes/a"])
    assert collector.rerun().get_merged_results() == {f"fakes/{name}": {"00": 30} for name in "abc"}


def test_a_job_that_failed_has_its_times_its_attempts_and_the_executors_own_error():
    provider = Fakes(a={"failures": [ConnectionError("no answer")] * 2})
    retry = qexec.retries.backoff(attempts=2, initial=0)
    collector = experiments(provider).run_experiment(QASM, 30, "fakes/a", retry=retry)
    (record,) = collector.records
    assert (record.state, record.attempt, record.error) == ("failed", 2, "ConnectionError: no answer")
    assert 0 < record.submitted <= record.started <= record.finished


def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture):
    experiments(one_dead()).run_experiment(QASM, 30, ABC)
    executor = experiments(Fakes(a={"qubits": 1}))
    executor.run_experiment(QASM, 30, "fakes/a", "multiplier")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_results_with_a_shot_missing_are_an_error_and_not_data():
    provider = Fakes(a={}, b={"lost": 1}, c={})
    collector = experiments(provider).run_experiment(QASM, 300, ABC, "uniform", on_failure="partial")
    error = str(collector.errors["fakes"]["b"][0])
    assert "expected counts of 100 shots, got dict {'00': 99}" in error
    assert collector.get_merged_results() == {"00": 200}


def test_a_backend_that_checks_no_results_itself_cannot_bring_lost_shots_in_either():
    class Trusting(qexec.Executor):
        def run(self, circuits: Any) -> Any:
            return [{"00": circuit.shots.total_shots - 1} for circuit in circuits]

        def check_results(self, work: Any, results: Any) -> None:
            """As executors that hand circuits on do."""

    class Provider(qexec.Provider):
        def backends(self) -> dict[str, qexec.Backend]:
            return {"x": qexec.Backend("own", "x", Trusting)}

    executor = qexec.QuantumExecutor(providers={"own": Provider(), "fakes": Fakes(a={})})
    collector = executor.run_experiment(QASM, 20, ["own/x", "fakes/a"], on_failure="rerun")
    assert isinstance(collector.errors["own"]["x"][0], qexec.ResultError)
    assert "9" in str(collector.errors["own"]["x"][0])
    assert collector.get_merged_results() == {"00": 20}


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [{"00": 4.5, "11": 5.5}, {"00": -5, "11": 15}, {"0": 10}, {"0x": 10}, {"00": float("nan")}, [10], "00", {0: 10}],
)
def test_what_are_no_counts_of_the_circuits_bits_is_an_error_and_not_data(answer: Any):
    collector = experiments(Fakes(a={"answer": answer}, b={})).run_experiment(QASM, 20, ["fakes/a", "fakes/b"])
    assert collector.partial_results() == {"fakes": {"b": [{"00": 10}]}}
    assert re.search(r"expected counts .*, got |came back", str(collector.errors["fakes"]["a"][0]))


def test_a_dead_backend_is_not_waited_for_once_for_each_circuit():
    retry = qexec.retries.backoff(attempts=3, initial=0)
    provider = Fakes(a={"failures": [ConnectionError("gone")] * 1000}, b={})
    collector = experiments(provider).run_experiment([QASM] * 20, 10, ["fakes/a", "fakes/b"], "multiplier", retry=retry)
    assert collector.is_complete
    assert len(collector.errors["fakes"]["a"]) == 20
    assert provider.ledgers["b"].shots == [10] * 20


def test_shots_that_are_run_elsewhere_have_a_seed_too():
    provider = Fakes(a={"failures": [ValueError("burnt out")]}, b={})
    executor = experiments(provider)
    executor.run_experiment([QASM, QASM], 10, ["fakes/a", "fakes/b"], "cyclic", config={"seed": 7}, on_failure="rerun")
    assert all(option["seed"] is not None for option in provider.ledgers["b"].options)


def test_a_listener_that_fails_does_not_stop_an_experiment(caplog: pytest.LogCaptureFixture):
    provider = Fakes(a={})
    provider.ledgers["a"].held.clear()
    collector = experiments(provider).run_experiment([QASM, QASM], 10, "fakes/a", wait=False)

    def fail() -> None:
        raise ZeroDivisionError

    collector.listen(fail)
    provider.ledgers["a"].held.set()
    assert collector.wait(30)
    assert "the experiment goes on" in caplog.text


def test_a_backend_that_cannot_say_how_large_it_is_is_an_error_of_its_own():
    def fail() -> int:
        raise RuntimeError("no idea")

    executor = experiments(Fakes(a={"qubits": fail}, b={}))
    assert executor.run_experiment(QASM, 10, ["fakes/a", "fakes/b"], "uniform").get_merged_results() == {"00": 10}
    collector = executor.run_experiment(QASM, 10, ["fakes/a", "fakes/b"], "multiplier")
    assert "no idea" in str(collector.errors["fakes"]["a"][0])


def test_of_several_circuits_those_that_failed_are_none_in_their_place():
    failures = [ValueError("both together"), ValueError("the first alone")]
    collector = experiments(Fakes(a={"failures": failures})).run_experiment([QASM, QASM], [5, 6], "fakes/a")
    assert collector.partial_results() == {"fakes": {"a": [None, {"00": 6}]}}
    assert "the first alone" in str(collector.errors["fakes"]["a"][0])


class Broken(qexec.Provider):
    """A provider whose backend cannot be made."""

    def backends(self) -> dict[str, qexec.Backend]:
        def make() -> Any:
            raise RuntimeError("no such machine today")

        return {"x": qexec.Backend("broken", "x", make)}


def test_a_backend_whose_executor_cannot_be_made_is_an_error_of_its_jobs_alone():
    executor = qexec.QuantumExecutor(providers={"broken": Broken(), "fakes": Fakes(a={})})
    collector = executor.run_experiment(QASM, 10, {"broken": ["x"], "fakes": ["a"]}, "multiplier")
    assert collector.partial_results() == {"fakes": {"a": [{"00": 10}]}}
    assert "no such machine today" in str(collector.errors["broken"]["x"][0])


def test_a_way_to_deal_with_failures_that_nobody_knows_is_refused():
    provider = one_dead()
    with pytest.raises(qexec.ConfigurationError, match="refuse"):
        experiments(provider).run_experiment(QASM, 10, ABC, on_failure="retry")  # type: ignore[arg-type]
    assert shots_run(provider) == {"a": [], "b": [], "c": []}
