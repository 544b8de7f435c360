"""Plain values as JSON, each with its exact type: numbers, text, arrays, and tuples, lists and mappings of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.written.arrays import (
    DTYPES,
    array_form,
    array_of,
    number_form,
    number_of,
    scalar_form,
    scalar_of,
)

Part = Callable[[Any], Any]
"""Writes, or reads, a part of a value."""


def form_of(value: Any, part: Part) -> Any:
    """A value as JSON has it.

    Args:
        value: what is to be written. Tensors of Autograd, JAX and Torch are written as NumPy's arrays.
        part: writes the parts of tuples, lists and mappings.

    Raises:
        ConfigurationError: it is neither a number nor text, nor an array, tuple, list or mapping.
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value, part)
    if isinstance(value, np.generic):
        return scalar_form(value)
    for base in (np.ndarray, str, int, float, complex, tuple, list, dict):
        if isinstance(value, base):
            return _WRITERS[base](_as(base, value), part)
    return array_form(tensor(value))


def value_of(form: Any, part: Part) -> Any:
    """The value of a form.

    Args:
        form: what :func:`form_of` has made.
        part: reads the parts of tuples, lists and mappings.

    Raises:
        ConfigurationError: the form is damaged.
    """
    if type(form) is list:
        return [part(each) for each in form]
    if type(form) is not dict:
        return form
    if "dtype" in form:
        return array_of(form)
    tag, content = next(iter(form.items())) if len(form) == 1 else (None, None)
    if tag in DTYPES:
        return scalar_of(tag, content)
    if tag not in _READERS:
        raise ConfigurationError(f"{sorted(form)!r:.80} in the text stands for nothing that is known here.")
    return _READERS[tag](content, part)


def tensor(value: Any) -> np.ndarray[Any, Any]:
    """A tensor of any interface, as NumPy's array.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        array = np.asarray(qml.math.to_numpy(value))
    except RecursionError:
        raise
    except Exception as error:  # a tracer, a symbol, any object: each library raises what it likes
        raise ConfigurationError(f"{_named(value)} cannot be written ({error}). {_KNOWN}") from error
    if array.dtype.name not in DTYPES:
        raise ConfigurationError(f"{_named(value)} cannot be written. {_KNOWN}")
    return array


def items_of(content: Any, length: int | None = None) -> list[Any]:
    """A list in a text, of some length.

    Raises:
        ConfigurationError: it is no such list.
    """
    if type(content) is not list or length not in (None, len(content)):
        wanted = "a list" if length is None else f"a list of {length}"
        raise ConfigurationError(f"{content!r:.80} in the text must be {wanted}: the text is damaged.")
    return content


def _named(value: Any) -> str:
    return f"{value!r:.80} of type {type(value).__module__}.{type(value).__qualname__}"


def _as(base: Any, value: Any) -> Any:
    """A value of a derived class, such as a Counter or a member of an IntEnum, as its base."""
    return np.asarray(value) if base is np.ndarray else base.__str__(value) if base is str else base(value)


def _float_form(value: float, _: Part) -> Any:
    return value if math.isfinite(value) else {"float": repr(value)}


def _dict_form(value: dict[Any, Any], part: Part) -> dict[str, Any]:
    return {"dict": [[part(key), part(each)] for key, each in value.items()]}


def _read_dict(content: Any, part: Part) -> dict[Any, Any]:
    pairs = [[part(each) for each in items_of(pair, 2)] for pair in items_of(content)]
    try:
        found = {key: each for key, each in pairs}  # noqa: C416 - dict() would read more than pairs
    except TypeError as error:
        raise ConfigurationError(f"a mapping in the text has a key that cannot be one ({error}).") from error
    if len(found) < len(pairs):
        raise ConfigurationError("a mapping in the text has a key twice: the text is damaged.")
    return found


def _read_text(content: Any, _: Part) -> Any:
    if type(content) is not str:
        raise ConfigurationError(f"{content!r:.80} in the text must be text: the text is damaged.")
    return np.str_(content)


def _same(value: Any, _: Part) -> Any:
    return value


_KNOWN = "Numbers, text, arrays, and tuples, lists and mappings of them can."

_WRITERS: dict[type, Callable[[Any, Part], Any]] = {
    type(None): _same,
    bool: _same,
    int: _same,
    str: _same,
    float: _float_form,
    np.float64: lambda value, _: {"float64": number_form(float(value))},
    complex: lambda value, _: {"complex": number_form(value)},
    np.str_: lambda value, _: {"str": str(value)},
    np.ndarray: lambda value, _: array_form(value),
    list: lambda value, part: [part(each) for each in value],
    tuple: lambda value, part: {"tuple": [part(each) for each in value]},
    dict: _dict_form,
}

_READERS: dict[Any, Callable[[Any, Part], Any]] = {
    "float": lambda content, _: number_of(content, "f"),
    "complex": lambda content, _: number_of(content, "c"),
    "str": _read_text,
    "tuple": lambda content, part: tuple([part(each) for each in items_of(content)]),
    "dict": _read_dict,
}
