"""Numbers, and what is made of them, as JSON at once: character by character what their forms are written as."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

import numpy as np
import pennylane as qml

from pennylane_qexec.written.arrays import FEW
from pennylane_qexec.written.documents import canonical
from pennylane_qexec.written.values import form_of

DEEPEST = 6
"""How far what is nested is written at once. What is nested further is better refused the way all is that cannot be
read again."""

_FLOATS = frozenset({float, np.float64})

_ARRAYS = frozenset({np.ndarray, qml.numpy.tensor})

_digits = float.__repr__


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
