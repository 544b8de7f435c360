"""Gradients of circuits that are broadcasted over what is differentiated.

PennyLane's gradient transforms refuse such circuits, which come from a classical layer in front of a quantum one in
mini-batches (its issue 4462). Expanded before they are differentiated, they are circuits as any others, and run in one
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import pennylane as qml
from pennylane.devices.preprocess import validate_device_wires
from pennylane.exceptions import QuantumFunctionError
from pennylane.math import Interface
from pennylane.measurements import PurityMP
from pennylane.ops import Adjoint, Conditional, Controlled, ControlledOp, Evolution, MidMeasure
from pennylane.ops.op_math.adjoint import AdjointOperation
from pennylane.tape import QuantumScript
from pennylane.transforms.core import Transform, transform

from pennylane_qexec.circuits.evolutions import with_factors, with_times
from pennylane_qexec.circuits.structure import is_broadcasted, measures_everything, rows_of, wires_in_order
from pennylane_qexec.concurrency.differentiation import (
    check_complex,
    check_matrices,
    check_several_results,
    differentiable_once,
    is_recorded,
)
from pennylane_qexec.device.shifts import by_shifts, with_shift_rules
from pennylane_qexec.job import only

_REFUSING = (
    qml.gradients.param_shift,
    qml.gradients.finite_diff,
    qml.gradients.spsa_grad,
    qml.gradients.hadamard_grad,
)
"""The gradient transforms that refuse circuits broadcasted over trainable parameters."""

_BY_RULES = (qml.gradients.param_shift, qml.gradients.hadamard_grad)

_JAX = (Interface.JAX, Interface.JAX_JIT)

_twins: WeakSet[Transform] = WeakSet()
"""What :func:`for_batches` has made, and need not make anything of again."""


def for_batches(method: Any, interface: Any, order: int = 1, wires: Any = ()) -> Any:
    """A gradient method whose circuits are expanded where it would refuse them.

    With Autograd any method, a user's too, refuses derivatives of derivatives that would be taken for constants.

    Args:
        method: what the configuration of a call has as its gradient method.
        interface: what differentiates.
        order: how often.
        wires: of the device; ``None`` if it has those of its circuits, in the order in which they are first used.

    Returns:
        A twin of the method; the method itself, if it refuses nothing, or nothing can be differentiated.
    """
    autograd = interface is Interface.AUTOGRAD
    refusing = any(method is one for one in _REFUSING)
    if not isinstance(method, Transform) or method in _twins or not (refusing or autograd):
        return method
    if interface is Interface.NUMPY:
        return _careful(method)
    twin = _twin(method, refusing, interface in _JAX, autograd and order == 1, autograd and order > 1, wires is None)
    _twins.add(twin)
    return twin


_AROUND_EVOLUTIONS = frozenset({Evolution, Conditional, AdjointOperation, ControlledOp})


def _check_operators(tape: QuantumScript) -> None:
    """Refuse to differentiate by nothing but numbers inside of the operators of evolutions.

    PennyLane does not show them to interfaces: the result would be taken for a constant.

    Raises:
        QuantumFunctionError: that is asked for.
    """
    for operation in tape.operations:
        while isinstance(operation, Adjoint | Conditional | Controlled):
            operation = operation.base
        if type(operation) is Evolution and any(map(is_recorded, operation.base.data)):
            raise QuantumFunctionError(
                f"a derivative by a number of the operator of an evolution on {operation.wires} was asked for, which "
                "PennyLane takes for a constant. Multiply the time of the evolution by it: qml.evolve(operator, x * t)."
            )


@lru_cache(maxsize=64)
def _careful(method: Transform) -> Transform:
    """A method that leaves exponentials as they are where nothing is differentiated, see :func:`with_factors`."""
    expand: Callable[..., Any] | None = method.expand_transform
    if expand is None:
        return method

    def expand_with_factors(tape: QuantumScript, *args: Any, **options: Any) -> Any:
        if not _AROUND_EVOLUTIONS.isdisjoint(map(type, tape.operations)):
            _check_operators(tape)
        return expand(with_factors(tape), *args, **options)

    careful = transform(
        method.tape_transform,
        expand_transform=expand_with_factors,
        classical_cotransform=method.classical_cotransform,
        final_transform=method.is_final_transform,
    )
    _twins.add(careful)
    return careful


@lru_cache(maxsize=64)
def _twin(method: Transform, refusing: bool, jax: bool, once: bool, again: bool, ordered: bool) -> Transform:
    expand: Callable[..., Any] | None = method.expand_transform

    def expand_batches(tape: QuantumScript, *args: Any, **options: Any) -> Any:
        """What the method does first, and then a circuit for each row of those that it would refuse."""
        given = tape = with_factors(tape)
        if method in _BY_RULES:
            tape = with_shift_rules(tape)
        elif refusing and (timed := with_times(tape)) is not tape:
            tape = timed.copy(
                trainable_params=qml.math.get_trainable_indices(timed.get_parameters(trainable_only=False))
            )
        tapes, expanded = expand(tape, *args, **options) if expand is not None else ((tape,), only)
        if ordered and not all(one.wires for one in given.measurements):
            wires = wires_in_order(given)
            if any(wires_in_order(one) != wires for one in tapes):  # and with it the order of what is measured
                (given,), _ = validate_device_wires(given, wires=wires)
                return expand_batches(given, *args, **options)

        if not jax:
            check_complex(tape)
        for one in tapes if once or again else ():
            check_matrices(one)
            if again:
                check_several_results(one, method is qml.gradients.hadamard_grad)

        def postprocess(results: Any) -> Any:
            return differentiable_once(expanded(results)) if once else expanded(results)

        if not refusing or not any(map(is_broadcasted, tapes)):
            return tapes, postprocess
        parts = [rows_of(one) if _is_refused(one, jax) else ((one,), only) for one in tapes]

        def join(results: Any) -> Any:
            remaining = iter(results)
            return postprocess([post([next(remaining) for _ in some]) for some, post in parts])

        return [row for some, _ in parts for row in some], join

    twin = transform(
        method.tape_transform,
        expand_transform=expand_batches,
        classical_cotransform=method.classical_cotransform,
        final_transform=method.is_final_transform,
    )
    # Only before the border to the interface are rows circuits of their own: a gradient of one circuit stays one.
    twin.register(QuantumScript, _explained(method, ordered))
    return twin


def _explained(method: Transform, wires_follow: bool) -> Callable[..., Any]:
    """A method, for one circuit, that says what it cannot differentiate where it would fail, or be wrong.

    What PennyLane's Hadamard test takes for something else is differentiated by shifts, which are as exact.
    """
    linear = method in _BY_RULES

    def gradient(tape: QuantumScript, *args: Any, **options: Any) -> Any:
        if linear and any(isinstance(one, PurityMP) for one in tape.measurements):
            raise QuantumFunctionError(
                "a purity is no expectation value, and neither parameter shifts nor Hadamard tests differentiate it "
                "(PennyLane returns another number). Use diff_method='finite-diff'; or 'backprop', on an executor that "
                "offers it."
            )
        if linear and _selects_by_what_is_trained(tape):
            raise QuantumFunctionError(
                "the probability of what is postselected depends on a trainable parameter, and neither parameter "
                "shifts nor Hadamard tests differentiate what is left (PennyLane returns another number). Use "
                "diff_method='finite-diff'; or 'backprop', on an executor that offers it."
            )
        if method is qml.gradients.hadamard_grad and _is_not_tested(tape, wires_follow):
            return by_shifts(tape, argnum=options.get("argnum"))
        return (by_shifts if method is qml.gradients.param_shift else method)(tape, *args, **options)

    return gradient


checked_shifts = _explained(qml.gradients.param_shift, False)
"""What PennyLane's parameter shifts make of one circuit; it refuses those of which they would be wrong."""


def _is_not_tested(tape: QuantumScript, wires_follow: bool) -> bool:
    """Whether PennyLane's Hadamard test is wrong, or fails, for a circuit.

    It takes the outcome of a mid-circuit measurement for the Z of its wire at the end, and all wires of a device for
    those of the circuit; and it knows no generator of a conditional operation.
    """
    if any(isinstance(tape.par_info[index]["op"], Conditional) for index in tape.trainable_params):
        return True
    return any(one.mv is not None or (not wires_follow and measures_everything(one)) for one in tape.measurements)


def _selects_by_what_is_trained(tape: QuantumScript) -> bool:
    """Whether an operation with a trainable parameter may change how probable it is that a shot is left.

    What is left is then a quotient of two expectation values, and no sinusoid.
    """
    trained = {tape.par_info[index]["op_idx"] for index in tape.trainable_params}
    reached: set[Any] = set()
    for index in reversed(range(len(tape.operations))):
        operation = tape.operations[index]
        if isinstance(operation, MidMeasure) and operation.postselect is not None:
            reached.update(operation.wires)
        elif not reached.isdisjoint(operation.wires):
            if index in trained:
                return True
            reached.update(operation.wires)
            if isinstance(operation, Conditional):
                reached.update(*(one.wires for one in operation.meas_val.measurements))
    return False


def _is_refused(tape: QuantumScript, jax: bool) -> bool:
    """Whether an operation with a trainable parameter is broadcasted."""
    if not is_broadcasted(tape):
        return False
    trainable: Sequence[int] = tape.trainable_params
    if jax:  # PennyLane looks for what JAX differentiates later, and takes all that jax.jit traces for it. To trace
        # the rows of what is not differentiated would take many times as long as running them.
        values = tape.get_parameters(trainable_only=False)
        trainable = [index for index, value in enumerate(values) if type(value).__module__.endswith("interpreters.ad")]
    return any(tape.par_info[index]["op"].batch_size is not None for index in trainable)
