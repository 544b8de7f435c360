"""Whether what came is what is right: values, statistics, forms.

Samples are judged by Bernstein's inequality, which holds for any number of shots: the mean of N values with standard
deviation s, none farther than M from their mean m, differs from m by more than t with a probability of at most
``2 exp(-N t**2 / (2 s**2 + 2 M t / 3))``. A case fails where that is below ``IMPROBABLE``: t is 6.5 standard deviations
for many shots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pennylane as qml

from differential.programs import Measured
from differential.theory import Right

IMPROBABLE = 1e-9


def off_by(shots: int, spread: float, reach: float) -> float:
    """How far a mean may be from what is right."""
    if shots < 1:
        return np.inf
    log = np.log(2 / IMPROBABLE)
    by_reach = log * reach / 3
    return float((by_reach + np.sqrt(by_reach**2 + 2 * shots * log * spread**2)) / shots)


def as_array(leaf: Any) -> np.ndarray:
    """Numbers of any interface as NumPy's."""
    return np.asarray(qml.math.toarray(leaf) if hasattr(leaf, "detach") else leaf)


def form(result: Any, strict: bool = True) -> Any:
    """The type, shape and precision of a result, all the way down; of counts, those of keys and numbers.

    Args:
        result: the result.
        strict: whether to tell types of numbers and of keys, and how precise they are.

    What a batch of counts is (a tuple, a list or an array), and whether numbers are NumPy's or Autograd's, PennyLane
    decides by whether it takes the batch or a sum apart, and its devices do not agree.
    """
    if isinstance(result, Mapping):
        if not strict:
            return "counts"
        return (type(result).__name__, sorted({type(key).__name__.replace("64", "") for key in result}),
                sorted({type(one).__name__ for one in result.values()}))  # fmt: skip
    if _are_counts(result):
        return "batch of counts", [form(one, strict) for one in result]
    if isinstance(result, tuple | list):
        return type(result).__name__, [form(one, strict) for one in result]
    array = as_array(result)
    kind = type(result).__name__
    number = {"ArrayImpl": "array", "float": "float64", "tensor": "ndarray"}.get(kind, kind)
    if not strict or number == "Tensor":  # lightning's have 32 bits now and then
        number = "Tensor" if number == "Tensor" else "numbers"
        return number, array.shape, array.dtype.kind
    return number, array.shape, str(array.dtype)


def _are_counts(results: Any) -> bool:
    several = isinstance(results, list | tuple) or (isinstance(results, np.ndarray) and results.ndim == 1)
    return several and len(results) > 0 and all(isinstance(one, Mapping) for one in results)


def analytic(measured: Measured, right: Right, leaf: Any, accuracy: float) -> str | None:
    """What is wrong with an analytic value; ``None`` if nothing is."""
    if right.value is None:
        return f"{measured.kind} has no analytic value, and yet there is one: {leaf!r}"
    got = as_array(leaf)
    expected = right.value
    if measured.kind == "state" and np.squeeze(got).ndim == 1:  # up to its phase
        got = np.outer(got, got.conj())
    if np.squeeze(got).shape != np.squeeze(expected).shape:  # what else there is of shape is that of the bare device
        return f"{measured.kind} has the shape {got.shape} in place of {expected.shape}"
    got = got.reshape(expected.shape)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    if not np.allclose(got, expected, rtol=0, atol=accuracy * scale):
        return f"{measured.kind} is {_short(got)} in place of {_short(expected)}"
    return None


def sampled(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    """What is wrong with an estimate from samples; ``None`` if nothing is.

    Args:
        measured: the measurement.
        right: what is right.
        leaf: what came.
        shots: how many were asked for.
        least: how many of them are left at least; fewer than ``shots`` after postselection.
        noisy: how far from right a noisy backend may be, for values between -1 and 1.
    """
    judge = {
        "expval": _expval, "var": _var, "probs": _probs, "counts": _counts, "sample": _sample,
        "classical_shadow": _shadow, "shadow_expval": _expval,
    }  # fmt: skip
    if measured.kind not in judge:
        return None
    return judge[measured.kind](measured, right, leaf, shots, least, noisy)


def _expval(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    got = as_array(leaf)
    if got.shape != ():
        return f"{measured.kind} has the shape {got.shape} in place of ()"
    assert right.value is not None
    allowed = off_by(least, right.spread, right.reach) + noisy * right.reach + 1e-5
    if noisy:
        allowed += off_by(least, right.reach, right.reach)
    if abs(got - right.value) <= allowed or (least < 1 and np.isnan(got)):
        return None
    return f"{measured.kind} is {float(got):.6g} in place of {float(right.value):.6g} +- {allowed:.3g} ({shots} shots)"


def _var(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    got = as_array(leaf)
    if got.shape != ():
        return f"var has the shape {got.shape} in place of ()"
    assert right.value is not None
    assert right.values is not None
    assert right.probabilities is not None
    mean = right.probabilities @ right.values
    squares = (right.values - mean) ** 2
    of_squares = np.sqrt(max(right.probabilities @ (squares - right.value) ** 2, 0))
    allowed = off_by(least, float(of_squares), float(max(squares.max(), right.value)))
    allowed += off_by(least, right.spread, right.reach) ** 2 + 4 * noisy * right.reach**2 + 1e-5
    if abs(got - right.value) <= allowed or (least < 1 and np.isnan(got)):
        return None
    return f"var is {float(got):.6g} in place of {float(right.value):.6g} +- {allowed:.3g} ({shots} shots)"


def _frequencies(what: str, got: np.ndarray, expected: np.ndarray, shots: int, least: int, noisy: float) -> str | None:
    if got.shape != expected.shape:
        return f"{what} has the shape {got.shape} in place of {expected.shape}"
    for index, (one, probability) in enumerate(zip(got, expected, strict=True)):
        allowed = off_by(least, float(np.sqrt(probability * max(1 - probability, 0))), 1.0) + noisy
        if probability < 1e-7 and not noisy:
            allowed = 1e-9 if probability < 1e-12 else allowed
        if noisy:
            allowed += off_by(least, 0.5, 1.0)
        if not abs(one - probability) <= allowed and not (least < 1 and np.isnan(one)):
            return f"{what} has {one:.6g} in place of {probability:.6g} +- {allowed:.3g} at {index} ({shots} shots)"
    return None


def _probs(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    assert right.value is not None
    return _frequencies("probs", as_array(leaf), right.value, shots, least, noisy)


def _counts(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    if not isinstance(leaf, Mapping):
        return f"counts are {type(leaf).__name__} in place of a dictionary"
    total = sum(int(number) for number in leaf.values())
    if total > shots or total < least:
        return f"counts add up to {total} in place of {shots}"
    return _of_outcomes(measured, right, [(key, int(number)) for key, number in leaf.items()], total, least, noisy)


def _sample(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    got = as_array(leaf)
    if shots == 1 and got.ndim == 0:  # PennyLane has no axis for the only outcome of a mid-circuit measurement
        got = got.reshape(1)
    assert right.values is not None or right.probabilities is None
    width = None if measured.observable is not None else right.values.shape[1]  # type: ignore[union-attr]
    if measured.mid and len(measured.mid) == 1:
        width = None
    expected = (len(got),) if width is None else (len(got), width)
    if got.shape != expected and not (width == 1 and got.ndim <= 2):
        return f"sample has the shape {got.shape} in place of {(shots, width)}"
    if len(got) > shots or len(got) < least:
        return f"{len(got)} samples in place of {shots}"
    rows, numbers = np.unique(got.reshape(len(got), -1), axis=0, return_counts=True)
    outcomes = [(tuple(row) if len(row) > 1 or measured.observable is None else row[0], int(number))
                for row, number in zip(rows, numbers, strict=True)]  # fmt: skip
    return _of_outcomes(measured, right, outcomes, len(got), least, noisy)


def _of_outcomes(
    measured: Measured, right: Right, outcomes: Sequence[tuple[Any, int]], total: int, least: int, noisy: float
) -> str | None:
    """Numbers of outcomes against the probabilities of what can come out."""
    if right.values is None or right.probabilities is None:
        return None
    values = right.values
    expected: dict[Any, float] = {}
    for value, probability in zip(values, right.probabilities, strict=True):
        key: Any = round(float(value), 4) if values.ndim == 1 else tuple(int(bit) for bit in value)
        expected[key] = expected.get(key, 0.0) + float(probability)
    got: dict[Any, int] = {}
    for outcome, number in outcomes:
        if isinstance(outcome, str):
            key = tuple(int(bit) for bit in outcome)
        elif values.ndim == 1:
            key = round(float(np.ravel(outcome)[0]), 4)
        else:
            key = tuple(int(bit) for bit in np.ravel(outcome))
        if key not in expected:
            return f"{measured.kind} has {outcome!r}, which is none of {list(expected)}"
        got[key] = got.get(key, 0) + number
    if total < 1:
        return None
    frequencies = np.array([got.get(key, 0) / total for key in expected])
    return _frequencies(measured.kind, frequencies, np.array(list(expected.values())), total, total, noisy)


def _shadow(measured: Measured, right: Right, leaf: Any, shots: int, least: int, noisy: float) -> str | None:
    got = as_array(leaf)
    assert measured.wires is not None
    expected = (2, shots, len(measured.wires))
    copies = [(2, number, len(measured.wires)) for number in range(max(least, 1), shots + 1, max(least, 1))]
    if got.shape != expected and got.shape not in copies:
        return f"classical_shadow has the shape {got.shape} in place of {expected}"
    bits, recipes = got
    if not np.isin(bits, (0, 1)).all() or not np.isin(recipes, (0, 1, 2)).all():
        return "classical_shadow has bits or recipes that there are not"
    return _frequencies(
        "recipes", np.array([np.mean(recipes == one) for one in range(3)]), np.full(3, 1 / 3), shots, bits.size, 0.0
    )


def _short(values: np.ndarray) -> str:
    return np.array2string(np.asarray(values), precision=5, threshold=20).replace("\n", "")
