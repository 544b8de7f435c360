"""Derivatives under way: what Autograd, JAX and PyTorch record of what is computed with the numbers of a circuit.

A circuit whose numbers are being recorded has to be computed where the record can go on, in the thread that calls, or
what it returns would be taken for a constant: a derivative of zero, without an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pennylane as qml
from autograd.builtins import SequenceBox
from autograd.extend import defvjp, primitive
from autograd.numpy.numpy_boxes import ArrayBox
from pennylane.exceptions import QuantumFunctionError
from pennylane.measurements import ClassicalShadowMP, CountsMP, SampleMP
from pennylane.tape import QuantumScript
from pennylane.transforms import convert_to_numpy_parameters

HIGHER_ORDER = (
    "a derivative of a derivative was asked for, and this QNode differentiates {order} only. Create it with "
    "max_diff={more}, and with diff_method='best' or 'parameter-shift' if it is 'adjoint'."
)

_SEVERAL_RESULTS = (
    "a derivative of a derivative was asked for, of a circuit with several results, and PennyLane loses it with "
    "Autograd: it would be zero. Return one result from a QNode, with a QNode for each; or differentiate with JAX or "
    "PyTorch; or use diff_method='backprop' on an executor that offers it."
)

_MATRIX = (
    "a derivative by numbers in the matrix of an observable was asked for, and PennyLane's parameter shifts and finite "
    "differences take a matrix for one number: it would be zero. Write the observable as a sum whose coefficients are "
    "these numbers, as in qml.Hamiltonian([x], [observable]); or use diff_method='backprop' on an executor that offers "
    "it."
)

_COMPLEX = (
    "a derivative by the complex number {number} of {operation} was asked for, and it would be wrong: parameter "
    "shifts, finite differences and the adjoint method move its real part only. For the exponential of an observable, "
    "write qml.evolve(observable, x) in place of qml.exp(observable, -1j * x); or use diff_method='backprop' on an "
    "executor that offers it."
)

_SAMPLES = (SampleMP, CountsMP, ClassicalShadowMP)
_NUMBERS = {float, int, complex, np.float64, np.float32, np.int64, np.complex128}
_PLAIN = _NUMBERS | {np.ndarray}

_data = attrgetter("data")


def is_plain(circuit: QuantumScript, arrays: bool = True) -> bool:
    """Whether all numbers of a circuit are Python's and NumPy's.

    Args:
        circuit: the circuit.
        arrays: whether they may be in arrays.
    """
    plain = _PLAIN if arrays else _NUMBERS
    for measurement in circuit.measurements:
        if measurement.obs is not None and not plain.issuperset(map(type, measurement.obs.data)):
            return False
    return plain.issuperset(map(type, chain.from_iterable(map(_data, circuit.operations))))


def are_recorded(circuit: QuantumScript) -> bool:
    """Whether an interface records at present what is computed with the numbers of a circuit."""
    return any(map(is_recorded, _of_interfaces(circuit)))


def observables_are_recorded(circuit: QuantumScript) -> bool:
    """Whether an interface records at present what is computed with the numbers of the circuit's observables."""
    return any(map(is_recorded, _numbers_of_observables(circuit)))


def loses_record(circuit: QuantumScript, prepared: Sequence[QuantumScript]) -> bool:
    """Whether the results of a circuit whose numbers are being recorded are computed from samples once it is prepared.

    Nothing can be recorded of samples: results that are computed from them would be taken for constants.

    Args:
        circuit: the circuit.
        prepared: the circuits that are going to be run in its place.
    """
    if is_plain(circuit) or all(isinstance(one, _SAMPLES) for one in circuit.measurements):
        return False
    return any(isinstance(one, _SAMPLES) for each in prepared for one in each.measurements) and are_recorded(circuit)


def levels(circuit: QuantumScript) -> int:
    """How many derivatives, one inside the other, are under way with respect to numbers of a circuit.

    Of PyTorch this cannot be told from the numbers; see :func:`hooked`.
    """
    found: set[int] = set()
    for number in _of_interfaces(circuit):
        while isinstance(number, ArrayBox):
            found.add(number._trace)
            number = number._value
        while _is_tracer(number):
            # What is differentiated has a primal value; what is vectorized a value; what is compiled has none.
            primal = getattr(number, "primal", None)
            if primal is not None:
                found.add(id(number._trace))
            number = getattr(number, "val", None) if primal is None else primal
    return len(found)


def higher_order(order: int) -> QuantumFunctionError:
    """The error for derivatives of a higher order than those that can be computed."""
    return QuantumFunctionError(HIGHER_ORDER.format(order="once" if order == 1 else f"{order} times", more=order + 1))


def check_several_results(circuit: QuantumScript, hadamard: bool = False) -> None:
    """Refuse a circuit of which Autograd takes a second derivative if PennyLane's boundary makes zeros of it.

    It does so where it multiplies a vector with a Jacobian as two arrays: of results of one shape, by several numbers.

    Args:
        circuit: the circuit, as it comes to the boundary.
        hadamard: whether it is differentiated by Hadamard tests, which work for no results but a single one.

    Raises:
        QuantumFunctionError: it is one.
    """
    measured = circuit.measurements
    if len(measured) < 2 or levels(circuit) < 2:
        return
    shapes = {one.shape(circuit.shots.total_shots, len(circuit.wires)) for one in measured}
    numbers = qml.math.get_trainable_indices(circuit.get_parameters(trainable_only=False))
    if hadamard or (len(shapes) == 1 and len(numbers) > 1):
        raise QuantumFunctionError(_SEVERAL_RESULTS)


def check_matrices(circuit: QuantumScript) -> None:
    """Refuse to differentiate by numbers in the matrix of an observable, where PennyLane's transforms give zero.

    Args:
        circuit: the circuit, as it comes to the boundary of Autograd.

    Raises:
        QuantumFunctionError: such numbers are being recorded.
    """
    if any(is_recorded(number) and np.ndim(number) for number in _numbers_of_observables(circuit)):
        raise QuantumFunctionError(_MATRIX)


def check_complex(circuit: QuantumScript) -> None:
    """Refuse to differentiate by complex numbers of operations, where all but backpropagation gives wrong derivatives.

    Args:
        circuit: the circuit, as it comes to the boundary of Autograd or PyTorch.

    Raises:
        QuantumFunctionError: such a number, of which the imaginary part is not zero, is being recorded.
    """
    for operation in circuit.operations:
        for number in operation.data:
            if type(number) in _PLAIN or np.ndim(number) or not is_recorded(number):
                continue
            if qml.math.get_dtype_name(number).startswith("complex"):
                value = complex(qml.math.unwrap([number])[0])
                if value.imag:
                    raise QuantumFunctionError(_COMPLEX.format(number=value, operation=operation.name))


def without_constants(circuit: QuantumScript) -> QuantumScript:
    """The circuit with NumPy's numbers in its observables.

    PennyLane takes arrays of ``pennylane.numpy`` for trainable, whether a derivative by them was asked for or not.
    """
    if all(type(number) in _PLAIN for number in _numbers_of_observables(circuit)):
        return circuit
    (plain,), _ = convert_to_numpy_parameters(QuantumScript([], circuit.measurements))
    return circuit.copy(measurements=plain.measurements)


def tensors(circuit: QuantumScript) -> list[Any]:
    """Those of a circuit's numbers whose use PyTorch records."""
    return [number for number in _of_interfaces(circuit) if _is_tensor(number) and is_recorded(number)]


def hooked(result: Any, by: Sequence[Any]) -> Any:
    """A result, of which PyTorch is told that its derivative is no constant, but one that nobody can differentiate.

    Args:
        result: tensors, in tuples; whatever else is left as it is.
        by: the tensors that it may be differentiated by.
    """
    import torch

    if isinstance(result, tuple):
        return tuple([hooked(each, by) for each in result])
    if isinstance(result, torch.Tensor) and result.requires_grad:
        # Gradients are recorded, for derivatives of a higher order, only while gradient mode is on.
        result.register_hook(lambda vector: not_differentiable(vector, by) if torch.is_grad_enabled() else None)
    return result


def not_differentiable(result: Any, by: Sequence[Any]) -> Any:
    """A result as tensors that can be used, but not be differentiated.

    Args:
        result: numbers, in tuples.
        by: the tensors that it depends on.
    """
    import torch

    if isinstance(result, tuple):
        return tuple([not_differentiable(each, by) for each in result])
    return torch.as_tensor(result) + _refusing()(*by)


def differentiable_once(result: Any) -> Any:
    """A result that Autograd refuses to differentiate if that derivative is going to be differentiated.

    PennyLane's boundary would take what the derivative is multiplied with for a constant.

    Args:
        result: arrays and boxes, in tuples.
    """
    if isinstance(result, tuple | list | SequenceBox):
        return tuple([differentiable_once(each) for each in result])
    return _once(result) if isinstance(result, ArrayBox) else result


@primitive
def _once(result: Any) -> Any:
    return result


def _times(vector: Any) -> Any:
    if isinstance(vector, ArrayBox):
        raise higher_order(1)
    return vector


defvjp(_once, lambda answer, result: _times)


@cache
def _refusing() -> Callable[..., Any]:
    """A function of tensors that is zero, and cannot be differentiated."""
    import torch

    class Refusing(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *tensors: Any) -> Any:
            return torch.zeros((), dtype=torch.float32)

        @staticmethod
        def backward(context: Any, *vectors: Any) -> Any:
            raise higher_order(1)

    return Refusing.apply  # type: ignore[no-any-return]


def _of_interfaces(circuit: QuantumScript) -> Iterator[Any]:
    """The numbers of a circuit that are neither Python's nor NumPy's."""
    numbers = chain(chain.from_iterable(map(_data, circuit.operations)), _numbers_of_observables(circuit))
    return (number for number in numbers if type(number) not in _PLAIN)


def _numbers_of_observables(circuit: QuantumScript) -> Iterable[Any]:
    return chain.from_iterable(one.obs.data for one in circuit.measurements if one.obs is not None)


def is_recorded(number: Any) -> bool:
    """Whether an interface records at present what is computed with a number."""
    if isinstance(number, ArrayBox):
        return True
    if _is_tensor(number):
        import torch

        return bool(number.requires_grad) and torch.is_grad_enabled()
    return _is_tracer(number)


def _is_tensor(number: Any) -> bool:
    return bool(type(number) not in _PLAIN and qml.math.get_interface(number) == "torch")


def _is_tracer(number: Any) -> bool:
    """Whether JAX traces a number; if it was not imported, it does not."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(number, jax.core.Tracer)
