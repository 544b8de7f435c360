"""From a structure to functions of parameters, in JAX: exact results, or probabilities to draw shots from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.devices.qubit import measure
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.pauli import PauliSentence
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.readout import TABLE_WIRES, Counted, OutcomeGroups, Readout, drawn_histogram
from pennylane_qexec.circuits.sampling import SamplingCircuit
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.executors.jax.simulation import Register
from pennylane_qexec.job import Result


@dataclass(frozen=True, slots=True)
class Traced:
    """A function for JAX to compile, for any number of rows.

    Attributes:
        function: takes parameters ``(R, P)`` and returns a tuple of arrays, each with ``R`` as its first axis.
        parameters: ``P``.
        numbers: roughly how many complex numbers there are at once for each row.
    """

    function: Callable[[Any], tuple[Any, ...]]
    parameters: int
    numbers: int


def exact(template: Template) -> Traced:
    """The exact results of a structure's measurements: an array each."""
    circuit = template.circuit.map_to_standard_wires()
    columns = _columns(circuit, template.slots)
    wires = len(circuit.wires)

    def function(parameters: Any) -> tuple[Any, ...]:
        with QueuingManager.stop_recording():
            register = Register(_ones(parameters))
            register.run(circuit.operations, columns, parameters)
            state = register.state(wires)
            return tuple([_measured(measurement, state) for measurement in circuit.measurements])

    return Traced(function, _width(columns), 2**wires * (1 + len(circuit.measurements)))


def probabilities(template: Template, cells: Sequence[SamplingCircuit]) -> Traced:
    """The probabilities of what is sampled in the cells of a structure: an array ``(R, 2**M)`` each."""
    labels = Wires.all_wires([template.circuit.wires, *[cell.circuit.wires for cell in cells]])
    places = {label: place for place, label in enumerate(labels)}
    length = len(template.circuit.operations)
    operations = [operation.map_wires(places) for operation in template.circuit.operations]
    columns = _columns(template.circuit, template.slots)
    endings = [[one.map_wires(places) for one in cell.circuit.operations[length:]] for cell in cells]
    sampled = [[places[label] for label in cell.wires or ()] for cell in cells]

    def function(parameters: Any) -> tuple[Any, ...]:
        made = []
        with QueuingManager.stop_recording():
            common = Register(_ones(parameters))
            common.run(operations, columns, parameters)
            for ending, wires in zip(endings, sampled, strict=True):
                register = common.copy()
                register.run(ending, [None] * len(ending), parameters)
                made.append(register.probabilities(wires))
        return tuple(made)

    return Traced(function, _width(columns), 2 ** len(labels) + sum(2 ** len(wires) for wires in sampled))


def _ones(parameters: Any) -> Any:
    return parameters[:, 0] * 0 + 1


def _columns(circuit: QuantumScript, slots: Sequence[int]) -> list[slice | None]:
    columns: list[slice | None] = [None] * len(circuit.operations)
    start = 0
    for index in slots:
        columns[index] = slice(start, start + len(circuit.operations[index].data))
        start += len(circuit.operations[index].data)
    return columns


def _width(columns: Sequence[slice | None]) -> int:
    return max([place.stop for place in columns if place is not None], default=0)


def _measured(measurement: MeasurementProcess, state: Any) -> Any:
    """The exact result of a measurement, of a state ``(2, ..., 2, R)``."""
    if isinstance(measurement, ExpectationMP) and measurement.obs is not None:
        words = measurement.obs.pauli_rep
        if words is not None:
            return _expectation(words, state)
    return jax.vmap(lambda one: measure(measurement, one), in_axes=-1)(state)


def _expectation(words: PauliSentence, state: Any) -> Any:
    """The expectation value of a sum of Pauli words: those that flip the same wires are one product with the state."""
    wires = state.ndim - 1
    amplitudes = state.reshape(2**wires, -1)
    places = np.arange(2**wires)
    factors: dict[int, np.ndarray] = {}
    for word, coefficient in words.items():
        flips = sum(1 << (wires - 1 - wire) for wire, pauli in word.items() if pauli in "XY")
        factor = np.full(2**wires, complex(coefficient))
        for wire, pauli in word.items():
            if pauli in "YZ":
                factor *= 1 - 2 * ((places >> (wires - 1 - wire)) & 1)
                factor *= 1j if pauli == "Y" else 1
        factors[flips] = factors.get(flips, 0) + factor
    total = jnp.zeros(amplitudes.shape[1])
    for flips, factor in factors.items():
        total = total + (factor[:, None] * amplitudes * amplitudes[places ^ flips].conj()).real.sum(0)
    return total


_WITHOUT_ORDER = (ExpectationMP, ProbabilityMP, VarianceMP)
"""Measurements for which the order of the shots makes no difference."""

_DIGITS = 12
_WELL_FILLED = 4
_FOR_ORDER = 2**32


_GIVEN = 2**63
"""Where the numbers that circuits have outside begin."""


class Sampler:
    """Draws shots for circuits, which are numbered in the order in which they come.

    With a seed, each circuit has a stream of random numbers of its own, so that its shots depend on its number alone,
    and not on what runs together with it. Without one, all circuits share a stream, which is faster.

    Args:
        seed: the seed; ``None`` for none.
        replica: of copies in several processes, which one this is; each draws from streams of its own.
    """

    def __init__(self, seed: int | None, replica: int = 0) -> None:
        self._key = None if seed is None else _key(seed, replica)
        self._key_of_given = None if seed is None else _key(seed, 0)
        self._shared = np.random.default_rng()
        self._lock = threading.Lock()
        self._next = 0

    @property
    def seeded(self) -> bool:
        """Whether the shots of a circuit depend on its number only."""
        return self._key is not None

    def number(self, circuits: int, given: Sequence[int] = ()) -> Sequence[int]:
        """The numbers of the next circuits.

        Args:
            circuits: how many there are.
            given: the numbers that they have outside, if any: then these decide, in all copies alike.
        """
        if given:
            return [_GIVEN + number for number in given]
        with self._lock:
            start, self._next = self._next, self._next + circuits
        return range(start, start + circuits)

    def results(
        self, readout: Readout, probabilities: Sequence[np.ndarray], shots: int, numbers: Sequence[int]
    ) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            readout: how they are measured.
            probabilities: for each of its cells, an array ``(R, 2**M)`` whose rows add up to one.
            shots: of each circuit.
            numbers: of the circuits.
        """
        if self._key is None:
            counted = [
                self._counted(each, shots, numbers, cell) if kinds is None else self._sorted(each, shots, kinds)
                for cell, (each, kinds) in enumerate(zip(probabilities, readout.kinds, strict=True))
            ]
            return readout.results(counted, [self._shared] * len(numbers))
        counted = [self._counted(each, shots, numbers, cell) for cell, each in enumerate(probabilities)]
        tables = all(isinstance(counts, np.ndarray) for counts in counted)
        if tables and all(type(one) in _WITHOUT_ORDER for cell in readout.cells for one in cell.measurements):
            return readout.results(counted, [self._shared] * len(numbers))
        return readout.results(counted, self._streams(numbers, _FOR_ORDER))

    def _counted(self, probabilities: np.ndarray, shots: int, numbers: Sequence[int], cell: int) -> Counted:
        """How often each outcome is measured, ``(R, 2**M)``; of many outcomes, only those that were."""
        outcomes = probabilities.shape[1]
        as_table = outcomes <= min(2**TABLE_WIRES, _WELL_FILLED * shots)
        if self._key is not None:
            # Large batches are rounded otherwise than small ones, and drawing depends on whether a half is one.
            probabilities = probabilities.round(_DIGITS)
            probabilities /= probabilities.sum(axis=1, keepdims=True)
        if self._key is None and as_table:
            return self._shared.multinomial(shots, probabilities)
        rows = zip(probabilities, self._streams(numbers, cell), strict=True)
        if as_table:
            return np.array([rng.multinomial(shots, row) for row, rng in rows])
        return [drawn_histogram(row, shots, rng) for row, rng in rows]

    def _sorted(self, probabilities: np.ndarray, shots: int, kinds: OutcomeGroups) -> Counted:
        """How often outcomes of each kind are measured, ``(R, 2**M)``, counted as the first of their kind.

        Of a Pauli word there are two kinds, which takes one random number for a circuit.
        """
        sums = probabilities @ kinds.members
        table = np.zeros(probabilities.shape, dtype=np.int64)
        if len(kinds.first) == 2:
            counts = self._shared.binomial(shots, np.minimum(sums[:, 0], 1))
            table[:, kinds.first[0]], table[:, kinds.first[1]] = counts, shots - counts
        else:
            table[:, kinds.first] = self._shared.multinomial(shots, sums / sums.sum(axis=1, keepdims=True))
        return table

    def _streams(self, numbers: Sequence[int], purpose: int) -> Iterator[np.random.Generator]:
        """For each circuit, random numbers for a purpose; they must be drawn before the next circuit's turn."""
        if self._key is None:
            yield from [self._shared] * len(numbers)
            return
        bits = np.random.Philox(key=self._key if numbers[0] < _GIVEN else self._key_of_given)
        rng, state = np.random.Generator(bits), bits.state
        for number in numbers:
            state["state"]["counter"][:] = (0, 0, number, purpose)
            bits.state = state
            yield rng


def _key(seed: int, replica: int) -> np.ndarray:
    return np.random.SeedSequence([seed, replica]).generate_state(2, np.uint64)
