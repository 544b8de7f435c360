"""Telling in what the results of a QElectron differ from those of a QNode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pennylane as qml

PATIENCE = 60.0  # seconds after which a test that hangs fails
SEED = 5

HOW: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "called": lambda circuit: circuit,
    "later": lambda circuit: lambda *args, **kwargs: circuit.run_later(*args, **kwargs).result(PATIENCE),
}
"""How a circuit gets from its arguments to its result."""


def differences(one: Any, other: Any, types: bool = True, values: bool = True, where: str = "result") -> list[str]:
    """In what two results differ, as sentences; containers, dtypes and shapes are always compared.

    Args:
        one, other: what two circuits returned: numbers and arrays of any interface, in containers.
        types: whether numbers and arrays must be of one class, and be trainable or not alike.
        values: whether they must be equal, within 1e-6.
        where: what the sentences begin with.
    """
    if isinstance(one, dict | list | tuple):
        if type(one) is not type(other):
            return [f"{where} is {one!r} and {other!r}"]
        if isinstance(one, dict) and not values and one.keys() != other.keys():  # counts of different samples
            return [] if _types(one) == _types(other) else [f"{where} has keys of the types {_types(one)}"]
        if len(one) != len(other) or (isinstance(one, dict) and list(one) != list(other)):
            return [f"{where} is {one!r} and {other!r}"]
        keys: Iterable[Any] = one if isinstance(one, dict) else range(len(one))
        return [each for key in keys for each in differences(one[key], other[key], types, values, f"{where}[{key!r}]")]
    traits = ["dtype", "shape", *(["__class__", "requires_grad"] if types else [])]
    found = [f"{where} has another {what}" for what in traits if getattr(one, what, None) != getattr(other, what, None)]
    if values and not found and not _close(one, other):
        found.append(f"{where} is {one!r} and {other!r}")
    return found


def _types(counts: dict[Any, Any]) -> set[type]:
    return {type(each) for item in counts.items() for each in item}


def _close(one: Any, other: Any) -> bool:
    if str(getattr(one, "dtype", None)) == "object":  # counts of several parameters
        return bool(np.all(one == other))
    return np.allclose(qml.math.toarray(one), qml.math.toarray(other), rtol=0, atol=1e-6)
