"""Circuits that differ only in their parameters, as one template and a matrix of parameters.

The circuits of a gradient have the same operations on the same wires and the same measurements. What prepares,
converts, transpiles or compiles circuits can do so once for each *structure*, and then run the matrix.

Only numbers become parameters: arrays (unitaries, states), settings and observables are part of the structure, by
their content. A circuit with something that has no content to compare, such as a function, stays by itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pennylane.operation import _UNSET_BATCH_SIZE, Operator
from pennylane.ops.functions import bind_new_parameters
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.grouping import Group


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What circuits of one structure share.

    Attributes:
        circuit: one of the circuits, which stands for all.
        slots: the operations that have parameters, by their index. The numbers in their data, one after the other,
            are the ``P`` parameters.
        key: equal for equal structures, whatever call they come from; ``None`` if the circuit cannot be compared.
    """

    circuit: QuantumScript
    slots: tuple[int, ...]
    key: Hashable

    def operations(self, parameters: Sequence[Any]) -> list[Operator]:
        """The operations with other parameters.

        Args:
            parameters: ``P`` numbers, or what stands for numbers: tracers, symbols.
        """
        remaining = iter(parameters)
        operations = list(self.circuit.operations)
        with QueuingManager.stop_recording():
            for index in self.slots:
                data = [next(remaining) for _ in operations[index].data]
                operations[index] = bind_new_parameters(operations[index], data)
                # What PennyLane copies remembers whether the original was broadcasted.
                vars(operations[index]).update(_batch_size=_UNSET_BATCH_SIZE, _ndim_params=_UNSET_BATCH_SIZE)
        return operations

    def bind(self, parameters: Sequence[Any]) -> QuantumScript:
        """The circuit with other parameters; see :meth:`operations`."""
        return QuantumScript(self.operations(parameters), self.circuit.measurements, shots=self.circuit.shots)


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Circuits of one structure.

    Attributes:
        template: the structure.
        parameters: an array ``(R, P)``: the parameters of ``R`` circuits.
        indices: which circuits of the batch these are, one for each row.
    """

    template: Template
    parameters: np.ndarray
    indices: tuple[int, ...]


def fuse(circuits: Sequence[QuantumScript]) -> list[Fused]:
    """Group circuits by structure: operations, wires, measurements, shots, and everything that is no plain number.

    Args:
        circuits: the circuits of a batch. Those with mid-circuit measurements, or with parameters that are being
            differentiated or traced, stay by themselves.

    Returns:
        The groups, in the order in which they first occur. Every circuit is in one of them.
    """
    alike: dict[tuple[type, ...], list[Group]] = {}
    groups: list[Group] = []
    index = 0
    while index < len(circuits):
        circuit = circuits[index]
        known = alike.setdefault(tuple(map(type, circuit.operations)), [])
        group = next((group for group in known if group.add(index, circuit)), None)
        if group is None:
            group = Group(index, circuit)
            groups.append(group)
            known.append(group)
        index = group.add_variations(circuits, index + 1)
    return [fused for group in groups for fused in _fused(group, circuits)]


def _fused(group: Group, circuits: Sequence[QuantumScript]) -> list[Fused]:
    """A group; or each of its circuits by itself, if what should be numbers is none."""
    matrix = group.matrix()
    if group.key is not None and matrix is not None:
        return [Fused(Template(group.circuit, group.slots, group.key), matrix, tuple(group.indices))]
    return [Fused(Template(circuits[index], (), None), np.empty((1, 0)), (index,)) for index in group.indices]


def unfused(results: Iterable[tuple[Fused, Sequence[Any]]], number: int) -> list[Any]:
    """The results of groups, in the order of the circuits.

    Args:
        results: for each group, a result for each of its rows.
        number: how many circuits there were.
    """
    ordered: list[Any] = [None] * number
    for group, rows in results:
        for index, row in zip(group.indices, rows, strict=True):
            ordered[index] = row
    return ordered


class Likeness:
    """Tells which circuits have the structure of a given one.

    Args:
        circuit: the given one.

    Attributes:
        plain: whether its operations are gates that consist of wires and numbers.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self._kinds = tuple(map(type, circuit.operations))
        self._group = Group(0, circuit)
        self.plain = not self._group.others

    def __call__(self, circuit: QuantumScript) -> bool:
        alike = tuple(map(type, circuit.operations)) == self._kinds and self._group.matches(circuit)
        if alike:
            # The next circuit will be of the same batch, and share gates and observables with this one.
            self._group.circuit = circuit
        return alike
