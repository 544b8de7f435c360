"""How far backends were from a reference, over all recorded runs: bits where they belong, nothing made up."""

from __future__ import annotations

import math
import sqlite3
from functools import partial
from pathlib import Path

import cirq
import pandas
import pennylane as qml
import pytest
from fakes.backends import Fakes, experiments
from qiskit import QuantumCircuit

import pennylane_qexec as qexec
from pennylane_qexec.persistence.store import open_store

QASM = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nh q[0];\nmeasure q -> c;\n'
THREE = ["local_aer/aer_simulator", "local_cirq/simulator", "local_pennylane/default.qubit"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bench.db")


def lopsided_qiskit() -> QuantumCircuit:
    """Outcomes that differ if bits change places, in two registers."""
    from qiskit import ClassicalRegister, QuantumRegister

    qubits = QuantumRegister(3)
    first, second = ClassicalRegister(1, "first"), ClassicalRegister(3, "second")
    circuit = QuantumCircuit(qubits, first, second)
    circuit.x(0)
    circuit.ry(0.7, 1)
    circuit.measure(0, first[0])
    circuit.measure(1, second[2])
    circuit.measure(2, second[0])
    return circuit


def lopsided_branch() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.ry(0.7, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.ry(0.4, 1)
    circuit.measure(1, 1)
    return circuit


def lopsided_cirq() -> cirq.Circuit:
    first, second = cirq.LineQubit.range(2)
    return cirq.Circuit(
        cirq.X(second), cirq.ry(0.7)(first), cirq.measure(second, key="a"), cirq.measure(first, key="b")
    )


def lopsided_pennylane() -> list[qml.measurements.CountsMP]:
    qml.X(2)
    qml.RY(0.7, 0)
    return qml.counts(wires=[2, 1, 0])


@pytest.mark.parametrize("order", ["native", "little", "big"])
@pytest.mark.parametrize("circuit", [lopsided_qiskit(), lopsided_branch(), lopsided_cirq(), lopsided_pennylane])
def test_exact_backends_are_close_to_the_ideal_with_bits_in_any_order(path, circuit, order):
    executor = qexec.QuantumExecutor(providers=["local_aer", "local_cirq", "local_pennylane"], bit_order=order)
    executor.run_experiment(circuit, 2000, THREE, "multiplier", config={"seed": 3}, store=path, name="bits")
    points = qexec.backend_history(path, "bits").points
    assert [one.place for one in points] == THREE
    for one in points:
        assert one.distance < 5 * one.error  # 5 sigma; other places of bits would give at least 0.1
        assert one.error < 0.012


def test_the_table_has_a_row_for_each_backend_and_run(path):
    for _ in range(2):
        experiments(Fakes(a={}, b={"lost": 10})).run_experiment(
            QASM, 100, ["fakes/a", "fakes/b"], "multiplier", store=path, name="bell"
        )
    history = qexec.backend_history(path, "bell")
    table = history.to_dataframe()
    assert list(table.columns) == [
        *("run", "time", "provider", "backend", "shots", "asked"),
        *("distance", "error", "change", "failure", "seconds", "cost"),
    ]
    assert table["run"].tolist() == [1, 1, 2, 2]
    assert table["backend"].tolist() == ["a", "b", "a", "b"]
    assert isinstance(table["time"].dtype, pandas.DatetimeTZDtype)
    assert table["distance"].tolist()[0] == 0.5  # all shots are 00, and half of them should be 01
    assert repr(history) == "<BackendHistory of 'bell': 2 backends, 2 runs, 0 marks>"


def test_shots_that_were_lost_are_counted_neither_as_shots_nor_as_outcomes(path):
    loses = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\ncreg c[1];\nmeasure q -> c;\n'
    with open_store(path) as store:
        experiments(Fakes(a={})).run_experiment(loses, 100, ["fakes/a"], store=store, name="bell")
    with sqlite3.connect(path) as database:
        database.execute('UPDATE qexec_experiment_results SET results = \'[[100, {"0": 60, "1": 20}]]\'')
    (one,) = qexec.backend_history(path, "bell").points
    assert (one.shots, one.asked, one.distance) == (80, 100, pytest.approx(0.25))


def test_a_backend_without_all_circuits_has_no_distance_and_the_others_do(path):
    executor, both = experiments(Fakes(a={}, b={})), ["fakes/a", "fakes/b"]
    for _ in range(2):
        executor.run_experiment([QASM, QASM + " "], 100, both, "multiplier", store=path, name="bell")
    with sqlite3.connect(path) as database:
        results = '[[100, {"00": 100}], [100, null]]'
        database.execute(f"UPDATE qexec_experiment_results SET results = '{results}' WHERE run = 1 AND backend = 'b'")
    history = qexec.backend_history(path, "bell")
    assert [one.distance for one in history.points] == [0.5, None, 0.5, 0.5]
    assert [one.shots for one in history.points] == [200, 100, 200, 200]
    assert math.isnan(history.to_dataframe()["distance"][1])
    assert [one.distance for one in qexec.backend_history(path, "bell", circuit=0).points] == [0.5] * 4


def test_a_backend_or_probabilities_may_be_the_reference(path):
    fakes = Fakes(a={}, b={"answer": {"00": 25, "01": 75}}, c={})
    experiments(fakes).run_experiment(
        QASM, 100, ["fakes/a", "fakes/b", "fakes/c"], "multiplier", store=path, name="bell"
    )
    history = qexec.backend_history(path, "bell", reference="fakes/b")
    assert {place: one.distance for place, (one,) in history.series.items()} == {"fakes/a": 0.75, "fakes/c": 0.75}
    history = qexec.backend_history(path, "bell", reference={"00": 0.9, "10": 0.1}, distance="hellinger")
    assert history.series["fakes/a"][0].distance == pytest.approx(math.sqrt(1 - math.sqrt(0.9)))
    with pytest.raises(qexec.ConfigurationError, match="no reference is called 'fakes/d'"):
        qexec.backend_history(path, "bell", reference="fakes/d")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"0": 1.0}, "those of the circuit are as '00'"),
        ({"0 0": 1.0}, "those of the circuit are as '00'"),
        ({"00": 0.5}, "add up to 0.5, and not to 1"),
        ({"00": 1.5, "11": -0.5}, "is no probability"),
        ({}, "probabilities by outcome"),
        ([{"00": 1.0}] * 2, "the probabilities of 2 circuits, and 1 are compared"),
    ],
)
def test_probabilities_that_cannot_be_the_circuit_s_are_refused(path, reference, said):
    experiments(Fakes(a={})).run_experiment(QASM, 100, ["fakes/a"], store=path, name="bell")
    with pytest.raises(qexec.ConfigurationError, match=said):
        qexec.backend_history(path, "bell", reference=reference)


def test_mistakes_are_told(path, tmp_path):
    with pytest.raises(qexec.ConfigurationError, match="there is no store"):
        qexec.backend_history(tmp_path / "none.db", "bell")
    assert not (tmp_path / "none.db").exists()
    experiments(Fakes(a={})).run_experiment(QASM, 100, ["fakes/a"], store=path, name="bell")
    for options, said in (
        ({"distance": "tvdd"}, "Did you mean 'tvd'"),
        ({"circuit": 1}, "the experiment has 1, from 0"),
        ({"last": 0}, "at least 1"),
    ):
        with pytest.raises(qexec.ConfigurationError, match=said):
            qexec.backend_history(path, "bell", **options)
    with pytest.raises(qexec.StoreError, match="Known: bell"):
        qexec.backend_history(path, "bel")


def test_what_has_no_ideal_counts_here_needs_another_reference(path):
    wide = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[17];\ncreg c[17];\nh q;\nmeasure q -> c;\n'
    experiments(Fakes(a={})).run_experiment(wide, 100, ["fakes/a"], store=path, name="wide")
    with pytest.raises(qexec.ConfigurationError, match=r"17 qubits .* 16 are simulated at most"):
        qexec.backend_history(path, "wide")
    assert qexec.backend_history(path, "wide", reference={"0" * 17: 1.0}).points[0].distance == 0
    tape = qml.tape.QuantumScript([], [qml.expval(qml.Z(0))], shots=10)
    executor = qexec.QuantumExecutor(providers=["local_pennylane"])
    executor.run_experiment(tape, backends=["local_pennylane/default.qubit"], store=path, name="energy")
    with pytest.raises(qexec.ConfigurationError, match="circuit 0 has no ideal counts"):
        qexec.backend_history(path, "energy")
    with pytest.raises(qexec.ConfigurationError, match="returned no counts"):
        qexec.backend_history(path, "energy", reference={"0": 1.0})


def test_other_circuits_under_the_same_name_begin_a_new_baseline(path):
    executor = experiments(Fakes(a={}))
    for circuit in [QASM] * 15 + [QASM.replace("h q[0]", "x q[0]")] * 5:
        executor.run_experiment(circuit, 100, ["fakes/a"], store=path, name="bell")
    history = qexec.backend_history(path, "bell")
    assert [one.distance for one in history.points] == [0.5] * 15 + [1.0] * 5
    assert history.marks == []
    assert [one.run for one in qexec.backend_history(path, "bell", last=3).points] == [18, 19, 20]


class Six(qexec.Provider):
    """Six machines in a cloud, one of which reads its bits worse after some time."""

    name = "cloud"

    def __init__(self) -> None:
        self.drift = 0.0

    def backends(self) -> dict[str, qexec.Backend]:
        return {f"m{number}": qexec.Backend("cloud", f"m{number}", partial(self.made, number)) for number in range(6)}

    def made(self, number: int, seed: int) -> qexec.Rehearsal:
        start = 0.02 + (self.drift if number == 2 else 0.0)
        return qexec.Rehearsal(
            "default.qubit", drift={"start": start}, clock=qexec.VirtualClock(), seed=seed, wires=2, name=f"m{number}"
        )


@pytest.mark.slow
def test_one_of_six_rehearsed_backends_that_drifts_by_a_twentieth_is_marked_within_three_runs(path):
    """A Bell state whose bits are read wrongly with probability r has 2 r (1 - r) of its shots elsewhere."""
    six = Six()
    executor = qexec.QuantumExecutor(providers={"cloud": six})
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    names = [f"cloud/m{number}" for number in range(6)]
    with open_store(path) as store:
        for run in range(33):
            six.drift = 0.0284 if run >= 30 else 0.0  # 2 r (1 - r) is 0.0392 before, 0.0921 after
            executor.run_experiment(bell, 4000, names, "multiplier", config={"seed": run}, store=store, name="bell")
        history = qexec.backend_history(store, "bell")
    assert {one.place for one in history.marks} == {"cloud/m2"}
    (mark,) = history.marks
    assert mark.change == "worse"
    assert 31 <= mark.run <= 33
