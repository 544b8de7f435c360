"""What the result of a circuit has to look like, and what is wrong with one that does not.

Results come from code that others wrote: executors, and what was kept in stores, caches and files. What cannot be the
result of a circuit must not become a number in somebody's calculation. It is refused for its form (how many values of
which kind there are), its number of shots, and for what no experiment gives: counts that are negative or
no whole numbers, bits other than 0 and 1, values that are no eigenvalues of the observable, distributions that do not
add up, NaN.

What mitigation makes of measurements is let through: expectation values beyond the spectrum, negative probabilities.
Values that are traced or differentiated are not looked at, nor are measurements of other classes than PennyLane's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import is_
from typing import Any, NoReturn

import numpy as np
import pennylane as qml
from pennylane.measurements import (
    ClassicalShadowMP,
    CountsMP,
    DensityMatrixMP,
    ExpectationMP,
    MeasurementProcess,
    MutualInfoMP,
    ProbabilityMP,
    PurityMP,
    SampleMP,
    ShadowExpvalMP,
    StateMP,
    VarianceMP,
    VnEntropyMP,
)
from pennylane.operation import Operator
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.mid_circuit import postselects
from pennylane_qexec.errors import ResultError
from pennylane_qexec.job import Result, Work

_ESTIMATES = frozenset({ExpectationMP, VarianceMP})
_PLAIN = frozenset({float, np.float64, np.float32, np.ndarray})
_OF_NUMBERS = "biufc"
_TOLERANCE = 1e-3
"""How far the sum of a distribution may be from 1; in single precision it is off by less than 1e-5."""

_BY_THEIR_MATRIX = (qml.Hermitian, qml.Projector, qml.Hadamard)
_MOST_WIRES = 5
_SHOWN = 80


def check_work(
    work: Work, circuits: Sequence[QuantumScript], results: Sequence[Result], *, values: bool = True
) -> None:
    """Refuse what cannot be the results of a batch.

    Args:
        work: the batch.
        circuits: its circuits, with the shots that they were run with.
        results: what came as the result of each.
        values: see :func:`check_result`.

    Raises:
        ResultError: with what came, and what was expected.
    """
    if work.call.method == "execute":
        if _are_one(circuits) and _are_finite_estimates(circuits[0], results):
            return
        for circuit, result in zip(circuits, results, strict=True):
            check_result(circuit, result, values=values)
        return
    for circuit, result, vector in zip(circuits, results, work.vectors or [None] * len(circuits), strict=True):
        check_derivative(circuit, result, vector)


def _are_one(circuits: Sequence[QuantumScript]) -> bool:
    """Whether one circuit stands for several, as the template of a sweep does for those of its rows."""
    return len(circuits) > 1 and circuits[0] is circuits[-1] and all(map(is_, circuits, repeat(circuits[0])))


def _are_finite_estimates(circuit: QuantumScript, results: Sequence[Result]) -> bool:
    """Whether results of one circuit are, at first sight, such as most are: finite numbers, one for each estimate."""
    measurements = circuit.measurements
    if circuit.shots.has_partitioned_shots or not set(map(type, measurements)) <= _ESTIMATES:
        return False
    values: Iterable[Any] = results
    if len(measurements) != 1:
        if not {tuple, list, np.ndarray}.issuperset(map(type, results)):
            return False
        values = chain.from_iterable(results)
    try:
        if not _PLAIN.issuperset(map(type, values)):
            return False
        array = np.array(results)
    except (TypeError, ValueError):  # arrays without a length, tuples of unequal ones
        return False
    shape = (len(results),) if len(measurements) == 1 else (len(results), len(measurements))
    return array.shape == shape and array.dtype.kind == "f" and _finite(array)


def check_result(circuit: QuantumScript, result: Result, *, values: bool = True) -> None:
    """Refuse what cannot be the result of a circuit.

    Args:
        circuit: the circuit, with the shots that it was run with.
        result: what came as its result.
        values: whether to look at all values, and not only at how many there are; a simulator may be trusted with them.

    Raises:
        ResultError: with what came, and what was expected.
    """
    shots, measurements = circuit.shots, circuit.measurements
    if not measurements:
        return
    if shots.total_shots == 1 and any(isinstance(one, MidMeasure) for one in circuit.operations):
        # Devices that run circuits shot by shot have the results of one shot in a tuple.
        result = result[0] if len(measurements) > 1 and isinstance(result, tuple) and len(result) == 1 else result
    bins = list(shots) if shots.has_partitioned_shots else [shots.total_shots]
    parts = _parts(result, len(bins), "number of shots") if shots.has_partitioned_shots else [result]
    for size, part in zip(bins, parts, strict=True):
        several = [part] if len(measurements) == 1 else _parts(part, len(measurements), "measurement")
        for measurement, one in zip(measurements, several, strict=True):
            _check(circuit, measurement, one, size, values)


def check_kept(work: Work, circuits: Sequence[QuantumScript], results: Sequence[Result]) -> None:
    """The same for what a simulator has returned, and others may have changed since: its values are looked at.

    But for analytic ones of circuits whose vectors and matrices may have another norm than 1, and so their results.
    """
    for index, (circuit, result) in enumerate(zip(circuits, results, strict=True)):
        sure = bool(circuit.shots) or all(map(_has_scalars, circuit.operations))
        check_work(work.part([index]), [circuit], [result], values=sure)


def loses_shots(circuit: QuantumScript) -> bool:
    """Whether fewer shots may come back of a circuit than it is run with, or none: postselection discards them."""
    return postselects(circuit) or any(isinstance(operation, qml.Projector) for operation in circuit.operations)


def check_derivative(circuit: QuantumScript, result: Result, vector: Any = None) -> None:
    """Refuse what cannot be a derivative of a circuit: something else than numbers, or NaN that was not put in.

    Args:
        circuit: the circuit.
        result: what came as its Jacobian, or as the product of that with a vector; perhaps beside its result.
        vector: the (co)tangent of a Jacobian product.

    Raises:
        ResultError: with what came.
    """
    for leaf in _leaves(result):
        array = _array(leaf)
        if array is None:
            continue
        if array.dtype.kind not in _OF_NUMBERS:
            raise ResultError("a derivative", f"expected numbers, got {_shown(leaf)}")
        if not _finite(array) and _is_finite(circuit) and all(_is_number(one) for one in _leaves(vector)):
            raise ResultError("a derivative", f"expected finite numbers, got {_shown(leaf)}")


def _parts(result: Result, length: int, of: str) -> Sequence[Result]:
    if isinstance(result, list | tuple) and len(result) == length:
        return result
    is_array = isinstance(result, np.ndarray) or qml.math.get_interface(result) in ("autograd", "jax", "torch")
    if is_array and len(result.shape) and result.shape[0] == length:
        return [result[index] for index in range(length)]
    came = f"{len(result)} results" if isinstance(result, list | tuple) else _shown(result)
    raise ResultError("a circuit", f"expected {length} results, one for each {of}, got {came}")


def _check(
    circuit: QuantumScript, measurement: MeasurementProcess, result: Result, shots: int | None, values: bool
) -> None:
    kind: Any = type(measurement)
    if kind in _ESTIMATES and (isinstance(result, float) or _is_array_of_one(result)) and math.isfinite(result):
        return  # most results
    if kind in _CHECKS:
        _CHECKS[kind](_Check(circuit, measurement, result, shots, values))


@dataclass(frozen=True, slots=True)
class _Check:
    """One result of one measurement, for one number of shots."""

    circuit: QuantumScript
    measurement: Any
    result: Result
    shots: int | None
    values: bool

    def numbers(self) -> None:
        several = (isinstance(self.measurement, ShadowExpvalMP) and self.measurement.shape()) or (1,)
        array = self._array(several[0], "a number" if several[0] == 1 else f"{several[0]} numbers")
        if array is not None and (self.values or type(self.measurement) in _ESTIMATES) and not _finite(array):
            self._refuse_unless_undefined("a finite number")

    def probabilities(self) -> None:
        array = self._array(None, "probabilities")
        if array is None:
            return
        wires = len(self.measurement.wires)
        batch = 1 if array.size == 2**wires else self.circuit.batch_size or 1
        if wires and batch == 1 and array.ndim == 2 and array.shape[1] == 2**wires and self._may_hide_a_batch:
            batch = len(array)
        size, rest = divmod(array.size, batch)
        if array.size == 0 or rest or (wires and round(size ** (1 / wires)) ** wires != size):
            self._refuse(f"the probabilities of {2**wires} outcomes")
        if not self.values or size != 2 ** (wires or size.bit_length() - 1):
            return
        if not _finite(array):
            self._refuse_unless_undefined("finite probabilities")
        elif np.abs(array.reshape(-1, size).sum(axis=1) - 1).max() > _TOLERANCE:
            self._refuse("probabilities that add up to 1")

    def samples(self) -> None:
        array = self._array(None, "samples")
        if array is None or self.shots is None:
            return
        columns = self._columns or max(1, array.size // self.shots)
        expected = self.shots * columns
        if not self._may_be(array.size, expected):
            if array.size > expected or array.size % columns or not loses_shots(self.circuit):
                self._refuse(f"{self.shots} samples" + (f" of {columns} bits" if columns > 1 else ""))
        elif self.values and not self._allowed(array) and not (loses_shots(self.circuit) or _of_qutrits(self.circuit)):
            self._refuse("samples of " + ("bits, 0 or 1" if self._of_bits else self._named_eigenvalues))

    def eigenvalues(self) -> np.ndarray | None:
        """What an observable can be measured as; ``None`` if that is not known, or a large matrix would have to say."""
        observable = self.measurement.obs
        word = observable.pauli_rep
        if word is not None and len(word) == 1:
            ((letters, coefficient),) = word.items()
            scale = _array(coefficient)
            return None if scale is None else scale * np.array([1, -1] if len(letters) else [1])
        if not isinstance(observable, _BY_THEIR_MATRIX) or len(observable.wires) > _MOST_WIRES:
            return None
        return _array(observable.eigvals())

    def counts(self) -> None:
        rows = [self.result] if isinstance(self.result, Mapping) else self.result
        if not isinstance(rows, list | tuple | np.ndarray) or not all(isinstance(row, Mapping) for row in rows):
            self._refuse("counts by outcome")
        if rows is self.result and len(rows) != self.circuit.batch_size and not self._may_hide_a_batch:
            self._refuse("counts by outcome")
        for row in rows:
            self._counted(row)

    def _counted(self, row: Mapping[Any, Any]) -> None:
        shots = self.shots or 0
        try:
            if not all(number >= 0 and number == int(number) for number in row.values()):
                self._refuse("counts that are whole numbers of at least 0")
            total = sum(map(int, row.values()))
            wrong = total > shots or (total < shots and not loses_shots(self.circuit))
        except (TypeError, ValueError, OverflowError):
            wrong = True
        if wrong:
            self._refuse(f"counts of {self.shots} shots")
        if not self.values or (self.measurement.mv is not None and not isinstance(self.measurement.mv, Sequence)):
            return
        if self.measurement.obs is not None and not self._are_eigenvalues(list(row)):
            self._refuse(f"counts of {self._named_eigenvalues}")
        if self._of_bits and not self._are_outcomes(row):
            self._refuse(f"counts of outcomes like {'0' * (len(self.measurement.wires) or 1)!r}")

    def _are_outcomes(self, keys: Iterable[Any]) -> bool:
        length = self._columns
        if not all(isinstance(key, str) and len(key) == (length or len(key)) for key in keys):
            return False
        digits = set("".join(keys))
        return digits <= {"0", "1"} or (digits <= {"0", "1", "2"} and _of_qutrits(self.circuit))

    def state(self) -> None:
        array = self._array(None, "a state")
        if array is not None and (array.size == 0 or (self.values and not _finite(array))):
            self._refuse_unless_undefined("a finite state")

    def shadow(self) -> None:
        array = self._array(None, "a classical shadow")
        if array is None:
            return
        size = (self.shots or 0) * len(self.measurement.wires)
        if not self._may_be(array.size, 2 * size):
            self._refuse(f"a classical shadow of {self.shots} shots")
        bits, recipes = np.moveaxis(array.reshape(-1, 2, size), 1, 0)
        if self.values and not (np.isin(bits, (0, 1)).all() and np.isin(recipes, (0, 1, 2)).all()):
            self._refuse("a classical shadow of bits, 0 or 1, and recipes, 0 to 2")

    def _array(self, size: int | None, what: str) -> np.ndarray | None:
        """The result as an array of numbers; ``None`` if it is traced, or differentiated.

        Args:
            size: how many numbers there have to be, for each circuit of a broadcasted one; ``None`` for any.
            what: what they are.
        """
        array = _array(self.result)
        if array is None:
            return None
        if array.dtype.kind not in _OF_NUMBERS:
            self._refuse(what)
        if size is not None and not self._may_be(array.size, size):
            self._refuse(what)
        return array

    def _may_be(self, size: int, single: int) -> bool:
        """Whether there may be so many numbers where one circuit has some."""
        if size in (single, single * (self.circuit.batch_size or 1)):
            return True
        return single > 0 and size % single == 0 and self._may_hide_a_batch

    @property
    def _may_hide_a_batch(self) -> bool:
        return any(map(_may_hide_a_batch, self.circuit.operations))

    @property
    def _of_bits(self) -> bool:
        """Whether outcomes are bits, and not eigenvalues: a deferred mid-circuit measurement has these by itself."""
        return self.measurement.obs is None and self.measurement._eigvals is None

    @property
    def _columns(self) -> int:
        """How many values there are for each shot; 0 if that depends on the wires of the backend."""
        value = self.measurement.mv
        if value is not None:
            return len(value) if isinstance(value, Sequence) else 1
        return len(self.measurement.wires) if self._of_bits else 1

    def _allowed(self, array: np.ndarray) -> bool:
        if self._of_bits and self.measurement.mv is None:
            return bool(((array == 0) | (array == 1)).all())
        return _finite(array) if self.measurement.obs is None else self._are_eigenvalues(array)

    def _are_eigenvalues(self, values: Any) -> bool:
        array, allowed = _array(values), self.eigenvalues()
        if array is None or array.dtype.kind not in _OF_NUMBERS:
            return array is None
        if allowed is None:
            return _finite(array)
        distances = np.abs(np.unique(array)[:, None] - allowed[None, :]).min(axis=1)
        return bool((distances <= _TOLERANCE * max(1.0, np.abs(allowed).max())).all())

    @property
    def _named_eigenvalues(self) -> str:
        allowed = self.eigenvalues()
        names = "finite numbers" if allowed is None else " or ".join(f"{value:.6g}" for value in np.unique(allowed))
        return f"{self.measurement.obs}, {names}"

    def _refuse_unless_undefined(self, expected: str) -> None:
        if not loses_shots(self.circuit) and _is_finite(self.circuit):
            self._refuse(expected)

    def _refuse(self, expected: str) -> NoReturn:
        raise ResultError(str(self.measurement), f"expected {expected}, got {_shown(self.result)}")


_CHECKS: dict[type, Callable[[_Check], None]] = {
    **dict.fromkeys((*_ESTIMATES, ShadowExpvalMP, VnEntropyMP, MutualInfoMP, PurityMP), _Check.numbers),
    **dict.fromkeys((StateMP, DensityMatrixMP), _Check.state),
    CountsMP: _Check.counts,
    ProbabilityMP: _Check.probabilities,
    SampleMP: _Check.samples,
    ClassicalShadowMP: _Check.shadow,
}
"""How the results of each class of measurements are checked."""


def _is_array_of_one(value: Any) -> bool:
    return type(value) is np.ndarray and value.shape == () and value.dtype.kind == "f"


def _array(value: Any) -> np.ndarray | None:
    """A value as an array of NumPy's, of some other kind than numbers if it has none.

    It is ``None`` if its numbers cannot be had, or are not there yet.
    """
    if isinstance(value, np.ndarray | np.generic | float | int | complex):
        return np.asarray(value)
    library = type(value).__module__.partition(".")[0]
    if library == "autograd":
        return None
    if library in ("jax", "jaxlib") and isinstance(value, sys.modules["jax"].core.Tracer):
        return None
    try:
        return np.asarray(value.detach().cpu() if library in ("torch", "functorch") else value)
    except Exception:  # lists of unequal length, tensors inside of transforms: each library raises what it likes
        return None if _holds_foreign(value) else np.asarray("")


def _holds_foreign(value: Any) -> bool:
    library = type(value).__module__.partition(".")[0]
    return library not in ("builtins", "numpy") or (isinstance(value, list | tuple) and any(map(_holds_foreign, value)))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, Mapping):
        yield from _leaves(list(value.values()))
    elif value is not None:
        yield value


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def _is_number(value: Any) -> bool:
    array = _array(value)
    return array is not None and array.dtype.kind in _OF_NUMBERS and _finite(array)


def _is_finite(circuit: QuantumScript) -> bool:
    """Whether all parameters are finite, and known to be."""
    return all(map(_is_number, circuit.get_parameters(trainable_only=False)))


def _may_hide_a_batch(operation: Operator) -> bool:
    """Whether arrays in an operation may be a batch, which some templates do not tell (``ApproxTimeEvolution``)."""
    return (
        operation.batch_size is None
        and type(operation).ndim_params is Operator.ndim_params
        and any(map(np.ndim, operation.data))
    )


def _has_scalars(operation: Operator) -> bool:
    """Whether an operation is given by plain numbers, or one for each circuit of a broadcasted one."""
    return all(np.ndim(value) <= (operation.batch_size is not None) for value in operation.data)


def _of_qutrits(circuit: QuantumScript) -> bool:
    used = [*circuit.operations, *(one.obs for one in circuit.measurements if one.obs is not None)]
    return any(type(one).__module__.startswith("pennylane.ops.qutrit") for one in used)


def _shown(result: Result) -> str:
    text = " ".join(repr(result).split())
    shape = f" of shape {result.shape}" if isinstance(result, np.ndarray) and result.ndim else ""
    return f"{type(result).__name__}{shape} {text[:_SHOWN]}{'...' if len(text) > _SHOWN else ''}"
