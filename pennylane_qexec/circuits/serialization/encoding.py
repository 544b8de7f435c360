"""The parts of a circuit as JSON, and the table of operators and measurements that can be stored: PennyLane's own."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess, MeasurementValue, SampleMP, Shots
from pennylane.operation import Operator
from pennylane.ops import Conditional, LinearCombination, MidMeasure, PauliMeasure
from pennylane.pauli import PauliSentence, PauliWord
from pennylane.pytrees.pytrees import flatten_registrations
from pennylane.wires import Wires
from scipy import sparse

from pennylane_qexec.circuits.fingerprint import parts_of, was_written_into
from pennylane_qexec.circuits.serialization.values import DTYPES, array_form, canonical, form_of, scalar_form, tensor
from pennylane_qexec.circuits.structure import BARE, CONTROLLED, wire_labels
from pennylane_qexec.errors import ConfigurationError, unknown

Form = dict[str, Any]


# What can be stored

_ROOMS = tuple(
    f"pennylane.{room}" for room in ("ops.", "templates.", "measurements.", "allocation", "drawer.", "fourier.")
)
"""The parts of PennyLane in which they are."""

_LEFT_OUT = frozenset(
    {"CompositeOp", "ScalarSymbolicOp", "SymbolicOp"}  # what others are derived from
    | {"MeasurementTransform", "SampleMeasurement", "StateMeasurement"}
    | {"CollectedSubroutine", "SubroutineOp", "TrotterizedQfunc"}  # what they do is in a function
    | {"MERA", "MPS", "TTN", "OutPoly", "QuantumMonteCarlo", "TwoLocalSwapNetwork"}
    | {"BBQRAM", "HybridQRAM", "SelectOnlyQRAM", "ControlledQutritUnitary", "IQP"}  # PennyLane builds none of its parts
)

STATES = frozenset({qml.StatePrep, qml.AmplitudeEmbedding})
"""Operators that pad and normalize what they are given, and keep what came of it."""


@cache
def kinds() -> dict[str, type]:
    """The classes by name, as PennyLane has registered them; none is looked for by a name in a text."""
    return {kind.__qualname__: kind for kind in list(flatten_registrations) if _is_kind(kind)}


@cache
def names() -> dict[type, str]:
    """The names by class."""
    return {kind: name for name, kind in kinds().items()}


def kind_of(name: Any) -> type:
    """The class of a name.

    Raises:
        ConfigurationError: there is none.
    """
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ConfigurationError(unknown("operator or measurement that can be read", f"{name!s:.60}", kinds()))
    return kind


def name_of(kind: type) -> str:
    """The name of a class.

    Raises:
        ConfigurationError: it cannot be stored.
    """
    name = names().get(kind)
    if name is None:
        raise ConfigurationError(
            f"{kind.__module__}.{kind.__qualname__} cannot be stored: only operators and measurements of PennyLane "
            "itself can, without functions in them, that PennyLane can build again. Decompose it into such ones first, "
            "with qml.decompose."
        )
    return name


class Style(NamedTuple):
    """How an operator is written.

    Attributes:
        name: the name of its class.
        plain: whether it is its parameters, wires and hyperparameters.
        controlled: whether it is its parameters and wires, and PennyLane works out the rest.
        template: whether it is one of PennyLane's templates.
    """

    name: str
    plain: bool
    controlled: bool
    template: bool


@cache
def style_of(kind: type) -> Style:
    """How the operators of a class are written.

    Raises:
        ConfigurationError: they cannot be stored.
    """
    template = kind.__module__.startswith("pennylane.templates.")
    return Style(name_of(kind), is_plain(kind) or kind in STATES, kind in CONTROLLED, template)


def is_plain(kind: Any) -> bool:
    """Whether an operator is built of its parameters, wires and hyperparameters."""
    flat: bool = kind._flatten is Operator._flatten
    return flat and kind._unflatten.__func__ is Operator._unflatten.__func__


def _is_kind(kind: type) -> bool:
    module, name = kind.__module__, kind.__qualname__
    return (
        issubclass(kind, Operator | MeasurementProcess)
        and module.startswith(_ROOMS)
        and getattr(sys.modules.get(module), name, None) is kind
        and name not in _LEFT_OUT
    )


# Parts of circuits

ALL = "all"
"""What is written if all parameters are trainable."""


class CircuitEncoder:
    """Writes the parts of one circuit. Its mid-circuit measurements, whose ids are random, are numbered in their order.

    Parameters and wires are written as Python's own numbers, however they are wrapped; settings with their exact types.

    Attributes:
        has_templates: whether there is a template in what was written. PennyLane does not build all of them again.
        columns: how many numbers were left out, see :meth:`with_columns`.
    """

    def __init__(self) -> None:
        self.has_templates = False
        self.columns = 0
        self._leaves_out = False
        self._numbers: dict[Any, int] = {}
        self._defined: dict[int, Form] = {}

    @property
    def is_common(self) -> bool:
        """Whether what was written would be the same in every circuit, and none of it is a template."""
        return not (self._numbers or self.has_templates)

    def form(self, value: Any) -> Any:
        """Any part of a circuit.

        Raises:
            ConfigurationError: there is something in it that cannot be stored.
        """
        write = _WRITERS.get(type(value))
        if write is not None:
            return write(self, value)
        if issubclass(type(value), Operator):
            return self.operator(value)
        if issubclass(type(value), MeasurementProcess):
            return self.measurement(value)
        if isinstance(value, type):
            return _class_form(value)
        return _sparse_form(value) if sparse.issparse(value) else form_of(value, self.form)

    def with_columns(self, operator: Operator) -> Form:
        """An operator of a sweep: in place of each number in its data is the column of its numbers, in order.

        Raises:
            ConfigurationError: as for :meth:`form`, or there are other numbers in it than in its data.
        """
        before, self._leaves_out = self.columns, True
        try:
            form: Form = self.form(operator)
        finally:
            self._leaves_out = False
        if self.columns - before != len(operator.data):
            raise ConfigurationError(f"the {len(operator.data)} parameters of {operator.name} are not all it has.")
        return form

    def number(self, value: Any) -> Any:
        """A parameter or the label of a wire, or several."""
        if type(value) in _DOUBLES and math.isfinite(value):
            return float(value)
        if type(value) is float or isinstance(value, _NESTED):
            return form_of(value, self.number)
        if isinstance(value, _PLAIN):
            return self.form(value)
        array = np.asarray(value) if isinstance(value, np.ndarray | np.generic) else tensor(value)
        if array.shape:
            return array_form(array)
        scalar: Any = array[()]
        return self.number(scalar.item()) if array.dtype.name in _PYTHONS else scalar_form(scalar)

    def operator(self, operator: Operator) -> Form:
        """An operator: its name, and what it is made of."""
        kind: Any = type(operator)
        style = style_of(kind)
        if style.template:
            self.has_templates = True
        if style.plain:
            return self._plain(style.name, operator.data, wire_labels(operator), operator.hyperparameters)
        if style.controlled:
            return self._plain(style.name, operator.data, wire_labels(operator), {})
        if kind is LinearCombination and was_written_into(operator):
            raise ConfigurationError(
                "a program has written into the coefficients of a Hamiltonian since it was made. PennyLane computes "
                "with the new ones in some places, and with the former ones in others: make a new Hamiltonian of them."
            )
        leaves, metadata = parts_of(operator)
        if len(metadata) == 1 and type(metadata[0]) is Wires and not any(isinstance(leaf, Operator) for leaf in leaves):
            return self._plain(style.name, leaves, metadata[0].labels, {})
        form: Form = {"name": style.name, "parts": [self._leaf(leaf) for leaf in leaves]}
        if metadata:
            form["settings"] = self.settings(metadata)
        return form

    def measurement(self, measurement: MeasurementProcess) -> Form:
        """A measurement: its name, its observable, eigenvalues or measured values, its wires and settings."""
        kind = type(measurement)
        name, (leaves, metadata) = name_of(kind), flatten_registrations[kind](measurement)
        form = {key: self.form(each) for key, each in metadata if each is not None} | {"name": name}
        if type(measurement.raw_wires) is Wires:
            form["wires"] = form["wires"]["wires"]
        for key, leaf in zip(("of", "eigenvalues"), leaves, strict=False):
            if leaf is not None:
                form[key] = self.form(leaf)
        if kind is SampleMP and measurement._dtype is not None:
            form["dtype"] = self.form(measurement._dtype)
        return form

    def _plain(self, name: str, parameters: Any, labels: Any, hyperparameters: dict[str, Any]) -> Form:
        form: Form = {"name": name, "wires": self.labels(labels)}
        if parameters:
            form["parameters"] = [self._parameter(parameter) for parameter in parameters]
        if hyperparameters:
            form["hyperparameters"] = {key: self.form(each) for key, each in hyperparameters.items()}
        return form

    def _parameter(self, value: Any) -> Any:
        if isinstance(value, _NO_PARAMETERS):
            raise ConfigurationError(f"{value!r:.80} is no number: give the parameter a value first.")
        return self._leaf(value)

    def _leaf(self, value: Any) -> Any:
        if self._leaves_out and isinstance(value, _SCALARS) and not np.ndim(value):
            self.columns += 1
            return {"column": self.columns - 1}
        return self.number(value)

    def labels(self, labels: tuple[Any, ...]) -> list[Any]:
        """The labels of wires."""
        return [label if type(label) in AS_IT_IS else self.number(label) for label in labels]

    def settings(self, metadata: Any) -> Any:
        """Settings with names as a mapping, others as a list."""
        if all(type(each) is tuple and len(each) == 2 and type(each[0]) is str for each in metadata):
            return {key: self.form(each) for key, each in metadata}
        return [self.form(each) for each in metadata]

    def mid_measure(self, operator: MidMeasure | PauliMeasure) -> Form:
        """A mid-circuit measurement, with its number in place of its id."""
        given = operator.hyperparameters
        form = {key: self.form(each) for key, each in given.items() if key != "meas_uid"}
        number = self._numbers.setdefault(given["meas_uid"], len(self._numbers))
        form |= {"name": name_of(type(operator)), "number": number, "wires": self.labels(operator.wires.labels)}
        return form

    def measured(self, value: MeasurementValue) -> Form:
        """A reference to a mid-circuit measurement: its number, or itself if that is not in the circuit."""
        if value.has_processing:
            raise ConfigurationError(
                "a value computed of mid-circuit measurements, such as ~m or m0 + m1, is a function and cannot be "
                "stored: use the measurements themselves, or turn them into controlled operations with "
                "qml.defer_measurements first."
            )
        forms = [self.mid_measure(measurement) for measurement in value.measurements]
        return {"measured": [form["number"] if self._is_defined(form) else form for form in forms]}

    def define(self, operator: MidMeasure | PauliMeasure) -> Form:
        """A mid-circuit measurement as an operation, which others refer to by its number."""
        form = self.mid_measure(operator)
        self._defined.setdefault(form["number"], form)
        return form

    def _is_defined(self, form: Form) -> bool:
        return self._defined.get(form["number"]) == form


# Plain gates as text


def plain_text(operation: Operator) -> str | None:
    """The text of an operation of wires and doubles, put together of what does not change; ``None`` for any other."""
    frame = frame_of(operation)
    if frame is None or not operation.data:
        return None if frame is None else frame[0]
    texts = double_texts(operation.data)
    return None if texts is None else f"{frame[1]}{','.join(texts)}{frame[2]}"


def frame_of(operation: Operator) -> tuple[str, str, str] | None:
    """What is the same in all operations of its class on its wires: without parameters, before them, and after them.

    ``None`` if it is more than wires and numbers.
    """
    kind: Any = type(operation)
    if kind in BARE:
        return None if operation.hyperparameters else _frame(kind, *operation._wires._labels)
    return _frame(kind, *wire_labels(operation)) if kind in CONTROLLED else None


def double_texts(data: Iterable[Any]) -> list[str] | None:
    """Doubles as texts; ``None`` if one of them is none, or not finite."""
    texts = []
    for number in data:
        if type(number) is np.ndarray and number.dtype.char == "d" and not number.shape:
            number = number.item()
        if type(number) not in _DOUBLES or not math.isfinite(number):
            return None
        texts.append(float.__repr__(number))
    return texts


@lru_cache(2**14, typed=True)
def _frame(kind: Any, *labels: Any) -> tuple[str, str, str] | None:
    if not all(type(label) in AS_IT_IS for label in labels):
        return None
    name, wires = f'{{"name":"{name_of(kind)}"', f'"wires":{canonical(list(labels))}}}'
    return f"{name},{wires}", f'{name},"parameters":[', f"],{wires}"


_DOUBLES = frozenset({float, np.float64})


def shots_form(shots: Shots) -> list[list[int]] | None:
    """Shots as pairs of how many and how often; ``None`` for none."""
    return [[int(group.shots), int(group.copies)] for group in shots.shot_vector] or None


def _sparse_form(value: Any) -> Form:
    matrix = sparse.csr_array(value)
    matrix.sum_duplicates()
    parts = {"data": matrix.data, "columns": matrix.indices.astype("<i8"), "rows": matrix.indptr.astype("<i8")}
    kind = "array" if isinstance(value, sparse.sparray) else "matrix"
    return {"sparse": {"kind": kind, "shape": list(matrix.shape), **{key: array_form(parts[key]) for key in parts}}}


def _conditional(draft: CircuitEncoder, operator: Conditional) -> Form:
    return {"name": "Conditional", "if": draft.form(operator.meas_val), "then": draft.form(operator.base)}


def _class_form(kind: type) -> Form:
    """A class as a value: the type of samples, or the gates of a layer."""
    if issubclass(kind, np.generic) and np.dtype(kind).name in DTYPES:
        return {"type": np.dtype(kind).name}
    return {"kind": name_of(kind)}


_NO_PARAMETERS = (str, dict, type(None), Operator, MeasurementProcess, Wires, Shots)

AS_IT_IS = frozenset({int, str})
"""Types of labels of wires that are written as they are."""

_SCALARS = (int, float, np.ndarray, np.generic)

_NESTED = (list, tuple)

_PLAIN = (str, int, complex, dict, type(None), Operator, MeasurementProcess, sparse.sparray, sparse.spmatrix, Wires)
"""What parameters may be that are no numbers of NumPy or of an interface."""

_PYTHONS = frozenset({"float64", "int64", "bool", "complex128"})
"""Types of NumPy whose scalars are the same circuit's as Python's own numbers."""

_WRITERS: dict[type, Callable[[CircuitEncoder, Any], Any]] = {
    MidMeasure: CircuitEncoder.define,
    PauliMeasure: CircuitEncoder.define,
    Conditional: _conditional,
    MeasurementValue: CircuitEncoder.measured,
    Wires: lambda draft, wires: {"wires": draft.labels(wires.labels)},
    Shots: lambda _, shots: {"shots": shots_form(shots)},
    PauliWord: lambda draft, word: {"pauli word": [[draft.number(wire), word[wire]] for wire in word]},
    PauliSentence: lambda draft, words: {
        "pauli sentence": [[draft.form(word), draft.form(words[word])] for word in words]
    },
}
