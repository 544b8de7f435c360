"""The parts of a circuit from JSON, with bounds on operators that a short text could make fill the memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess, MeasurementValue, SampleMP, ShadowExpvalMP, Shots
from pennylane.operation import Operator
from pennylane.ops import Conditional, MidMeasure, PauliMeasure
from pennylane.pauli import PauliSentence, PauliWord
from pennylane.pytrees.pytrees import unflatten_registrations
from pennylane.wires import Wires
from scipy import sparse

from pennylane_qexec.circuits.serialization.encoding import STATES, is_plain, kind_of
from pennylane_qexec.circuits.serialization.values import DTYPES, array_of, canonical, items_of, value_of
from pennylane_qexec.errors import ConfigurationError

Form = dict[str, Any]


# Bounds on operators

MOST_TERMS = 10**6
"""Products of Pauli sentences are multiplied out when they are built. This is how many terms they may have."""


def check_size(kind: type, parts: tuple[Any, ...], settings: tuple[Any, ...]) -> None:
    """Refuse to build what would become much larger than the text that it is read from.

    Args:
        kind: the class of an operator.
        parts: what it is made of.
        settings: how it is made.

    Raises:
        ConfigurationError: it would.
    """
    size = 0
    if kind in (qml.ops.Prod, qml.ops.ChangeOpBasis):
        size = _terms(parts, [1] * len(parts))
    elif issubclass(kind, qml.ops.Pow):
        size = _power(*parts, *settings)
    elif kind is qml.FABLE:
        size = max(parts[0].shape) ** 2 - parts[0].size
    if size > MOST_TERMS:
        raise ConfigurationError(
            f"{kind.__name__} in the text would become {size:.3g} numbers or terms: at most {MOST_TERMS} are read."
        )


def _power(base: Operator, exponent: Any) -> int:
    if type(exponent) is not int or exponent < 1 or base.pauli_rep is None:
        return 0
    return exponent * _terms((base,), [min(exponent, 64)])


def _terms(operators: tuple[Operator, ...], times: list[int]) -> int:
    """How many terms a product has at most; 0 if it is not multiplied out."""
    wires: set[Any] = set()
    terms = 1
    for operator, often in zip(operators, times, strict=True):
        if operator.pauli_rep is None:
            return 0
        wires.update(operator.wires)
        terms *= len(operator.pauli_rep) ** often
    most: int = 4 ** len(wires)
    return min(terms, most)


# Parts of circuits


class CircuitDecoder:
    """Reads the parts of one circuit. A mid-circuit measurement is one object wherever it occurs.

    Args:
        row: of a sweep, the numbers of the circuit, which stand in columns.

    Attributes:
        columns: how many of them were read.
    """

    def __init__(self, row: Sequence[Any] = ()) -> None:
        self.columns = 0
        self._row = row
        self._ids: dict[int, str] = {}
        self._by_form: dict[str, Operator] = {}
        self._by_number: dict[int, Operator] = {}

    def value(self, form: Any) -> Any:
        """Any part of a circuit.

        Raises:
            ConfigurationError: the form is damaged, or PennyLane does not build what it says.
        """
        if type(form) is not dict:
            return value_of(form, self.value)
        if "name" in form:
            return self.named(form, Operator | MeasurementProcess)
        if len(form) == 1:
            tag, content = next(iter(form.items()))
            if tag in _READERS:
                return built(tag, lambda: _READERS[tag](self, content))
        return value_of(form, self.value)

    def named(self, form: Any, base: Any) -> Any:
        """An operator or a measurement.

        Raises:
            ConfigurationError: as for :meth:`value`, or the form is of nothing that is derived from ``base``.
        """
        if type(form) is not dict or "name" not in form:
            raise ConfigurationError(f"{form!r:.80} in the text must be an operator or a measurement with a name.")
        kind = kind_of(form["name"])
        if not issubclass(kind, base):
            raise ConfigurationError(f"{kind.__name__} is in the wrong place in the text: the text is damaged.")
        parts = {key: each for key, each in form.items() if key != "name"}
        if kind in _BUILDERS:
            build = _BUILDERS[kind]
        else:
            build = CircuitDecoder._measurement if issubclass(kind, MeasurementProcess) else CircuitDecoder._operator
        return built(kind.__name__, lambda: build(self, kind, parts))

    def _operator(self, kind: Any, parts: Form) -> Operator:
        if "wires" not in parts:
            leaves = tuple(map(self.value, items_of(parts.pop("parts"))))
            metadata = self._metadata(parts.pop("settings", []))
        else:
            leaves, wires = self._parameters(parts), self._wires(parts)
            metadata = (wires, tuple(self._mapping(parts.pop("hyperparameters", {})).items()))
            metadata = metadata if is_plain(kind) else (wires,)
        _check_empty(parts)
        check_size(kind, leaves, metadata)
        return unflatten_registrations[kind](leaves, metadata)

    def _state(self, kind: Any, parts: Form) -> Operator:
        """A state is padded and normalized already: another time could change its last digits."""
        (state,), wires = self._parameters(parts), self._wires(parts)
        hyperparameters = self._mapping(parts.pop("hyperparameters"))
        _check_empty(parts)
        operator = kind(state, wires=wires)
        operator.hyperparameters.update(hyperparameters)
        return operator

    def _measurement(self, kind: Any, parts: Form) -> MeasurementProcess:
        leaves = [self.value(parts.pop(key, None)) for key in ("of", "eigenvalues")]
        if leaves[0] is not None and not isinstance(leaves[0], Operator | MeasurementValue | list):
            raise ConfigurationError(f"{leaves[0]!r:.80} in the text is nothing that {kind.__name__} is of.")
        dtype = self.value(parts.pop("dtype", None)) if kind is SampleMP else None
        if type(parts.get("wires")) is list:
            parts["wires"] = {"wires": parts["wires"]}
        metadata = tuple(self._mapping(parts).items())
        measurement = unflatten_registrations[kind](leaves[:1] if kind is ShadowExpvalMP else leaves, metadata)
        if dtype is not None:
            measurement._dtype = dtype
        return measurement

    def _defined(self, kind: Any, parts: Form) -> Operator:
        number: Any = parts.get("number")
        operator = self._mid_measure(kind, parts)
        self._by_number.setdefault(number, operator)
        return operator

    def _mid_measure(self, kind: Any, parts: Form) -> Operator:
        form, number = canonical([kind.__name__, parts]), parts.pop("number")
        if type(number) is not int:
            raise ConfigurationError(f"{number!r:.80} is no number of a mid-circuit measurement.")
        if form not in self._by_form:
            name = self._ids.setdefault(number, str(uuid.uuid4()))
            self._by_form[form] = kind(wires=self._wires(parts), meas_uid=name, **self._mapping(parts))
        return self._by_form[form]

    def _conditional(self, kind: Any, parts: Form) -> Operator:
        condition, operator = self.value(parts.pop("if")), self.value(parts.pop("then"))
        _check_empty(parts)
        return kind(condition, operator)

    def measured(self, content: Any) -> MeasurementValue:
        """A reference to a mid-circuit measurement."""
        return MeasurementValue([self._referred(each) for each in items_of(content)])

    def _referred(self, form: Any) -> Operator:
        if type(form) is int:
            return self._by_number[form]
        kind = kind_of(form["name"])
        if kind not in _MID_MEASURES:
            raise ConfigurationError(f"{kind.__name__} is no measurement in the middle: the text is damaged.")
        return self._mid_measure(kind, {key: each for key, each in form.items() if key != "name"})

    def column(self, content: Any) -> Any:
        """A number of the row. Each stands once, in order."""
        if type(content) is not int or content != self.columns or content >= len(self._row):
            raise ConfigurationError(f"{content!r:.80} is not the next column of the text: the text is damaged.")
        self.columns += 1
        return self._row[content]

    def _parameters(self, parts: Form) -> tuple[Any, ...]:
        found = tuple(map(self.value, items_of(parts.pop("parameters", []))))
        if not all(isinstance(each, _PARAMETERS) for each in found):
            raise ConfigurationError(f"the parameters {found!r:.80} in the text must be numbers: the text is damaged.")
        return found

    def _wires(self, parts: Form) -> Wires:
        return Wires([self.value(label) for label in items_of(parts.pop("wires"))])

    def _mapping(self, parts: Any) -> dict[str, Any]:
        return {key: self.value(each) for key, each in parts.items()}

    def _metadata(self, settings: Any) -> tuple[Any, ...]:
        if type(settings) is dict:
            return tuple(self._mapping(settings).items())
        return tuple(map(self.value, items_of(settings)))


def shots_of(form: Any) -> Shots:
    """The shots of a form.

    Raises:
        ConfigurationError: the form is damaged.
    """
    if form is None:
        return Shots(None)
    groups = [tuple(items_of(group, 2)) for group in items_of(form)]
    if not groups or not all(type(number) is int and number > 0 for group in groups for number in group):
        raise ConfigurationError(f"the shots {form!r:.80} must be pairs of numbers above 0, or null.")
    return Shots(groups)


def built(name: str, build: Callable[[], Any]) -> Any:
    """What PennyLane builds of what was read, or does with it. Each of its classes raises what it likes if it cannot.

    Raises:
        ConfigurationError: it cannot.
    """
    try:
        return build()
    except (ConfigurationError, RecursionError):
        raise
    except Exception as error:
        raise ConfigurationError(
            f"PennyLane {qml.__version__} does not build {name} of what the text says ({type(error).__name__}: "
            f"{error!s:.200}): the text is damaged, or of another version of PennyLane."
        ) from error


def _check_empty(parts: Form) -> None:
    if parts:
        raise ConfigurationError(f"{sorted(parts)!r:.80} in the text belongs to nothing: the text is damaged.")


def _sparse_of(_: CircuitDecoder, content: Any) -> Any:
    kind, shape = _SPARSE[content["kind"]], tuple(items_of(content["shape"], 2))
    data, columns, rows = (array_of(content[key]) for key in ("data", "columns", "rows"))
    matrix = kind((data, columns, rows), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _pauli_word(reading: CircuitDecoder, content: Any) -> PauliWord:
    return PauliWord({reading.value(wire): letter for wire, letter in map(items_of, items_of(content))})


def _pauli_sentence(reading: CircuitDecoder, content: Any) -> PauliSentence:
    pairs = map(items_of, items_of(content))
    return PauliSentence({reading.value(word): reading.value(coefficient) for word, coefficient in pairs})


_MID_MEASURES = frozenset({MidMeasure, PauliMeasure})

_PARAMETERS = (int, float, complex, list, tuple, np.ndarray, np.generic, sparse.sparray, sparse.spmatrix)

_SPARSE = {"array": sparse.csr_array, "matrix": sparse.csr_matrix}

_BUILDERS: dict[type, Callable[[CircuitDecoder, Any, Form], Any]] = {
    **dict.fromkeys(STATES, CircuitDecoder._state),
    **dict.fromkeys(_MID_MEASURES, CircuitDecoder._defined),
    Conditional: CircuitDecoder._conditional,
}

_READERS: dict[str, Callable[[CircuitDecoder, Any], Any]] = {
    "wires": lambda reading, content: reading._wires({"wires": content}),
    "measured": CircuitDecoder.measured,
    "column": CircuitDecoder.column,
    "shots": lambda _, content: shots_of(content),
    "sparse": _sparse_of,
    "pauli word": _pauli_word,
    "pauli sentence": _pauli_sentence,
    "type": lambda _, content: DTYPES[content].type,
    "kind": lambda _, content: kind_of(content),
}
