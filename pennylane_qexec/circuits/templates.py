"""Circuits that differ only in their parameters, as one template and a matrix of parameters.

The circuits of a gradient have the same operations on the same wires and the same measurements. What prepares,
converts, transpiles or compiles circuits can do so once for each *structure*, and then run the matrix. Circuits of one
structure are found among others by comparing as little as possible.

Only numbers become parameters: arrays (unitaries, states), settings and observables are part of the structure, by
their content. A circuit with something that has no content to compare, such as a function, stays by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress, count
from operator import attrgetter, eq, is_, is_not, itemgetter
from typing import Any

import numpy as np
from pennylane.operation import Operator
from pennylane.ops.op_math import CompositeOp, SymbolicOp
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.parameters import with_own_arrays
from pennylane_qexec.circuits.structure import (
    CONTROLLED,
    REAL,
    StructurePart,
    control_labels,
    labels,
    measured_by,
    part_of,
    structure_of,
    wire_labels,
)
from pennylane_qexec.job import Sweep, bound_template

_data = attrgetter("data")

_FEW = 4
"""The most gates in which a circuit may differ from another to count as a variation of it."""

_COMPARED = 4
"""With how many groups of equal kinds of gates a circuit is compared; others are found by their keys. Were circuits
with arrays of their own compared with all others, a thousand of them would take seconds."""


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
        operations = self._first = circuit.operations
        self._structure: Any = structure_of(circuit)
        self._parts: list[StructurePart] = []
        if self._structure is None:
            self._parts = [part_of(operation) for operation in operations]
        self.others = [(place, operations[place], part) for place, part in enumerate(self._parts) if not part.kind]
        has_numbers = [part.numbers for part in self._parts] if self._parts else map(_data, operations)
        self.slots = tuple(compress(count(), has_numbers))
        self._with_numbers = _picker(self.slots)
        self.indices = [index]
        self._rows = [self._row(circuit)]

    def add(self, index: int, circuit: QuantumScript) -> bool:
        """Take a circuit with operations of the same kinds in, if it has the structure of the others."""
        if not self.matches(circuit):
            return False
        self.take(index, circuit)
        return True

    def take(self, index: int, circuit: QuantumScript) -> None:
        """Take a circuit of the same structure in."""
        self.indices.append(index)
        self._rows.append(self._row(circuit))

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
        try:
            matrix = np.array(self._rows)
        except (TypeError, ValueError, RuntimeError):
            return None
        return matrix.astype(np.float64, copy=False) if matrix.ndim == 2 and matrix.dtype.kind in REAL else None

    @cached_property
    def _kinds(self) -> list[str]:
        """Of which kind each operation is; see :class:`StructurePart`."""
        if self._parts:
            return [part.kind for part in self._parts]
        return ["controlled" if type(operation) in CONTROLLED else "bare" for operation in self._first]

    @cached_property
    def _bare(self) -> Callable[[Sequence[Operator]], Sequence[Operator]]:
        return _picker([place for place, kind in enumerate(self._kinds) if kind == "bare"])

    @cached_property
    def _controlled(self) -> Callable[[Sequence[Operator]], Sequence[Operator]]:
        return _picker([place for place, kind in enumerate(self._kinds) if kind == "controlled"])

    @cached_property
    def _wires(self) -> list[Any]:
        return [*map(labels, self._bare(self._first)), *_all_labels(self._controlled(self._first))]

    @cached_property
    def _gates(self) -> list[tuple[Any, Any, int]]:
        """For each operation its kind, its wires, and the column of its first number; of no kind if it has none."""
        gates: list[tuple[Any, Any, int]] = [(None, (), 0)] * len(self._first)
        start = 0
        for place in self.slots:
            operation = self._first[place]
            if self._kinds[place]:
                gates[place] = type(operation), wire_labels(operation), start
            start += len(operation.data)
        return gates

    @cached_property
    def key(self) -> tuple[Hashable, ...] | None:
        """What equal structures have in common, their shots last; ``None`` if they cannot be compared with others."""
        if self._structure is not None:
            return tuple(self._structure)
        structures = tuple([part.structure for _, _, part in self.others])
        if self._measured is None or None in structures:
            return None
        kinds = tuple(map(type, self.circuit.operations))
        return kinds, self.slots, tuple(self._wires), structures, self._measured, self.circuit.shots

    @cached_property
    def _measured(self) -> Hashable:
        return measured_by(self.circuit) if self._structure is None else self._structure[3]

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


def _identical(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _picker(places: Sequence[int]) -> Callable[[Sequence[Operator]], Sequence[Operator]]:
    """What takes the operations at these places out of those of a circuit."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda operations: [operations[place] for place in places]


def _all_labels(controlled: Sequence[Operator]) -> list[Any]:
    return [*map(labels, controlled), *map(control_labels, controlled)]


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
    key: tuple[Hashable, ...] | None

    @property
    def key_without_shots(self) -> Hashable:
        """The key, equal for all numbers of shots."""
        return self.key and self.key[:-1]

    def operations(self, parameters: Sequence[Any]) -> list[Operator]:
        """The operations with other parameters.

        Args:
            parameters: ``P`` numbers, or what stands for numbers: tracers, symbols.
        """
        return list(self.bind(parameters).operations)

    def bind(self, parameters: Sequence[Any]) -> QuantumScript:
        """The circuit with other parameters; see :meth:`operations`."""
        return bound_template(self.circuit, self.slots, parameters)

    def with_own_arrays(self) -> Template:
        """The template to keep with what is made of it: a program may write into its arrays later."""
        return replace(self, circuit=with_own_arrays(self.circuit))


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


def sweep_of_circuit(circuit: QuantumScript) -> Sweep | None:
    """A circuit as a sweep of one row; ``None`` if it stays by itself, see :func:`fuse`."""
    (group,) = fuse([circuit])
    template = group.template
    return None if template.key is None else Sweep(circuit, group.parameters, template.slots, template.key)


def fused(sweep: Sweep) -> Fused:
    """A sweep as a group of circuits."""
    return Fused(Template(sweep.template, sweep.slots, sweep.key), sweep.parameters, tuple(range(len(sweep))))


class SweepCircuits(Sequence[QuantumScript]):
    """The circuits of a sweep, each made when it is asked for.

    Args:
        sweep: the sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    def __len__(self) -> int:
        return len(self.sweep)

    def __getitem__(self, row: Any) -> Any:
        return self.sweep.part(row).circuits() if isinstance(row, slice) else self.sweep.circuit(row)

    def __iter__(self) -> Iterator[QuantumScript]:
        return iter(self.sweep.circuits())


def fuse(circuits: Sequence[QuantumScript]) -> list[Fused]:
    """Group circuits by structure: operations, wires, measurements, shots, and everything that is no plain number.

    Args:
        circuits: the circuits of a batch. Those with mid-circuit measurements, or with parameters that are being
            differentiated or traced, stay by themselves.

    Returns:
        The groups, in the order in which they first occur. Every circuit is in one of them.
    """
    if isinstance(circuits, SweepCircuits):
        return [fused(circuits.sweep)]
    alike: dict[tuple[type, ...], list[Group]] = {}
    groups: list[Group] = []
    by_key: dict[tuple[Hashable, ...] | None, Group] = {}
    index = 0
    while index < len(circuits):
        circuit = circuits[index]
        known = alike.setdefault(tuple(map(type, circuit.operations)), [])
        group = next((group for group in known[-_COMPARED:] if group.add(index, circuit)), None)
        if group is None:
            new = Group(index, circuit)
            group = by_key.get(new.key) if len(known) > _COMPARED else None
            if group is None or new.key is None:
                group = by_key[new.key] = new
                groups.append(group)
                known.append(group)
            else:
                group.take(index, circuit)
        index = group.add_variations(circuits, index + 1)
    found: list[Fused] = []
    for group in groups:
        matrix = group.matrix()
        if group.key is not None and matrix is not None:
            found.append(Fused(Template(group.circuit, group.slots, group.key), matrix, tuple(group.indices)))
        else:  # what should be numbers is none, so that each circuit is by itself
            found += [Fused(Template(circuits[one], (), None), np.empty((1, 0)), (one,)) for one in group.indices]
    return found


def joined(batches: Iterable[Sequence[Fused]]) -> list[Fused]:
    """The groups of batches that become one, one behind the other: circuits of one structure are one group again."""
    found: dict[Hashable, Fused] = {}
    first = 0
    for groups in batches:
        for group in groups:
            indices = tuple([first + index for index in group.indices])
            key = group.template.key or indices
            known = found.get(key)
            if known is None:
                found[key] = Fused(group.template, group.parameters, indices)
            else:
                rows = np.concatenate([known.parameters, group.parameters])
                found[key] = Fused(known.template, rows, known.indices + indices)
        first += sum([len(group.indices) for group in groups])
    return list(found.values())


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


class StructureMatcher:
    """Tells which circuits have the structure of a given one.

    Args:
        circuit: the given one.

    Attributes:
        plain: whether its operations are gates that consist of wires and numbers.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self._kinds = tuple(map(type, circuit.operations))
        own = with_own_arrays(circuit)
        self._group = Group(0, own)
        self._may_share = own is circuit
        self.plain = not self._group.others

    def __call__(self, circuit: QuantumScript) -> bool:
        alike = tuple(map(type, circuit.operations)) == self._kinds and self._group.matches(circuit)
        if alike and self._may_share:
            # The next circuit will be of the same batch, and share gates and observables with this one.
            self._group.circuit = circuit
        return alike


def outline_of(circuit: QuantumScript) -> Hashable:
    """What circuits have in common that differ in nothing but numbers, as the rows of a gradient or of a batch do.

    It tells less apart than the key of a group of circuits of one structure, in which numbers can be bound: here
    matrices, states, coefficients and words count as numbers too.
    """
    operations = tuple([(operation.name, wire_labels(operation)) for operation in circuit.operations])
    measured = tuple([(type(one), one.wires.labels, _kind(one.obs)) for one in circuit.measurements])
    return operations, measured, circuit.shots


def _kind(observable: Operator | None) -> Hashable:
    if observable is None:
        return None
    if isinstance(observable, CompositeOp):
        return type(observable), tuple(map(_kind, observable.operands))
    if isinstance(observable, SymbolicOp):
        return type(observable), _kind(observable.base)
    return observable.name, observable.wires.labels
