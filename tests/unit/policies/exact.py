"""What is exactly true of the circuit that the tests of pooling run, and how close samples have to come to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pennylane as qml
import scipy.stats
from pennylane.tape import QuantumScript

WIRES = [0, 1, 2]
OPERATIONS = [qml.RX(0.7, 0), qml.CNOT([0, 1]), qml.RY(1.1, 1), qml.CRX(0.9, [1, 2])]
MATRIX = np.array([[1, 2], [2, -1.0]])
NONCOMMUTING = qml.Hamiltonian(
    [0.5, 0.2, 0.7, -0.4, 1.3], [qml.Z(0) @ qml.Z(1), qml.X(0), qml.Y(1) @ qml.X(2), qml.Z(2), qml.I(0)]
)
OBSERVABLES = {
    "Z": qml.Z(1),
    "Identity": qml.I(0),
    "Tensor": qml.Z(0) @ qml.X(1),
    "Hamiltonian": NONCOMMUTING,
    "Hamiltonian of one term": qml.Hamiltonian([2.0], [qml.Z(0)]),
    "Hermitian": qml.Hermitian(MATRIX, 1),
    "Hermitian of two wires": qml.Hermitian(np.kron(MATRIX, MATRIX), [0, 2]),
    "Prod": qml.prod(qml.X(0), qml.Hadamard(1)),
    "Sum": qml.X(0) + qml.Y(0),
    "Sum of commuting terms": qml.X(0) @ qml.X(1) + 0.5 * qml.X(0),
    "Sum of Hermitians": qml.Hermitian(MATRIX, 0) + qml.Z(1),
    "SProd": 2 * qml.Z(1),
    "Projector": qml.Projector([0, 1], wires=[0, 1]),
    "Projector on a state": qml.Projector(np.array([1, 1]) / np.sqrt(2), wires=[0]),
    "Hadamard": qml.Hadamard(2),
}


def state() -> np.ndarray:
    """The state that the circuit makes."""
    return np.asarray(qml.device("default.qubit", wires=WIRES).execute(QuantumScript(OPERATIONS, [qml.state()])))


def spectrum(observable: Any) -> tuple[np.ndarray, np.ndarray]:
    """The distinct eigenvalues of an observable, and how probable each is in the circuit's state."""
    values, vectors = np.linalg.eigh(qml.matrix(observable, wire_order=WIRES))
    weights = np.abs(vectors.conj().T @ state()) ** 2
    distinct = np.unique(values.round(6))
    return distinct, np.array([weights[np.isclose(values, value, atol=1e-5)].sum() for value in distinct])


def moments(observable: Any) -> tuple[float, float, float]:
    """Mean, variance and fourth central moment of an observable."""
    values, weights = spectrum(observable)
    mean = float(values @ weights)
    return mean, float((values - mean) ** 2 @ weights), float((values - mean) ** 4 @ weights)


def outcomes(wires: Iterable[int]) -> dict[str, float]:
    """How probable every string of bits of these wires is."""
    probabilities = np.abs(state().reshape(2, 2, 2)) ** 2
    total: Counter[str] = Counter()
    for bits in np.ndindex(2, 2, 2):
        total["".join(str(bits[wire]) for wire in wires)] += float(probabilities[bits])
    return dict(total)


def agrees(observed: Mapping[Any, float], expected: Mapping[Any, float]) -> bool:
    """Whether counts come from a distribution: nothing impossible, and a chi-square p above 1e-4.

    Cells in which fewer than 5 counts are expected are taken together.
    """
    assert set(observed) <= set(expected), set(observed) - set(expected)
    shots = sum(observed.values())
    pairs = [(observed.get(key, 0), shots * weight) for key, weight in expected.items()]
    assert all(count == 0 for count, mean in pairs if mean < 1e-9)
    large = [pair for pair in pairs if pair[1] >= 5]
    rare = [pair for pair in pairs if 1e-9 <= pair[1] < 5]
    if rare:
        large.append((sum(count for count, _ in rare), sum(mean for _, mean in rare)))
    if len(large) == 1:
        return True
    counts, means = np.array(large).T
    return bool(scipy.stats.chisquare(counts, means * counts.sum() / means.sum()).pvalue > 1e-4)


def describe(result: Any) -> Any:
    """The structure of a result: types, shapes, dtypes, and the types of keys and counts."""
    if isinstance(result, tuple | list):
        return type(result), [describe(part) for part in result]
    if isinstance(result, dict):
        return dict, {type(key) for key in result}, {type(int(count)) for count in result.values()}
    return type(result), np.shape(result), np.asarray(result).dtype
