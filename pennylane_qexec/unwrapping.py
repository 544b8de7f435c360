"""Circuits with NumPy's numbers in place of those of an interface.

PennyLane does this too, for every operation of every circuit anew: it takes longer than running the circuits of a
gradient, whose numbers are NumPy's already.
"""

from __future__ import annotations

from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

from pennylane_qexec.recorded import is_plain

INTERFACES = (Interface.AUTOGRAD, Interface.TORCH)
"""Interfaces whose numbers are unwrapped here."""


def unwrapped(circuit: QuantumScript) -> QuantumScript:
    """The circuit with numeric parameters; itself if it has no others."""
    return circuit if is_plain(circuit) else convert_to_numpy_parameters(circuit)[0][0]
