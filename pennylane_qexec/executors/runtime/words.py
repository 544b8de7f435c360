"""Expectation values as weighted sums of Pauli words, which is what an Estimator estimates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.pauli import PauliWord, compute_partition_indices
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.bases import Counter


def can_estimate(circuit: QuantumScript) -> bool:
    """Whether an Estimator can run a circuit: all that is asked are expectation values of sums of Pauli words."""
    return all(
        isinstance(measurement, ExpectationMP)
        and measurement.obs is not None
        and measurement.obs.pauli_rep is not None
        and any(len(word) for word in measurement.obs.pauli_rep)
        for measurement in circuit.measurements
    )


def words(measurement: MeasurementProcess) -> Iterator[tuple[dict[Any, str], float]]:
    """The Pauli words of an expectation value with their weights, but for the identity.

    Yields:
        For each word, its letter on each wire, and its weight.
    """
    for word, weight in measurement.obs.pauli_rep.items():
        if len(word):
            yield dict(word), float(np.real(weight))


def constant(measurement: MeasurementProcess) -> float:
    """The weight of the identity."""
    return sum((float(np.real(weight)) for word, weight in measurement.obs.pauli_rep.items() if not len(word)), 0.0)


def _groups(circuit: QuantumScript) -> int:
    found = dict.fromkeys([PauliWord(word) for measurement in circuit.measurements for word, _ in words(measurement)])
    with QueuingManager.stop_recording():
        return len(compute_partition_indices([word.operation() for word in found]))


estimated_together = Counter(_groups)
"""The groups of words, of all of a circuit's expectation values, that commute qubit by qubit."""
