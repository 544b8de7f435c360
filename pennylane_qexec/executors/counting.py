"""From the bits and counts that qBraid and Qiskit Runtime return to counted outcomes of wires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pennylane_qexec.circuits.readout import TABLE_WIRES, Counted, Histogram


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
    if wires <= TABLE_WIRES:
        return _table(packed, wires)
    return [_histogram(row, wires) for row in packed]


def _table(packed: np.ndarray, wires: int) -> np.ndarray:
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
