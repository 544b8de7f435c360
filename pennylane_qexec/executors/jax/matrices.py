"""The matrices of a structure's operations, for all rows, and what of them is always zero or one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.operation import Operator, StatePrepBase
from pennylane.ops.functions import bind_new_parameters

_MOST_WIRES = 4
"""The most wires of an operation that is applied as a matrix here; larger ones are left to PennyLane."""

_PLAIN = frozenset(
    {qml.Identity, qml.X, qml.Y, qml.Z, qml.H, qml.S, qml.T, qml.SX, qml.RX, qml.RY, qml.RZ, qml.PhaseShift, qml.Rot}
    | {qml.U1, qml.U2, qml.U3, qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.IsingXY, qml.SingleExcitation}
    | {qml.CRX, qml.CRY, qml.CRZ, qml.CRot, qml.ControlledPhaseShift, qml.DoubleExcitation}
)
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
        for number, matrix in zip(numbers, _alike(_Product(chosen, varying), places, parameters), strict=True):
            made[number] = matrix
    return made


class _Product:
    """The product of the matrices of operations, as a function of their parameters."""

    def __init__(self, operations: Sequence[Operator], varying: Sequence[bool]) -> None:
        self._operations = list(zip(operations, varying, strict=True))

    def __call__(self, numbers: Sequence[Any]) -> Any:
        remaining = iter(numbers)
        product = None
        for operation, varies in self._operations:
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
