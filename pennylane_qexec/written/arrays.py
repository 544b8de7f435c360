"""NumPy's arrays and scalars as JSON: few numbers are written as such, many as bytes."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pennylane_qexec.errors import ConfigurationError

FEW = 64
"""Arrays of at most that many numbers are written as numbers."""

_NAMES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)

DTYPES = {name: np.dtype(name) for name in _NAMES}
"""The types that are written, by name."""

_NARROW = (np.int8, np.int16, np.int32)

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def number_form(number: Any) -> Any:
    """A number as JSON has it: ``"nan"``, ``"inf"`` and ``"-inf"`` are text, complex numbers are pairs."""
    if type(number) is float and not math.isfinite(number):
        return repr(number)
    if type(number) is complex:
        return [number_form(number.real), number_form(number.imag)]
    return number


def number_of(form: Any, kind: str) -> Any:
    """The number of a form.

    Args:
        form: what :func:`number_form` has made.
        kind: NumPy's letter for its kind: ``"b"``, ``"i"``, ``"u"``, ``"f"`` or ``"c"``.

    Raises:
        ConfigurationError: it is no number of that kind.
    """
    if kind == "f":
        if type(form) is float:
            return form
        if type(form) is str and form in _NOT_FINITE:
            return _NOT_FINITE[form]
    elif kind == "c":
        if type(form) is list and len(form) == 2:
            return complex(number_of(form[0], "f"), number_of(form[1], "f"))
    elif type(form) is (bool if kind == "b" else int):
        return form
    raise ConfigurationError(f"{form!r:.80} in the text is no number of the kind {kind!r}: the text is damaged.")


def scalar_form(scalar: np.generic) -> dict[str, Any]:
    """A scalar as ``{"float64": 0.5}``."""
    return {_name(scalar): number_form(scalar.item())}


def scalar_of(name: str, form: Any) -> Any:
    """The scalar of a form."""
    dtype = DTYPES[name]
    return _made(dtype, lambda: dtype.type(number_of(form, dtype.kind)))


def array_form(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as ``{"array": [...], "dtype": ..., "shape": [...]}``, or with ``"base64"`` and ``"as"``."""
    form: dict[str, Any] = {"dtype": _name(array), "shape": list(array.shape)}
    flat = array.ravel()
    if flat.size <= FEW:
        numbers = flat.tolist()
        form["array"] = [number_form(number) for number in numbers] if flat.dtype.kind in "fc" else numbers
    else:
        form["as"], data = _packed(flat)
        form["base64"] = base64.b64encode(data).decode("ascii")
    return form


def array_of(form: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The array of a form.

    Raises:
        ConfigurationError: the form is damaged. Nothing larger than the text allows for is allocated before.
    """
    dtype, shape = DTYPES.get(str(form["dtype"])), form.get("shape")
    if dtype is None:
        raise ConfigurationError(f"arrays of dtype {form['dtype']!r:.80} are not read. Known: {', '.join(DTYPES)}.")
    if type(shape) is not list or not all(type(length) is int and length >= 0 for length in shape):
        raise ConfigurationError(f"the shape {shape!r:.80} of an array must be a list of numbers of at least 0.")
    numbers = form.get("array")
    if set(form) == {"array", "dtype", "shape"} and type(numbers) is list:
        each = [number_of(number, dtype.kind) for number in numbers]
        flat = _made(dtype, lambda: np.array(each, dtype=dtype))
    elif set(form) == {"as", "base64", "dtype", "shape"}:
        flat = _unpacked(form["as"], form["base64"], math.prod(shape), dtype)
    else:
        raise ConfigurationError(f"an array has the parts {sorted(form)}: the text is damaged.")
    try:
        array: np.ndarray[Any, Any] = flat.reshape(shape)
        return array
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"an array of {flat.size} numbers cannot have the shape {shape!r:.80}.") from error


def _name(value: Any) -> str:
    name: str = value.dtype.name
    if name not in DTYPES:
        raise ConfigurationError(f"NumPy's {name} cannot be written: turn it into one of {', '.join(DTYPES)}.")
    return name


def _made(dtype: np.dtype[Any], make: Callable[[], Any]) -> Any:
    try:
        return make()
    except OverflowError as error:
        raise ConfigurationError(f"a number in the text is too large for {dtype.name} ({error}).") from error


def _packed(flat: np.ndarray[Any, Any]) -> tuple[str, bytes]:
    """Many numbers as bytes, and as what: as bits or small integers, if these are exactly the same numbers."""
    if flat.dtype.kind in "biuf":
        low, high = flat.min(), flat.max()
        if low >= 0 and high <= 1 and _is_exact(flat, flat.astype(np.bool_)):
            return "bits", np.packbits(flat.astype(np.bool_)).tobytes()
        for narrow in _NARROW:
            limits, size = np.iinfo(narrow), flat.dtype.itemsize
            if np.dtype(narrow).itemsize < size and limits.min <= low and high <= limits.max:
                if _is_exact(flat, flat.astype(narrow)):
                    return np.dtype(narrow).name, _little(flat.astype(narrow))
                break
    return flat.dtype.name, _little(flat)


def _is_exact(flat: np.ndarray[Any, Any], narrow: np.ndarray[Any, Any]) -> bool:
    """Whether numbers are the same in another type; a zero with a sign is not."""
    signs = flat.dtype.kind == "f" and bool((np.signbit(flat) & (flat == 0)).any())
    return not signs and np.array_equal(flat, narrow)


def _little(flat: np.ndarray[Any, Any]) -> bytes:
    return flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()


def _unpacked(stored: Any, text: Any, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the numbers of an array are no base64 ({error}): the text is damaged.") from error
    if stored == "bits" and dtype.kind != "c":
        _check(len(data), (count + 7) // 8)
        return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(dtype)
    if stored != dtype.name and (dtype.kind == "c" or stored not in [np.dtype(narrow).name for narrow in _NARROW]):
        raise ConfigurationError(f"an array of {dtype.name} is stored as {stored!r:.80}: the text is damaged.")
    kind = DTYPES[stored]
    _check(len(data), count * kind.itemsize)
    return np.frombuffer(data, kind.newbyteorder("<")).astype(dtype)


def _check(size: int, expected: int) -> None:
    if size != expected:
        raise ConfigurationError(f"an array has {size} bytes in place of {expected}: the text is damaged.")
