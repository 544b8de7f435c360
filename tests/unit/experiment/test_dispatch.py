"""Dispatches: made by hand, printed, iterated over, written and read."""

from __future__ import annotations

import json

import numpy as np
import pennylane as qml
import pytest
from fakes.backends import Fakes, experiments
from qiskit import QuantumCircuit

import pennylane_qexec as qexec

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nx q[0];\nmeasure q -> c;\n'


def flipped() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.x(0)
    circuit.measure_all()
    return circuit


def two_jobs() -> qexec.Dispatch:
    dispatch = qexec.Dispatch()
    circuit = flipped()
    dispatch.add_job(provider_name="local_aer", backend_name="aer_simulator", circuits=circuit, shots=100)
    dispatch.add_job("local_aer", "fake_manila", [circuit, QASM], [10, 20], config={"seed": 7})
    return dispatch


def test_iterating_gives_the_jobs_in_order_with_what_they_were_given():
    first, second = two_jobs()
    assert (first.provider_name, first.backend_name, first.shots, first.config) == (
        *("local_aer", "aer_simulator"),
        *((100,), {}),
    )
    assert (second.backend_name, second.shots, second.config) == ("fake_manila", (10, 20), {"seed": 7})
    assert second.circuits == (first.circuits[0], QASM)


def test_the_same_circuit_in_two_jobs_has_one_number():
    first, second = two_jobs()
    assert first.numbers == (0,)
    assert second.numbers == (0, 1)


def test_a_dispatch_says_how_much_it_asks_for():
    dispatch = two_jobs()
    assert len(dispatch) == 2
    assert dispatch.total_shots == 130
    assert dispatch.backends == {"local_aer": ["aer_simulator", "fake_manila"]}


def test_printing_a_dispatch_shows_a_line_for_each_job():
    lines = str(two_jobs()).splitlines()
    assert lines[0] == "<Dispatch of 2 circuits in 2 jobs, 130 shots>"
    assert lines[2].split() == ["0", "local_aer/aer_simulator", "0", "100", "shots"]
    assert lines[3].split() == ["1", "local_aer/fake_manila", "0,1", "10", "to", "20", "shots", "seed=7"]


def test_a_dispatch_comes_back_from_json_with_the_same_jobs_and_circuits():
    dispatch = two_jobs()
    again = qexec.Dispatch.from_json(dispatch.to_json())
    assert [(job.place, job.numbers, job.shots, job.config) for job in again] == [
        (job.place, job.numbers, job.shots, job.config) for job in dispatch
    ]
    assert again.to_dict() == dispatch.to_dict()
    assert len(again.circuits) == 2


def test_a_dispatch_from_json_gives_the_results_of_the_original():
    executor = qexec.QuantumExecutor()
    dispatch, _ = executor.generate_dispatch([flipped(), QASM], 50, ["local_aer/aer_simulator"])
    again = qexec.Dispatch.from_json(dispatch.to_json())
    assert executor.run_dispatch(again).get_results() == {"local_aer": {"aer_simulator": [{"01": 50}, {"01": 50}]}}


def test_circuits_that_openqasm_cannot_say_are_refused_when_a_dispatch_is_written():
    dispatch = qexec.Dispatch()
    tape = qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0) @ qml.X(1))])
    dispatch.add_job("local_aer", "aer_simulator", tape, 10)
    with pytest.raises(qexec.ConfigurationError, match="expval"):
        dispatch.to_json()


def test_options_that_json_cannot_say_are_refused_when_a_dispatch_is_written():
    dispatch = qexec.Dispatch()
    dispatch.add_job("local_aer", "aer_simulator", QASM, 10, config={"noise_model": object()})
    with pytest.raises(qexec.ConfigurationError, match="config"):
        dispatch.to_json()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no json", "JSON"),
        ("[1]", "'circuits' and 'jobs'"),
        ('{"circuits": [], "jobs": [], "version": 9}', "version 9"),
        ('{"circuits": [], "jobs": [{"provider": "a", "backend": "b", "circuits": [0], "shots": [1]}]}', "no job"),
        ('{"circuits": [], "jobs": [{"provider": "a", "gate": "b"}]}', "'gate'"),
        ('{"circuits": [], "jobs": [], "version": "x"}', "version='x'"),
        ('{"circuits": [{"framework": 3, "openqasm": ""}], "jobs": []}', "no dispatch"),
        ("[" * 100_000, "JSON"),
        ("1" * 5000, "JSON"),
    ],
)
def test_text_that_is_no_dispatch_is_refused_with_a_reason(text: str, named: str):
    with pytest.raises(qexec.ConfigurationError, match=named):
        qexec.Dispatch.from_json(text)


def test_shots_may_be_an_array_of_numpy():
    job = qexec.Dispatch().add_job("local_aer", "aer_simulator", [QASM, QASM], np.array([10, 20]))
    assert job.shots == (10, 20)


@pytest.mark.parametrize("shots", [0, -1, 1.5, True, [10, 20], "many"])
def test_shots_that_are_no_positive_whole_numbers_one_for_each_circuit_are_refused(shots: object):
    with pytest.raises(qexec.ConfigurationError, match="shots="):
        qexec.Dispatch().add_job("local_aer", "aer_simulator", QASM, shots)


def test_a_job_needs_names_and_a_mapping_of_options():
    with pytest.raises(qexec.ConfigurationError, match="backend_name"):
        qexec.Dispatch().add_job("local_aer", "", QASM, 10)
    with pytest.raises(qexec.ConfigurationError, match="config"):
        qexec.Dispatch().add_job("local_aer", "aer_simulator", QASM, 10, config=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"circuits": [-1]}, {"circuits": [False]}, {"numbers": [0, 1]}, {"numbers": ["0"]}])
def test_places_that_are_none_are_refused_when_a_dispatch_is_read(wrong: dict[str, object]):
    dispatch = qexec.Dispatch()
    dispatch.add_job("local_aer", "aer_simulator", QASM, 10)
    document = dispatch.to_dict()
    document["jobs"][0] |= wrong
    with pytest.raises(qexec.ConfigurationError, match="no job of a dispatch"):
        qexec.Dispatch.from_dict(document)


def test_jobs_by_backend_are_a_dispatch_too():
    written = {"fakes": {"a": [{"circuits": QASM, "shots": 10}], "b": {"circuit": [QASM], "shots": [20], "config": {}}}}
    executor = experiments(Fakes(a={}, b={}))
    assert executor.run_dispatch(written).get_results() == {"fakes": {"a": [{"00": 10}], "b": [{"00": 20}]}}
    assert qexec.Dispatch.from_dict(written).backends == {"fakes": ["a", "b"]}


@pytest.mark.parametrize(
    "written", [{"fakes": 7}, {"fakes": {"a": [7]}}, {"fakes": {"a": [{"shot": 7}]}}, {"f": {"a": {}}}]
)
def test_jobs_by_backend_that_make_no_sense_are_refused(written: object):
    with pytest.raises(qexec.ConfigurationError):
        qexec.Dispatch.from_dict(written)  # type: ignore[arg-type]


def test_an_empty_dispatch_is_not_run():
    with pytest.raises(qexec.ConfigurationError, match="no jobs"):
        experiments(Fakes(a={})).run_dispatch(qexec.Dispatch())


def test_plain_data_names_each_circuit_once():
    document = two_jobs().to_dict()
    assert [job["circuits"] for job in document["jobs"]] == [[0], [0, 1]]
    assert [circuit["framework"] for circuit in document["circuits"]] == ["qiskit", "openqasm2"]
    assert json.loads(json.dumps(document)) == document


TELEPORT = (
    'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[1]; creg d[1]; '
    "h q[0]; measure q[0] -> c[0]; if (c == 1) x q[1]; measure q[1] -> d[0];"
)


@pytest.mark.parametrize(("config", "one_by_one"), [({}, False), ({"mcm_method": "one-shot"}, True)])
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_jobs_say_how_mid_circuit_measurements_are_run(monkeypatch, name, config, one_by_one):
    kind = type(qml.device(name, wires=2))
    original, seen = kind.execute, []

    def execute(self, circuits, execution_config=None):
        seen.extend((circuits,) if isinstance(circuits, qml.tape.QuantumScript) else circuits)
        return original(self, circuits, execution_config)

    monkeypatch.setattr(kind, "execute", execute)
    executor = qexec.QuantumExecutor()
    dispatch = qexec.Dispatch()
    dispatch.add_job("local_pennylane", name, TELEPORT, 50, config)
    (counted,) = executor.run_dispatch(dispatch).get_results()["local_pennylane"][name]
    executor.close()
    assert sum(counted.values()) == 50
    assert {outcome.replace(" ", "") for outcome in counted} <= {"00", "11"}
    assert [circuit.shots.has_partitioned_shots for circuit in seen] == [one_by_one]


def test_a_method_of_mid_circuit_measurements_that_there_is_not_is_refused():
    with pytest.raises(qexec.ConfigurationError, match=r"'tree'.*one-shot"):
        qexec.QuantumExecutor().run_experiment(TELEPORT, 50, ["local_aer/aer_simulator"], config={"mcm_method": "tree"})
