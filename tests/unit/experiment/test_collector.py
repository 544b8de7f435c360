"""Collectors: results while they come in, waiting, giving up, merging, saving."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes.backends import Fakes, experiments

import pennylane_qexec as qexec

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nmeasure q -> c;\n'
AB = {"fakes": ["a", "b"]}


@pytest.fixture
def held() -> Iterator[Fakes]:
    """Backends of which b answers only when it is let go on."""
    provider = Fakes(a={}, b={})
    provider.ledgers["b"].held.clear()
    yield provider
    provider.ledgers["b"].held.set()


def started(provider: Fakes) -> qexec.ResultCollector:
    """An experiment of which a's part has ended, and b's has begun."""
    ended = threading.Event()
    collector = experiments(provider).run_experiment(QASM, 10, AB, "multiplier", wait=False)
    collector.listen(ended.set)
    assert provider.ledgers["b"].began.wait(30)
    assert collector.partial_results() or ended.wait(30)
    return collector


def test_partial_results_are_there_while_the_experiment_runs(held: Fakes):
    collector = started(held)
    assert collector.partial_results() == {"fakes": {"a": [{"00": 10}]}}
    assert not collector.is_complete
    assert collector.progress == 0.5
    held.ledgers["b"].held.set()
    assert collector.wait(30)
    assert collector.partial_results() == {"fakes": {"a": [{"00": 10}], "b": [{"00": 10}]}}
    assert (collector.is_complete, collector.progress, collector.errors) == (True, 1.0, {})


def test_what_runs_is_told_from_what_waits(held: Fakes):
    collector = started(held)
    (_, record) = collector.records
    assert record.state == "running"
    assert 0 < record.submitted <= record.started
    assert record.finished == 0


def test_waiting_ends_after_the_timeout_and_says_that_it_is_not_over(held: Fakes):
    collector = started(held)
    assert collector.wait(0.001) is False
    with pytest.raises(qexec.JobTimeoutError, match="1 of 2 circuits have ended"):
        collector.get_results(timeout=0.001)
    with pytest.raises(TimeoutError):
        collector.get_merged_results(timeout=0.001)


def test_what_is_there_can_be_merged_while_the_rest_runs(held: Fakes):
    collector = started(held)
    assert collector.merge("aggregate", partial=True) == {"00": 10}


def test_cancelling_ends_what_has_not_ended_and_keeps_what_has(held: Fakes, caplog: pytest.LogCaptureFixture):
    collector = started(held)
    collector.cancel()
    assert not [record for record in caplog.records if record.name == "concurrent.futures"]
    assert collector.wait(30)
    assert collector.partial_results() == {"fakes": {"a": [{"00": 10}]}}
    assert [record.state for record in collector.records] == ["done", "cancelled"]
    assert isinstance(collector.errors["fakes"]["b"][0], qexec.JobCancelledError)


def test_closing_the_executor_cancels_what_has_not_ended(held: Fakes):
    with experiments(held) as executor:
        collector = executor.run_experiment(QASM, 10, {"fakes": ["b"]}, wait=False)
        assert held.ledgers["b"].began.wait(30)
    assert collector.wait(30)
    assert collector.partial_results() == {}


def test_a_circuit_that_takes_too_long_is_an_error(held: Fakes):
    collector = experiments(held).run_experiment(QASM, 10, "fakes/b", wait=False, timeout=0.5)
    assert collector.wait(30)
    assert isinstance(collector.errors["fakes"]["b"][0], qexec.JobTimeoutError)


def test_a_collector_can_be_awaited(held: Fakes):
    async def program() -> Any:
        collector = experiments(held).run_experiment(QASM, 10, AB, "multiplier", wait=False)
        held.ledgers["b"].held.set()
        return (await collector).get_results()

    assert asyncio.run(program()) == {"fakes": {"a": [{"00": 10}], "b": [{"00": 10}]}}


def test_listeners_hear_of_each_circuit_that_ends_and_of_the_end():
    heard: list[int] = []
    collector = experiments(Fakes(a={}, b={})).run_experiment(QASM, 10, AB, wait=False)
    collector.listen(lambda: heard.append(1))
    collector.wait()
    assert collector.progress == 1.0


def test_the_representation_says_how_far_it_is(held: Fakes):
    assert repr(started(held)) == "<ResultCollector: 1 of 2 circuits have ended>"


def test_the_representation_tells_what_failed_from_what_was_given_up(held: Fakes):
    collector = started(held)
    collector.cancel()
    collector.wait(30)
    assert repr(collector) == "<ResultCollector: 2 of 2 circuits have ended, 1 cancelled>"


def test_the_last_collector_is_kept_for_whoever_was_interrupted():
    executor = experiments(Fakes(a={}))
    assert executor.last_collector is None
    assert executor.run_experiment(QASM, 10, "fakes/a") is executor.last_collector


def test_a_progress_bar_shows_every_circuit(capsys: pytest.CaptureFixture[str]):
    experiments(Fakes(a={}, b={})).run_experiment([QASM, QASM], 10, AB, progress=True)
    captured = capsys.readouterr()
    assert "4/4" in captured.err
    assert captured.out == ""


def test_a_table_has_one_row_for_each_circuit_of_each_job():
    collector = experiments(Fakes(a={}, b={})).run_experiment([QASM, QASM], 10, AB, "multiplier")
    table = collector.to_dataframe()
    assert list(zip(table.backend, table.circuit, table.shots, table.state, strict=True)) == [
        *[("a", 0, 10, "done"), ("a", 1, 10, "done")],
        *[("b", 0, 10, "done"), ("b", 1, 10, "done")],
    ]
    assert (table.finished >= table.submitted).all()


def test_pictures_are_drawn_of_counts_merged_results_and_times():
    collector = experiments(Fakes(a={}, b={})).run_experiment(QASM, 10, AB, "multiplier", "aggregate")
    for axes in (collector.plot_counts(), collector.plot_counts(merged=True), collector.plot_timeline()):
        assert axes.figure is not None
        axes.figure.clear()


# -- merges


def test_without_a_merge_shares_are_put_together_and_full_runs_are_kept_apart():
    executor = experiments(Fakes(a={}, b={}))
    assert executor.run_experiment(QASM, 11, AB, "uniform").get_merged_results() == {"00": 11}
    apart = executor.run_experiment(QASM, 11, AB, "multiplier").get_merged_results()
    assert apart == {"fakes/a": {"00": 11}, "fakes/b": {"00": 11}}


def test_merged_results_of_a_list_of_circuits_are_a_list():
    executor = experiments(Fakes(a={}, b={}))
    assert executor.run_experiment([QASM], 11, AB, "uniform", "aggregate").get_merged_results() == [{"00": 11}]
    several = executor.run_experiment([QASM, QASM], [5, 6], AB, "uniform", "per_backend").get_merged_results()
    assert several == {"fakes/a": [{"00": 3}, {"00": 3}], "fakes/b": [{"00": 2}, {"00": 3}]}


def test_circuits_that_went_whole_to_different_backends_are_merged_each_by_itself():
    collector = experiments(Fakes(a={}, b={})).run_experiment([QASM, QASM], [5, 6], AB, "cyclic", "aggregate")
    assert collector.get_merged_results() == [{"00": 5}, {"00": 6}]


def test_a_merge_of_the_paper_gets_the_raw_results_and_its_data_and_both_come_back():
    def merge(results: Any, data: Any) -> Any:
        return {name: runs[0]["00"] for name, runs in results["fakes"].items()}, {**data, "seen": True}

    collector = experiments(Fakes(a={}, b={})).run_experiment(QASM, 10, AB, "multiplier", merge, merge_data={"x": 1})
    assert collector.get_merged_results() == {"a": 10, "b": 10}
    assert collector.get_merged_results() is collector.get_merged_results()
    assert collector.merge_data == {"x": 1, "seen": True}


def test_a_merge_that_returns_no_pair_is_told_so():
    collector = experiments(Fakes(a={})).run_experiment(QASM, 10, "fakes/a", merge_policy=lambda results, data: 7)
    with pytest.raises(qexec.PolicyError, match="pair"):
        collector.get_merged_results()


@pytest.mark.parametrize(("merge", "message"), [("agregate", "Did you mean 'aggregate'"), (7, "no merge")])
def test_a_merge_that_nobody_knows_is_refused_before_anything_runs(merge: Any, message: str):
    provider = Fakes(a={})
    with pytest.raises(qexec.PolicyError, match=message):
        experiments(provider).run_experiment(QASM, 10, "fakes/a", merge_policy=merge)
    dispatch, _ = experiments(provider).generate_dispatch(QASM, 10, "fakes/a")
    with pytest.raises(qexec.PolicyError, match=message):
        experiments(provider).run_dispatch(dispatch, merge_policy=merge)
    assert provider.ledgers["a"].options == []


def test_a_reference_that_does_not_run_is_refused_before_anything_runs():
    provider = Fakes(a={}, b={})
    with pytest.raises(qexec.PolicyError, match=r"merge_data=\{'reference': 'fakes/a'\}"):
        experiments(provider).run_experiment(QASM, 10, AB, "multiplier", "tvd")
    assert provider.ledgers["a"].options == []


@pytest.mark.parametrize(
    ("backends", "data", "message"),
    [
        (AB, {"refrence": "fakes/a"}, "reference"),
        (AB, "fakes/a", "reference"),
        ("fakes/a", {"reference": "fakes/a"}, "there is one"),
    ],
)
def test_a_comparison_without_sense_is_refused_before_anything_runs(backends: Any, data: Any, message: str):
    provider = Fakes(a={}, b={})
    with pytest.raises(qexec.PolicyError, match=message):
        experiments(provider).run_experiment(QASM, 10, backends, "multiplier", "tvd", merge_data=data)
    assert provider.ledgers["a"].options == []


def test_distances_are_those_of_the_definitions():
    executor = experiments(Fakes(a={}))
    results = {"p": {"ref": [{"00": 50, "11": 50}], "x": [{"00": 100}], "y": [{"01": 7}], "z": [{"11": 3, "00": 3}]}}
    data = {"reference": "p/ref"}
    tvd, back = executor.get_merge_policy("tvd")(results, data)
    assert tvd == pytest.approx({"p/x": 0.5, "p/y": 1.0, "p/z": 0.0})
    assert back is data
    hellinger, _ = executor.get_merge_policy("hellinger")(results, data)
    assert hellinger == pytest.approx({"p/x": np.sqrt(1 - np.sqrt(0.5)), "p/y": 1.0, "p/z": 0.0}, abs=1e-7)


def test_merges_can_be_had_as_functions_with_the_papers_signature():
    executor = experiments(Fakes(a={}))
    results = {"p": {"a": [{"0": 1}, {"0": 2}], "b": [{"1": 1}, None]}}
    assert executor.get_merge_policy("aggregate")(results, None) == ([{"0": 1, "1": 1}, {"0": 2}], None)

    def own(results: Any, data: Any) -> Any:
        return results, data

    executor.add_policy("own", merge_policy=own)
    assert executor.get_merge_policy("own") is own


def test_another_merge_can_be_asked_for_afterwards():
    collector = experiments(Fakes(a={}, b={})).run_experiment(QASM, 10, AB, "multiplier")
    assert collector.merge("aggregate") == {"00": 20}
    assert collector.merge("tvd", {"reference": "fakes/a"}) == {"fakes/b": 0.0}
    with pytest.raises(qexec.PolicyError, match="reference of merge"):
        collector.merge("tvd", {"reference": "fakes/z"})


# -- files


def test_what_was_saved_comes_back(tmp_path: Path):
    collector = experiments(Fakes(a={}, b={})).run_experiment([QASM, QASM], 10, AB, "uniform")
    merged = collector.get_merged_results()
    collector.save(tmp_path / "results.json")
    again = qexec.ResultCollector.load(tmp_path / "results.json")
    assert again.get_results() == collector.get_results()
    assert again.get_merged_results() == merged
    assert again.merge("per_backend") == collector.merge("per_backend")
    assert again.records == collector.records
    assert again.is_complete
    assert again.dispatch is not None
    assert again.dispatch.to_dict() == collector.dispatch.to_dict()
    assert len(again.to_dataframe()) == 4


def test_a_saved_file_is_plain_json_with_counts_to_read(tmp_path: Path):
    experiments(Fakes(a={})).run_experiment(QASM, 10, "fakes/a").save(tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["records"][0]["result"] == {"00": 10}
    assert document["dispatch"]["circuits"] == [{"framework": "openqasm2", "openqasm": QASM}]
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_errors_are_saved_and_results_that_are_missing_stay_missing(tmp_path: Path):
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    experiments(provider).run_experiment(QASM, 10, AB).save(tmp_path / "results.json")
    again = qexec.ResultCollector.load(tmp_path / "results.json")
    assert "burnt out" in str(again.errors["fakes"]["b"][0])
    with pytest.raises(qexec.PartialResultError, match="burnt out"):
        again.get_merged_results()
    with pytest.raises(qexec.QExecError, match="loaded from a file"):
        again.rerun()


def test_places_of_results_that_are_missing_stay_when_they_are_saved(tmp_path: Path):
    failures = [ValueError("both"), ValueError("the first")]
    executor = experiments(Fakes(a={"failures": failures}))
    collector = executor.run_experiment([QASM, QASM], [5, 6], "fakes/a", on_failure="partial")
    collector.save(tmp_path / "results.json")
    again = qexec.ResultCollector.load(tmp_path / "results.json")
    assert again.partial_results() == collector.partial_results() == {"fakes": {"a": [None, {"00": 6}]}}
    assert again.merge("aggregate", partial=True) == collector.get_merged_results() == [None, {"00": 6}]


def test_shots_that_were_run_elsewhere_are_where_they_were_when_they_are_saved(tmp_path: Path):
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")]})
    collector = experiments(provider).run_experiment(QASM, 10, AB, on_failure="rerun")
    collector.save(tmp_path / "results.json")
    again = qexec.ResultCollector.load(tmp_path / "results.json")
    assert again.get_results() == collector.get_results() == {"fakes": {"a": [{"00": 10}]}}
    assert again.get_merged_results() == {"00": 10}


def test_a_file_says_what_is_missing_after_shots_have_been_run_again_and_failed_again(tmp_path: Path):
    provider = Fakes(a={}, b={"failures": [ValueError("burnt out")] * 2})
    collector = experiments(provider).run_experiment([QASM, QASM], 10, AB, "cyclic", retry=qexec.retries.never())
    for missing in (1, 1, 0):
        collector.save(tmp_path / "results.json")
        again = qexec.ResultCollector.load(tmp_path / "results.json")
        assert again.records == collector.records
        assert again.partial_results() == collector.partial_results()
        assert again.merge("aggregate", partial=True) == collector.merge("aggregate", partial=True)
        with pytest.raises(qexec.PartialResultError) if missing else nullcontext():
            assert again.merge("aggregate") == [{"00": 10}] * 2
        collector.rerun().wait()


def test_a_loaded_collector_merges_as_the_saved_one_would_have(tmp_path: Path):
    executor = experiments(Fakes(a={}, b={}))
    data = {"reference": "fakes/b"}
    collector = executor.run_experiment(QASM, 10, AB, "multiplier", "tvd", merge_data=data)
    collector.save(tmp_path / "results.json")
    assert qexec.ResultCollector.load(tmp_path / "results.json").get_merged_results() == {"fakes/a": 0.0}
    executor.run_experiment(QASM, 10, AB, merge_policy=lambda results, _: 7).save(tmp_path / "own.json")
    with pytest.raises(qexec.PolicyError, match="lambda"):
        qexec.ResultCollector.load(tmp_path / "own.json").get_merged_results()


def test_counts_of_an_observable_keep_their_numbers(tmp_path: Path):
    tape = qml.tape.QuantumScript([qml.X(0)], [qml.counts(qml.Z(0))], shots=10)
    collector = qexec.QuantumExecutor().run_experiment(tape, None, "local_pennylane/lightning.qubit")
    merged = collector.get_merged_results()
    with pytest.warns(UserWarning, match="saved without"):
        collector.save(tmp_path / "results.json")
    assert qexec.ResultCollector.load(tmp_path / "results.json").get_merged_results() == merged == {-1.0: 10}


def test_results_that_are_no_counts_are_saved_exactly(tmp_path: Path):
    tape = qml.tape.QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0)), qml.probs(wires=[0]), qml.sample(wires=[0])])
    executor = qexec.QuantumExecutor()
    backends = ["local_pennylane/lightning.qubit", "local_pennylane/default.qubit"]
    collector = executor.run_experiment(tape, 20, backends, "uniform")
    value, probabilities, samples = collector.get_merged_results()
    with pytest.warns(UserWarning, match="saved without the dispatch"):
        collector.save(tmp_path / "results.json")
    loaded = qexec.ResultCollector.load(tmp_path / "results.json")
    with pytest.raises(qexec.ConfigurationError, match="loaded from a file"):
        executor.run_dispatch(loaded.dispatch)
    again = loaded.get_merged_results()
    assert again[0] == value
    assert np.array_equal(again[1], probabilities)
    assert np.array_equal(again[2], samples)
    assert again[2].dtype == samples.dtype


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no saved"),
        ('{"records": [], "version": 7}', "version 7"),
        ('{"records": [], "version": "x"}', "version 'x'"),
        ('{"records": [1]}', "no saved results"),
        ('{"records": [{}]}', "no saved results"),
        ('{"records": [], "merged": {"array": [1], "dtype": "S1000000000"}}', "are not read"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.ResultCollector.load(tmp_path / "x.json")
    with pytest.raises(qexec.ConfigurationError, match="cannot be read"):
        qexec.ResultCollector.load(tmp_path / "none.json")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path):
    collector = experiments(Fakes(a={})).run_experiment(QASM, 10, "fakes/a")
    with pytest.raises(qexec.ConfigurationError, match="cannot be written"):
        collector.save(tmp_path / "no" / "folder.json")


def _changed(path: Path, change: Any) -> Path:
    """A saved experiment of two circuits on two backends, with 5 shots on each, in which something was changed."""
    collector = experiments(Fakes(a={}, b={})).run_experiment([QASM, QASM], 10, AB, "uniform")
    collector.get_merged_results()
    collector.save(path)
    document = json.loads(path.read_text())
    change(document, document["records"][2])
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"00": -5, "11": 10}, "the outcome '00' came back -5 times, which is no whole number"),
        ({"00": 2.5, "11": 2.5}, "the outcome '00' came back 2.5 times, which is no whole number"),
        ({"00": True, "11": 4}, "the outcome '00' came back True times, which is no whole number"),
        ({"00": "5"}, "the outcome '00' came back '5' times, which is no whole number"),
        ({"dict": [["00", 2.5], ["11", 2.5]]}, "the outcome '00' came back 2.5 times"),
        ({"00": 50}, "50 shots came back of 5 asked for"),
        ({"00": 3}, "3 shots came back of 5 asked for"),
        ({"00": 3, "1": 2}, "its outcomes are of different kinds"),
        ({}, "0 shots came back of 5 asked for"),
        ({"000": 5}, "the outcome '000' came back, and its circuit measures 2 bits"),
        ({"dict": [["0x", 5]]}, "the outcome '0x' came back, and its circuit measures 2 bits"),
        (0.5, "it is 0.5, and its circuit has its outcomes counted"),
        (None, "there is none"),
    ],
)
def test_counts_of_a_file_that_cannot_have_come_back_are_refused(tmp_path: Path, result: Any, why: str):
    path = _changed(tmp_path / "x.json", lambda document, record: record.update(result=result))
    with pytest.raises(qexec.ConfigurationError) as caught:
        qexec.ResultCollector.load(path)
    assert why in str(caught.value)
    assert "record 2 of these saved results, circuit 0 on 'fakes/b'," in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[(column, value) for column in ("job", "circuit", "shots", "attempt") for value in (-1, 1.5, True, "x", [])],
        *[(column, value) for column in ("started", "seconds", "cost") for value in (-1, math.inf, math.nan, "x", {})],
        *[("state", value) for value in ("lost", 7, [], None)],
        *[("error", 7), ("instead_of", []), ("provider", None), ("backend", 7)],
    ],
)
def test_an_attribute_of_a_file_that_cannot_be_is_refused_by_its_name(tmp_path: Path, column: str, value: Any):
    path = _changed(tmp_path / "x.json", lambda document, record: record.update({column: value}))
    with pytest.raises(qexec.ConfigurationError, match=f"record 2 of these saved results, circuit .* has {column}="):
        qexec.ResultCollector.load(path)


def test_merged_results_of_a_file_that_its_records_do_not_add_up_to_are_refused(tmp_path: Path):
    path = _changed(tmp_path / "x.json", lambda document, record: document.update(merged=[{"00": 11}, {"00": 10}]))
    with pytest.raises(qexec.ConfigurationError, match="not what its records add up to"):
        qexec.ResultCollector.load(path)


def test_circuits_that_lose_shots_come_back_with_what_is_left(tmp_path: Path):
    def half():
        qml.H(0)
        qml.measure(0, postselect=1)
        return qml.counts(wires=[0])

    tape = qml.tape.make_qscript(half, shots=50)()
    collector = qexec.QuantumExecutor().run_experiment(tape, None, "local_pennylane/default.qubit")
    (counts,) = collector.get_results()["local_pennylane"]["default.qubit"]
    assert 0 < sum(counts.values()) < 50
    with pytest.warns(UserWarning, match="saved without"):
        collector.save(tmp_path / "x.json")
    assert qexec.ResultCollector.load(tmp_path / "x.json").get_results() == collector.get_results()


def test_a_slow_listener_does_not_keep_backends_from_their_work():
    listening, second = threading.Event(), threading.Event()
    provider = Fakes(a={})
    provider.ledgers["a"].held.clear()

    class OneByOne(qexec.Executor):
        """Answers the first circuit while somebody listens to the end of another, and says when it has the second."""

        def __init__(self) -> None:
            super().__init__(max_circuits=1, workers=1)
            self.asked = 0

        def run(self, circuits: Any) -> Any:
            self.asked += 1
            if self.asked == 1:
                assert listening.wait(60)
            else:
                second.set()
            return [{"00": circuit.shots.total_shots} for circuit in circuits]

    class Another(qexec.Provider):
        name = "another"

        def backends(self) -> Any:
            return {"b": qexec.Backend("another", "b", OneByOne)}

    heard: list[bool] = []

    def listen() -> None:
        if not heard:
            listening.set()
            heard.append(second.wait(60))

    executor = qexec.QuantumExecutor(providers={"fakes": provider, "another": Another()})
    collector = executor.run_experiment([QASM, f"{QASM}\n"], 10, ["fakes/a", "another/b"], "multiplier", wait=False)
    collector.listen(listen)
    provider.ledgers["a"].held.set()
    assert collector.wait(60)
    assert heard == [True]
    assert {record.state for record in collector.records} == {"done"}
