"""How circuits of one structure are simulated with JAX: all rows at once, in functions that JAX can compile.

The matrices are PennyLane's own, as on ``default.qubit``. What is added makes the compiled functions fast: entries that
are always zero or one are known beforehand; rows are the last axis of every array, so that they are neighbours in
memory; operations on one wire become one matrix, alike ones in one go; wires that have not met are kept apart; and
operations that only move amplitudes are joined and done at once.

Amplitudes are arrays ``(2**k, R)`` for ``k`` wires, the first being the highest bit, and ``R`` rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.devices.qubit import apply_operation
from pennylane.operation import Operator, StatePrepBase
from pennylane.ops.functions import bind_new_parameters

from pennylane_qexec.circuits.structure import BARE, CONTROLLED

# Matrices

_MOST_WIRES = 4
"""The most wires of an operation that is applied as a matrix here; larger ones are left to PennyLane."""

_PLAIN = BARE | CONTROLLED
"""Kinds of operations whose matrix is a function of their numbers, and of nothing else."""

_TRIALS = 3


class Step(NamedTuple):
    """Operations that are applied as one.

    Attributes:
        wires: what they act on.
        operations: which they are, by index.
    """

    wires: tuple[int, ...]
    operations: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The matrix of a step.

    Attributes:
        values: an array ``(D, D)`` that is the same in all rows, or ``(D, D, R)``.
        zeros: which entries are zero whatever the parameters, ``(D, D)``.
        ones: which entries are one whatever the parameters, ``(D, D)``.
    """

    values: Any
    zeros: np.ndarray
    ones: np.ndarray

    @property
    def varies(self) -> bool:
        """Whether rows have different values."""
        return bool(self.values.ndim == 3)

    @property
    def moves(self) -> bool:
        """Whether it only changes the places of amplitudes."""
        return bool((self.zeros | self.ones).all())

    def row_times(self, row: int, parts: Sequence[Any]) -> Any:
        """One row of the matrix times a vector of ``D`` arrays."""
        total = None
        for column in np.flatnonzero(~self.zeros[row]).tolist():
            one = self.ones[row, column]
            term = parts[column] if one else self.values[row, column] * parts[column]
            total = term if total is None else total + term
        return jnp.zeros_like(parts[0]) if total is None else total


def steps_of(operations: Sequence[Operator]) -> list[Step]:
    """Group operations: those on one wire, with nothing between them on that wire, become one step."""
    steps: list[Step] = []
    waiting: dict[int, list[int]] = {}

    def flush(wires: Sequence[int]) -> None:
        steps.extend([Step((wire,), tuple(waiting.pop(wire))) for wire in wires if wire in waiting])

    for index, operation in enumerate(operations):
        wires = tuple(operation.wires)
        if len(wires) == 1 and _is_matrix(operation):
            waiting.setdefault(wires[0], []).append(index)
        else:
            flush(wires if _is_matrix(operation) else list(waiting))
            steps.append(Step(wires, (index,)))
    flush(list(waiting))
    return steps


def matrices_of(
    steps: Sequence[Step], operations: Sequence[Operator], columns: Sequence[slice | None], parameters: Any
) -> list[Matrix | None]:
    """The matrices of steps, for all rows.

    Args:
        steps: the steps.
        operations: the operations.
        columns: for each operation, the columns of its parameters, or ``None``.
        parameters: an array ``(R, P)``.

    Returns:
        For each step its matrix; ``None`` for one that is no matrix on few wires.
    """
    made: list[Matrix | None] = [None] * len(steps)
    alike: dict[Hashable, list[int]] = {}
    for number, step in enumerate(steps):
        if _is_matrix(operations[step.operations[0]]):
            alike.setdefault(_recipe(number, step, operations, columns), []).append(number)
    for numbers in alike.values():
        chosen = [operations[index] for index in steps[numbers[0]].operations]
        varying = [columns[index] is not None for index in steps[numbers[0]].operations]
        places = [_places(steps[number], columns) for number in numbers]
        for number, matrix in zip(numbers, _alike(partial(_product, chosen, varying), places, parameters), strict=True):
            made[number] = matrix
    return made


def _product(operations: Sequence[Operator], varying: Sequence[bool], numbers: Sequence[Any]) -> Any:
    """The product of the matrices of operations, some of which have other numbers than their own."""
    remaining = iter(numbers)
    product = None
    for operation, varies in zip(operations, varying, strict=True):
        if varies:
            operation = bind_new_parameters(operation, [next(remaining) for _ in operation.data])
        matrix = operation.matrix()
        # Written out, since JAX would call a routine for large matrices many times.
        product = matrix if product is None else (matrix[:, :, None] * product[None]).sum(1)
    return product


def _alike(product: Callable[[Any], Any], places: list[list[int]], parameters: Any) -> list[Matrix]:
    """The matrices of steps whose product is the same function of different columns of the parameters."""
    rng = np.random.default_rng(0)
    trials = np.array([np.asarray(product(rng.uniform(0.1, 3, len(places[0]))), complex) for _ in range(_TRIALS)])
    zeros, ones = (trials == 0).all(axis=0), (trials == 1).all(axis=0)
    if not places[0]:
        return [Matrix(trials[0], zeros, ones) for _ in places]
    over_rows = jax.vmap(lambda row: jnp.asarray(product(list(row)), complex), out_axes=-1)
    values = jax.vmap(over_rows, in_axes=1, out_axes=-2)(parameters[:, np.array(places)])
    return [Matrix(values[..., number, :], zeros, ones) for number in range(len(places))]


def _is_matrix(operation: Operator) -> bool:
    few = 0 < len(operation.wires) <= _MOST_WIRES
    return few and bool(operation.has_matrix) and not isinstance(operation, StatePrepBase)


def _recipe(number: int, step: Step, operations: Sequence[Operator], columns: Sequence[slice | None]) -> Hashable:
    """Equal for steps with the same product; the step's own number if that is not known."""
    kinds = tuple([type(operations[index]) for index in step.operations])
    plain = _PLAIN.issuperset(kinds)
    fixed = any(columns[index] is None and operations[index].data for index in step.operations)
    return kinds if plain and not fixed else number


def _places(step: Step, columns: Sequence[slice | None]) -> list[int]:
    slices = [columns[index] for index in step.operations]
    return [place for one in slices if one is not None for place in range(one.start, one.stop)]


# States


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """The state of wires that have met.

    Attributes:
        wires: the ``k`` wires.
        amplitudes: an array ``(2**k, R)``.
        source: where each amplitude of the state is found in the array; ``None`` if in its own place.
    """

    wires: tuple[int, ...]
    amplitudes: Any
    source: np.ndarray | None = None

    @property
    def values(self) -> Any:
        """The amplitudes of the state, ``(2**k, R)``."""
        return self.amplitudes if self.source is None else self.amplitudes[self.source]

    def __mul__(self, other: Factor) -> Factor:
        product = self.values[:, None] * other.values[None]
        return Factor(self.wires + other.wires, product.reshape(-1, product.shape[-1]))


class Register:
    """The state of ``R`` rows, as a product of factors.

    Args:
        rows: an array ``(R,)`` of ones, which JAX does not know to be ones: a state that depends on nothing would be
            computed while compiling, slowly.
        factors: the factors that there are, by wire. Other wires are in their first state.
    """

    def __init__(self, rows: Any, factors: dict[int, Factor] | None = None) -> None:
        self._rows = rows
        self._factors = dict(factors or {})

    def copy(self) -> Register:
        """A register that goes on from here by itself."""
        return Register(self._rows, self._factors)

    def run(self, operations: Sequence[Operator], columns: Sequence[slice | None], parameters: Any) -> None:
        """Apply operations.

        Args:
            operations: the operations, on wires numbered from 0.
            columns: for each, the columns of its parameters; ``None`` if its own numbers are those of all rows.
            parameters: an array ``(R, P)``.
        """
        steps = steps_of(operations)
        matrices = matrices_of(steps, operations, columns, parameters)
        for step, matrix in zip(steps, matrices, strict=True):
            if matrix is not None:
                self._multiply(step, matrix)
            else:
                (index,) = step.operations
                place = columns[index]
                self._apply(operations[index], parameters[:, :0] if place is None else parameters[:, place])

    def joined(self, wires: Sequence[int]) -> Factor:
        """The factor that has these wires, and perhaps others that met them."""
        found = list(dict.fromkeys([self._factor(wire) for wire in wires]))
        factor = found[0]
        for other in found[1:]:
            factor = factor * other
        self._set(factor)
        return factor

    def probabilities(self, wires: Sequence[int]) -> Any:
        """The probabilities of the outcomes of some wires, an array ``(R, 2**M)``."""
        factor = self.joined(wires)
        amplitudes = factor.values
        shape = (2,) * len(factor.wires) + amplitudes.shape[-1:]
        probabilities = (amplitudes.real**2 + amplitudes.imag**2).reshape(shape)
        kept = [wire for wire in factor.wires if wire in wires]
        others = tuple(axis for axis, wire in enumerate(factor.wires) if wire not in wires)
        order = [len(kept), *[kept.index(wire) for wire in wires]]
        found = probabilities.sum(others).transpose(order).reshape(shape[-1], -1)
        # In floating point they add up to a little more or less than one, which samplers do not take.
        return found / found.sum(axis=1, keepdims=True)

    def state(self, wires: int) -> Any:
        """The state of this many wires, all of them, an array ``(2, ..., 2, R)``."""
        if not wires:
            return self._rows.astype(complex)
        factor = self.joined(range(wires))
        amplitudes = factor.values.reshape((2,) * wires + (-1,))
        return amplitudes.transpose([*[factor.wires.index(wire) for wire in range(wires)], wires])

    def _factor(self, wire: int) -> Factor:
        if wire not in self._factors:
            self._factors[wire] = Factor((wire,), jnp.stack([self._rows + 0j, 0j * self._rows]))
        return self._factors[wire]

    def _set(self, factor: Factor) -> None:
        self._factors.update(dict.fromkeys(factor.wires, factor))

    def _multiply(self, step: Step, matrix: Matrix) -> None:
        if not any(wire in self._factors for wire in step.wires):
            first = matrix.values[:, 0] if matrix.varies else matrix.values[:, 0, None]
            self._set(Factor(step.wires, first * self._rows))
            return
        factor = self.joined(step.wires)
        self._set(_moved(factor, step, matrix) if matrix.moves else _multiplied(factor, step, matrix))

    def _apply(self, operation: Operator, numbers: Any) -> None:
        """Apply an operation that is no small matrix the way ``default.qubit`` does, or prepare its state."""
        if isinstance(operation, StatePrepBase):
            vector = np.asarray(operation.state_vector()).reshape(-1, 1)
            self._set(Factor(tuple(operation.wires), vector.astype(complex) * self._rows))
            return
        wires = tuple(sorted({*self._factors, *operation.wires})) or (0,)
        factor = self.joined(wires)
        operation = operation.map_wires({wire: factor.wires.index(wire) for wire in operation.wires})

        def of_row(state: Any, row: Any) -> Any:
            return apply_operation(bind_new_parameters(operation, list(row)) if row.size else operation, state)

        state = factor.values.reshape((2,) * len(wires) + (-1,))
        applied = jax.vmap(of_row, in_axes=(-1, 0), out_axes=-1)(state, numbers)
        self._set(Factor(factor.wires, applied.reshape(2 ** len(wires), -1)))


def _moved(factor: Factor, step: Step, matrix: Matrix) -> Factor:
    """Amplitudes change places: notes from where each comes."""
    wires = len(factor.wires)
    places = np.arange(2**wires)
    shifts = [wires - 1 - factor.wires.index(wire) for wire in step.wires]
    outcomes = sum(((places >> shift) & 1) << (len(shifts) - 1 - bit) for bit, shift in enumerate(shifts))
    origins = np.argmax(matrix.ones, axis=1)[outcomes]
    source = places.copy()
    for bit, shift in enumerate(shifts):
        source = source & ~(1 << shift) | ((origins >> (len(shifts) - 1 - bit)) & 1) << shift
    return Factor(factor.wires, factor.amplitudes, source if factor.source is None else factor.source[source])


def _multiplied(factor: Factor, step: Step, matrix: Matrix) -> Factor:
    """Amplitudes times a matrix, of which only what is not zero is computed."""
    if len(step.wires) == 1 and not matrix.zeros.any():
        return _turned(factor, step.wires[0], matrix)
    places = [factor.wires.index(wire) for wire in step.wires]
    values, axes = _split(factor.values, len(factor.wires), places)
    parts = []
    for outcome in np.ndindex(*(2,) * len(places)):
        index: list[Any] = [slice(None)] * values.ndim
        for axis, bit in zip(axes, outcome, strict=True):
            index[axis] = bit
        parts.append(values[tuple(index)])
    made = [matrix.row_times(row, parts) for row in range(len(parts))]
    joined = np.empty((2,) * len(places), dtype=object)
    for number, outcome in enumerate(np.ndindex(joined.shape)):
        joined[outcome] = made[number]
    amplitudes = _stacked(joined.transpose(np.argsort(places)), 1)
    return Factor(factor.wires, amplitudes.reshape(factor.amplitudes.shape))


def _turned(factor: Factor, wire: int, matrix: Matrix) -> Factor:
    """Amplitudes times a matrix on one wire without zeros: the same in less code, which takes less time to compile."""
    values, _ = _split(factor.values, len(factor.wires), [factor.wires.index(wire)])
    first, second = matrix.values.swapaxes(0, 1)[:, None, :, None]
    if not matrix.varies:
        first, second = first[..., None], second[..., None]
    amplitudes = first * values[:, :1] + second * values[:, 1:]
    return Factor(factor.wires, amplitudes.reshape(factor.amplitudes.shape))


def _split(amplitudes: Any, wires: int, places: Sequence[int]) -> tuple[Any, list[int]]:
    """Amplitudes with an axis of its own for each of some wires, and these axes."""
    shape, axes, last = [], {}, -1
    for place in sorted(places):
        shape += [2 ** (place - last - 1), 2]
        axes[place] = len(shape) - 1
        last = place
    shape += [2 ** (wires - last - 1), amplitudes.shape[-1]]
    return amplitudes.reshape(shape), [axes[place] for place in places]


def _stacked(parts: Any, axis: int) -> Any:
    """Put parts together again along the axes that :func:`_split` made."""
    if parts.ndim == 0:
        return parts.item()
    return jnp.stack([_stacked(parts[0, ...], axis + 1), _stacked(parts[1, ...], axis + 1)], axis=axis)
