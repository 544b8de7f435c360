"""From counted outcomes to the results of circuits, for all circuits of one structure at once.

A backend counts how often each outcome was measured. Expectation values, variances and probabilities of many circuits
are sums over a table of such counts; every other measurement is evaluated on samples with these counts, in an order
drawn at random, which is as the shots of a circuit are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import numpy as np
from pennylane.measurements import CountsMP, ExpectationMP, MeasurementProcess, ProbabilityMP, SampleMP, VarianceMP
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import SamplingCircuit, pool
from pennylane_qexec.job import Result

_Weigh = Callable[[np.ndarray], Any]
"""A table of counts ``(R, 2**M)`` to the values of a measurement, an array ``(R, ...)`` or a list of ``R``."""

TABLE_WIRES = 12
"""The most wires whose outcomes are best counted in a table of all outcomes."""


class Histogram(NamedTuple):
    """How often the outcomes of one circuit were measured.

    Attributes:
        bits: the ``K`` outcomes that were, an array ``(K, M)`` of 0 and 1 with a column for each wire.
        counts: how often, ``(K,)``.
    """

    bits: np.ndarray
    counts: np.ndarray


class OutcomeGroups(NamedTuple):
    """The outcomes of a cell, by the values that its measurements have for them.

    Attributes:
        first: of each of ``K`` kinds, the first outcome: all of the kind can be counted as that one.
        members: ``(2**M, K)``, 1 where an outcome is of a kind.
    """

    first: np.ndarray
    members: np.ndarray


Counted = np.ndarray | Sequence[Histogram]
"""What was counted in a cell, for ``R`` circuits: a table ``(R, 2**M)``, the first wire being the highest bit of the
column's number; or ``R`` histograms. For a cell without wires: ``R`` results of its circuit."""


class Readout:
    """How circuits of one structure are measured by counting.

    Args:
        circuit: one of the circuits, with shots. It must be one for which :func:`pooling.can_pool` holds, and not be
            broadcasted.

    Attributes:
        cells: the sampling circuits to run in its place. Their operations begin with those of the circuit; what
            follows changes into the measured basis, and has no parameters of the circuit.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self._pool = pool(circuit)
        self.cells: tuple[SamplingCircuit, ...] = self._pool.cells or (_counting_for_nothing(circuit),)

    @property
    def sums(self) -> bool:
        """Whether all values are sums over tables of counts, or such counts, so that tables are all it takes."""
        return self._weighs is not None

    @cached_property
    def kinds(self) -> list[OutcomeGroups | None]:
        """For each cell, its outcomes by what they mean to the measurements; ``None`` where each is different."""
        return [_kinds(cell) if self.sums else None for cell in self.cells]

    def results(self, counted: Sequence[Counted], rngs: Iterable[np.random.Generator]) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            counted: for each cell, what was counted.
            rngs: put the samples of each circuit in their order, one after the other; all may be the same one.
        """
        if self._weighs is not None and {np.ndarray}.issuperset(map(type, counted)):
            return self._by_table(cast(Sequence[np.ndarray], counted), self._weighs)
        cells = list(zip(self._pool.cells, counted, strict=False))
        return [
            self._pool.evaluate([[_samples(cell, counts[row], rng)] for cell, counts in cells])
            for row, rng in enumerate(rngs)
        ]

    @cached_property
    def _weighs(self) -> list[list[_Weigh]] | None:
        """What makes values of tables, for each measurement of each cell; ``None`` where that is not possible."""
        made = [[_weigher(measurement, cell) for measurement in cell.measurements] for cell in self.cells]
        found = [[weigh for weigh in row if weigh is not None] for row in made]
        if [len(row) for row in found] != [len(row) for row in made] or not all(found):
            return None
        return found if self._combines_rows(found) else None

    def _by_table(self, tables: Sequence[np.ndarray], weighs: Sequence[Sequence[_Weigh]]) -> list[Result]:
        rows = len(tables[0])
        if rows == 1:  # what combines columns would take a column of one number for a number
            tables = [table.repeat(2, axis=0) for table in tables]
        columns = [[weigh(table) for weigh in row] for row, table in zip(weighs, tables, strict=True)]
        combined = self._pool.combine(columns)
        return list(zip(*combined, strict=True) if isinstance(combined, tuple) else combined)[:rows]

    def _combines_rows(self, weighs: Sequence[Sequence[_Weigh]]) -> bool:
        """Whether what combines the values of one circuit also combines columns with those of many.

        It is PennyLane's, and made for numbers and batches of numbers; so it is tried.
        """
        rng = np.random.default_rng(0)
        tables = [rng.integers(1, 9, (3, 2 ** len(cell.wires or ()))) for cell in self.cells]
        columns = [[weigh(table) for weigh in row] for row, table in zip(weighs, tables, strict=True)]
        single = [self._pool.combine([[value[row] for value in cell] for cell in columns]) for row in range(3)]
        try:
            together = self._pool.combine(columns)
            rows = list(zip(*together, strict=True)) if isinstance(together, tuple) else list(together)
            return len(rows) == 3 and all(map(_same, rows, single))
        except Exception:  # PennyLane's function raises what it likes on what it was not made for
            return False


def _counting_for_nothing(circuit: QuantumScript) -> SamplingCircuit:
    """A cell for what has nothing to count, such as an expectation value of the identity: it is run all the same."""
    sampling = QuantumScript(circuit.operations, [SampleMP(wires=circuit.wires)], shots=circuit.shots)
    return SamplingCircuit(sampling, circuit.wires, (), lambda shares: [])


def _samples(cell: SamplingCircuit, counted: Any, rng: np.random.Generator) -> Any:
    """Samples of a cell, made of what was counted for one circuit: a row of a table, or a histogram."""
    if cell.wires is None:
        return counted
    if not isinstance(counted, Histogram):
        outcomes = np.flatnonzero(counted)
        counted = Histogram(bits_of(outcomes, len(cell.wires)), counted[outcomes])
    return counted.bits[rng.permutation(np.repeat(np.arange(len(counted.counts)), counted.counts))]


def bits_of(outcomes: np.ndarray, wires: int) -> np.ndarray:
    """Numbers of outcomes ``(K,)`` as bits ``(K, wires)``, the first being the highest."""
    return (outcomes[:, None] >> np.arange(wires - 1, -1, -1)) & 1


def drawn_histogram(probabilities: np.ndarray, shots: int, rng: np.random.Generator) -> Histogram:
    """Draw shots by looking up even numbers in the cumulated probabilities: quick where outcomes outnumber shots.

    Args:
        probabilities: of all outcomes of ``M`` wires, ``(2**M,)``.
        shots: how many to draw.
        rng: what to draw from.
    """
    cumulated = np.cumsum(probabilities)
    places = np.searchsorted(cumulated, rng.random(shots) * cumulated[-1], side="right")
    outcomes, counts = np.unique(np.minimum(places, len(probabilities) - 1), return_counts=True)
    return Histogram(bits_of(outcomes, (len(probabilities) - 1).bit_length()), counts)


def _weigher(measurement: MeasurementProcess, cell: SamplingCircuit) -> _Weigh | None:
    wires = Wires(() if cell.wires is None else cell.wires)
    if type(measurement) is CountsMP and measurement.eigvals() is None and len(wires) <= TABLE_WIRES:
        return _counter(measurement, wires)
    if type(measurement) not in (ExpectationMP, VarianceMP, ProbabilityMP) or len(wires) > TABLE_WIRES:
        return None
    measured = measurement.wires or wires
    if isinstance(measurement, ProbabilityMP):
        place = _places(measured, wires)
        return lambda table: _summed(table, place, 2 ** len(measured))
    values = _values(measurement, wires)
    if np.iscomplexobj(values):
        return None
    if isinstance(measurement, ExpectationMP):
        return lambda table: table @ values / table.sum(axis=1)
    return partial(_variance, values)


def _values(measurement: MeasurementProcess, wires: Wires) -> np.ndarray:
    """The eigenvalue that each outcome on the wires has."""
    eigenvalues = np.asarray(measurement.eigvals())
    if not len(measurement.wires):
        return np.full(2 ** len(wires), eigenvalues[0])
    return np.asarray(eigenvalues[_places(measurement.wires, wires)])


def _counter(measurement: CountsMP, wires: Wires) -> _Weigh:
    """Tables of counts to PennyLane's dictionaries of them, by the bits of the outcomes."""
    measured = measurement.wires or wires
    place = _places(measured, wires)
    names = [f"{outcome:0{len(measured)}b}" for outcome in range(2 ** len(measured))]

    def count(table: np.ndarray) -> list[dict[str, Any]]:
        summed = np.zeros((len(table), len(names)), dtype=np.int64)
        np.add.at(summed.T, place, table.T)
        # Python's own integers: those of NumPy take longer to send to another process than to count.
        rows = [zip(names, row, strict=True) for row in summed.tolist()]
        return [{name: times for name, times in row if times or measurement.all_outcomes} for row in rows]

    return count


def _kinds(cell: SamplingCircuit) -> OutcomeGroups | None:
    if not all(isinstance(measurement, ExpectationMP | VarianceMP) for measurement in cell.measurements):
        return None
    wires = Wires(() if cell.wires is None else cell.wires)
    values = np.array([_values(measurement, wires) for measurement in cell.measurements])
    _, first, kind = np.unique(values, axis=1, return_index=True, return_inverse=True)
    members = (kind.reshape(-1, 1) == np.arange(len(first))).astype(float)
    return None if len(first) == values.shape[1] else OutcomeGroups(first, members)


def _places(wires: Wires, all_wires: Wires) -> np.ndarray:
    """For each outcome of all wires, the number of its outcome on some of them."""
    bits = bits_of(np.arange(2 ** len(all_wires)), len(all_wires))
    chosen = bits[:, all_wires.indices(wires)]
    return np.asarray(chosen @ (1 << np.arange(len(wires) - 1, -1, -1)))


def _summed(table: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    summed = np.zeros((size, len(table)))
    np.add.at(summed, place, table.T)
    return np.asarray(summed.T / table.sum(axis=1, keepdims=True))


def _variance(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    shots = table.sum(axis=1)
    mean = table @ values / shots
    return np.asarray((table * (values - mean[:, None]) ** 2).sum(axis=1) / shots)


def _same(one: Result, other: Result) -> bool:
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return bool(one == other)
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=1e-12, atol=1e-12))
