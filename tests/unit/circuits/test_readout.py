"""Tables of counts and histograms give what PennyLane makes of the samples they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.readout import Counted, Histogram, Readout, bits_of
from pennylane_qexec.circuits.sampling import pool

HAMILTONIAN = qml.Hamiltonian([0.5, -0.3, 1.1, 2.0], [qml.Z(0) @ qml.Z(1), qml.X(0), qml.Y(1) @ qml.X("c"), qml.I(0)])
MATRIX = np.array([[1, 1j], [-1j, 2]])
SUMMED = {
    "a Pauli word": [qml.expval(qml.Z(0) @ qml.Z("c"))],
    "a Hamiltonian": [qml.expval(HAMILTONIAN)],
    "a sum and a variance": [qml.expval(qml.Z(0) + 2 * qml.X(1)), qml.var(qml.Z(0) @ qml.Z(1))],
    "probabilities of wires in another order": [qml.probs(wires=["c", 0])],
    "probabilities of all wires": [qml.probs()],
    "probabilities in another basis": [qml.probs(op=qml.X(0) @ qml.Y("c"))],
    "a Hermitian matrix": [qml.expval(qml.Hermitian(MATRIX, [1])), qml.var(qml.Hermitian(MATRIX, [1]))],
    "the variance of a Hamiltonian": [qml.var(HAMILTONIAN)],
    "a projector": [qml.expval(qml.Projector([0, 1], [0, "c"]))],
    "many at once": [qml.expval(HAMILTONIAN), qml.var(qml.X(0)), qml.probs(wires=["c", 0]), qml.expval(qml.Y(1))],
}
COUNTED = {
    "counts": [qml.counts()],
    "counts of some wires": [qml.counts(wires=["c", 0])],
    "counts of all outcomes": [qml.counts(wires=["c", 1], all_outcomes=True)],
    "counts beside an expectation value": [qml.counts(wires=[0]), qml.expval(qml.X(1))],
}
SAMPLED = {
    "counts of an observable": [qml.counts(qml.X(0) @ qml.Z(1))],
    "samples": [qml.sample(wires=[1, 0])],
    "samples of an observable": [qml.sample(qml.Y("c"))],
    "an identity": [qml.expval(qml.I(0)), qml.expval(qml.Z(1))],
}
ROWS, SHOTS = 4, 60


def circuit(measurements: Any) -> QuantumScript:
    operations = [qml.RX(0.3, 0), qml.RY(1.0, 1), qml.CNOT([1, "c"])]
    return QuantumScript(operations, measurements, shots=SHOTS)


def tables(readout: Readout) -> list[Any]:
    rng = np.random.default_rng(3)
    sizes = [2 ** len(cell.wires or ()) for cell in readout.cells]
    return [rng.multinomial(SHOTS, rng.dirichlet(np.ones(size)), size=ROWS) for size in sizes]


def samples_of(table: np.ndarray, row: int) -> np.ndarray:
    outcomes = np.repeat(np.arange(table.shape[1]), table[row])
    return bits_of(outcomes, int(np.log2(table.shape[1])))


def by_pennylane(measurements: Any, counted: list[Any]) -> list[Any]:
    evaluate = pool(circuit(measurements)).evaluate
    return [evaluate([[samples_of(table, row)] for table in counted]) for row in range(ROWS)]


def as_histograms(table: np.ndarray) -> Counted:
    size = int(np.log2(table.shape[1]))
    return [Histogram(bits_of(np.flatnonzero(row), size), row[row > 0]) for row in table]


def leaves(result: Any) -> list[Any]:
    return [leaf for one in (result if isinstance(result, tuple) else (result,)) for leaf in [np.asarray(one)]]


@pytest.mark.parametrize("measurements", SUMMED.values(), ids=SUMMED)
def test_sums_over_a_table_are_pennylanes_values_of(measurements: Any) -> None:
    readout = Readout(circuit(measurements))
    counted = tables(readout)
    results = readout.results(counted, [np.random.default_rng(0)] * len(counted[0]))
    assert readout.sums
    for mine, theirs in zip(results, by_pennylane(measurements, counted), strict=True):
        assert type(mine) is type(theirs)
        assert all(map(np.allclose, leaves(mine), leaves(theirs)))
        assert [np.shape(leaf) for leaf in leaves(mine)] == [np.shape(leaf) for leaf in leaves(theirs)]


@pytest.mark.parametrize("measurements", SUMMED.values(), ids=SUMMED)
def test_histograms_give_what_tables_give_of(measurements: Any) -> None:
    readout = Readout(circuit(measurements))
    counted = tables(readout)
    rngs = [np.random.default_rng(0)] * len(counted[0])
    by_table = readout.results(counted, rngs)
    for mine, theirs in zip(readout.results(list(map(as_histograms, counted)), rngs), by_table, strict=True):
        assert all(map(np.allclose, leaves(mine), leaves(theirs)))


@pytest.mark.parametrize("measurements", COUNTED.values(), ids=COUNTED)
def test_counts_are_added_up_without_samples_for(measurements: Any) -> None:
    readout = Readout(circuit(measurements))
    counted = tables(readout)
    results = readout.results(counted, [np.random.default_rng(0)] * len(counted[0]))
    assert readout.sums
    for mine, theirs in zip(results, by_pennylane(measurements, counted), strict=True):
        assert list(map(_in_no_order, _parts(mine))) == list(map(_in_no_order, _parts(theirs)))


@pytest.mark.parametrize("measurements", SAMPLED.values(), ids=SAMPLED)
def test_samples_are_made_where_sums_will_not_do_for(measurements: Any) -> None:
    readout = Readout(circuit(measurements))
    counted = tables(readout)
    results = readout.results(counted, [np.random.default_rng(0)] * len(counted[0]))
    assert not readout.sums
    for mine, theirs in zip(results, by_pennylane(measurements, counted), strict=True):
        assert list(map(_in_no_order, _parts(mine))) == list(map(_in_no_order, _parts(theirs)))


def _parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def _in_no_order(part: Any) -> Any:
    if isinstance(part, dict):
        return {str(key): int(value) for key, value in part.items()}
    return sorted(map(tuple, np.reshape(part, (len(part), -1)))) if np.ndim(part) else float(part)


def test_samples_come_in_an_order_drawn_at_random() -> None:
    """So that the parts of a shot vector, or the first hundred shots, are what they would be one after the other."""
    readout = Readout(circuit([qml.sample(wires=[0])]))
    half = [Histogram(np.array([[0], [1]]), np.array([30, 30]))]
    (samples,) = readout.results([half], [np.random.default_rng(4)])
    ones = int(np.sum(samples[:30]))
    assert 0 < ones < 30
    (again,) = readout.results([half], [np.random.default_rng(4)])
    assert np.array_equal(samples, again)


def test_more_wires_than_a_table_holds_are_read_from_histograms() -> None:
    """Their 70 bits do not fit into the number of an outcome either."""
    wires = range(70)
    readout = Readout(QuantumScript([qml.X(wire) for wire in wires], [qml.expval(qml.Z(69)), qml.counts()], shots=5))
    histogram = Histogram(np.ones((1, 70), dtype=int), np.array([5]))
    ((value, counts),) = readout.results([[histogram]], [np.random.default_rng(0)])
    assert float(value) == -1
    assert {str(key): int(count) for key, count in counts.items()} == {"1" * 70: 5}


def test_the_cells_begin_with_the_operations_of_the_circuit() -> None:
    whole = circuit([qml.expval(HAMILTONIAN), qml.probs(op=qml.X(0))])
    for cell in Readout(whole).cells:
        assert cell.circuit.operations[:3] == whole.operations
        assert cell.circuit.shots == whole.shots
