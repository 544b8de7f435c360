"""Bounds on operators that PennyLane would build of a short text and that would fill the memory."""

from __future__ import annotations

from typing import Any

import pennylane as qml
from pennylane.operation import Operator

from pennylane_qexec.errors import ConfigurationError

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
