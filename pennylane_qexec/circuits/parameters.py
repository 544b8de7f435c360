"""The parameters of circuits: arrays that may change, derivatives under way, and NumPy's numbers in their place.

PennyLane's own conversion to NumPy goes through every operation of every circuit anew, which takes longer than running
the circuits of a gradient, whose numbers are NumPy's already.
"""

from __future__ import annotations

from copy import copy, deepcopy
from itertools import chain
from operator import is_not
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.math import Interface
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.ops import LinearCombination
from pennylane.ops.functions import bind_new_parameters
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

from pennylane_qexec.circuits.evolutions import with_times
from pennylane_qexec.circuits.observables import hamiltonians_in
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


def with_own_arrays(circuit: QuantumScript) -> QuantumScript:
    """The circuit with copies of NumPy's arrays, to be kept with what is made of it.

    What is kept by the content of its circuit would be that of other circuits as soon as a program writes into a
    matrix, a state or an observable that it has given.
    """
    with QueuingManager.stop_recording():
        operations = list(map(_with_own_arrays, circuit.operations))
        measurements = list(map(_measuring_own_arrays, circuit.measurements))
    if not any(map(is_not, chain(operations, measurements), chain(circuit.operations, circuit.measurements))):
        return circuit
    return circuit.copy(operations=operations, measurements=measurements, trainable_params=circuit.trainable_params)


def _with_own_arrays(operator: Operator) -> Operator:
    try:
        hamiltonians = [one for one in hamiltonians_in(operator) if isinstance(one.coeffs, list | np.ndarray)]
        if hamiltonians:
            return _with_own_coefficients(operator, len(hamiltonians))
        if not any(map(_is_array, operator.data)):
            return operator
        return bind_new_parameters(operator, list(map(_copied, operator.data)))
    except Exception:  # each class raises what it likes
        return operator


def _with_own_coefficients(operator: Operator, hamiltonians: int) -> Operator:
    """A copy of an operator with Hamiltonians in it, which may be made of arrays that a program writes into."""
    if type(operator) is not LinearCombination or hamiltonians > 1 or any(map(_is_array, operator.data)):
        return deepcopy(operator)
    own = object.__new__(LinearCombination)  # its terms, which are many, are nobody's to change
    vars(own).update(vars(operator), _coeffs=copy(operator.coeffs))
    return own


def _measuring_own_arrays(measurement: MeasurementProcess) -> MeasurementProcess:
    observable = measurement.obs
    if observable is None or (own := _with_own_arrays(observable)) is observable:
        return measurement
    changed = copy(measurement)
    changed.obs = own
    return changed


def _is_array(parameter: Any) -> bool:
    return isinstance(parameter, np.ndarray)


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
