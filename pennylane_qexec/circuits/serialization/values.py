"""Plain values as JSON, each with its exact type: numbers, text, arrays, and tuples, lists and mappings of them.

The text around what is stored has a format and a version, and is always written in the same way.

Arrays of few numbers are written as numbers, larger ones as bytes.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import numpy as np
import pennylane as qml

from pennylane_qexec.errors import ConfigurationError

VERSION = 1
"""Of texts of circuits and results. Readers read this one and all before."""

_VERSIONS = {"sweep": 2, "results": 2}
"""Of texts of other kinds, which came later."""

T = TypeVar("T")


def text_of(kind: str, content: dict[str, Any]) -> str:
    """A document of some kind, such as ``"circuit"``: canonical JSON in ASCII.

    Raises:
        ConfigurationError: it has a whole number of thousands of digits.
    """
    try:
        return canonical({**content, "format": _FORMAT + kind, "version": _VERSIONS.get(kind, VERSION)})
    except ValueError as error:
        raise ConfigurationError(f"this {kind} cannot be written ({error}): leave such numbers out.") from error


def content_of(kind: str, text: Any) -> dict[str, Any]:
    """What is in a document of some kind.

    Raises:
        ConfigurationError: the text is no such document, or of a later version.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"a stored {kind} must be text, not {type(text).__name__}.")
    try:
        document = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the text is no stored {kind} ({error}): {_start(text)}") from error
    if not isinstance(document, dict) or document.pop("format", None) != _FORMAT + kind:
        raise ConfigurationError(
            f'the text is no stored {kind}: it does not say "format": "{_FORMAT}{kind}". {_start(text)}'
        )
    version, latest = document.pop("version", None), _VERSIONS.get(kind, VERSION)
    if type(version) is not int or version < 1:
        raise ConfigurationError(f"the stored {kind} has version {version!r}, which must be a number of at least 1.")
    if version > latest:
        raise ConfigurationError(
            f"the stored {kind} has version {version}, and {latest} is the latest known: install a later "
            "pennylane-qexec."
        )
    return document


def guarded(doing: str, work: Callable[[], T]) -> T:
    """What some work on nested values gives.

    Raises:
        ConfigurationError: they are nested too deeply, or in themselves.
    """
    try:
        return work()
    except RecursionError as error:
        raise ConfigurationError(f"{doing} is nested too deeply, or contains itself: make it flatter.") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _start(text: str) -> str:
    return f"It begins with {text[:40]!r}."


_FORMAT = "pennylane-qexec "

canonical: Callable[[Any], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""JSON with sorted keys and without spaces, in ASCII."""

_DECODER = json.JSONDecoder(parse_constant=_refuse)


Part = Callable[[Any], Any]
"""Writes, or reads, a part of a value."""


# Arrays and scalars

FEW = 64
"""Arrays of at most that many numbers are written as numbers."""

_NAMES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)

DTYPES = {name: np.dtype(name) for name in _NAMES}
"""The types that are written, by name."""

_NAMES_OF = {dtype: name for name, dtype in DTYPES.items()}
"""NumPy takes long to put a name together."""

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
        as_they_are = flat.dtype.kind in "biu" or (flat.dtype.kind == "f" and all(map(math.isfinite, numbers)))
        form["array"] = numbers if as_they_are else [number_form(number) for number in numbers]
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
    name = _NAMES_OF.get(value.dtype)
    if name is not None:
        return name
    name = str(value.dtype.name)
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
    may_be_small = flat.dtype.kind != "f" or not float(flat[0]) % 1
    if flat.dtype.kind in "biuf" and may_be_small:
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


# Values


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
