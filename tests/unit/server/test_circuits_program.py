"""The program ``circuits``: texts of circuits and sweeps in, texts of their results out, and nothing else."""

import json

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.serialization import circuit_text, results_of, sweep_text
from pennylane_qexec.cluster import sweeps_of
from pennylane_qexec.server.programs import circuits, ours
from pennylane_qexec.server.programs.clusters import ClusterJob
from pennylane_qexec.server.sources import source_of


class Metadata:
    """Of a backend."""

    name, properties = "ideal", None


def run(params, source="default.qubit"):
    return json.loads(ours.run(ClusterJob("job", source_of(source), Metadata, lambda: None), "circuits", params))


def turned(angle, shots=None):
    return QuantumScript([qml.RX(angle, 0)], [qml.expval(qml.Z(0))], shots=shots)


def test_each_part_has_a_result_for_each_of_its_circuits():
    angles = np.linspace(0, 1, 5)
    ((_, sweep),) = sweeps_of([turned(angle) for angle in angles])
    measured = QuantumScript([qml.X("a")], [qml.counts(wires=["a"]), qml.sample(wires=["a"])], shots=[3, 4])
    state = QuantumScript([qml.H(0)], [qml.state()])
    answer = run({"parts": [sweep_text(sweep), circuit_text(measured), circuit_text(state)]})
    rows, ((three, four),), (vector,) = map(results_of, answer["results"])
    assert rows == pytest.approx(np.cos(angles))
    assert [counts for counts, _ in (three, four)] == [{"1": 3}, {"1": 4}]
    assert vector == pytest.approx(np.array([1, 1]) / np.sqrt(2))


def test_noise_of_the_backend_is_there_where_aer_executes():
    class Noisy:
        name, properties = "fake_manila", {}

    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    params = {"parts": [circuit_text(QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))]))]}
    values = []
    for metadata in (Metadata, Noisy):
        job = ClusterJob("job", source_of("aer"), metadata, FakeManilaV2)
        (text,) = json.loads(ours.run(job, "circuits", params))["results"]
        values += results_of(text)
    assert values[0] == pytest.approx(-1)
    assert -0.99 < values[1] < -0.8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "'parts' must be a list"),
        ({"parts": []}, "'parts' must be a list"),
        ({"parts": [3]}, "'parts' must be a list"),
        ({"parts": "text"}, "'parts' must be a list"),
        ({"parts": ["{}"], "shots": 3}, "no parameter of the program 'circuits' is called 'shots'"),
        ({"parts": ["{}"], "mcm_method": "magic"}, "no mcm_method is called 'magic'"),
        ({"parts": ["{}"]}, "no stored circuit"),
        ({"parts": ["[" * 100_000]}, "no stored circuit"),
        ({"parts": ['"format":"pennylane-qexec sweep"']}, "no stored sweep"),
    ],
)
def test_what_is_none_is_refused_with_a_reason(params, message):
    with pytest.raises(qexec.ConfigurationError, match=message):
        run(params)


def test_too_many_circuits_are_refused_before_they_run(monkeypatch):
    monkeypatch.setattr(circuits, "MOST_CIRCUITS", 9)
    monkeypatch.setattr(circuits, "MOST_OPERATIONS", 2)
    ((_, sweep),) = sweeps_of([turned(angle) for angle in np.linspace(0, 1, 5)])
    with pytest.raises(qexec.ConfigurationError, match="more than 9 circuits"):
        run({"parts": [sweep_text(sweep)] * 2})
    monkeypatch.setattr(circuits, "MOST_GATES", 4)
    with pytest.raises(qexec.ConfigurationError, match="more than 4 operations"):
        run({"parts": [sweep_text(sweep)]})
    long = QuantumScript([qml.X(0)] * 3, [qml.expval(qml.Z(0))])
    with pytest.raises(qexec.ConfigurationError, match="3 operations"):
        run({"parts": [circuit_text(long)]})


def test_a_circuit_that_does_not_fit_is_refused_in_the_words_of_what_would_run_it():
    wide = QuantumScript([qml.X(wire) for wire in range(60)], [qml.state()])
    with pytest.raises(qexec.NoExecutorError, match="60"):
        run({"parts": [circuit_text(wide)]})


def test_there_are_no_other_programs():
    with pytest.raises(qexec.ConfigurationError, match="circuits, estimator, sampler"):
        ours.run(ClusterJob("job", source_of("default.qubit"), Metadata, lambda: None), "noise-learner", {})
