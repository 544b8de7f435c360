"""How circuits are shared out over backends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.backends import Fakes, experiments
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit

import pennylane_qexec as qexec

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\ncreg c[3];\nmeasure q -> c;\n'
ABC = {"fakes": ["a", "b", "c"]}


def three() -> Fakes:
    return Fakes(a={}, b={}, c={})


def shares(dispatch: qexec.Dispatch) -> dict[str, int]:
    return {job.backend_name: job.total_shots for job in dispatch}


@pytest.mark.slow
@given(shots=st.integers(1, 5000), backends=st.integers(1, 7))
def test_uniform_shares_add_up_exactly_and_none_is_empty(shots: int, backends: int):
    names = [f"b{number}" for number in range(backends)]
    executor = experiments(Fakes(**{name: {} for name in names}))
    dispatch, _ = executor.generate_dispatch(QASM, shots, {"fakes": names}, "uniform")
    found = list(shares(dispatch).values())
    assert sum(found) == shots
    assert min(found) > 0
    assert max(found) - min(found) <= 1


def test_shots_of_1024_over_three_backends_of_three_providers_are_1024():
    one, two, three = Fakes(a={}), Fakes(a={}), Fakes(a={})
    executor = qexec.QuantumExecutor(providers={"one": one, "two": two, "three": three})
    collector = executor.run_experiment(QASM, 1024, {"one": ["a"], "two": ["a"], "three": ["a"]}, "uniform")
    assert sum(sum(provider.ledgers["a"].shots) for provider in (one, two, three)) == 1024
    assert collector.get_merged_results() == {"000": 1024}


def test_multiplier_runs_all_shots_on_every_backend():
    dispatch, _ = experiments(three()).generate_dispatch(QASM, 10, ABC, "multiplier")
    assert shares(dispatch) == {"a": 10, "b": 10, "c": 10}


def test_weights_share_the_shots_by_full_names():
    dispatch, _ = experiments(three()).generate_dispatch(QASM, 10, ABC, {"weighted": {"fakes/a": 4, "fakes/c": 1}})
    assert shares(dispatch) == {"a": 8, "c": 2}


def test_cyclic_sends_each_circuit_whole_to_the_next_backend_across_calls():
    executor = experiments(three())
    first, _ = executor.generate_dispatch([QASM, QASM], 10, ABC, "cyclic")
    second, _ = executor.generate_dispatch([QASM, QASM], 10, ABC, "cyclic")
    assert [job.backend_name for job in (*first, *second)] == ["a", "b", "c", "a"]


def test_each_circuit_has_its_own_shots():
    dispatch, _ = experiments(three()).generate_dispatch([QASM, QASM], [9, 30], ABC, "uniform")
    assert [job.shots for job in dispatch] == [(3, 10)] * 3


def test_circuits_of_one_backend_are_one_job():
    dispatch, _ = experiments(three()).generate_dispatch([QASM, QASM], 9, ABC, "uniform", config={"seed": 3})
    assert [job.numbers for job in dispatch] == [(0, 1)] * 3


def test_backends_that_share_a_seed_do_not_draw_the_same_shots():
    executor = experiments(three())
    dispatch, _ = executor.generate_dispatch([QASM, QASM], 9, ABC, "uniform", config={"seed": 3})
    seeds = [job.config["seed"] for job in dispatch]
    assert seeds[0] == 3
    assert len(set(seeds)) == 3
    again, _ = executor.generate_dispatch([QASM, QASM], 9, ABC, "uniform", config={"seed": 3})
    assert [job.config["seed"] for job in again] == seeds


def test_a_backend_without_enough_qubits_gets_no_share_and_the_others_get_all_shots(caplog: pytest.LogCaptureFixture):
    executor = experiments(Fakes(a={"qubits": 2}, b={}, c={"qubits": 3}))
    dispatch, _ = executor.generate_dispatch(QASM, 11, ABC, "uniform")
    assert shares(dispatch) == {"b": 6, "c": 5}
    assert "fakes/a has 2 qubits" in caplog.text


def test_a_circuit_that_no_backend_has_qubits_for_is_refused_with_the_reasons():
    executor = experiments(Fakes(a={"qubits": 2}, b={"qubits": 1}))
    with pytest.raises(qexec.NoExecutorError, match=r"'fakes/a' has 2 qubits, and .* needs 3; 'fakes/b' has 1 qubit,"):
        executor.generate_dispatch(QASM, 11, {"fakes": ["a", "b"]}, "uniform")


def test_where_every_backend_runs_all_shots_one_without_enough_qubits_is_reported_as_an_error():
    executor = experiments(Fakes(a={"qubits": 2}, b={}))
    collector = executor.run_experiment(QASM, 11, {"fakes": ["a", "b"]}, "multiplier")
    assert collector.partial_results() == {"fakes": {"b": [{"000": 11}]}}
    assert "2 qubits" in str(collector.errors["fakes"]["a"][0])


def paper_split(circuit: Any, shots: int, backends: Any, virtual_provider: Any, data: Any) -> Any:
    """Everything to the last backend; data counts the circuits."""
    dispatch = qexec.Dispatch()
    (provider, names), *_ = backends.items()
    assert str(virtual_provider.get_backend(provider, names[-1])) == f"{provider}/{names[-1]}"
    dispatch.add_job(provider_name=provider, backend_name=names[-1], circuits=circuit, shots=shots)
    return dispatch, (data or 0) + 1


def test_a_split_with_the_papers_signature_is_called_for_each_circuit_with_the_data_of_the_last():
    executor = experiments(three())
    executor.add_policy("last", split_policy=paper_split)
    dispatch, data = executor.generate_dispatch([QASM, QASM], [5, 6], ABC, "last", split_data=10)
    assert [(job.backend_name, job.shots) for job in dispatch] == [("c", (5, 6))]
    assert data == 12


def test_a_split_of_the_paper_is_given_the_circuit_as_the_user_gave_it():
    given: list[Any] = []

    def remember(circuit: Any, *rest: Any) -> Any:
        given.append(circuit)
        return paper_split(circuit, *rest)

    circuit = QuantumCircuit(1)
    experiments(three()).generate_dispatch(circuit, 5, ABC, remember)
    assert given[0] is circuit


def test_a_split_may_send_another_circuit_in_the_place_of_the_users():
    other = QASM.replace("q[3]", "q[1]").replace("c[3]", "c[1]")

    def smaller(circuit: Any, shots: int, backends: Any, virtual_provider: Any, data: Any) -> Any:
        dispatch = qexec.Dispatch()
        dispatch.add_job("fakes", "a", circuits=[other, circuit], shots=shots)
        return dispatch, data

    collector = experiments(three()).run_experiment([QASM, QASM], 5, ABC, smaller)
    assert [(record.circuit, record.result) for record in collector.records] == [
        *[(0, {"0": 5}), (0, {"000": 5})],
        *[(1, {"0": 5}), (1, {"000": 5})],
    ]


def test_a_split_that_loses_shots_is_told_so():
    def lossy(circuit: Any, shots: int, backends: Any, virtual_provider: Any, data: Any) -> Any:
        return paper_split(circuit, shots - 1, backends, virtual_provider, data)

    with pytest.warns(qexec.PartialResultWarning, match="'lossy' shared out 9 of the 10 shots of circuit 0"):
        experiments(three()).generate_dispatch(QASM, 10, ABC, lossy)


def test_jobs_that_do_not_add_up_to_their_circuit_are_not_put_together_unless_that_is_asked_for():
    def twice(circuit: Any, shots: int, backends: Any, virtual_provider: Any, data: Any) -> Any:
        dispatch = qexec.Dispatch()
        for name in ("a", "b"):
            dispatch.add_job("fakes", name, circuit, shots)
        return dispatch, data

    executor = experiments(three())
    apart = {"fakes/a": {"000": 10}, "fakes/b": {"000": 10}}
    assert executor.run_experiment(QASM, 10, ABC, twice).get_merged_results() == apart
    dispatch, _ = executor.generate_dispatch(QASM, 10, ["fakes/a", "fakes/b"], "multiplier")
    assert executor.run_dispatch(dispatch).get_merged_results() == apart
    again = qexec.Dispatch.from_json(dispatch.to_json())
    assert executor.run_dispatch(again).get_merged_results() == apart
    assert executor.run_dispatch(again, merge_policy="aggregate").get_merged_results() == {"000": 20}


def test_a_split_of_clusters_is_a_split_of_experiments():
    def half(circuit: Any, executors: Any) -> Any:
        return [(executors[0], 4), (executors[1], 6)]

    dispatch, _ = experiments(three()).generate_dispatch(QASM, 10, ABC, half)
    assert shares(dispatch) == {"a": 4, "b": 6}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (lambda circuit, executors: [(executors[0], 4)], "4 shots of 10"),
        (lambda circuit, executors: [("a", 10)], "none of the executors"),
        (lambda circuit, shots, backends, provider, data: 7, "Dispatch"),
        (lambda one: one, "no split"),
        (7, "no split"),
        ("unifrom", "Did you mean 'uniform'"),
    ],
)
def test_a_split_that_makes_no_sense_is_refused_before_anything_runs(split: Any, message: str):
    provider = three()
    with pytest.raises(qexec.PolicyError, match=message):
        experiments(provider).run_experiment(QASM, 10, ABC, split)
    assert not any(ledger.options for ledger in provider.ledgers.values())


def test_adding_a_merge_keeps_the_split_of_that_name_and_the_other_way_around():
    executor = experiments(three())
    executor.add_policy("mine", split_policy=paper_split)
    executor.add_policy("mine", merge_policy=lambda results, data: ("merged", data))
    collector = executor.run_experiment(QASM, 10, ABC, "mine")
    assert shares(collector.dispatch) == {"c": 10}
    assert collector.get_merged_results() == "merged"
    executor.add_policy("uniform", merge_policy=lambda results, data: ("all", data))
    collector = executor.run_experiment(QASM, 9, ABC, "uniform")
    assert shares(collector.dispatch) == {"a": 3, "b": 3, "c": 3}


def test_policies_are_read_from_files(tmp_path: Path):
    (tmp_path / "first.py").write_text(
        "import pennylane_qexec as qexec\n"
        "def split(circuit, shots, backends, virtual_provider, data):\n"
        "    dispatch = qexec.Dispatch()\n"
        "    dispatch.add_job('fakes', backends['fakes'][0], circuits=circuit, shots=shots)\n"
        "    return dispatch, data\n"
    )
    (tmp_path / "length.py").write_text("def merge(results, data):\n    return len(results['fakes']), data\n")
    executor = experiments(three(), policies_folder=tmp_path)
    collector = executor.run_experiment(QASM, 10, ABC, "first", "length")
    assert shares(collector.dispatch) == {"a": 10}
    assert collector.get_merged_results() == 1
    assert {"first", "uniform", "cyclic"} <= set(executor.split_policies)
    assert {"length", "aggregate", "tvd"} <= set(executor.merge_policies)
    other = experiments(three())
    other.add_policy("one", split_policy=tmp_path / "first.py")
    assert shares(other.generate_dispatch(QASM, 10, ABC, "one")[0]) == {"a": 10}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "neither a function split"),
        ("def split(:\n", "SyntaxError"),
        ("import nothing_like_it\n", "nothing_"),
    ],
)
def test_a_file_without_policies_is_refused_when_it_is_read(tmp_path: Path, text: str, message: str):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(qexec.ConfigurationError, match=message):
        experiments(three(), policies_folder=tmp_path)


def test_a_folder_or_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(qexec.ConfigurationError, match="no folder"):
        experiments(three(), policies_folder=tmp_path / "none")
    with pytest.raises(qexec.ConfigurationError, match="there is no file"):
        experiments(three()).add_policy("x", merge_policy=tmp_path / "none.py")
    with pytest.raises(qexec.ConfigurationError, match="merge_policy"):
        experiments(three()).add_policy("x")


def test_options_of_backends_without_names_are_refused():
    with pytest.raises(qexec.ConfigurationError, match="config='seed' must be a mapping of options"):
        experiments(three()).run_experiment(QASM, 10, ABC, config="seed")


def test_a_split_can_be_had_as_a_function_with_the_papers_signature():
    executor = experiments(three())
    split = executor.get_split_policy("uniform")
    dispatch, data = split(QASM, 10, ABC, executor.virtual_provider, {"x": 1})
    assert shares(dispatch) == {"a": 4, "b": 3, "c": 3}
    assert data == {"x": 1}
    executor.add_policy("last", split_policy=paper_split)
    assert executor.get_split_policy("last") is paper_split


@pytest.mark.parametrize(
    ("backends", "message"),
    [
        ({}, "names no backend"),
        ([], "names no backend"),
        ({"fakes": []}, "names no backend"),
        ({"fakes": ["a", "a"]}, "named twice"),
        ({"fakes": ["x"]}, "'x'"),
        ({"fake": ["a"]}, "fakes"),
        (["a"], "provider/backend"),
        (7, "names none"),
        ({"fakes": [7]}, "no backend's name"),
    ],
)
def test_backends_that_are_not_there_are_refused_at_once(backends: Any, message: str):
    with pytest.raises(qexec.ConfigurationError, match=message):
        experiments(three()).generate_dispatch(QASM, 10, backends)


def test_backends_can_be_named_in_every_sensible_way():
    executor = experiments(three())
    listed = executor.virtual_provider.get_backends(online=True)
    ways: list[Any] = [ABC, {"fakes": ("a", "b", "c")}, listed, ["fakes/a", "fakes/b", "fakes/c"]]
    ways += [list(listed["fakes"].values())]
    for backends in ways:
        assert shares(executor.generate_dispatch(QASM, 9, backends)[0]) == {"a": 3, "b": 3, "c": 3}
    assert shares(executor.generate_dispatch(QASM, 9, "fakes/b")[0]) == {"b": 9}
    assert shares(executor.generate_dispatch(QASM, 9, {"fakes": "b"})[0]) == {"b": 9}


def test_proportional_shares_follow_what_backends_have_shown():
    executor = experiments(three())
    dispatch, _ = executor.generate_dispatch(QASM, 10, ABC, "proportional")
    assert sum(shares(dispatch).values()) == 10
