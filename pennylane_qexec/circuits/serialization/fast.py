"""Circuits as JSON text without building the document, character for character what ``encoding`` would write.

What several circuits of one structure have in common is written once, and their numbers are put into it. What has no
short way is left to ``encoding``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring_ascii
from math import isfinite
from operator import attrgetter
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, Shots, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import LinearCombination, Prod, SProd, Sum
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import parts_of
from pennylane_qexec.circuits.serialization.encoding import ALL, CircuitEncoder, name_of, shots_form
from pennylane_qexec.circuits.serialization.values import FEW, canonical, form_of, text_of
from pennylane_qexec.circuits.structure import BARE, CONTROLLED, labels
from pennylane_qexec.circuits.templates import StructureMatcher

_Part = tuple[str, int]
"""An operation's text, and how many parameters it has."""


# What circuits of one structure have in common

_NUMBERS = frozenset({float, np.float64})
_LABELS = (frozenset({int}), frozenset({str}))

_data = attrgetter("data")
_digits = float.__repr__


class TemplateEncoder:
    """What circuits of plain gates have in common, with gaps for their parameters.

    Args:
        circuit: one of them.
        texts: of its operations.
        begin: what comes before the operations.
        end: what comes after them, but for the trainable parameters.

    Attributes:
        parameters: how many the operations have.
    """

    def __init__(self, circuit: QuantumScript, texts: Sequence[str], begin: str, end: str) -> None:
        self._labels = _kinds_of_labels(circuit)
        self._likeness = StructureMatcher(circuit)
        self._pieces = _pieces(circuit, texts, begin, end) if self._fits_itself(circuit) else None
        self.parameters = 0 if self._pieces is None else len(self._pieces) - 1

    def _fits_itself(self, circuit: QuantumScript) -> bool:
        if _numbers(circuit) is None:
            return False
        return self._likeness.plain and self._labels in _LABELS and not any(map(_has_settings, circuit.operations))

    def text(self, circuit: QuantumScript) -> str | None:
        """A circuit, but for its trainable parameters; ``None`` if it is of another structure."""
        pieces = self._pieces
        if pieces is None or not self._likeness(circuit) or _kinds_of_labels(circuit) != self._labels:
            return None
        numbers = _numbers(circuit)
        if numbers is None:
            return None
        text = [""] * (2 * len(numbers) + 1)
        text[::2] = pieces
        text[1::2] = map(_digits, numbers)
        return "".join(text)


def _numbers(circuit: QuantumScript) -> list[Any] | None:
    """The parameters of a circuit; ``None`` if some are no finite doubles."""
    numbers = [*chain.from_iterable(map(_data, circuit.operations))]
    if not _NUMBERS.issuperset(map(type, numbers)):
        numbers = [one.item() if _is_double(one) else one for one in numbers]
        if not _NUMBERS.issuperset(map(type, numbers)):
            return None
    return numbers if all(map(isfinite, numbers)) else None


def _is_double(value: Any) -> bool:
    return type(value) is np.ndarray and not value.shape and value.dtype.char == "d"


def _pieces(circuit: QuantumScript, texts: Sequence[str], begin: str, end: str) -> list[str] | None:
    """What is written before, between and after the parameters; ``None`` if they are not found in the texts."""
    pieces, piece = [], begin
    for index, (operation, text) in enumerate(zip(circuit.operations, texts, strict=True)):
        piece += "," * bool(index)
        rest = text
        for number in operation.data:
            before, found, rest = rest.partition(_digits(float(number)))
            if not found:
                return None
            pieces.append(piece + before)
            piece = ""
        piece += rest
    return [*pieces, piece + end]


def _kinds_of_labels(circuit: QuantumScript) -> frozenset[type]:
    """The types of labels: 1 and True are equal, and written differently."""
    return frozenset(map(type, chain.from_iterable(map(labels, circuit.operations))))


def _has_settings(operation: Operator) -> bool:
    return type(operation) in BARE and bool(operation.hyperparameters)


# Numbers

DEEPEST = 6
"""How far what is nested is written at once. What is nested further is better refused the way all is that cannot be
read again."""

_FLOATS = frozenset({float, np.float64})

_ARRAYS = frozenset({np.ndarray, qml.numpy.tensor})


def number_text(value: Any) -> str | None:
    """A parameter of a circuit; ``None`` for all that is not one finite double."""
    kind = type(value)
    if kind in _FLOATS:
        return _digits(value) if isfinite(value) else None
    if kind in _ARRAYS and not value.shape and value.dtype.char == "d":
        number = value.item()
        return _digits(number) if isfinite(number) else None
    return None


def array_text(value: Any) -> str | None:
    """A NumPy array of few finite doubles, or Autograd's; ``None`` for all else."""
    if type(value) not in _ARRAYS or value.dtype.char != "d":
        return None
    shape = value.shape
    if not shape:
        number = value.item()
        return f'{{"array":[{_digits(number)}],"dtype":"float64","shape":[]}}' if isfinite(number) else None
    if value.size > FEW:
        return None
    numbers = value.ravel().tolist()
    if not all(map(isfinite, numbers)):
        return None
    return f'{{"array":[{",".join(map(_digits, numbers))}],"dtype":"float64","shape":[{",".join(map(str, shape))}]}}'


def value_text(value: Any, depth: int = 0) -> str:
    """A result: numbers, text, arrays, and tuples, lists and mappings of them.

    Raises:
        ConfigurationError: there is something else in it.
        ValueError: there is a whole number of thousands of digits in it, or it is nested too far for this way.
    """
    kind = type(value)
    if kind is np.float64 and isfinite(value):
        return f'{{"float64":{_digits(value)}}}'
    write = _WRITERS.get(kind)
    text = None if write is None else write(value, depth)
    return canonical(_form(value)) if text is None else text


def _form(value: Any) -> Any:
    return form_of(value, _form)


def _each(values: Any, depth: int) -> str:
    if depth == DEEPEST:
        raise ValueError("nested far")
    deeper = depth + 1
    return ",".join([value_text(each, deeper) for each in values])


def _dict_text(value: dict[Any, Any], depth: int) -> str:
    if depth == DEEPEST:
        raise ValueError("nested far")
    deeper = depth + 1
    pairs = [f"[{value_text(key, deeper)},{value_text(each, deeper)}]" for key, each in value.items()]
    return f'{{"dict":[{",".join(pairs)}]}}'


_WRITERS: dict[type, Callable[[Any, int], str | None]] = {
    float: lambda value, _: _digits(value) if isfinite(value) else None,
    int: lambda value, _: str(value),
    str: lambda value, _: encode_basestring_ascii(value),
    np.int64: lambda value, _: f'{{"int64":{int(value)}}}',
    np.ndarray: lambda value, _: array_text(value),
    list: lambda value, depth: f"[{_each(value, depth)}]",
    tuple: lambda value, depth: f'{{"tuple":[{_each(value, depth)}]}}',
    dict: _dict_text,
}


# Circuits

_MOULDS = 4
"""The most moulds that are made for circuits that are written together: each costs as much as some circuits."""

_COMPOSED = frozenset({Prod, SProd, Sum, LinearCombination})

_OF_OBSERVABLES = frozenset({ExpectationMP, VarianceMP})


class FastEncoder:
    """Writes circuits.

    Args:
        shared: whether to look for operations that are the same objects as in the circuit before, and measurements and
            observables that are the same as in any. Nobody may change these until all are written.
    """

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._parts: dict[int, _Part] = {}
        self._texts: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._alive: list[Any] = []
        self._mould: TemplateEncoder | None = None
        self._moulds_left = _MOULDS if shared else 0
        self._length = -1

    def text(self, circuit: QuantumScript, draft: CircuitEncoder) -> str:
        """A circuit.

        Args:
            circuit: the circuit.
            draft: a new one, for the parts that do not go this way.

        Raises:
            ConfigurationError: there is something in it that cannot be stored.
            ValueError: there is a whole number of thousands of digits in it.
        """
        operations, measurements = circuit.operations, circuit.measurements
        self._alive += (operations, measurements)  # as long as they are, no other part has their id
        if self._mould is not None:
            text = self._mould.text(circuit)
            if text is not None:
                return f"{text}{self._trainable(circuit, self._mould.parameters)}{_END}"
        parts = self._operations(operations, draft)
        count = sum([count for _, count in parts])
        measured = [self._kept(measurement, self._measurement, draft) for measurement in measurements]
        texts = [text for text, _ in parts]
        begin = f'{_START}"measurements":[{",".join(measured)}],"operations":['
        end = f'],"shots":{_shots_text(circuit.shots)},"trainable":'
        if draft.is_common:
            self._prepare(circuit, texts, begin, end)
        return f"{begin}{','.join(texts)}{end}{self._trainable(circuit, count)}{_END}"

    def _prepare(self, circuit: QuantumScript, texts: Sequence[str], begin: str, end: str) -> None:
        """Make a mould for the circuits to come, if this one is like the one before."""
        alike = len(texts) == self._length
        self._length = len(texts)
        if alike and self._moulds_left:
            self._moulds_left -= 1
            self._mould = TemplateEncoder(circuit, texts, begin, end)

    def _operations(self, operations: Sequence[Operator], draft: CircuitEncoder) -> list[_Part]:
        if not self._shared:
            return [_plain(operation) or self._other(operation, draft) for operation in operations]
        keys = list(map(id, operations))
        parts = [
            part or _plain(operation) or self._other(operation, draft)
            for part, operation in zip(map(self._parts.get, keys), operations, strict=True)
        ]
        self._parts = dict(zip(keys, parts, strict=True)) if draft.is_common else {}
        return parts

    def _other(self, operation: Operator, draft: CircuitEncoder) -> _Part:
        return self._operator(operation, draft, 0), len(operation.data)

    def _kept(self, part: Any, write: Callable[[Any, CircuitEncoder], str], draft: CircuitEncoder) -> str:
        text = self._texts.get(id(part))
        if text is None:
            text = write(part, draft)
            if self._shared and draft.is_common:
                self._texts[id(part)] = text
        return text

    def _measurement(self, measurement: MeasurementProcess, draft: CircuitEncoder) -> str:
        kind, observable = type(measurement), measurement.obs
        if kind not in _OF_OBSERVABLES or not isinstance(observable, Operator) or not observable:
            return canonical(draft.form(measurement))
        if measurement.raw_wires is not None or measurement._eigvals is not None:
            return canonical(draft.form(measurement))
        return f'{{"name":"{name_of(kind)}","of":{self._kept(observable, self._operator, draft)}}}'

    def _operator(self, operator: Operator, draft: CircuitEncoder, depth: int = 0) -> str:
        kind = type(operator)
        if kind not in _COMPOSED or depth == DEEPEST:
            part = _plain(operator)
            return canonical(draft.form(operator)) if part is None else part[0]
        leaves, metadata = parts_of(operator)
        parts = ",".join([self._leaf(leaf, draft, depth + 1) for leaf in leaves])
        if not metadata:
            return f'{{"name":"{name_of(kind)}","parts":[{parts}]}}'
        settings = "[null]" if metadata == (None,) else canonical(draft.settings(metadata))
        return f'{{"name":"{name_of(kind)}","parts":[{parts}],"settings":{settings}}}'

    def _leaf(self, leaf: Any, draft: CircuitEncoder, depth: int) -> str:
        part = _plain(leaf)
        if part is not None:
            return part[0]
        if isinstance(leaf, Operator):
            return self._operator(leaf, draft, depth)
        if type(leaf) is list and depth < DEEPEST:
            return f"[{','.join([self._leaf(each, draft, depth + 1) for each in leaf])}]"
        return number_text(leaf) or array_text(leaf) or canonical(draft.number(leaf))

    def _trainable(self, circuit: QuantumScript, count: int) -> str:
        if circuit._trainable_params is None:
            return _ALL
        chosen = tuple(circuit.trainable_params)
        text, first = _chosen(chosen)
        if first and len(chosen) >= count:
            for measurement in circuit.measurements:
                count += self._count(measurement.obs)
            if len(chosen) == count:
                return _ALL
        return text

    def _count(self, observable: Operator | None) -> int:
        if observable is None:
            return 0
        count = self._counts.get(id(observable))
        if count is None:
            count = _parameters(observable)
            if self._shared:
                self._counts[id(observable)] = count
        return count


def _plain(operation: Operator) -> _Part | None:
    """An operation that consists of wires and doubles; ``None`` if it is another."""
    kind: Any = type(operation)
    if kind in BARE:
        if operation.hyperparameters:
            return None
        data = operation.data
        frame = _frame(kind, *operation._wires._labels)
    elif kind in CONTROLLED:
        settings = operation._hyperparameters
        data = settings["base"].data
        frame = _frame(kind, *settings["control_wires"]._labels, *operation._wires._labels)
    else:
        return None
    if frame is None:
        return None
    if not data:
        return frame[0], 0
    _, before, after = frame
    if len(data) == 1:
        text = number_text(data[0])
        return None if text is None else (f"{before}{text}{after}", 1)
    texts = list(map(number_text, data))
    return None if None in texts else (f"{before}{','.join(texts)}{after}", len(texts))  # type: ignore[arg-type]


@lru_cache(2**14, typed=True)
def _frame(kind: Any, *labels: Any) -> tuple[str, str, str] | None:
    """What is the same in all operations of a class on some wires: without parameters, before them, and after them."""
    if not all(type(label) in (int, str) for label in labels):
        return None
    name, wires = f'{{"name":"{name_of(kind)}"', f'"wires":{canonical(list(labels))}}}'
    return f"{name},{wires}", f'{name},"parameters":[', f"],{wires}"


def _parameters(operator: Operator) -> int:
    """How many parameters an operator has: the length of its data, which PennyLane is slow to collect."""
    kind = type(operator)
    if kind is SProd:
        return 1 + _parameters(operator.base)
    return sum(map(_parameters, operator.operands)) if kind in _COMPOSED else len(operator.data)


@lru_cache(64)
def _shots_text(shots: Shots) -> str:
    return canonical(shots_form(shots))


@lru_cache(64)
def _chosen(indices: tuple[Any, ...]) -> tuple[str, bool]:
    """Trainable parameters, and whether they are the first ones there are."""
    chosen = list(map(int, indices))
    return canonical(chosen), chosen == list(range(len(chosen)))


_ALL = canonical(ALL)

_START, _END = text_of("circuit", {"measurements": None}).split('"measurements":null')
