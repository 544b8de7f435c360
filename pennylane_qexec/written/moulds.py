"""Circuits of one structure as JSON: what they have in common is written once, and their numbers are put into it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from operator import attrgetter
from typing import Any

import numpy as np
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from pennylane_qexec.fusion import Likeness
from pennylane_qexec.structure import BARE, labels

_NUMBERS = frozenset({float, np.float64})
_LABELS = (frozenset({int}), frozenset({str}))

_data = attrgetter("data")
_digits = float.__repr__


class Mould:
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
        self._likeness = Likeness(circuit)
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
