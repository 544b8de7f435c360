"""Results as text: every value comes back with its type."""

from __future__ import annotations

import math
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pennylane_qexec.circuits.serialization import result_of, result_text
from pennylane_qexec.circuits.serialization.values import DTYPES
from pennylane_qexec.errors import ConfigurationError

NUMBERS = st.integers() | st.floats() | st.complex_numbers(allow_nan=False) | st.booleans() | st.none()
SCALARS = st.sampled_from(list(DTYPES.values())).flatmap(arrays.from_dtype)
ARRAYS = st.sampled_from(list(DTYPES.values())).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
)
KEYS = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.tuples(st.integers(), st.text())
RESULTS = st.recursive(
    NUMBERS | SCALARS | st.text() | st.text().map(np.str_) | ARRAYS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS | KEYS.map(str).map(np.str_), inner)
    ),
    max_leaves=8,
)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal with all their types, to the sign of a zero."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic) and not isinstance(one, np.str_):
        bits = one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        return bits or (one.dtype.kind in "fc" and repr(one.tolist()) == repr(other.tolist()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict):
        return is_same(list(one.items()), list(other.items()))
    return repr(one) == repr(other)


@given(RESULTS)
def test_results_are_read_as_they_were_written(result: Any) -> None:
    text = result_text(result)
    assert text.isascii()
    assert is_same(result_of(text), result)
    assert result_text(result_of(text)) == text


@given(
    st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: arrays.arrays(dtype, st.integers(65, 90), elements=arrays.from_dtype(dtype), fill=st.nothing())
    )
)
def test_large_arrays_keep_every_bit(array: np.ndarray[Any, Any]) -> None:
    again = result_of(result_text(array))
    assert again.dtype == array.dtype
    assert again.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES.values() if dtype.kind in "biuf"])
@pytest.mark.parametrize("values", [[0, 1], [-1, 1], [0, 100, -3], [-0.0, 1.0], [0.5, 1.0], [1000, 7], [70000.0, 0.0]])
def test_large_arrays_of_small_numbers_are_stored_in_few_bytes_and_stay_what_they_are(dtype: Any, values: Any) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        array = np.resize(np.array(values), (50, 4)).astype(dtype)
    again = result_of(result_text(array))
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert again.tobytes() == array.tobytes()


def test_samples_take_a_bit_each() -> None:
    samples = np.random.default_rng(0).integers(0, 2, (1000, 4))
    assert len(result_text(samples)) < 1000


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (0.5, "0.5"),
        (np.float64(0.1), '{"float64":0.1}'),
        ((0.5, np.int64(3)), '{"tuple":[0.5,{"int64":3}]}'),
        ([math.nan, -math.inf], '[{"float":"nan"},{"float":"-inf"}]'),
        ({"00": 3, (0, 1): None}, '{"dict":[["00",3],[{"tuple":[0,1]},null]]}'),
        (1 - 2j, '{"complex":[1.0,-2.0]}'),
        (np.array(0.5), '{"array":[0.5],"dtype":"float64","shape":[]}'),
        (np.array([[1, 2]], np.int8), '{"array":[1,2],"dtype":"int8","shape":[1,2]}'),
        (np.array([0.5, np.nan, -np.inf]), '{"array":[0.5,"nan","-inf"],"dtype":"float64","shape":[3]}'),
        (np.array([1j, np.inf]), '{"array":[[0.0,1.0],["inf",0.0]],"dtype":"complex128","shape":[2]}'),
        (np.arange(65) % 2 == 0, '{"as":"bits","base64":"qqqqqqqqqqqA","dtype":"bool","shape":[65]}'),
    ],
)
def test_a_text_says_what_is_in_the_result(result: Any, text: str) -> None:
    assert result_text(result) == f'{{"format":"pennylane-qexec result","result":{text},"version":1}}'


class Level(IntEnum):
    """A number with a name."""

    ONE = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Counter({"0": 3}), {"0": 3}),
        (Level.ONE, 1),
        (qml.numpy.array([0.5, 0.25]), np.array([0.5, 0.25])),
        (np.array([1.0, 2.0], ">f8"), np.array([1.0, 2.0])),
        (np.arange(100.0).reshape(10, 10).T, np.ascontiguousarray(np.arange(100.0).reshape(10, 10).T)),
    ],
)
def test_values_of_derived_classes_become_what_they_are_derived_from(value: Any, plain: Any) -> None:
    assert is_same(result_of(result_text(value)), plain)


@pytest.mark.slow
def test_tensors_of_jax_and_torch_become_arrays() -> None:
    import jax
    import torch

    assert is_same(result_of(result_text(torch.tensor([0.5], requires_grad=True))), np.array([0.5], np.float32))
    assert is_same(result_of(result_text(torch.tensor(3))), np.array(3))
    assert is_same(
        result_of(result_text(jax.numpy.zeros((2, 2), int))),
        np.zeros((2, 2), np.asarray(jax.numpy.zeros(1, int)).dtype),
    )


@pytest.mark.parametrize(
    "result", [object(), {1: {2}}, (lambda: 0,), np.array([object()]), np.array(["00"]), b"0", 1e400j.__class__]
)
def test_what_is_no_plain_value_is_refused(result: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        result_text(result)


def test_numbers_that_depend_on_the_machine_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"NumPy's (longdouble|float\d+) cannot be written: turn it into"):
        result_text(np.longdouble(0.5))


def test_results_that_contain_themselves_are_refused() -> None:
    result: list[Any] = []
    result.append(result)
    with pytest.raises(ConfigurationError, match="nested too deeply, or contains itself"):
        result_text(result)


def test_numbers_of_thousands_of_digits_are_refused() -> None:
    assert result_of(result_text(10**4000)) == 10**4000
    with pytest.raises(ConfigurationError, match="cannot be written"):
        result_text(10**5000)


STORED = Path(__file__).parent / "results_by_version_1.jsonl"
"""Texts that were written when the format was new: they are read for ever."""


def test_texts_that_were_written_with_the_first_version_are_still_read() -> None:
    texts = STORED.read_text(encoding="ascii").splitlines()
    assert len(texts) >= 15
    for text in texts:
        assert result_text(result_of(text)) == text
