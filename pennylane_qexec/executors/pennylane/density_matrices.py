"""Probabilities of density matrices that can be differentiated where they are zero.

PennyLane 0.45 takes the roots of a density matrix's diagonal, and squares them again. The derivative of a root at zero
is infinite, so that backpropagation on ``default.mixed`` gives ``nan`` wherever an outcome never comes, as two of those
of a Bell state. Within :func:`without_roots`, and nowhere else, the diagonal itself is summed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pennylane import math
from pennylane.measurements import ProbabilityMP
from pennylane.wires import Wires


class _Here(threading.local):
    """Whether this thread is within :func:`without_roots`. A call's context would take that to other threads."""

    without_roots = False


_here = _Here()
_installing = threading.Lock()
_installed = False


@contextmanager
def without_roots() -> Iterator[None]:
    """In this thread, probabilities of density matrices are polynomials of their numbers."""
    _install()
    before, _here.without_roots = _here.without_roots, True
    try:
        yield
    finally:
        _here.without_roots = before


def _install() -> None:
    """Let PennyLane's method ask which way is wanted. It stays so: another thread may be in it at any time."""
    global _installed
    with _installing:
        if _installed:
            return
        theirs = ProbabilityMP.process_density_matrix

        def process_density_matrix(self: ProbabilityMP, density_matrix: Any, wire_order: Wires) -> Any:
            return (_summed if _here.without_roots else theirs)(self, density_matrix, wire_order)

        ProbabilityMP.process_density_matrix = process_density_matrix
        _installed = True


def _summed(measurement: ProbabilityMP, matrix: Any, wire_order: Wires) -> Any:
    """The probabilities of a measurement's wires, of a density matrix ``(2**n, 2**n)``, or of several."""
    rows = () if len(math.shape(matrix)) == 2 else math.shape(matrix)[:1]
    diagonal = math.stack([math.diagonal(one) for one in matrix]) if rows else math.diagonal(matrix)
    probabilities = math.real(diagonal)
    if not measurement.wires:
        return probabilities
    axes = [wire_order.index(wire) + len(rows) for wire in measurement.wires]
    others = [axis + len(rows) for axis, wire in enumerate(wire_order) if wire not in measurement.wires]
    tensor = math.transpose(
        math.reshape(probabilities, (*rows, *[2] * len(wire_order))), [*range(len(rows)), *axes, *others]
    )
    return math.sum(math.reshape(tensor, (*rows, 2 ** len(axes), 2 ** len(others))), axis=-1)
