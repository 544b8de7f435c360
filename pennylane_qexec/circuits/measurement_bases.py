"""How many circuits a backend runs for one, and with how many shots: all of the shots for each basis it measures.

Nothing is run to find out. What was found is remembered: the circuits of a gradient share what they measure.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.ops import LinearCombination, Prod, Sum
from pennylane.pauli import PauliWord, compute_partition_indices, is_pauli_word
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.sampling import SHADOWS, pool
from pennylane_qexec.circuits.structure import batch_size, measured_by

V = TypeVar("V")

Runs = tuple[int, int]
"""A number of circuits, and their shots, all together."""

ONCE: Runs = (1, 0)
"""What is run for a circuit without shots."""

_KEPT = 512
_LETTERS = frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.H})
_SINGLE = _LETTERS | {qml.Hermitian, qml.Projector}

Group = Callable[[QuantumScript], int]


class Counter:
    """Counts the bases in which circuits are measured, and remembers them.

    Args:
        count: counts those of a circuit.
    """

    def __init__(self, count: Callable[[QuantumScript], int]) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, tuple[tuple[Any, ...], int]] = OrderedDict()
        self._by_content: OrderedDict[Hashable, int] = OrderedDict()

    def __call__(self, circuit: QuantumScript) -> int:
        """The bases of a circuit."""
        measurements = circuit.measurements
        if _in_one_basis(measurements):
            return 1
        # The very objects first, which takes a microsecond; what is equal to them takes a hundred.
        observables = [mp.obs for mp in measurements if mp.obs is not None]
        key = tuple([(type(mp), id(mp.obs), mp.mv is None) for mp in measurements])
        with self._lock:
            known, number = self._seen.get(key, ((), 0))
        if number and all(seen() is one for seen, one in zip(known, observables, strict=True)):
            return number
        content = measured_by(circuit)
        with self._lock:
            number = self._by_content.get(content, 0)
        if not number:
            with QueuingManager.stop_recording():
                number = self._count(circuit)
        with self._lock:
            _remember(self._seen, key, (tuple(map(weakref.ref, observables)), number))
            if content is not None:
                _remember(self._by_content, content, number)
        return number


def _remember(known: OrderedDict[Hashable, V], key: Hashable, value: V) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > _KEPT:
        known.popitem(last=False)


def _in_one_basis(measurements: Sequence[MeasurementProcess]) -> bool:
    """Whether measurements are made together, as far as that can be seen at once."""
    if len(measurements) == 1:
        observable = measurements[0].obs
        kind = type(observable)
        if kind in _SINGLE:
            return True
        if observable is None:
            return not isinstance(measurements[0], SHADOWS)
        return kind is Prod and _LETTERS.issuperset(map(type, observable.operands))
    return all(mp.obs is None and mp.mv is None and not isinstance(mp, SHADOWS) for mp in measurements)


def _groups(measurements: Sequence[MeasurementProcess]) -> int:
    """The groups of measurements that PennyLane's simulators sample, one after the other."""
    if len(measurements) == 1:
        return _groups_of_terms(measurements[0])
    words: list[Any] = []
    bare, others = False, 0
    for measurement in measurements:
        observable = measurement.obs
        if observable is None:
            bare = True
        elif is_pauli_word(observable) or is_pauli_word(observable := qml.simplify(observable)):
            if observable.wires and observable.pauli_rep:  # else there is nothing to measure
                words.append(observable)
        else:
            others += _groups_of_terms(measurement)
    return max(1, bare + others + (len(compute_partition_indices(words)) if words else 0))


def _groups_of_terms(measurement: MeasurementProcess) -> int:
    observable = measurement.obs
    if not isinstance(measurement, ExpectationMP) or not isinstance(observable, Sum):
        return 1
    terms = observable.terms()[1] if isinstance(observable, LinearCombination) else observable.operands
    return _groups([ExpectationMP(term) for term in terms])


def _cells(circuit: QuantumScript) -> int:
    """The sampling circuits that are run for a circuit where bits are counted; one if there is nothing to count."""
    # PennyLane writes the groups into an observable when it splits it: this is to leave the user's as it is.
    measurements = [_copied(measurement) for measurement in circuit.measurements]
    on_the_wires = [qml.Identity(wire) for wire in circuit.wires]
    return max(1, len(pool(QuantumScript(on_the_wires, measurements, shots=1)).cells))


def _copied(measurement: MeasurementProcess) -> MeasurementProcess:
    copied = copy.copy(measurement)
    if isinstance(copied.obs, Sum):
        copied.obs = copy.copy(copied.obs)
    return copied


_sampled_by_simulators = Counter(lambda circuit: _groups(circuit.measurements))
_counted_by_backends = Counter(_cells)


def simulated(circuit: QuantumScript) -> Runs:
    """What PennyLane's simulators sample for a circuit that was prepared for them.

    Observables that commute qubit by qubit are measured together, whatever else is not: the terms of a sum as well, but
    apart from what is measured beside it. A classical shadow takes a circuit for each shot.
    """
    shots = circuit.shots.total_shots
    if not shots:
        return ONCE
    copies, measurements = batch_size(circuit), circuit.measurements
    if _in_one_basis(measurements):
        return copies, copies * shots
    # Outcomes of mid-circuit measurements are there when a shot has run, and are not sampled.
    left = [measurement for measurement in measurements if measurement.mv is None]
    others = [measurement for measurement in left if not isinstance(measurement, SHADOWS)]
    shadows = len(left) - len(others)
    bases = _sampled_by_simulators(QuantumScript([], others)) if others else int(not shadows)
    return copies * (bases + shadows * shots), copies * shots * (bases + shadows)


def counted(circuit: QuantumScript) -> Runs:
    """What is run for a prepared circuit where bits are counted: a circuit for each group of measurements."""
    shots = circuit.shots.total_shots
    if not shots:
        return ONCE
    bases = _counted_by_backends(circuit)
    return bases, bases * shots


def together(runs: Sequence[Runs]) -> Runs:
    """The sum of what is run for circuits."""
    if len(runs) == 1:
        return runs[0]
    return sum(circuits for circuits, _ in runs), sum(shots for _, shots in runs)


def can_estimate(circuit: QuantumScript) -> bool:
    """Whether an Estimator can run a circuit: all that is asked are expectation values of sums of Pauli words."""
    return all(
        isinstance(measurement, ExpectationMP)
        and measurement.obs is not None
        and measurement.obs.pauli_rep is not None
        and any(len(word) for word in measurement.obs.pauli_rep)
        for measurement in circuit.measurements
    )


def pauli_words(measurement: MeasurementProcess) -> Iterator[tuple[dict[Any, str], float]]:
    """The Pauli words of an expectation value with their weights, but for the identity.

    Yields:
        For each word, its letter on each wire, and its weight.
    """
    for word, weight in measurement.obs.pauli_rep.items():
        if len(word):
            yield dict(word), float(np.real(weight))


def identity_weight(measurement: MeasurementProcess) -> float:
    """The weight of the identity."""
    return sum((float(np.real(weight)) for word, weight in measurement.obs.pauli_rep.items() if not len(word)), 0.0)


def _word_groups(circuit: QuantumScript) -> int:
    words = dict.fromkeys([PauliWord(word) for one in circuit.measurements for word, _ in pauli_words(one)])
    return len(compute_partition_indices([word.operation() for word in words]))


estimated_together = Counter(_word_groups)
"""The groups of words, of all of a circuit's expectation values, that commute qubit by qubit."""
