"""The parts of a circuit as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from pennylane.measurements import MeasurementProcess, MeasurementValue, SampleMP, Shots
from pennylane.operation import Operator
from pennylane.ops import Conditional, MidMeasure, PauliMeasure
from pennylane.pauli import PauliSentence, PauliWord
from pennylane.pytrees.pytrees import flatten_registrations
from pennylane.wires import Wires
from scipy import sparse

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.fingerprint import parts_of
from pennylane_qexec.structure import wire_labels
from pennylane_qexec.written.arrays import DTYPES, array_form, scalar_form
from pennylane_qexec.written.kinds import name_of, style_of
from pennylane_qexec.written.values import form_of, tensor

Form = dict[str, Any]

ALL = "all"
"""What is written if all parameters are trainable."""


class Draft:
    """Writes the parts of one circuit. Its mid-circuit measurements, whose ids are random, are numbered in their order.

    Parameters and wires are written as Python's own numbers, however they are wrapped; settings with their exact types.

    Attributes:
        has_templates: whether there is a template in what was written. PennyLane does not build all of them again.
    """

    def __init__(self) -> None:
        self.has_templates = False
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

    def number(self, value: Any) -> Any:
        """A parameter or the label of a wire, or several."""
        if type(value) is float and math.isfinite(value):
            return value
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
        leaves, metadata = parts_of(operator)
        if len(metadata) == 1 and type(metadata[0]) is Wires and not any(isinstance(leaf, Operator) for leaf in leaves):
            return self._plain(style.name, leaves, metadata[0].labels, {})
        form: Form = {"name": style.name, "parts": [self.number(leaf) for leaf in leaves]}
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
        return self.number(value)

    def labels(self, labels: tuple[Any, ...]) -> list[Any]:
        """The labels of wires."""
        return [label if type(label) in _AS_IT_IS else self.number(label) for label in labels]

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


def shots_form(shots: Shots) -> list[list[int]] | None:
    """Shots as pairs of how many and how often; ``None`` for none."""
    return [[int(group.shots), int(group.copies)] for group in shots.shot_vector] or None


def _sparse_form(value: Any) -> Form:
    matrix = sparse.csr_array(value)
    matrix.sum_duplicates()
    parts = {"data": matrix.data, "columns": matrix.indices.astype("<i8"), "rows": matrix.indptr.astype("<i8")}
    kind = "array" if isinstance(value, sparse.sparray) else "matrix"
    return {"sparse": {"kind": kind, "shape": list(matrix.shape), **{key: array_form(parts[key]) for key in parts}}}


def _conditional(draft: Draft, operator: Conditional) -> Form:
    return {"name": "Conditional", "if": draft.form(operator.meas_val), "then": draft.form(operator.base)}


def _class_form(kind: type) -> Form:
    """A class as a value: the type of samples, or the gates of a layer."""
    if issubclass(kind, np.generic) and np.dtype(kind).name in DTYPES:
        return {"type": np.dtype(kind).name}
    return {"kind": name_of(kind)}


_NO_PARAMETERS = (str, dict, type(None), Operator, MeasurementProcess, Wires, Shots)

_AS_IT_IS = (int, str)

_NESTED = (list, tuple)

_PLAIN = (str, int, complex, dict, type(None), Operator, MeasurementProcess, sparse.sparray, sparse.spmatrix, Wires)
"""What parameters may be that are no numbers of NumPy or of an interface."""

_PYTHONS = frozenset({"float64", "int64", "bool", "complex128"})
"""Types of NumPy whose scalars are the same circuit's as Python's own numbers."""

_WRITERS: dict[type, Callable[[Draft, Any], Any]] = {
    MidMeasure: Draft.define,
    PauliMeasure: Draft.define,
    Conditional: _conditional,
    MeasurementValue: Draft.measured,
    Wires: lambda draft, wires: {"wires": draft.labels(wires.labels)},
    Shots: lambda _, shots: {"shots": shots_form(shots)},
    PauliWord: lambda draft, word: {"pauli word": [[draft.number(wire), word[wire]] for wire in word]},
    PauliSentence: lambda draft, words: {
        "pauli sentence": [[draft.form(word), draft.form(words[word])] for word in words]
    },
}
