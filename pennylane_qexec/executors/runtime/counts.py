"""From the bits that the Sampler returns to counted outcomes, for all rows of a template at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from pennylane_qexec.readout import TABLE_WIRES, Counted, Histogram


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
