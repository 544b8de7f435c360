"""Circuits with NumPy's numbers in place of those of an interface.

PennyLane does this too, for every operation of every circuit anew: it takes longer than running the circuits of a
gradient, whose numbers are NumPy's already.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter

import numpy as np
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

INTERFACES = (Interface.AUTOGRAD, Interface.TORCH)
"""Interfaces whose numbers are unwrapped here."""

_PLAIN = {float, int, complex, np.ndarray, np.float64, np.float32, np.int64, np.complex128}

_data = attrgetter("data")


def unwrapped(circuit: QuantumScript) -> QuantumScript:
    """The circuit with numeric parameters; itself if it has no others."""
    if _PLAIN.issuperset(map(type, chain.from_iterable(map(_data, circuit.operations)))) and all(
        measurement.obs is None or _PLAIN.issuperset(map(type, measurement.obs.data))
        for measurement in circuit.measurements
    ):
        return circuit
    return convert_to_numpy_parameters(circuit)[0][0]
