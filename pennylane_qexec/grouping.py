"""Circuits of one structure, found among others by comparing as little as possible."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from itertools import chain, compress, count
from operator import attrgetter, eq, is_, is_not, itemgetter
from typing import Any

import numpy as np
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from pennylane_qexec.structure import REAL, Part, control_labels, labels, measured_by, part_of, wire_labels

_data = attrgetter("data")

_FEW = 4
"""The most gates in which a circuit may differ from another to count as a variation of it."""


class Group:
    """Circuits that look alike; each is compared with the first, by identity of its parts where that will do.

    Args:
        index: of the first circuit in its batch.
        circuit: the first circuit.

    Attributes:
        circuit: the circuit that others are compared with.
        indices: of the circuits of the group.
        slots: the operations that have parameters.
        others: operations that are more than wires and numbers, with their places and parts.
    """

    def __init__(self, index: int, circuit: QuantumScript) -> None:
        self.circuit = circuit
        operations = circuit.operations
        parts = [part_of(operation) for operation in operations]
        self._bare = _picker([place for place, part in enumerate(parts) if part.kind == "bare"])
        self._controlled = _picker([place for place, part in enumerate(parts) if part.kind == "controlled"])
        self._wires = [*map(labels, self._bare(operations)), *_all_labels(self._controlled(operations))]
        self.others = [(place, operations[place], part) for place, part in enumerate(parts) if not part.kind]
        self.slots = tuple([place for place, part in enumerate(parts) if part.numbers])
        self._with_numbers = _picker(self.slots)
        self._first = operations
        self._gates = _gates(operations, parts, self.slots)
        self.indices = [index]
        self._rows = [self._row(circuit)]

    def add(self, index: int, circuit: QuantumScript) -> bool:
        """Take a circuit with operations of the same kinds in, if it has the structure of the others."""
        if not self.matches(circuit):
            return False
        self.indices.append(index)
        self._rows.append(self._row(circuit))
        return True

    def add_variations(self, circuits: Sequence[QuantumScript], start: int) -> int:
        """Take circuits in that are the first one but for the numbers of a few gates, as those of a gradient are.

        Returns:
            The index of the first circuit from ``start`` on that is none.
        """
        first, shots, measured, row = self._first, self.circuit.shots, self.circuit.measurements, self._rows[0]
        for index in range(start, len(circuits)):
            circuit = circuits[index]
            operations = circuit.operations
            if len(operations) != len(first) or not (circuit.shots is shots or circuit.shots == shots):
                return index
            changed = [*compress(count(), map(is_not, operations, first))]
            if len(changed) > _FEW or not _identical(circuit.measurements, measured):
                return index
            varied = self._varied(row, operations, changed)
            if varied is None:
                return index
            self.indices.append(index)
            self._rows.append(varied)
        return len(circuits)

    def _varied(self, row: list[Any], operations: Sequence[Operator], changed: Sequence[int]) -> list[Any] | None:
        """A row with the numbers of changed gates in their places; ``None`` if more than numbers has changed."""
        row = row.copy()
        for place in changed:
            operation, (kind, wires, start) = operations[place], self._gates[place]
            if type(operation) is not kind or wire_labels(operation) != wires:
                return None
            row[start : start + len(operation.data)] = operation.data
        return row

    def matrix(self) -> np.ndarray | None:
        """The parameters of the circuits, ``(R, P)``; ``None`` if some are no numbers."""
        return _matrix(self._rows)

    @cached_property
    def key(self) -> Hashable:
        """What equal structures have in common; ``None`` if the circuits cannot be compared with others."""
        structures = tuple([part.structure for _, _, part in self.others])
        if self._measured is None or None in structures:
            return None
        kinds = tuple(map(type, self.circuit.operations))
        return kinds, self.slots, tuple(self._wires), structures, self._measured, self.circuit.shots

    @cached_property
    def _measured(self) -> Hashable:
        return measured_by(self.circuit)

    def matches(self, circuit: QuantumScript) -> bool:
        operations = circuit.operations
        if circuit.shots is not self.circuit.shots and circuit.shots != self.circuit.shots:
            return False
        if not self._same_wires(operations):
            return False
        for place, mine, part in self.others:
            if operations[place] is not mine and (part.structure is None or part_of(operations[place]) != part):
                return False
        if _identical(circuit.measurements, self.circuit.measurements):
            return True
        return self._measured is not None and measured_by(circuit) == self._measured

    def _same_wires(self, operations: Sequence[Operator]) -> bool:
        bare, controlled = self._bare(operations), self._controlled(operations)
        if not all(map(eq, map(labels, bare), self._wires)):
            return False
        mine = self._controlled(self.circuit.operations)
        return all(map(is_, controlled, mine)) or _all_labels(controlled) == self._wires[len(bare) :]

    def _row(self, circuit: QuantumScript) -> list[Any]:
        return list(chain.from_iterable(map(_data, self._with_numbers(circuit.operations))))


def _gates(operations: Sequence[Operator], parts: Sequence[Part], slots: Sequence[int]) -> list[tuple[Any, Any, int]]:
    """For each operation its kind, its wires, and the column of its first number; of no kind if it has none."""
    gates: list[tuple[Any, Any, int]] = [(None, (), 0)] * len(operations)
    start = 0
    for place in slots:
        if parts[place].kind:
            gates[place] = type(operations[place]), wire_labels(operations[place]), start
        start += len(operations[place].data)
    return gates


def _identical(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _picker(places: Sequence[int]) -> Callable[[Sequence[Operator]], Sequence[Operator]]:
    """What takes the operations at these places out of those of a circuit."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda operations: [operations[place] for place in places]


def _all_labels(controlled: Sequence[Operator]) -> list[Any]:
    return [*map(labels, controlled), *map(control_labels, controlled)]


def _matrix(rows: list[list[Any]]) -> np.ndarray | None:
    """Parameters as an array ``(R, P)``; ``None`` if some are no numbers."""
    try:
        matrix = np.array(rows)
    except (TypeError, ValueError, RuntimeError):
        return None
    return matrix.astype(np.float64, copy=False) if matrix.ndim == 2 and matrix.dtype.kind in REAL else None
