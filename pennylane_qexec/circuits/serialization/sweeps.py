"""Sweeps, and the results of their rows, as text: one template and one array in place of many circuits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.serialization.circuits import forms_of
from pennylane_qexec.circuits.serialization.decoding import CircuitDecoder, built, shots_of
from pennylane_qexec.circuits.serialization.encoding import CircuitEncoder, shots_form
from pennylane_qexec.circuits.serialization.results import result_form, result_value
from pennylane_qexec.circuits.serialization.values import (
    DTYPES,
    array_form,
    array_of,
    canonical,
    content_of,
    guarded,
    items_of,
    text_of,
)
from pennylane_qexec.circuits.structure import REAL
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Sweep

# Sweeps

MOST_EMPTY_ROWS = 10**6
"""Rows without numbers take no place in a text. This is how many it may have."""

_KNOWN = 64
"""Templates whose texts are kept."""

_templates: dict[Any, tuple[str, int]] = {}


def sweep_text(sweep: Sweep) -> str:
    """A sweep as text that is safe to load and can be read without this package.

    Args:
        sweep: circuits of operators and measurements of PennyLane, whose structure has a key.

    Returns:
        JSON in ASCII, on one line: the template, in which columns stand in place of numbers, and the array of numbers.
        Equal sweeps give equal texts, in every process and version of Python.

    Raises:
        ConfigurationError: there is something in the circuits that cannot be stored. Some may be, one by one.
    """
    parameters = canonical(array_form(np.ascontiguousarray(sweep.parameters)))
    return f"{_BEFORE}{parameters}{_BETWEEN}{template_text(sweep)}{_AFTER}"


def template_text(sweep: Sweep) -> str:
    """What is written of a sweep beside its numbers. It is the same for all sweeps of one structure.

    Raises:
        ConfigurationError: as for :func:`sweep_text`.
    """
    if sweep.key is None:
        raise ConfigurationError("the circuits of a sweep cannot be compared with others: store them one by one.")
    known = sweep.key, sweep.slots
    written = _templates.get(known)
    if written is None:
        form, columns = guarded("the sweep", partial(_template_form, sweep, verifies=True))
        if len(_templates) >= _KNOWN:
            _templates.clear()
        written = _templates[known] = canonical(form), columns
    text, columns = written
    _check_shape(sweep, columns)
    return text


def _check_shape(sweep: Sweep, columns: int) -> None:
    if sweep.parameters.ndim != 2 or sweep.parameters.shape[1] != columns:
        raise ConfigurationError(
            f"a sweep of circuits with {columns} parameters has an array of shape {sweep.parameters.shape}."
        )


def sweep_of(text: str) -> Sweep:
    """The sweep of a text.

    Args:
        text: what :func:`sweep_text` has written. It may come from anybody, as that of a circuit may.

    Returns:
        A sweep whose template is its first circuit.

    Raises:
        ConfigurationError: the text is no stored sweep, damaged, or of a later version, or the PennyLane that is
            installed does not build from it what it says.
    """
    content = content_of("sweep", text)
    if set(content) != {"parameters", "template"}:
        raise ConfigurationError(f"a stored sweep has the parts {sorted(content)!r:.80}: the text is damaged.")
    sweep: Sweep = guarded("the stored sweep", lambda: built("the sweep", lambda: _sweep(content)))
    return sweep


def _template_form(sweep: Sweep, verifies: bool = False) -> tuple[dict[str, Any], int]:
    """What is written of a sweep beside its numbers, and how many these are in each row."""
    draft = CircuitEncoder()
    places, slots = itertools.count(), frozenset(sweep.slots)
    form = {
        "operations": forms_of(
            "operation",
            sweep.template.operations,
            lambda operation: (draft.with_columns if next(places) in slots else draft.form)(operation),
        ),
        "measurements": forms_of("measurement", sweep.template.measurements, draft.form),
        "shots": shots_form(sweep.template.shots),
    }
    if verifies and draft.has_templates:
        _check_shape(sweep, draft.columns)
        _sweep({"parameters": array_form(sweep.parameters[:1]), "template": form})
    return form, draft.columns


def _sweep(content: dict[str, Any]) -> Sweep:
    parameters, template = array_of(content["parameters"]), content["template"]
    if parameters.ndim != 2 or not len(parameters) or parameters.dtype.kind not in REAL:
        raise ConfigurationError(f"the numbers of a sweep are {parameters.dtype.name} of shape {parameters.shape}.")
    if not parameters.size and len(parameters) > MOST_EMPTY_ROWS:
        raise ConfigurationError(
            f"a sweep of {len(parameters)} rows without numbers: at most {MOST_EMPTY_ROWS} may be."
        )
    if set(template) != {"measurements", "operations", "shots"}:
        raise ConfigurationError(f"the template of a sweep has the parts {sorted(template)!r:.80}.")
    circuit, slots = _template(template, parameters[0].tolist())
    own = sweep_of_circuit(circuit)
    if own is None or own.slots != slots:
        raise ConfigurationError("the gates with parameters are not those in which the sweep has them.")
    sweep = Sweep(circuit, parameters, slots, own.key)
    for key, each in _template_form(sweep)[0].items():
        if canonical(template[key]) != canonical(each):
            raise ConfigurationError(
                f"PennyLane {qml.__version__} does not build the {key} that the stored sweep has: the text is "
                "damaged, or was written with another version of PennyLane. Use that one."
            )
    return sweep


def _template(form: dict[str, Any], row: Sequence[Any]) -> tuple[QuantumScript, tuple[int, ...]]:
    """The circuit of a row, and which of its operations have numbers of it."""
    reading, operations, slots = CircuitDecoder(row), [], []
    with QueuingManager.stop_recording():
        for index, each in enumerate(items_of(form["operations"])):
            before = reading.columns
            operations.append(reading.named(each, Operator))
            slots += [index] * (reading.columns > before)
        measurements = [reading.named(each, MeasurementProcess) for each in items_of(form["measurements"])]
    if reading.columns != len(row):
        raise ConfigurationError(f"{reading.columns} of the {len(row)} columns of a sweep are in its template.")
    return QuantumScript(operations, measurements, shots=shots_of(form["shots"])), tuple(slots)


_BEFORE, _BETWEEN, _AFTER = text_of("sweep", {"parameters": None, "template": None}).split("null")
"""What is written around the numbers and the template."""


# Results of rows


def results_text(results: Sequence[Any]) -> str:
    """The results of the rows of a sweep as text; numbers and arrays of one kind as one array.

    Args:
        results: for each row, what :func:`result_text` takes.

    Raises:
        ConfigurationError: there is something else in a result.
    """
    return guarded("the results", lambda: text_of("results", {"results": _column_form(list(results))}))


def results_of(text: str) -> list[Any]:
    """The results of a text that :func:`results_text` has written, with the types they had.

    Raises:
        ConfigurationError: the text is none, damaged, or of a later version.
    """
    content = content_of("results", text)
    if set(content) != {"results"}:
        raise ConfigurationError(f"stored results have the parts {sorted(content)!r:.80}: the text is damaged.")
    return guarded("the stored results", lambda: _column(content["results"]))


def _column_form(values: list[Any]) -> dict[str, Any]:
    """Values of which there is one in each row."""
    kinds = set(map(type, values))
    kind: Any = kinds.pop() if len(kinds) == 1 else None
    if kind is float:
        return {"floats": array_form(np.array(values))}
    if kind in _SCALARS:
        return {"scalars": array_form(np.array(values))}
    if kind is np.ndarray and len({(value.dtype, value.shape) for value in values}) == 1 and values[0].dtype.isnative:
        return {"arrays": array_form(np.array(values))}
    if kind is tuple and values[0] and len(set(map(len, values))) == 1:
        return {"tuples": [_column_form(list(column)) for column in zip(*values, strict=True)]}
    return {"values": [result_form(value) for value in values]}


def _column(form: Any) -> list[Any]:
    if type(form) is not dict or len(form) != 1:
        raise ConfigurationError(f"{form!r:.80} in the text is no column of results: the text is damaged.")
    ((tag, content),) = form.items()
    if tag == "values":
        return [result_value(each) for each in items_of(content)]
    if tag == "tuples":
        return _tuples([_column(each) for each in items_of(content)])
    if tag not in ("floats", "scalars", "arrays") or type(content) is not dict or "dtype" not in content:
        raise ConfigurationError(f"{form!r:.80} in the text is no column of results: the text is damaged.")
    array = array_of(content)
    fits = array.ndim == 1 if tag != "arrays" else array.ndim and (array.size or len(array) <= MOST_EMPTY_ROWS)
    if not fits or (tag == "floats" and array.dtype != np.float64):
        raise ConfigurationError(f"an array of {array.dtype.name} of shape {array.shape} has no {tag}.")
    if tag == "floats":
        numbers: list[Any] = array.tolist()
        return numbers
    return list(array) if tag == "scalars" else [array[row, ...] for row in range(len(array))]


def _tuples(columns: list[list[Any]]) -> list[Any]:
    if len(set(map(len, columns))) != 1:
        raise ConfigurationError("the results of a sweep have parts of different lengths: the text is damaged.")
    return list(zip(*columns, strict=True))


_SCALARS = frozenset(dtype.type for dtype in DTYPES.values())
