"""Circuits that differ only in their parameters, as one template and a matrix of parameters.

The circuits of a gradient have the same operations on the same wires and the same measurements. What prepares,
converts, transpiles or compiles circuits can do so once for each *structure*, and then run the matrix.

Only numbers become parameters: arrays (unitaries, states), settings and observables are part of the structure, by
their content. A circuit with something that has no content to compare, such as a function, stays by itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Conditional, MidMeasure, Prod
from pennylane.ops.functions import bind_new_parameters
from pennylane.pytrees.pytrees import flatten_registrations
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.fingerprint import content_digest

_BARE = (
    frozenset({qml.Identity, qml.X, qml.Y, qml.Z, qml.H, qml.S, qml.T, qml.SX, qml.SWAP, qml.ISWAP})
    | frozenset({qml.RX, qml.RY, qml.RZ, qml.PhaseShift, qml.Rot, qml.U1, qml.U2, qml.U3})
    | frozenset({qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.IsingXY, qml.SingleExcitation, qml.DoubleExcitation})
)
"""Kinds of operations that consist of wires and numbers, and are most of what circuits are made of."""

_CONTROLLED = frozenset(
    {qml.CNOT, qml.CY, qml.CZ, qml.CH, qml.CSWAP, qml.Toffoli}
    | {qml.CRX, qml.CRY, qml.CRZ, qml.CRot, qml.ControlledPhaseShift}
)
"""The same, of kinds that PennyLane builds of another operation and its control wires."""

_OF_OBSERVABLES = (ExpectationMP, VarianceMP)
"""Measurements that are their observable and nothing else."""

_SIMPLE = (Wires, str, int, bool, type(None))

_labels = attrgetter("_wires._labels")


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
    alike: dict[tuple[type, ...], list[_Group]] = {}
    groups: list[_Group] = []
    for index, circuit in enumerate(circuits):
        kinds = tuple(map(type, circuit.operations))
        known = alike.setdefault(kinds, [])
        if not any(group.add(index, circuit) for group in known):
            group = _Group(index, circuit)
            groups.append(group)
            known.append(group)
    return [fused for group in groups for fused in group.fused(circuits)]


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


class _Group:
    """Circuits that look alike; each is compared with the first, by identity of its parts where that will do."""

    def __init__(self, index: int, circuit: QuantumScript) -> None:
        self._circuit = circuit
        operations = circuit.operations
        parts = [_part(operation) for operation in operations]
        self._bare = [place for place, part in enumerate(parts) if part.kind == "bare"]
        self._controlled = [place for place, part in enumerate(parts) if part.kind == "controlled"]
        self._wires = self._labels(operations)
        self._others = [(place, operations[place], part) for place, part in enumerate(parts) if not part.kind]
        self._slots = tuple([place for place, part in enumerate(parts) if part.numbers])
        self._indices = [index]
        self._rows = [self._row(circuit)]

    def add(self, index: int, circuit: QuantumScript) -> bool:
        """Take a circuit with operations of the same kinds in, if it has the structure of the others."""
        if not self._matches(circuit):
            return False
        self._indices.append(index)
        self._rows.append(self._row(circuit))
        return True

    def fused(self, circuits: Sequence[QuantumScript]) -> list[Fused]:
        """The group; or each of its circuits by itself, if what should be numbers is none."""
        key, matrix = self._key, _matrix(self._rows)
        if key is not None and matrix is not None:
            return [Fused(Template(self._circuit, self._slots, key), matrix, tuple(self._indices))]
        return [Fused(Template(circuits[index], (), None), np.empty((1, 0)), (index,)) for index in self._indices]

    @cached_property
    def _key(self) -> Hashable:
        structures = tuple([part.structure for _, _, part in self._others])
        if self._measured is None or None in structures:
            return None
        kinds = tuple(map(type, self._circuit.operations))
        return kinds, tuple(self._wires), structures, self._measured, self._circuit.shots

    @cached_property
    def _measured(self) -> Hashable:
        return _measured(self._circuit)

    def _matches(self, circuit: QuantumScript) -> bool:
        first, operations = self._circuit, circuit.operations
        if circuit.shots is not first.shots and circuit.shots != first.shots:
            return False
        if self._labels(operations) != self._wires:
            return False
        for place, mine, part in self._others:
            if operations[place] is not mine and (part.structure is None or _part(operations[place]) != part):
                return False
        one, other = circuit.measurements, first.measurements
        if len(one) == len(other) and all(map(is_, one, other)):
            return True
        return self._measured is not None and _measured(circuit) == self._measured

    def _labels(self, operations: Sequence[Operator]) -> list[Any]:
        """The wires of all operations whose structure is their wires."""
        controls = [operations[place]._hyperparameters["control_wires"]._labels for place in self._controlled]
        return [_labels(operations[place]) for place in self._bare + self._controlled] + controls

    def _row(self, circuit: QuantumScript) -> list[Any]:
        operations = circuit.operations
        return list(chain.from_iterable([operations[place].data for place in self._slots]))


class _Part(NamedTuple):
    """What an operation contributes to a structure.

    Attributes:
        structure: all of it but its numbers, and but its wires if it has a kind; ``None`` if it cannot be compared.
        numbers: whether its data are numbers, and parameters therefore.
        kind: ``"bare"`` or ``"controlled"`` if it consists of wires and numbers, else empty.
    """

    structure: Any
    numbers: bool
    kind: str = ""


def _part(operation: Operator) -> _Part:
    kind, data = type(operation), operation.data
    if data and not all(map(_is_number, data)):
        return _Part(_content(operation), False)
    if kind in _BARE:
        return _Part(kind, bool(data), "bare")
    if kind in _CONTROLLED:
        return _Part(kind, bool(data), "controlled")
    numbers: list[Any] = []
    structure = _outline(operation, numbers)
    if structure is not None and len(numbers) == len(data) and all(map(is_, numbers, data)):
        return _Part(structure, bool(data))
    return _Part(_content(operation), False)


def _outline(operation: Operator, numbers: list[Any]) -> Hashable:
    """An operation with blanks in place of its numbers, which are collected; ``None`` where that is not possible."""
    if isinstance(operation, MidMeasure | Conditional) or type(operation) not in flatten_registrations:
        return None
    leaves, metadata = flatten_registrations[type(operation)](operation)
    parts: list[Any] = [type(operation), metadata if _is_simple(metadata) else _content(metadata)]
    for leaf in leaves:
        if _is_number(leaf):
            numbers.append(leaf)
            parts.append("number")
        else:
            parts.append(_outline(leaf, numbers) if isinstance(leaf, Operator) else _content(leaf))
    return None if None in parts else tuple(parts)


def _measured(circuit: QuantumScript) -> Hashable:
    """What a circuit measures; ``None`` if that cannot be compared."""
    keys = tuple([_measurement(measurement) for measurement in circuit.measurements])
    return None if None in keys else keys


def _measurement(measurement: MeasurementProcess) -> Hashable:
    kind, observable = type(measurement), measurement.obs
    if kind in _OF_OBSERVABLES and observable is not None:
        factors = observable.operands if type(observable) is Prod else (observable,)
        if all(type(factor) in _BARE for factor in factors):
            return (kind, *[(type(factor), _labels(factor)) for factor in factors])
    return None if measurement.mv is not None else _content(measurement)


def _content(value: Any) -> str | None:
    """A digest of everything in a value; ``None`` if it has something in it that cannot be compared."""
    if isinstance(value, MidMeasure | Conditional):
        return None
    try:
        return content_digest(value)
    except Exception:  # a tracer, a symbol, a function: each library raises what it likes
        return None


def _is_simple(metadata: Any) -> bool:
    if isinstance(metadata, tuple):
        return all(map(_is_simple, metadata))
    return isinstance(metadata, _SIMPLE)


def _is_number(value: Any) -> bool:
    """Whether a value is one real number, and neither differentiated nor traced by anybody."""
    if isinstance(value, float) or type(value) is int:
        return True
    if np.shape(value) != () or (getattr(value, "requires_grad", False) and not isinstance(value, np.ndarray)):
        return False
    try:
        float(value)
    except Exception:  # a tracer, a symbol, a complex number: each library raises what it likes
        return False
    return True


def _matrix(rows: list[list[Any]]) -> np.ndarray | None:
    """Parameters as an array ``(R, P)``; ``None`` if some are no numbers."""
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    return matrix if matrix.ndim == 2 else None
