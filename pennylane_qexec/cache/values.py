"""Results that can be kept: plain values, which are copied, so that nobody changes what the cache has."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_IMMUTABLE = (type(None), bool, int, float, complex, str)


class ForeignError(Exception):
    """A value is not made of plain ones: it belongs to JAX, PyTorch, Autograd or somebody else."""


def copied(value: Any) -> Any:
    """A copy of a result, of the very same types.

    Args:
        value: numbers, text, NumPy's arrays and scalars, and tuples, lists and dicts of them.

    Raises:
        ForeignError: something else is in it.
    """
    kind = type(value)
    if kind is np.ndarray and value.dtype.kind != "O":
        return value.copy()
    if kind in _IMMUTABLE or isinstance(value, np.generic):
        return value
    if kind is tuple:
        return tuple([copied(part) for part in value])
    if kind is list:
        return [copied(part) for part in value]
    if kind is dict:
        return {copied(key): copied(part) for key, part in value.items()}
    raise ForeignError(kind)


def size_of(value: Any) -> int:
    """About how many bytes a copied value takes in memory."""
    kind = type(value)
    if kind is tuple or kind is list:
        return sys.getsizeof(value) + sum(map(size_of, value))
    if kind is dict:
        return sys.getsizeof(value) + sum(size_of(key) + size_of(part) for key, part in value.items())
    return sys.getsizeof(value)
