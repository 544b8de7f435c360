"""Circuits that leave JAX by a callback: all points of ``jax.vmap``, and all their shifted circuits, in one call.

PennyLane's own callbacks are called once for each point of a batch when a derivative is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.structure import is_broadcasted
from pennylane_qexec.job import Result


def can_call_back(tape: QuantumScript) -> bool:
    """Whether :func:`called_back` can call a circuit: one circuit, of plain numbers, without a shot vector."""
    if tape.shots.has_partitioned_shots or not tape.measurements or is_broadcasted(tape):
        return False
    return not any(map(np.ndim, tape.get_parameters(trainable_only=False)))


def called_back(tape: QuantumScript, device: Any, config: ExecutionConfig) -> Result:
    """The result of a circuit whose numbers JAX traces, which JAX can differentiate once.

    Args:
        tape: a circuit of gates that have shifts.
        device: the device, whose derivatives are by parameter shifts.
        config: the configuration of the call.
    """
    import jax
    from jax.custom_derivatives import SymbolicZero
    from pennylane.workflow.interfaces.jax_jit import _result_shape_dtype_struct

    shape = _result_shape_dtype_struct(tape, device)
    given = tape.get_parameters(trainable_only=False)
    places = [place for place, number in enumerate(given) if isinstance(number, jax.core.Tracer)]

    def bound(values: Sequence[Any], trainable: Sequence[int]) -> tuple[list[QuantumScript], tuple[int, ...]]:
        """A circuit for each point, and the axes of the batch."""
        arrays = np.broadcast_arrays(*map(np.asarray, values))
        circuits = []
        for numbers in zip(*(array.ravel().tolist() for array in arrays), strict=True):
            circuit = tape.bind_new_parameters(numbers, places)
            circuit.trainable_params = [places[index] for index in trainable]
            circuits.append(circuit)
        return circuits, arrays[0].shape

    def values_of(*values: Any) -> Any:
        circuits, axes = bound(values, ())
        return _stacked(device.execute(circuits, config), axes, shape)

    @jax.custom_jvp
    def call(*values: Any) -> Any:
        return jax.pure_callback(values_of, shape, *values, vmap_method="broadcast_all")

    def with_derivative(values: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        trained = [index for index, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
        if not trained:
            return (result := call(*values)), jax.tree.map(jax.numpy.zeros_like, result)
        shapes = (shape, (shape,) * len(trained))

        def both(*values: Any) -> Any:
            circuits, axes = bound(values, trained)
            found = device.execute_and_compute_derivatives(circuits, config)
            jacobians = [_by_parameter(one, len(trained), len(tape.measurements)) for one in found[1]]
            return _stacked(list(zip(found[0], jacobians, strict=True)), axes, shapes)

        result, jacobian = jax.pure_callback(both, shapes, *values, vmap_method="broadcast_all")
        moved = [
            jax.tree.map(partial(jax.numpy.multiply, tangents[index]), part)
            for index, part in zip(trained, jacobian, strict=True)
        ]
        return result, jax.tree.map(lambda *parts: sum(parts), *moved)

    call.defjvp(with_derivative, symbolic_zeros=True)
    return call(*map(given.__getitem__, places))


def _by_parameter(jacobian: Any, parameters: int, measurements: int) -> tuple[Any, ...]:
    """A derivative by parameter first, where PennyLane has it by measurement first, and no tuples of one."""
    parts = jacobian if measurements > 1 else (jacobian,)
    by_parameter = list(zip(*(part if parameters > 1 else (part,) for part in parts), strict=True))
    return tuple([one if measurements > 1 else one[0] for one in by_parameter])


def _stacked(results: Sequence[Any], axes: tuple[int, ...], shape: Any) -> Any:
    """What a callback returns for all points of a batch.

    Args:
        results: of each point.
        axes: of the batch; none if it is a single point.
        shape: of one result, in its structure.
    """
    if isinstance(shape, tuple):
        return tuple([_stacked([result[index] for result in results], axes, one) for index, one in enumerate(shape)])
    assert len(results) == prod(axes)
    return np.array(results, dtype=shape.dtype).reshape(axes + shape.shape)
