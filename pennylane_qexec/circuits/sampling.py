"""A circuit's measurements, taken as samples that can be pooled, and evaluated on the pool.

The circuit is rewritten into circuits that only sample: one for each group of observables that commute qubit by qubit,
one for each other observable in its own eigenbasis, one for each classical shadow. The samples of all shares are put
together, and PennyLane's own measurement processes are evaluated on them, so a pooled result differs in nothing from
that of one device with all the shots.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import (
    ClassicalShadowMP,
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    ProbabilityMP,
    SampleMeasurement,
    SampleMP,
    ShadowExpvalMP,
)
from pennylane.ops import Sum
from pennylane.queuing import QueuingManager
from pennylane.shadows import ClassicalShadow
from pennylane.tape import QuantumScript
from pennylane.transforms import split_non_commuting
from pennylane.transforms.dynamic_one_shot import fill_in_value, gather_mcm
from pennylane.wires import Wires

from pennylane_qexec.circuits.structure import rows_of, wires_in_order
from pennylane_qexec.job import Result

SHADOWS = (ClassicalShadowMP, ShadowExpvalMP)

POOLED = (SampleMeasurement, *SHADOWS)
"""Measurements that are evaluated on samples."""

Evaluate = Callable[[Sequence[Result]], list[Result]]
"""The results of one sampling circuit, a result a share, to the results of the measurements it stands for."""


@dataclass(frozen=True)
class SamplingCircuit:
    """A sampling circuit, and what is evaluated on its samples.

    Attributes:
        circuit: the circuit, which ends in one measurement: a sample, or a classical shadow.
        wires: the wires that are sampled; ``None`` if what comes back is something else than bits of wires.
        measurements: what is evaluated on the samples of the wires; empty if there are no wires.
        evaluate: makes their values of the results of all shares.
    """

    circuit: QuantumScript
    wires: Wires | None
    measurements: tuple[MeasurementProcess, ...]
    evaluate: Evaluate


@dataclass(frozen=True)
class SamplingPlan:
    """A circuit as sampling circuits.

    Attributes:
        cells: the ``C`` sampling circuits.
        combine: takes the values that each cell has for its measurements; returns the result of the original circuit.
    """

    cells: tuple[SamplingCircuit, ...]
    combine: Callable[[Sequence[Sequence[Result]]], Result]

    @property
    def circuits(self) -> tuple[QuantumScript, ...]:
        """The circuits to run, in every share."""
        return tuple([cell.circuit for cell in self.cells])

    def evaluate(self, results: Sequence[Sequence[Result]]) -> Result:
        """The result of the original circuit, of ``C`` lists with the results of all shares."""
        return self.combine([cell.evaluate(shares) for cell, shares in zip(self.cells, results, strict=True)])


def can_pool(circuit: QuantumScript) -> bool:
    """Whether every measurement of the circuit can be evaluated on pooled samples."""
    return bool(circuit.measurements) and all(isinstance(mp, POOLED) for mp in circuit.measurements)


def pool(circuit: QuantumScript) -> SamplingPlan:
    """Rewrite a circuit into sampling circuits and a function that evaluates its measurements on their pooled results.

    Args:
        circuit: a circuit for which :func:`can_pool` holds, with shots. Broadcasting is expanded.

    Raises:
        NotExpandedError: PennyLane cannot expand it.
    """
    with QueuingManager.stop_recording():
        if circuit.batch_size is None:
            return _SamplingCircuits(circuit).pool()
        pools = [_SamplingCircuits(single).pool() for single in rows_of(circuit)[0]]

    def combine(values: Sequence[Sequence[Result]]) -> Result:
        iterator = iter(values)
        rows = [single.combine(list(itertools.islice(iterator, len(single.cells)))) for single in pools]
        if len(circuit.measurements) == 1:
            return _stack(rows)
        return tuple(_stack(column) for column in zip(*rows, strict=True))

    return SamplingPlan(tuple(cell for single in pools for cell in single.cells), combine)


def _stack(values: Sequence[Any]) -> Any:
    return list(values) if isinstance(values[0], dict) else np.stack(values)


class _SamplingCircuits:
    """Collects the sampling circuits of one circuit, and where the result of each measurement comes from."""

    def __init__(self, circuit: QuantumScript) -> None:
        self._circuit = circuit
        self._cells: list[SamplingCircuit] = []

    def pool(self) -> SamplingPlan:
        measurements = self._circuit.measurements
        sources: list[tuple[int, int]] = [(0, 0)] * len(measurements)
        linear: list[int] = []
        outcomes: list[int] = []
        for index, measurement in enumerate(measurements):
            if measurement.mv is not None:
                outcomes.append(index)
            elif isinstance(measurement, SHADOWS):
                sources[index] = self._shadow(measurement)
            elif isinstance(measurement, ExpectationMP) or _is_simple(measurement):
                linear.append(index)
            else:
                sources[index] = self._in_eigenbasis(self._circuit.operations, measurement)
        join_linear, linear_cells = self._commuting_groups([measurements[index] for index in linear])
        if outcomes:
            for source, index in zip(self._mid_measures([measurements[i] for i in outcomes]), outcomes, strict=True):
                sources[index] = source

        def combine(cells: Sequence[Sequence[Result]]) -> Result:
            values: list[Any] = [
                None if index in linear else cells[cell][slot] for index, (cell, slot) in enumerate(sources)
            ]
            if linear:
                joined = join_linear(tuple(_unpacked([cells[c][s] for c, s in group]) for group in linear_cells))
                for index, value in zip(linear, (joined,) if len(linear) == 1 else joined, strict=True):
                    values[index] = value
            return _unpacked(values)

        return SamplingPlan(tuple(self._cells), combine)

    def _add(
        self,
        operations: Sequence[Any],
        measurement: MeasurementProcess,
        evaluate: Evaluate,
        wires: Wires | None = None,
        measurements: Sequence[MeasurementProcess] = (),
    ) -> int:
        circuit = QuantumScript(operations, [measurement], shots=self._circuit.shots)
        self._cells.append(SamplingCircuit(circuit, wires, tuple(measurements), evaluate))
        return len(self._cells) - 1

    def _commuting_groups(self, measurements: list[Any]) -> tuple[Any, list[list[tuple[int, int]]]]:
        """Linear measurements, in groups measured together: PennyLane's join and, by group, where its results are."""
        if not measurements:
            return None, []
        operations = self._circuit.operations
        if all(measurement.obs is None for measurement in measurements):  # which takes PennyLane milliseconds
            cell = self._sampled(operations, measurements)
            return operator.itemgetter(0), [[(cell, slot) for slot in range(len(measurements))]]
        groups, join = split_non_commuting(QuantumScript(operations, measurements, shots=self._circuit.shots))
        sources = []
        for group in groups:
            simple = [mp for mp in group.measurements if _is_simple(mp)]
            cell = self._sampled([*operations, *_diagonalising(simple, self._circuit.wires)], simple) if simple else -1
            slots = itertools.count()
            sources.append(
                [
                    (cell, next(slots)) if _is_simple(mp) else self._in_eigenbasis(operations, mp)
                    for mp in group.measurements
                ]
            )
        return join, sources

    def _in_eigenbasis(self, operations: Sequence[Any], measurement: Any) -> tuple[int, int]:
        return self._sampled([*operations, *measurement.diagonalizing_gates()], [measurement]), 0

    def _sampled(self, operations: Sequence[Any], measurements: Sequence[Any]) -> int:
        wires = Wires.all_wires([mp.wires for mp in measurements])
        if any(not mp.wires for mp in measurements):
            wires = wires_in_order(self._circuit)

        def evaluate(shares: Sequence[Result]) -> list[Result]:
            samples = np.concatenate([np.reshape(np.asarray(share), (-1, len(wires))) for share in shares]).astype(int)
            return [_evaluated(measurement, samples, wires) for measurement in measurements]

        return self._add(operations, SampleMP(wires=wires), evaluate, wires, measurements)

    def _shadow(self, measurement: Any) -> tuple[int, int]:
        wires, seed = measurement.wires, measurement.seed

        def evaluate(shares: Sequence[Result]) -> list[Result]:
            pooled = np.concatenate([np.asarray(share) for share in shares], axis=1)
            if isinstance(measurement, ClassicalShadowMP):
                return [pooled]
            shadow = ClassicalShadow(*pooled, wire_map=wires.tolist())
            return [shadow.expval(measurement.H, measurement.k)]

        return self._add(self._circuit.operations, ClassicalShadowMP(wires=wires, seed=seed), evaluate), 0

    def _mid_measures(self, measurements: Sequence[Any]) -> list[tuple[int, int]]:
        """Measurements of mid-circuit outcomes: sampled together, each once."""
        values = [mp.mv if isinstance(mp.mv, Sequence) else [mp.mv] for mp in measurements]
        measured = list(dict.fromkeys(m for value in values for mv in value for m in mv.measurements))

        def evaluate(shares: Sequence[Result]) -> list[Result]:
            rows = np.concatenate([np.reshape(np.asarray(share), (-1, len(measured))) for share in shares]).astype(int)
            valid = _valid(rows)
            columns = {m: rows[:, [index]] for index, m in enumerate(measured)}
            mode = "hw-like" if valid.all() else "pad-invalid-samples"
            return [
                _counted_outcomes(mp, {m: column[valid] for m, column in columns.items()})
                if isinstance(mp, CountsMP)
                else gather_mcm(mp, columns, valid, postselect_mode=mode)
                for mp in measurements
            ]

        single = [qml.measurements.MeasurementValue([m]) for m in measured]
        cell = self._add(self._circuit.operations, qml.sample(single if len(single) > 1 else single[0]), evaluate)
        return [(cell, slot) for slot in range(len(measurements))]


def _is_simple(measurement: Any) -> bool:
    """Whether a measurement is of a Pauli word or of the computational basis: it shares a circuit with others.

    PennyLane's grouping replaces every measurement of an identity by the number 1, which is right for expectation
    values only, and takes other measurements of a sum of one word for something it cannot do.
    """
    observable = measurement.obs
    if observable is None:
        return True
    words = observable.pauli_rep
    wires = observable.wires if words is None else words.wires
    if not isinstance(measurement, ExpectationMP) and (isinstance(observable, Sum) or not wires):
        return False
    return bool(qml.pauli.is_pauli_word(observable))


def _diagonalising(measurements: Sequence[Any], all_wires: Wires) -> list[Any]:
    words = [mp.obs for mp in measurements if mp.obs is not None and len(mp.obs.wires)]
    bare = Wires.all_wires([mp.wires or all_wires for mp in measurements if mp.obs is None])
    words += [qml.Z(wire) for wire in bare]
    return list(qml.pauli.diagonalize_qwc_pauli_words(words)[0]) if words else []


def _unpacked(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def _valid(rows: np.ndarray) -> np.ndarray:
    """Which shots were not discarded by postselection (under jax, PennyLane marks them instead of dropping them)."""
    return np.asarray((rows != fill_in_value).all(axis=1))


def _evaluated(measurement: Any, samples: np.ndarray, wires: Wires) -> Result:
    valid = _valid(samples)
    if isinstance(measurement, CountsMP) and measurement._eigvals is not None:
        # Counts of samples would forget all but one of the outcomes that have the same value.
        outcomes, counts = np.unique(samples[valid], axis=0, return_counts=True)
        names = ["".join(map(str, outcome)) for outcome in outcomes]
        return measurement.process_counts(dict(zip(names, counts, strict=True)), wires)
    if not valid.any() and isinstance(measurement, ProbabilityMP | CountsMP):
        return {} if isinstance(measurement, CountsMP) else np.full(2 ** len(measurement.wires or wires), np.nan)
    if isinstance(measurement, SampleMP) and not valid.all():
        values = np.asarray(measurement.process_samples(np.where(valid[:, None], samples, 0), wires))
        return np.where(valid if values.ndim == 1 else valid[:, None], values, fill_in_value)
    return measurement.process_samples(samples[valid], wires)


def _counted_outcomes(measurement: Any, columns: dict[Any, np.ndarray]) -> dict[Any, Any]:
    if isinstance(measurement.mv, Sequence):
        rows = np.concatenate([mv.concretize(columns) for mv in measurement.mv], axis=1)
        values, counts = np.unique(rows, axis=0, return_counts=True)
        keys: list[Any] = ["".join(str(bit) for bit in row) for row in values]
        possible = itertools.product(*(mv.branches.values() for mv in measurement.mv))
        everything: list[Any] = ["".join(map(str, row)) for row in possible]
    else:
        values, counts = np.unique(measurement.mv.concretize(columns), return_counts=True)
        keys = [float(value) for value in values]
        everything = [float(value) for value in measurement.mv.branches.values()]
    counted = dict.fromkeys(everything, 0) if measurement.all_outcomes else {}
    counted.update(zip(keys, counts, strict=True))
    return dict(sorted(counted.items()))
