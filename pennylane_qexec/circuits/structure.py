"""What an operation, and what a circuit measures, is beside its parameters."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Sequence
from copy import copy
from itertools import chain, compress
from operator import attrgetter, is_, itemgetter
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess, MeasurementValue
from pennylane.operation import _UNSET_BATCH_SIZE, Operator
from pennylane.ops import Conditional, MidMeasure, PauliMeasure, Prod
from pennylane.ops.functions import bind_new_parameters
from pennylane.ops.op_math import CompositeOp, SymbolicOp
from pennylane.pytrees.pytrees import flatten_registrations
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.transforms import broadcast_expand
from pennylane.wires import Wires
from scipy import sparse

from pennylane_qexec.circuits.evolutions import TimeEvolution, with_times
from pennylane_qexec.circuits.fingerprint import Content, content, is_foreign, own_attributes
from pennylane_qexec.circuits.observables import OF_OBSERVABLES, Numbers, is_seen_by_its_numbers, numbers_of_observable
from pennylane_qexec.job import ROTATIONS, Postprocessing

BARE = ROTATIONS | {qml.Identity, qml.X, qml.Y, qml.Z, qml.H, qml.S, qml.T, qml.SX, qml.SWAP, qml.ISWAP}
"""Kinds of operations that consist of wires and numbers, and are most of what circuits are made of."""

CONTROLLED = frozenset(
    {qml.CNOT, qml.CY, qml.CZ, qml.CH, qml.CSWAP, qml.Toffoli}
    | {qml.CRX, qml.CRY, qml.CRZ, qml.CRot, qml.ControlledPhaseShift}
)
"""The same, of kinds that PennyLane builds of another operation and its control wires."""

_LETTERS = frozenset({kind for kind in BARE if not kind.num_params})
"""Those of them that have no numbers."""

_SCALARS = (float, int, np.float64)
_SCALAR_TYPES = frozenset(_SCALARS)
PLAIN_GATES = BARE | CONTROLLED

REAL = "biuf"
"""The kinds of NumPy's numbers that are real."""

_SIMPLE = (Wires, str, int, bool, type(None))

_CONTENT = (int, float, complex, np.ndarray, np.generic, sparse.sparray, sparse.spmatrix)
"""What an operation's data may be to be compared."""

_bindable: dict[Hashable, bool] = {}
"""For structures of operations, whether PennyLane's copies with other numbers are right."""

_MOST_BINDABLE = 1024

_data, _labels, _hyperparameters = map(attrgetter, ("data", "_labels", "_hyperparameters"))
_control_wires = itemgetter("control_wires")

labels = attrgetter("_wires._labels")
"""The labels of the wires of a bare operation, or of the target of a controlled one."""


def control_labels(operation: Operator) -> tuple[Any, ...]:
    """The labels of the control wires of a controlled operation."""
    return operation._hyperparameters["control_wires"]._labels  # type: ignore[no-any-return]


def wire_labels(operation: Operator) -> tuple[Any, ...]:
    """The labels of an operation's wires: what ``operation.wires.labels`` is, in a tenth of the time."""
    kind = type(operation)
    if kind in BARE:
        return labels(operation)  # type: ignore[no-any-return]
    if kind in CONTROLLED:
        return control_labels(operation) + labels(operation)  # type: ignore[no-any-return]
    return operation.wires.labels  # type: ignore[no-any-return]


def wires_in(circuit: QuantumScript) -> set[Any]:
    """The labels of a circuit's wires: what ``circuit.wires`` has in order, in a fifth of the time."""
    found: set[Any] = set()
    for operation in circuit.operations:
        kind = type(operation)
        if kind in CONTROLLED:
            found.update(operation._hyperparameters["control_wires"]._labels)
        found.update(labels(operation) if kind in PLAIN_GATES else operation.wires.labels)
    for measurement in circuit.measurements:
        found.update(measurement.wires.labels)
    return found


def wires_in_order(circuit: QuantumScript) -> Wires:
    """The wires of a circuit, in the order that PennyLane's simulators give them: numbers from 0 on by size.

    That is so only if the numbers of wires that are measured, and nothing else, come behind those of the others.
    """
    wires = circuit.wires
    numbers = tuple(range(len(wires)))
    if wires.labels == numbers or set(wires) != set(numbers):
        return wires
    used = Wires.all_wires([operation.wires for operation in circuit.operations])
    return Wires(numbers) if set(used) == set(numbers[: len(used)]) else wires


def measures_everything(measurement: MeasurementProcess) -> bool:
    """Whether a measurement is of all wires, whichever these are."""
    return measurement.obs is None and measurement.mv is None and not measurement.wires


def with_outcomes_in_order(circuit: QuantumScript) -> QuantumScript:
    """The circuit, with what is computed of several mid-circuit outcomes computed of them in the circuit's order.

    PennyLane has them in the order of their random ids. The gates and measurements that programs of devices put in
    their place would be others each time, and shots of equal seeds too.
    """
    if not any(map(_computes, circuit.measurements)) and Conditional not in set(map(type, circuit.operations)):
        return circuit
    measured = [one for one in circuit.operations if isinstance(one, MidMeasure | PauliMeasure)]
    places = {one.hyperparameters["meas_uid"]: place for place, one in enumerate(measured)}
    changed = False

    def in_order(value: Any) -> Any:
        nonlocal changed
        places_of = [places.get(one.hyperparameters["meas_uid"], len(places)) for one in value.measurements]
        if places_of == sorted(places_of):
            return value
        changed = True
        return _reordered(value, sorted(range(len(places_of)), key=places_of.__getitem__))

    with QueuingManager.stop_recording():
        operations = [
            Conditional(in_order(one.meas_val), one.base) if type(one) is Conditional else one
            for one in circuit.operations
        ]
        measurements = [with_value(one, in_order(one.mv)) if _computes(one) else one for one in circuit.measurements]
    if not changed:
        return circuit
    return circuit.copy(operations=operations, measurements=measurements, trainable_params=circuit.trainable_params)


def _computes(measurement: MeasurementProcess) -> bool:
    return isinstance(measurement.mv, MeasurementValue) and len(measurement.mv.measurements) > 1


def _reordered(value: MeasurementValue, order: list[int]) -> MeasurementValue:
    """The same of the same outcomes, which are in another order."""
    places = [order.index(index) for index in range(len(order))]

    def computed(*outcomes: Any) -> Any:
        return value.processing_fn(*[outcomes[place] for place in places])

    return MeasurementValue([value.measurements[index] for index in order], computed)


def with_value(measurement: MeasurementProcess, value: MeasurementValue) -> MeasurementProcess:
    """A measurement of other mid-circuit outcomes."""
    changed = copy(measurement)
    changed.mv = value
    return changed


class StructurePart(NamedTuple):
    """What an operation contributes to a structure.

    Attributes:
        structure: all of it but its numbers, and but its wires if it has a kind; ``None`` if it cannot be compared.
        numbers: whether its data are numbers, and parameters therefore.
        kind: ``"bare"`` or ``"controlled"`` if it consists of wires and numbers, else empty.
    """

    structure: Any
    numbers: bool
    kind: str = ""


def part_of(operation: Operator) -> StructurePart:
    """What an operation contributes to the structure of its circuit."""
    kind, data = type(operation), operation.data
    if kind in BARE and (not data or (len(data) == 1 and type(data[0]) in _SCALARS)):
        return StructurePart(kind, bool(data), "bare")
    if data and not all(map(_is_number, data)):
        return StructurePart(_content(operation), False)
    if kind in BARE:
        return StructurePart(kind, bool(data), "bare")
    if kind in CONTROLLED:
        return StructurePart(kind, bool(data), "controlled")
    numbers: list[Any] = []
    structure = _outline(operation, numbers)
    complete = structure is not None and len(numbers) == len(data) and all(map(is_, numbers, data))
    if complete and (not data or _is_bindable(operation, structure)):
        return StructurePart(structure, bool(data))
    return StructurePart(_content(operation), False)


def _outline(operation: Operator, numbers: list[Any]) -> Hashable:
    """An operation with blanks in place of its numbers, which are collected; ``None`` where that is not possible."""
    if isinstance(operation, MidMeasure | Conditional) or type(operation) not in flatten_registrations:
        return None
    if type(operation) is TimeEvolution:  # whose operator has numbers that are none of its own
        numbers += operation.data
        operator = _content(operation.base)
        return operator and (TimeEvolution, operator)
    leaves, metadata = flatten_registrations[type(operation)](operation)
    parts: list[Any] = [type(operation), metadata if _is_simple(metadata) else _content(metadata)]
    if is_foreign(type(operation)):
        parts.append(_content(own_attributes(operation)))
    for leaf in leaves:
        if _is_number(leaf):
            numbers.append(leaf)
            parts.append("number")
        else:
            parts.append(_outline(leaf, numbers) if isinstance(leaf, Operator) else _content(leaf))
    return None if None in parts else tuple(parts)


def _is_bindable(operation: Operator, structure: Hashable) -> bool:
    known = _bindable.get(structure)
    if known is None:
        known = _can_be_bound(operation, structure)
        if len(_bindable) >= _MOST_BINDABLE:
            _bindable.clear()
        _bindable[structure] = known
    return known


def _can_be_bound(operation: Operator, structure: Hashable) -> bool:
    """Whether PennyLane's copy of an operation with other numbers is just that. Of some kinds it is not.

    Copies of estimations and reflections keep the numbers of the operation inside, those of classes that users write
    may lose attributes.
    """
    others = [0.5 * float(number) + 0.125 + 0.001 * index for index, number in enumerate(operation.data)]
    found: list[Any] = []
    try:
        with QueuingManager.stop_recording():
            copy = bind_new_parameters(operation, others)
        return _outline(copy, found) == structure and list(map(float, found)) == others == list(map(float, copy.data))
    except Exception:  # each class raises what it likes
        return False


def measured_by(circuit: QuantumScript, words_only: bool = False) -> Hashable:
    """What a circuit measures; ``None`` if that cannot be compared.

    Args:
        circuit: the circuit.
        words_only: whether observables other than products of Paulis count as such: to look at them takes long.
    """
    keys: list[Hashable] = []
    for measurement in circuit.measurements:
        kind, observable = type(measurement), measurement.obs
        several = type(observable) is Prod and len(observable.operands) > 1
        factors = observable.operands if several else (observable,)
        letters = tuple(map(type, factors))
        if kind in OF_OBSERVABLES and _LETTERS.issuperset(letters):
            keys.append((kind, letters, *map(labels, factors)))
        elif (
            measurement.mv is not None
            or (words_only and observable is not None)
            or (key := _measured_content(measurement)) is None
        ):
            return None
        else:
            keys.append(key)
    return tuple(keys)


def is_plain_gate(operation: Operator) -> bool:
    """Whether an operation is a gate that consists of wires and numbers, of which there may be one for each row."""
    return type(operation) in PLAIN_GATES


def has_plain_gates(circuit: QuantumScript, any_numbers: bool = True) -> bool:
    """Whether all operations of a circuit are gates that consist of wires and single numbers.

    Args:
        circuit: the circuit.
        any_numbers: whether numbers may also be those of an interface, which are recorded or traced.
    """
    if not PLAIN_GATES.issuperset(map(type, circuit.operations)):
        return False
    numbers = list(chain.from_iterable(map(_data, circuit.operations)))
    if _SCALAR_TYPES.issuperset(map(type, numbers)):
        return True
    for number in numbers:
        plain = any_numbers or type(number) in _SCALAR_TYPES or isinstance(number, np.ndarray)
        if not plain or np.ndim(number):
            return False
    return True


def structure_of(circuit: QuantumScript, any_numbers: bool = False) -> Hashable:
    """What a circuit of plain gates and Pauli words is beside the numbers of its gates; ``None`` for any other.

    Of circuits for which it is equal, whatever depends on operations, wires, measurements and shots is the same. Others
    may be alike too; :func:`~pennylane_qexec.circuits.templates.fuse` tells.

    Args:
        circuit: the circuit.
        any_numbers: whether numbers may also be those of an interface, which are recorded or traced.
    """
    if not has_plain_gates(circuit, any_numbers):
        return None
    operations = circuit.operations
    kinds = tuple(map(type, operations))
    measured = measured_by(circuit, words_only=True)
    if measured is None:
        return None
    controlled = compress(operations, map(CONTROLLED.__contains__, kinds))
    controls = map(_labels, map(_control_wires, map(_hyperparameters, controlled)))
    shots = circuit.shots if circuit.shots.has_partitioned_shots else circuit.shots.total_shots
    return kinds, tuple(map(labels, operations)), tuple(controls), measured, shots


_observables: dict[tuple[int, type], tuple[Any, Numbers, Content]] = {}
"""The content of measurements of observables that are there still, with the numbers that these had."""


def _measured_content(measurement: MeasurementProcess) -> Content | None:
    """The content of a measurement; that of a long observable, which programs measure in each step, is remembered."""
    observable, numbers = measurement.obs, numbers_of_observable(measurement)
    if numbers is None:
        return _content(measurement)
    key = id(observable), type(measurement)
    known = _observables.get(key)
    if known is not None and known[0]() is observable and known[1] == numbers:
        return known[2]
    found = _content(measurement)
    if found is not None and is_seen_by_its_numbers(observable):
        _observables[key] = weakref.ref(observable, lambda _: _observables.pop(key, None)), numbers, found
    return found


def _content(value: Any) -> Content | None:
    """Everything in a value, in short; ``None`` if it has something in it that cannot be compared.

    Arrays that are being differentiated or traced have the same content as others, and are something else.
    """
    if isinstance(value, MidMeasure | Conditional):
        return None
    observable = value.obs if isinstance(value, MeasurementProcess) else value
    if isinstance(observable, Operator) and not all(isinstance(one, _CONTENT) for one in observable.data):
        return None
    try:
        return content(value)
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
    if isinstance(value, np.ndarray | np.generic):
        return value.shape == () and value.dtype.kind in REAL
    if isinstance(value, str) or getattr(value, "requires_grad", False):
        return False
    try:
        float(value)
        return bool(np.shape(value) == ())
    except Exception:  # a tracer, a symbol, a complex number: each library raises what it likes
        return False


def batch_size(circuit: QuantumScript) -> int:
    """How many circuits a broadcasted circuit stands for; 1 if it is not broadcasted."""
    return broadcasted_over(circuit) or 1


def is_broadcasted(circuit: QuantumScript) -> bool:
    """Whether a circuit is broadcasted, even if it stands for one only: its results have an axis more."""
    return broadcasted_over(circuit) is not None


def broadcasted_over(circuit: QuantumScript) -> int | None:
    """What PennyLane's ``batch_size`` is, which looks at every number of every operation, and takes long for that."""
    if _SCALAR_TYPES.issuperset(map(type, chain.from_iterable(map(_data, circuit.operations)))):
        return None
    for operation in circuit.operations:
        for parameter in operation.data:
            if type(parameter) not in _SCALARS and np.ndim(parameter) and operation.batch_size is not None:
                return int(operation.batch_size)
    return None


class NotExpandedError(NotImplementedError):
    """PennyLane has not all that is needed to take a circuit apart."""


def rows_of(circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """The circuits that a broadcasted circuit stands for, and what makes its result of theirs.

    Raises:
        NotExpandedError: PennyLane cannot take it apart, as batches of products and exponentials.
    """
    try:
        circuits, join = broadcast_expand.tape_transform(with_times(circuit))
    except AttributeError as error:
        raise NotExpandedError(
            f"PennyLane cannot take this batch of circuits apart ({error}): call the QNode for each row, or write the "
            "gates in place of exponentials and products."
        ) from error
    forget_batch(circuits)
    return circuits, join


def forget_batch(circuits: Iterable[QuantumScript]) -> None:
    """Have rows of a batch forget that they were many.

    PennyLane copies some gates (``MultiRZ``, ``PauliRot``) with what they remember of their numbers, and would take the
    copies for broadcasted: their results would come once more for each row.
    """
    for operation in {id(one): one for circuit in circuits for one in circuit.operations if one.data}.values():
        _forget_batch(operation)


def _forget_batch(operation: Operator) -> None:
    if vars(operation).get("_batch_size"):
        vars(operation).update(_batch_size=_UNSET_BATCH_SIZE, _ndim_params=_UNSET_BATCH_SIZE)
    if isinstance(operation, SymbolicOp):
        _forget_batch(operation.base)
    for part in operation.operands if isinstance(operation, CompositeOp) else ():
        _forget_batch(part)
