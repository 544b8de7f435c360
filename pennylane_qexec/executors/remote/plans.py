"""What a batch of circuits is run as by a vendor, and what the bits and counts mean that come back."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from pennylane_qexec.circuits.readout import TABLE_WIRES, Counted, Histogram, Readout
from pennylane_qexec.circuits.templates import Fused, Template, unfused
from pennylane_qexec.job import Bound, Result, postprocessed


class WrongCountsError(ValueError):
    """What a device counted is not what it was asked for."""


# From bit strings


def counts_of_bits(answers: Sequence[Mapping[Any, Any]], qubits: int, measured: Sequence[int], shots: int) -> Counted:
    """Count the outcomes of some qubits.

    Args:
        answers: for each of ``R`` circuits, how often each outcome was measured: a bit for each of its qubits, qubit 0
            last, as qBraid has them.
        qubits: how many qubits the circuits have.
        measured: the ``M`` qubits that count, in PennyLane's order.
        shots: of each circuit.

    Returns:
        A table ``(R, 2**M)``, or ``R`` histograms if that would be too wide.

    Raises:
        WrongCountsError: the counts are not of so many shots, or the outcomes not of so many qubits.
    """
    histograms = [_histogram_of_bits(answer, qubits, list(measured), shots) for answer in answers]
    if len(measured) > TABLE_WIRES:
        return histograms
    table = np.zeros((len(answers), 2 ** len(measured)), dtype=np.int64)
    weights = 1 << np.arange(len(measured) - 1, -1, -1)
    for row, (bits, counts) in enumerate(histograms):
        np.add.at(table[row], bits @ weights, counts)
    return table


def _histogram_of_bits(answer: Mapping[Any, Any], qubits: int, measured: list[int], shots: int) -> Histogram:
    outcomes = [_bits(key, qubits) for key in answer]
    counts = np.array([_whole(count) for count in answer.values()], dtype=np.int64)
    if counts.sum() != shots:
        raise WrongCountsError(f"{int(counts.sum())} shots were counted, and {shots} were asked for")
    bits = np.array([[int(bit) for bit in outcome[::-1]] for outcome in outcomes], dtype=np.int64)
    distinct, places = np.unique(bits[:, measured], axis=0, return_inverse=True)
    return Histogram(distinct, np.bincount(places.reshape(-1), weights=counts).astype(np.int64))


def _bits(key: Any, qubits: int) -> str:
    """An outcome as bits, qubit 0 last. Where zeros in front are left out, as in numbers, they are filled in."""
    text = f"{key:b}" if isinstance(key, int) else str(key).replace(" ", "").removeprefix("0b")
    if text.startswith("0x"):
        text = f"{int(text, 16):b}"
    if not text or set(text) - {"0", "1"}:
        raise WrongCountsError(f"the outcome {key!r} is not made of bits")
    if len(text) > qubits:
        raise WrongCountsError(f"the outcome {key!r} has {len(text)} bits, and the circuit {qubits} qubits")
    return text.zfill(qubits)


def _whole(count: Any) -> int:
    if count != int(count) or count < 0:
        raise WrongCountsError(f"an outcome was counted {count!r} times, which is no whole number")
    return int(count)


# From arrays of bits


def counted(packed: np.ndarray, wires: int) -> Counted:
    """Count outcomes.

    Args:
        packed: the array of a ``BitArray``, ``(R, shots, bytes)``: each shot as bytes, the highest first. The number
            of a shot's bits is that of PennyLane's outcome.
        wires: the number ``M`` of bits.

    Returns:
        A table ``(R, 2**M)``, or ``R`` histograms if that would be too wide.
    """
    if wires > TABLE_WIRES:
        return [_histogram(row, wires) for row in packed]
    rows, shots, size = packed.shape
    numbers = np.zeros((rows, shots), dtype=np.int64)
    for place in range(size):
        numbers = (numbers << 8) | packed[:, :, place]
    numbers += np.arange(rows, dtype=np.int64)[:, None] << wires
    return np.bincount(numbers.reshape(-1), minlength=rows << wires).reshape(rows, -1)


def _histogram(row: np.ndarray, wires: int) -> Histogram:
    size = row.shape[1]
    shots: Any = np.ascontiguousarray(row).view(f"V{size}").reshape(-1)
    found, counts = np.unique(shots, return_counts=True)
    bits = np.unpackbits(found.view(np.uint8).reshape(-1, size), axis=1)[:, size * 8 - wires :]
    return Histogram(bits, counts)


class TemplateProgram(ABC):
    """What circuits of one structure, with any number of shots, are run as. It is made once, and kept."""

    @abstractmethod
    def size(self, rows: int) -> int:
        """How many answers come back for ``R`` circuits."""

    @abstractmethod
    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            answers: the vendor's answers for them.
            rows: how many circuits there were.
            shots: of each of them.
            rng: puts samples in their order.

        Raises:
            WrongCountsError: the answers are not those of what was sent.
        """


class CountsProgram(TemplateProgram):
    """What circuits are run as where all their wires are measured, and outcomes counted: once for each basis.

    The answers are counts, by a text with a bit for each wire, the first wire last, as Qiskit writes them.

    Args:
        template: the structure.

    Attributes:
        wires: of the circuits, in the order in which they are measured.
        bases: the operations to run, up to where all wires are measured, for each basis.
    """

    def __init__(self, template: Template) -> None:
        self.wires = template.circuit.wires
        self._readout = Readout(template.circuit)
        self.bases = [Template(cell.circuit, template.slots, None) for cell in self._readout.cells]

    def size(self, rows: int) -> int:
        return rows * len(self.bases)

    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        tables = []
        for number, cell in enumerate(self._readout.cells):
            measured = self.wires.indices(cell.wires or ())
            tables.append(counts_of_bits(answers[number :: len(self.bases)], len(self.wires), measured, shots))
        return self._readout.results(tables, [rng] * rows)


P = TypeVar("P", bound=TemplateProgram)
P_co = TypeVar("P_co", bound=TemplateProgram, covariant=True)


@dataclass(frozen=True)
class PlannedGroup(Generic[P_co]):
    """Circuits of a batch that have one structure and number of shots.

    Attributes:
        fused: the circuits.
        program: what they are run as.
    """

    fused: Fused
    program: P_co

    @property
    def parameters(self) -> np.ndarray:
        """Of the circuits, ``(R, P)``."""
        return self.fused.parameters

    @property
    def rows(self) -> int:
        """How many circuits there are."""
        return len(self.fused.indices)

    @property
    def shots(self) -> int:
        """Of each circuit."""
        return int(self.fused.template.circuit.shots.total_shots or 0)

    @property
    def size(self) -> int:
        """How many answers come back for it."""
        return self.program.size(self.rows)


@dataclass(frozen=True)
class BatchPlan(Generic[P]):
    """What the circuits of a batch are run as.

    Attributes:
        bounds: the circuits, made ready; the rows of a sweep by its template.
        requests: the groups of circuits of one structure, by what is sent together, in the order of sending.
        seed: of what is random in results.
    """

    bounds: Sequence[Bound]
    requests: Mapping[Hashable, Sequence[PlannedGroup[P]]]
    seed: np.random.SeedSequence

    @cached_property
    def groups(self) -> list[PlannedGroup[P]]:
        """All groups, in the order in which they are sent."""
        return list(itertools.chain(*self.requests.values()))

    @property
    def size(self) -> int:
        """How many answers come back, all together."""
        return sum(group.size for group in self.groups)

    def results(self, answers: Sequence[Any]) -> list[Result]:
        """The results of the circuits.

        Args:
            answers: those of all that was sent, in that order.

        Raises:
            WrongCountsError: the answers are not those of what was sent.
        """
        rng, remaining = np.random.default_rng(self.seed), iter(answers)
        done = []
        for group in self.groups:
            mine = list(itertools.islice(remaining, group.size))
            done.append((group.fused, group.program.results(mine, group.rows, group.shots, rng)))
        return postprocessed(self.bounds, unfused(done, sum(len(bound.circuits) for bound in self.bounds)))
