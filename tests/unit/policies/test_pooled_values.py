"""Pooled results over three simulators come from the distribution that one simulator with all the shots samples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from exact import NONCOMMUTING, OBSERVABLES, OPERATIONS, agrees, moments, outcomes, spectrum, state
from pennylane.tape import QuantumScript

SHOTS = 6_000
SIGMAS = 5
PAULIS = [qml.X, qml.Y, qml.Z]


def circuit(*measurements: Any, shots: int = SHOTS) -> QuantumScript:
    return QuantumScript(OPERATIONS, measurements, shots=shots)


def uncertainty(observable: Any) -> float:
    """A bound of an expectation value's standard error, however its terms are grouped."""
    sampled_by_term = isinstance(observable, qml.ops.Sum)
    terms = zip(*observable.terms(), strict=True) if sampled_by_term else [(1.0, observable)]
    return float(sum(abs(weight) * np.sqrt(moments(term)[1]) for weight, term in terms) / np.sqrt(SHOTS))


def as_counter(values: Any) -> dict[float, int]:
    """Counts of eigenvalues, rounded so that equal ones are equal."""
    total: Counter[float] = Counter()
    for value, count in values.items() if isinstance(values, dict) else ((value, 1) for value in values):
        total[round(float(value), 4) + 0.0] += int(count)
    return dict(total)


def eigenvalues(observable: Any) -> dict[float, float]:
    values, weights = spectrum(observable)
    return dict(zip((values.round(4) + 0.0).tolist(), weights.tolist(), strict=True))


@pytest.mark.parametrize("observable", OBSERVABLES.values(), ids=OBSERVABLES)
def test_expectation_values_are_within_5_sigma(three: Any, execute: Any, observable: Any) -> None:
    value = execute(circuit(qml.expval(observable)), three)
    assert abs(float(value) - moments(observable)[0]) <= SIGMAS * uncertainty(observable) + 1e-9


@pytest.mark.parametrize("observable", OBSERVABLES.values(), ids=OBSERVABLES)
def test_variances_are_within_5_sigma(three: Any, execute: Any, observable: Any) -> None:
    """The variance of a sample variance is (mu4 - sigma**4) / shots, but for terms of the order of 1 / shots**2."""
    _, variance, fourth = moments(observable)
    sigma = np.sqrt(max(fourth - variance**2, 0.0) / SHOTS) + variance / SHOTS
    value = execute(circuit(qml.var(observable)), three)
    assert abs(float(value) - variance) <= SIGMAS * sigma + 1e-9


def test_the_variance_is_that_of_the_union_not_the_mean_of_variances(own: Any, execute: Any) -> None:
    """Shares of one shot have no variance of their own."""
    assert execute(QuantumScript([qml.Hadamard(0)], [qml.var(qml.Z(0))], shots=3), own) in (
        pytest.approx(0),
        pytest.approx(8 / 9),
    )
    values = [execute(QuantumScript([qml.Hadamard(0)], [qml.var(qml.Z(0))], shots=3), own) for _ in range(20)]
    assert any(value == pytest.approx(8 / 9) for value in values)


@pytest.mark.slow
@pytest.mark.parametrize("observable", OBSERVABLES.values(), ids=OBSERVABLES)
@pytest.mark.parametrize("measure", [qml.sample, qml.counts])
def test_outcomes_of_observables_are_distributed_as_on_one_simulator(
    three: Any, execute: Any, measure: Any, observable: Any
) -> None:
    observed = as_counter(execute(circuit(measure(observable)), three))
    assert sum(observed.values()) == SHOTS
    assert agrees(observed, eigenvalues(observable))


@pytest.mark.parametrize("wires", [[0, 1, 2], [2, 0], [1]], ids=str)
def test_counts_samples_and_probabilities_of_wires_are_distributed_as_on_one_simulator(
    three: Any, execute: Any, wires: list[int]
) -> None:
    expected = outcomes(wires)
    counts, probabilities = execute(circuit(qml.counts(wires=wires), qml.probs(wires=wires)), three)
    samples = np.reshape(execute(circuit(qml.sample(wires=wires)), three), (SHOTS, len(wires)))
    keys = ["".join(map(str, bits)) for bits in np.ndindex(*[2] * len(wires))]
    assert agrees({str(key): int(count) for key, count in counts.items()}, expected)
    assert agrees(dict(zip(keys, probabilities * SHOTS, strict=True)), expected)
    assert agrees(Counter("".join(map(str, row)) for row in samples.astype(int)), expected)


def test_probabilities_of_an_operator_are_distributed_as_on_one_simulator(three: Any, execute: Any) -> None:
    operator = qml.X(0) @ qml.Z(1)
    exact = QuantumScript(OPERATIONS, [qml.probs(op=operator)])
    (expected,) = qml.device("default.qubit").execute((exact,))
    observed = execute(circuit(qml.probs(op=operator)), three) * SHOTS
    assert agrees(dict(enumerate(observed)), dict(enumerate(expected)))


def test_several_measurements_of_one_circuit_are_each_right(three: Any, execute: Any) -> None:
    """Within 5 sigma and by chi-square."""
    energy, counts, variance, samples = execute(
        circuit(qml.expval(NONCOMMUTING), qml.counts(wires=[0, 2]), qml.var(qml.X(1)), qml.sample(qml.Y(2))), three
    )
    _, var, fourth = moments(qml.X(1))
    assert abs(energy - moments(NONCOMMUTING)[0]) <= SIGMAS * uncertainty(NONCOMMUTING)
    assert abs(variance - var) <= SIGMAS * np.sqrt((fourth - var**2) / SHOTS) + SIGMAS * var / SHOTS
    assert agrees({str(key): int(count) for key, count in counts.items()}, outcomes([0, 2]))
    assert agrees(as_counter(samples), eigenvalues(qml.Y(2)))


def test_every_number_of_a_shot_vector_is_distributed_as_on_one_simulator(three: Any, execute: Any) -> None:
    results = execute(circuit(qml.counts(wires=[0, 1]), shots=[SHOTS, SHOTS // 2]), three)
    assert [sum(result.values()) for result in results] == [SHOTS, SHOTS // 2]
    assert all(agrees({str(k): int(v) for k, v in result.items()}, outcomes([0, 1])) for result in results)


def test_every_circuit_of_a_broadcast_is_right(three: Any, execute: Any) -> None:
    """Within 5 sigma."""
    angles = np.array([0.3, 1.5, 2.9])
    script = QuantumScript([qml.RX(angles, 0)], [qml.expval(qml.Z(0)), qml.counts(wires=[0])], shots=SHOTS)
    values, counts = execute(script, three)
    assert np.all(np.abs(values - np.cos(angles)) <= SIGMAS * np.sin(angles) / np.sqrt(SHOTS))
    excited = np.array([count.get("1", 0) for count in counts]) / SHOTS
    assert np.allclose(1 - 2 * excited, values)


@pytest.mark.parametrize("wire", [0, 1])
def test_shadows_of_three_simulators_are_one_shadow(own: Any, execute: Any, wire: int) -> None:
    """Bit and recipe of a wire: each recipe a third of the time, the bit as often as measuring X, Y or Z says."""
    bits, recipes = execute(circuit(qml.classical_shadow([0, 1], seed=5), shots=1_800), own)
    observed = Counter(zip(recipes[:, wire].tolist(), bits[:, wire].tolist(), strict=True))
    expected = {
        (recipe, bit): (1 + (1 - 2 * bit) * moments(pauli(wire))[0]) / 6
        for recipe, pauli in enumerate(PAULIS)
        for bit in (0, 1)
    }
    assert agrees(observed, expected)


def test_shares_of_a_seeded_shadow_draw_recipes_of_their_own(own: Any, execute: Any) -> None:
    _, recipes = execute(circuit(qml.classical_shadow([0, 1], seed=5), shots=300), own)
    first, second, third = recipes[:100], recipes[100:200], recipes[200:]
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


@pytest.mark.slow
def test_shadows_of_legacy_devices_join_those_of_others(three: Any, execute: Any) -> None:
    bits, recipes = execute(circuit(qml.classical_shadow([0, 1, 2]), shots=90), three)
    assert bits.shape == recipes.shape == (90, 3)
    assert agrees(Counter(recipes.ravel().tolist()), dict.fromkeys(range(3), 1 / 3))


def test_a_shadow_expectation_value_with_k_above_1_is_a_median_over_the_union(own: Any, execute: Any) -> None:
    """Each of 3 batches of 1000 shots has a standard error of at most sqrt(9 / 1000); 5 sigma of one is 0.48."""
    observable = qml.Z(0) @ qml.Z(1)
    value = execute(circuit(qml.shadow_expval(observable, k=3, seed=5), shots=3_000), own)
    assert abs(float(value) - moments(observable)[0]) <= SIGMAS * np.sqrt(9 / 1_000)


def test_what_the_tests_take_for_exact_is_normalised() -> None:
    assert np.linalg.norm(state()) == pytest.approx(1)
    assert all(sum(eigenvalues(observable).values()) == pytest.approx(1) for observable in OBSERVABLES.values())
