"""Experiments are recorded in a store as they came back: every shot and failure, in the order of bits that was seen."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fakes.backends import Fakes, experiments

import pennylane_qexec as qexec
from pennylane_qexec.experiment.recording import RecordedResult, circuits_of, results_of
from pennylane_qexec.persistence.store import BackendResults, ExperimentRun, open_store

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nmeasure q -> c;\n'
OTHER = QASM.replace("measure", "x q[0];\nmeasure")
ABC = {"fakes": ["a", "b", "c"]}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bench.db")


def recorded(path: str, name: str = "bell") -> list[ExperimentRun]:
    with open_store(path) as store:
        return store.experiment_runs(name)[::-1]


def results(one: BackendResults, circuits: int) -> list[Any]:
    return results_of(one.results, circuits)


def test_what_came_back_is_recorded_by_backend_and_circuit_with_every_shot(path):
    experiments(Fakes(a={}, b={}, c={})).run_experiment([QASM, OTHER], [301, 50], ABC, store=path, name="bell")
    (run,) = recorded(path)
    assert [(one.provider, one.backend, one.shots, one.error) for one in run.backends] == [
        ("fakes", "a", 118, ""),
        ("fakes", "b", 117, ""),
        ("fakes", "c", 116, ""),
    ]
    assert results(run.backends[0], 2) == [RecordedResult(101, {"00": 101}), RecordedResult(17, {"00": 17})]
    assert run.started <= run.finished


def test_nothing_is_recorded_without_a_store(path):
    experiments(Fakes(a={})).run_experiment(QASM, 100, {"fakes": ["a"]})
    assert not Path(path).exists()


def test_backends_that_fail_are_recorded_with_their_errors_beside_the_results_of_others(path):
    fakes = Fakes(a={}, b={"failures": [ValueError("burnt out")]}, c={})
    experiments(fakes).run_experiment(QASM, 300, ABC, store=path, name="bell")
    (run,) = recorded(path)
    a, b, _ = run.backends
    assert (b.shots, b.error) == (100, "ValueError: burnt out")
    assert results(b, 1) == [RecordedResult(100, None)]
    assert results(a, 1) == [RecordedResult(100, {"00": 100})]


def test_shots_that_others_have_run_in_place_of_a_backend_are_theirs(path):
    fakes = Fakes(a={}, b={"failures": [ValueError("burnt out")]}, c={})
    experiments(fakes).run_experiment(QASM, 300, ABC, on_failure="rerun", store=path, name="bell")
    a, b, c = recorded(path)[0].backends
    assert [results(one, 1)[0] for one in (a, b, c)] == [
        RecordedResult(150, {"00": 150}),
        RecordedResult(100, None),
        RecordedResult(150, {"00": 150}),
    ]


def test_circuits_that_a_backend_was_not_given_are_told_from_those_that_failed(path):
    fakes = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    chosen = {"fakes": ["a", "b"]}
    experiments(fakes).run_experiment([QASM, OTHER], 10, chosen, "cyclic", store=path, name="bell")
    a, b = recorded(path)[0].backends
    assert results(a, 2) == [RecordedResult(10, {"00": 10}), None]
    assert results(b, 2) == [None, RecordedResult(10, None)]


def test_rerunning_what_failed_changes_what_was_recorded(path):
    fakes = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    collector = experiments(fakes).run_experiment(QASM, 200, {"fakes": ["a", "b"]}, store=path, name="bell")
    collector.rerun().wait()
    (run,) = recorded(path)
    assert results(run.backends[1], 1) == [RecordedResult(100, {"00": 100})]
    assert (run.backends[1].shots, run.backends[1].error) == (100, "ValueError: burnt out")


def test_without_waiting_the_run_is_recorded_before_its_collector_is_over(path):
    fakes = Fakes(a={})
    fakes.ledgers["a"].held.clear()
    collector = experiments(fakes).run_experiment(QASM, 100, ["fakes/a"], wait=False, store=path, name="bell")
    with open_store(path) as store:
        assert store.experiments() == []
    fakes.ledgers["a"].held.set()
    assert collector.wait(60)
    assert len(recorded(path)) == 1


def test_dispatches_are_recorded_into_a_store_that_is_open_which_stays_open(path):
    dispatch = qexec.Dispatch(adds_up=False)
    dispatch.add_job("fakes", "a", QASM, 30)
    dispatch.add_job("fakes", "a", QASM, 40)
    with open_store(path) as store:
        experiments(Fakes(a={})).run_dispatch(dispatch, store=store, name="bell")
        (run,) = store.experiment_runs("bell")
    assert results(run.backends[0], 1) == [RecordedResult(70, {"00": 70})]


def test_the_order_of_bits_is_that_of_the_results_and_another_order_is_another_experiment(path):
    circuit = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nx q[0];\nmeasure q -> c;\n'
    for order in ("native", "big"):
        executor = qexec.QuantumExecutor(providers=["local_pennylane"], bit_order=order)
        backends = ["local_pennylane/default.qubit"]
        found = executor.run_experiment(circuit, 10, backends, store=path, name="bell").get_results()
        run = recorded(path)[-1]
        assert results(run.backends[0], 1)[0].result == found["local_pennylane"]["default.qubit"][0]
        with open_store(path) as store:
            (one,) = circuits_of(store.experiment_circuits(run.circuits))
        assert one.order == order
    assert len({run.circuits for run in recorded(path)}) == 2


@pytest.mark.parametrize("name", [None, "", "two\nlines", "x" * 201])
def test_a_name_is_needed_before_anything_is_sent(path, name):
    fakes = Fakes(a={})
    with pytest.raises(qexec.ConfigurationError, match="name="):
        experiments(fakes).run_experiment(QASM, 100, ["fakes/a"], store=path, name=name)
    with pytest.raises(qexec.ConfigurationError, match="give store= too"):
        experiments(fakes).run_experiment(QASM, 100, ["fakes/a"], name="bell")
    assert fakes.ledgers["a"].shots == []


def test_a_store_that_cannot_be_opened_is_an_error_before_anything_is_sent(tmp_path):
    fakes = Fakes(a={})
    with pytest.raises(qexec.StoreError, match="folder must exist"):
        experiments(fakes).run_experiment(QASM, 100, ["fakes/a"], store=tmp_path / "no" / "bench.db", name="bell")
    with pytest.raises(qexec.ConfigurationError, match="names no store"):
        experiments(fakes).run_experiment(QASM, 100, ["fakes/a"], store=7, name="bell")
    assert fakes.ledgers["a"].shots == []


def test_what_a_budget_refuses_is_not_recorded(path):
    executor = experiments(Fakes(a={}), budget={"shots": 10})
    with pytest.raises(qexec.BudgetExceededError):
        executor.run_experiment(QASM, 100, ["fakes/a"], store=path, name="bell")
    with open_store(path) as store:
        assert store.experiments() == []


@pytest.mark.parametrize("wait", [True, False])
def test_a_store_that_fails_at_the_end_is_told_once_and_the_results_are_there(path, wait, caplog):
    fakes = Fakes(a={})
    executor = experiments(fakes)
    with open_store(path) as store:
        with sqlite3.connect(path) as damaged:
            damaged.execute("DROP TABLE qexec_experiment_results")
        with pytest.raises(qexec.StoreError, match="other tables"), caplog.at_level(logging.ERROR):
            executor.run_experiment(QASM, 100, ["fakes/a"], wait=wait, store=store, name="bell").wait()
    assert "could not be recorded" in caplog.text
    assert executor.last_collector.get_results() == {"fakes": {"a": [{"00": 100}]}}


def test_results_that_are_too_large_are_said_not_to_be_recorded(path, monkeypatch):
    monkeypatch.setattr("pennylane_qexec.experiment.recording.MOST_BYTES", 10)
    experiments(Fakes(a={})).run_experiment(QASM, 100, ["fakes/a"], store=path, name="bell")
    (one,) = recorded(path)[0].backends
    assert results(one, 1) == [RecordedResult(100, None)]
    assert "10 are recorded at most" in one.error


def test_the_latest_runs_stay(path, monkeypatch):
    monkeypatch.setattr("pennylane_qexec.persistence.store.experiments.MOST_RUNS", 2)
    executor = experiments(Fakes(a={}))
    for circuit in (OTHER, QASM, QASM):
        executor.run_experiment(circuit, 100, ["fakes/a"], store=path, name="bell")
    runs = recorded(path)
    assert [run.id for run in runs] == [2, 3]
    with sqlite3.connect(path) as database:
        left = [
            database.execute(f"SELECT count(*) FROM qexec_experiment_{name}").fetchone()[0]
            for name in ("results", "circuits")
        ]
    assert left == [2, 1]


@pytest.mark.parametrize(
    "text", ["[]", "{", '[[100, {"00": 101}]]', '[[100, {"00": -1}]]', "[[-1, null]]", "[[1.5, null]]", "[3]"]
)
def test_recorded_results_that_cannot_be_are_an_error(text):
    with pytest.raises(qexec.StoreError, match="cannot be read"):
        results_of(text, 1)
    assert results_of(json.dumps([[100, {"00": 99}]]), 1) == [RecordedResult(100, {"00": 99})]
