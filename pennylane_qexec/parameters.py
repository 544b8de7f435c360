"""What can be done with a circuit, as far as its parameters have a say: arrays that change, derivatives under way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript


def with_values_of_now(circuit: QuantumScript) -> QuantumScript:
    """The circuit with copies of its arrays: by the time it runs, an optimiser may have changed the originals."""
    parameters = circuit.get_parameters(trainable_only=False)
    if not any(map(_may_change, parameters)):
        return circuit
    return circuit.bind_new_parameters([_copied(parameter) for parameter in parameters], range(len(parameters)))


def _may_change(parameter: Any) -> bool:
    return not isinstance(parameter, int | float) and (isinstance(parameter, np.ndarray) or _is_torch(parameter))


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
    return any(map(_is_abstract, tape.get_parameters(trainable_only=False)))


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
