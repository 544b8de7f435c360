"""The parameters of circuits: arrays that may change, derivatives under way, and NumPy's numbers in their place.

PennyLane's own conversion to NumPy goes through every operation of every circuit anew, which takes longer than running
the circuits of a gradient, whose numbers are NumPy's already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

from pennylane_qexec.circuits.evolutions import with_times
from pennylane_qexec.concurrency.differentiation import is_plain


def with_values_of_now(circuit: QuantumScript) -> QuantumScript:
    """The circuit with copies of its arrays: by the time it runs, an optimiser may have changed the originals."""
    if is_plain(circuit, arrays=False):
        return circuit
    parameters = circuit.get_parameters(trainable_only=False)
    if not any(isinstance(one, np.ndarray) or _is_torch(one) for one in parameters if not isinstance(one, int | float)):
        return circuit
    circuit = with_times(circuit)
    parameters = circuit.get_parameters(trainable_only=False)
    return circuit.bind_new_parameters([_copied(parameter) for parameter in parameters], range(len(parameters)))


def _copied(parameter: Any) -> Any:
    if isinstance(parameter, np.ndarray):
        return parameter.copy()
    return parameter.detach().clone() if _is_torch(parameter) else parameter


def _is_torch(parameter: Any) -> bool:
    return bool(qml.math.get_interface(parameter) == "torch")


def has_jax(tape: QuantumScript) -> bool:
    """Whether some of the parameters are JAX's."""
    return "jax" in map(qml.math.get_interface, tape.get_parameters(trainable_only=False))


def belong_to_this_thread(tape: QuantumScript) -> bool:
    """Whether the parameters have no values yet, as in a function that JAX compiles or torch.func transforms."""
    return not is_plain(tape) and any(map(_is_abstract, tape.get_parameters(trainable_only=False)))


def are_traced(arguments: Any) -> bool:
    """Whether JAX or ``torch.func`` trace some of the arguments of a function, which they do in one thread only.

    Args:
        arguments: tuples, lists and dicts of arguments.
    """
    if isinstance(arguments, dict):
        return any(map(are_traced, arguments.values()))
    if isinstance(arguments, tuple | list):
        return any(map(are_traced, arguments))
    interface = qml.math.get_interface(arguments)
    if interface == "jax":
        import jax

        return isinstance(arguments, jax.core.Tracer)
    return interface == "torch" and _is_abstract(arguments)


def _is_abstract(parameter: Any) -> bool:
    if _is_torch(parameter):
        import torch

        return bool(torch._C._functorch.is_functorch_wrapped_tensor(parameter))
    return bool(qml.math.is_abstract(parameter))


# Numbers of NumPy in place of those of an interface

INTERFACES = (Interface.AUTOGRAD, Interface.TORCH)
"""Interfaces whose numbers are unwrapped here."""


def unwrapped(circuit: QuantumScript) -> QuantumScript:
    """The circuit with numeric parameters; itself if it has no others."""
    if is_plain(circuit):
        return circuit
    return convert_to_numpy_parameters(with_times(circuit))[0][0]
