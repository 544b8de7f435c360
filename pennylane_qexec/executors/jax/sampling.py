"""Shots, drawn from probabilities that were computed exactly."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from pennylane.measurements import ExpectationMP, ProbabilityMP, VarianceMP

from pennylane_qexec.circuits.readout import TABLE_WIRES, Counted, Histogram, OutcomeGroups, Readout, bits_of
from pennylane_qexec.job import Result

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
            return readout.results(counted, self._shared)
        counted = [self._counted(each, shots, numbers, cell) for cell, each in enumerate(probabilities)]
        tables = all(isinstance(counts, np.ndarray) for counts in counted)
        if tables and all(type(one) in _WITHOUT_ORDER for cell in readout.cells for one in cell.measurements):
            return readout.results(counted, self._shared)
        rows = enumerate(self._streams(numbers, _FOR_ORDER))
        return [readout.results([each[row : row + 1] for each in counted], rng)[0] for row, rng in rows]

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
        return [_histogram(row, shots, rng) for row, rng in rows]

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


def _histogram(probabilities: np.ndarray, shots: int, rng: np.random.Generator) -> Histogram:
    cumulated = np.cumsum(probabilities)
    drawn = np.searchsorted(cumulated, rng.random(shots) * cumulated[-1], side="right")
    outcomes, counts = np.unique(np.minimum(drawn, len(probabilities) - 1), return_counts=True)
    return Histogram(bits_of(outcomes, (len(probabilities) - 1).bit_length()), counts)
