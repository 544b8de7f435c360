"""What users see of an experiment while it runs: the order of events, whoever asks, giving up, running again."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fakes.backends import Fakes, experiments

import pennylane_qexec as qexec

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nmeasure q -> c;\n'
ABC = {"fakes": ["a", "b", "c"]}
NEVER = qexec.retries.never()


@pytest.fixture
def held() -> Iterator[Fakes]:
    """Backends of which each answers only when it is let go on."""
    provider = Fakes(a={}, b={}, c={})
    for ledger in provider.ledgers.values():
        ledger.held.clear()
    yield provider
    for ledger in provider.ledgers.values():
        ledger.held.set()


class Heard:
    """What a listener sees whenever it is called, and a way to wait until it was called so often."""

    def __init__(self, collector: qexec.ResultCollector) -> None:
        self.states: list[list[str]] = []
        self.progress: list[float] = []
        self.complete: list[bool] = []
        self._collector = collector
        self._changed = threading.Condition()
        collector.listen(self._note)

    def _note(self) -> None:
        with self._changed:
            self.states.append([str(record.state) for record in self._collector.records])
            self.progress.append(self._collector.progress)
            self.complete.append(self._collector.is_complete)
            self._changed.notify_all()

    def wait(self, calls: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.states) >= calls, 30)


def under_way(provider: Fakes, circuits: Any = QASM, **options: Any) -> tuple[qexec.ResultCollector, Heard]:
    """An experiment on three backends that have all begun, and none has answered."""
    collector = experiments(provider).run_experiment(circuits, 10, ABC, "multiplier", wait=False, **options)
    heard = Heard(collector)
    for ledger in provider.ledgers.values():
        assert ledger.began.wait(30)
    return collector, heard


# -- the order of events


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_results_may_come_in_any_order_and_are_listed_in_that_of_the_dispatch(held: Fakes, order: tuple[str, ...]):
    collector, heard = under_way(held, [QASM, QASM])
    for number, name in enumerate(order, start=1):
        held.ledgers[name].held.set()
        heard.wait(2 * number)
        assert sorted(collector.partial_results()["fakes"]) == sorted(order[:number])
    assert collector.wait(30)
    assert [(record.backend, record.circuit) for record in collector.records] == [
        (name, number) for name in "abc" for number in (0, 1)
    ]
    assert collector.get_results() == {"fakes": {name: [{"00": 10}] * 2 for name in "abc"}}
    assert collector.merge("aggregate") == [{"00": 30}] * 2


def test_listeners_are_called_once_for_each_circuit_after_it_has_ended_and_before_everything_has(held: Fakes):
    collector, heard = under_way(held)
    for number, name in enumerate("cab", start=1):
        held.ledgers[name].held.set()
        heard.wait(number)
    assert collector.wait(30)
    assert heard.states == [["running", "running", "done"], ["done", "running", "done"], ["done", "done", "done"]]
    assert heard.progress == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert heard.complete == [False] * 3


def test_whoever_has_waited_knows_that_all_listeners_were_called(held: Fakes):
    collector, heard = under_way(held, [QASM] * 5)
    for ledger in held.ledgers.values():
        ledger.held.set()
    assert collector.wait(30)
    assert len(heard.states) == len(collector.records) == 15


def test_listeners_hear_of_failures_too(held: Fakes):
    collector, heard = under_way(held)
    collector.cancel()
    assert collector.wait(30)
    assert heard.states[-1] == ["cancelled"] * 3
    assert len(heard.states) == 3


def test_a_listener_may_run_an_experiment_of_its_own(held: Fakes):
    collector, _ = under_way(held)
    others: list[Any] = []
    collector.listen(
        lambda: others.append(experiments(Fakes(x={})).run_experiment(QASM, 7, "fakes/x").get_merged_results())
    )
    for ledger in held.ledgers.values():
        ledger.held.set()
    assert collector.wait(60)
    assert others == [{"00": 7}] * 3


def test_a_listener_may_give_the_experiment_up(held: Fakes):
    collector, _ = under_way(held)
    collector.listen(collector.cancel)
    held.ledgers["b"].held.set()
    assert collector.wait(30)
    assert [record.state for record in collector.records] == ["cancelled", "done", "cancelled"]


def test_all_circuits_of_a_backend_are_one_batch_also_those_of_several_jobs():
    batches: list[int] = []

    class Batches(qexec.Executor):
        def run(self, circuits: Any) -> list[Any]:
            batches.append(len(circuits))
            return [{"00": circuit.shots.total_shots} for circuit in circuits]

    class Provider(qexec.Provider):
        def backends(self) -> dict[str, qexec.Backend]:
            return {"x": qexec.Backend("own", "x", Batches)}

    dispatch = qexec.Dispatch()
    dispatch.add_job("own", "x", [QASM, f"{QASM}\n"], 5)
    dispatch.add_job("own", "x", QASM, 6)
    qexec.QuantumExecutor(providers={"own": Provider()}).run_dispatch(dispatch)
    assert batches == [3]


def test_executors_are_kept_for_the_next_experiment_but_those_with_a_seed_are_built_anew():
    provider = Fakes(a={})
    executor = experiments(provider)
    for seed in (None, None, 7, 7):
        config = {} if seed is None else {"seed": seed}
        assert executor.run_experiment(QASM, 10, "fakes/a", config=config).get_merged_results() == {"00": 10}
    assert [options["seed"] for options in provider.ledgers["a"].options] == [None, 7, 7]


# -- whoever asks, from whatever thread


def test_many_threads_may_ask_at_once_and_get_the_same(held: Fakes):
    collector, _ = under_way(held)
    questions: list[Callable[[], Any]] = [
        lambda: collector.get_results(timeout=30),
        lambda: collector.get_merged_results(timeout=30),
        lambda: collector.wait(30),
        lambda: len(collector.to_dataframe()) if collector.wait(30) else None,
    ]
    with ThreadPoolExecutor(12) as threads:
        asked = [[threads.submit(question) for _ in range(3)] for question in questions]
        for ledger in held.ledgers.values():
            ledger.held.set()
        results, merged, waited, rows = ([future.result(30) for future in futures] for futures in asked)
    assert results == [{"fakes": {name: [{"00": 10}] for name in "abc"}}] * 3
    assert merged == [{f"fakes/{name}": {"00": 10} for name in "abc"}] * 3
    assert (waited, rows) == ([True] * 3, [3] * 3)


def test_two_experiments_of_one_executor_run_at_the_same_time_and_keep_to_themselves():
    executor = experiments(Fakes(a={}, b={}))

    def run(shots: int) -> Any:
        return executor.run_experiment(QASM, shots, ["fakes/a", "fakes/b"], "uniform").get_merged_results()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, range(2, 22))) == [{"00": shots} for shots in range(2, 22)]


def test_waiting_not_at_all_says_how_it_stands_and_stops_nothing(held: Fakes):
    collector, _ = under_way(held)
    assert collector.wait(0) is False
    with pytest.raises(qexec.JobTimeoutError, match="0 of 3 circuits have ended"):
        collector.get_results(timeout=0)
    for ledger in held.ledgers.values():
        ledger.held.set()
    assert collector.get_results(timeout=30) == {"fakes": {name: [{"00": 10}] for name in "abc"}}
    assert collector.wait(0) is True


# -- giving up


def test_giving_up_twice_or_after_the_end_changes_nothing(held: Fakes):
    collector, heard = under_way(held)
    held.ledgers["a"].held.set()
    heard.wait(1)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: collector.cancel(), range(8)))
    assert collector.wait(30)
    collector.cancel()
    assert [record.state for record in collector.records] == ["done", "cancelled", "cancelled"]
    assert [record.error for record in collector.records] == [None, *["JobCancelledError: the job was cancelled."] * 2]
    assert len(heard.states) == 3


def test_what_is_given_up_is_not_run_by_other_backends(held: Fakes):
    collector, heard = under_way(held, on_failure="rerun")
    held.ledgers["a"].held.set()
    heard.wait(1)
    collector.cancel()
    assert collector.wait(30)
    assert len(collector.records) == 3


def test_an_experiment_can_be_given_up_while_its_executors_are_built():
    building, go_on, built = threading.Event(), threading.Event(), []

    class Slow(qexec.Provider):
        def backends(self) -> dict[str, qexec.Backend]:
            def make() -> Any:
                building.set()
                assert go_on.wait(30)
                built.append(1)
                raise AssertionError("this one is not asked to run anything")

            return {name: qexec.Backend("slow", name, make) for name in "ab"}

    executor = qexec.QuantumExecutor(providers={"slow": Slow()})
    collector = executor.run_experiment(QASM, 10, {"slow": ["a", "b"]}, "multiplier", wait=False)
    assert building.wait(30)
    assert not collector.is_complete
    collector.cancel()
    go_on.set()
    assert collector.wait(30)
    assert built == [1]
    last = collector.records[1]
    assert (last.state, last.submitted) == ("cancelled", 0.0)
    assert last.error == "JobCancelledError: the experiment was cancelled before the job was sent."


def test_a_circuit_that_takes_too_long_fails_alone_and_its_shots_may_be_run_by_others(held: Fakes):
    held.ledgers["a"].held.set()
    held.ledgers["c"].held.set()
    executor = experiments(held)
    collector = executor.run_experiment(QASM, 30, ABC, "uniform", timeout=0.3, on_failure="rerun")
    (error,) = collector.errors["fakes"].pop("b")
    assert type(error) is qexec.JobTimeoutError
    assert str(error).startswith("a circuit had no result after 0.3 s on executor 'fakes/b'.")
    assert collector.get_merged_results() == {"00": 30}
    assert [(record.backend, record.state) for record in collector.records] == [
        *[("a", "done"), ("b", "failed"), ("c", "done")],
        *[("a", "done"), ("c", "done")],
    ]


# -- errors, and results of which some are missing


class Wrecked(qexec.Provider):
    """A provider whose backend cannot be made."""

    def backends(self) -> dict[str, qexec.Backend]:
        def make() -> Any:
            raise RuntimeError("no such machine today")

        return {"x": qexec.Backend("wrecked", "x", make)}


def test_each_backend_has_its_own_errors_of_the_fitting_class():
    fakes = Fakes(burnt={"failures": [ValueError("burnt out")]}, small={"qubits": 1}, forgetful={"lost": 1}, well={})
    executor = qexec.QuantumExecutor(providers={"fakes": fakes, "wrecked": Wrecked()})
    backends = {"fakes": ["burnt", "small", "forgetful", "well"], "wrecked": ["x"]}
    collector = executor.run_experiment(QASM, 10, backends, "multiplier", retry=NEVER)
    errors = {
        f"{provider}/{name}": found for provider, names in collector.errors.items() for name, found in names.items()
    }
    assert list(errors) == ["fakes/burnt", "fakes/small", "fakes/forgetful", "wrecked/x"]
    ((burnt,), (small,), (forgetful,), (wrecked,)) = errors.values()
    assert isinstance(burnt, qexec.ExecutorError)
    assert isinstance(small, qexec.NoBackendError)
    assert isinstance(forgetful, qexec.ExecutorError)
    assert type(wrecked) is RuntimeError
    assert str(burnt).startswith("executor 'fakes/burnt' failed at attempt 1: ValueError: burnt out.")
    assert type(burnt.cause) is ValueError
    assert str(small).startswith("circuit 0 cannot be run: 'fakes/small' has 1 qubit, and the circuit needs 2.")
    assert type(forgetful.cause) is qexec.ResultError
    assert str(wrecked) == "no such machine today"
    words = {record.backend: record.error for record in collector.records}
    assert words["burnt"] == "ValueError: burnt out"
    assert words["x"] == "RuntimeError: no such machine today"
    assert words["well"] is None


def test_the_circuits_of_a_backend_that_is_given_up_fail_with_the_error_that_it_is_given_up_for():
    class Dead(qexec.Executor):
        def run(self, circuits: Any) -> Any:
            raise ConnectionError("gone")

    class Provider(qexec.Provider):
        def backends(self) -> dict[str, qexec.Backend]:
            return {"dead": qexec.Backend("own", "dead", lambda: Dead(max_circuits=1))}

    executor = qexec.QuantumExecutor(providers={"own": Provider()})
    collector = executor.run_experiment([QASM] * 6, 10, "own/dead", retry=NEVER)
    errors = collector.errors["own"]["dead"]
    assert len(errors) == 6
    assert all(isinstance(error, qexec.ExecutorError) for error in errors)
    assert {record.error for record in collector.records} == {"ConnectionError: gone"}
    assert all(record.finished >= record.submitted > 0 for record in collector.records)


def test_what_runs_at_a_backend_that_is_given_up_is_not_waited_for():
    begun, go_on = threading.Barrier(2), threading.Event()
    numbers = itertools.count()

    class HalfDead(qexec.Executor):
        def run(self, circuits: Any) -> Any:
            number = next(numbers)
            begun.wait(30)
            if number == 0:
                raise ConnectionError("gone")
            assert go_on.wait(30)
            return [{"00": circuit.shots.total_shots} for circuit in circuits]

    class Provider(qexec.Provider):
        def backends(self) -> dict[str, qexec.Backend]:
            return {"x": qexec.Backend("own", "x", lambda: HalfDead(max_circuits=1, workers=2))}

    executor = qexec.QuantumExecutor(providers={"own": Provider()})
    collector = executor.run_experiment([QASM, f"{QASM}\n"], 10, "own/x", retry=NEVER)
    assert not go_on.is_set()
    go_on.set()
    assert [(record.state, record.error) for record in collector.records] == [("failed", "ConnectionError: gone")] * 2
    first, second = collector.errors["own"]["x"]
    assert str(first) == str(second)


def test_many_missing_results_are_summed_up_in_one_line():
    backends = {name: {"failures": [ValueError(f"burnt out {name}")]} for name in "bcdef"}
    collector = experiments(Fakes(a={}, **backends)).run_experiment(QASM, 60, {"fakes": list("abcdef")}, retry=NEVER)
    with pytest.raises(qexec.PartialResultError) as caught:
        collector.get_merged_results()
    summary = "5 of 6 circuits are missing, on fakes/b, fakes/c, fakes/d and 2 more: ValueError: burnt out b"
    assert str(caught.value).startswith(summary)
    assert caught.value.partial == {"fakes": {"a": [{"00": 10}]}}


def test_there_is_nothing_to_merge_where_everything_has_failed():
    provider = Fakes(a={"failures": [ValueError("burnt out")]})
    collector = experiments(provider).run_experiment(QASM, 10, "fakes/a", on_failure="partial", retry=NEVER)
    with pytest.raises(qexec.PolicyError, match=r"nothing to merge: 1 of 1 circuits are missing.*burnt out"):
        collector.get_merged_results()


def test_a_warning_tells_of_missing_results_each_time_and_none_where_parts_were_asked_for():
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    collector = experiments(provider).run_experiment(QASM, 10, ["fakes/a", "fakes/b"], retry=NEVER)
    for _ in range(2):
        with pytest.warns(qexec.PartialResultWarning, match="1 of 2 circuits are missing, on fakes/b: ValueError"):
            collector.get_results()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert collector.partial_results() == {"fakes": {"a": [{"00": 5}]}}


# -- running again


def test_what_was_given_up_can_be_run_after_all(held: Fakes):
    collector, heard = under_way(held)
    held.ledgers["a"].held.set()
    heard.wait(1)
    collector.cancel()
    assert collector.wait(30)
    for ledger in held.ledgers.values():
        ledger.held.set()
    assert collector.rerun() is collector
    assert collector.get_results(timeout=30) == {"fakes": {name: [{"00": 10}] for name in "abc"}}
    assert [(record.backend, record.instead_of) for record in collector.records[3:]] == [
        ("b", "fakes/b"),
        ("c", "fakes/c"),
    ]


def test_running_again_waits_for_what_runs_is_heard_and_is_merged(held: Fakes):
    ledgers, failures = held.ledgers, [ValueError("burnt out")]
    provider = Fakes(a={}, b={"failures": failures})
    provider.ledgers["a"] = ledgers["a"]
    provider.ledgers["a"].held.clear()
    provider.ledgers["b"].held.clear()  # or it fails before anybody listens
    collector = experiments(provider).run_experiment(
        QASM, 10, ["fakes/a", "fakes/b"], on_failure="partial", retry=NEVER, wait=False
    )
    heard = Heard(collector)
    provider.ledgers["b"].held.set()
    heard.wait(1)
    with ThreadPoolExecutor(1) as threads:
        rerun = threads.submit(collector.rerun, ["fakes/a"])
        assert provider.ledgers["a"].began.wait(30)
        assert len(collector.records) == 2
        provider.ledgers["a"].held.set()
        rerun.result(30)
    assert collector.get_merged_results(timeout=30) == {"00": 10}
    assert (collector.progress, len(heard.states)) == (1.0, 3)


def test_of_many_threads_that_run_again_at_once_one_does(held: Fakes):
    collector, _ = under_way(held)
    collector.cancel()
    assert collector.wait(30)
    for ledger in held.ledgers.values():
        ledger.held.set()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: collector.rerun(), range(8)))
    assert collector.get_results(timeout=30) == {"fakes": {name: [{"00": 10}] for name in "abc"}}
    assert len(collector.records) == 6


def test_merged_results_are_merged_anew_after_running_again():
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    collector = experiments(provider).run_experiment(
        QASM, 10, ["fakes/a", "fakes/b"], on_failure="partial", retry=NEVER
    )
    assert collector.get_merged_results() == {"00": 5}
    assert collector.rerun().get_merged_results() == {"00": 10}


def test_running_again_where_nothing_has_failed_asks_no_backend():
    provider = Fakes(a={})
    collector = experiments(provider).run_experiment(QASM, 10, "fakes/a")
    assert collector.rerun().get_merged_results() == {"00": 10}
    assert (provider.ledgers["a"].shots, len(collector.records)) == ([10], 1)


def test_running_again_beyond_a_budget_is_refused_and_leaves_the_results_as_they_are():
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    executor = experiments(provider, budget={"shots": 10})
    collector = executor.run_experiment(QASM, 10, ["fakes/a", "fakes/b"], retry=NEVER)
    with pytest.raises(qexec.BudgetExceededError):
        collector.rerun(["fakes/a"])
    assert collector.is_complete
    assert collector.partial_results() == {"fakes": {"a": [{"00": 5}]}}
    assert provider.ledgers["a"].shots == [5]


def test_shots_that_are_run_again_are_drawn_from_seeds_of_their_own_the_same_every_time():
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")] * 2})
    executor = experiments(provider)
    options: dict[str, Any] = {"config": {"seed": 7}, "retry": NEVER}
    executor.run_experiment(QASM, 20, ["fakes/a", "fakes/b"], on_failure="rerun", **options)
    executor.run_experiment(QASM, 20, ["fakes/a", "fakes/b"], **options).rerun().wait()
    seeds = {name: [made["seed"] for made in ledger.options] for name, ledger in provider.ledgers.items()}
    assert seeds == {"a": [7, 1009178997, 7], "b": [369571992, 369571992, 3603199661]}


def test_a_program_that_is_run_again_asks_backends_for_what_had_not_ended_and_nothing_else(tmp_path: Path):
    asked = []
    for failures in ([ConnectionError("gone")], []):
        provider = Fakes(a={}, b={"failures": failures})
        with qexec.durable_run("two programs", f"sqlite:///{tmp_path / 'runs.db'}"):
            collector = experiments(provider).run_experiment(
                [QASM, QASM], [10, 20], ["fakes/a", "fakes/b"], on_failure="partial", retry=NEVER
            )
            assert collector.get_merged_results() == [{"00": 5 if failures else 10}, {"00": 10 if failures else 20}]
        asked.append({name: ledger.shots for name, ledger in provider.ledgers.items()})
    assert asked == [{"a": [5, 10], "b": []}, {"a": [], "b": [5, 10]}]


# -- saved while it runs


def test_what_is_saved_while_it_runs_is_what_was_there_then(held: Fakes, tmp_path: Path):
    collector, heard = under_way(held)
    held.ledgers["a"].held.set()
    heard.wait(1)
    collector.save(tmp_path / "early.json")
    early = qexec.ResultCollector.load(tmp_path / "early.json")
    assert [record.state for record in early.records] == ["done", "running", "running"]
    assert (early.is_complete, early.progress) == (False, pytest.approx(1 / 3))
    assert early.partial_results() == {"fakes": {"a": [{"00": 10}]}}
    assert early.errors == {}
    assert early.wait(0) is True
    with pytest.warns(qexec.PartialResultWarning, match="2 of 3 circuits are missing, on fakes/b, fakes/c"):
        early.get_results()
    with pytest.raises(qexec.PartialResultError):
        early.get_merged_results()
    assert early.merge("per_backend", partial=True) == {"fakes/a": {"00": 10}}
