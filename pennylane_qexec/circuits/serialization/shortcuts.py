"""What is written of circuits that come again and again, as the steps of an optimiser do, and need not be twice."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator

from pennylane_qexec.circuits.observables import Numbers, is_seen_by_its_numbers
from pennylane_qexec.circuits.serialization.encoding import AS_IT_IS, double_texts, frame_of
from pennylane_qexec.circuits.structure import BARE, PLAIN_GATES, wire_labels

_data = attrgetter("data")

# Gates

_KEPT = 64
"""Structures of circuits that are remembered."""

_MOST_GATES = 2000
"""Those of longer circuits are not, as their texts take much memory."""

_blanks: dict[Any, str | None] = {}
"""The texts of operations by their kinds and wires, with blanks for numbers; ``None`` where these came only once."""


def gates_text(operations: Sequence[Operator]) -> str | None:
    """The operations of a circuit as text, if such gates on such wires came before.

    Returns:
        The text; ``None`` the first time, and of operations that are more than wires and doubles.
    """
    if len(operations) > _MOST_GATES:
        return None
    kinds = tuple(map(type, operations))
    if not PLAIN_GATES.issuperset(kinds):
        return None
    labels = tuple(map(wire_labels, operations))
    if not AS_IT_IS.issuperset(map(type, chain.from_iterable(labels))):
        return None  # others may be equal, and are written in another way
    structure = kinds, labels
    if structure not in _blanks:
        if len(_blanks) >= _KEPT:
            _blanks.clear()
        _blanks[structure] = None
        return None
    blank = _blanks.get(structure) or _blank_of(operations)
    if blank is None or any(operation.hyperparameters for operation in operations if type(operation) in BARE):
        return None
    _blanks[structure] = blank
    numbers = double_texts(chain.from_iterable(map(_data, operations)))
    return None if numbers is None else blank % tuple(numbers)


def _blank_of(operations: Sequence[Operator]) -> str | None:
    texts = []
    for operation in operations:
        frame = frame_of(operation)
        if frame is None:
            return None
        bare, before, after = [text.replace("%", "%%") for text in frame]
        texts.append(f"{before}{','.join(['%s'] * len(operation.data))}{after}" if operation.data else bare)
    return ",".join(texts)


# Measurements

_texts: dict[tuple[int, type], tuple[Any, Numbers, str]] = {}
"""The texts of measurements of observables that are there still, with the numbers that these had."""


def remembered(measurement: MeasurementProcess, numbers: Numbers, write: Callable[[], tuple[str, bool]]) -> str:
    """The text of a measurement of a long observable, which programs measure in each step.

    Args:
        measurement: the measurement.
        numbers: those of its observable.
        write: writes it, and says whether that may be remembered.
    """
    observable: Any = measurement.obs
    key = id(observable), type(measurement)
    known = _texts.get(key)
    if known is not None and known[0]() is observable and known[1] == numbers:
        return known[2]
    text, may_be_remembered = write()
    if may_be_remembered and is_seen_by_its_numbers(observable):
        _texts[key] = weakref.ref(observable, lambda _: _texts.pop(key, None)), numbers, text
    return text
